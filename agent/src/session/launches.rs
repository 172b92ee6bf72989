//! Launches, and what containers do.
//!
//! 1. A task that is known, or was, is not launched again: whoever asks is told where it is.
//! 2. It is written down with the id of its container, then the container is made. After a crash the
//!    next agent sees by the id whether it was.
//! 3. A container that the agent's end interrupted before its program could run is made again, under
//!    another id; one whose program may have run never is.

use weir_executor::record::Outcome;
use weir_protocol::bounds::TASKS_PER_AGENT_MAX;
use weir_protocol::{Launch, Reason, TaskKey, TaskState};

use super::input::{ContainerState, LaunchFailure};
use super::machine::{AgentSession, Circumstances, Duty, Waiting};
use super::output::Output;
use super::task::{Task, regular_part};
use super::verdict::{Boot, Verdict};
use crate::container::ContainerId;
use crate::store::{Progress, SessionChange, TaskPhase, TaskRow};

/// How often the launch of one task is begun, if the agent ends each time: so that a task that takes
/// the agent down does not do so for ever.
const ATTEMPTS_MAX: u32 = 3;

/// The most launches that wait for directories of volumes: as many as a node has containers.
const WAITING_MAX: usize = 1024;

impl AgentSession {
    pub(super) fn handle_launch(
        &mut self,
        launch: Box<Launch>,
        circumstances: &mut Circumstances<'_>,
    ) {
        let key = launch.key();
        let is_known = self.tasks.contains_key(&key) || self.finished.get(&key).is_some();
        if is_known || self.is_waiting(&key) {
            self.figures.launches_repeated += 1;
            return self.answer_where(&key, circumstances);
        }
        if !self.is_changing() {
            return self.take(*launch, circumstances);
        }
        if self.waiting.len() >= WAITING_MAX {
            let verdict = Verdict::of_agent(
                TaskState::Lost,
                Some(Reason::ContainerLaunchFailed),
                format_args!("{WAITING_MAX} operations wait for a volume on this agent already"),
            );
            return self.refuse(*launch, verdict, circumstances);
        }
        self.waiting.push_back(Waiting::Launch(launch));
    }

    /// Takes a task, or writes down why not.
    pub(super) fn take(&mut self, launch: Launch, circumstances: &mut Circumstances<'_>) {
        let key = launch.key();
        match &self.duty {
            Duty::Serving => {}
            Duty::Draining => {
                let verdict = Verdict::of_agent(
                    TaskState::Lost,
                    Some(Reason::AgentDraining),
                    "the agent is being drained and takes no task",
                );
                return self.refuse(launch, verdict, circumstances);
            }
            // Whoever sent it knows by now, or learns with the next registration, that the agent
            // is another one.
            Duty::Left | Duty::Removed(_) => {
                tracing::warn!(task = %key, "a launch for an agent that has left");
                return;
            }
        }
        if let Err(verdict) = self.check_room(&launch) {
            return self.refuse(launch, verdict, circumstances);
        }
        self.figures.launches += 1;
        let container = new_container(circumstances);
        let phase = TaskPhase::Launching {
            container: container.clone(),
            attempt: 1,
            boot: self.profile.boot.clone(),
        };
        self.add(launch, phase, circumstances);
        self.containers.insert(container, key.clone());
        self.order(&key);
    }

    /// Writes down a task that does not begin, so that its framework is told until it knows.
    pub(super) fn refuse(
        &mut self,
        launch: Launch,
        verdict: Verdict,
        circumstances: &mut Circumstances<'_>,
    ) {
        self.figures.launches_refused += 1;
        let key = launch.key();
        self.add(launch, TaskPhase::Ended, circumstances);
        self.update(&key, verdict, circumstances.now.unix, circumstances);
    }

    fn add(&mut self, launch: Launch, phase: TaskPhase, circumstances: &Circumstances<'_>) {
        let key = launch.key();
        let row = TaskRow {
            progress: Progress {
                phase,
                ending: None,
                latest: self.first_status(&key, circumstances.now.unix),
                acknowledged: None,
            },
            launch: launch.into(),
            updates: Vec::new(),
        };
        self.journal
            .record(SessionChange::AddTask(Box::new(row.clone())));
        self.tasks.insert(key, Task::new(row));
    }

