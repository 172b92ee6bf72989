//! Errands: what is left to do of an ACCEPT, or of an operator's change, and what it is done with.
//!
//! An errand has a *pool*, the resources that were taken out of offers (or, for an operator, out of what
//! was free), and a list of operations:
//!
//! 1. Operations are done in their order, each on the pool that those before it have left. A LAUNCH is
//!    done at once. RESERVE, UNRESERVE, CREATE and DESTROY are the agent's to do: the errand is written
//!    down, what is left of it is answered ACCEPTED, and it waits in the queue of the agent.
//! 2. One errand of an agent is with it at a time, with the version of the agent's set that its operation
//!    is meant for. So the version is right whatever became of the operation before.
//! 3. The agent has applied it: the pool changes, and the errand goes on where it was. The agent has
//!    failed: the operation is answered so, the pool is what it was, and the errand goes on. What
//!    depends on the failed operation does not find in the pool what it needs, and is refused for that,
//!    with the resource that is not there; what does not depend on it is done.
//! 4. What is left of the pool goes back, with the filter of the ACCEPT.
//!
//! Errands survive the scheduler and the connection of the agent: an operation is sent again until it is
//! answered, under the same key, and an agent that has applied it says so again.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::{
    Action, AgentEvent, AgentId, ApplyOutcome, CallId, ErrorCode, Failure, Filters, FrameworkEvent,
    FrameworkId, Note, Operation, OperationId, OperationKey, OperationOrigin, OperationOutcome,
    ResourceSet, SetVersion, TaskKey, TaskSpec,
};
use weir_resources::{ResourceOperation, Resources};

use super::input::SessionId;
use super::launch::Never;
use super::record::{ErrandNumber, ErrandRow, Row, RowKey, Step};
use super::refusal::Refusal;
use super::state::Ledger;

/// What is left to do, and what it is done with.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) number: ErrandNumber,
    /// When it last began to wait, among all that wait.
    pub(super) turn: u64,
    pub(super) origin: OperationOrigin,
    pub(super) agent: AgentId,
    pub(super) pool: Resources,
    /// The first is the one that the agent has or is to have.
    pub(super) steps: VecDeque<Step>,
    pub(super) filters: Filters,
    pub(super) stage: Stage,
    /// Calls of operators that wait for it.
    pub(super) waiters: Vec<(SessionId, CallId)>,
}

/// How far an errand has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not waited for an agent yet: it is written down nowhere.
    Fresh,
    /// It waits for its turn with the agent, which has never heard of its first operation.
    Queued,
    /// The agent has its first operation.
    Sent { base: SetVersion },
    /// The agent may have its first operation, and may have applied it: the connection broke, or the
    /// scheduler was started again. What it has done is seen when it is back.
    Doubtful,
}

/// The errands that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands {
    pub(super) by_number: BTreeMap<ErrandNumber, Errand>,
    /// Tasks that are to be launched by them.
    pub(super) tasks: BTreeMap<TaskKey, ErrandNumber>,
    /// Operations that are to be done by them.
    pub(super) operations: BTreeMap<OperationKey, ErrandNumber>,
}

impl Errand {
    /// Returns the framework whose errand it is.
    pub(super) fn framework(&self) -> Option<FrameworkId> {
        match self.origin {
            OperationOrigin::Framework(framework) => Some(framework),
            OperationOrigin::Operator(_) => None,
        }
    }

    pub(super) fn key(&self, id: &OperationId) -> OperationKey {
        OperationKey {
            origin: self.origin.clone(),
            id: id.clone(),
        }
    }

    /// Returns the change that the agent is to apply.
    pub(super) fn change(&self) -> Option<&ResourceOperation> {
        match &self.steps.front()?.operation.action {
            Action::Change(change) => Some(change),
            Action::Launch(_) => None,
        }
    }

    /// Goes through the tasks that it is to launch.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskSpec> {
        self.steps
            .iter()
            .flat_map(|step| match &step.operation.action {
                Action::Launch(tasks) => tasks.as_slice(),
                Action::Change(_) => &[],
            })
    }

    pub(super) fn row(&self) -> ErrandRow {
        ErrandRow {
            number: self.number,
            turn: self.turn,
            origin: self.origin.clone(),
            agent: self.agent,
            pool: self.pool.clone(),
            steps: self.steps.iter().cloned().collect(),
            filters: self.filters,
        }
    }
}

