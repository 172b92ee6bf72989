//! Every metric of the agent: its name, what it means when it moves, and where its samples come from.

use super::measure::Snapshot;
use super::metrics::{Family, Kind, Sample, Value, float};
use super::statistics::{ContainerStatistics, CpuThrottling, NetworkUse, Stalled};
use crate::container::State;

/// Microseconds and nanoseconds in a second.
pub(super) const US: f64 = 1e6;
const NS: f64 = 1e9;

/// Every metric of the agent.
pub(super) const FAMILIES: &[Family] = &[
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
        name: "containers_out_of_memory_total",
        help: "Containers that were killed at their memory limit; their own counters end with them.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| vec![sample([], float(snapshot.out_of_memory))],
    },
    Family {
        name: "container_cpu_seconds_total",
        help: "CPU time that the container's processes have used.",
        kind: Kind::Counter,
        labels: &["container", "mode"],
        samples: |snapshot| {
            each(snapshot, |container| {
                [
                    container.sample(["user"], float(container.cpu_user_us) / US),
                    container.sample(["system"], float(container.cpu_system_us) / US),
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
                cores.map(|cores| container.sample([], cores))
            })
        },
    },
    Family {
        name: "container_cpu_periods_total",
        help: "Periods of 100 ms in which the container wanted to run under a limit of its CPUs.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| throttling(snapshot, |throttling| float(throttling.periods)),
    },
    Family {
        name: "container_cpu_throttled_periods_total",
        help: "Those of these periods in which the container had used up its CPU time.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| throttling(snapshot, |throttling| float(throttling.throttled_periods)),
    },
    Family {
        name: "container_cpu_throttled_seconds_total",
        help: "How long the container was held up by the limit of its CPUs, all CPUs together.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| throttling(snapshot, |throttling| float(throttling.throttled_us) / US),
    },
    Family {
        name: "container_memory_bytes",
        help: "Memory that the container holds: source=cgroup is what is charged to it, source=processes what its processes have mapped that belongs to no file, where the node has no memory controller.",
        kind: Kind::Gauge,
        labels: &["container", "source"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let source = container.memory_source.name();
                [container.sample([source], float(container.memory_bytes))]
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
                bytes.map(|bytes| container.sample([], bytes))
            })
        },
    },
    Family {
        name: "container_memory_events_total",
        help: "How often the container came to its limits of memory: low is less than is protected for it, high more than it should have, max its limit, oom that nothing could be taken from it.",
        kind: Kind::Counter,
        labels: &["container", "event"],
        samples: |snapshot| {
            each(snapshot, |container| {
                container.memory_events.into_iter().flat_map(|events| {
                    let counts = [
                        ("low", events.low),
                        ("high", events.high),
                        ("max", events.max),
                        ("oom", events.out_of_memory),
                    ];
                    counts.map(|(event, count)| container.sample([event], float(count)))
                })
            })
        },
    },
    Family {
        name: "container_oom_kills_total",
        help: "Processes of the container that the kernel killed for want of memory, its own or the node's.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let events = container.memory_events;
                events.map(|events| container.sample([], float(events.processes_killed)))
            })
        },
    },
    Family {
        name: "container_pressure_waiting_seconds_total",
        help: "Time in which at least one process of the container waited for the resource.",
        kind: Kind::Counter,
        labels: &["container", "resource"],
        samples: |snapshot| pressure(snapshot, |stalled| stalled.some_us),
    },
    Family {
        name: "container_pressure_stalled_seconds_total",
        help: "Time in which all processes of the container that had something to do waited for the resource.",
        kind: Kind::Counter,
        labels: &["container", "resource"],
        samples: |snapshot| pressure(snapshot, |stalled| stalled.full_us),
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
        name: "container_threads_limit",
        help: "Processes and threads that the container may have, where that is limited and the limit is enforced.",
        kind: Kind::Gauge,
        labels: &["container"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let limit = container.limits.pids.filter(|_| !container.unenforced);
                limit.map(|count| container.sample([], f64::from(count.get())))
            })
        },
    },
    Family {
        name: "container_refused_forks_total",
        help: "How often the container could not start a process or thread for its limit of them.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let refused = container.forks_refused;
                refused.map(|count| container.sample([], float(count)))
            })
        },
    },
    Family {
        name: "container_ports",
        help: "Ports that the container owns: assigned ones it may serve on, ephemeral ones its connections start from.",
        kind: Kind::Gauge,
        labels: &["container", "kind"],
        samples: |snapshot| {
            each(snapshot, |container| {
                let block = container.ephemeral.map_or(0, |block| block.count());
                [
                    container.sample(["assigned"], f64::from(container.ports.count())),
                    container.sample(["ephemeral"], f64::from(block)),
                ]
            })
        },
    },
    Family {
        name: "container_network_receive_bytes_total",
        help: "Bytes of Ethernet frames that reached the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.traffic.rx_bytes)),
    },
    Family {
        name: "container_network_receive_packets_total",
        help: "Packets that reached the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.traffic.rx_packets)),
    },
    Family {
        name: "container_network_transmit_bytes_total",
        help: "Bytes of Ethernet frames that left the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.traffic.tx_bytes)),
    },
    Family {
        name: "container_network_transmit_packets_total",
        help: "Packets that left the container.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| Some(use_.traffic.tx_packets)),
    },
    Family {
        name: "container_network_dropped_packets_total",
        help: "Packets of the container that were dropped, by direction and reason; the agent's log has examples.",
        kind: Kind::Counter,
        labels: &["container", "direction", "reason"],
        samples: |snapshot| {
            each(snapshot, |container| {
                container.network.iter().flat_map(move |network| {
                    let traffic = &network.traffic;
                    let directions = [
                        ("receive", &traffic.rx_drops),
                        ("transmit", &traffic.tx_drops),
                    ];
                    directions.into_iter().flat_map(move |(direction, drops)| {
                        drops.iter().map(move |(reason, count)| {
                            container.sample([direction, reason], float(count))
                        })
                    })
                })
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
        samples: |snapshot| network(snapshot, |use_| use_.tcp_connects),
    },
    Family {
        name: "container_tcp_accepts_total",
        help: "TCP connections that the container accepted.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.tcp_accepts),
    },
    Family {
        name: "container_tcp_connect_failures_total",
        help: "TCP connections of the container that were never established.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.tcp_connect_failures),
    },
    Family {
        name: "container_tcp_retransmitted_segments_total",
        help: "TCP segments that the container sent again.",
        kind: Kind::Counter,
        labels: &["container"],
        samples: |snapshot| network(snapshot, |use_| use_.tcp_retransmits),
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
                states.into_iter().filter_map(move |(state, count)| {
                    Some(container.sample([state], float(count?)))
                })
            })
        },
    },
    Family {
        name: "container_tcp_rtt_seconds",
        help: "Smoothed round-trip times of the container's TCP connections.",
        kind: Kind::Histogram,
        labels: &["container"],
        samples: |snapshot| {
            let known = snapshot.containers.iter().filter_map(|measurement| {
                let name = measurement.statistics.name.as_str();
                Some((name, measurement.rtt.as_ref()?))
            });
            known
                .map(|(name, times)| Sample::new([name], Value::Times(times)))
                .collect()
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
        name: "network_followed_changes_total",
        help: "Changes of the node's addresses, routes and interfaces that all containers have; a burst is one.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| vec![sample([], float(snapshot.follow.changes))],
    },
    Family {
        name: "network_follow_seconds_total",
        help: "Time from the kernel's news of these changes until all containers had them.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| vec![sample([], snapshot.follow.took.as_secs_f64())],
    },
    Family {
        name: "network_follow_longest_seconds",
        help: "The longest of these times since the agent was started; more than one second is more than it should take.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| vec![sample([], snapshot.follow.longest.as_secs_f64())],
    },
    Family {
        name: "telemetry_failed_reads_total",
        help: "Readings of counters, cgroups or processes that failed; what they are about is missing here.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| vec![sample([], float(snapshot.failures))],
    },
];

