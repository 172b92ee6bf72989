//! Operators: each call answered, and written down.

use std::sync::Arc;

use weir_protocol::operator::{AgentState, Holder, Listing, OperatorAnswer, Page, Weight};
use weir_protocol::{
    AgentEvent, ErrorCode, FrameworkEvent, FrameworkId, OperationId, OperatorCall, Reason,
    RescindReason, TaskKey, TaskState,
};
use weir_resources::{Amount, ResourceOperation};
use weir_scheduler::ledger::{Act, Actor, Caller, Policy, Settings, Verdict};

use super::make;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn changing(id: &str, agent: &str, change: ResourceOperation) -> OperatorCall {
    let operation: OperationId = make::operation_id(id);
    OperatorCall::Change {
        operation,
        agent: agent.parse().expect("a name"),
        change,
    }
}

fn failed(answer: Option<OperatorAnswer>) -> ErrorCode {
    match answer {
        Some(OperatorAnswer::Failed(failure)) => failure.code,
        other => panic!("it should fail: {other:?}"),
    }
}

fn done(answer: Option<OperatorAnswer>) {
    assert!(
        matches!(answer, Some(OperatorAnswer::Done { .. })),
        "{answer:?}"
    );
}

fn rescinds(world: &mut World, fw: Fw) -> Vec<RescindReason> {
    let heard = world.heard(fw).into_iter();
    let rescinds = heard.filter_map(|event| match event {
        FrameworkEvent::Rescind { reason, .. } => Some(reason),
        _ => None,
    });
    rescinds.collect()
}

#[test]
fn an_operator_reserves_and_creates_what_is_free_or_offered() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024;disk:1000");
    world.heard(fw);
    let disk = make::reserved("disk:600", "db", "ops");
    done(world.ask(
        "ops",
        changing("o1", "n1", ResourceOperation::Reserve(disk)),
    ));
    assert_eq!(rescinds(&mut world, fw), [RescindReason::Operator]);
    assert_eq!(
        world.offered(fw),
        make::resources("cpus:4;mem:1024;disk:400")
    );
    let data = make::volume("data", 600, "db", "ops");
    let answer = world.ask(
        "ops",
        changing("o2", "n1", ResourceOperation::Create(data.clone())),
    );
    let Some(OperatorAnswer::Done { notes }) = answer else {
        panic!("{answer:?}");
    };
    assert!(notes[0].as_str().contains("does not enforce"));
    // Nothing had to be rescinded for that.
    assert_eq!(rescinds(&mut world, fw), []);
    let node = world.node(N1);
    assert_eq!(node.set.resources(), &data);
    assert_eq!(node.set.version().0, 2);
    // Who did it is written down.
    let audit: Vec<_> = world.disk.audit().cloned().collect();
    let creates = audit.iter().filter(|entry| {
        entry.who == Actor::Operator(make::principal("ops"))
            && entry.what.as_str().contains("CREATE")
            && entry.refused.is_none()
    });
    assert_eq!(creates.count(), 1);
}

#[test]
fn no_offer_is_rescinded_for_what_would_not_be_enough() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:2;mem:64");
    world.advance_secs(1);
    world.heard(fw);
    let cpus = make::reserved("cpus:3", "db", "ops");
    let answer = world.ask(
        "ops",
        changing("o1", "n1", ResourceOperation::Reserve(cpus)),
    );
    assert_eq!(failed(answer), ErrorCode::InsufficientResources);
    assert_eq!(rescinds(&mut world, fw), []);
    let refused = world.disk.audit().filter(|entry| entry.refused.is_some());
    assert_eq!(refused.count(), 1);
}

#[test]
fn operators_are_refused_by_name_and_number() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024;disk:100");
    let cases: Vec<(&str, ResourceOperation, ErrorCode)> = vec![
        (
            "n9",
            ResourceOperation::Reserve(make::reserved("cpus:1", "web", "ops")),
            ErrorCode::AgentUnknown,
        ),
        (
            "n1",
            ResourceOperation::Reserve(make::reserved("cpus:1", "web", "f1")),
            ErrorCode::Unauthorized,
        ),
        (
            "n1",
            ResourceOperation::Reserve(make::resources("cpus:1")),
            ErrorCode::InvalidOperation,
        ),
        (
            "n1",
            ResourceOperation::Unreserve(make::reserved("cpus:1", "web", "ops")),
            ErrorCode::ReservationUnknown,
        ),
        (
            "n1",
            ResourceOperation::Destroy(make::volume("data", 5, "web", "ops")),
            ErrorCode::VolumeUnknown,
        ),
    ];
    for (index, (agent, change, code)) in cases.into_iter().enumerate() {
        let answer = world.ask("ops", changing(&format!("o{index}"), agent, change));
        assert_eq!(failed(answer), code, "case {index}");
    }
    assert_eq!(world.offers(fw).len(), 1);
    world.cut(N1);
    let cpus = make::reserved("cpus:1", "web", "ops");
    let answer = world.ask(
        "ops",
        changing("o9", "n1", ResourceOperation::Reserve(cpus)),
    );
    assert_eq!(failed(answer), ErrorCode::AgentDisconnected);
}

