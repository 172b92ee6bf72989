//! The laws of the ledger, held under random histories against a model that knows single ports.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use proptest::prelude::*;
use weir_resources::{PortRange, PortSet};

use super::*;

/// Small pools run out often. Both have an end that no block or request can reach past.
const ASSIGNED: &str = "80,1100-1139";
const EPHEMERAL: &str = "1200-1300,65472-65535";
const BLOCK: u32 = 16;
const REST_MS: u64 = 60_000;

/// One thing that happens to the agent.
#[derive(Clone, Debug)]
enum Event {
    Start {
        owner: u8,
        assigned: Assigned,
        ephemeral: Ephemeral,
        runs: bool,
    },
    Update {
        owner: u8,
        assigned: Assigned,
    },
    Release {
        owner: u8,
    },
    /// Time goes on, or somebody sets the clock back.
    Clock {
        step_ms: i64,
    },
    /// The node's own processes use these from now on.
    NodeUses {
        ports: PortSet,
    },
    /// The agent is killed and begins again with what it stored.
    Restart,
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        1095..1145_u16,
        Just(80_u16),
        1195..1305_u16,
        65_465..=65_535_u16
    ]
}

fn ports() -> impl Strategy<Value = PortSet> {
    prop::collection::vec((port(), 0..4_u16), 0..4).prop_map(|ranges| {
        ranges
            .into_iter()
            .map(|(first, more)| {
                PortRange::new(first, first.saturating_add(more)).expect("the end is not below")
            })
            .collect()
    })
}

