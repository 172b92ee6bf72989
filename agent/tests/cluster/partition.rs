//! The wire is cut for longer than anybody waits.

use std::fs;

use crate::cluster::Cluster;
use crate::node::{eventually, run};

fn cut(cluster: &Cluster) {
    cluster.nodes[0].on_wire(|| run("ip", "link set w0 down"));
}

fn heal(cluster: &Cluster) {
    cluster.nodes[0].on_wire(|| run("ip", "link set w0 up"));
}

fn state(cluster: &Cluster) -> String {
    let agents = cluster.list(&["agents"]);
    agents.first().map_or_else(
        || "none".to_owned(),
        |agent| agent["state"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn an_agent_behind_a_cut_wire_is_away_keeps_its_tasks_and_is_reconciled() {
    let cluster = Cluster::new();
    let go = cluster.nodes[0].files().join("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; exit 6",
        go.display()
    );
    let running = cluster.start(&["run", "--", "sh", "-c", &script]);
    cluster.await_running(1);
    cut(&cluster);
    eventually("it is noticed", || {
        (state(&cluster) == "disconnected").then_some(())
    });
    assert!(cluster.list(&["offers"]).is_empty());
    assert_eq!(cluster.list(&["tasks"]).len(), 1);
    // It ends in the dark.
    fs::write(go, "").unwrap();
    eventually("the task ends", || {
        cluster.nodes[0].containers(false).is_empty().then_some(())
    });
    heal(&cluster);
    assert_eq!(running.wait().code, Some(6));
    cluster.await_agents(1);
    assert!(cluster.list(&["tasks"]).is_empty());
}

#[test]
fn an_agent_that_stays_behind_a_cut_wire_is_removed_and_comes_back_as_another() {
    // Of two, so that most of the cluster is there: else the scheduler takes itself for cut off, and waits.
    let mut cluster = Cluster::without_agents(&[
        "",
        "resources.lend = \"cpus(other):1\"\nresources.detect = false\n",
    ]);
    cluster.kill_scheduler();
    cluster.rules = "[agents]\nremoval_ms = 15000\nreturn_ms = 15000\n".to_owned();
    cluster.start_scheduler();
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_agents(2);
    let id = |cluster: &Cluster| {
        let agents = cluster.list(&["agents"]);
        let first = agents.iter().find(|agent| agent["name"] == "n1")?;
        Some(first["id"].clone())
    };
    let before = id(&cluster);
    let running = cluster.start(&["run", "--", "sleep", "1d"]);
    cluster.await_running(1);
    cut(&cluster);
    let said = running.wait();
    assert!(said.stderr.contains("TASK_LOST"), "{said:?}");
    assert_eq!(id(&cluster), None);
    heal(&cluster);
    cluster.await_agents(2);
    assert_ne!(id(&cluster), before);
    eventually("what was given up has ended", || {
        cluster.nodes[0].containers(false).is_empty().then_some(())
    });
}
