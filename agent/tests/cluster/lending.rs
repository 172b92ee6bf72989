//! What is lent twice, and taken back.

use crate::cluster::Cluster;
use crate::node::eventually;

const LENDING: &str = "resources.lend = \"cpus:4;mem:1024;disk:4096\"\n\
     estimate.estimator = \"fixed\"\nestimate.interval_ms = 200\nestimate.ttl_ms = 2000\n";

fn lending(amount: &str) -> String {
    format!("{LENDING}estimate.lend = \"{amount}\"\n")
}

#[test]
fn a_task_on_what_is_lent_goes_when_that_is_wanted_back_and_is_told_why() {
    let mut cluster = Cluster::with(&[&lending("cpus:3;mem:512")]);
    let long = ["--", "sleep", "1d"];
    let run = |cluster: &Cluster, options: &[&str]| {
        cluster.start(&[&["run"], options, &long[..]].concat())
    };
    let regular = run(&cluster, &["--name", "regular", "--cpus", "1"]);
    let first = run(&cluster, &["--name", "first", "--revocable", "--cpus", "1"]);
    cluster.await_running(2);
    let second = run(
        &cluster,
        &["--name", "second", "--revocable", "--cpus", "2"],
    );
    cluster.await_running(3);

    // One CPU is lent on: one of the two has to go, and not the one that holds its own.
    cluster.nodes[0].stop_daemon();
    cluster.configure_node(0, &lending("cpus:1;mem:512"));
    cluster.nodes[0].start();
    let said = second.wait();
    assert!(said.stderr.contains("REASON_REVOKED"), "{said:?}");
    assert!(said.stderr.contains("agent n1 lends"), "{said:?}");
    cluster.await_running(2);
    drop((regular, first));
}

#[test]
fn what_is_lent_is_lent_no_longer_when_nobody_says_so() {
    let mut cluster = Cluster::with(&[&lending("cpus:1;mem:512")]);
    let lent = |cluster: &Cluster| {
        let agents = cluster.list(&["agents"]);
        agents[0]["revocable"].as_array().unwrap().len()
    };
    eventually("the estimate has come", || {
        (lent(&cluster) > 0).then_some(())
    });
    cluster.nodes[0].kill_daemon();
    eventually("the estimate has expired", || {
        (lent(&cluster) == 0).then_some(())
    });
}