#[test]
fn a_volume_that_is_there_already_is_named_as_what_is_in_the_way() {
    let mut world = World::new();
    world.agent("n1", "cpus:4;mem:1024;disk:100");
    let disk = make::reserved("disk:60", "web", "ops");
    let reserve = changing("o1", "n1", ResourceOperation::Reserve(disk));
    done(world.ask("ops", reserve));
    let create = |id, size| {
        let volume = make::volume("data", size, "web", "ops");
        changing(id, "n1", ResourceOperation::Create(volume))
    };
    done(world.ask("ops", create("o2", 60)));
    let answer = world.ask("ops", create("o3", 10));
    assert_eq!(failed(answer), ErrorCode::VolumeExists);
}

#[test]
fn what_an_operator_is_refused_is_written_down() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let framework = FrameworkId::from_bits(9);
    let key = |framework| TaskKey {
        framework,
        task: make::task_id("t1"),
    };
    let cpus = |text| ResourceOperation::Reserve(make::reserved(text, "web", "ops"));
    done(world.ask("ops", changing("o1", "n1", cpus("cpus:1"))));
    let calls = [
        changing("o1", "n1", cpus("cpus:2")),
        changing("o2", "n9", cpus("cpus:1")),
        OperatorCall::DrainAgent {
            agent: "n9".parse().expect("a name"),
            grace_max: None,
        },
        OperatorCall::RemoveAgent {
            agent: "n9".parse().expect("a name"),
        },
        OperatorCall::KillTask {
            task: key(framework),
            grace: None,
        },
        OperatorCall::KillTask {
            task: key(world.id(fw)),
            grace: None,
        },
        OperatorCall::TeardownFramework { framework },
    ];
    for (index, call) in calls.into_iter().enumerate() {
        failed(world.ask("ops", call));
        let refused = world.disk.audit().filter(|entry| entry.refused.is_some());
        assert_eq!(refused.count(), index + 1, "case {index}");
    }
}

/// Rules that let operators do nothing.
#[derive(Debug)]
struct NoOperators;

impl Policy for NoOperators {
    fn judge(&self, caller: Caller<'_>, _: Act<'_>) -> Verdict {
        match caller {
            Caller::Operator(_) => Verdict::Refused,
            Caller::Framework(_) => Verdict::Allowed,
        }
    }
}

#[test]
fn what_the_rules_refuse_an_operator_is_written_down_with_what_it_was_about() {
    let mut world = World::with(Settings::new(make::line("s1")), Arc::new(NoOperators));
    world.agent("n1", "cpus:4;mem:1024");
    let agent = || "n1".parse().expect("a name");
    let drain = OperatorCall::DrainAgent {
        agent: agent(),
        grace_max: None,
    };
    for call in [drain, OperatorCall::RemoveAgent { agent: agent() }] {
        assert_eq!(failed(world.ask("ops", call)), ErrorCode::Unauthorized);
        let last = world.disk.audit().last().expect("it is written down");
        assert!(last.refused.is_some());
        assert!(last.what.as_str().contains("n1"), "{}", last.what);
    }
}

#[test]
fn the_same_change_is_done_once_and_answered_each_time() {
    let mut world = World::new();
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    let cpus = make::reserved("cpus:1", "web", "ops");
    let call = changing("o1", "n1", ResourceOperation::Reserve(cpus));
    assert_eq!(world.ask("ops", call.clone()), None, "the agent is asked");
    assert_eq!(world.ask("ops", call.clone()), None, "this one waits too");
    world.prompt = true;
    world.settle();
    assert_eq!(world.answers.len(), 2);
    done(world.ask("ops", call));
    assert_eq!(world.node(N1).set.version().0, 1);
    let other = make::reserved("cpus:2", "web", "ops");
    let answer = world.ask(
        "ops",
        changing("o1", "n1", ResourceOperation::Reserve(other)),
    );
    assert_eq!(failed(answer), ErrorCode::OperationIdReused);
    // Another operator's ids are its own.
    done(world.ask(
        "ops2",
        changing(
            "o1",
            "n1",
            ResourceOperation::Reserve(make::reserved("cpus:1", "web", "ops2")),
        ),
    ));
}

