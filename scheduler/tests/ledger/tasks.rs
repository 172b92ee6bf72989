//! Tasks: their updates, KILL, and RECONCILE.

use weir_protocol::{AgentId, FrameworkCall, Reason, TaskQuery, TaskState, TaskStatus, UpdateId};

use super::make;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn running() -> (World, Fw) {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    (world, fw)
}

fn kill(world: &mut World, fw: Fw, task: &str) {
    world.say(
        fw,
        FrameworkCall::Kill {
            task: make::task_id(task),
            agent: None,
            grace: None,
        },
    );
}

fn reconcile(world: &mut World, fw: Fw, tasks: &[(&str, Option<AgentId>)]) -> Vec<TaskStatus> {
    world.heard(fw);
    let tasks = tasks.iter().map(|(task, agent)| TaskQuery {
        task: make::task_id(task),
        agent: *agent,
    });
    let call = FrameworkCall::Reconcile {
        tasks: tasks.collect(),
        operations: vec![],
    };
    world.say(fw, call);
    world.updates(fw)
}

fn states(updates: &[TaskStatus]) -> Vec<TaskState> {
    updates.iter().map(|status| status.state).collect()
}

#[test]
fn updates_go_to_the_framework_and_acknowledgements_back() {
    let (mut world, fw) = running();
    let updates = world.acknowledge_all(fw);
    assert_eq!(states(&updates), [TaskState::Running]);
    assert_eq!(updates[0].agent, world.node(N1).id);
    let key = world.key(fw, "t1");
    let call = world.node_mut(N1).end(&key, TaskState::Finished, None);
    world.node_says(N1, call.into_iter().collect());
    world.settle();
    let updates = world.acknowledge_all(fw);
    assert_eq!(states(&updates), [TaskState::Finished]);
    assert!(world.node(N1).tasks.is_empty(), "the agent may forget it");
}

#[test]
fn what_a_task_held_is_free_as_soon_as_it_has_ended_whatever_was_acknowledged() {
    let (mut world, fw) = running();
    let key = world.key(fw, "t1");
    // Its first update is not acknowledged, so the second waits with the agent.
    let call = world.node_mut(N1).end(&key, TaskState::Failed, None);
    world.node_says(N1, call.into_iter().collect());
    world.advance_secs(1);
    assert_eq!(world.offered(fw), make::resources("cpus:4;mem:1024"));
    // The state that is told is that of the last update, not of the latest.
    let told = reconcile(&mut world, fw, &[("t1", None)]);
    assert_eq!(states(&told), [TaskState::Running]);
    assert_eq!(told[0].update, None);
    assert_eq!(told[0].reason, Some(Reason::Reconciliation));
}

#[test]
fn an_acknowledgement_of_something_else_ends_nothing() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    let agent = world.agent_id(N1);
    for (agent, update) in [
        (agent, UpdateId::from_bits(99)),
        (AgentId::from_bits(1), UpdateId::from_bits(1)),
    ] {
        world.say(
            fw,
            FrameworkCall::Acknowledge {
                agent,
                task: make::task_id("t1"),
                update,
            },
        );
    }
    assert_eq!(world.node(N1).tasks.len(), 1);
    assert_eq!(
        states(&reconcile(&mut world, fw, &[])),
        [TaskState::Running]
    );
}

#[test]
fn an_update_that_comes_again_is_told_again() {
    let (mut world, fw) = running();
    world.heard(fw);
    let calls = world.node(N1).open_updates();
    world.node_says(N1, calls);
    world.settle();
    assert_eq!(states(&world.updates(fw)), [TaskState::Running]);
}

#[test]
fn updates_that_came_while_a_framework_was_away_are_told_when_it_is_back() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    world.cut_framework(fw);
    let key = world.key(fw, "t1");
    let call = world.node_mut(N1).end(&key, TaskState::Finished, None);
    world.node_says(N1, call.into_iter().collect());
    world.settle();
    world.heard(fw);
    world.subscribe(fw);
    assert_eq!(states(&world.updates(fw)), [TaskState::Finished]);
}

#[test]
fn a_task_is_killed() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    kill(&mut world, fw, "t1");
    let updates = world.acknowledge_all(fw);
    assert_eq!(states(&updates), [TaskState::Killed]);
    assert!(world.node(N1).tasks.is_empty());
}

#[test]
fn killing_what_is_not_known_is_answered_as_reconcile_would() {
    let (mut world, fw) = running();
    world.heard(fw);
    kill(&mut world, fw, "t9");
    let updates = world.updates(fw);
    assert_eq!(states(&updates), [TaskState::Lost]);
    assert_eq!(updates[0].reason, Some(Reason::Reconciliation));
}

#[test]
fn a_kill_reaches_an_agent_that_was_away() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    world.cut(N1);
    kill(&mut world, fw, "t1");
    assert_eq!(world.node(N1).alive().count(), 1);
    world.register(N1);
    assert_eq!(world.node(N1).alive().count(), 0);
    assert_eq!(states(&world.acknowledge_all(fw)), [TaskState::Killed]);
}

