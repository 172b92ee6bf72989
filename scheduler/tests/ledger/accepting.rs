//! ACCEPT: operations in their order, each answered, and never with another's offer.

use weir_protocol::{
    ErrorCode, FrameworkCall, FrameworkEvent, OfferId, OperationOutcome, Reason, TaskState,
};
use weir_resources::Resources;

use super::make;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn code(outcome: &OperationOutcome) -> Option<ErrorCode> {
    match outcome {
        OperationOutcome::Failed(failure) => Some(failure.code),
        OperationOutcome::Accepted | OperationOutcome::Finished { .. } => None,
    }
}

fn reason(outcome: &OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Failed(failure) => failure.reason.to_string(),
        other => panic!("{other:?}"),
    }
}

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
fn a_task_is_launched_and_the_rest_is_offered_again() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:128");
    let key = world.key(fw, "t1");
    assert_eq!(world.node(N1).starts[&key], 1);
    world.advance_secs(5);
    assert_eq!(world.offered(fw), make::resources("cpus:3;mem:896"));
    let outcomes = finals(&mut world, fw);
    assert_eq!(outcomes.len(), 1);
    assert!(is_finished(&outcomes[0].1));
}

#[test]
fn reserve_create_and_launch_work_in_one_call() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024;disk:1000");
    let offer = world.offer(fw).id;
    let disk = make::reserved("disk:600", "web", "f1");
    let data = make::volume("data", 500, "web", "f1");
    let held = make::and(&make::resources("cpus:1;mem:64"), &data);
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", disk),
            make::create("o2", data.clone()),
            make::launch("o3", vec![make::task("t1", &held)]),
        ],
    );
    let all = world.outcomes(fw);
    let ids: Vec<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    // All are accepted when the first goes to the agent, then each finishes.
    assert_eq!(ids, ["o1", "o2", "o3", "o1", "o2", "o3"]);
    assert!(all[..3].iter().all(|(_, outcome)| !outcome.is_final()));
    assert!(all[3..].iter().all(|(_, outcome)| is_finished(outcome)));
    let node = world.node(N1);
    assert_eq!(node.set.version().0, 2);
    assert!(node.set.resources().contains(&data));
    assert_eq!(node.alive().count(), 1);
    world.advance_secs(5);
    let rest = make::and(
        &make::resources("cpus:3;mem:960;disk:400"),
        &make::reserved("disk:100", "web", "f1"),
    );
    assert_eq!(world.offered(fw), rest);
}

#[test]
fn creating_a_volume_says_that_its_size_is_not_enforced() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024;disk:1000");
    let offer = world.offer(fw).id;
    let disk = make::reserved("disk:500", "web", "f1");
    let data = make::volume("data", 500, "web", "f1");
    let task = make::and(&make::resources("cpus:1"), &data);
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", disk),
            make::create("o2", data),
            make::launch("o3", vec![make::task("t1", &task)]),
            make::launch("o4", vec![make::task("t2", &make::resources("cpus:1"))]),
        ],
    );
    let outcomes = finals(&mut world, fw);
    let said: Vec<bool> = outcomes
        .iter()
        .map(|(_, outcome)| match outcome {
            OperationOutcome::Finished { notes } => notes
                .iter()
                .any(|note| note.as_str().contains("does not enforce the size")),
            OperationOutcome::Accepted | OperationOutcome::Failed(_) => panic!("{outcomes:?}"),
        })
        .collect();
    assert_eq!(said, [false, true, true, false]);
}

