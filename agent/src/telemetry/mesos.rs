//! `/monitor/statistics.json`: what Mesos' agents answer there, in Mesos' words.
//!
//! The fields are those of `ResourceStatistics` (include/mesos/mesos.proto, 0.23) that a Weir node
//! knows; a field that it does not know is absent, as in Mesos.

use serde::Serialize;

use super::statistics::{ContainerStatistics, Traffic};

/// One executor: to Mesos' users, one container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Usage {
    executor_id: String,
    executor_name: String,
    framework_id: String,
    source: String,
    statistics: ResourceStatistics,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct ResourceStatistics {
    /// Seconds since 1970.
    timestamp: f64,
    processes: u64,
    threads: u64,
    cpus_user_time_secs: f64,
    cpus_system_time_secs: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus_limit: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    throttling: Option<Throttling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_limit_bytes: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_tcp_active_connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_tcp_time_wait_connections: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    rtt: Option<Rtt>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Throttling {
    cpus_nr_periods: u64,
    cpus_nr_throttled: u64,
    cpus_throttled_time_secs: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Link {
    net_rx_packets: u64,
    net_rx_bytes: u64,
    /// Always zero: a veth has no errors.
    net_rx_errors: u64,
    net_rx_dropped: u64,
    net_tx_packets: u64,
    net_tx_bytes: u64,
    /// Always zero, likewise.
    net_tx_errors: u64,
    net_tx_dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Rtt {
    net_tcp_rtt_microsecs_p50: f64,
    net_tcp_rtt_microsecs_p90: f64,
    net_tcp_rtt_microsecs_p95: f64,
    net_tcp_rtt_microsecs_p99: f64,
}

impl Usage {
    /// Says of one container what Mesos would.
    pub(super) fn of(statistics: &ContainerStatistics) -> Self {
        let ContainerStatistics {
            name,
            id,
            at,
            network_mode: _,
            ports: _,
            ephemeral: _,
            cpu_user_us,
            cpu_system_us,
            cpu_throttling,
            memory_bytes,
            memory_source,
            memory_anonymous_bytes,
            // Mesos has others, of version 1.
            memory_events: _,
            pressure: _,
            processes,
            threads,
            forks_refused: _,
            limits,
            unenforced,
            network,
        } = statistics;
        let enforced = |value: Option<f64>| if *unenforced { None } else { value };
        let total = match memory_source {
            super::statistics::MemorySource::Cgroup => Some(*memory_bytes),
            super::statistics::MemorySource::Processes => None,
        };
        let network = network.as_ref();
        let rtt = network.and_then(|network| network.tcp_rtt);
        Self {
            executor_id: name.to_string(),
            executor_name: name.to_string(),
            framework_id: String::new(),
            source: id.to_string(),
            statistics: ResourceStatistics {
                timestamp: fraction(at.0, 1_000.0),
                processes: *processes,
                threads: *threads,
                cpus_user_time_secs: fraction(*cpu_user_us, 1e6),
                cpus_system_time_secs: fraction(*cpu_system_us, 1e6),
                cpus_limit: enforced(limits.cpus.map(|cpus| f64::from(cpus.thousandths()) / 1e3)),
                throttling: cpu_throttling.map(|throttling| Throttling {
                    cpus_nr_periods: throttling.periods,
                    cpus_nr_throttled: throttling.throttled_periods,
                    cpus_throttled_time_secs: fraction(throttling.throttled_us, 1e6),
                }),
                mem_total_bytes: total,
                mem_rss_bytes: *memory_anonymous_bytes,
                mem_limit_bytes: if *unenforced {
                    None
                } else {
                    limits.memory.map(|limit| limit.bytes())
                },
                link: network.map(|network| Link::of(&network.traffic)),
                net_tcp_active_connections: network.and_then(|network| network.tcp_active),
                net_tcp_time_wait_connections: network.and_then(|network| network.tcp_time_wait),
                rtt: rtt.map(|rtt| Rtt {
                    net_tcp_rtt_microsecs_p50: fraction(rtt.p50_us, 1.0),
                    net_tcp_rtt_microsecs_p90: fraction(rtt.p90_us, 1.0),
                    net_tcp_rtt_microsecs_p95: fraction(rtt.p95_us, 1.0),
                    net_tcp_rtt_microsecs_p99: fraction(rtt.p99_us, 1.0),
                }),
            },
        }
    }
}

impl Link {
    fn of(traffic: &Traffic) -> Self {
        Self {
            net_rx_packets: traffic.rx_packets,
            net_rx_bytes: traffic.rx_bytes,
            net_rx_errors: 0,
            net_rx_dropped: traffic.rx_drops.total(),
            net_tx_packets: traffic.tx_packets,
            net_tx_bytes: traffic.tx_bytes,
            net_tx_errors: 0,
            net_tx_dropped: traffic.tx_drops.total(),
        }
    }
}

/// Mesos has doubles where these are integers; 2^53 of anything here is far away.
fn fraction(value: u64, unit: f64) -> f64 {
    value as f64 / unit
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::telemetry::statistics::{CpuThrottling, MemorySource, NetworkUse, RttPercentiles};

    pub(in crate::telemetry) fn statistics() -> ContainerStatistics {
        ContainerStatistics {
            name: "web".parse().unwrap(),
            id: "aaaaaaaaaaaa".parse().unwrap(),
            at: crate::ports::UnixMs(1_700_000_000_500),
            network_mode: weir_executor::spec::NetworkMode::Isolated,
            ports: "31000".parse().unwrap(),
            ephemeral: None,
            cpu_user_us: 1_500_000,
            cpu_system_us: 250_000,
            cpu_throttling: None,
            memory_bytes: 4096,
            memory_source: MemorySource::Processes,
            memory_anonymous_bytes: Some(4096),
            memory_events: None,
            pressure: None,
            processes: 2,
            threads: 3,
            forks_refused: None,
            limits: crate::container::Limits::default(),
            unenforced: false,
            network: Some(NetworkUse {
                traffic: Traffic {
                    rx_packets: 1,
                    rx_bytes: 2,
                    rx_drops: [("martian", 3)].into_iter().collect(),
                    tx_packets: 4,
                    tx_bytes: 5,
                    tx_drops: [("source_port", 6), ("no_route", 1)].into_iter().collect(),
                },
                tcp_active: Some(8),
                tcp_time_wait: Some(9),
                tcp_rtt: Some(RttPercentiles {
                    p50_us: 10,
                    p90_us: 11,
                    p95_us: 12,
                    p99_us: 13,
                    samples: 100,
                }),
                ..NetworkUse::default()
            }),
        }
    }

    #[test]
    fn the_words_are_mesos() {
        let json = serde_json::to_string(&Usage::of(&statistics())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"executor_id":"web","executor_name":"web","framework_id":"","#,
                r#""source":"aaaaaaaaaaaa","statistics":{"timestamp":1700000000.5,"processes":2,"#,
                r#""threads":3,"cpus_user_time_secs":1.5,"cpus_system_time_secs":0.25,"#,
                r#""mem_rss_bytes":4096,"net_rx_packets":1,"net_rx_bytes":2,"net_rx_errors":0,"#,
                r#""net_rx_dropped":3,"net_tx_packets":4,"net_tx_bytes":5,"net_tx_errors":0,"#,
                r#""net_tx_dropped":7,"net_tcp_active_connections":8,"#,
                r#""net_tcp_time_wait_connections":9,"net_tcp_rtt_microsecs_p50":10.0,"#,
                r#""net_tcp_rtt_microsecs_p90":11.0,"net_tcp_rtt_microsecs_p95":12.0,"#,
                r#""net_tcp_rtt_microsecs_p99":13.0}}"#
            )
        );
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut statistics = statistics();
        statistics.network = None;
        let json = serde_json::to_string(&Usage::of(&statistics)).unwrap();
        assert!(!json.contains("net_"), "{json}");
        assert!(!json.contains("cpus_nr"), "{json}");
        statistics.cpu_throttling = Some(CpuThrottling {
            periods: 20,
            throttled_periods: 5,
            throttled_us: 1_500_000,
        });
        let json = serde_json::to_string(&Usage::of(&statistics)).unwrap();
        let said = r#""cpus_nr_periods":20,"cpus_nr_throttled":5,"cpus_throttled_time_secs":1.5,"#;
        assert!(json.contains(said), "{json}");
    }
}
