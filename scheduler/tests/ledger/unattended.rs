//! Frameworks that leave their tasks alone: the ledger acknowledges for them, and ends them.

use weir_protocol::{Millis, OperatorCall, TaskState};
use weir_scheduler::ledger::Row;

use super::make;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

const DAY_SECS: u64 = 86_400;

/// A framework that is there, with a task that runs.
fn running() -> (World, Fw) {
    let (mut world, fw) = offered();
    world.run(fw, "t1", "cpus:1;mem:64");
    (world, fw)
}

/// The same before it has launched anything.
fn offered() -> (World, Fw) {
    let mut world = World::new();
    let mut info = make::framework_info("f1", "web");
    info.failover_timeout = Millis(DAY_SECS * 1_000);
    info.unattended = true;
    let fw = world.framework_as("f1", info);
    world.agent("n1", "cpus:4;mem:1024");
    (world, fw)
}

fn has_ended(world: &World, fw: Fw) -> bool {
    let id = world.id(fw);
    let rows = world.ledger.rows();
    rows.iter().any(|row| match row {
        Row::EndedFramework(ended) => ended.id == id,
        _ => false,
    })
}

fn finish(world: &mut World, fw: Fw) {
    let key = world.key(fw, "t1");
    let call = world.node_mut(N1).end(&key, TaskState::Finished, None);
    world.node_says(N1, call.into_iter().collect());
    world.settle();
}

fn drain(world: &mut World) {
    let agent = world.node(N1).info.name.clone();
    let grace_max = None;
    let call = OperatorCall::DrainAgent { agent, grace_max };
    world.ask("ann", call).expect("it has begun");
}

fn has_left(world: &World) -> bool {
    let rows = world.ledger.rows();
    !rows.iter().any(|row| matches!(row, Row::Agent(_)))
}

#[test]
fn a_drain_comes_to_its_end_though_nobody_acknowledges() {
    let (mut world, fw) = running();
    // Not even the first update was acknowledged.
    world.cut_framework(fw);
    drain(&mut world);
    assert!(world.node(N1).tasks.is_empty());
    assert!(has_left(&world));
}

#[test]
fn so_it_does_after_a_restart_and_with_a_lost_database() {
    for restart in [World::restart, World::lose_database] {
        let (mut world, fw) = running();
        world.cut_framework(fw);
        restart(&mut world);
        world.register(N1);
        drain(&mut world);
        assert!(has_left(&world));
        world.advance_secs(600);
        assert!(has_ended(&world, fw));
    }
}

#[test]
fn while_it_is_there_it_acknowledges_itself() {
    let (mut world, fw) = running();
    world.acknowledge_all(fw);
    finish(&mut world, fw);
    assert_eq!(world.node(N1).tasks.len(), 1);
    let told = world.acknowledge_all(fw);
    assert_eq!(told[0].state, TaskState::Finished);
    assert!(world.node(N1).tasks.is_empty());
    world.advance_secs(DAY_SECS);
    assert!(!has_ended(&world, fw));
}

#[test]
fn it_ends_when_it_has_no_task_left_and_has_had_time_to_come_back() {
    let (mut world, fw) = running();
    world.cut_framework(fw);
    world.advance_secs(DAY_SECS / 2);
    assert_eq!(world.node(N1).alive().count(), 1);
    finish(&mut world, fw);
    world.advance_secs(119);
    assert!(!has_ended(&world, fw));
    world.subscribe(fw);
    world.cut_framework(fw);
    world.advance_secs(119);
    assert!(!has_ended(&world, fw));
    world.advance_secs(1);
    assert!(has_ended(&world, fw));
    let last = world.disk.audit().last().expect("it is written down");
    assert!(last.what.as_str().contains("no task left"), "{last:?}");
}

#[test]
fn an_end_of_which_the_ledger_had_heard_already_is_acknowledged() {
    let (mut world, fw) = running();
    finish(&mut world, fw);
    // The update before it waits for the framework, which goes without a word.
    world.cut_framework(fw);
    assert!(world.node(N1).tasks.is_empty());
}

#[test]
fn a_task_that_an_old_copy_of_the_database_does_not_know_keeps_its_framework() {
    let (mut world, fw) = offered();
    let copy = world.disk.clone();
    world.run(fw, "t1", "cpus:1;mem:64");
    world.cut_framework(fw);
    world.disk = copy;
    world.restart();
    world.advance_secs(300);
    world.register(N1);
    world.advance_secs(DAY_SECS - 1);
    assert_eq!(world.node(N1).alive().count(), 1);
    assert!(!has_ended(&world, fw));
    finish(&mut world, fw);
    world.advance_secs(120);
    assert!(has_ended(&world, fw));
}