#[test]
fn what_depends_on_a_failed_operation_fails_and_the_rest_is_done() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024;disk:1000");
    world.node_mut(N1).fails_next = true;
    let offer = world.offer(fw).id;
    let disk = make::reserved("disk:500", "web", "f1");
    let data = make::volume("data", 500, "web", "f1");
    let dependent = make::and(&make::resources("cpus:1;mem:64"), &data);
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", disk),
            make::create("o2", data),
            make::launch("o3", vec![make::task("t1", &dependent)]),
            make::launch(
                "o4",
                vec![make::task("t2", &make::resources("cpus:1;mem:64"))],
            ),
            make::reserve("o5", make::reserved("cpus:1", "web", "f1")),
        ],
    );
    let heard = world.heard(fw);
    let updates: Vec<_> = heard
        .iter()
        .filter_map(|event| match event {
            FrameworkEvent::Update(status) => Some((status.task.as_str(), status.state)),
            _ => None,
        })
        .collect();
    assert_eq!(
        updates,
        [("t1", TaskState::Error), ("t2", TaskState::Running)]
    );
    let answers: Vec<(&str, Option<ErrorCode>)> = heard
        .iter()
        .filter_map(|event| match event {
            FrameworkEvent::Operation { id, outcome } if outcome.is_final() => {
                Some((id.as_str(), code(outcome)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        answers,
        [
            ("o1", Some(ErrorCode::AgentFailed)),
            ("o2", Some(ErrorCode::InsufficientResources)),
            ("o3", Some(ErrorCode::InsufficientResources)),
            ("o4", None),
            ("o5", None),
        ]
    );
}

#[test]
fn destroying_a_volume_that_is_not_in_the_offer_is_refused() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024;disk:1000");
    let offer = world.offer(fw).id;
    let disk = make::reserved("disk:1000", "web", "f1");
    let data = make::volume("data", 500, "web", "f1");
    let held = make::and(&make::resources("cpus:1;mem:64"), &data);
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", disk),
            make::create("o2", data.clone()),
            make::launch("o3", vec![make::task("t1", &held)]),
        ],
    );
    world.advance_secs(5);
    world.heard(fw);
    // A task has it: Mesos 0.23 aborts here.
    let offer = world.offer(fw).id;
    world.accept(fw, &[offer], vec![make::destroy("o4", data)]);
    let outcomes = finals(&mut world, fw);
    assert_eq!(code(&outcomes[0].1), Some(ErrorCode::VolumeInUse));
    assert!(reason(&outcomes[0].1).contains("t1"));
    world.advance_secs(5);
    // Nobody ever had it.
    let offer = world.offer(fw).id;
    let other = make::volume("other", 100, "web", "f1");
    world.accept(fw, &[offer], vec![make::destroy("o5", other)]);
    let outcomes = finals(&mut world, fw);
    assert_eq!(code(&outcomes[0].1), Some(ErrorCode::VolumeUnknown));
}

#[test]
fn a_volume_id_is_used_once_on_an_agent() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024;disk:1000");
    let offer = world.offer(fw).id;
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", make::reserved("disk:1000", "web", "f1")),
            make::create("o2", make::volume("data", 500, "web", "f1")),
            make::create("o3", make::volume("data", 400, "web", "f1")),
        ],
    );
    let outcomes = finals(&mut world, fw);
    assert_eq!(code(&outcomes[2].1), Some(ErrorCode::VolumeExists));
    assert!(reason(&outcomes[2].1).contains("data"));
}

#[test]
fn reservations_are_made_in_ones_own_name_for_ones_own_role() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    world.accept(
        fw,
        &[offer],
        vec![
            make::reserve("o1", make::reserved("cpus:1", "web", "somebody")),
            make::reserve("o2", make::reserved("cpus:1", "db", "f1")),
            make::reserve("o3", make::resources("cpus:1")),
            make::reserve("o4", Resources::new()),
            make::reserve("o5", make::reserved("cpus:5", "web", "f1")),
        ],
    );
    let codes: Vec<_> = finals(&mut world, fw)
        .iter()
        .map(|(_, outcome)| code(outcome))
        .collect();
    assert_eq!(
        codes,
        [
            Some(ErrorCode::Unauthorized),
            Some(ErrorCode::Unauthorized),
            Some(ErrorCode::InvalidOperation),
            Some(ErrorCode::InvalidOperation),
            Some(ErrorCode::InsufficientResources),
        ]
    );
    assert!(world.node(N1).set.resources().is_empty());
}

#[test]
fn anothers_reservation_cannot_be_taken_back() {
    let mut world = World::new();
    let owner = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let mine = make::reserved("cpus:2", "web", "f1");
    let offer = world.offer(owner).id;
    world.accept(owner, &[offer], vec![make::reserve("o1", mine.clone())]);
    world.advance_secs(5);
    let offer = world.offer(owner).id;
    world.decline(owner, &[offer], 3_600_000);
    let other = world.framework("f2", "web");
    let offer = world.offer(other);
    assert!(offer.resources.contains(&mine), "{}", offer.resources);
    world.accept(
        other,
        &[offer.id],
        vec![make::unreserve("o1", mine.clone())],
    );
    let outcomes = finals(&mut world, other);
    assert_eq!(code(&outcomes[0].1), Some(ErrorCode::Unauthorized));
    assert!(world.node(N1).set.resources().contains(&mine));
}

