//! Revocable resources: lent, taken back, and only as much as must be.

use weir_protocol::{
    AgentCall, AgentEvent, Estimate, FrameworkCall, FrameworkEvent, Millis, Reason, RescindReason,
    TaskState,
};
use weir_resources::{Kind, Resources};

use super::make;
use super::node::Node;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn estimate(version: u64, ttl_ms: u64, what: &str) -> Estimate {
    let lent = if what.is_empty() {
        Resources::new()
    } else {
        make::revocable(what)
    };
    Estimate::new(version, Millis(ttl_ms), lent).expect("an estimate")
}

fn lend(world: &mut World, version: u64, what: &str) {
    let estimate = estimate(version, 60_000, what);
    world.node_mut(N1).estimate = Some(estimate.clone());
    world.node_says(N1, vec![AgentCall::Estimate(estimate)]);
    world.settle();
}

/// An agent that lends, a framework that takes what is lent, and one that does not.
fn lending(what: &str) -> (World, Fw, Fw) {
    let mut world = World::new();
    let regular = world.framework("f1", "web");
    let greedy = make::opted_in(make::framework_info("f2", "batch"));
    let greedy = world.framework_as("f2", greedy);
    world.agent("n1", "cpus:4;mem:1024");
    lend(&mut world, 1, what);
    (world, regular, greedy)
}

fn lent_offers(world: &World, fw: Fw) -> Vec<Resources> {
    let offers = world.offers(fw).into_iter();
    let lent = offers.filter(|offer| offer.kind == Kind::Revocable);
    lent.map(|offer| offer.resources).collect()
}

fn run_lent(world: &mut World, fw: Fw, task: &str, what: &str) {
    let offers = world.offers(fw).into_iter();
    let mut lent = offers.filter(|offer| offer.kind == Kind::Revocable);
    let offer = lent.next().expect("something is lent").id;
    let spec = make::task(task, &make::revocable(what));
    world.accept(
        fw,
        &[offer],
        vec![make::launch(&format!("launch-{task}"), vec![spec])],
    );
    world.advance_secs(1);
}

