//! The metrics of what containers are promised and held to, and of the queues that do it.

use super::facilities::{QueueStatistics, Queues, WireQueue, WireShare};
use super::families::sample;
use super::measure::Snapshot;
use super::metrics::{Family, Kind, Sample, Value, float};

/// Every metric of the queues.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "container_network_limit_bytes_per_second",
        help: "What the container is promised of the wire, and what it may send and receive, where that is limited and the limit is enforced.",
        kind: Kind::Gauge,
        labels: &["container", "limit"],
        samples: |snapshot| {
            let containers = snapshot.containers.iter();
            let limits = containers.flat_map(|measurement| {
                let container = &measurement.statistics;
                let Queues { transmit, receive } = &measurement.queues;
                let bandwidth = &container.limits.bandwidth;
                // Without its queue nothing enforces it.
                let limits = [
                    ("egress_min", bandwidth.egress_min, transmit),
                    ("egress_max", bandwidth.egress_max, transmit),
                    ("ingress_max", bandwidth.ingress_max, receive),
                ];
                limits.into_iter().filter_map(|(limit, rate, queue)| {
                    let rate = queue.as_ref().and(rate)?;
                    Some(container.sample([limit], float(rate.bytes())))
                })
            });
            limits.collect()
        },
    },
    Family {
        name: "container_network_sorted_packets_total",
        help: "Packets in the queues that hold the container to its rates, by their order: those of flows that take little go first; demoted are those that would have gone first, were there not too many; a GSO frame is one.",
        kind: Kind::Counter,
        labels: &["container", "direction", "order"],
        samples: |snapshot| {
            queues(snapshot, |name, direction, queue| {
                let counters = &queue.counters;
                let bulk = counters
                    .bulk_packets
                    .saturating_sub(counters.demoted_packets);
                let orders = [
                    ("first", counters.sparse_packets),
                    ("demoted", counters.demoted_packets),
                    ("bulk", bulk),
                ];
                orders.map(|(order, count)| sample([name, direction, order], float(count)))
            })
        },
    },
    Family {
        name: "container_network_sorted_bytes_total",
        help: "Bytes in the queues that hold the container to its rates, by their order; what was demoted is bulk.",
        kind: Kind::Counter,
        labels: &["container", "direction", "order"],
        samples: |snapshot| {
            queues(snapshot, |name, direction, queue| {
                let orders = [
                    ("first", queue.counters.sparse_bytes),
                    ("bulk", queue.counters.bulk_bytes),
                ];
                orders.map(|(order, bytes)| sample([name, direction, order], float(bytes)))
            })
        },
    },
    Family {
        name: "container_network_marked_packets_total",
        help: "Packets that were marked as having met congestion (ECN), for a queue that did not empty.",
        kind: Kind::Counter,
        labels: &["container", "direction"],
        samples: |snapshot| queued(snapshot, |queue| float(queue.counters.marked_packets)),
    },
    Family {
        name: "container_network_early_drops_total",
        help: "Packets that were dropped for a queue that did not empty, as their sender is on another node and heeds no marks.",
        kind: Kind::Counter,
        labels: &["container", "direction"],
        samples: |snapshot| queued(snapshot, |queue| float(queue.counters.dropped_packets)),
    },
    Family {
        name: "container_network_full_seconds_total",
        help: "Time in which as much came into a queue as the container's rate allows.",
        kind: Kind::Counter,
        labels: &["container", "direction"],
        samples: |snapshot| queued(snapshot, |queue| queue.full.as_secs_f64()),
    },
    Family {
        name: "container_wire_assured_bytes_per_second",
        help: "What the container has of the wire when all others want theirs, where the wire is divided; what it sends beyond that is borrowed, and what it leaves is lent.",
        kind: Kind::Gauge,
        labels: &["container"],
        samples: |snapshot| {
            shares(snapshot, |name, share| {
                [sample([name], float(share.assured))]
            })
        },
    },
    Family {
        name: "container_wire_sent_bytes_total",
        help: "Bytes that the container sent to the wire, where that is divided, by the order in which they went.",
        kind: Kind::Counter,
        labels: &["container", "order"],
        samples: |snapshot| on_wire(snapshot, |queue| queue.sent_bytes),
    },
    Family {
        name: "container_wire_waiting_bytes",
        help: "Bytes of the container that wait for the wire.",
        kind: Kind::Gauge,
        labels: &["container", "order"],
        samples: |snapshot| on_wire(snapshot, |queue| queue.waiting_bytes),
    },
    Family {
        name: "container_wire_dropped_packets_total",
        help: "Packets of the container that its queue before the wire had no place for.",
        kind: Kind::Counter,
        labels: &["container", "order"],
        samples: |snapshot| on_wire(snapshot, |queue| queue.dropped_packets),
    },
    Family {
        name: "node_wire_sent_bytes_total",
        help: "Bytes that the node itself sent to the wire, where that is divided; session is what the agent said to its scheduler.",
        kind: Kind::Counter,
        labels: &["class"],
        samples: |snapshot| of_node(snapshot, |queue| queue.sent_bytes),
    },
    Family {
        name: "node_wire_waiting_bytes",
        help: "Bytes of the node itself that wait for the wire.",
        kind: Kind::Gauge,
        labels: &["class"],
        samples: |snapshot| of_node(snapshot, |queue| queue.waiting_bytes),
    },
    Family {
        name: "node_wire_dropped_packets_total",
        help: "Packets of the node itself that its queue before the wire had no place for.",
        kind: Kind::Counter,
        labels: &["class"],
        samples: |snapshot| of_node(snapshot, |queue| queue.dropped_packets),
    },
    Family {
        name: "container_network_queue_seconds",
        help: "How long packets that the container sent waited in its own queue; what waits for the wire after that is not in it.",
        kind: Kind::Histogram,
        labels: &["container"],
        samples: |snapshot| {
            let known = snapshot.containers.iter().filter_map(|measurement| {
                let queue = measurement.queues.transmit.as_ref()?;
                let name = measurement.statistics.name.as_str();
                Some(Sample::new([name], Value::Delays(&queue.counters)))
            });
            known.collect()
        },
    },
];