impl Errands {
    /// Puts an errand among those that wait.
    pub(super) fn insert(&mut self, errand: Errand) {
        for Step { operation, .. } in &errand.steps {
            let key = errand.key(&operation.id);
            self.operations.insert(key, errand.number);
            if let (Action::Launch(tasks), Some(framework)) =
                (&operation.action, errand.framework())
            {
                for task in tasks {
                    let task = task.id.clone();
                    self.tasks
                        .insert(TaskKey { framework, task }, errand.number);
                }
            }
        }
        self.by_number.insert(errand.number, errand);
    }

    /// Takes an errand out of those that wait.
    pub(super) fn remove(&mut self, number: ErrandNumber) -> Option<Errand> {
        let errand = self.by_number.remove(&number)?;
        for Step { operation, .. } in &errand.steps {
            self.operations.remove(&errand.key(&operation.id));
            if let (Action::Launch(tasks), Some(framework)) =
                (&operation.action, errand.framework())
            {
                for task in tasks {
                    let task = task.id.clone();
                    self.tasks.remove(&TaskKey { framework, task });
                }
            }
        }
        Some(errand)
    }
}

impl Ledger {
    /// Does as much of an errand as can be done now.
    ///
    /// It is not among those that wait, and is again afterwards if something is left to do.
    pub(super) fn run(&mut self, mut errand: Errand) {
        while let Some(step) = errand.steps.pop_front() {
            let Step {
                operation: Operation { id, action },
                fingerprint,
            } = step;
            let outcome = match action {
                Action::Launch(tasks) => self.launch(&mut errand, &id, tasks),
                Action::Change(change) => match self.admit_change(&errand, &change) {
                    Ok(()) => {
                        let action = Action::Change(change);
                        errand.steps.push_front(Step {
                            operation: Operation { id, action },
                            fingerprint,
                        });
                        self.park(errand);
                        return;
                    }
                    Err(error) => {
                        let failure = error.failure();
                        self.audit_change(&errand, &change, Some(&failure));
                        OperationOutcome::Failed(failure)
                    }
                },
            };
            let key = errand.key(&id);
            self.answer(key, fingerprint, outcome, &errand.waiters);
        }
        self.finish(errand);
    }

    /// Has an errand wait for the agent, which is to do its first operation. Whoever has it wait sees to
    /// it that the agent is [told](Self::send_first).
    fn park(&mut self, mut errand: Errand) {
        let accepted = match errand.stage {
            // Whoever asked has heard of all operations when it first waited.
            Stage::Queued | Stage::Sent { .. } | Stage::Doubtful => None,
            Stage::Fresh => errand.framework(),
        };
        errand.stage = Stage::Queued;
        errand.turn = self.next_number();
        self.put(Row::Errand(errand.row()));
        if let Some(framework) = accepted {
            for Step { operation, .. } in &errand.steps {
                let id = operation.id.clone();
                let outcome = OperationOutcome::Accepted;
                self.tell_framework(framework, FrameworkEvent::Operation { id, outcome });
            }
        }
        if let Some(framework) = errand.framework()
            && let Some(framework) = self.frameworks.by_id.get_mut(&framework)
        {
            framework.errands.insert(errand.number);
        }
        let agent = errand.agent;
        let is_operators = errand.framework().is_none();
        if let Some(agent) = self.agents.by_id.get_mut(&agent) {
            agent.errands.push_back(errand.number);
        }
        self.errands.insert(errand);
        if is_operators {
            self.settle_pools(agent);
        }
    }

    /// Sends the agent the operation that is first in its queue, if it is connected and has none.
    ///
    /// What was possible when it began to wait may not be any more: then it is refused now, and the
    /// errand goes on.
    pub(super) fn send_first(&mut self, agent: AgentId) {
        while let Some(known) = self.agents.by_id.get(&agent)
            && known.session().is_some()
            && let Some(&number) = known.errands.front()
            && let Some(errand) = self.errands.by_number.get(&number)
        {
            match errand.stage {
                Stage::Sent { .. } => return,
                Stage::Fresh | Stage::Queued | Stage::Doubtful => {}
            }
            let Some(change) = errand.change().cloned() else {
                // Only an errand whose first operation is a change waits.
                return;
            };
            if self.is_nobodys(errand) {
                // The agent has not applied it, and nobody wants it any more.
                self.fail_first(number, gone());
                continue;
            }
            match self.plan_change(errand, &change) {
                Ok(_) => {
                    let base = known.checkpointed.version();
                    let first = errand.steps.front();
                    let operation = first.map(|first| errand.key(&first.operation.id));
                    if let Some(errand) = self.errands.by_number.get_mut(&number) {
                        errand.stage = Stage::Sent { base };
                    }
                    if let Some(operation) = operation {
                        self.tell_agent(
                            agent,
                            AgentEvent::Apply {
                                operation,
                                base,
                                change,
                            },
                        );
                    }
                    return;
                }
                Err(error) => self.fail_first(number, error.failure()),
            }
        }
    }

