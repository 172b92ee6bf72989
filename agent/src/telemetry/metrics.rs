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

use super::measure::{Measurement, Snapshot};
use super::statistics::ContainerStatistics;
use crate::container::State;

/// One metric: its name without `weir_agent_`, what it means when it moves, its kind, its labels.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// Its samples: the values of the labels, and the number.
    samples: fn(&Snapshot) -> Vec<Sample>,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Sample {
    labels: Vec<String>,
    value: Value,
}

enum Value {
    Number(f64),
    Times(Box<RttHistogram>),
}

/// Microseconds, milliseconds and nanoseconds in a second.
const US: f64 = 1e6;
const NS: f64 = 1e9;

/// Every metric of the agent.
const FAMILIES: &[Family] = &[
    Family {
        name: "build_info",
        help: "The version of the agent that answers; always one.",
        kind: Kind::Gauge,
        labels: &["version"],
        samples: |_| vec![sample([env!("CARGO_PKG_VERSION")], 1.0)],
    },
    Family {
        name: "containers",
        help: "Containers that the agent knows, by state.",
        kind: Kind::Gauge,
        labels: &["state"],
        samples: |snapshot| {
            let states = State::NAMES.iter().zip(snapshot.states);
            states
                .map(|(name, count)| sample([*name], float(count)))
                .collect()
        },
    },
    Family {
        name: "container_cpu_seconds_total",
        help: "CPU time that the container's processes have used.",
        kind: Kind::Counter,
        labels: &["container", "mode"],
        samples: |snapshot| {
            each(snapshot, |container| {
                vec![
                    container.sample(&["user"], float(container.cpu_user_us) / US),
                    container.sample(&["system"], float(container.cpu_system_us) / US),
                ]
            })
        },
    },
    Family {
        name: "container_cpu_limit_cores",
        help: "CPUs that the container may use, where that is limited and the limit is enforced.",
        kind: Kind::Gauge,
        labels: &["container"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let limit = container.limits.cpus.filter(|_| !container.unenforced);
                let cores = limit.map(|cpus| f64::from(cpus.thousandths()) / 1e3);
                cores
                    .map(|cores| container.sample(&[], cores))
                    .into_iter()
                    .collect()
            })
        },
    },
    Family {
        name: "container_memory_bytes",
        help: "Memory that the container holds: source=cgroup is what is charged to it, source=pss the sum of its processes' proportional set sizes.",
        kind: Kind::Gauge,
        labels: &["container", "source"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let source = container.memory_source.name();
                vec![container.sample(&[source], float(container.memory_bytes))]
            })
        },
    },
    Family {
        name: "container_memory_limit_bytes",
        help: "Memory that the container may hold, where that is limited and the limit is enforced.",
        kind: Kind::Gauge,
        labels: &["container"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let limit = container.limits.memory.filter(|_| !container.unenforced);
                let bytes = limit.map(|memory| float(memory.bytes()));
                bytes
                    .map(|bytes| container.sample(&[], bytes))
                    .into_iter()
                    .collect()
            })
        },
    },
    Family {
        name: "container_processes",
        help: "Processes in the container.",
        kind: Kind::Gauge,
        labels: &["container"],
        samples: |snapshot| gauge(snapshot, |container| container.processes),
    },
    Family {
        name: "container_threads",
        help: "Threads in the container.",
        kind: Kind::Gauge,
        labels: &["container"],
        samples: |snapshot| gauge(snapshot, |container| container.threads),
    },
    Family {
        name: "container_ports",
        help: "Ports that the container owns: assigned ones it may serve on, ephemeral ones its connections start from.",
        kind: Kind::Gauge,
        labels: &["container", "kind"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let block = container.ephemeral.map_or(0, |block| block.count());
                vec![
                    container.sample(&["assigned"], f64::from(container.ports.count())),
                    container.sample(&["ephemeral"], f64::from(block)),
                ]
            })
        },
    },
    Family {
        name: "container_network_receive_bytes_total",
        help: "Bytes of Ethernet frames that reached the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.traffic.as_ref().map(|t| t.rx_bytes)),
    },
    Family {
        name: "container_network_receive_packets_total",
        help: "Packets that reached the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.traffic.as_ref().map(|t| t.rx_packets)),
    },
    Family {
        name: "container_network_transmit_bytes_total",
        help: "Bytes of Ethernet frames that left the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.traffic.as_ref().map(|t| t.tx_bytes)),
    },
    Family {
        name: "container_network_transmit_packets_total",
        help: "Packets that left the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.traffic.as_ref().map(|t| t.tx_packets)),
    },
    Family {
        name: "container_network_dropped_packets_total",
        help: "Packets of the container that were dropped, by direction and reason; the agent's log has examples.",
        kind: Kind::Counter,
        labels: &["container", "direction", "reason"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let Some(traffic) = container
                    .network
                    .as_ref()
                    .and_then(|use_| use_.traffic.as_ref())
                else {
                    return Vec::new();
                };
                let directions = [
                    ("receive", &traffic.rx_drops),
                    ("transmit", &traffic.tx_drops),
                ];
                let samples = directions.into_iter().flat_map(|(direction, drops)| {
                    drops.iter().map(move |(reason, count)| {
                        container.sample(&[direction, reason], float(*count))
                    })
                });
                samples.collect()
            })
        },
    },
    Family {
        name: "container_network_refused_binds_total",
        help: "Calls of bind that were refused because the port is not the container's.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.binds_refused)),
    },
    Family {
        name: "container_tcp_connects_total",
        help: "TCP connections that the container opened.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.tcp_connects)),
    },
    Family {
        name: "container_tcp_accepts_total",
        help: "TCP connections that the container accepted.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.tcp_accepts)),
    },
    Family {
        name: "container_tcp_connect_failures_total",
        help: "TCP connections of the container that were never established.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.tcp_connect_failures)),
    },
    Family {
        name: "container_tcp_retransmitted_segments_total",
        help: "TCP segments that the container sent again.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.tcp_retransmits)),
    },
    Family {
        name: "container_tcp_connections",
        help: "TCP sockets of the container: active ones include listening ones.",
        kind: Kind::Gauge,
        labels: &["container", "state"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let use_ = container.network.as_ref();
                let states = [
                    ("active", use_.and_then(|use_| use_.tcp_active)),
                    ("time_wait", use_.and_then(|use_| use_.tcp_time_wait)),
                ];
                let known = states
                    .into_iter()
                    .filter_map(|(state, count)| Some((state, count?)));
                known
                    .map(|(state, count)| container.sample(&[state], float(count)))
                    .collect()
            })
        },
    },
    Family {
        name: "container_tcp_rtt_seconds",
        help: "Smoothed round-trip times of the container's TCP connections.",
        kind: Kind::Histogram,
        labels: &["container"],
        samples: |snapshot| {
            let times = |measurement: &Measurement| {
                let labels = vec![measurement.statistics.name.to_string()];
                measurement.rtt.map(|rtt| Sample {
                    labels,
                    value: Value::Times(Box::new(rtt)),
                })
            };
            snapshot.containers.iter().filter_map(times).collect()
        },
    },
    Family {
        name: "node_refused_binds_total",
        help: "Calls of bind outside of containers that were refused because the port is a container's.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| node(snapshot, |node| node.bind_refused),
    },
    Family {
        name: "node_refused_connects_total",
        help: "Connections from sockets of the node that are bound to loopback, to a container.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| node(snapshot, |node| node.connect_refused),
    },
    Family {
        name: "node_unknown_fragments_total",
        help: "Fragments that came before the first of their packet, and were left to the node.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| node(snapshot, |node| node.fragments_unknown),
    },
    Family {
        name: "node_lost_events_total",
        help: "Events about drops that found their queue full; the counters have the drops themselves.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| node(snapshot, |node| node.events_lost),
    },
    Family {
        name: "program_run_seconds_total",
        help: "Time that an eBPF program of the agent ran; zero while program_statistics is off in the configuration.",
        kind: Kind::Counter,
        labels: &["program"],
        samples: |snapshot| {
            let programs = snapshot.programs.iter();
            programs
                .map(|p| sample([&p.name], float(p.run_time_ns) / NS))
                .collect()
        },
    },
    Family {
        name: "program_runs_total",
        help: "Runs of an eBPF program of the agent; zero while program_statistics is off in the configuration.",
        kind: Kind::Counter,
        labels: &["program"],
        samples: |snapshot| {
            let programs = snapshot.programs.iter();
            programs
                .map(|p| sample([&p.name], float(p.run_count)))
                .collect()
        },
    },
    Family {
        name: "telemetry_failed_reads_total",
        help: "Readings of counters, cgroups or processes that failed; what they are about is missing here.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| {
            vec![Sample {
                labels: Vec::new(),
                value: Value::Number(float(snapshot.failures)),
            }]
        },
    },
];

