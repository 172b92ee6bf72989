//! The page `docs/metrics.md`, made from the metrics themselves, and what names and labels may be.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use prometheus::Registry;
use prometheus::proto::{MetricFamily, MetricType};
use weir_transport::authority::{Authority, IssueRequest, Overwrite};
use weir_transport::credentials::{CredentialFiles, CredentialState, Credentials};
use weir_transport::{PeerKind, PeerName, TrustDomain};

use super::TransportMetrics;
use crate::session::SessionMetrics;
use crate::store::StoreMetrics;

/// Set to write the page anew instead of comparing.
const REWRITE: &str = "WEIR_REWRITE_GOLDEN";

/// The most series of a label: the states of a task, and the checks that a peer can fail.
const VALUES_MAX: usize = 20;

/// Returns all that the daemon registers.
fn families() -> Vec<MetricFamily> {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let lifetime = Duration::from_hours(24);
    let domain = TrustDomain::new("weir.test").unwrap();
    let made = directory.path().join("certs");
    let authority = Authority::create(&made, &domain, lifetime * 2, now).unwrap();
    let request = IssueRequest {
        kind: PeerKind::Scheduler,
        name: PeerName::new("main").unwrap(),
        host_names: vec!["127.0.0.1".parse().unwrap()],
        lifetime,
    };
    let (_, written) = authority
        .issue_files(&request, &made, Overwrite::Refuse, now)
        .unwrap();
    let files = CredentialFiles {
        certificate: written.certificate,
        key: written.key,
        authorities: made.join("ca.pem"),
        revocations: None,
    };
    let credentials = Credentials::load(&files, &[PeerKind::Scheduler], now).unwrap();
    let registry = Registry::new();
    let watch = CredentialState::fixed(credentials);
    let transport = TransportMetrics::register(&registry, watch).unwrap();
    SessionMetrics::register(&registry).unwrap();
    StoreMetrics::register(&registry).unwrap();
    transport.read();
    registry.gather()
}

/// Returns the one label of a family with its values, if it has one.
fn label(family: &MetricFamily) -> Option<(String, BTreeSet<String>)> {
    let pairs = family.get_metric().iter().map(|metric| {
        let labels = metric.get_label();
        assert!(labels.len() <= 1, "{}", family.name());
        labels.first()
    });
    let pairs: Option<Vec<_>> = pairs.collect();
    let pairs = pairs?;
    let name = pairs.first()?.name().to_owned();
    Some((
        name,
        pairs.iter().map(|pair| pair.value().to_owned()).collect(),
    ))
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY | MetricType::UNTYPED => panic!("{}", family.name()),
    }
}

fn unit(name: &str) -> &'static str {
    let quantity = name.strip_suffix("_total").unwrap_or(name);
    match quantity {
        _ if quantity.ends_with("_timestamp_seconds") => "seconds since 1970",
        _ if quantity.ends_with("_seconds") => "seconds",
        _ if quantity.ends_with("_bytes") => "bytes",
        _ if quantity.ends_with("_failing") => "1 or 0",
        _ => "how many",
    }
}

fn page() -> String {
    let mut page = String::from(
        "# What weir-scheduler measures\n\n\
         `GET /metrics` of `[http] listen` has these, in Prometheus' text format. Counters begin at zero when the scheduler\n\
         is started. No series is of a single agent, framework or task: their number does not grow with the cluster.\n\n\
         This page is made from the code.\n\n\
         | metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for family in families() {
        let labels = label(&family).map_or_else(String::new, |(name, values)| {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{name}`: {}", values.join(", "))
        });
        writeln!(
            page,
            "| `{}` | {} | {} | {labels} | {}. |",
            family.name(),
            kind(&family),
            unit(family.name()),
            family.help(),
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
fn names_follow_the_conventions() {
    let families = families();
    assert!(families.len() > 20, "{}", families.len());
    for family in families {
        let name = family.name();
        assert!(name.starts_with("weir_scheduler_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            kind(&family) == "counter",
            "{name}"
        );
        for unit in ["_ms", "_us", "_ns", "_milliseconds", "_kb"] {
            assert!(!name.contains(unit), "{name}");
        }
        let help = family.help();
        assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
    }
}

#[test]
fn labels_have_words_of_the_source_only_and_few() {
    let known = BTreeSet::from(["check", "kind", "outcome", "presence", "reason", "state"]);
    for family in families() {
        if let Some((name, values)) = label(&family) {
            assert!(known.contains(name.as_str()), "{}: {name}", family.name());
            assert!(values.len() <= VALUES_MAX, "{}: {values:?}", family.name());
        }
    }
}
