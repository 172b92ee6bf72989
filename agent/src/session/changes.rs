//! Changes of the set: RESERVE, UNRESERVE, CREATE, DESTROY.
//!
//! 1. One that was answered before gets the same answer.
//! 2. It must be meant for the version that the set has, be possible, and take nothing that a task
//!    holds; else it has failed, and that is recorded too: the answer stays the same.
//! 3. RESERVE and UNRESERVE: the new set and the answer are one write.
//! 4. CREATE and DESTROY: it is recorded as begun, the directories are made or moved away, then the
//!    new set and the answer are one write; what was moved away is deleted afterwards. After a crash in
//!    between the directories are done again. Until then whatever builds on the set waits.

use weir_protocol::{
    AgentCall, ApplyOutcome, ErrorCode, Failure, OperationKey, ResourceSet, SetVersion,
};
use weir_resources::{
    OperationError, OperationKind, ResourceName, ResourceOperation, Resources, Shortfall,
};

use super::input::VolumeFailure;
use super::machine::{AgentSession, Circumstances, Waiting};
use super::output::{Output, VolumeName, VolumeOrder};
use crate::container::chain;
use crate::store::{BegunChange, SessionChange};

/// The most that waits for directories: as many operations as the scheduler sends at a time, ten
/// times over. What comes beyond is refused.
const WAITING_MAX: usize = 1024;

impl AgentSession {
    pub(super) fn handle_apply(
        &mut self,
        operation: OperationKey,
        base: SetVersion,
        change: ResourceOperation,
    ) {
        if let Some(outcome) = self.answers.get(&operation) {
            self.figures.operations_repeated += 1;
            let outcome = outcome.clone();
            return self.say(AgentCall::OperationStatus { operation, outcome });
        }
        let is_same = |begun: &BegunChange| begun.operation == operation;
        let waits = self.waiting.iter().any(|waiting| match waiting {
            Waiting::Apply { operation: own, .. } => *own == operation,
            Waiting::Launch(_) => false,
        });
        if waits || self.begun.as_ref().is_some_and(is_same) {
            // It is answered when it is done.
            self.figures.operations_repeated += 1;
            return;
        }
        if self.is_changing() {
            if self.waiting.len() >= WAITING_MAX {
                let failure = Failure::new(
                    ErrorCode::LimitReached,
                    format_args!(
                        "{WAITING_MAX} operations wait for a volume on this agent already"
                    ),
                    "ask again when it has answered some of them",
                );
                return self.answer(operation, ApplyOutcome::Failed(failure), None);
            }
            return self.waiting.push_back(Waiting::Apply {
                operation,
                base,
                change,
            });
        }
        self.apply(operation, base, change);
    }

    /// Makes a change, or the first step of it.
    fn apply(&mut self, operation: OperationKey, base: SetVersion, change: ResourceOperation) {
        let total = match self.plan_change(base, &change) {
            Ok(total) => total,
            Err(failure) => return self.answer(operation, ApplyOutcome::Failed(failure), None),
        };
        match change.kind() {
            OperationKind::Reserve | OperationKind::Unreserve => {
                self.finish_change(operation, total);
            }
            OperationKind::Create | OperationKind::Destroy => {
                let begun = BegunChange {
                    operation,
                    base,
                    change,
                };
                self.journal
                    .record(SessionChange::Begin(Box::new(begun.clone())));
                self.begun = Some(begun);
                self.order_begun();
            }
        }
    }

    /// Returns what the node has after a change, or why it cannot be made.
    fn plan_change(
        &self,
        base: SetVersion,
        change: &ResourceOperation,
    ) -> Result<Resources, Failure> {
        if base != self.version {
            return Err(Failure::new(
                ErrorCode::StaleVersion,
                format_args!(
                    "{} is meant for version {base} of the agent's set, which is at version {}",
                    change.kind(),
                    self.version
                ),
                "ask again on top of what there is now",
            ));
        }
        let blocks = ResourceName::PORT_BLOCKS;
        if !change.resources().get(blocks.as_str()).is_empty() {
            return Err(Failure::new(
                ErrorCode::InvalidOperation,
                format_args!(
                    "{} of `{blocks}`, of which the agent has as many as are free just then",
                    change.kind()
                ),
                "leave them out; every isolated task of any role takes one",
            ));
        }
        let total = self.total.apply(change).map_err(|error| refused(&error))?;
        let held = |shortfall: &Shortfall| {
            let code = match shortfall.wanted.volume() {
                Some(_) => ErrorCode::VolumeInUse,
                None => ErrorCode::InsufficientResources,
            };
            Failure::new(
                code,
                format_args!("{} would take what tasks hold: {shortfall}", change.kind()),
                "end the tasks that hold it first",
            )
        };
        let used = self.used().map_err(|error| {
            Failure::new(
                ErrorCode::AgentFailed,
                format_args!("the tasks of this agent hold the same twice: {error}"),
                "the agent's log says more",
            )
        })?;
        total
            .check_contains(&used)
            .map_err(|shortfall| held(&shortfall))?;
        Ok(total)
    }

