//! Changes of reservations and volumes.

use weir_protocol::{ErrorCode, Failure};

use super::*;

fn reserve(text: &str) -> ResourceOperation {
    ResourceOperation::Reserve(resources(text))
}

fn unreserve(text: &str) -> ResourceOperation {
    ResourceOperation::Unreserve(resources(text))
}

fn create(text: &str) -> ResourceOperation {
    ResourceOperation::Create(resources(text))
}

fn destroy(text: &str) -> ResourceOperation {
    ResourceOperation::Destroy(resources(text))
}

fn applied(version: u64) -> ApplyOutcome {
    ApplyOutcome::Applied {
        version: SetVersion(version),
    }
}

fn failure(world: &mut World, event: AgentEvent) -> Failure {
    world.hear(event);
    world.settle();
    match world.outcomes().remove(0) {
        ApplyOutcome::Failed(failure) => failure,
        applied @ ApplyOutcome::Applied { .. } => panic!("{applied:?}"),
    }
}

const VOLUME: &str = "disk(db)[data:data:rw]:10";

fn with_volume() -> World {
    let mut world = World::registered();
    world.hear(apply("create", 0, create(VOLUME)));
    world.settle();
    assert_eq!(world.outcomes(), [applied(1)]);
    world
}

#[test]
fn a_change_is_recorded_and_answered_and_the_same_again_gets_the_same_answer() {
    let mut world = World::registered();
    let change = || apply("r", 0, reserve("cpus(db, alice):1"));
    world.hear(change());
    assert_eq!(world.asked.len(), 1, "nothing is said before it is durable");
    world.settle();
    assert_eq!(world.outcomes(), [applied(1)]);
    assert_eq!(world.stored.set.version(), SetVersion(1));
    assert_eq!(
        *world.stored.set.resources(),
        resources("cpus(db, alice):1")
    );
    world.hear(change());
    world.settle();
    assert_eq!(world.outcomes(), [applied(1)]);
    world.crash();
    world.register();
    world.hear(change());
    world.settle();
    assert_eq!(world.outcomes(), [applied(1)]);
    assert_eq!(world.session.set().version(), SetVersion(1));
}

#[test]
fn a_change_meant_for_another_version_names_both() {
    let mut world = World::registered();
    let failure = failure(&mut world, apply("r", 3, reserve("cpus(db, alice):1")));
    assert_eq!(failure.code, ErrorCode::StaleVersion);
    assert_eq!(
        failure.reason.as_str(),
        "RESERVE is meant for version 3 of the agent's set, which is at version 0"
    );
}

#[test]
fn a_failure_stays_the_answer_though_the_set_has_changed_since() {
    let mut world = World::registered();
    let early = || apply("second", 1, reserve("mem(db, alice):1"));
    let first = failure(&mut world, early());
    world.hear(apply("first", 0, reserve("cpus(db, alice):1")));
    world.settle();
    assert_eq!(world.outcomes(), [applied(1)]);
    assert_eq!(failure(&mut world, early()), first);
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    let mut world = with_volume();
    for (name, change, code) in [
        (
            "a",
            reserve("cpus(db, alice):9"),
            ErrorCode::InsufficientResources,
        ),
        (
            "b",
            unreserve("cpus(db, alice):1"),
            ErrorCode::ReservationUnknown,
        ),
        (
            "c",
            create("disk(db)[data:x:rw]:5"),
            ErrorCode::VolumeExists,
        ),
        (
            "d",
            destroy("disk(db)[other:x:rw]:5"),
            ErrorCode::VolumeUnknown,
        ),
        (
            "e",
            destroy("disk(db)[data:x:rw]:5"),
            ErrorCode::VolumeUnknown,
        ),
        ("f", create("disk(db):5"), ErrorCode::InvalidOperation),
        (
            "g",
            reserve("port_blocks(db, alice):1"),
            ErrorCode::InvalidOperation,
        ),
    ] {
        let failure = failure(&mut world, apply(name, 1, change));
        assert_eq!(failure.code, code, "{name}: {failure}");
        assert!(!failure.remedy.is_empty(), "{name}");
    }
    assert_eq!(world.session.set().version(), SetVersion(1));
}

#[test]
fn what_tasks_hold_cannot_be_taken_from_under_them() {
    let mut world = with_volume();
    world.hear(apply("r", 1, reserve("mem(db, alice):64")));
    let task = launch("a", "cpus:3;mem(db, alice):32;disk(db)[data:here:rw]:10");
    world.hear(AgentEvent::Launch(Box::new(task)));
    world.settle();
    world.run_container("a");
    world.outcomes();
    for (name, change, code) in [
        ("v", destroy(VOLUME), ErrorCode::VolumeInUse),
        (
            "m",
            unreserve("mem(db, alice):64"),
            ErrorCode::InsufficientResources,
        ),
        (
            "c",
            reserve("cpus(db, alice):2"),
            ErrorCode::InsufficientResources,
        ),
    ] {
        let failure = failure(&mut world, apply(name, 2, change));
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.reason.as_str().contains("tasks hold"), "{failure}");
    }
    world.hear(apply("some", 2, unreserve("mem(db, alice):32")));
    world.settle();
    assert_eq!(world.outcomes(), [applied(3)]);
}