/// Of the queues of all containers, those of what is sent before those of what is received.
fn queues<'a, const N: usize>(
    snapshot: &'a Snapshot,
    samples: impl Fn(&'a str, &'static str, &QueueStatistics) -> [Sample<'a>; N],
) -> Vec<Sample<'a>> {
    let containers = snapshot.containers.iter();
    containers
        .flat_map(|measurement| {
            let name = measurement.statistics.name.as_str();
            let Queues { transmit, receive } = &measurement.queues;
            let directions = [("transmit", transmit), ("receive", receive)];
            directions.map(|(direction, queue)| Some((name, direction, queue.as_ref()?)))
        })
        .flatten()
        .flat_map(|(name, direction, queue)| samples(name, direction, queue))
        .collect()
}

/// Of the containers' parts of the wire.
fn shares<'a, const N: usize>(
    snapshot: &'a Snapshot,
    samples: impl Fn(&'a str, &WireShare) -> [Sample<'a>; N],
) -> Vec<Sample<'a>> {
    let containers = snapshot.containers.iter();
    containers
        .filter_map(|measurement| {
            let name = measurement.statistics.name.as_str();
            Some(samples(name, measurement.wire.as_ref()?))
        })
        .flatten()
        .collect()
}

fn on_wire(snapshot: &Snapshot, value: fn(&WireQueue) -> u64) -> Vec<Sample<'_>> {
    shares(snapshot, |name, share| {
        let orders = [("first", &share.first), ("bulk", &share.bulk)];
        orders.map(|(order, queue)| sample([name, order], float(value(queue))))
    })
}

fn of_node(snapshot: &Snapshot, value: fn(&WireQueue) -> u64) -> Vec<Sample<'_>> {
    let classes = snapshot.node_wire.iter();
    classes
        .map(|(class, queue)| sample([class], float(value(queue))))
        .collect()
}

fn queued(snapshot: &Snapshot, value: fn(&QueueStatistics) -> f64) -> Vec<Sample<'_>> {
    queues(snapshot, |name, direction, queue| {
        [sample([name, direction], value(queue))]
    })
}
