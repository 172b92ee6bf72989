//! A framework that shares nothing with Weir but the schema: Python, aioquic and Google's protobuf,
//! against a real scheduler over real QUIC.
//!
//! Each test makes certificates, starts `weir-scheduler` with an agent that lives in memory, and runs
//! one scenario of `scenario.py`, which says what it expects of every answer. `weir.py` beside it is
//! the client, small enough to be copied by whoever writes a framework. `cargo xtask setup` makes the
//! Python environment, of exact versions.

#![expect(
    clippy::disallowed_methods,
    reason = "the scheduler and Python are processes of their own here"
)]
#![forbid(unsafe_code)]

mod agent;
#[path = "../ledger/make.rs"]
#[allow(
    dead_code,
    reason = "made for the tests of the ledger, which use all of it"
)]
mod make;
#[path = "../ledger/node.rs"]
#[allow(
    dead_code,
    reason = "made for the tests of the ledger, which use all of it"
)]
mod node;
mod scheduler;
mod world;

use weir_transport::PeerKind;

use crate::world::World;

#[test]
fn a_framework_in_python_reserves_launches_and_comes_back() {
    let name = "a_framework_in_python_reserves_launches_and_comes_back";
    let Some(world) = World::new(name) else {
        return;
    };
    world.issue(PeerKind::Framework, "shop");
    let scheduler = world.start_scheduler();
    world.start_agent(&scheduler, "n1");
    world.play("launch", &scheduler);
}

#[test]
fn an_offer_of_another_framework_is_refused_and_stays_its_owners() {
    let name = "an_offer_of_another_framework_is_refused_and_stays_its_owners";
    let Some(world) = World::new(name) else {
        return;
    };
    world.issue(PeerKind::Framework, "shop");
    world.issue(PeerKind::Framework, "rival");
    let scheduler = world.start_scheduler();
    world.start_agent(&scheduler, "n1");
    world.play("another-offer", &scheduler);
}

#[test]
fn strangers_are_told_which_check_failed_and_so_is_the_log() {
    let name = "strangers_are_told_which_check_failed_and_so_is_the_log";
    let Some(world) = World::new(name) else {
        return;
    };
    world.issue(PeerKind::Framework, "shop");
    world.issue(PeerKind::Framework, "revoked");
    world.revoke(PeerKind::Framework, "revoked");
    world.forge(PeerKind::Framework, "stranger");
    let scheduler = world.start_scheduler();
    world.play("strangers", &scheduler);
    scheduler.wait_for_line("the line about the revoked peer", |line| {
        line.contains("revoked") && line.contains("spiffe://weir.test/framework/revoked")
    });
}

#[test]
fn what_is_no_frame_or_no_message_ends_the_connection_by_name() {
    let name = "what_is_no_frame_or_no_message_ends_the_connection_by_name";
    let Some(world) = World::new(name) else {
        return;
    };
    world.issue(PeerKind::Framework, "shop");
    let scheduler = world.start_scheduler();
    world.play("nonsense", &scheduler);
}