    /// Asks for the directories of a change that was begun.
    pub(super) fn order_begun(&mut self) {
        let Some(begun) = self.begun.clone() else {
            return;
        };
        let order = match begun.change.kind() {
            OperationKind::Destroy => VolumeOrder::Remove,
            OperationKind::Create | OperationKind::Reserve | OperationKind::Unreserve => {
                VolumeOrder::Make
            }
        };
        self.order_volumes(&begun, order);
    }

    fn order_volumes(&mut self, begun: &BegunChange, order: VolumeOrder) {
        let names = begun.change.resources().iter().filter_map(|entry| {
            Some(VolumeName {
                role: entry.role()?.clone(),
                id: entry.volume()?.id.clone(),
            })
        });
        let output = Output::Volumes {
            operation: begun.operation.clone(),
            order,
            volumes: names.collect(),
        };
        self.journal.effect(output);
    }

    pub(super) fn handle_volumes_done(
        &mut self,
        operation: &OperationKey,
        result: Result<(), VolumeFailure>,
        circumstances: &mut Circumstances<'_>,
    ) {
        let Some(begun) = self.begun.take_if(|begun| begun.operation == *operation) else {
            return;
        };
        let planned = self.plan_change(begun.base, &begun.change);
        match (result, planned) {
            (Ok(()), Ok(total)) => {
                self.finish_change(begun.operation, total);
                self.journal.effect(Output::Sweep);
            }
            // Nothing that it builds on changes while it is begun; but between two agents the
            // configuration may have. What was made for nothing is empty, and goes.
            (Ok(()), Err(failure)) => {
                self.answer(begun.operation.clone(), ApplyOutcome::Failed(failure), None);
                self.order_volumes(&begun, VolumeOrder::Remove);
                self.journal.effect(Output::Sweep);
            }
            (Err(VolumeFailure { reason, remedy }), _) => {
                let failure = Failure::new(ErrorCode::AgentFailed, reason, remedy);
                self.answer(begun.operation, ApplyOutcome::Failed(failure), None);
            }
        }
        while !self.is_changing_now()
            && let Some(waiting) = self.waiting.pop_front()
        {
            match waiting {
                Waiting::Apply {
                    operation,
                    base,
                    change,
                } => self.apply(operation, base, change),
                Waiting::Launch(launch) => self.take(*launch, circumstances),
            }
        }
    }

    /// Makes the set what a change makes of it, and answers.
    fn finish_change(&mut self, operation: OperationKey, total: Resources) {
        self.total = total;
        self.version = self.version.next();
        let outcome = ApplyOutcome::Applied {
            version: self.version,
        };
        let set = self.set();
        tracing::info!(%operation, version = %self.version, "set changed");
        self.answer(operation, outcome, Some(set));
    }

    fn answer(&mut self, operation: OperationKey, outcome: ApplyOutcome, set: Option<ResourceSet>) {
        match &outcome {
            ApplyOutcome::Applied { .. } => self.figures.operations_applied += 1,
            ApplyOutcome::Failed(failure) => {
                self.figures.operations_failed += 1;
                tracing::warn!(%operation, reason = %failure.reason, "operation failed");
            }
        }
        self.journal.record(SessionChange::Answer {
            operation: operation.clone(),
            outcome: outcome.clone(),
            set,
        });
        self.answers.insert(operation.clone(), outcome.clone());
        self.say(AgentCall::OperationStatus { operation, outcome });
    }

    /// Returns whether whatever builds on the set has to wait.
    pub(super) fn is_changing(&self) -> bool {
        self.is_changing_now() || !self.waiting.is_empty()
    }

    pub(super) fn is_changing_now(&self) -> bool {
        self.begun.is_some()
    }
}

/// Returns why the algebra refuses an operation.
fn refused(error: &OperationError) -> Failure {
    let code = match error {
        OperationError::Empty { .. }
        | OperationError::NotDynamic { .. }
        | OperationError::Volume { .. }
        | OperationError::NotVolume { .. } => ErrorCode::InvalidOperation,
        OperationError::OtherPrincipal { .. } => ErrorCode::Unauthorized,
        OperationError::Missing { operation, .. } => match operation {
            OperationKind::Reserve | OperationKind::Create => ErrorCode::InsufficientResources,
            OperationKind::Unreserve => ErrorCode::ReservationUnknown,
            OperationKind::Destroy => ErrorCode::VolumeUnknown,
        },
        OperationError::Conflict { .. } => ErrorCode::VolumeExists,
    };
    Failure::new(code, chain(error), error.remedy())
}
