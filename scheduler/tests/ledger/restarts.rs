//! The scheduler ends at any instant, and nothing that was said is lost.

use weir_protocol::{AgentEvent, FrameworkCall, OperationOutcome, OperatorCall, TaskState};
use weir_resources::ResourceOperation;
use weir_scheduler::ledger::{Input, Outgoing};

use super::make;
use super::world::{NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

#[test]
fn tasks_go_on_and_their_frameworks_find_them_again() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.acknowledge_all(fw);
    let (id, agent) = (world.id(fw), world.agent_id(N1));
    world.restart();
    world.subscribe(fw);
    assert_eq!(world.id(fw), id);
    assert_eq!(world.offers(fw), [], "its agent is not there yet");
    world.register(N1);
    assert_eq!(world.agent_id(N1), agent);
    assert_eq!(world.offered(fw), make::resources("cpus:3;mem:960"));
    let key = world.key(fw, "t1");
    assert_eq!(world.node(N1).starts[&key], 1);
}

#[test]
fn nothing_is_said_before_it_is_written() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    let session = world.frameworks[fw.0].session.expect("a session");
    let task = make::task("t1", &make::resources("cpus:1"));
    let call = FrameworkCall::Accept {
        offers: vec![offer],
        operations: vec![make::launch("o1", vec![task])],
        filters: make::refuse(0),
    };
    let call = weir_protocol::Numbered {
        id: weir_protocol::CallId::FIRST,
        call,
    };
    world
        .ledger
        .handle(world.now, Input::Framework { session, call });
    assert!(world.ledger.poll_outgoing().is_none());
    let batch = world.ledger.poll_batch().expect("a task and an answer");
    assert!(world.ledger.poll_outgoing().is_none());
    assert!(world.ledger.poll_batch().is_none());
    world.ledger.handle_written(batch.written());
    let mut said = Vec::new();
    while let Some(outgoing) = world.ledger.poll_outgoing() {
        said.push(outgoing);
    }
    assert!(said.len() >= 2, "LAUNCH and the answer: {said:?}");
    assert!(
        said.iter()
            .all(|said| matches!(said, Outgoing::Send { .. }))
    );
}

#[test]
fn a_launch_that_was_written_and_never_sent_is_sent() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    world.run(fw, "t1", "cpus:1;mem:64");
    world.restart();
    world.prompt = true;
    world.register(N1);
    world.subscribe(fw);
    let updates = world.acknowledge_all(fw);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].state, TaskState::Running);
}

#[test]
fn an_operation_goes_on_where_it_was() {
    for has_applied in [false, true] {
        let mut world = World::new();
        let fw = world.framework("f1", "web");
        world.agent("n1", "cpus:4;mem:1024;disk:100");
        world.prompt = false;
        let offer = world.offer(fw).id;
        let data = make::volume("data", 100, "web", "f1");
        let held = make::and(&make::resources("mem:64"), &data);
        world.accept(
            fw,
            &[offer],
            vec![
                make::reserve("o1", make::reserved("disk:100", "web", "f1")),
                make::create("o2", data.clone()),
                make::launch("o3", vec![make::task("t1", &held)]),
            ],
        );
        if has_applied {
            while let Some(event) = world.places[0].inbox.pop_front() {
                let is_last = matches!(event, AgentEvent::Apply { .. });
                world.places[0].node.handle(event);
                if is_last {
                    break;
                }
            }
        }
        world.restart();
        world.prompt = true;
        world.register(N1);
        world.subscribe(fw);
        let operations = ["o1", "o2", "o3"].map(make::operation_id).to_vec();
        world.heard(fw);
        world.say(
            fw,
            FrameworkCall::Reconcile {
                tasks: vec![],
                operations,
            },
        );
        let outcomes = world.outcomes(fw);
        assert_eq!(outcomes.len(), 3);
        for (id, outcome) in outcomes {
            assert!(
                matches!(outcome, OperationOutcome::Finished { .. }),
                "{id}: {outcome:?}"
            );
        }
        let node = world.node(N1);
        assert_eq!(node.set.version().0, 2);
        assert_eq!(node.alive().count(), 1);
    }
}

#[test]
fn operations_answered_while_a_framework_is_away_are_told_when_it_is_back() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    let offer = world.offer(fw).id;
    world.accept(
        fw,
        &[offer],
        vec![make::reserve("o1", make::reserved("cpus:1", "web", "f1"))],
    );
    world.cut_framework(fw);
    world.prompt = true;
    world.settle();
    world.heard(fw);
    world.subscribe(fw);
    let outcomes = world.outcomes(fw);
    assert_eq!(outcomes.len(), 1);
    assert!(matches!(outcomes[0].1, OperationOutcome::Finished { .. }));
}

