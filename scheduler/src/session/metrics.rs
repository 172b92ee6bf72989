//! What is counted of sessions and of the ledger.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use weir_protocol::operator::OperatorAnswer;
use weir_protocol::{FrameworkEvent, OperationOutcome, TaskState};

use crate::ledger::{Census, Message, Peer, RemovedAgents};

/// What is counted of sessions and of the ledger.
#[derive(Clone, Debug)]
pub struct SessionMetrics {
    sessions: IntGaugeVec,
    refused_hellos: IntCounter,
    refused_calls: IntCounter,
    slow_readers: IntCounter,
    offers_made: IntCounter,
    operations: IntCounterVec,
    updates: IntCounterVec,
    operator_answers: IntCounterVec,
    agents: IntGaugeVec,
    agents_spared: IntGauge,
    agents_removed: IntCounterVec,
    frameworks: IntGaugeVec,
    tasks: IntGaugeVec,
    offers: IntGauge,
    errands: IntGauge,
    backlog: IntGauge,
    step_seconds: Histogram,
    deadline_seconds: Histogram,
    allocator_rounds: IntCounter,
    allocator_grants: IntCounter,
}

/// Counts a session for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(IntGauge);

impl SessionMetrics {
    /// Makes the metrics, and has `registry` show them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("weir_scheduler_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let options = Opts::new(format!("weir_scheduler_{name}"), help);
            let counters = IntCounterVec::new(options, &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("weir_scheduler_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let gauges = |name: &str, help: &str, label: &str, values: &[&str]| {
            let options = Opts::new(format!("weir_scheduler_{name}"), help);
            let gauges = IntGaugeVec::new(options, &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            for value in values {
                gauges.with_label_values(&[value]).set(0);
            }
            Ok::<_, prometheus::Error>(gauges)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(format!("weir_scheduler_{name}"), help)
                // 1 µs to 1 s.
                .buckets(prometheus::exponential_buckets(0.000_001, 4.0, 11)?);
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let presence = ["connected", "away"];
        let states = TaskState::ALL.map(TaskState::as_str);
        let metrics = Self {
            sessions: gauges(
                "sessions",
                "Conversations that are open; fewer agents than there are nodes means that some are away",
                "kind",
                &["agent", "framework", "operator"],
            )?,
            refused_hellos: counter(
                "session_refused_hellos_total",
                "Peers with a good certificate with whom no conversation began; the log says why",
            )?,
            refused_calls: counter(
                "session_refused_calls_total",
                "Calls that made no sense and were answered with an error: some program has a mistake",
            )?,
            slow_readers: counter(
                "session_slow_readers_total",
                "Peers that were disconnected because too many messages waited for them",
            )?,
            offers_made: counter("offers_made_total", "Offers that were sent to frameworks")?,
            operations: counters(
                "operations_total",
                "Answers to operations of frameworks",
                "outcome",
            )?,
            updates: counters(
                "task_updates_total",
                "Status updates that were sent to frameworks, those that came again included",
                "state",
            )?,
            operator_answers: counters(
                "operator_answers_total",
                "Answers to calls of operators",
                "outcome",
            )?,
            agents: gauges("ledger_agents", "Agents", "presence", &presence)?,
            agents_spared: gauge(
                "ledger_agents_spared",
                "Agents that were away for too long and are kept, because more than half of all are away: more than 0 means that the scheduler is cut off, and that no agent is removed by itself",
            )?,
            agents_removed: counters(
                "ledger_agents_removed_total",
                "Agents that were given up: timed_out were away for too long, and their tasks are lost",
                "reason",
            )?,
            frameworks: gauges("ledger_frameworks", "Frameworks", "presence", &presence)?,
            tasks: gauges(
                "ledger_tasks",
                "Tasks, those included whose end nobody has acknowledged yet",
                "state",
                &states,
            )?,
            offers: gauge("ledger_offers", "Offers that nobody has answered yet")?,
            errands: gauge(
                "ledger_errands",
                "ACCEPTs and changes of operators that agents have not carried out yet",
            )?,
            backlog: gauge(
                "ledger_backlog_messages",
                "Messages that wait for their records to be durable: more than a few thousand means a slow disk",
            )?,
            step_seconds: histogram(
                "ledger_step_seconds",
                "How long the ledger took for one call, the offers included that it led to",
            )?,
            deadline_seconds: histogram(
                "ledger_deadline_seconds",
                "How long the ledger took for what was due by the clock: timers, filters that lapse, and offers for which a call left no time",
            )?,
            allocator_rounds: counter(
                "allocator_rounds_total",
                "How often the allocator looked whether somebody is due something that is free",
            )?,
            allocator_grants: counter(
                "allocator_grants_total",
                "How often it granted what is free on an agent to a framework; each is an offer that is then made",
            )?,
        };
        metrics.count_removed(RemovedAgents::default());
        for outcome in ["accepted", "finished", "failed"] {
            metrics.operations.with_label_values(&[outcome]);
        }
        for outcome in ["done", "listed", "failed"] {
            metrics.operator_answers.with_label_values(&[outcome]);
        }
        for state in states {
            metrics.updates.with_label_values(&[state]);
        }
        Ok(metrics)
    }

    /// Counts a session until what is returned is dropped.
    pub(super) fn begin(&self, peer: &Peer) -> Counted {
        let kind = match peer {
            Peer::Agent(_) => "agent",
            Peer::Framework(_) => "framework",
            Peer::Operator(_) => "operator",
        };
        let gauge = self.sessions.with_label_values(&[kind]);
        gauge.inc();
        Counted(gauge)
    }

    pub(super) fn count_refused_hello(&self) {
        self.refused_hellos.inc();
    }

    pub(super) fn count_refused_call(&self) {
        self.refused_calls.inc();
    }

    pub(super) fn count_slow_reader(&self) {
        self.slow_readers.inc();
    }

    pub(super) fn observe_step(&self, took: Duration) {
        self.step_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn observe_deadline(&self, took: Duration) {
        self.deadline_seconds.observe(took.as_secs_f64());
    }

    /// Counts a message that goes out.
    pub(super) fn count_message(&self, message: &Message) {
        match message {
            Message::Agent(_) => {}
            Message::Framework(event) => self.count_event(event),
            Message::Operator(answered) => {
                let outcome = match &answered.answer {
                    OperatorAnswer::Done { .. } => "done",
                    OperatorAnswer::Failed(_) => "failed",
                    OperatorAnswer::Agents(_)
                    | OperatorAnswer::Offers(_)
                    | OperatorAnswer::Roles(_)
                    | OperatorAnswer::Frameworks(_)
                    | OperatorAnswer::Tasks(_)
                    | OperatorAnswer::Reservations(_)
                    | OperatorAnswer::Volumes(_) => "listed",
                };
                self.operator_answers.with_label_values(&[outcome]).inc();
            }
        }
    }

    fn count_event(&self, event: &FrameworkEvent) {
        match event {
            FrameworkEvent::Offers(offers) => {
                self.offers_made
                    .inc_by(u64::try_from(offers.len()).unwrap_or(u64::MAX));
            }
            FrameworkEvent::Operation { outcome, .. } => {
                let outcome = match outcome {
                    OperationOutcome::Accepted => "accepted",
                    OperationOutcome::Finished { .. } => "finished",
                    OperationOutcome::Failed(_) => "failed",
                };
                self.operations.with_label_values(&[outcome]).inc();
            }
            FrameworkEvent::Update(status) => {
                let state = status.state.as_str();
                self.updates.with_label_values(&[state]).inc();
            }
            FrameworkEvent::Subscribed { .. }
            | FrameworkEvent::Rescind { .. }
            | FrameworkEvent::AgentLost { .. }
            | FrameworkEvent::Error(_)
            | FrameworkEvent::Heartbeat => {}
        }
    }

    /// Returns how much there is, in words.
    pub fn summary(&self) -> String {
        let of = |gauges: &IntGaugeVec, presence| gauges.with_label_values(&[presence]).get();
        let with_away = |what, gauges| {
            let (connected, away) = (of(gauges, "connected"), of(gauges, "away"));
            format!("{what}: {connected} connected, {away} away")
        };
        format!(
            "{}; {}",
            with_away("agents", &self.agents),
            with_away("frameworks", &self.frameworks)
        )
    }

    /// Shows how much there is.
    pub(super) fn set_census(&self, census: &Census) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (gauges, connected, away) in [
            (&self.agents, census.agents_connected, census.agents_away),
            (
                &self.frameworks,
                census.frameworks_connected,
                census.frameworks_away,
            ),
        ] {
            gauges
                .with_label_values(&["connected"])
                .set(count(connected));
            gauges.with_label_values(&["away"]).set(count(away));
        }
        for state in TaskState::ALL {
            let tasks = census.tasks.get(&state).copied().unwrap_or_default();
            self.tasks
                .with_label_values(&[state.as_str()])
                .set(count(tasks));
        }
        self.agents_spared.set(count(census.agents_spared));
        self.offers.set(count(census.offers));
        self.count_removed(census.agents_removed);
        raise(&self.allocator_rounds, census.rounds);
        raise(&self.allocator_grants, census.grants);
        self.errands.set(count(census.errands));
        self.backlog.set(count(census.backlog));
    }

    fn count_removed(&self, removed: RemovedAgents) {
        let RemovedAgents {
            timed_out,
            replaced,
            by_operator,
            left,
        } = removed;
        for (reason, count) in [
            ("timed_out", timed_out),
            ("replaced", replaced),
            ("operator", by_operator),
            ("left", left),
        ] {
            raise(&self.agents_removed.with_label_values(&[reason]), count);
        }
    }
}

/// Has a counter show what the ledger has counted: that only grows, and one task alone asks.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