#[test]
fn an_operator_takes_back_what_a_framework_has_reserved() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    let cpus = make::reserved("cpus:2", "web", "f1");
    world.accept(fw, &[offer], vec![make::reserve("o1", cpus.clone())]);
    world.advance_secs(5);
    done(world.ask(
        "ops",
        changing("o1", "n1", ResourceOperation::Unreserve(cpus)),
    ));
    assert!(world.node(N1).set.resources().is_empty());
    assert_eq!(world.offered(fw), make::resources("cpus:4;mem:1024"));
}

#[test]
fn nobody_is_offered_what_an_operators_change_is_being_done_with() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    let cpus = make::reserved("cpus:3", "db", "ops");
    let call = changing("o1", "n1", ResourceOperation::Reserve(cpus));
    assert_eq!(world.ask("ops", call), None);
    assert_eq!(world.offered(fw), make::resources("cpus:1;mem:1024"));
    // The agent fails: it is free again.
    world.node_mut(N1).fails_next = true;
    world.prompt = true;
    world.settle();
    let answer = world.answers.pop().map(|(_, answered)| answered.answer);
    assert_eq!(failed(answer), ErrorCode::AgentFailed);
    let offers: Vec<_> = world.offers(fw).iter().map(|offer| offer.id).collect();
    world.decline(fw, &offers, 0);
    world.advance_secs(1);
    assert_eq!(world.offered(fw), make::resources("cpus:4;mem:1024"));
}

#[test]
fn draining_ends_tasks_and_sends_the_agent_away() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:2;mem:64");
    world.advance_secs(1);
    world.acknowledge_all(fw);
    done(world.ask(
        "ops",
        OperatorCall::DrainAgent {
            agent: "n1".parse().expect("a name"),
            grace_max: None,
        },
    ));
    assert_eq!(world.offers(fw), []);
    let updates = world.acknowledge_all(fw);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].state, TaskState::Killed);
    assert_eq!(updates[0].reason, Some(Reason::AgentDraining));
    let answer = world.ask("ops", OperatorCall::ListAgents(Page::default()));
    let Some(OperatorAnswer::Agents(agents)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(agents.entries, [], "it has left");
}

#[test]
fn an_agent_that_is_drained_while_it_is_away_is_told_when_it_is_back() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.cut(N1);
    let answer = world.ask(
        "ops",
        OperatorCall::DrainAgent {
            agent: "n1".parse().expect("a name"),
            grace_max: None,
        },
    );
    let Some(OperatorAnswer::Done { notes }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(notes.len(), 1);
    world.restart();
    world.prompt = false;
    world.register(N1);
    assert_eq!(world.offers(fw), []);
    let told = world.places[0]
        .inbox
        .iter()
        .any(|event| matches!(event, AgentEvent::Drain { .. }));
    assert!(told);
}

#[test]
fn a_removed_agent_is_shut_down_and_its_tasks_are_lost() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:2;mem:64");
    world.acknowledge_all(fw);
    world.heard(fw);
    done(world.ask(
        "ops",
        OperatorCall::RemoveAgent {
            agent: "n1".parse().expect("a name"),
        },
    ));
    let updates = world.updates(fw);
    assert_eq!(updates[0].state, TaskState::Lost);
    assert_eq!(updates[0].reason, Some(Reason::AgentRemovedByOperator));
    assert_eq!(world.ledger.census().agents_removed.by_operator, 1);
    assert!(world.node(N1).tasks.is_empty());
    assert_eq!(world.node(N1).id, None);
    let answer = world.ask(
        "ops",
        OperatorCall::RemoveAgent {
            agent: "n1".parse().expect("a name"),
        },
    );
    assert_eq!(failed(answer), ErrorCode::AgentUnknown);
}

#[test]
fn an_operator_kills_a_task_and_tears_down_a_framework() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:2;mem:64");
    world.acknowledge_all(fw);
    let task = world.key(fw, "t1");
    let kill = OperatorCall::KillTask { task, grace: None };
    done(world.ask("ops", kill.clone()));
    let updates = world.acknowledge_all(fw);
    assert_eq!(updates[0].reason, Some(Reason::KilledByOperator));
    assert_eq!(failed(world.ask("ops", kill)), ErrorCode::TaskUnknown);
    let framework = world.id(fw);
    let teardown = OperatorCall::TeardownFramework { framework };
    done(world.ask("ops", teardown.clone()));
    assert!(world.frameworks[fw.0].session.is_none());
    assert_eq!(
        failed(world.ask("ops", teardown)),
        ErrorCode::FrameworkRemoved
    );
}

