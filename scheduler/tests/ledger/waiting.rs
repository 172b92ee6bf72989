//! Operations that wait: for an agent, for their turn, or for nobody any more.

use weir_protocol::{FrameworkCall, OperationOutcome, Reason, TaskState};

use super::make;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn is_finished(outcome: &OperationOutcome) -> bool {
    matches!(outcome, OperationOutcome::Finished { .. })
}

/// Returns the final answers only.
fn finals(world: &mut World, fw: Fw) -> Vec<(String, OperationOutcome)> {
    let all = world.outcomes(fw).into_iter();
    all.filter(|(_, outcome)| outcome.is_final()).collect()
}

fn one_agent(has: &str) -> (World, Fw) {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", has);
    world.heard(fw);
    (world, fw)
}

#[test]
fn an_operation_waits_for_an_agent_that_is_cut_off_and_is_done_when_it_is_back() {
    for has_applied in [false, true] {
        let (mut world, fw) = one_agent("cpus:4;mem:1024");
        world.prompt = false;
        let offer = world.offer(fw).id;
        let mine = make::reserved("cpus:2", "web", "f1");
        let held = make::and(&mine, &make::resources("mem:64"));
        world.accept(
            fw,
            &[offer],
            vec![
                make::reserve("o1", mine.clone()),
                make::launch("o2", vec![make::task("t1", &held)]),
            ],
        );
        if has_applied {
            // It applies, and the answer is lost with the connection.
            let event = world.places[0].inbox.pop_front().expect("APPLY");
            world.places[0].node.handle(event);
        }
        world.cut(N1);
        assert_eq!(finals(&mut world, fw), []);
        world.prompt = true;
        world.register(N1);
        let outcomes = finals(&mut world, fw);
        assert_eq!(outcomes.len(), 2, "{outcomes:?}");
        assert!(outcomes.iter().all(|(_, outcome)| is_finished(outcome)));
        let node = world.node(N1);
        assert_eq!(node.set.version().0, 1);
        assert_eq!(node.alive().count(), 1);
    }
}

#[test]
fn changes_of_several_frameworks_take_turns_on_an_agent() {
    let mut world = World::new();
    let web = world.framework("f1", "web");
    let kept = make::kept("disk:100", "db");
    let has = make::and(&make::resources("cpus:4;mem:1024"), &kept);
    world.add(super::node::Node::new("n1", &has, 1));
    let db = world.framework("f2", "db");
    world.prompt = false;
    let first = world.offer(web).id;
    let second = world.offer(db).id;
    let cpus = make::reserved("cpus:2", "web", "f1");
    world.accept(web, &[first], vec![make::reserve("o1", cpus)]);
    let data = make::volume_on(&kept, "data");
    world.accept(db, &[second], vec![make::create("o1", data)]);
    // One is with the agent, the other waits.
    assert_eq!(world.places[0].inbox.len(), 1);
    world.prompt = true;
    world.settle();
    assert!(is_finished(&finals(&mut world, web)[0].1));
    assert!(is_finished(&finals(&mut world, db)[0].1));
    assert_eq!(world.node(N1).set.version().0, 2);
}

#[test]
fn a_task_that_waits_behind_an_operation_can_be_killed_and_is_never_launched() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    world.prompt = false;
    let offer = world.offer(fw).id;
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", make::reserved("cpus:2", "web", "f1")),
            make::launch("o2", vec![make::task("t1", &make::resources("mem:64"))]),
        ],
    );
    world.heard(fw);
    world.say(
        fw,
        FrameworkCall::Reconcile {
            tasks: vec![],
            operations: vec![],
        },
    );
    assert_eq!(world.updates(fw)[0].state, TaskState::Staging);
    world.say(
        fw,
        FrameworkCall::Kill {
            task: make::task_id("t1"),
            agent: None,
            grace: None,
        },
    );
    let updates = world.updates(fw);
    assert_eq!(updates[0].state, TaskState::Killed);
    assert_eq!(updates[0].reason, Some(Reason::TaskKilledDuringLaunch));
    world.prompt = true;
    world.settle();
    assert_eq!(finals(&mut world, fw).len(), 2);
    assert!(world.node(N1).starts.is_empty());
}

#[test]
fn an_operation_that_was_done_before_the_database_was_lost_is_done_once() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let reserve = make::reserve("o1", make::reserved("cpus:2", "web", "f1"));
    let offer = world.offer(fw).id;
    world.accept(fw, &[offer], vec![reserve.clone()]);
    world.lose_database();
    world.subscribe(fw);
    world.register(N1);
    world.heard(fw);
    // Its framework has not heard the answer, and asks again.
    let offer = world.offer(fw).id;
    let launch = make::launch("o2", vec![make::task("t1", &make::resources("mem:64"))]);
    world.accept(fw, &[offer], vec![reserve, launch]);
    let outcomes = finals(&mut world, fw);
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|(_, outcome)| is_finished(outcome)));
    let node = world.node(N1);
    assert_eq!(node.set.version().0, 1);
    assert_eq!(node.alive().count(), 1);
}

#[test]
fn what_a_framework_left_behind_is_not_begun_and_disturbs_nobody() {
    for has_applied in [false, true] {
        let mut world = World::new();
        let web = world.framework("f1", "web");
        let kept = make::kept("disk:100", "db");
        let has = make::and(&make::resources("cpus:4;mem:1024"), &kept);
        world.add(super::node::Node::new("n1", &has, 1));
        let db = world.framework("f2", "db");
        world.prompt = false;
        let cpus = make::reserved("cpus:2", "web", "f1");
        let offer = world.offer(web).id;
        world.accept(web, &[offer], vec![make::reserve("o1", cpus.clone())]);
        let offer = world.offer(db);
        let data = make::volume_on(&offer.resources, "data");
        world.accept(db, &[offer.id], vec![make::create("o1", data.clone())]);
        if has_applied {
            let event = world.places[0].inbox.pop_front().expect("APPLY");
            world.places[0].node.handle(event);
        }
        world.cut(N1);
        world.say(web, FrameworkCall::Teardown);
        world.prompt = true;
        world.register(N1);
        assert!(is_finished(&finals(&mut world, db)[0].1));
        let set = world.node(N1).set.resources();
        assert!(set.contains(&data));
        assert_eq!(set.contains(&cpus), has_applied);
    }
}