#[test]
fn an_operators_change_survives_and_is_answered_to_whoever_asks_again() {
    let mut world = World::new();
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    let change = ResourceOperation::Reserve(make::reserved("cpus:1", "web", "ops"));
    let call = OperatorCall::Change {
        operation: make::operation_id("o1"),
        agent: "n1".parse().expect("a name"),
        change,
    };
    assert_eq!(world.ask("ops", call.clone()), None);
    world.restart();
    world.prompt = true;
    world.register(N1);
    let answer = world.ask("ops", call);
    assert!(
        matches!(answer, Some(weir_protocol::OperatorAnswer::Done { .. })),
        "{answer:?}"
    );
    assert_eq!(world.node(N1).set.version().0, 1);
}

#[test]
fn agents_that_do_not_come_back_after_a_start_are_given_up_later_than_others() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    for name in ["n1", "n2", "n3"] {
        world.agent(name, "cpus:4;mem:1024");
    }
    world.restart();
    world.subscribe(fw);
    for number in [1, 2] {
        world.register(NodeNumber(number));
    }
    world.heard(fw);
    world.advance_secs(599);
    let is_lost = |world: &mut World| {
        let heard = world.heard(fw);
        heard
            .iter()
            .any(|event| matches!(event, weir_protocol::FrameworkEvent::AgentLost { .. }))
    };
    assert!(!is_lost(&mut world));
    world.advance_secs(1);
    assert!(is_lost(&mut world));
}

#[test]
fn frameworks_have_time_to_come_back_after_a_start_whatever_they_asked_for() {
    let mut world = World::new();
    let mut info = make::framework_info("f1", "web");
    info.failover_timeout = weir_protocol::Millis(0);
    let fw = world.framework_as("f1", info);
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.acknowledge_all(fw);
    world.restart();
    world.register(N1);
    world.advance_secs(119);
    assert_eq!(world.node(N1).alive().count(), 1);
    world.advance_secs(1);
    assert_eq!(world.node(N1).alive().count(), 0);
}

#[test]
fn interruptions_of_the_network_disrupt_nothing_for_good() {
    // After Kyle Kingsbury's report on Mesos 0.23 and Chronos (2015): a network that breaks again and
    // again left the framework unable to run anything, also after it had healed.
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    for name in ["n1", "n2", "n3"] {
        world.agent(name, "cpus:1;mem:64");
    }
    for round in 0..30 {
        world.cut_framework(fw);
        for number in 0..3 {
            world.cut(NodeNumber((number + round) % 3));
            world.advance_secs(7);
        }
        world.subscribe(fw);
        for number in 0..3 {
            world.register(NodeNumber(number));
            world.advance_secs(3);
        }
        let offers = world.offers(fw);
        if let Some(offer) = offers.first() {
            let held = offer.resources.clone();
            let task = make::task(&format!("t{round}"), &held);
            world.accept(
                fw,
                &[offer.id],
                vec![make::launch(&format!("o{round}"), vec![task])],
            );
        }
        world.acknowledge_all(fw);
        // Every task runs for a round.
        for number in 0..3 {
            let number = NodeNumber(number);
            let alive: Vec<_> = world.node(number).alive().cloned().collect();
            for key in alive {
                let call = world.node_mut(number).end(&key, TaskState::Finished, None);
                world.node_says(number, call.into_iter().collect());
            }
        }
        world.settle();
        world.acknowledge_all(fw);
    }
    world.advance_secs(10);
    let offers = world.offers(fw);
    assert_eq!(offers.len(), 3, "all three agents are offered");
    let starts: u32 = (0..3)
        .flat_map(|number| world.node(NodeNumber(number)).starts.values().copied())
        .sum();
    assert_eq!(starts, 30, "each round ran its task, once");
}

#[test]
fn a_task_that_its_agent_had_and_lost_is_not_launched_again_by_the_next_scheduler() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    let node = world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.acknowledge_all(fw);
    world.restart();
    // Its database was put back from a copy of before the task.
    world.node_mut(node).tasks.clear();
    world.node_mut(node).starts.clear();
    world.subscribe(fw);
    world.register(node);
    let told = world.updates(fw);
    let last = told.last().expect("its framework is told");
    assert_eq!(last.state, TaskState::Lost);
    assert!(world.node(node).starts.is_empty(), "it may have run");
}