impl ContainerStatistics {
    pub(super) fn sample<'a, const N: usize>(
        &'a self,
        labels: [&'a str; N],
        value: f64,
    ) -> Sample<'a> {
        let sample = Sample::new(labels, Value::Number(value));
        sample.of(self.name.as_str())
    }
}

pub(super) fn sample<const N: usize>(labels: [&str; N], value: f64) -> Sample<'_> {
    Sample::new(labels, Value::Number(value))
}

fn each<'a, S: IntoIterator<Item = Sample<'a>>>(
    snapshot: &'a Snapshot,
    samples: impl Fn(&'a ContainerStatistics) -> S,
) -> Vec<Sample<'a>> {
    snapshot
        .containers
        .iter()
        .flat_map(|measurement| samples(&measurement.statistics))
        .collect()
}

/// Of containers whose CPUs are limited: the kernel has the same zeros of all others.
fn throttling(snapshot: &Snapshot, value: fn(CpuThrottling) -> f64) -> Vec<Sample<'_>> {
    each(snapshot, |container| {
        let limited = container.limits.cpus.and(container.cpu_throttling);
        limited.map(|throttling| container.sample([], value(throttling)))
    })
}

fn pressure(snapshot: &Snapshot, value: fn(Stalled) -> u64) -> Vec<Sample<'_>> {
    each(snapshot, |container| {
        container.pressure.into_iter().flat_map(move |pressure| {
            let resources = [
                ("cpu", pressure.cpu),
                ("memory", pressure.memory),
                ("io", pressure.io),
            ];
            resources
                .map(|(resource, stalled)| container.sample([resource], float(value(stalled)) / US))
        })
    })
}

fn gauge(snapshot: &Snapshot, value: fn(&ContainerStatistics) -> u64) -> Vec<Sample<'_>> {
    each(snapshot, |container| {
        [container.sample([], float(value(container)))]
    })
}

fn network(snapshot: &Snapshot, value: fn(&NetworkUse) -> Option<u64>) -> Vec<Sample<'_>> {
    each(snapshot, |container| {
        let value = container.network.as_ref().and_then(value);
        value.map(|value| container.sample([], float(value)))
    })
}

fn node(snapshot: &Snapshot, value: fn(&weir_abi::NodeCounters) -> u64) -> Vec<Sample<'_>> {
    snapshot
        .node
        .iter()
        .map(|node| sample([], float(value(node))))
        .collect()
}