    /// Does what follows from an agent's answer to an operation.
    pub(super) fn handle_applied(
        &mut self,
        agent: AgentId,
        operation: &OperationKey,
        outcome: ApplyOutcome,
    ) {
        let waiting = self.errands.operations.get(operation).copied();
        let errand = waiting.and_then(|number| self.errands.by_number.get(&number));
        let sent = errand.filter(|errand| {
            let first = errand.steps.front();
            errand.agent == agent && first.is_some_and(|first| first.operation.id == operation.id)
        });
        let Some((number, Stage::Sent { base })) = sent.map(|errand| (errand.number, errand.stage))
        else {
            // An answer that came before, or one to a scheduler that has lost the question.
            return;
        };
        match outcome {
            ApplyOutcome::Failed(failure) => self.fail_first(number, failure),
            ApplyOutcome::Applied { version } if version == base.next() => {
                self.apply_first(number, version);
            }
            ApplyOutcome::Applied { version } if version <= base => {
                // It was asked for before by this key, of a ledger that has lost its memory since. What it
                // has made is in the set.
                self.skip_first(number, version);
            }
            ApplyOutcome::Applied { version } => {
                // It has another set than was thought. What it has it says when it registers.
                let failure = Failure::new(
                    ErrorCode::StaleVersion,
                    format_args!(
                        "operation {operation} has made version {version}, and version {} was to be made",
                        base.next()
                    ),
                    "register again",
                );
                self.send_away(agent, failure);
                return;
            }
        }
        self.send_first(agent);
    }

    /// Writes down that the agent has applied the first operation of an errand, and goes on with it.
    pub(super) fn apply_first(&mut self, number: ErrandNumber, version: SetVersion) {
        let Some(mut errand) = self.take_errand(number) else {
            return;
        };
        let Some(Step {
            operation:
                Operation {
                    id,
                    action: Action::Change(change),
                },
            fingerprint,
        }) = errand.steps.pop_front()
        else {
            return;
        };
        let notes = match self.change_agent(&mut errand, &change, version) {
            Ok(notes) => notes,
            Err(failure) => {
                // The agent could, and by these books it could not: its word is asked for.
                let key = errand.key(&id);
                let agent = errand.agent;
                self.answer(
                    key,
                    fingerprint,
                    OperationOutcome::Failed(failure.clone()),
                    &errand.waiters,
                );
                self.run(errand);
                self.send_away(agent, failure);
                return;
            }
        };
        self.audit_change(&errand, &change, None);
        let key = errand.key(&id);
        self.answer(
            key,
            fingerprint,
            OperationOutcome::Finished { notes },
            &errand.waiters,
        );
        self.run(errand);
    }

    /// Changes an agent's set, its total, and the pool, as an operation does.
    fn change_agent(
        &mut self,
        errand: &mut Errand,
        change: &ResourceOperation,
        version: SetVersion,
    ) -> Result<Vec<Note>, Failure> {
        let planned = self.plan_change(errand, change);
        let planned = planned.map_err(|error| error.failure())?;
        let Some(agent) = self.agents.by_id.get_mut(&errand.agent) else {
            return Ok(Vec::new());
        };
        agent.checkpointed = ResourceSet::new(version, planned.total.checkpointed())
            .expect("a set of what is checkpointed");
        agent.total = planned.total;
        errand.pool = planned.pool;
        let notes = planned.notes;
        let row = Row::Agent(agent.row());
        self.put(row);
        match errand.origin {
            OperationOrigin::Framework(framework) => self
                .allocator
                .convert(
                    errand.agent,
                    framework,
                    &change.consumed(),
                    &change.produced(),
                )
                .expect("the pool is held, and its agent has it"),
            OperationOrigin::Operator(_) => {}
        }
        Ok(notes)
    }

    /// Answers that the first operation of an errand has failed, and goes on with it.
    pub(super) fn fail_first(&mut self, number: ErrandNumber, failure: Failure) {
        let Some(mut errand) = self.take_errand(number) else {
            return;
        };
        if let Some(step) = errand.steps.pop_front() {
            let Operation { id, action } = step.operation;
            if let Action::Change(change) = &action {
                self.audit_change(&errand, change, Some(&failure));
            }
            let key = errand.key(&id);
            let outcome = OperationOutcome::Failed(failure);
            self.answer(key, step.fingerprint, outcome, &errand.waiters);
        }
        self.run(errand);
    }

