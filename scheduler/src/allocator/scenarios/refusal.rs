//! Filters: what was refused, by whom, until when.

use std::time::Duration;

use super::{LONG, World, framework, grant};
use crate::allocator::{Kinds, Settings};

#[test]
fn a_filter_refuses_parts_of_what_was_refused_and_nothing_more() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4;mem:1024");
    world.poll();
    // It keeps two processors, and refuses the rest.
    world.decline((1, 1, "cpus:2;mem:1024"), LONG);
    assert_eq!(world.poll(), []);
    // Four processors are not part of two.
    world.recover((1, 1, "cpus:2"));
    assert_eq!(world.poll(), [grant(1, 1, "cpus:4;mem:1024")]);
    world.decline((1, 1, "cpus:4;mem:512"), LONG);
    assert_eq!(world.poll(), []);
    world.update_agent(1, "cpus:4;mem:800");
    assert_eq!(world.poll(), [], "less of it is part of it");
    world.update_agent(1, "cpus:4;mem:800;gpus:1");
    assert_eq!(world.poll(), [grant(1, 1, "cpus:4;mem:288;gpus:1")]);
}

#[test]
fn a_longer_filter_for_less_outlives_a_shorter_one_for_more() {
    let seconds = Duration::from_secs;
    for refused in [
        [("cpus:3", seconds(1)), ("cpus:1", LONG)],
        [("cpus:1", LONG), ("cpus:3", seconds(1))],
    ] {
        let mut world = World::with_frameworks(&["a", "b"]);
        world.add_agent(1, "cpus:4");
        assert_eq!(world.poll(), [grant(1, 1, "cpus:4")]);
        for (what, refused_for) in refused {
            world.decline((1, 1, what), refused_for);
            assert_eq!(world.poll(), [grant(1, 2, what)]);
        }
        world.allocator.suppress(framework(2)).expect("it is there");
        world.recover((1, 2, "cpus:1"));
        assert_eq!(world.poll(), []);
        world.now += seconds(2);
        assert_eq!(world.poll(), [], "one processor it refuses still");
        world.recover((1, 2, "cpus:1"));
        assert_eq!(world.poll(), [grant(1, 1, "cpus:2")]);
    }
}

#[test]
fn a_filter_is_for_its_agent_alone() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4");
    world.poll();
    world.decline((1, 1, "cpus:4"), LONG);
    world.add_agent(2, "cpus:4");
    assert_eq!(world.poll(), [grant(2, 1, "cpus:4")]);
}

#[test]
fn a_filter_that_lapses_is_an_event_with_a_deadline() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4");
    world.poll();
    let deadline = world.now + Duration::from_secs(5);
    world.decline((1, 1, "cpus:4"), Duration::from_secs(5));
    assert_eq!(world.poll(), []);
    assert_eq!(world.allocator.next_deadline(), Some(deadline));
    world.now = deadline - Duration::from_nanos(1);
    assert_eq!(world.poll(), []);
    world.now = deadline;
    assert_eq!(world.poll(), [grant(1, 1, "cpus:4")]);
    assert_eq!(world.allocator.next_deadline(), None);
}

#[test]
fn who_declines_for_no_time_is_not_asked_again_at_once() {
    let mut world = World::with_frameworks(&["a", "a"]);
    world.add_agent(1, "cpus:4");
    assert_eq!(world.poll_frameworks(), [1]);
    world.decline((1, 1, "cpus:4"), Duration::ZERO);
    assert_eq!(world.poll_frameworks(), [2]);
    world.decline((1, 2, "cpus:4"), Duration::ZERO);
    assert!(world.poll_frameworks().is_empty());
    world.now += Settings::default().refusal_min;
    assert_eq!(world.poll_frameworks(), [1]);
}

#[test]
fn a_filter_for_ever_is_one() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4");
    world.poll();
    world.decline((1, 1, "cpus:4"), Duration::MAX);
    assert_eq!(world.poll(), []);
    assert_eq!(world.allocator.next_deadline(), None);
    world.now += Duration::from_secs(100 * 365 * 24 * 3_600);
    assert_eq!(world.poll(), []);
}

