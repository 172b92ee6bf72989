//! Agents: registration, absence, removal, and a lost database.

use weir_protocol::{
    AgentEvent, AgentId, ErrorCode, FrameworkCall, FrameworkEvent, Reason, RescindReason, TaskState,
};

use weir_scheduler::ledger::RemovedAgents;

use super::make;
use super::node::Node;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);
const N2: NodeNumber = NodeNumber(1);
const N3: NodeNumber = NodeNumber(2);

/// Three agents, of which one runs a task.
fn cluster() -> (World, Fw) {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.acknowledge_all(fw);
    world.agent("n2", "cpus:4;mem:1024");
    world.agent("n3", "cpus:4;mem:1024");
    world.heard(fw);
    (world, fw)
}

fn refusal(world: &World, number: NodeNumber) -> Option<ErrorCode> {
    world.places[number.0]
        .inbox
        .iter()
        .find_map(|event| match event {
            AgentEvent::RegistrationRefused(failure) => Some(failure.code),
            _ => None,
        })
}

#[test]
fn an_agent_that_was_cut_off_keeps_its_tasks_and_its_id() {
    let (mut world, fw) = cluster();
    let id = world.agent_id(N1);
    world.cut(N1);
    world.advance_secs(74);
    world.register(N1);
    assert_eq!(world.agent_id(N1), id);
    assert_eq!(world.node(N1).alive().count(), 1);
    assert_eq!(world.updates(fw), []);
}

#[test]
fn an_agent_that_is_away_for_too_long_is_removed_and_may_not_come_back_unnoticed() {
    let (mut world, fw) = cluster();
    let id = world.agent_id(N1);
    world.cut(N1);
    world.advance_secs(75);
    let heard = world.heard(fw);
    let update = heard.iter().find_map(|event| match event {
        FrameworkEvent::Update(status) => Some((status.state, status.reason)),
        _ => None,
    });
    assert_eq!(update, Some((TaskState::Lost, Some(Reason::AgentRemoved))));
    assert!(
        heard.iter().any(
            |event| matches!(event, FrameworkEvent::AgentLost { id: lost, .. } if *lost == id)
        )
    );
    // It comes with its old id: refused, it ends what it runs, and is another then.
    world.prompt = false;
    world.register(N1);
    assert_eq!(
        refusal(&world, N1),
        None,
        "it was told, and the session closed"
    );
    assert_eq!(world.node(N1).id, None);
    assert!(world.node(N1).tasks.is_empty());
    world.prompt = true;
    world.register(N1);
    assert_ne!(world.agent_id(N1), id);
    let last = world.disk.audit().last().expect("it is written down");
    let what = last.what.as_str();
    assert!(what.contains("n1") && what.contains("anew"), "{what}");
    assert!(what.contains(&id.to_string()), "{what}");
    // Also after a restart of the scheduler.
    world.node_mut(N1).id = Some(id);
    world.cut(N1);
    world.restart();
    world.register(N1);
    assert_eq!(world.node(N1).id, None);
}

#[test]
fn no_agent_is_given_up_while_most_are_away_for_then_it_is_the_scheduler_that_is() {
    let (mut world, fw) = cluster();
    for number in [N1, N2, N3] {
        world.cut(number);
    }
    assert_eq!(world.ledger.census().agents_spared, 0);
    world.advance_secs(600);
    assert_eq!(world.updates(fw), []);
    assert_eq!(world.ledger.census().agents_spared, 3);
    for number in [N1, N2] {
        world.register(number);
    }
    assert_eq!(world.node(N1).alive().count(), 1);
    assert_eq!(world.ledger.census().agents_spared, 1);
    // The third alone is given up.
    let lost = world.agent_id(N3);
    assert_eq!(
        world.ledger.census().agents_removed,
        RemovedAgents::default()
    );
    world.advance_secs(75);
    let heard = world.heard(fw);
    assert!(
        heard
            .iter()
            .any(|event| matches!(event, FrameworkEvent::AgentLost { id, .. } if *id == lost))
    );
    assert_eq!(world.ledger.census().agents_spared, 0);
    assert_eq!(
        world.ledger.census().agents_removed,
        RemovedAgents {
            timed_out: 1,
            ..RemovedAgents::default()
        }
    );
}