#[test]
fn a_volume_has_a_directory_before_it_is_answered_and_none_when_it_is_gone() {
    let mut world = with_volume();
    assert_eq!(world.volumes.len(), 1);
    world.hear(apply("destroy", 1, destroy(VOLUME)));
    world.settle();
    assert_eq!(world.outcomes(), [applied(2)]);
    assert!(world.volumes.is_empty());
    assert!(world.stored.set.resources().is_empty());
}

#[test]
fn a_volume_that_cannot_be_made_is_not_there() {
    let mut world = World::registered();
    world.volumes_fail = true;
    let failure = failure(&mut world, apply("create", 0, create(VOLUME)));
    assert_eq!(failure.code, ErrorCode::AgentFailed);
    assert_eq!(failure.reason.as_str(), "no space");
    assert_eq!(world.session.set().version(), SetVersion(0));
    assert_eq!(world.stored.begun, None);
}

#[test]
fn what_builds_on_a_volume_waits_for_its_directory() {
    let mut world = World::registered();
    world.hear(apply("create", 0, create(VOLUME)));
    world.hear(apply("reserve", 1, reserve("cpus(db, alice):1")));
    let task = launch("a", "cpus(db, alice):1;disk(db)[data:here:rw]:10");
    world.hear(AgentEvent::Launch(Box::new(task)));
    world.hear(AgentEvent::Reconcile(vec![task_key("a")]));
    assert_eq!(world.states(), [], "nothing of it is written down");
    world.settle();
    world.run_container("a");
    assert_eq!(world.states(), [TaskState::Running]);
    assert_eq!(world.session.set().version(), SetVersion(2));
}

#[test]
fn a_crash_after_any_step_of_a_change_is_healed() {
    for steps in 0..12 {
        let mut world = World::registered();
        let events = || {
            [
                apply("create", 0, create(VOLUME)),
                apply("reserve", 1, reserve("cpus(db, alice):1")),
                apply("destroy", 2, destroy(VOLUME)),
            ]
        };
        for event in events() {
            world.hear(event);
        }
        for _ in 0..steps {
            world.step();
        }
        world.crash();
        world.register();
        for event in events() {
            world.hear(event);
        }
        world.settle();
        // What was begun may have been answered before it was asked again.
        let outcomes = world.outcomes();
        assert_eq!(
            outcomes[outcomes.len() - 3..],
            [applied(1), applied(2), applied(3)],
            "{steps} steps"
        );
        assert!(world.volumes.is_empty());
        assert_eq!(
            *world.stored.set.resources(),
            resources("cpus(db, alice):1")
        );
    }
}

#[test]
fn a_set_that_does_not_fit_the_configuration_is_refused_with_both_numbers() {
    let mut world = World::registered();
    world.hear(apply("r", 0, reserve("cpus(db, alice):3")));
    world.settle();
    world.resources = resources("cpus:2;mem:4096");
    let error = world.restart().unwrap_err();
    let text = crate::container::chain(&error);
    assert!(text.contains("cpus:3"), "{text}");
    assert!(text.contains("there is only 2"), "{text}");
    assert!(!error.remedy().is_empty());
}

#[test]
fn tasks_that_do_not_fit_the_configuration_are_refused_with_both_numbers() {
    let mut world = World::registered();
    world.hear(AgentEvent::Launch(Box::new(launch("a", "cpus:3"))));
    world.settle();
    world.resources = resources("cpus:2;mem:4096");
    let error = world.restart().unwrap_err();
    let text = crate::container::chain(&error);
    assert!(
        text.contains("cpus:3") && text.contains("there is only 2"),
        "{text}"
    );
    // Tasks that have ended in the meantime are in nobody's way.
    let id = world.container_of("a");
    let ended = world.ended(Outcome::Exited { code: 0 });
    world.containers.get_mut(&id).unwrap().state = ended;
    world.restart().unwrap();
}

#[test]
fn a_volume_whose_disk_is_gone_when_it_was_begun_leaves_no_directory() {
    let mut world = World::registered();
    world.hear(apply("create", 0, create(VOLUME)));
    // Recorded as begun, and made; the answer is not recorded.
    world.step();
    world.step();
    assert_eq!(world.volumes.len(), 1);
    world.resources = resources("cpus:4;disk(db):5");
    world.restart().unwrap();
    world.register();
    // The scheduler asks again for what nobody has answered.
    world.hear(apply("create", 0, create(VOLUME)));
    world.settle();
    let outcomes = world.outcomes();
    assert!(
        matches!(outcomes[..], [ApplyOutcome::Failed(_)]),
        "{outcomes:?}"
    );
    assert!(world.volumes.is_empty());
    assert_eq!(world.stored.begun, None);
}