fn assigned() -> impl Strategy<Value = Assigned> {
    prop_oneof![
        Just(Assigned::None),
        ports().prop_map(Assigned::Explicit),
        // Mostly what may succeed: single ports of the pool.
        (1100..1140_u16, 0..3_u16).prop_map(|(first, more)| {
            let range = PortRange::new(first, first + more).expect("the end is not below");
            Assigned::Explicit(range.into())
        }),
        (1..20_u16).prop_map(|count| {
            Assigned::Count(NonZeroU16::new(count).expect("the strategy begins at one"))
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let owner = 0..14_u8;
    let ephemeral = prop_oneof![3 => Just(Ephemeral::Block), 1 => Just(Ephemeral::None)];
    prop_oneof![
        6 => (owner.clone(), assigned(), ephemeral, prop::bool::weighted(0.8)).prop_map(
            |(owner, assigned, ephemeral, runs)| Event::Start { owner, assigned, ephemeral, runs }
        ),
        2 => (owner.clone(), assigned())
            .prop_map(|(owner, assigned)| Event::Update { owner, assigned }),
        3 => owner.prop_map(|owner| Event::Release { owner }),
        3 => prop_oneof![4 => 0..50_i64, 1 => -90..0_i64]
            .prop_map(|seconds| Event::Clock { step_ms: seconds / 10 * 10_000 }),
        1 => ports().prop_map(|ports| Event::NodeUses { ports }),
        1 => Just(Event::Restart),
    ]
}

/// What the ledger should know, port by port.
#[derive(Default)]
struct Model {
    owners: BTreeMap<u16, u8>,
    blocks: BTreeMap<u8, PortRange>,
    alive: BTreeSet<u8>,
    freed_at: BTreeMap<u16, u64>,
    node: BTreeSet<u16>,
    now: u64,
}

impl Model {
    fn rests(&self, port: u16) -> bool {
        self.freed_at.contains_key(&port)
    }

    /// Forgets rest that is over, as any look at the ledger does.
    fn settle(&mut self) {
        let now = self.now;
        for freed_at in self.freed_at.values_mut() {
            *freed_at = (*freed_at).min(now);
        }
        self.freed_at
            .retain(|_, freed_at| now - *freed_at < REST_MS);
    }

    fn is_free(&self, port: u16) -> bool {
        !self.owners.contains_key(&port) && !self.rests(port) && !self.node.contains(&port)
    }

    fn assigned_of(&self, owner: u8) -> BTreeSet<u16> {
        let block = self.blocks.get(&owner);
        self.owners
            .iter()
            .filter(|(port, its)| {
                **its == owner && !block.is_some_and(|block| block.contains(**port))
            })
            .map(|(port, _)| *port)
            .collect()
    }

    /// Returns whether the assigned ports can be had by somebody who has `held`.
    fn can_assign(&self, assigned: &Assigned, held: &BTreeSet<u16>) -> bool {
        let pool: PortSet = ASSIGNED.parse().expect("a constant");
        match assigned {
            Assigned::None => true,
            Assigned::Explicit(ports) => ports
                .iter()
                .all(|port| held.contains(&port) || (pool.contains(port) && self.is_free(port))),
            Assigned::Count(count) => {
                let free = pool
                    .iter()
                    .filter(|port| *port >= 1024 && self.is_free(*port))
                    .count();
                usize::from(count.get()) <= free + held.len()
            }
        }
    }

    /// Returns the block that must be given: the highest of which every port is free.
    fn block(&self) -> Option<PortRange> {
        let pool: PortSet = EPHEMERAL.parse().expect("a constant");
        (0..65_536 / BLOCK)
            .rev()
            .map(|index| index * BLOCK..=index * BLOCK + (BLOCK - 1))
            .find(|block| {
                block.clone().all(|port| {
                    u16::try_from(port).is_ok_and(|port| pool.contains(port) && self.is_free(port))
                })
            })
            .map(|block| {
                let end = |port: u32| u16::try_from(port).expect("blocks end at 65535");
                PortRange::new(end(*block.start()), end(*block.end())).expect("the pool has no 0")
            })
    }

    fn free(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            self.owners.remove(&port);
            self.freed_at.insert(port, self.now);
        }
    }
}

fn ledger() -> Ledger<u8> {
    let pools = Pools::new(
        ASSIGNED.parse().expect("a constant"),
        EPHEMERAL.parse().expect("a constant"),
        BlockSize::new(BLOCK).expect("a constant"),
    )
    .expect("the pools are apart");
    Ledger::new(pools, Duration::from_millis(REST_MS))
}

fn set(ports: &BTreeSet<u16>) -> PortSet {
    ports
        .iter()
        .map(|port| PortRange::single(*port).expect("ports are not 0"))
        .collect()
}

/// Does one event to both, and holds the answers against each other.
fn step(ledger: &mut Ledger<u8>, model: &mut Model, event: Event) {
    let now = UnixMs(model.now);
    let in_use = set(&model.node);
    model.settle();
    match event {
        Event::Start {
            owner,
            assigned,
            ephemeral,
            runs,
        } => {
            if model.alive.contains(&owner) {
                return;
            }
            let block = match ephemeral {
                Ephemeral::Block => model.block(),
                Ephemeral::None => None,
            };
            let possible = model.can_assign(&assigned, &BTreeSet::new())
                && (block.is_some() || ephemeral == Ephemeral::None);
            let request = PortRequest {
                assigned: assigned.clone(),
                ephemeral,
                quarantined: Quarantined::Refused,
            };
            let plan = ledger.plan(&request, &in_use, now);
            assert_eq!(plan.is_ok(), possible, "{request:?}: {plan:?}");
            let Ok(grant) = plan else { return };

            assert_eq!(grant.ephemeral, block, "the highest free block, or none");
            assert_grants(&assigned, &grant.ports, &BTreeSet::new(), model);
            ledger.take(owner, grant.clone()).expect("it was planned");
            if runs {
                model.alive.insert(owner);
                model.blocks.extend(block.map(|block| (owner, block)));
                model
                    .owners
                    .extend(grant.all().iter().map(|port| (port, owner)));
            } else {
                assert_eq!(ledger.give_back(&owner), Some(grant));
            }
        }
        Event::Update { owner, assigned } => {
            let held = model.assigned_of(owner);
            let plan = ledger.plan_update(&owner, &assigned, &in_use, now);
            let possible = model.alive.contains(&owner) && model.can_assign(&assigned, &held);
            assert_eq!(plan.is_ok(), possible, "{assigned:?}: {plan:?}");
            let Ok(change) = plan else { return };

            assert_grants(&assigned, &change.ports, &held, model);
            assert_eq!(change.added, change.ports.subtract(&set(&held)));
            assert_eq!(change.removed, set(&held).subtract(&change.ports));
            ledger
                .replace(&owner, &change, now)
                .expect("it was planned");
            model.free(change.removed.iter());
            model
                .owners
                .extend(change.ports.iter().map(|port| (port, owner)));
        }
        Event::Release { owner } => {
            let grant = ledger.release(&owner, now);
            assert_eq!(grant.is_some(), model.alive.remove(&owner));
            model.blocks.remove(&owner);
            if let Some(grant) = grant {
                model.free(grant.all().iter());
            }
        }
        Event::Clock { step_ms } => model.now = model.now.saturating_add_signed(step_ms),
        Event::NodeUses { ports } => model.node = ports.iter().collect(),
        Event::Restart => {
            let mut restarted = self::ledger();
            let freed = ledger.quarantine(now).to_vec();
            restarted.restore_quarantine(freed, now);
            for (owner, grant) in ledger.grants() {
                restarted
                    .take(*owner, grant.clone())
                    .expect("no port has two owners");
            }
            *ledger = restarted;
        }
    }
}

/// Holds what was given against what was asked: exactly these, or so many, and only free ones.
fn assert_grants(assigned: &Assigned, ports: &PortSet, held: &BTreeSet<u16>, model: &Model) {
    match assigned {
        Assigned::None => assert!(ports.is_empty()),
        Assigned::Explicit(wanted) => assert_eq!(ports, wanted),
        Assigned::Count(count) => assert_eq!(ports.count(), u32::from(count.get())),
    }
    for port in ports.iter() {
        assert!(
            held.contains(&port) || model.is_free(port),
            "{port} is not free"
        );
    }
}

/// Holds what is true whatever happened.
fn assert_invariants(ledger: &mut Ledger<u8>, model: &mut Model) {
    model.settle();
    let block_size = u16::try_from(BLOCK).expect("small");
    let mut seen = PortSet::new();
    for (owner, grant) in ledger.grants() {
        assert!(seen.is_disjoint(&grant.all()), "{owner} shares a port");
        seen = seen.union(&grant.all());
        if let Some(block) = grant.ephemeral {
            assert_eq!(block.first() % block_size, 0, "{block} is not aligned");
            assert_eq!(block.count(), BLOCK, "{block} is not a block");
            assert!(ledger.pools().ephemeral().contains_range(block));
        }
    }
    assert_eq!(seen, set(&model.owners.keys().copied().collect()));
    for (port, owner) in &model.owners {
        assert_eq!(ledger.owner_of(*port), Some(owner));
    }

    let mut resting = PortSet::new();
    for freed in ledger.quarantine(UnixMs(model.now)) {
        assert!(resting.is_disjoint(&freed.ports), "a port rests twice");
        resting = resting.union(&freed.ports);
    }
    assert!(resting.is_disjoint(&seen), "an owned port rests");
    assert_eq!(resting, set(&model.freed_at.keys().copied().collect()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_ledger_agrees_with_the_model_through_any_history(
        events in prop::collection::vec(event(), 1..60)
    ) {
        let mut ledger = ledger();
        let mut model = Model { now: 1_000_000, ..Model::default() };
        for event in events {
            step(&mut ledger, &mut model, event);
            assert_invariants(&mut ledger, &mut model);
        }
    }

    #[test]
    fn blocks_are_aligned_whole_apart_and_in_descending_order(
        ephemeral in prop::collection::vec((1024..=65_535_u16, 0..3000_u16), 1..6),
        size in 4..12_u32,
    ) {
        let ephemeral: PortSet = ephemeral
            .into_iter()
            .map(|(first, more)| {
                PortRange::new(first, first.saturating_add(more)).expect("the end is not below")
            })
            .collect();
        let size = BlockSize::new(1 << size).expect("a power of two");
        let Ok(pools) = Pools::new(PortSet::new(), ephemeral.clone(), size) else {
            // No whole block: then no multiple of the size begins one.
            let whole = (0..65_536 / u32::from(size.ports())).any(|index| {
                let first = index * u32::from(size.ports());
                (first..first + u32::from(size.ports()))
                    .all(|port| u16::try_from(port).is_ok_and(|port| ephemeral.contains(port)))
            });
            prop_assert!(!whole);
            return Ok(());
        };
        let blocks: Vec<PortRange> = pools.blocks().collect();
        for block in &blocks {
            prop_assert_eq!(block.first() % size.ports(), 0);
            prop_assert_eq!(block.count(), u32::from(size.ports()));
            prop_assert!(ephemeral.contains_range(*block));
        }
        for pair in blocks.windows(2) {
            prop_assert!(pair[0].first() > pair[1].last());
        }
        // What is left over holds no further block.
        let rest = ephemeral.subtract(&blocks.iter().copied().collect());
        prop_assert_eq!(
            Pools::new(PortSet::new(), rest.clone(), size).err(),
            Some(PoolsError::NoBlock { ephemeral: rest, block: size.ports() })
        );
    }

    #[test]
    fn the_node_never_chooses_a_port_that_a_container_may_own(
        assigned in ports(),
        reserved in ports(),
        first in 1..=65_535_u16,
        more in 0..40_000_u16,
    ) {
        let range = PortRange::new(first, first.saturating_add(more)).expect("not below");
        let ephemeral: PortSet = "2048-4095,61440-65535".parse().expect("a constant");
        let size = BlockSize::new(1024).expect("a constant");
        let Ok(pools) = Pools::new(assigned.subtract(&ephemeral), ephemeral, size) else {
            return Ok(());
        };
        let text = reserved.to_string();
        let found = ReservedPorts::parse(&text).expect("the kernel's own text");
        prop_assert_eq!(found.ports(), &reserved);
        match NodePlan::new(pools.clone(), range, &found, NODE_PORTS_MIN) {
            Ok(plan) => {
                let chosen = PortSet::from(range).subtract(plan.reserved_after());
                prop_assert!(chosen.is_disjoint(&pools.lent()));
                prop_assert_eq!(chosen.count(), plan.node_ports().1);
                prop_assert!(plan.reserved_after().contains_all(&reserved));
                let written = plan.reserved_after().to_string();
                let read = ReservedPorts::parse(&written).expect("our own text");
                prop_assert_eq!(read.ports(), plan.reserved_after());
            }
            Err(NodePlanError::TooFewForTheNode { before, after, minimum, .. }) => {
                prop_assert!(after < minimum && after <= before);
            }
            Err(NodePlanError::TextTooLong { .. }) => prop_assert!(false, "the sets are small"),
        }
    }
}
