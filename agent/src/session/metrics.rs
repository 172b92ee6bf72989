//! What is measured of the session.

use super::shell::SessionReport;
use crate::telemetry::{Family, Kind, Sample, Snapshot, Value, float};

/// Thousandths, in which amounts are counted.
const THOUSANDTHS: f64 = 1e3;

/// Bytes of a MiB.
const MIB: f64 = 1024.0 * 1024.0;

/// The metrics of the session. An agent without a scheduler has none of them.
pub(crate) const FAMILIES: &[Family] = &[
    Family {
        name: "scheduler_connected",
        help: "1 while the scheduler can be spoken to.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| flag(report.figures.is_connected)),
    },
    Family {
        name: "scheduler_registered",
        help: "1 while the scheduler knows the agent: it gives it tasks. 0 for minutes: see the log for why.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| flag(report.figures.is_registered)),
    },
    Family {
        name: "scheduler_connection_attempts_total",
        help: "Attempts to connect to an address of the scheduler.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| float(report.attempts)),
    },
    Family {
        name: "scheduler_connections_total",
        help: "Connections on which the scheduler welcomed the agent; each after the first is one that broke.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| float(report.welcomes)),
    },
    Family {
        name: "scheduler_registrations_total",
        help: "Registrations, by what came of them.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let figures = &report.figures;
                [
                    ("accepted", figures.registrations),
                    ("refused", figures.registrations_refused),
                ]
            })
        },
    },
    Family {
        name: "scheduler_calls_refused_total",
        help: "Calls of the agent that the scheduler refused: one of the two is mistaken.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| float(report.figures.calls_refused)),
    },
    Family {
        name: "tasks",
        help: "Tasks of the scheduler that hold resources of the node.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| float(report.figures.tasks_live)),
    },
    Family {
        name: "task_launches_total",
        help: "Tasks that the scheduler sent, by what came of them; repeated ones were known already.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let figures = &report.figures;
                [
                    ("taken", figures.launches),
                    ("refused", figures.launches_refused),
                    ("repeated", figures.launches_repeated),
                ]
            })
        },
    },
    Family {
        name: "task_revocations_total",
        help: "Tasks that were to end because what was lent to them is wanted back; refused ones hold nothing that was lent.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let figures = &report.figures;
                [
                    ("taken", figures.revocations),
                    ("refused", figures.revocations_refused),
                ]
            })
        },
    },
    Family {
        name: "status_updates_unacknowledged",
        help: "Status updates that no framework has acknowledged. It grows while the scheduler or a framework is away.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| {
            one(snapshot, |report| {
                float(report.figures.updates_unacknowledged)
            })
        },
    },
    Family {
        name: "status_updates_sent_total",
        help: "Status updates that were sent: for the first time on a connection, or because nobody acknowledged them in time.",
        kind: Kind::Counter,
        labels: &["attempt"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let figures = &report.figures;
                [
                    ("first", figures.updates_sent),
                    ("repeated", figures.updates_repeated),
                ]
            })
        },
    },
    Family {
        name: "status_update_acknowledgements_total",
        help: "Acknowledgements that came; ignored ones were of nothing that is under way.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let figures = &report.figures;
                [
                    ("taken", figures.acknowledgements),
                    ("ignored", figures.acknowledgements_ignored),
                ]
            })
        },
    },
    Family {
        name: "operations_total",
        help: "Changes of reservations and volumes, by what came of them; repeated ones got the answer that they had got.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let figures = &report.figures;
                [
                    ("applied", figures.operations_applied),
                    ("failed", figures.operations_failed),
                    ("repeated", figures.operations_repeated),
                ]
            })
        },
    },
    Family {
        name: "resource_set_version",
        help: "How many changes of reservations and volumes this node has ever made.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| float(report.figures.set_version)),
    },
    Family {
        name: "session_writes_refused_total",
        help: "Writes of the session that the database refused. While it grows nothing is answered: see the space on the disk.",
        kind: Kind::Counter,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| float(report.figures.writes_refused)),
    },
    Family {
        name: "estimate_cpus",
        help: "CPUs that may be lent, what is lent already included.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| {
            one(snapshot, |report| {
                float(report.figures.estimate_cpus_thousandths) / THOUSANDTHS
            })
        },
    },
    Family {
        name: "estimate_memory_bytes",
        help: "Memory that may be lent, what is lent already included.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| {
            one(snapshot, |report| {
                float(report.figures.estimate_mem_thousandths) / THOUSANDTHS * MIB
            })
        },
    },
    Family {
        name: "credentials_loaded",
        help: "1 once certificate, key and authorities could be loaded. Without them the scheduler is not connected to.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| one(snapshot, |report| flag(report.credentials.is_some())),
    },
    Family {
        name: "certificate_expiry_timestamp_seconds",
        help: "When the agent's certificate ends, in seconds since 1970.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| {
            some(snapshot, |report| {
                let expires_at = report.credentials.as_ref()?.borrow().expires_at();
                // A certificate that ended before 1970 was not loaded.
                Some(float(u64::try_from(expires_at.as_unix_s()).ok()?))
            })
        },
    },
    Family {
        name: "credential_reload_failing",
        help: "1 while the credential files as they are now cannot be used; the former ones are in force until they end, and the log says why.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |snapshot| {
            some(snapshot, |report| {
                let state = report.credentials.as_ref()?.borrow();
                Some(flag(state.last_error.is_some()))
            })
        },
    },
    Family {
        name: "credential_reloads_total",
        help: "Changed files of credentials, by what came of them; while the last failed, the old ones are in force.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |snapshot| {
            two(snapshot, |report| {
                let state = report.credentials.as_ref().map(|watch| {
                    let state = watch.borrow();
                    (state.reloads_ok, state.reloads_failed)
                });
                let (ok, failed) = state.unwrap_or_default();
                [("taken", ok), ("failed", failed)]
            })
        },
    },
];

/// Returns the one sample of a metric, if there is a session.
fn one(snapshot: &Snapshot, value: impl Fn(&SessionReport) -> f64) -> Vec<Sample<'_>> {
    some(snapshot, |report| Some(value(report)))
}

fn some(snapshot: &Snapshot, value: impl Fn(&SessionReport) -> Option<f64>) -> Vec<Sample<'_>> {
    let number = snapshot.session.as_ref().and_then(value);
    let sample = number.map(|number| Sample::new([], Value::Number(number)));
    sample.into_iter().collect()
}

/// Returns a sample for each value of the one label of a metric.
fn two<const N: usize>(
    snapshot: &Snapshot,
    values: impl Fn(&SessionReport) -> [(&'static str, u64); N],
) -> Vec<Sample<'_>> {
    let reports = snapshot.session.as_ref().into_iter();
    reports
        .flat_map(values)
        .map(|(label, number)| Sample::new([label], Value::Number(float(number))))
        .collect()
}

const fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}