    /// Asks for the container of a task.
    fn order(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        if let Some(container) = task.progress.phase.container() {
            let output = Output::Launch {
                container: container.clone(),
                launch: task.launch.clone(),
            };
            self.journal.effect(output);
        }
    }

    /// Refuses a task that holds what the agent does not have, or what others hold.
    fn check_room(&self, launch: &Launch) -> Result<(), Verdict> {
        let unknown = |message: String| {
            Verdict::of_agent(TaskState::Lost, Some(Reason::ResourcesUnknown), message)
        };
        let wanted = &launch.task.resources;
        self.total
            .checkpointed()
            .check_contains(&wanted.checkpointed())
            .map_err(|shortfall| {
                unknown(format!(
                    "the agent's set, at version {}, does not hold what the task does: {shortfall}",
                    self.version
                ))
            })?;
        let tasks = self.tasks.len();
        if tasks >= usize::try_from(TASKS_PER_AGENT_MAX).unwrap_or(usize::MAX) {
            return Err(Verdict::of_agent(
                TaskState::Lost,
                Some(Reason::ContainerLaunchFailed),
                format_args!("the agent has {tasks} tasks, and {TASKS_PER_AGENT_MAX} is the most"),
            ));
        }
        let used = self.used().map_err(|error| unknown(error.to_string()))?;
        let free = self
            .total
            .checked_sub(&used)
            .map_err(|shortfall| unknown(shortfall.to_string()))?;
        // What is lent is the scheduler's to count: it knows what it has promised to whom, and revokes
        // what it must.
        free.check_contains(&regular_part(wanted))
            .map_err(|shortfall| unknown(format!("the agent has less left: {shortfall}")))
    }

    /// Returns whether a launch waits for directories of volumes.
    pub(super) fn is_waiting(&self, key: &TaskKey) -> bool {
        self.waiting.iter().any(|waiting| match waiting {
            Waiting::Launch(launch) => launch.key() == *key,
            Waiting::Apply { .. } => false,
        })
    }

    pub(super) fn handle_container(
        &mut self,
        container: &ContainerId,
        state: ContainerState,
        circumstances: &mut Circumstances<'_>,
    ) {
        let Some(key) = self.containers.get(container).cloned() else {
            // Of a task that is over for the session; the container task may forget it.
            if matches!(state, ContainerState::Ended { .. }) {
                let container = container.clone();
                self.journal.effect(Output::Release { container });
            }
            return;
        };
        match state {
            ContainerState::Absent => self.handle_absent(&key, circumstances),
            ContainerState::Changing => self.handle_seen(&key),
            ContainerState::Running { started_at } => {
                if let Some(task) = self.tasks.get_mut(&key)
                    && let TaskPhase::Launching { boot, .. } = &task.progress.phase
                {
                    task.progress.phase = TaskPhase::Running {
                        container: container.clone(),
                        boot: boot.clone(),
                    };
                    let verdict = Verdict::of_agent(TaskState::Running, None, "");
                    let at = weir_protocol::UnixMs(started_at.0);
                    self.update(&key, verdict, at, circumstances);
                }
                self.handle_seen(&key);
            }
            ContainerState::Ended { outcome, ended_at } => {
                if was_interrupted(&outcome) {
                    self.launch_again(&key, circumstances);
                } else {
                    self.handle_end(&key, &outcome, ended_at, circumstances);
                }
            }
        }
    }

