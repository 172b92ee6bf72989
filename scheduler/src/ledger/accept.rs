//! ACCEPT: offers are used, and operations done with them.
//!
//! 1. Operations that are known already are answered as before, whatever offers come with them: the call
//!    was repeated by somebody who has not heard the answer.
//! 2. Every offer named must be the framework's own, of one agent, and named once. If not, nothing is
//!    done: operations fail, tasks are lost, and of the offers named those that are the framework's own
//!    are rescinded, for it takes them for used. Nobody else's offer is touched.
//! 3. The offers end, and an [errand](super::errand) does the operations with what was in them.

use std::collections::BTreeSet;

use weir_protocol::{
    Action, AgentId, CallId, ErrorCode, Failure, Filters, FrameworkEvent, FrameworkId, Note,
    OfferId, Operation, OperationId, OperationKey, OperationOrigin, OperationOutcome, Reason,
    RescindReason, TaskKey, TaskSpec, TaskState,
};
use weir_resources::Resources;

use super::errand::{Errand, Stage};
use super::input::SessionId;
use super::launch::Never;
use super::offer::{OfferIds, OffersError};
use super::record::{ErrandNumber, Fingerprint, Step};
use super::refusal::Refusal;
use super::state::Ledger;

/// What an operation is, among those that the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing is known of it.
    New,
    /// It is being done.
    Waiting(ErrandNumber),
    /// It was answered.
    Answered(OperationOutcome),
    /// Its id was used for something else.
    Reused,
}

impl Ledger {
    pub(super) fn handle_accept(
        &mut self,
        session: SessionId,
        call: CallId,
        framework: FrameworkId,
        offers: &[OfferId],
        operations: Vec<Operation>,
        filters: Filters,
    ) {
        let is_empty = operations.is_empty();
        let new = self.answer_known(framework, operations);
        match self.check_offers(framework, offers) {
            Ok(agent) => self.begin_errand(framework, agent, offers, new, filters),
            // The call is a repeated one: its offers went with the first.
            Err(_) if new.is_empty() && !is_empty => self.rescind_named(framework, offers),
            Err(error) => {
                let failure = error.failure();
                self.rescind_named(framework, offers);
                self.refuse_framework(session, call, failure.clone());
                self.fail_all(framework, new, &failure);
            }
        }
    }

    /// Answers operations of which something is known, and returns the others.
    fn answer_known(&mut self, framework: FrameworkId, operations: Vec<Operation>) -> Vec<Step> {
        let mut seen: BTreeSet<OperationId> = BTreeSet::new();
        let mut new = Vec::with_capacity(operations.len());
        for operation in operations {
            let key = OperationKey {
                origin: OperationOrigin::Framework(framework),
                id: operation.id.clone(),
            };
            let step = Step::new(operation);
            let known = if seen.insert(key.id.clone()) {
                self.known_operation(&key, step.fingerprint)
            } else {
                Known::Reused
            };
            let outcome = match known {
                Known::New => {
                    new.push(step);
                    continue;
                }
                Known::Waiting(_) => OperationOutcome::Accepted,
                Known::Answered(outcome) => outcome,
                // It is told and not remembered: what the id was used for first has its own answer.
                Known::Reused => OperationOutcome::Failed(reused(&key)),
            };
            let id = key.id;
            self.tell_framework(framework, FrameworkEvent::Operation { id, outcome });
        }
        new
    }

    /// Returns what is known of an operation that is asked for.
    pub(super) fn known_operation(&self, key: &OperationKey, mark: Fingerprint) -> Known {
        if let Some(row) = self.answers.get(key) {
            return if row.fingerprint == mark {
                Known::Answered(row.outcome.clone())
            } else {
                Known::Reused
            };
        }
        let Some(number) = self.errands.operations.get(key) else {
            return Known::New;
        };
        let errand = self.errands.by_number.get(number);
        let waiting = errand.and_then(|errand| {
            let mut steps = errand.steps.iter();
            steps.find(|step| step.operation.id == key.id)
        });
        if waiting.is_some_and(|step| step.fingerprint == mark) {
            Known::Waiting(*number)
        } else {
            Known::Reused
        }
    }