#[test]
fn a_revived_framework_is_asked_about_everything_again() {
    let mut world = World::with_frameworks(&["a", "a"]);
    for number in 1..=3 {
        world.add_agent(number, "cpus:4");
    }
    world.poll();
    for (on, of) in [(1, 1), (2, 2), (3, 1)] {
        world.decline((on, of, "cpus:4"), LONG);
    }
    for (on, of, _) in world.poll() {
        world.decline((on, of, "cpus:4"), LONG);
    }
    assert_eq!(world.poll(), []);
    world.allocator.revive(framework(2)).expect("it is there");
    assert_eq!(world.poll_frameworks(), [2, 2, 2]);
}

#[test]
fn a_suppressed_framework_is_offered_nothing_until_it_is_revived() {
    let mut world = World::with_frameworks(&["a", "a"]);
    world.allocator.suppress(framework(1)).expect("it is there");
    world.add_agent(1, "cpus:4");
    world.add_agent(2, "cpus:4");
    assert_eq!(world.poll_frameworks(), [2, 2]);
    world.recover((1, 2, "cpus:4"));
    world.allocator.suppress(framework(2)).expect("it is there");
    assert_eq!(world.poll(), []);
    world.allocator.revive(framework(1)).expect("it is there");
    assert_eq!(world.poll_frameworks(), [1]);
}

#[test]
fn what_a_disconnected_framework_refused_is_forgotten() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4");
    world.poll();
    world.decline((1, 1, "cpus:4"), LONG);
    world
        .allocator
        .deactivate_framework(framework(1))
        .expect("it is there");
    assert_eq!(world.poll(), []);
    world
        .allocator
        .activate_framework(framework(1))
        .expect("it is there");
    assert_eq!(world.poll(), [grant(1, 1, "cpus:4")]);
}

#[test]
fn filters_that_lapse_together_are_looked_at_a_few_at_a_time() {
    let mut world = World::with_frameworks(&["a"]);
    for number in 1..=10 {
        world.add_agent(number, "cpus:1");
    }
    for (on, of, what) in world.poll() {
        world.decline((on, of, &what), LONG);
    }
    assert_eq!(world.poll(), []);
    world.now += LONG;
    assert_eq!(world.allocator.poll_grants(world.now, 4).len(), 4);
    assert!(
        world
            .allocator
            .next_deadline()
            .is_some_and(|due| due <= world.now)
    );
    assert_eq!(world.poll().len(), 6);
}

#[test]
fn what_was_forgotten_does_not_stand_for_what_is_refused_afterwards() {
    let mut world = World::with_frameworks(&["a", "b"]);
    world.add_agent(1, "cpus:4");
    world.poll();
    world.decline((1, 1, "cpus:3"), LONG);
    assert_eq!(world.poll(), [grant(1, 2, "cpus:3")]);
    world.allocator.suppress(framework(2)).expect("it is there");
    // The longer filter for more is gone, though nobody has looked at the agent yet.
    world.allocator.revive(framework(1)).expect("it is there");
    world.decline((1, 1, "cpus:1"), Duration::from_secs(5));
    assert_eq!(world.poll(), []);
    world.now += Duration::from_secs(5);
    assert_eq!(world.poll(), [grant(1, 1, "cpus:1")]);
}

#[test]
fn who_is_removed_and_added_again_has_refused_nothing() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4");
    world.add_agent(2, "cpus:4");
    world.poll();
    // On the one it still holds something, on the other nothing.
    world.decline((1, 1, "cpus:3"), LONG);
    assert_eq!(world.poll(), []);
    world
        .allocator
        .remove_framework(framework(1))
        .expect("it is there");
    world.add_framework(1, "a", Kinds::Regular);
    assert_eq!(world.poll(), [grant(1, 1, "cpus:3")]);
    for (on, what) in [(1, "cpus:4"), (2, "cpus:4")] {
        world.decline((on, 1, what), LONG);
    }
    world
        .allocator
        .remove_framework(framework(1))
        .expect("it is there");
    // It may be called by the same number inside.
    world.add_framework(2, "a", Kinds::Regular);
    assert_eq!(world.poll_frameworks(), [2, 2]);
}
