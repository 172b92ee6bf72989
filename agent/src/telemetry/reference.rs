//! The page `docs/metrics.md`, made from the metrics themselves, and what bounds the number of series.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use weir_abi::{DropReason, NodeCounters, RttHistogram};
use weir_transport::scrape::ScrapeCounts;

use super::facilities::{QueueStatistics, Queues, WireQueue, WireShare};
use super::measure::{Measurement, Snapshot};
use super::metrics::{Family, families, full_name, render};
use super::statistics::{CpuThrottling, Drops, MemoryEvents, MemorySource, Pressure};
use crate::session::SessionReport;
use crate::telemetry::ProgramStatistics;

/// Set to write the page anew instead of comparing.
const REWRITE: &str = "WEIR_REWRITE_GOLDEN";

/// Labels whose values are names of things that come and go, and what they are.
const NAMED: [(&str, &str); 3] = [
    ("container", "the name of a container that runs"),
    ("program", "an eBPF program of the agent"),
    ("version", "the agent's"),
];

/// Returns a node on which everything that can be said of this many containers is said.
pub(super) fn everything(containers: usize) -> Snapshot {
    let measured = |index: usize| {
        let mut statistics = super::mesos::tests::statistics();
        statistics.name = format!("web{index}").parse().unwrap();
        statistics.ephemeral = Some("32768-33279".parse().unwrap());
        statistics.limits.cpus = Some("1.5".parse().unwrap());
        statistics.limits.memory = Some("64M".parse().unwrap());
        statistics.memory_source = match index % 2 {
            0 => MemorySource::Cgroup,
            _ => MemorySource::Processes,
        };
        let rate = Some("50mbit".parse().unwrap());
        statistics.limits.bandwidth.egress_min = rate;
        statistics.limits.bandwidth.egress_max = rate;
        statistics.limits.bandwidth.ingress_max = rate;
        statistics.cpu_throttling = Some(CpuThrottling::default());
        statistics.memory_events = Some(MemoryEvents::default());
        statistics.pressure = Some(Pressure::default());
        statistics.limits.pids = Some("64".parse().unwrap());
        statistics.forks_refused = Some(0);
        let network = statistics.network.as_mut().unwrap();
        let drops: Drops = DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), 1))
            .collect();
        network.traffic.rx_drops.clone_from(&drops);
        network.traffic.tx_drops = drops;
        network.tcp_connects = Some(1);
        network.tcp_accepts = Some(1);
        network.tcp_connect_failures = Some(1);
        network.tcp_retransmits = Some(1);
        Measurement {
            statistics,
            rtt: Some(RttHistogram::default()),
            queues: Queues {
                transmit: Some(QueueStatistics::default()),
                receive: Some(QueueStatistics::default()),
            },
            wire: Some(WireShare::default()),
        }
    };
    Snapshot {
        containers: (0..containers).map(measured).collect(),
        node: Some(NodeCounters::default()),
        node_wire: vec![
            ("session", WireQueue::default()),
            ("node", WireQueue::default()),
        ],
        programs: vec![ProgramStatistics {
            name: "uplink".to_owned(),
            run_time_ns: 0,
            run_count: 0,
        }],
        session: Some(SessionReport::default()),
        gate: Some(ScrapeCounts::default()),
        ..Snapshot::default()
    }
}

/// Returns how many series a scrape of this many containers has.
fn all_series(containers: usize) -> usize {
    let text = render(&everything(containers));
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn unit(name: &str) -> &'static str {
    let quantity = name.strip_suffix("_total").unwrap_or(name);
    let flags = ["_connected", "_registered", "_loaded"];
    match quantity {
        _ if quantity.ends_with("_timestamp_seconds") => "seconds since 1970",
        _ if quantity.ends_with("_bytes_per_second") => "bytes per second",
        _ if quantity.ends_with("_seconds") => "seconds",
        _ if quantity.ends_with("_bytes") => "bytes",
        _ if quantity.ends_with("_cores") || quantity.ends_with("_cpus") => "CPUs",
        _ if quantity.ends_with("_info") => "always 1",
        _ if flags.iter().any(|flag| quantity.ends_with(flag)) => "1 or 0",
        _ => "how many",
    }
}

/// Returns the labels of a family with the values that they can have.
fn labels(family: &Family, snapshot: &Snapshot) -> String {
    let samples = (family.samples)(snapshot);
    let described = family.labels.iter().map(|label| {
        if let Some((_, what)) = NAMED.iter().find(|(named, _)| named == label) {
            return format!("`{label}`: {what}");
        }
        let values: BTreeSet<String> = samples
            .iter()
            .flat_map(|sample| sample.labels(family))
            .filter(|(name, _)| name == label)
            .map(|(_, value)| format!("`{value}`"))
            .collect();
        assert!(!values.is_empty(), "{}: {label}", family.name);
        let values: Vec<String> = values.into_iter().collect();
        format!("`{label}`: {}", values.join(", "))
    });
    described.collect::<Vec<_>>().join("; ")
}

fn page() -> String {
    let snapshot = everything(2);
    let mut page = format!(
        "# What weir-agent measures\n\n\
         `GET /metrics` of `[http] listen` has these, in Prometheus' text format. Counters of a container begin at zero\n\
         when a container of that name is started; all others when the agent is.\n\n\
         A node has at most {} series of its own beside the two of each eBPF program, and {} more for each container\n\
         that runs. The metrics of the session with the scheduler are there when `[scheduler] addresses` has one;\n\
         `weir_agent_http_refused_total` where `[http] listen` is not loopback; limits where they are set and enforced,\n\
         what is sorted and what waits where a container is held to a rate; what is on the wire where that is divided,\n\
         `source=\"cgroup\"`, `weir_agent_container_memory_events_total` and `weir_agent_container_oom_kills_total` where the\n\
         memory controller is; throttling where CPUs are limited; pressure where the kernel measures it. What a node does not\n\
         have is absent, and not zero.\n\n\
         This page is made from the code.\n\n\
         | metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
        // Without credentials, which nothing here has, there is no end of a certificate.
        all_series(0) - 2 + 1,
        all_series(1) - all_series(0),
    );
    for family in families() {
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            full_name(family),
            family.kind.name(),
            unit(family.name),
            labels(family, &snapshot),
            family.help,
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_tells_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = page();
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, &page).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        page, reviewed,
        "the metrics have changed; if that is meant, run this test with {REWRITE}=1"
    );
}

#[test]
fn each_container_adds_the_same_number_of_series() {
    let one = all_series(1) - all_series(0);
    assert!(one > 50, "{one}");
    assert_eq!(all_series(100) - all_series(0), 100 * one);
}

#[test]
fn no_label_other_than_the_container_grows_with_containers() {
    let values = |snapshot: &Snapshot| {
        let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for family in families() {
            for sample in (family.samples)(snapshot) {
                for (label, value) in sample.labels(family) {
                    assert!(!value.is_empty(), "{}: {label}", family.name);
                    values.entry(label).or_default().insert(value.to_owned());
                }
            }
        }
        values
    };
    let (mut few, mut many) = (values(&everything(2)), values(&everything(100)));
    assert_eq!(few.remove("container").unwrap().len(), 2);
    assert_eq!(many.remove("container").unwrap().len(), 100);
    assert_eq!(few, many);
}
