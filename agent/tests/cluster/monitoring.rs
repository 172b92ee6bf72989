//! What monitoring is told to look at.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cluster::{Cluster, ask};
use crate::node::HTTP;

/// Returns the names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("weir_agent_") || word.starts_with("weir_scheduler_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_look_at_metrics_that_there_are() {
    let cluster = Cluster::new();
    cluster.await_agents(1);
    let running = cluster.start(&["run", "--name", "web", "--", "sleep", "1d"]);
    cluster.await_running(1);
    let agent = cluster.nodes[0].on_node(|| ask(HTTP, "/metrics")).unwrap();
    let there = metrics(&(agent + &cluster.ask("/metrics").unwrap()));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for rules in [
        "dist/prometheus/weir-agent.rules.yml",
        "../scheduler/dist/prometheus/weir-scheduler.rules.yml",
    ] {
        let text = fs::read_to_string(sources.join(rules)).unwrap();
        let wanted = metrics(&text);
        assert!(wanted.len() > 5, "{wanted:?}");
        let missing: Vec<_> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "{rules}: {missing:?}");
    }
    drop(running);
}
