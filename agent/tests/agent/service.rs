//! The daemon as a service of systemd's.

use nix::sys::signal::Signal;

use crate::node::{Node, eventually};

#[test]
fn systemd_hears_again_and_again_that_all_is_well_and_how_things_are() {
    let mut node = Node::without_daemon("");
    let started = node.try_start(&[("WATCHDOG_USEC", "600000")]);
    assert!(started.is_ok(), "{}", node.log());
    // Told when it changes, and at first.
    node.wait_told("STATUS=containers: 0; no scheduler is configured");
    for _ in 0..3 {
        node.wait_told("WATCHDOG=1");
    }
    node.start_container(&["--name", "web"], &["sleep", "1000"]);
    node.wait_told("STATUS=containers: 1; no scheduler is configured");
    node.signal_daemon(Signal::SIGTERM);
    node.wait_told("STOPPING=1");
}

#[test]
fn a_hangup_ends_nothing() {
    let node = Node::new();
    let view = node.start_container(&["--name", "web"], &["sleep", "1000"]);
    node.signal_daemon(Signal::SIGHUP);
    eventually("the log tells of it", || {
        node.log()
            .contains("certificates to read again")
            .then_some(())
    });
    assert!(node.weir(&["ps"]).ok().contains(view.id.as_str()));
}