/// Writes everything as text.
pub(super) fn render(snapshot: Snapshot) -> Result<Vec<u8>, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(Measured::new(snapshot)?))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
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
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
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
        FAMILIES
            .iter()
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

fn full_name(family: &Family) -> String {
    format!("weir_agent_{}", family.name)
}

impl ContainerStatistics {
    fn sample(&self, labels: &[&str], value: f64) -> Sample {
        let name = self.name.to_string();
        let labels = std::iter::once(name).chain(labels.iter().map(|label| (*label).to_owned()));
        Sample {
            labels: labels.collect(),
            value: Value::Number(value),
        }
    }
}

fn sample<const N: usize>(labels: [&str; N], value: f64) -> Sample {
    Sample {
        labels: labels.map(str::to_owned).to_vec(),
        value: Value::Number(value),
    }
}

fn each(snapshot: &Snapshot, samples: impl Fn(&ContainerStatistics) -> Vec<Sample>) -> Vec<Sample> {
    snapshot
        .containers
        .iter()
        .flat_map(|measurement| samples(&measurement.statistics))
        .collect()
}

fn gauge(snapshot: &Snapshot, value: fn(&ContainerStatistics) -> u64) -> Vec<Sample> {
    each(snapshot, |container| {
        vec![container.sample(&[], float(value(container)))]
    })
}

fn network(
    snapshot: &Snapshot,
    value: fn(&super::statistics::NetworkUse) -> Option<u64>,
) -> Vec<Sample> {
    each(snapshot, |container| {
        let value = container.network.as_ref().and_then(value);
        value
            .map(|value| container.sample(&[], float(value)))
            .into_iter()
            .collect()
    })
}

fn node(snapshot: &Snapshot, value: fn(&weir_abi::NodeCounters) -> u64) -> Vec<Sample> {
    snapshot
        .node
        .iter()
        .map(|node| sample([], float(value(node))))
        .collect()
}

/// Prometheus' numbers are doubles; 2^53 of anything here is far away.
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use weir_abi::bucket_of;

    use super::*;

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
            failures: 0,
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
            "weir_agent_program_run_seconds_total{program=\"uplink\"} 1.5",
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
        for family in FAMILIES {
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
