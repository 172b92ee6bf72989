use std::num::NonZeroU16;

use super::super::pools::BlockSize;
use super::super::quarantine::QUARANTINE;
use super::*;

const NOW: UnixMs = UnixMs(1_700_000_000_000);

fn ports(text: &str) -> PortSet {
    text.parse().unwrap()
}

fn ledger(assigned: &str, ephemeral: &str) -> Ledger<&'static str> {
    let block = BlockSize::new(1024).unwrap();
    let pools = Pools::new(ports(assigned), ports(ephemeral), block).unwrap();
    Ledger::new(pools, QUARANTINE)
}

fn explicit(text: &str) -> PortRequest {
    PortRequest {
        assigned: Assigned::Explicit(ports(text)),
        ephemeral: Ephemeral::Block,
        quarantined: Quarantined::Refused,
    }
}

fn count(ports: u16) -> PortRequest {
    PortRequest {
        assigned: Assigned::Count(NonZeroU16::new(ports).unwrap()),
        ephemeral: Ephemeral::None,
        quarantined: Quarantined::Refused,
    }
}

fn start(ledger: &mut Ledger<&'static str>, owner: &'static str, request: &PortRequest) {
    let grant = ledger.plan(request, &PortSet::new(), NOW).unwrap();
    ledger.take(owner, grant).unwrap();
}

fn refusal(ledger: &mut Ledger<&'static str>, request: &PortRequest, at: UnixMs) -> String {
    ledger
        .plan(request, &PortSet::new(), at)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_container_gets_its_ports_and_the_highest_block() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000-31009,31500"));
    let grant = ledger.grant(&"web").unwrap();
    assert_eq!(grant.ports, ports("31000-31009,31500"));
    assert_eq!(grant.ephemeral.unwrap().to_string(), "64512-65535");
    assert_eq!(ledger.owner_of(31500), Some(&"web"));
    assert_eq!(ledger.owner_of(65535), Some(&"web"));
    assert_eq!(ledger.owner_of(31501), None);
}

#[test]
fn privileged_ports_are_given_by_number_and_never_by_count() {
    let mut ledger = ledger("80,443,31000-31001", "61440-65535");
    start(&mut ledger, "web", &explicit("80"));
    assert_eq!(
        refusal(&mut ledger, &count(3), NOW),
        "asked for 3 ports, 2 are free: the agent's 31000-31001 hold 2, 0 taken; \
         ask for fewer, end a container, or widen `container_ports`"
    );
}

#[test]
fn a_count_gets_the_shortest_run_that_is_long_enough() {
    let mut ledger = ledger("31000-31999,32100-32104,32200-32209", "61440-65535");
    start(&mut ledger, "a", &count(5));
    assert_eq!(ledger.grant(&"a").unwrap().ports, ports("32100-32104"));
    start(&mut ledger, "b", &count(5));
    assert_eq!(ledger.grant(&"b").unwrap().ports, ports("32200-32204"));
    start(&mut ledger, "c", &count(1003));
    assert_eq!(
        ledger.grant(&"c").unwrap().ports,
        ports("31000-31999,32205-32207")
    );
}

#[test]
fn what_cannot_be_given_is_refused_with_the_reason() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000-31009"));
    assert_eq!(
        refusal(&mut ledger, &explicit("31005-31015"), NOW),
        "ports 31005-31009 are owned by container web; ask for others, or end it"
    );
    assert_eq!(
        refusal(&mut ledger, &explicit("30999"), NOW),
        "port 30999 is outside the agent's 31000-31999; ask for ports within it, \
         or widen `container_ports`"
    );
    assert_eq!(
        ledger.plan(&explicit("31100"), &ports("31100"), NOW),
        Err(Refusal::InUse {
            ports: ports("31100")
        })
    );
    ledger.release(&"web", NOW).unwrap();
    assert_eq!(
        refusal(
            &mut ledger,
            &explicit("31005-31015"),
            UnixMs(NOW.0 + 12_400)
        ),
        "ports 31005-31009 were freed 12 s ago, free again in 48 s; ask for others, or wait"
    );
    let later = UnixMs(NOW.0 + 60_000);
    assert!(
        ledger
            .plan(&explicit("31005-31015"), &PortSet::new(), later)
            .is_ok()
    );
}

#[test]
fn blocks_run_out_with_the_numbers_named() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    for owner in ["a", "b", "c"] {
        start(&mut ledger, owner, &explicit(""));
    }
    ledger.release(&"a", NOW).unwrap();
    assert_eq!(
        ledger
            .plan(&explicit(""), &ports("61440"), UnixMs(NOW.0 + 1))
            .unwrap_err()
            .to_string(),
        "no ephemeral block is free: the pool 61440-65535 holds 4 blocks of 1024: 2 \
         taken, 1 with a port in use on the node, 1 freed a moment ago (the first is free \
         again in 60 s); end a container, widen `ephemeral_ports` or lower `ephemeral_block`"
    );
}

#[test]
fn a_block_with_a_port_in_use_is_skipped() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    let grant = ledger.plan(&explicit(""), &ports("65535"), NOW).unwrap();
    assert_eq!(grant.ephemeral.unwrap().to_string(), "63488-64511");
}