    /// Returns the agent of the offers, if all are the framework's and can be used together.
    fn check_offers(
        &self,
        framework: FrameworkId,
        offers: &[OfferId],
    ) -> Result<AgentId, OffersError> {
        let mut seen = BTreeSet::new();
        let mut first: Option<(OfferId, AgentId)> = None;
        let mut wrong = Vec::new();
        for id in offers {
            if !seen.insert(*id) {
                return Err(OffersError::Twice { offer: *id });
            }
            if self.offer_of(framework, *id).is_none() {
                wrong.push(*id);
            }
        }
        if !wrong.is_empty() {
            return Err(OffersError::NotHeld {
                offers: OfferIds(wrong),
            });
        }
        for held in offers.iter().filter_map(|id| self.offer_of(framework, *id)) {
            let (id, agent) = (held.offer.id, held.offer.agent);
            match first {
                None => first = Some((id, agent)),
                Some((_, same)) if same == agent => {}
                Some((first, first_agent)) => {
                    return Err(OffersError::Agents {
                        first,
                        first_agent,
                        second: id,
                        second_agent: agent,
                    });
                }
            }
        }
        first.map(|(_, agent)| agent).ok_or(OffersError::None)
    }

    /// Ends the offers, and does the operations with what was in them.
    fn begin_errand(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        offers: &[OfferId],
        steps: Vec<Step>,
        filters: Filters,
    ) {
        let mut parts = Vec::with_capacity(offers.len());
        for id in offers {
            if let Some(held) = self.end_offer(*id) {
                parts.push(held.offer.resources);
            }
        }
        let pool = match parts.as_slice() {
            [only] => only.clone(),
            several => Resources::sum(several).expect("offers of one agent can be together"),
        };
        let errand = Errand {
            number: ErrandNumber(self.next_number()),
            turn: 0,
            origin: OperationOrigin::Framework(framework),
            agent,
            pool,
            steps: steps.into(),
            filters,
            stage: Stage::Fresh,
            waiters: Vec::new(),
        };
        self.run(errand);
        self.send_first(agent);
    }

    /// Rescinds those of the offers named that are the framework's own.
    fn rescind_named(&mut self, framework: FrameworkId, offers: &[OfferId]) {
        for id in offers {
            if self.offer_of(framework, *id).is_some() {
                self.rescind(*id, RescindReason::InvalidAccept);
            }
        }
    }

    /// Answers that nothing was done.
    fn fail_all(&mut self, framework: FrameworkId, steps: Vec<Step>, failure: &Failure) {
        for step in steps {
            let Operation { id, action } = step.operation;
            match action {
                Action::Change(_) => {}
                Action::Launch(tasks) => self.lose_unlaunched(framework, &tasks, failure),
            }
            let key = OperationKey {
                origin: OperationOrigin::Framework(framework),
                id,
            };
            let outcome = OperationOutcome::Failed(failure.clone());
            self.answer(key, step.fingerprint, outcome, &[]);
        }
    }

    /// Tells a framework that tasks were never launched, for want of offers.
    ///
    /// A task whose id is another's is left out: the framework would take it for that one's.
    fn lose_unlaunched(&mut self, framework: FrameworkId, tasks: &[TaskSpec], failure: &Failure) {
        let never = Never {
            state: TaskState::Lost,
            reason: Reason::InvalidOffers,
        };
        for task in tasks {
            let key = TaskKey {
                framework,
                task: task.id.clone(),
            };
            if self.tasks.contains_key(&key) || self.errands.tasks.contains_key(&key) {
                continue;
            }
            let message = Note::cut(&failure.reason);
            self.end_unlaunched(framework, None, task, never, message);
        }
    }
}

/// Returns what whoever uses an id again is told.
pub(super) fn reused(key: &OperationKey) -> Failure {
    Failure::new(
        ErrorCode::OperationIdReused,
        format_args!("operation {key} was asked for before, and was something else"),
        "give each operation an id of its own",
    )
}