#[test]
fn a_name_belongs_to_one_agent_at_a_time() {
    let (mut world, _) = cluster();
    let first = world.agent_id(N1);
    // Another that has the certificate, while the first is connected.
    let second = world.add(Node::new("n1", &make::resources("cpus:1"), 9));
    assert_eq!(world.node(second).id, None);
    assert_eq!(world.agent_id(N1), first);
    // The node has lost its disk: the first is gone for good.
    world.cut(N1);
    world.register(second);
    let anew = world.agent_id(second);
    assert_ne!(anew, first);
    world.register(N1);
    assert_eq!(world.node(N1).id, None, "the first was replaced");
}

#[test]
fn what_was_lost_with_the_disk_of_an_agent_is_told() {
    let (mut world, fw) = cluster();
    world.cut(N1);
    world.node_mut(N1).begin_anew();
    world.register(N1);
    let heard = world.heard(fw);
    let update = heard.iter().find_map(|event| match event {
        FrameworkEvent::Update(status) => Some((status.state, status.reason)),
        _ => None,
    });
    assert_eq!(update, Some((TaskState::Lost, Some(Reason::AgentRemoved))));
    assert_eq!(
        world.ledger.census().agents_removed,
        RemovedAgents {
            replaced: 1,
            ..RemovedAgents::default()
        }
    );
}

#[test]
fn an_agent_registers_under_the_name_of_its_certificate() {
    let mut world = World::new();
    let agent = world.agent("n1", "cpus:4");
    world.cut(agent);
    let session = world.open(weir_scheduler::ledger::Peer::Agent(
        "n2".parse().expect("a name"),
    ));
    world.places[0].session = Some(session);
    let (registration, tasks) = world.node(agent).registration();
    world.prompt = false;
    let calls = weir_protocol::registration_calls(registration, tasks);
    world.node_says(agent, calls);
    world.settle();
    assert!(world.closed.contains(&session));
}

#[test]
fn nothing_of_an_agent_counts_before_it_has_registered() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.add(Node::new("n1", &make::resources("cpus:4;mem:64"), 1));
    world.cut(N1);
    world.heard(fw);
    let session = world.open(weir_scheduler::ledger::Peer::Agent(
        "n1".parse().expect("a name"),
    ));
    world.places[0].session = Some(session);
    world.prompt = false;
    world.node_says(N1, vec![weir_protocol::AgentCall::Unregister]);
    let told = world.places[0].inbox.iter().find_map(|event| match event {
        AgentEvent::Error(error) => Some(error.failure.code),
        _ => None,
    });
    assert_eq!(told, Some(ErrorCode::NotSubscribed));
    assert_eq!(world.heard(fw), []);
}

#[test]
fn resources_that_cannot_be_are_refused_by_name() {
    let mut world = World::new();
    for (index, has) in [
        make::and(&make::resources("cpus:4"), &make::revocable("mem:64")),
        make::and(
            &make::resources("cpus:4"),
            &make::reserved("mem:64", "web", "f1"),
        ),
        make::resources("cpus:4;port_blocks:3"),
    ]
    .iter()
    .enumerate()
    {
        let node = world.add(Node::new(&format!("n{index}"), has, index as u128 + 1));
        assert_eq!(world.node(node).id, None, "{has}");
    }
    // Less than what is reserved.
    let fw = world.framework("f1", "web");
    let node = world.agent("n9", "cpus:4;mem:64");
    let offer = world.offer(fw).id;
    let all = make::reserved("cpus:4", "web", "f1");
    world.accept(fw, &[offer], vec![make::reserve("o1", all)]);
    world.cut(node);
    world.node_mut(node).info.resources = make::resources("cpus:2;mem:64");
    world.register(node);
    assert_eq!(world.offers(fw), []);
    // Configured as before, it is welcome.
    world.node_mut(node).info.resources = make::resources("cpus:4;mem:64");
    world.register(node);
    world.advance_secs(1);
    assert_eq!(world.offers(fw).len(), 1);
}