#[test]
fn an_update_frees_what_it_takes_away_and_keeps_the_rest() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000-31009"));
    let wanted = Assigned::Explicit(ports("31005-31014"));
    // The node of a container without a namespace sees its ports in use.
    let change = ledger
        .plan_update(&"web", &wanted, &ports("31005"), NOW)
        .unwrap();
    assert_eq!(change.added, ports("31010-31014"));
    assert_eq!(change.removed, ports("31000-31004"));
    ledger.replace(&"web", &change, NOW).unwrap();
    assert_eq!(ledger.grant(&"web").unwrap().ports, ports("31005-31014"));
    assert_eq!(ledger.quarantine(NOW)[0].ports, ports("31000-31004"));
}

#[test]
fn an_update_to_a_count_keeps_the_lowest_ports() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000,31010,31020"));
    let mut ports_after = |wanted: u16| {
        let assigned = Assigned::Count(NonZeroU16::new(wanted).unwrap());
        let plan = ledger.plan_update(&"web", &assigned, &PortSet::new(), NOW);
        plan.unwrap().ports.to_string()
    };
    assert_eq!(ports_after(2), "31000,31010");
    assert_eq!(ports_after(3), "31000,31010,31020");
    assert_eq!(ports_after(5), "31000-31002,31010,31020");
}

#[test]
fn what_never_ran_needs_no_rest() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000"));
    ledger.give_back(&"web").unwrap();
    start(&mut ledger, "again", &explicit("31000"));
}

#[test]
fn the_quarantine_survives_a_restart() {
    let mut before = ledger("31000-31999", "61440-65535");
    start(&mut before, "web", &explicit("31000"));
    before.release(&"web", NOW).unwrap();
    let stored = serde_json::to_string(before.quarantine(NOW)).unwrap();
    assert_eq!(
        stored,
        r#"[{"ports":"31000,64512-65535","released_at":1700000000000}]"#
    );

    let mut after = ledger("31000-31999", "61440-65535");
    let restored: Vec<Freed> = serde_json::from_str(&stored).unwrap();
    let restart = UnixMs(NOW.0 + 30_000);
    after.restore_quarantine(restored, restart);
    assert_eq!(
        refusal(&mut after, &explicit("31000"), restart),
        "port 31000 was freed 30 s ago, free again in 30 s; ask for others, or wait"
    );
}

#[test]
fn a_container_keeps_its_ports_when_the_pools_move_away() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    let old = Grant {
        ports: ports("8080"),
        ephemeral: Some("61184-61695".parse().unwrap()),
    };
    ledger.take("old", old).unwrap();
    for _ in ["a", "b", "c"] {
        let grant = ledger.plan(&explicit(""), &PortSet::new(), NOW).unwrap();
        let block = grant.ephemeral.unwrap();
        assert_ne!(block.to_string(), "61440-62463");
    }
}

#[test]
fn the_ledger_refuses_two_owners_of_a_port() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000-31009"));
    let grant = Grant {
        ports: ports("31009"),
        ephemeral: None,
    };
    assert_eq!(
        ledger.take("other", grant.clone()).unwrap_err().to_string(),
        "container other cannot have ports 31009: container web has them"
    );
    assert!(matches!(
        ledger.take("web", grant),
        Err(LedgerError::AlreadyOwns { .. })
    ));
    assert!(matches!(
        ledger.plan_update(&"none", &Assigned::None, &PortSet::new(), NOW),
        Err(Refusal::Unknown { .. })
    ));
}

#[test]
fn what_rests_can_be_had_by_whoever_was_promised_it() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    start(&mut ledger, "web", &explicit("31000"));
    let block = ledger.grant(&"web").unwrap().ephemeral;
    ledger.release(&"web", NOW);
    let promised = PortRequest {
        quarantined: Quarantined::Taken,
        ..explicit("31000")
    };
    let none = PortSet::new();
    assert!(ledger.plan(&explicit("31000"), &none, NOW).is_err());
    let grant = ledger.plan(&promised, &none, NOW).unwrap();
    assert_eq!(grant.ports, ports("31000"));
    // There are others, which have rested.
    assert_ne!(grant.ephemeral, block);
    let in_use = ports("31000");
    let refusal = ledger.plan(&promised, &in_use, NOW).unwrap_err();
    assert!(matches!(refusal, Refusal::InUse { .. }));
}

#[test]
fn every_block_that_nobody_has_counts_and_the_longest_rested_is_taken_first() {
    let mut ledger = ledger("31000-31999", "61440-65535");
    let owners = ["a", "b", "c", "d"];
    let none = PortSet::new();
    let before = ledger.blocks_free(&none);
    let mut taken = Vec::new();
    assert_eq!(before, 4);
    for owner in owners {
        start(&mut ledger, owner, &explicit(""));
        taken.push((owner, ledger.grant(&owner).unwrap().ephemeral.unwrap()));
    }
    assert_eq!(ledger.blocks_free(&none), 0);
    let promised = PortRequest {
        quarantined: Quarantined::Taken,
        ..explicit("")
    };
    assert!(ledger.plan(&promised, &none, NOW).is_err());
    for (index, (owner, _)) in taken.iter().enumerate() {
        let at = UnixMs(NOW.0 + u64::try_from(index).unwrap());
        ledger.release(owner, at);
    }
    assert_eq!(ledger.blocks_free(&none), before);
    let first: PortSet = [taken[0].1].into_iter().collect();
    assert_eq!(ledger.blocks_free(&first), before - 1);
    let later = UnixMs(NOW.0 + 1000);
    let grant = ledger.plan(&promised, &none, later).unwrap();
    assert_eq!(grant.ephemeral, Some(taken[0].1));
    assert!(ledger.plan(&explicit(""), &none, later).is_err());
}