#[test]
fn reconcile_is_answered_by_the_table() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    let here = world.agent_id(N1);
    let nowhere = AgentId::from_bits(12);
    assert_eq!(
        states(&reconcile(&mut world, fw, &[])),
        [TaskState::Running]
    );
    // Known; unknown to its agent; of an agent that is not there; of any.
    for (query, state) in [
        (("t1", Some(here)), TaskState::Running),
        (("t2", Some(here)), TaskState::Lost),
        (("t2", Some(nowhere)), TaskState::Lost),
        (("t2", None), TaskState::Lost),
    ] {
        assert_eq!(states(&reconcile(&mut world, fw, &[query])), [state]);
    }
    // An agent that is away: what is known, with how long it has been away.
    world.cut(N1);
    world.advance_secs(12);
    let told = reconcile(&mut world, fw, &[("t1", None)]);
    assert_eq!(states(&told), [TaskState::Running]);
    let message = told[0].message.as_ref().expect("a message");
    assert!(message.as_str().contains("away for 12 s"), "{message}");
    // After a restart: silence until the agent is back, then what it says.
    world.restart();
    world.subscribe(fw);
    assert_eq!(reconcile(&mut world, fw, &[]), []);
    assert_eq!(reconcile(&mut world, fw, &[("t1", Some(here))]), []);
    assert_eq!(reconcile(&mut world, fw, &[("t2", None)]), []);
    assert_eq!(
        states(&reconcile(&mut world, fw, &[("t2", Some(nowhere))])),
        [TaskState::Lost]
    );
    world.register(N1);
    assert_eq!(
        states(&reconcile(&mut world, fw, &[("t1", None), ("t2", None)])),
        [TaskState::Running, TaskState::Lost]
    );
}

#[test]
fn a_task_that_was_over_is_told_as_it_ended() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    kill(&mut world, fw, "t1");
    world.acknowledge_all(fw);
    assert_eq!(
        states(&reconcile(&mut world, fw, &[("t1", None)])),
        [TaskState::Killed]
    );
    assert_eq!(reconcile(&mut world, fw, &[]), []);
}

#[test]
fn a_launch_that_was_lost_is_sent_again_and_the_task_runs_once() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    world.run(fw, "t1", "cpus:1;mem:64");
    world.cut(N1);
    world.prompt = true;
    world.register(N1);
    let key = world.key(fw, "t1");
    assert_eq!(world.node(N1).starts[&key], 1);
    // Told again by mistake or design, it is not run again.
    world.cut(N1);
    world.register(N1);
    world.restart();
    world.register(N1);
    assert_eq!(world.node(N1).starts[&key], 1);
}

#[test]
fn a_task_that_was_killed_before_it_was_launched_never_is() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    world.run(fw, "t1", "cpus:1;mem:64");
    world.cut(N1);
    kill(&mut world, fw, "t1");
    world.heard(fw);
    world.prompt = true;
    world.register(N1);
    assert!(world.node(N1).starts.is_empty());
    let updates = world.updates(fw);
    assert_eq!(states(&updates), [TaskState::Killed]);
    assert_eq!(updates[0].reason, Some(Reason::TaskKilledDuringLaunch));
}

#[test]
fn an_agent_that_returns_without_a_task_it_had_loses_it() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    world.cut(N1);
    world.node_mut(N1).tasks.clear();
    world.register(N1);
    let updates = world.updates(fw);
    assert_eq!(states(&updates), [TaskState::Lost]);
    assert_eq!(updates[0].reason, Some(Reason::AgentRestarted));
}

#[test]
fn a_task_id_in_use_is_not_launched_again_and_its_task_is_not_called_lost() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    world.advance_secs(5);
    world.heard(fw);
    let offer = world.offer(fw).id;
    let again = make::task("t1", &make::resources("cpus:1"));
    world.accept(fw, &[offer], vec![make::launch("o9", vec![again.clone()])]);
    assert_eq!(world.updates(fw), []);
    // Nor when the offers are wrong.
    world.say(
        fw,
        FrameworkCall::Accept {
            offers: vec![offer],
            operations: vec![make::launch("o10", vec![again])],
            filters: make::refuse(0),
        },
    );
    assert_eq!(world.updates(fw), []);
    let key = world.key(fw, "t1");
    assert_eq!(world.node(N1).starts[&key], 1);
}

#[test]
fn a_terminal_update_whose_acknowledgement_was_lost_is_acknowledged_again() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    world.prompt = false;
    let key = world.key(fw, "t1");
    let call = world.node_mut(N1).end(&key, TaskState::Finished, None);
    world.node_says(N1, call.into_iter().collect());
    world.settle();
    world.acknowledge_all(fw);
    world.cut(N1);
    world.prompt = true;
    assert_eq!(world.node(N1).tasks.len(), 1);
    world.register(N1);
    assert!(world.node(N1).tasks.is_empty());
    assert_eq!(world.updates(fw), []);
}
