//! `/metrics`: everything that is measured, in Prometheus' text format.
//!
//! Labels are few and bounded: `container` is the name of a container that runs now, all others are
//! words of this source. Counters of a container begin at zero when a container of that name is
//! started; Prometheus takes that for a restart, which it is.
//!
//! A full node says a hundred thousand samples each time it is asked, so they are borrowed from the
//! snapshot and written straight into the text. A test holds the text against the `prometheus` crate's.

use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use weir_abi::{
    DELAY_BUCKETS, LaneCounters, RTT_BUCKETS, RttHistogram, TICK_SHIFT, bucket_upper_us,
    delay_bucket_upper_s,
};

use super::families::{FAMILIES, US};
use super::http;
use super::measure::Snapshot;
use super::queues;
use crate::session;

/// How many of the programs' buckets are one here.
const STEPS: usize = 4;

/// What the buckets end at, in seconds: written once, for it takes longer than all else of a sample. The last of the programs' also
/// holds what is longer, and is infinity's.
static UPPERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut uppers: Vec<String> = (STEPS..RTT_BUCKETS)
        .step_by(STEPS)
        .map(|beyond| {
            let last = u32::try_from(beyond - 1).expect("there are a hundred buckets");
            (float(bucket_upper_us(last)) / US).to_string()
        })
        .collect();
    uppers.push("+Inf".to_owned());
    uppers
});

/// What the buckets of delays end at, in seconds; that of the last is infinity.
static DELAYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let lasts = 0..u32::try_from(DELAY_BUCKETS - 1).expect("there are a few");
    let mut uppers: Vec<String> = lasts
        .map(|bucket| delay_bucket_upper_s(bucket).to_string())
        .collect();
    uppers.push("+Inf".to_owned());
    uppers
});

/// The most labels that a metric has.
const LABELS_MAX: usize = 3;

/// What the samples of a container take in the text, about.
const BYTES_PER_CONTAINER: usize = 10 << 10;

