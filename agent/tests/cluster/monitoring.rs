//! What monitoring is told to look at.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::{Cluster, HTTP as SCHEDULER_HTTP, LENT_WITH_RATES, ask};
use crate::node::{HTTP, eventually};
use crate::prometheus::{Job, Prometheus};

/// Dashboards and rules, as they are shipped.
const DASHBOARDS: [&str; 2] = [
    "dist/grafana/weir-agent.json",
    "../scheduler/dist/grafana/weir-scheduler.json",
];
const RULES: [&str; 2] = [
    "dist/prometheus/weir-agent.rules.yml",
    "../scheduler/dist/prometheus/weir-scheduler.rules.yml",
];

/// A container that is held to rates, both ways.
const WEB: [&str; 10] = [
    "run",
    "--name",
    "web",
    "--egress",
    "20mbit",
    "--ingress",
    "50mbit",
    "--",
    "sleep",
    "1d",
];

/// Returns the names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("weir_agent_") || word.starts_with("weir_scheduler_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_look_at_metrics_that_there_are() {
    let cluster = Cluster::with(&[LENT_WITH_RATES]);
    cluster.await_agents(1);
    let running = cluster.start(&WEB);
    cluster.await_running(1);
    let agent = cluster.nodes[0].on_node(|| ask(HTTP, "/metrics")).unwrap();
    let there = metrics(&(agent + &cluster.ask("/metrics").unwrap()));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for rules in RULES {
        let text = fs::read_to_string(sources.join(rules)).unwrap();
        let wanted = metrics(&text);
        assert!(wanted.len() > 5, "{wanted:?}");
        let missing: Vec<_> = wanted
            .difference(&there)
            .filter(|name| !EMPTY.iter().any(|(empty, _why)| name.contains(empty)))
            .collect();
        assert!(missing.is_empty(), "{rules}: {missing:?}");
    }
    drop(running);
}

/// A panel of a dashboard: its title and its queries, with what Grafana would put in.
struct Panel {
    title: String,
    queries: Vec<String>,
}

fn read_dashboard(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> Vec<Panel> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .filter(|panel| panel["type"] != "row")
        .map(|panel| {
            let targets = panel["targets"].as_array().unwrap().iter();
            let queries = targets.map(|target| {
                let query = target["expr"].as_str().unwrap();
                let query = ["$instance", "$container"]
                    .iter()
                    .fold(query.to_owned(), |query, name| query.replace(name, ".*"));
                let query = query.replace("$__rate_interval", "10s");
                assert!(!query.contains('$'), "a variable is not replaced: {query}");
                query
            });
            Panel {
                title: panel["title"].as_str().unwrap().to_owned(),
                queries: queries.collect(),
            }
        })
        .collect()
}

/// Metrics that a node may have no series of, and why. Each is beside one in its panel that has.
const EMPTY: [(&str, &str); 9] = [
    (
        "container_cpu_limit_cores",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_memory_limit_bytes",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_cpu_throttled_seconds_total",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_cpu_throttled_periods_total",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_cpu_periods_total",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_threads_limit",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_refused_forks_total",
        "a limit is there only where the controllers enforce it",
    ),
    (
        "container_memory_events_total",
        "they are there only where the memory controller is",
    ),
    (
        "container_oom_kills_total",
        "they are there only where the memory controller is",
    ),
];

#[test]
fn prometheus_answers_every_query_of_the_dashboards_and_every_rule() {
    let served = "10.9.0.2:9464";
    let lines = format!("{LENT_WITH_RATES}http.listen = \"{served}\"\n");
    let cluster = Cluster::with(&[&lines]);
    let running = cluster.start(&WEB);
    cluster.await_running(1);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = RULES.map(|path| sources.join(path));
    let certificates = cluster.certificates().display().to_string();
    let scraper = ["certs", "issue", "scraper", "prometheus"];
    cluster
        .weir(&[&scraper[..], &["--directory", &certificates]].concat())
        .ok();
    let prometheus = Prometheus::start(
        &cluster,
        &[
            // From elsewhere, so over TLS; by the name in the certificate that `weir certs init` made.
            Job {
                name: "weir-agent",
                address: served,
                tls: Some("n1"),
            },
            Job {
                name: "weir-scheduler",
                address: SCHEDULER_HTTP,
                tls: None,
            },
        ],
        &rules.each_ref().map(PathBuf::as_path),
    );
    // Two scrapes of each make a rate.
    eventually("both are scraped twice", || {
        let both = r#"count(count_over_time(up{job=~"weir-.*"}[10s]) >= 2) == 2"#;
        (prometheus.series(both) == 1).then_some(())
    });
    assert_eq!(prometheus.series(r#"up{job=~"weir-.*"} == 1"#), 2);

    for path in DASHBOARDS {
        let panels = panels(&read_dashboard(&sources.join(path)));
        assert!(panels.len() > 15, "{path}: {}", panels.len());
        for Panel { title, queries } in panels {
            let mut most = 0;
            for query in &queries {
                if EMPTY.iter().any(|(name, _why)| query.contains(name)) {
                    // It parses, or this would fail.
                    prometheus.series(query);
                    continue;
                }
                let series = eventually(&format!("{path}, {title}: {query}"), || {
                    Some(prometheus.series(query)).filter(|series| *series > 0)
                });
                most = most.max(series);
            }
            assert!(most > 0, "{path}, {title}: no query has a series");
        }
    }

    let evaluated = eventually("all rules are evaluated", || {
        let data = prometheus.api("/api/v1/rules");
        let groups = data["groups"].as_array().unwrap().iter();
        let rules: Vec<Value> = groups
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect();
        let is_done = rules.iter().all(|rule| rule["health"] != "unknown");
        (is_done && !rules.is_empty()).then_some(rules)
    });
    assert!(evaluated.len() > 15, "{evaluated:?}");
    for rule in evaluated {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    drop(prometheus);
    drop(running);
}

#[test]
fn dashboards_show_every_metric() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (dashboard, page) in DASHBOARDS
        .into_iter()
        .zip(["docs/metrics.md", "../scheduler/docs/metrics.md"])
    {
        let shown: BTreeSet<String> =
            metrics(&fs::read_to_string(sources.join(dashboard)).unwrap())
                .into_iter()
                .map(|name| {
                    let parts = ["_bucket", "_sum", "_count"];
                    let family = parts.iter().find_map(|part| name.strip_suffix(part));
                    family.unwrap_or(&name).to_owned()
                })
                .collect();
        let there = metrics(&fs::read_to_string(sources.join(page)).unwrap());
        let missing: Vec<_> = there.difference(&shown).collect();
        assert!(missing.is_empty(), "{dashboard}: {missing:?}");
    }
}