#[test]
fn a_lost_database_is_given_back_by_agents_and_frameworks() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024;disk:100");
    let offer = world.offer(fw).id;
    let disk = make::reserved("disk:100", "web", "f1");
    let data = make::volume("data", 100, "web", "f1");
    let held = make::and(&make::resources("cpus:1;mem:64"), &data);
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", disk),
            make::create("o2", data),
            make::launch("o3", vec![make::task("t1", &held)]),
        ],
    );
    world.acknowledge_all(fw);
    let (id, agent) = (world.id(fw), world.agent_id(N1));
    // The agent comes first: its framework is known by its task.
    world.lose_database();
    world.register(N1);
    assert_eq!(world.agent_id(N1), agent);
    assert_eq!(world.node(N1).alive().count(), 1);
    world.subscribe(fw);
    assert_eq!(world.id(fw), id);
    let rest = make::resources("cpus:3;mem:960");
    assert_eq!(world.offered(fw), rest);
    // The framework comes first.
    world.lose_database();
    world.subscribe(fw);
    assert_eq!(world.id(fw), id);
    // Nothing is said of its task before its agent is there, or had time to be.
    let ask = |world: &mut World| {
        world.heard(fw);
        let tasks = vec![weir_protocol::TaskQuery {
            task: make::task_id("t1"),
            agent: Some(agent),
        }];
        let operations = vec![];
        world.say(fw, FrameworkCall::Reconcile { tasks, operations });
        let updates = world.updates(fw);
        updates.first().map(|status| status.state)
    };
    assert_eq!(ask(&mut world), None);
    world.register(N1);
    assert_eq!(ask(&mut world), Some(TaskState::Running));
    assert_eq!(world.offered(fw), rest);
}

#[test]
fn an_agent_that_leaves_is_forgotten_and_may_return() {
    let (mut world, fw) = cluster();
    let id = world.agent_id(N2);
    world.node_says(N2, vec![weir_protocol::AgentCall::Unregister]);
    world.settle();
    let heard = world.heard(fw);
    assert!(heard.iter().any(|event| matches!(
        event,
        FrameworkEvent::Rescind {
            reason: RescindReason::AgentRemoved,
            ..
        }
    )));
    assert!(
        heard.iter().any(
            |event| matches!(event, FrameworkEvent::AgentLost { id: lost, .. } if *lost == id)
        )
    );
    assert_eq!(
        world.ledger.census().agents_removed,
        RemovedAgents {
            left: 1,
            ..RemovedAgents::default()
        }
    );
    world.register(N2);
    assert_eq!(world.agent_id(N2), id);
}

#[test]
fn an_agent_in_a_new_session_takes_the_place_of_its_old_one() {
    let (mut world, _) = cluster();
    let old = world.places[0].session.expect("a session");
    // The old connection is dead, and nobody has noticed.
    world.register(N1);
    assert!(world.closed.contains(&old));
    assert_eq!(world.node(N1).alive().count(), 1);
    assert!(world.places[0].session.is_some());
}

#[test]
fn a_task_that_was_never_named_makes_the_agent_register_again() {
    let (mut world, _) = cluster();
    let session = world.places[1].session.expect("a session");
    let framework = weir_protocol::FrameworkId::from_bits(3);
    let status = weir_protocol::TaskStatus {
        task: make::task_id("ghost"),
        state: TaskState::Running,
        agent: None,
        source: weir_protocol::Source::Executor,
        reason: None,
        message: None,
        timestamp: weir_protocol::UnixMs(0),
        update: Some(weir_protocol::UpdateId::from_bits(5)),
        exit: None,
    };
    world.node_says(
        N2,
        vec![weir_protocol::AgentCall::StatusUpdate {
            framework,
            status,
            latest: TaskState::Running,
        }],
    );
    world.settle();
    assert!(world.closed.contains(&session));
}

#[test]
fn a_second_task_of_one_name_is_killed() {
    let (mut world, fw) = cluster();
    // The database is lost, and an old copy of the task comes with another agent.
    let (_, mut tasks) = world.node(N1).registration();
    tasks[0].operation.id = make::operation_id("elsewhere");
    world.cut(N2);
    let agent: AgentId = world.agent_id(N2);
    let (mut registration, _) = world.node(N2).registration();
    registration.tasks_total = 1;
    assert_eq!(registration.id, Some(agent));
    let session = world.open(weir_scheduler::ledger::Peer::Agent(
        "n2".parse().expect("a name"),
    ));
    world.places[1].session = Some(session);
    world.prompt = false;
    let calls = weir_protocol::registration_calls(registration, tasks);
    world.node_says(N2, calls);
    world.settle();
    let killed = world.places[1]
        .inbox
        .iter()
        .any(|event| matches!(event, AgentEvent::Kill { .. }));
    assert!(killed);
    assert_eq!(world.updates(fw), []);
    assert_eq!(world.node(N1).alive().count(), 1);
}