#[test]
fn weights_are_set_and_survive() {
    let mut world = World::new();
    world.framework("f1", "web");
    let set = |amount: &str| OperatorCall::SetWeight {
        role: make::role("web"),
        weight: Weight::new(amount.parse().expect("an amount")).expect("above zero"),
    };
    done(world.ask("ops", set("2.5")));
    assert_eq!(
        failed(world.ask("ops", set("10000000"))),
        ErrorCode::InvalidMessage
    );
    world.restart();
    let answer = world.ask("ops", OperatorCall::ListRoles(Page::default()));
    let Some(OperatorAnswer::Roles(Listing { entries, .. })) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].weight.amount(), Amount::from_thousandths(2_500));
}

#[test]
fn lists_say_what_there_is() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024;disk:1000");
    let offer = world.offer(fw).id;
    let data = make::volume("data", 500, "web", "f1");
    let held = make::and(&make::resources("cpus:1;mem:64"), &data);
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", make::reserved("disk:700", "web", "f1")),
            make::create("o2", data),
            make::launch("o3", vec![make::task("t1", &held)]),
        ],
    );
    world.advance_secs(1);
    world.acknowledge_all(fw);

    let answer = world.ask("ops", OperatorCall::ListAgents(Page::default()));
    let Some(OperatorAnswer::Agents(agents)) = answer else {
        panic!("{answer:?}");
    };
    let agent = &agents.entries[0];
    assert_eq!(agent.state, AgentState::Connected);
    assert_eq!(agent.used, held);
    assert_eq!(agent.tasks, 1);
    assert_eq!(agent.set_version.0, 2);
    assert_eq!(make::and(&agent.used, &agent.offered), agent.total);

    let answer = world.ask("ops", OperatorCall::ListOffers(Page::default()));
    let Some(OperatorAnswer::Offers(offers)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(offers.entries[0].offer, world.offer(fw));

    let answer = world.ask("ops", OperatorCall::ListFrameworks(Page::default()));
    let Some(OperatorAnswer::Frameworks(frameworks)) = answer else {
        panic!("{answer:?}");
    };
    let entry = &frameworks.entries[0];
    assert_eq!((entry.tasks, entry.offers), (1, 1));
    assert_eq!(entry.used, make::resources("cpus:1;mem:64;disk:500"));

    let tasks = OperatorCall::ListTasks {
        page: Page::default(),
        framework: None,
        agent: Some("n1".parse().expect("a name")),
        ended: false,
    };
    let Some(OperatorAnswer::Tasks(tasks)) = world.ask("ops", tasks) else {
        panic!("tasks");
    };
    assert_eq!(tasks.entries.len(), 1);
    assert_eq!(tasks.entries[0].status.state, TaskState::Running);

    let volumes = OperatorCall::ListVolumes {
        page: Page::default(),
        agent: None,
        role: Some(make::role("web")),
    };
    let Some(OperatorAnswer::Volumes(volumes)) = world.ask("ops", volumes) else {
        panic!("volumes");
    };
    assert_eq!(volumes.entries.len(), 1);
    assert_eq!(volumes.entries[0].holder, Holder::Used(world.key(fw, "t1")));

    let reservations = OperatorCall::ListReservations {
        page: Page::default(),
        agent: None,
        role: None,
    };
    let Some(OperatorAnswer::Reservations(listed)) = world.ask("ops", reservations) else {
        panic!("reservations");
    };
    assert_eq!(listed.entries.len(), 1);
    assert_eq!(
        listed.entries[0].resources,
        make::reserved("disk:200", "web", "f1")
    );
    assert_eq!(listed.entries[0].holder, Holder::Offered(world.id(fw)));
}

#[test]
fn lists_are_read_page_by_page() {
    let mut world = World::new();
    for number in 0..10 {
        world.agent(&format!("n{number}"), "cpus:1;mem:32");
    }
    let mut names = Vec::new();
    let mut page = Page {
        after: None,
        limit: std::num::NonZeroU32::new(3),
    };
    loop {
        let answer = world.ask("ops", OperatorCall::ListAgents(page.clone()));
        let Some(OperatorAnswer::Agents(listing)) = answer else {
            panic!("{answer:?}");
        };
        names.extend(
            listing
                .entries
                .iter()
                .map(|entry| entry.agent.name.to_string()),
        );
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
    }
    let wanted: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    assert_eq!(names, wanted);
    page.after = Some(weir_protocol::operator::Cursor(
        weir_protocol::Line::new("no such place").expect("a line"),
    ));
    assert_eq!(
        failed(world.ask("ops", OperatorCall::ListOffers(page))),
        ErrorCode::InvalidMessage
    );
}