#[test]
fn anothers_offer_is_not_used_and_stays_its_own() {
    let mut world = World::new();
    let owner = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let offer = world.offer(owner).id;
    let thief = world.framework("f2", "web");
    world.agent("n2", "cpus:2;mem:1024");
    let own = world.offer(thief).id;
    world.heard(thief);
    world.accept(
        thief,
        &[own, offer],
        vec![
            make::launch("o1", vec![make::task("t1", &make::resources("cpus:1"))]),
            make::reserve("o2", make::reserved("cpus:1", "web", "f2")),
        ],
    );
    let heard = world.heard(thief);
    let error = heard.iter().find_map(|event| match event {
        FrameworkEvent::Error(error) => Some(error.failure.clone()),
        _ => None,
    });
    let error = error.expect("the call is refused");
    assert_eq!(error.code, ErrorCode::InvalidOffers);
    assert!(error.reason.as_str().contains(&offer.to_string()));
    assert!(!error.reason.as_str().contains(&own.to_string()));
    let update = heard.iter().find_map(|event| match event {
        FrameworkEvent::Update(status) => Some(status.clone()),
        _ => None,
    });
    let update = update.expect("the task is lost");
    assert_eq!(update.state, TaskState::Lost);
    assert_eq!(update.reason, Some(Reason::InvalidOffers));
    assert_eq!(update.update, None);
    let failed: Vec<_> = heard
        .iter()
        .filter_map(|event| match event {
            FrameworkEvent::Operation { id, outcome } => Some((id.as_str(), code(outcome))),
            _ => None,
        })
        .collect();
    assert_eq!(
        failed,
        [
            ("o1", Some(ErrorCode::InvalidOffers)),
            ("o2", Some(ErrorCode::InvalidOffers))
        ]
    );
    let is_rescinded = heard
        .iter()
        .any(|event| matches!(event, FrameworkEvent::Rescind { offer, .. } if *offer == own));
    assert!(is_rescinded, "its own offer is not lost in silence");
    // The owner can use it.
    world.run(owner, "t1", "cpus:4;mem:1024");
    assert_eq!(world.node(N1).alive().count(), 1);
}

#[test]
fn offers_of_two_agents_no_offer_and_one_twice_are_refused() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.agent("n2", "cpus:4;mem:1024");
    let offers: Vec<OfferId> = world.offers(fw).iter().map(|offer| offer.id).collect();
    for (index, named) in [offers.clone(), vec![], vec![offers[0], offers[0]]]
        .into_iter()
        .enumerate()
    {
        world.heard(fw);
        world.say(
            fw,
            FrameworkCall::Accept {
                offers: named,
                operations: vec![make::reserve(
                    &format!("o{index}"),
                    make::reserved("cpus:1", "web", "f1"),
                )],
                filters: make::refuse(0),
            },
        );
        let outcomes = finals(&mut world, fw);
        assert_eq!(code(&outcomes[0].1), Some(ErrorCode::InvalidOffers));
        world.advance_secs(5);
    }
    assert_eq!(world.offers(fw).len(), 2);
}

#[test]
fn an_accept_without_operations_gives_everything_back() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    world.accept(fw, &[offer], vec![]);
    assert_eq!(world.offers(fw), []);
    world.advance_secs(1);
    assert_eq!(world.offers(fw).len(), 1);
}

#[test]
fn the_same_operation_is_answered_again_and_not_done_again() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    let reserve = make::reserve("o1", make::reserved("cpus:1", "web", "f1"));
    world.accept(fw, &[offer], vec![reserve.clone()]);
    assert!(is_finished(&finals(&mut world, fw)[0].1));
    // Repeated as it was: its offer is gone.
    world.say(
        fw,
        FrameworkCall::Accept {
            offers: vec![offer],
            operations: vec![reserve.clone()],
            filters: make::refuse(0),
        },
    );
    let heard = world.outcomes(fw);
    assert_eq!(heard.len(), 1);
    assert!(is_finished(&heard[0].1));
    // And with new offers.
    world.advance_secs(5);
    let offer = world.offer(fw).id;
    world.accept(fw, &[offer], vec![reserve]);
    let node = world.node(N1);
    assert_eq!(node.set.version().0, 1);
    world.heard(fw);
    // Another under the same id is refused, and the first keeps its answer.
    world.advance_secs(5);
    let offer = world.offer(fw).id;
    let other = make::reserve("o1", make::reserved("cpus:2", "web", "f1"));
    world.accept(fw, &[offer], vec![other]);
    let heard = world.outcomes(fw);
    assert_eq!(code(&heard[0].1), Some(ErrorCode::OperationIdReused));
    world.say(
        fw,
        FrameworkCall::Reconcile {
            tasks: vec![],
            operations: vec![make::operation_id("o1"), make::operation_id("o9")],
        },
    );
    let heard = world.outcomes(fw);
    assert!(is_finished(&heard[0].1));
    assert_eq!(code(&heard[1].1), Some(ErrorCode::OperationUnknown));
}