/// One metric: its name without `weir_agent_`, what it means when it moves, its kind, its labels.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    /// Its samples: the values of the labels, and the number.
    pub(crate) samples: for<'a> fn(&'a Snapshot) -> Vec<Sample<'a>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub(crate) struct Sample<'a> {
    /// Those beyond the family's labels are empty.
    labels: [&'a str; LABELS_MAX],
    value: Value<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(f64),
    Times(&'a RttHistogram),
    Delays(&'a LaneCounters),
}

impl<'a> Sample<'a> {
    pub(crate) fn new<const N: usize>(values: [&'a str; N], value: Value<'a>) -> Self {
        const { assert!(N <= LABELS_MAX, "more labels than any metric has") };
        let mut labels = [""; LABELS_MAX];
        labels[..N].copy_from_slice(&values);
        Self { labels, value }
    }

    /// Puts the name of a container before the other labels.
    pub(super) fn of(mut self, container: &'a str) -> Self {
        debug_assert!(self.labels[LABELS_MAX - 1].is_empty(), "no room for it");
        self.labels.rotate_right(1);
        self.labels[0] = container;
        self
    }

    /// Returns the labels of a sample of `family`, with their names.
    pub(super) fn labels(&self, family: &Family) -> impl Iterator<Item = (&'static str, &'a str)> {
        family.labels.iter().copied().zip(self.labels)
    }
}

/// Writes everything as text.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut text = String::with_capacity((1 + snapshot.containers.len()) * BYTES_PER_CONTAINER);
    for family in families() {
        family
            .write(&mut text, &(family.samples)(snapshot))
            .expect("a string takes all that is written");
    }
    text
}

/// Returns every metric: those here, and those that live beside what they count.
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES
        .iter()
        .chain(queues::FAMILIES)
        .chain(http::FAMILIES)
        .chain(session::FAMILIES)
}

impl Family {
    fn write(&self, text: &mut String, samples: &[Sample<'_>]) -> fmt::Result {
        if samples.is_empty() {
            return Ok(());
        }
        let name = full_name(self);
        let kind = self.kind.name();
        writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", self.help)?;
        for sample in samples {
            match sample.value {
                Value::Number(number) => {
                    self.write_series(text, &name, "", sample, None)?;
                    write_number(text, number)?;
                    text.push('\n');
                }
                Value::Times(times) => {
                    // Four buckets per power of two become one each: what is asked of a histogram over time and nodes needs no
                    // more, and a thousand containers should still be scraped in a blink.
                    let counts = times.buckets.chunks(STEPS);
                    let counts = counts.map(|four| four.iter().sum()).zip(UPPERS.iter());
                    self.write_histogram(text, &name, sample, counts, float(times.sum_us) / US)?;
                }
                Value::Delays(counters) => {
                    let counts = counters.delays.iter().copied().zip(DELAYS.iter());
                    let sum = delay_sum_s(counters);
                    self.write_histogram(text, &name, sample, counts, sum)?;
                }
            }
        }
        Ok(())
    }

    fn write_histogram<'a>(
        &self,
        text: &mut String,
        name: &str,
        sample: &Sample<'_>,
        buckets: impl Iterator<Item = (u64, &'a String)>,
        sum: f64,
    ) -> fmt::Result {
        let mut seen = 0;
        for (count, upper) in buckets {
            seen += count;
            self.write_series(text, name, "_bucket", sample, Some(upper))?;
            writeln!(text, "{seen}")?;
        }
        self.write_series(text, name, "_sum", sample, None)?;
        writeln!(text, "{sum}")?;
        self.write_series(text, name, "_count", sample, None)?;
        writeln!(text, "{seen}")
    }

    /// Writes name and labels: what the number after them is of.
    fn write_series(
        &self,
        text: &mut String,
        name: &str,
        suffix: &str,
        sample: &Sample<'_>,
        upper: Option<&str>,
    ) -> fmt::Result {
        text.push_str(name);
        text.push_str(suffix);
        let mut before = '{';
        for (label, value) in sample.labels(self) {
            text.push(before);
            text.push_str(label);
            text.push_str("=\"");
            write_escaped(text, value);
            text.push('"');
            before = ',';
        }
        match upper {
            Some(upper) => write!(text, "{before}le=\"{upper}\"}} "),
            None if self.labels.is_empty() => write!(text, " "),
            None => write!(text, "}} "),
        }
    }
}

/// Writes a number; a whole one, as nearly all are, in a fraction of the time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "one that is negative, too large or not whole becomes another, and is written as it is"
)]
fn write_number(text: &mut String, number: f64) -> fmt::Result {
    let whole = number as u64;
    // Beyond it doubles are not all the whole numbers that there are.
    if whole < 1 << f64::MANTISSA_DIGITS && float(whole) == number {
        write!(text, "{whole}")
    } else {
        write!(text, "{number}")
    }
}

/// Writes the value of a label as the format wants it between quotes.
fn write_escaped(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        text.push_str(value);
        return;
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

pub(super) fn full_name(family: &Family) -> String {
    format!("weir_agent_{}", family.name)
}

/// Returns how long packets waited all together, in seconds.
fn delay_sum_s(counters: &LaneCounters) -> f64 {
    float(counters.delay_ticks) * f64::from(1_u32 << TICK_SHIFT) / 1e9
}

/// Prometheus' numbers are doubles; 2^53 of anything here is far away.
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use prometheus::proto::{
        Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
    };
    use prometheus::{Encoder as _, TextEncoder};
    use weir_abi::bucket_of;

    use super::super::facilities::{QueueStatistics, Queues, WireQueue, WireShare};
    use super::super::measure::Measurement;
    use super::super::statistics::{CpuThrottling, MemoryEvents, Pressure, Stalled};
    use super::*;
    use crate::session::SessionReport;

    fn queues() -> Queues {
        let mut counters = LaneCounters {
            sparse_packets: 3,
            sparse_bytes: 300,
            demoted_packets: 2,
            bulk_packets: 7,
            bulk_bytes: 9000,
            marked_packets: 4,
            dropped_packets: 1,
            delay_ticks: 1 << 20,
            ..LaneCounters::default()
        };
        counters.delays[0] = 5;
        counters.delays[DELAY_BUCKETS - 1] = 2;
        let statistics = QueueStatistics {
            counters,
            full: std::time::Duration::from_millis(1500),
        };
        Queues {
            transmit: Some(statistics),
            receive: None,
        }
    }

    fn measured() -> Snapshot {
        let mut rtt = RttHistogram::default();
        for us in [3, 100, 100, u32::MAX] {
            rtt.buckets[bucket_of(us) as usize] += 1;
        }
        rtt.sum_us = 203;
        let mut statistics = super::super::mesos::tests::statistics();
        statistics.limits.cpus = Some("0.5".parse().unwrap());
        statistics.cpu_throttling = Some(CpuThrottling {
            periods: 20,
            throttled_periods: 5,
            throttled_us: 1_500_000,
        });
        statistics.limits.bandwidth.egress_max = Some("8mbit".parse().unwrap());
        statistics.limits.pids = Some("64".parse().unwrap());
        statistics.forks_refused = Some(7);
        statistics.memory_events = Some(MemoryEvents {
            high: 3,
            processes_killed: 2,
            ..MemoryEvents::default()
        });
        statistics.pressure = Some(Pressure {
            io: Stalled {
                some_us: 2_500_000,
                full_us: 500_000,
            },
            ..Pressure::default()
        });
        Snapshot {
            containers: vec![Measurement {
                statistics,
                rtt: Some(rtt),
                queues: queues(),
                wire: Some(WireShare {
                    assured: 12_500_000,
                    bulk: WireQueue {
                        sent_bytes: 9,
                        waiting_bytes: 8,
                        dropped_packets: 7,
                    },
                    ..WireShare::default()
                }),
            }],
            node_wire: vec![("session", WireQueue::default())],
            states: [0, 1, 0, 2],
            out_of_memory: 1,
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
            gate: None,
            session: Some(SessionReport {
                attempts: 5,
                welcomes: 2,
                ..SessionReport::default()
            }),
        }
    }

    #[test]
    fn everything_measured_is_written() {
        let text = render(&measured());
        for line in [
            "weir_agent_containers{state=\"running\"} 1",
            "weir_agent_containers{state=\"ended\"} 2",
            "weir_agent_container_cpu_seconds_total{container=\"web\",mode=\"user\"} 1.5",
            "weir_agent_container_memory_bytes{container=\"web\",source=\"processes\"} 4096",
            "weir_agent_containers_out_of_memory_total 1",
            "weir_agent_container_cpu_periods_total{container=\"web\"} 20",
            "weir_agent_container_cpu_throttled_periods_total{container=\"web\"} 5",
            "weir_agent_container_cpu_throttled_seconds_total{container=\"web\"} 1.5",
            "weir_agent_container_memory_events_total{container=\"web\",event=\"high\"} 3",
            "weir_agent_container_oom_kills_total{container=\"web\"} 2",
            "weir_agent_container_threads_limit{container=\"web\"} 64",
            "weir_agent_container_refused_forks_total{container=\"web\"} 7",
            "weir_agent_container_pressure_waiting_seconds_total{container=\"web\",resource=\"io\"} 2.5",
            "weir_agent_container_pressure_stalled_seconds_total{container=\"web\",resource=\"io\"} 0.5",
            "weir_agent_container_ports{container=\"web\",kind=\"assigned\"} 1",
            "weir_agent_container_network_receive_bytes_total{container=\"web\"} 2",
            "weir_agent_container_network_limit_bytes_per_second{container=\"web\",limit=\"egress_max\"} 1000000",
            "weir_agent_container_network_sorted_packets_total{container=\"web\",direction=\"transmit\",order=\"first\"} 3",
            "weir_agent_container_network_sorted_packets_total{container=\"web\",direction=\"transmit\",order=\"demoted\"} 2",
            "weir_agent_container_network_sorted_packets_total{container=\"web\",direction=\"transmit\",order=\"bulk\"} 5",
            "weir_agent_container_network_sorted_bytes_total{container=\"web\",direction=\"transmit\",order=\"bulk\"} 9000",
            "weir_agent_container_network_marked_packets_total{container=\"web\",direction=\"transmit\"} 4",
            "weir_agent_container_network_early_drops_total{container=\"web\",direction=\"transmit\"} 1",
            "weir_agent_container_network_full_seconds_total{container=\"web\",direction=\"transmit\"} 1.5",
            "weir_agent_container_network_queue_seconds_bucket{container=\"web\",le=\"0.000032768\"} 5",
            "weir_agent_container_network_queue_seconds_bucket{container=\"web\",le=\"+Inf\"} 7",
            "weir_agent_container_network_queue_seconds_sum{container=\"web\"} 1.073741824",
            "weir_agent_container_wire_assured_bytes_per_second{container=\"web\"} 12500000",
            "weir_agent_container_wire_sent_bytes_total{container=\"web\",order=\"bulk\"} 9",
            "weir_agent_container_wire_waiting_bytes{container=\"web\",order=\"bulk\"} 8",
            "weir_agent_container_wire_dropped_packets_total{container=\"web\",order=\"bulk\"} 7",
            "weir_agent_node_wire_sent_bytes_total{class=\"session\"} 0",
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
    fn what_a_node_does_not_offer_is_absent() {
        let mut snapshot = measured();
        let container = &mut snapshot.containers[0].statistics;
        container.memory_events = None;
        container.forks_refused = None;
        container.pressure = None;
        // The kernel says zeros where nothing is limited.
        container.limits.cpus = None;
        let text = render(&snapshot);
        for name in [
            "cpu_throttled",
            "cpu_periods",
            "memory_events",
            "oom_kills",
            "pressure",
            "refused_forks",
        ] {
            let series = format!("weir_agent_container_{name}");
            assert!(!text.contains(&series), "{series} in\n{text}");
        }
    }

    #[test]
    fn an_empty_node_has_no_container_series() {
        let text = render(&Snapshot::default());
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
            // They would have to be escaped.
            assert!(!family.help.contains(['\\', '\n']), "{}", family.help);
            assert!(family.labels.len() <= LABELS_MAX, "{}", family.name);
            for unit in ["_ms", "_us", "_ns", "_milliseconds", "_kb"] {
                assert!(!family.name.contains(unit), "{}", family.name);
            }
        }
    }

    /// Says the same by way of the `prometheus` crate.
    fn of_the_crate(snapshot: &Snapshot) -> String {
        let families: Vec<MetricFamily> = families()
            .filter_map(|family| {
                let samples = (family.samples)(snapshot);
                let metrics: Vec<Metric> = samples
                    .iter()
                    .map(|sample| metric(family, sample))
                    .collect();
                if metrics.is_empty() {
                    return None;
                }
                let mut said = MetricFamily::default();
                said.set_name(full_name(family));
                said.set_help(family.help.to_owned());
                said.set_field_type(match family.kind {
                    Kind::Counter => MetricType::COUNTER,
                    Kind::Gauge => MetricType::GAUGE,
                    Kind::Histogram => MetricType::HISTOGRAM,
                });
                said.set_metric(metrics);
                Some(said)
            })
            .collect();
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn metric(family: &Family, sample: &Sample<'_>) -> Metric {
        let mut metric = Metric::default();
        let labels = sample.labels(family).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        metric.set_label(labels.collect());
        match (family.kind, sample.value) {
            (Kind::Counter, Value::Number(number)) => {
                let mut counter = Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            (Kind::Gauge, Value::Number(number)) => {
                let mut gauge = Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
            (Kind::Histogram, Value::Times(times)) => {
                let samples = times.buckets.iter().sum();
                let upper = |last: usize| {
                    let mut bucket = Bucket::default();
                    let upper_us = bucket_upper_us(u32::try_from(last).unwrap());
                    bucket.set_upper_bound(float(upper_us) / US);
                    bucket.set_cumulative_count(times.buckets[..=last].iter().sum());
                    bucket
                };
                let lasts = (3..times.buckets.len() - 1).step_by(4);
                let mut histogram = Histogram::default();
                histogram.set_bucket(lasts.map(upper).collect());
                histogram.set_sample_count(samples);
                histogram.set_sample_sum(float(times.sum_us) / US);
                metric.set_histogram(histogram);
            }
            (Kind::Histogram, Value::Delays(counters)) => {
                let upper = |last: usize| {
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(delay_bucket_upper_s(u32::try_from(last).unwrap()));
                    bucket.set_cumulative_count(counters.delays[..=last].iter().sum());
                    bucket
                };
                let mut histogram = Histogram::default();
                histogram.set_bucket((0..DELAY_BUCKETS - 1).map(upper).collect());
                histogram.set_sample_count(counters.delays.iter().sum());
                histogram.set_sample_sum(delay_sum_s(counters));
                metric.set_histogram(histogram);
            }
            (Kind::Histogram, Value::Number(_))
            | (Kind::Counter | Kind::Gauge, Value::Times(_) | Value::Delays(_)) => {
                panic!("{} has samples of another kind", family.name)
            }
        }
        metric
    }

    #[test]
    fn the_text_is_that_of_the_prometheus_crate() {
        for snapshot in [
            measured(),
            Snapshot::default(),
            super::super::reference::everything(3),
        ] {
            assert_eq!(render(&snapshot), of_the_crate(&snapshot));
        }
    }

    #[test]
    fn any_label_is_escaped_as_the_prometheus_crate_does() {
        bolero::check!()
            .with_type::<(String, u64, u64)>()
            .with_iterations(1000)
            .for_each(|(name, run_time_ns, run_count)| {
                let snapshot = Snapshot {
                    programs: vec![crate::telemetry::ProgramStatistics {
                        name: name.clone(),
                        run_time_ns: *run_time_ns,
                        run_count: *run_count,
                    }],
                    ..Snapshot::default()
                };
                assert_eq!(render(&snapshot), of_the_crate(&snapshot));
            });
    }
}