    /// Answers that the first operation of an errand was done before, and goes on with what is there.
    fn skip_first(&mut self, number: ErrandNumber, version: SetVersion) {
        let Some(mut errand) = self.take_errand(number) else {
            return;
        };
        if let Some(step) = errand.steps.pop_front() {
            let key = errand.key(&step.operation.id);
            let notes = vec![Note::cut(format_args!(
                "the agent did it before, as version {version} of its set"
            ))];
            let outcome = OperationOutcome::Finished { notes };
            self.answer(key, step.fingerprint, outcome, &errand.waiters);
        }
        self.run(errand);
    }

    /// Returns whether the framework whose errand it is has ended.
    fn is_nobodys(&self, errand: &Errand) -> bool {
        let framework = errand.framework();
        framework.is_some_and(|framework| !self.frameworks.by_id.contains_key(&framework))
    }

    /// Takes an errand out of all books but its row.
    pub(super) fn take_errand(&mut self, number: ErrandNumber) -> Option<Errand> {
        let errand = self.errands.remove(number)?;
        if let Some(agent) = self.agents.by_id.get_mut(&errand.agent) {
            agent.errands.retain(|own| *own != number);
        }
        if let Some(framework) = errand.framework()
            && let Some(framework) = self.frameworks.by_id.get_mut(&framework)
        {
            framework.errands.remove(&number);
        }
        Some(errand)
    }

    /// Gives back what is left of the pool of an errand of which all is done.
    fn finish(&mut self, errand: Errand) {
        let framework = errand.framework();
        match errand.stage {
            Stage::Fresh => {}
            Stage::Queued | Stage::Sent { .. } | Stage::Doubtful => {
                self.drop_row(RowKey::Errand(errand.number));
            }
        }
        match errand.origin {
            OperationOrigin::Operator(_) => self.settle_pools(errand.agent),
            OperationOrigin::Framework(_) if errand.pool.is_empty() => {}
            OperationOrigin::Framework(framework) => self
                .allocator
                .decline(
                    errand.agent,
                    framework,
                    &errand.pool,
                    errand.filters.refuse.into(),
                    self.now.elapsed,
                )
                .expect("what is in a pool is held"),
        }
        if let Some(framework) = framework {
            self.hasten_end(framework, self.settings.framework_return);
        }
    }

    /// Gives up all that waits of a framework that ends. What an agent may have already it may apply: that
    /// is waited for, and nothing else is done.
    pub(super) fn cancel_errands_of(&mut self, framework: FrameworkId) {
        let own = self.frameworks.by_id.get(&framework);
        let numbers: Vec<ErrandNumber> = own
            .into_iter()
            .flat_map(|framework| framework.errands.iter().copied())
            .collect();
        for number in numbers {
            let Some(mut errand) = self.errands.remove(number) else {
                continue;
            };
            match errand.stage {
                Stage::Sent { .. } | Stage::Doubtful => {
                    errand.steps.truncate(1);
                    self.put(Row::Errand(errand.row()));
                    self.errands.insert(errand);
                }
                Stage::Fresh | Stage::Queued => {
                    if let Some(agent) = self.agents.by_id.get_mut(&errand.agent) {
                        agent.errands.retain(|own| *own != number);
                    }
                    errand.steps.clear();
                    self.finish(errand);
                }
            }
        }
    }

    /// Answers every operation that waits on an agent with the same failure, and gives the pools back.
    pub(super) fn abort_errands(&mut self, agent: AgentId, failure: &Failure, never: Never) {
        let known = self.agents.by_id.get(&agent);
        let numbers: Vec<ErrandNumber> = known
            .into_iter()
            .flat_map(|agent| agent.errands.iter().copied())
            .collect();
        for number in numbers {
            let Some(mut errand) = self.take_errand(number) else {
                continue;
            };
            for step in std::mem::take(&mut errand.steps) {
                let Operation { id, action } = step.operation;
                match action {
                    Action::Launch(tasks) => self.never_launched(&errand, &tasks, never),
                    Action::Change(change) => self.audit_change(&errand, &change, Some(failure)),
                }
                let key = errand.key(&id);
                let outcome = OperationOutcome::Failed(failure.clone());
                self.answer(key, step.fingerprint, outcome, &errand.waiters);
            }
            self.finish(errand);
        }
    }

    /// Writes down what is left of an errand that waits, after something was taken from it.
    pub(super) fn put_errand(&mut self, number: ErrandNumber) {
        if let Some(row) = self.errands.by_number.get(&number).map(Errand::row) {
            self.put(Row::Errand(row));
        }
    }
}

/// Returns what is said of an operation that nobody wants any more; nobody hears it.
fn gone() -> Failure {
    Failure::new(
        ErrorCode::FrameworkRemoved,
        "its framework has ended",
        "subscribe as a new framework",
    )
}
