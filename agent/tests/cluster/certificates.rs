//! Certificates are replaced and revoked under load.

use crate::cluster::{Cluster, ask};
use crate::node::{HTTP, eventually};

/// Returns a metric of the agent of the first node.
fn metric(cluster: &Cluster, name: &str) -> f64 {
    let text = cluster.nodes[0].on_node(|| ask(HTTP, "/metrics")).unwrap();
    read(&text, name)
}

/// Returns a metric of the scheduler.
fn metric_of_scheduler(cluster: &Cluster, name: &str) -> f64 {
    read(&cluster.ask("/metrics").unwrap(), name)
}

fn read(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("there is such a metric").parse().unwrap()
}

#[test]
fn new_certificates_count_without_a_restart_and_without_a_task_noticing() {
    let cluster = Cluster::new();
    let expiry = "weir_agent_certificate_expiry_timestamp_seconds";
    let before = metric(&cluster, expiry);
    let expiry_of_scheduler = "weir_scheduler_certificate_expiry_timestamp_seconds";
    let before_of_scheduler = metric_of_scheduler(&cluster, expiry_of_scheduler);
    let running = cluster.start(&["run", "--", "sleep", "1d"]);
    cluster.await_running(1);
    let directory = cluster.certificates();
    let directory = directory.to_str().unwrap();
    let issue = |words: &[&str]| {
        let words = [
            &[
                "certs",
                "issue",
                "--directory",
                directory,
                "--replace",
                "--days",
                "200",
            ],
            words,
        ];
        cluster.weir(&words.concat()).ok();
    };
    for round in 1..=3 {
        issue(&["agent", "n1"]);
        issue(&["scheduler", "main", "--host", "10.9.0.1"]);
        // Meanwhile work goes on, on connections old and new.
        assert_eq!(
            cluster.weir(&["run", "--", "sh", "-c", "exit 3"]).code,
            Some(3),
            "{round}"
        );
    }
    eventually("the agent shows the new one", || {
        (metric(&cluster, expiry) > before).then_some(())
    });
    eventually("the scheduler shows the new one", || {
        let now = metric_of_scheduler(&cluster, expiry_of_scheduler);
        (now > before_of_scheduler).then_some(())
    });
    // All of it on one connection.
    let connections = metric(&cluster, "weir_agent_scheduler_connections_total");
    assert!((connections - 1.0).abs() < 0.5, "{connections}");
    assert_eq!(cluster.list(&["tasks"]).len(), 1);
    drop(running);
}

#[test]
fn a_revoked_agent_is_cut_off_and_cannot_return_and_its_tasks_go_on() {
    revoke_and_issue_anew("1000", Tries::Again);
}

#[test]
fn a_new_certificate_is_shown_at_once_however_long_the_agent_would_wait() {
    revoke_and_issue_anew("600000", Tries::No);
}

/// Whether an agent that is refused tries again before the test is over.
enum Tries {
    Again,
    No,
}

fn revoke_and_issue_anew(retry_longest_ms: &str, tries: Tries) {
    let lines = format!("scheduler.retry_longest_ms = {retry_longest_ms}\n");
    let cluster = Cluster::with(&[&lines]);
    let running = cluster.start(&["run", "--", "sleep", "1d"]);
    cluster.await_running(1);
    let directory = cluster.certificates();
    let directory = directory.to_str().unwrap();
    cluster
        .weir(&["certs", "revoke", "--directory", directory, "agent", "n1"])
        .ok();
    eventually("it is cut off", || {
        (cluster.list(&["agents"])[0]["state"] == "disconnected").then_some(())
    });
    let attempts = "weir_agent_scheduler_connection_attempts_total";
    let tried = metric(&cluster, attempts);
    match tries {
        Tries::Again => eventually("it tries again", || {
            (metric(&cluster, attempts) > tried + 1.0).then_some(())
        }),
        Tries::No => {}
    }
    assert_eq!(cluster.list(&["agents"])[0]["state"], "disconnected");
    eventually("the agent hears why", || {
        cluster.nodes[0].log().contains("revoked").then_some(())
    });
    eventually("the scheduler counts whom it refuses, and why", || {
        let name = "weir_scheduler_transport_refused_total{check=\"revocation\"}";
        (metric_of_scheduler(&cluster, name) >= 1.0).then_some(())
    });
    assert_eq!(cluster.nodes[0].containers(false).len(), 1);

    // A new certificate is all it takes.
    let words = [
        "certs",
        "issue",
        "--directory",
        directory,
        "--replace",
        "agent",
        "n1",
    ];
    cluster.weir(&words).ok();
    cluster.await_agents(1);
    cluster.await_running(1);
    drop(running);
}
