//! Scheduler and agent are killed, and come back.

use std::fs;

use crate::cluster::{Cluster, Running};

/// Starts a task that ends with `code` once there is the file `go`.
fn start_waiting(cluster: &Cluster, code: u8) -> Running {
    let go = cluster.nodes[0].files().join("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; exit {code}",
        go.display()
    );
    let running = cluster.start(&["run", "--", "sh", "-c", &script]);
    cluster.await_running(1);
    running
}

fn go(cluster: &Cluster) {
    fs::write(cluster.nodes[0].files().join("go"), "").unwrap();
}

#[test]
fn a_task_ends_as_it_does_although_the_agent_is_killed() {
    let mut cluster = Cluster::new();
    let running = start_waiting(&cluster, 7);
    cluster.nodes[0].kill_daemon();
    cluster.nodes[0].start();
    cluster.await_agents(1);
    cluster.await_running(1);
    go(&cluster);
    assert_eq!(running.wait().code, Some(7));
}

#[test]
fn a_task_that_ends_while_there_is_no_agent_is_told_by_the_next() {
    let mut cluster = Cluster::new();
    let running = start_waiting(&cluster, 8);
    cluster.nodes[0].kill_daemon();
    go(&cluster);
    cluster.nodes[0].start();
    assert_eq!(running.wait().code, Some(8));
    assert!(cluster.list(&["tasks"]).is_empty());
}

#[test]
fn a_task_goes_on_and_is_told_although_the_scheduler_is_killed() {
    let mut cluster = Cluster::new();
    let running = start_waiting(&cluster, 9);
    cluster.kill_scheduler();
    cluster.start_scheduler();
    cluster.await_agents(1);
    cluster.await_running(1);
    cluster.kill_scheduler();
    go(&cluster);
    cluster.start_scheduler();
    assert_eq!(running.wait().code, Some(9));
}

#[test]
fn a_scheduler_that_lost_its_database_learns_all_from_the_agents() {
    let mut cluster = Cluster::new();
    let on = ["--agent", "n1", "--role", "db"];
    cluster
        .weir(&[&["reserve"], &on[..], &["cpus:1;mem:128;disk:256"]].concat())
        .ok();
    cluster
        .weir(&[&["volume", "create"], &on[..], &["--size", "128", "pgdata"]].concat())
        .ok();
    let _running = start_waiting(&cluster, 0);
    let before = (
        cluster.list(&["reservations"]),
        cluster.list(&["volume", "list"]),
    );
    cluster.kill_scheduler();
    fs::remove_dir_all(cluster.state()).unwrap();
    cluster.start_scheduler();
    cluster.await_agents(1);
    let strip = |mut listing: Vec<serde_json::Value>| {
        for entry in &mut listing {
            // The scheduler has given the agent a new one, or not.
            entry.as_object_mut().unwrap().remove("agent_id");
        }
        listing
    };
    let after = (
        cluster.list(&["reservations"]),
        cluster.list(&["volume", "list"]),
    );
    assert_eq!(strip(after.0), strip(before.0));
    assert_eq!(strip(after.1), strip(before.1));
    let tasks = cluster.list(&["tasks"]);
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    go(&cluster);
}