    /// Takes note that a container is there, so that it can be killed.
    fn handle_seen(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut task.is_seen, true) && task.progress.ending.is_some() {
            self.kill(key);
        }
    }

    /// Goes on with a task whose container is not on record.
    fn handle_absent(&mut self, key: &TaskKey, circumstances: &mut Circumstances<'_>) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        if !task.is_launching() {
            // It was on record when the task ran, and is kept until the task has ended.
            let verdict = Verdict::of_agent(
                TaskState::Lost,
                Some(Reason::AgentRestarted),
                "the record of its container is gone",
            );
            return self.end(key, verdict, circumstances.now.unix, circumstances);
        }
        match &task.progress.ending {
            Some(ending) => {
                let verdict = Verdict::of_unborn(ending);
                self.end(key, verdict, circumstances.now.unix, circumstances);
            }
            None => self.order(key),
        }
    }

    fn launch_again(&mut self, key: &TaskKey, circumstances: &mut Circumstances<'_>) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let (former, attempt) = match task.progress.phase.clone() {
            TaskPhase::Launching {
                container, attempt, ..
            } => (container, attempt),
            // It was on record as running, and its program was never told to go.
            TaskPhase::Running { container, .. } => (container, 1),
            TaskPhase::Ended => return,
        };
        if let Some(ending) = &task.progress.ending {
            let verdict = Verdict::of_unborn(ending);
            return self.end(key, verdict, circumstances.now.unix, circumstances);
        }
        if attempt >= ATTEMPTS_MAX {
            let verdict = Verdict::of_agent(
                TaskState::Failed,
                Some(Reason::AgentRestarted),
                format_args!("the agent ended during each of {attempt} attempts to launch it"),
            );
            return self.end(key, verdict, circumstances.now.unix, circumstances);
        }
        let container = new_container(circumstances);
        task.progress.phase = TaskPhase::Launching {
            container: container.clone(),
            attempt: attempt + 1,
            boot: self.profile.boot.clone(),
        };
        task.is_seen = false;
        tracing::warn!(task = %key, attempt = attempt + 1, "launching again what the agent's end interrupted");
        self.record_progress(key);
        self.containers.remove(&former);
        self.containers.insert(container, key.clone());
        self.order(key);
        self.journal.effect(Output::Release { container: former });
    }

    pub(super) fn handle_not_launched(
        &mut self,
        container: &ContainerId,
        failure: LaunchFailure,
        circumstances: &mut Circumstances<'_>,
    ) {
        let Some(key) = self.containers.get(container).cloned() else {
            return;
        };
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        match failure {
            // It stays as it is: the next agent finds no container and makes it.
            LaunchFailure::Stopping => {}
            LaunchFailure::Final {
                state,
                reason,
                message,
            } => {
                let verdict = match &task.progress.ending {
                    Some(ending) => Verdict::of_unborn(ending),
                    None => Verdict::of_agent(state, Some(reason), message),
                };
                self.end(&key, verdict, circumstances.now.unix, circumstances);
            }
        }
    }

    fn handle_end(
        &mut self,
        key: &TaskKey,
        outcome: &Outcome,
        ended_at: weir_protocol::UnixMs,
        circumstances: &mut Circumstances<'_>,
    ) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let boot = match &task.progress.phase {
            TaskPhase::Launching { boot, .. } | TaskPhase::Running { boot, .. }
                if *boot != self.profile.boot =>
            {
                Boot::Later
            }
            TaskPhase::Launching { .. } | TaskPhase::Running { .. } | TaskPhase::Ended => {
                Boot::Same
            }
        };
        let verdict = Verdict::of_end(outcome, boot, task.progress.ending.as_ref());
        self.end(key, verdict, ended_at, circumstances);
    }

    /// Ends a task: it holds nothing any more, and its container may be forgotten.
    fn end(
        &mut self,
        key: &TaskKey,
        verdict: Verdict,
        at: weir_protocol::UnixMs,
        circumstances: &mut Circumstances<'_>,
    ) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let phase = std::mem::replace(&mut task.progress.phase, TaskPhase::Ended);
        self.update(key, verdict, at, circumstances);
        if let Some(container) = phase.container() {
            self.containers.remove(container);
            self.journal.effect(Output::Release {
                container: container.clone(),
            });
        }
    }
}

/// Returns whether a container was given up before its program could run: what an executor records whose
/// agent has ended, and an agent of a launch that it finds half-way.
///
/// A launch that fails for another reason is told as [`LaunchFailure`]; if the agent ends before it can
/// be, it fails once more.
fn was_interrupted(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Aborted { .. } => true,
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::KilledAfterGrace { .. }
        | Outcome::OutOfMemory
        | Outcome::ExecFailed { .. }
        | Outcome::SetupFailed { .. }
        | Outcome::Lost { .. } => false,
    }
}

fn new_container(circumstances: &mut Circumstances<'_>) -> ContainerId {
    let bits = circumstances.random() & u128::from(u64::MAX);
    ContainerId::from_random(u64::try_from(bits).expect("64 bits fit"))
}
