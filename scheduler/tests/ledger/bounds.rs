//! Everything that is remembered has a bound, and what is forgotten is forgotten on the disk as well.

use std::sync::Arc;

use weir_protocol::{
    AgentCall, ErrorCode, FrameworkCall, FrameworkEvent, OperationOutcome, PortBlocks,
    RescindReason,
};
use weir_scheduler::ledger::{Bounds, Permissive, Settings};

use super::make;
use super::node::Node;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn bounded(bounds: Bounds) -> World {
    let mut settings = Settings::new(make::line("s1"));
    settings.bounds = bounds;
    World::with(settings, Arc::new(Permissive))
}

fn refused(world: &mut World, fw: Fw) -> Option<ErrorCode> {
    let heard = world.heard(fw).into_iter();
    let mut codes = heard.filter_map(|event| match event {
        FrameworkEvent::Error(error) => Some(error.failure.code),
        _ => None,
    });
    codes.next()
}

#[test]
fn there_are_so_many_frameworks_and_agents_and_no_more() {
    let mut world = bounded(Bounds {
        frameworks: 2,
        agents: 1,
        ..Bounds::default()
    });
    world.framework("f1", "web");
    let second = world.framework("f2", "web");
    let third = world.framework("f3", "web");
    assert_eq!(refused(&mut world, third), Some(ErrorCode::LimitReached));
    world.say(second, FrameworkCall::Teardown);
    world.subscribe(third);
    assert_eq!(refused(&mut world, third), None);

    world.agent("n1", "cpus:1;mem:32");
    let other = world.agent("n2", "cpus:1;mem:32");
    assert_eq!(world.node(other).id, None);
    // One that takes the place of another is not one more.
    world.cut(N1);
    world.node_mut(N1).begin_anew();
    world.register(N1);
    assert!(world.node(N1).id.is_some());
}

#[test]
fn the_earliest_answers_are_forgotten_first() {
    let mut world = bounded(Bounds {
        answers: 2,
        ..Bounds::default()
    });
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:8;mem:64");
    for number in 0..4 {
        let offer = world.offer(fw).id;
        let task = make::task(&format!("t{number}"), &make::resources("cpus:1"));
        world.accept(
            fw,
            &[offer],
            vec![make::launch(&format!("o{number}"), vec![task])],
        );
        world.advance_secs(1);
    }
    world.restart();
    world.subscribe(fw);
    world.heard(fw);
    let operations = (0..4).map(|number| make::operation_id(&format!("o{number}")));
    world.say(
        fw,
        FrameworkCall::Reconcile {
            tasks: vec![],
            operations: operations.collect(),
        },
    );
    let known: Vec<bool> = world
        .outcomes(fw)
        .iter()
        .map(|(_, outcome)| matches!(outcome, OperationOutcome::Finished { .. }))
        .collect();
    assert_eq!(known, [false, false, true, true]);
}

#[test]
fn the_earliest_ended_frameworks_and_removed_agents_are_forgotten_first() {
    let mut world = bounded(Bounds {
        ended_frameworks: 1,
        removed_agents: 1,
        ..Bounds::default()
    });
    let fws = ["f1", "f2"].map(|principal| world.framework(principal, "web"));
    for fw in fws {
        world.say(fw, FrameworkCall::Teardown);
    }
    world.restart();
    world.subscribe(fws[1]);
    assert_eq!(
        refused(&mut world, fws[1]),
        Some(ErrorCode::FrameworkRemoved)
    );
    // Of the first nothing is known any more.
    world.subscribe(fws[0]);
    assert!(world.frameworks[fws[0].0].session.is_some());

    for name in ["n1", "n2"] {
        let node = world.agent(name, "cpus:1;mem:32");
        let id = world.agent_id(node);
        world.cut(node);
        world.node_mut(node).begin_anew();
        world.register(node);
        world.cut(node);
        world.node_mut(node).id = Some(id);
    }
    world.register(NodeNumber(1));
    assert_eq!(world.node(NodeNumber(1)).id, None);
    world.register(N1);
    assert!(world.node(N1).id.is_some());
}

#[test]
fn fewer_blocks_of_ports_take_back_only_the_offers_that_do_not_fit() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    let node = Node::new("n1", &make::resources("cpus:4;mem:1024"), 1).with_blocks(4);
    world.add(node);
    let offer = world.offer(fw).id;
    let task = make::isolated("t1", &make::resources("cpus:1"));
    world.accept(fw, &[offer], vec![make::launch("o1", vec![task])]);
    world.advance_secs(1);
    let before = world.offer(fw);
    world.heard(fw);
    let count = |world: &mut World, version, free, held| {
        let blocks = PortBlocks {
            version,
            free,
            held,
        };
        world.node_mut(N1).blocks = blocks;
        world.node_says(N1, vec![AgentCall::PortBlocks(blocks)]);
        world.settle();
    };
    // The task holds one of them now: there are as many as before.
    count(&mut world, 2, 3, 1);
    assert_eq!(world.offer(fw), before);
    // One of the others is gone, to something of the node.
    count(&mut world, 3, 2, 1);
    let rescinded = world.heard(fw).into_iter().any(|event| {
        matches!(
            event,
            FrameworkEvent::Rescind {
                reason: RescindReason::ResourcesChanged,
                ..
            }
        )
    });
    assert!(rescinded);
    assert_eq!(
        world.offer(fw).resources,
        make::resources("cpus:3;mem:1024;port_blocks:2")
    );
    // What came before that is not believed any more.
    count(&mut world, 2, 3, 1);
    assert_eq!(
        world.offered(fw),
        make::resources("cpus:3;mem:1024;port_blocks:2")
    );
}

/// Returns every second number, so many of them.
fn every_second(count: u64) -> String {
    let numbers = (1..=count).map(|number| format!("{0}-{0}", 2 * number));
    format!("ids:[{}]", numbers.collect::<Vec<_>>().join(","))
}

#[test]
fn what_a_launch_would_leave_in_more_pieces_than_an_offer_holds_is_not_launched() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:8;mem:64;ids:[1-100000]");
    let offer = world.offer(fw).id;
    let pieces = u64::try_from(weir_protocol::bounds::PARTS_MAX).expect("a number");
    // What it holds are as many pieces as there may be, and what it leaves is one more.
    let ragged = make::task("t1", &make::resources(&every_second(pieces)));
    let fits = make::task("t2", &make::resources(&every_second(pieces - 1)));
    world.accept(
        fw,
        &[offer],
        vec![
            make::launch("o1", vec![ragged]),
            make::launch("o2", vec![fits]),
        ],
    );
    let outcomes: Vec<Option<ErrorCode>> = world
        .outcomes(fw)
        .iter()
        .map(|(_, outcome)| match outcome {
            OperationOutcome::Failed(failure) => Some(failure.code),
            OperationOutcome::Accepted | OperationOutcome::Finished { .. } => None,
        })
        .collect();
    assert_eq!(outcomes, [Some(ErrorCode::LimitReached), None]);
}

#[test]
fn what_would_make_a_set_with_which_no_agent_could_register_is_refused_before_the_agent_is_asked() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    let node = world.agent("n1", "cpus:8;mem:64;ids:[1-100000]");
    let offer = world.offer(fw).id;
    let ragged = make::reserved(&every_second(20_000), "web", "f1");
    world.accept(fw, &[offer], vec![make::reserve("o1", ragged)]);
    let outcomes = world.outcomes(fw);
    let [(_, OperationOutcome::Failed(failure))] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert_eq!(failure.code, ErrorCode::LimitReached);
    assert_eq!(world.node(node).set.version().0, 0);
}
