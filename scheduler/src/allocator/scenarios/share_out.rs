//! Which resources may be in whose grant.

use weir_resources::Kind;

use super::{LONG, World, agent, framework, grant, resources, role_of};
use crate::allocator::Kinds;

#[test]
fn crumbs_that_anyone_may_have_wait_for_more() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:0.009;mem:31.999;disk:5000;ports:[1-9]");
    assert_eq!(world.poll(), []);
    world.update_agent(1, "cpus:0.01;mem:31.999");
    assert_eq!(world.poll(), [grant(1, 1, "cpus:0.01;mem:31.999")]);
    world.add_agent(2, "mem:32");
    assert_eq!(world.poll(), [grant(2, 1, "mem:32")]);
}

#[test]
fn what_is_reserved_is_never_stranded_however_little_it_is() {
    let mut world = World::with_frameworks(&["db", "web"]);
    world.add_agent(1, "cpus(db):0.001;cpus:0.002");
    assert_eq!(world.poll(), [grant(1, 1, "cpus(db):0.001;cpus:0.002")]);
    world.add_agent(2, "disk(db, ops)[data:data:rw]:1");
    assert_eq!(world.poll(), [grant(2, 1, "disk(db, ops)[data:data:rw]:1")]);
    // The remainder of a reservation comes back when a task ends, however much is in use.
    world.recover((1, 1, "cpus(db):0.001"));
    assert_eq!(world.poll(), [grant(1, 1, "cpus(db):0.001")]);
}

#[test]
fn what_is_reserved_is_for_its_role_alone() {
    let mut world = World::with_frameworks(&["web"]);
    world.add_agent(1, "cpus(db):4;mem(db):1024");
    assert_eq!(world.poll(), []);
    world.add_framework(2, "db", Kinds::Regular);
    assert_eq!(world.poll(), [grant(1, 2, "cpus(db):4;mem(db):1024")]);
}

#[test]
fn one_look_gives_each_role_its_part_of_an_agent() {
    let mut world = World::with_frameworks(&["a", "b", "c"]);
    world.add_agent(1, "cpus:2;mem:512;cpus(a):1;cpus(b):4;mem(b):64;disk(x):10");
    assert_eq!(
        world.poll(),
        [
            grant(1, 1, "cpus:2;mem:512;cpus(a):1"),
            grant(1, 2, "cpus(b):4;mem(b):64"),
        ]
    );
    assert_eq!(world.free(1, Kind::Regular), "disk(x):10");
}

#[test]
fn revocable_resources_are_apart_and_for_those_who_opted_in() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:2;mem:512;cpus{REV}:4;mem{REV}:64");
    assert_eq!(world.poll(), [grant(1, 1, "cpus:2;mem:512")]);
    world.add_framework(2, "a", Kinds::WithRevocable);
    assert_eq!(world.poll(), [grant(1, 2, "cpus{REV}:4;mem{REV}:64")]);
    // To refuse the one is not to refuse the other.
    world.decline((1, 2, "cpus{REV}:4;mem{REV}:64"), LONG);
    world.allocator.suppress(framework(1)).expect("it is there");
    world.recover((1, 1, "cpus:2;mem:512"));
    assert_eq!(world.poll(), [grant(1, 2, "cpus:2;mem:512")]);
    // The other opts in later.
    world.allocator.revive(framework(1)).expect("it is there");
    assert_eq!(world.poll(), []);
    world
        .allocator
        .update_framework(framework(1), &role_of("a"), Kinds::WithRevocable)
        .expect("it is there");
    assert_eq!(world.poll(), [grant(1, 1, "cpus{REV}:4;mem{REV}:64")]);
}

#[test]
fn what_is_held_beyond_a_shrunken_total_is_not_given_twice() {
    let mut world = World::new();
    world.add_framework(1, "a", Kinds::WithRevocable);
    world.add_agent(1, "cpus{REV}:8");
    assert_eq!(world.poll_frameworks(), [1]);
    world.update_agent(1, "cpus{REV}:3");
    world.recover((1, 1, "cpus{REV}:4"));
    assert_eq!(world.free(1, Kind::Revocable), "");
    assert_eq!(world.poll(), []);
    world.recover((1, 1, "cpus{REV}:2"));
    assert_eq!(world.poll(), [grant(1, 1, "cpus{REV}:1")]);
    world.update_agent(1, "");
    world.recover((1, 1, "cpus{REV}:3"));
    assert_eq!(world.free(1, Kind::Revocable), "");
}

#[test]
fn an_agent_that_contradicts_what_is_held_gives_nothing_until_it_is_back() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4;ports:[1-9]");
    world.poll();
    world.recover((1, 1, "cpus:4"));
    world.allocator.suppress(framework(1)).expect("it is there");
    world.update_agent(1, "cpus:4;ports(b):[1-20]");
    world.allocator.revive(framework(1)).expect("it is there");
    assert_eq!(world.poll(), []);
    world.recover((1, 1, "ports:[1-9]"));
    assert_eq!(world.poll(), [grant(1, 1, "cpus:4")]);
    assert_eq!(world.free(1, Kind::Regular), "ports(b):[1-20]");
}

#[test]
fn what_an_operation_changes_is_held_in_its_new_form() {
    let mut world = World::with_frameworks(&["a", "b"]);
    world.add_agent(1, "cpus:4;mem:1024");
    world.poll();
    world
        .allocator
        .convert(
            agent(1),
            framework(1),
            &resources("cpus:3"),
            &resources("cpus(a, ops):3"),
        )
        .expect("it is held");
    world.allocator.assert_consistent();
    world.recover((1, 1, "cpus:1;mem:1024;cpus(a, ops):3"));
    assert_eq!(
        world.poll(),
        [
            grant(1, 2, "cpus:1;mem:1024"),
            grant(1, 1, "cpus(a, ops):3"),
        ]
    );
}