#[test]
fn one_id_twice_in_a_call_is_refused_the_second_time() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    let task = |id| make::task(id, &make::resources("cpus:1"));
    world.accept(
        fw,
        &[offer],
        vec![
            make::launch("o1", vec![task("t1")]),
            make::launch("o1", vec![task("t2")]),
        ],
    );
    let codes: Vec<_> = finals(&mut world, fw)
        .iter()
        .map(|(_, outcome)| code(outcome))
        .collect();
    assert!(codes.contains(&Some(ErrorCode::OperationIdReused)));
    assert!(codes.contains(&None));
    assert_eq!(world.node(N1).starts.len(), 1);
}

#[test]
fn each_task_of_a_launch_is_judged_by_itself() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    world.accept(
        fw,
        &[offer],
        vec![make::launch(
            "o1",
            vec![
                make::task("t1", &make::resources("cpus:3")),
                make::task("t2", &make::resources("cpus:3")),
                make::task("t3", &make::resources("cpus:1")),
                make::task("t1", &make::resources("mem:10")),
            ],
        )],
    );
    let heard = world.heard(fw);
    let errors: Vec<_> = heard
        .iter()
        .filter_map(|event| match event {
            FrameworkEvent::Update(status) if status.state == TaskState::Error => {
                Some((status.task.as_str(), status.reason))
            }
            _ => None,
        })
        .collect();
    // The second t1 has no update: its framework would take it for the first one's.
    assert_eq!(errors, [("t2", Some(Reason::TaskInvalid))]);
    let notes = heard.iter().find_map(|event| match event {
        FrameworkEvent::Operation {
            outcome: OperationOutcome::Finished { notes },
            ..
        } => Some(notes.clone()),
        _ => None,
    });
    let notes = notes.expect("two are launched");
    assert_eq!(notes.len(), 2);
    assert!(notes[0].as_str().contains("t2") && notes[0].as_str().contains("cpus:3"));
    assert!(notes[1].as_str().contains("t1"));
    let node = world.node(N1);
    assert_eq!(node.alive().count(), 2);
}

#[test]
fn each_task_whose_id_is_in_use_is_named_however_many_are_refused() {
    let (mut world, fw) = one_agent("cpus:4;mem:1024");
    let id = |index: usize| format!("{:x<128}", format!("t{index}"));
    let offer = world.offer(fw).id;
    let first = make::task("first", &make::resources("cpus:1"));
    // What is too much comes first, and then the same id for as many tasks as there may be.
    let greedy = (0..40).map(|index| make::task(&id(index), &make::resources("cpus:40")));
    let again = (0..40).map(|_| make::task("first", &make::resources("mem:1")));
    let again_long = (0..943).map(|index| make::task(&id(index % 40), &make::resources("mem:1")));
    let tasks: Vec<_> = [first]
        .into_iter()
        .chain(greedy)
        .chain(again)
        .chain(again_long)
        .collect();
    assert_eq!(tasks.len(), 1024);
    world.accept(fw, &[offer], vec![make::launch("o1", tasks)]);
    let heard = world.heard(fw);
    let notes = heard.iter().find_map(|event| match event {
        FrameworkEvent::Operation {
            outcome: OperationOutcome::Finished { notes },
            ..
        } => Some(notes.clone()),
        _ => None,
    });
    let notes = notes.expect("one is launched");
    assert!(notes.len() <= weir_protocol::bounds::NOTES_MAX);
    let named = |id: &str| -> usize {
        let id = format!("`{id}`");
        let notes = notes
            .iter()
            .filter(|note| note.as_str().starts_with("not launched"));
        notes.map(|note| note.as_str().matches(&id).count()).sum()
    };
    assert_eq!(named("first"), 40);
    assert_eq!((0..40).map(|index| named(&id(index))).sum::<usize>(), 943);
}

#[test]
fn an_isolated_task_takes_a_block_of_ports() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    let node = super::node::Node::new("n1", &make::resources("cpus:4;mem:1024"), 1);
    world.add(node.with_blocks(2));
    let offer = world.offer(fw);
    assert_eq!(
        offer.resources,
        make::resources("cpus:4;mem:1024;port_blocks:2")
    );
    let task = |id| make::isolated(id, &make::resources("cpus:1;mem:10"));
    world.accept(
        fw,
        &[offer.id],
        vec![make::launch("o1", vec![task("t1"), task("t2"), task("t3")])],
    );
    let updates: Vec<_> = world
        .updates(fw)
        .iter()
        .map(|status| (status.task.to_string(), status.state))
        .collect();
    // None is launched that could not get one.
    assert!(updates.contains(&("t3".to_owned(), TaskState::Error)));
    assert_eq!(world.node(N1).alive().count(), 2);
    world.advance_secs(5);
    assert_eq!(world.offered(fw), make::resources("cpus:2;mem:1004"));
}