/// Has one framework want nothing, so that the other is offered everything.
fn leave_all_to(world: &mut World, fw: Fw, other: Fw) {
    world.say(other, FrameworkCall::Suppress);
    for fw in [other, fw] {
        let offers: Vec<_> = world.offers(fw).iter().map(|offer| offer.id).collect();
        if !offers.is_empty() {
            world.decline(fw, &offers, 0);
        }
    }
    world.advance_secs(1);
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
fn what_is_lent_is_offered_apart_and_to_those_who_opted_in() {
    let (world, regular, greedy) = lending("cpus:2;mem:100");
    assert_eq!(lent_offers(&world, regular), [] as [Resources; 0]);
    assert_eq!(
        lent_offers(&world, greedy),
        [make::revocable("cpus:2;mem:100")]
    );
    for offer in world.offers(greedy) {
        let kinds = offer.resources.iter().map(weir_resources::Resource::kind);
        assert!(kinds.into_iter().all(|kind| kind == offer.kind));
    }
}

#[test]
fn a_smaller_estimate_rescinds_what_is_lent_and_leaves_what_is_not() {
    let (mut world, regular, greedy) = lending("cpus:2;mem:100");
    let before = world.offers(regular);
    world.heard(greedy);
    lend(&mut world, 2, "cpus:1;mem:100");
    assert_eq!(
        rescinds(&mut world, greedy),
        [RescindReason::EstimateShrank]
    );
    assert_eq!(
        lent_offers(&world, greedy),
        [make::revocable("cpus:1;mem:100")]
    );
    // Mesos rescinds the regular half as well.
    assert_eq!(world.offers(regular), before);
}

#[test]
fn an_estimate_that_still_covers_what_is_held_takes_nothing() {
    let (mut world, _, greedy) = lending("cpus:4;mem:100");
    run_lent(&mut world, greedy, "t1", "cpus:1;mem:10");
    let offer = lent_offers(&world, greedy);
    world.heard(greedy);
    lend(&mut world, 2, "cpus:4;mem:100");
    lend(&mut world, 3, "cpus:8;mem:200");
    assert_eq!(rescinds(&mut world, greedy), []);
    assert!(lent_offers(&world, greedy).contains(&offer[0]));
    assert_eq!(world.node(N1).alive().count(), 1);
}

#[test]
fn offers_are_rescinded_before_tasks_are_revoked_and_the_youngest_task_first() {
    let (mut world, _, greedy) = lending("cpus:4;mem:100");
    for task in ["t1", "t2", "t3"] {
        run_lent(&mut world, greedy, task, "cpus:1;mem:10");
    }
    world.acknowledge_all(greedy);
    // One cpu is still offered: to lend three takes no task.
    lend(&mut world, 2, "cpus:3;mem:100");
    assert_eq!(world.node(N1).alive().count(), 3);
    // To lend two takes the youngest, and it is told why.
    world.prompt = false;
    lend(&mut world, 3, "cpus:2;mem:100");
    let revoked: Vec<(String, String)> = world.places[0]
        .inbox
        .iter()
        .filter_map(|event| match event {
            AgentEvent::Revoke { task, why } => Some((task.task.to_string(), why.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].0, "t3");
    assert!(revoked[0].1.contains("cpus"), "{}", revoked[0].1);
    // While it ends, a like estimate takes no other.
    lend(&mut world, 4, "cpus:2;mem:100");
    let revokes = world.places[0].inbox.iter();
    let revokes = revokes.filter(|event| matches!(event, AgentEvent::Revoke { .. }));
    assert_eq!(revokes.count(), 1);
    world.prompt = true;
    world.settle();
    assert_eq!(world.node(N1).alive().count(), 2);
    let updates = world.acknowledge_all(greedy);
    assert!(updates.iter().any(|status| {
        status.state == TaskState::Killed && status.reason == Some(Reason::Revoked)
    }));
}

#[test]
fn a_task_that_holds_nothing_of_what_is_short_is_not_revoked() {
    let (mut world, _, greedy) = lending("cpus:4;mem:100");
    run_lent(&mut world, greedy, "t1", "cpus:3");
    run_lent(&mut world, greedy, "t2", "mem:50");
    lend(&mut world, 2, "cpus:1;mem:100");
    let key = world.key(greedy, "t2");
    let alive: Vec<_> = world.node(N1).alive().cloned().collect();
    assert_eq!(alive, [key]);
}

#[test]
fn an_agent_that_stops_estimating_stops_lending() {
    let (mut world, regular, greedy) = lending("cpus:2;mem:100");
    run_lent(&mut world, greedy, "t1", "cpus:1");
    world.acknowledge_all(greedy);
    world.advance_secs(58);
    assert_eq!(world.node(N1).alive().count(), 1);
    // Renewed in time, it goes on.
    lend(&mut world, 2, "cpus:2;mem:100");
    world.advance_secs(59);
    assert_eq!(world.node(N1).alive().count(), 1);
    world.advance_secs(1);
    assert_eq!(world.node(N1).alive().count(), 0);
    assert_eq!(lent_offers(&world, greedy), [] as [Resources; 0]);
    let regular = world.offers(regular).len() + world.offers(greedy).len();
    assert_eq!(regular, 1, "what is not lent is where it was");
}

#[test]
fn an_estimate_that_was_overtaken_is_refused() {
    let (mut world, _, greedy) = lending("cpus:2;mem:100");
    lend(&mut world, 5, "cpus:1;mem:100");
    world.prompt = false;
    lend(&mut world, 4, "cpus:4;mem:100");
    let refused = world.places[0]
        .inbox
        .iter()
        .any(|event| matches!(event, AgentEvent::Error(_)));
    assert!(refused);
    assert_eq!(
        lent_offers(&world, greedy),
        [make::revocable("cpus:1;mem:100")]
    );
}

#[test]
fn nothing_revocable_is_reserved_and_no_task_holds_both_kinds_of_a_thing() {
    let (mut world, regular, greedy) = lending("cpus:2;mem:100");
    leave_all_to(&mut world, greedy, regular);
    let offers: Vec<_> = world.offers(greedy).iter().map(|offer| offer.id).collect();
    assert_eq!(offers.len(), 2);
    let both = make::and(&make::resources("cpus:1"), &make::revocable("cpus:1"));
    let apart = make::and(&make::resources("cpus:1"), &make::revocable("mem:10"));
    world.heard(greedy);
    world.accept(
        greedy,
        &offers,
        vec![
            make::launch("o1", vec![make::task("t1", &both)]),
            make::launch("o2", vec![make::task("t2", &apart)]),
        ],
    );
    let updates: Vec<_> = world
        .updates(greedy)
        .iter()
        .map(|status| (status.task.to_string(), status.state))
        .collect();
    assert_eq!(
        updates,
        [
            ("t1".to_owned(), TaskState::Error),
            ("t2".to_owned(), TaskState::Running)
        ]
    );
}

#[test]
fn isolated_tasks_on_lent_resources_find_a_block_of_ports() {
    let mut world = World::new();
    let regular = world.framework("f1", "web");
    let greedy = make::opted_in(make::framework_info("f2", "batch"));
    let greedy = world.framework_as("f2", greedy);
    let node = Node::new("n1", &make::resources("cpus:4;mem:1024"), 1).with_blocks(8);
    world.add(node);
    assert_eq!(
        world.offered(regular).amount("port_blocks").whole()
            + world.offered(greedy).amount("port_blocks").whole(),
        8
    );
    // Everything is offered when the agent begins to lend; there is a block all the same.
    lend(&mut world, 1, "cpus:2;mem:100");
    let lent = lent_offers(&world, greedy);
    assert_eq!(lent, [make::revocable("cpus:2;mem:100;port_blocks:2")]);
    let offers = world.offers(greedy).into_iter();
    let mut offers = offers.filter(|offer| offer.kind == Kind::Revocable);
    let offer = offers.next().expect("lent").id;
    let task = make::isolated("t1", &make::revocable("cpus:1"));
    world.accept(greedy, &[offer], vec![make::launch("o1", vec![task])]);
    assert_eq!(world.node(N1).alive().count(), 1);
    // The blocks come back when nothing is lent any more.
    lend(&mut world, 2, "");
    assert_eq!(world.node(N1).alive().count(), 0);
    leave_all_to(&mut world, greedy, regular);
    assert_eq!(
        world.offered(greedy),
        make::resources("cpus:4;mem:1024;port_blocks:8")
    );
}

#[test]
fn revoking_reaches_an_agent_that_was_away() {
    let (mut world, _, greedy) = lending("cpus:2;mem:100");
    run_lent(&mut world, greedy, "t1", "cpus:2");
    world.cut(N1);
    world.node_mut(N1).estimate = Some(estimate(7, 60_000, "cpus:1"));
    world.register(N1);
    assert_eq!(world.node(N1).alive().count(), 0);
}

#[test]
fn a_task_that_is_revoked_before_its_agent_has_heard_of_it_is_not_launched_again() {
    let (mut world, regular, greedy) = lending("cpus:2;mem:128");
    leave_all_to(&mut world, greedy, regular);
    // LAUNCH is lost with the connection, and the estimate ends while the agent is away.
    world.prompt = false;
    run_lent(&mut world, greedy, "t1", "cpus:1;mem:32");
    world.cut(N1);
    world.node_mut(N1).tasks.clear();
    world.heard(greedy);
    world.advance_secs(61);
    world.node_mut(N1).estimate = None;
    world.prompt = true;
    world.register(N1);
    let told = world.updates(greedy);
    let last = told.last().expect("its framework is told");
    assert_eq!(last.state, TaskState::Killed);
    assert_eq!(last.reason, Some(Reason::Revoked));
    assert!(world.node(N1).starts.is_empty());
}

#[test]
fn a_task_that_is_launched_again_by_another_scheduler_can_be_revoked() {
    let mut world = World::new();
    let regular = world.framework("f1", "web");
    let greedy = make::opted_in(make::framework_info("f2", "batch"));
    let greedy = world.framework_as("f2", greedy);
    world.add(Node::new("n1", &make::resources("cpus:4;mem:1024"), 1).with_blocks(8));
    lend(&mut world, 1, "cpus:2;mem:128");
    leave_all_to(&mut world, greedy, regular);
    // Neither LAUNCH arrives; of one task the block of ports is free again when its agent is back.
    world.prompt = false;
    let offers = world.offers(greedy).into_iter();
    let mut offers = offers.filter(|offer| offer.kind == Kind::Revocable);
    let offer = offers.next().expect("lent").id;
    let killed = make::isolated("t1", &make::revocable("cpus:1;mem:32"));
    let kept = make::task("t2", &make::revocable("cpus:1;mem:32"));
    world.accept(
        greedy,
        &[offer],
        vec![make::launch("o1", vec![killed, kept])],
    );
    world.say(
        greedy,
        FrameworkCall::Kill {
            task: make::task_id("t1"),
            agent: None,
            grace: None,
        },
    );
    world.cut(N1);
    world.node_mut(N1).tasks.clear();
    // The one that follows does not know yet what is lent.
    world.restart();
    world.prompt = true;
    world.register(N1);
    assert_eq!(world.node(N1).alive().count(), 1);
    lend(&mut world, 2, "");
    assert_eq!(world.node(N1).alive().count(), 0);
}
