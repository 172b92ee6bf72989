//! `/metrics`: everything that is measured, in Prometheus' text format.
//!
//! Labels are few and bounded: `container` is the name of a container that runs now, all others are
//! words of this source. Counters of a container begin at zero when a container of that name is
//! started; Prometheus takes that for a restart, which it is.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use weir_abi::{RttHistogram, bucket_upper_us};

use super::families::{FAMILIES, US};
use super::measure::Snapshot;
use crate::session;

/// One metric: its name without `weir_agent_`, what it means when it moves, its kind, its labels.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    /// Its samples: the values of the labels, and the number.
    pub(crate) samples: fn(&Snapshot) -> Vec<Sample>,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub(crate) struct Sample {
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Number(f64),
    Times(Box<RttHistogram>),
}

/// Writes everything as text.
pub(super) fn render(snapshot: Snapshot) -> Result<Vec<u8>, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(Measured::new(snapshot)?))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

/// Returns every metric: those here, and those that live beside what they count.
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(session::FAMILIES)
}

/// A snapshot as a collector.
struct Measured {
    snapshot: Snapshot,
    descriptions: Vec<Desc>,
}

impl Measured {
    fn new(snapshot: Snapshot) -> Result<Self, prometheus::Error> {
        let describe = |family: &Family| {
            let labels = family
                .labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect();
            Desc::new(
                full_name(family),
                family.help.to_owned(),
                labels,
                HashMap::new(),
            )
        };
        let descriptions = families().map(describe).collect::<Result<_, _>>()?;
        Ok(Self {
            snapshot,
            descriptions,
        })
    }
}

impl Collector for Measured {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families()
            .map(|family| family.collect(&self.snapshot))
            .collect()
    }
}

impl Family {
    fn collect(&self, snapshot: &Snapshot) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(full_name(self));
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        let metrics = (self.samples)(snapshot)
            .into_iter()
            .map(|sample| self.metric(sample));
        family.set_metric(metrics.collect());
        family
    }

    fn metric(&self, sample: Sample) -> Metric {
        let mut metric = Metric::default();
        let pairs = self.labels.iter().zip(sample.labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        });
        metric.set_label(pairs.collect());
        match (self.kind, sample.value) {
            (Kind::Counter, Value::Number(number)) => {
                let mut counter = Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            (Kind::Gauge | Kind::Histogram, Value::Number(number)) => {
                let mut gauge = Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
            (Kind::Counter | Kind::Gauge | Kind::Histogram, Value::Times(times)) => {
                metric.set_histogram(histogram(&times));
            }
        }
        metric
    }
}

/// The programs' four buckets per power of two become one each: what is asked of a histogram over
/// time and nodes needs no more, and a thousand containers should still be scraped in a blink.
fn histogram(times: &RttHistogram) -> Histogram {
    const STEPS: usize = 4;
    let mut buckets = Vec::with_capacity(times.buckets.len() / STEPS);
    let mut seen = 0;
    for (index, counts) in times.buckets.chunks(STEPS).enumerate() {
        seen += counts.iter().sum::<u64>();
        let last = index * STEPS + counts.len() - 1;
        // The last bucket also holds what is longer: it is the encoder's +Inf.
        if last + 1 < times.buckets.len() {
            let upper_us =
                bucket_upper_us(u32::try_from(last).expect("there are a hundred buckets"));
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(float(upper_us) / US);
            bucket.set_cumulative_count(seen);
            buckets.push(bucket);
        }
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(seen);
    histogram.set_sample_sum(float(times.sum_us) / US);
    histogram
}

pub(super) fn full_name(family: &Family) -> String {
    format!("weir_agent_{}", family.name)
}

/// Prometheus' numbers are doubles; 2^53 of anything here is far away.
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use weir_abi::bucket_of;

    use super::super::measure::Measurement;
    use super::*;
    use crate::session::SessionReport;

    fn text(snapshot: Snapshot) -> String {
        String::from_utf8(render(snapshot).unwrap()).unwrap()
    }

    fn measured() -> Snapshot {
        let mut rtt = RttHistogram::default();
        for us in [3, 100, 100, u32::MAX] {
            rtt.buckets[bucket_of(us) as usize] += 1;
        }
        rtt.sum_us = 203;
        let statistics = super::super::mesos::tests::statistics();
        Snapshot {
            containers: vec![Measurement {
                statistics,
                rtt: Some(rtt),
            }],
            states: [0, 1, 0, 2],
            node: Some(weir_abi::NodeCounters {
                bind_refused: 5,
                ..Default::default()
            }),
            programs: vec![crate::telemetry::ProgramStatistics {
                name: "uplink".to_owned(),
                run_time_ns: 1_500_000_000,
                run_count: 7,
            }],
            follow: crate::telemetry::FollowStatistics {
                changes: 3,
                took: std::time::Duration::from_millis(750),
                longest: std::time::Duration::from_millis(500),
            },
            failures: 0,
            session: Some(SessionReport {
                attempts: 5,
                welcomes: 2,
                ..SessionReport::default()
            }),
        }
    }

    #[test]
    fn everything_measured_is_written() {
        let text = text(measured());
        for line in [
            "weir_agent_containers{state=\"running\"} 1",
            "weir_agent_containers{state=\"ended\"} 2",
            "weir_agent_container_cpu_seconds_total{container=\"web\",mode=\"user\"} 1.5",
            "weir_agent_container_memory_bytes{container=\"web\",source=\"pss\"} 4096",
            "weir_agent_container_ports{container=\"web\",kind=\"assigned\"} 1",
            "weir_agent_container_network_receive_bytes_total{container=\"web\"} 2",
            "weir_agent_container_network_dropped_packets_total{container=\"web\",direction=\"transmit\",reason=\"source_port\"} 6",
            "weir_agent_container_tcp_connections{container=\"web\",state=\"time_wait\"} 9",
            "weir_agent_container_tcp_rtt_seconds_bucket{container=\"web\",le=\"0.000003\"} 1",
            "weir_agent_container_tcp_rtt_seconds_bucket{container=\"web\",le=\"0.000127\"} 3",
            "weir_agent_container_tcp_rtt_seconds_bucket{container=\"web\",le=\"+Inf\"} 4",
            "weir_agent_container_tcp_rtt_seconds_count{container=\"web\"} 4",
            "weir_agent_node_refused_binds_total 5",
            "weir_agent_scheduler_connected 0",
            "weir_agent_scheduler_connection_attempts_total 5",
            "weir_agent_scheduler_connections_total 2",
            "weir_agent_operations_total{result=\"applied\"} 0",
            "weir_agent_program_run_seconds_total{program=\"uplink\"} 1.5",
            "weir_agent_network_followed_changes_total 3",
            "weir_agent_network_follow_seconds_total 0.75",
            "weir_agent_network_follow_longest_seconds 0.5",
            "weir_agent_telemetry_failed_reads_total 0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn an_empty_node_has_no_container_series() {
        let text = text(Snapshot::default());
        assert!(!text.contains("weir_agent_container_"), "{text}");
        assert!(text.contains("weir_agent_build_info{version="), "{text}");
    }

    #[test]
    fn names_follow_the_conventions() {
        let mut names = std::collections::BTreeSet::new();
        for family in families() {
            assert!(names.insert(family.name), "{} twice", family.name);
            let is_counter = matches!(family.kind, Kind::Counter);
            assert_eq!(
                family.name.ends_with("_total"),
                is_counter,
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.'), "{}", family.help);
            for unit in ["_ms", "_us", "_ns", "_milliseconds", "_kb"] {
                assert!(!family.name.contains(unit), "{}", family.name);
            }
        }
    }
}
