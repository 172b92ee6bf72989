//! Whose turn it is.

use std::time::Duration;

use super::{World, agent, framework, resources, role_of};
use crate::allocator::{AgentStanding, Kinds, Weight};

#[test]
fn the_example_of_the_drf_paper_comes_out() {
    // 9 processors and 18 GB; the tasks of A need 1 and 4 GB, those of B 3 and 1 GB.
    let mut world = World::with_frameworks(&["a", "b"]);
    world.add_agent(1, "cpus:9;mem:18");
    let mut tasks = Vec::new();
    while let [(1, to, offered)] = &world.poll()[..] {
        let task = ["cpus:1;mem:4", "cpus:3;mem:1"][*to as usize - 1];
        let Ok(rest) = resources(offered).checked_sub(&resources(task)) else {
            break;
        };
        tasks.push(*to);
        if rest.is_empty() {
            break;
        }
        world.recover((1, *to, &rest.to_string()));
    }
    assert_eq!(tasks, [1, 2, 1, 2, 1]);
}

#[test]
fn a_role_of_twice_the_weight_gets_twice_as_much() {
    let mut world = World::with_frameworks(&["a", "b"]);
    let two = Weight::from_thousandths(2_000).expect("a weight");
    world.allocator.set_weight(&role_of("b"), two);
    for number in 1..=9 {
        world.add_agent(number, "cpus:4;mem:1024");
    }
    let got = world.poll_frameworks();
    assert_eq!(got.iter().filter(|to| **to == 1).count(), 3);
    assert_eq!(got.iter().filter(|to| **to == 2).count(), 6);
}

#[test]
fn shares_of_frameworks_are_of_what_their_role_holds() {
    // The only framework of a role holds all of it, and is behind nobody for that.
    let mut world = World::with_frameworks(&["a", "b", "b"]);
    for number in 1..=4 {
        world.add_agent(number, "cpus:4;mem:1024");
    }
    assert_eq!(world.poll_frameworks(), [1, 2, 1, 3]);
}

#[test]
fn reserved_resources_do_not_count_against_a_role() {
    let mut world = World::with_frameworks(&["a", "b"]);
    world.add_agent(1, "cpus(a):16;mem(a):4096");
    assert_eq!(world.poll_frameworks(), [1]);
    world.add_agent(2, "cpus:1;mem:1024");
    // Ties go to who was given something less often.
    assert_eq!(world.poll_frameworks(), [2]);
    world.add_agent(3, "cpus:1;mem:1024");
    assert_eq!(world.poll_frameworks(), [1]);
}

#[test]
fn ties_go_to_fewer_allocations_and_then_to_the_lesser_id() {
    let mut world = World::with_frameworks(&["a", "a", "a"]);
    world.add_agent(1, "cpus:4;mem:1024");
    for expected in [1, 2, 3, 1, 2, 3] {
        assert_eq!(world.poll_frameworks(), [expected]);
        world.recover((1, expected, "cpus:4;mem:1024"));
    }
}

#[test]
fn to_disconnect_and_come_back_does_not_reset_the_count() {
    let mut world = World::with_frameworks(&["a", "a"]);
    world.add_agent(1, "cpus:4;mem:1024");
    assert_eq!(world.poll_frameworks(), [1]);
    world
        .allocator
        .deactivate_framework(framework(1))
        .expect("it is there");
    world.recover((1, 1, "cpus:4;mem:1024"));
    world
        .allocator
        .activate_framework(framework(1))
        .expect("it is there");
    assert_eq!(world.poll_frameworks(), [2]);
}

#[test]
fn revocable_processors_count_as_processors() {
    let mut world = World::new();
    world.add_framework(1, "a", Kinds::WithRevocable);
    world.add_framework(2, "b", Kinds::Regular);
    world.add_agent(1, "cpus{REV}:4");
    assert_eq!(world.poll_frameworks(), [1]);
    world.add_agent(2, "cpus:4");
    world.add_agent(3, "cpus:2");
    assert_eq!(world.poll_frameworks(), [2, 1]);
}

#[test]
fn whoever_does_not_refuse_is_offered_something_at_last() {
    // The first ten hold nothing and decline at once; the last holds most of the cluster.
    let mut world = World::with_frameworks(&["a"; 11]);
    let held = [(framework(11), resources("cpus:64;mem:4096"))];
    world
        .allocator
        .add_agent(
            agent(9),
            &resources("cpus:64;mem:4096"),
            &held,
            AgentStanding::Active,
        )
        .expect("it is new");
    world.add_agent(1, "cpus:1;mem:32");
    let mut offered = Vec::new();
    while let [to] = world.poll_frameworks()[..] {
        offered.push(to);
        if to == 11 {
            break;
        }
        world.decline((1, to, "cpus:1;mem:32"), Duration::ZERO);
    }
    assert_eq!(offered, (1..=11).collect::<Vec<_>>());
}
