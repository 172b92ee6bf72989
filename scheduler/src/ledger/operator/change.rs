//! An operator reserves, unreserves, creates or destroys.
//!
//! What is needed is taken out of what is free, and out of offers if that is not enough: only as many are
//! rescinded as must be, and none if it would not help. Then it is an [errand](crate::ledger::errand) like
//! any other, and answered when the agent has answered.

use weir_protocol::{
    Action, AgentName, ErrorCode, Failure, Filters, OfferId, Operation, OperationId, OperationKey,
    OperationOrigin, OperatorAnswer, RescindReason,
};
use weir_resources::{ResourceOperation, Resources};

use super::Asked;
use crate::ledger::accept::{Known, reused};
use crate::ledger::agent::Agent;
use crate::ledger::answers::for_operator;
use crate::ledger::change::ChangeError;
use crate::ledger::errand::{Errand, Stage};
use crate::ledger::record::{Actor, ErrandNumber, Step};
use crate::ledger::refusal::Refusal;
use crate::ledger::rest::without;
use crate::ledger::state::Ledger;

impl Ledger {
    pub(super) fn handle_change(
        &mut self,
        asked: Asked<'_>,
        operation: OperationId,
        agent: AgentName,
        change: ResourceOperation,
    ) {
        let key = OperationKey {
            origin: OperationOrigin::Operator(asked.principal.clone()),
            id: operation,
        };
        let step = Step::new(Operation {
            id: key.id.clone(),
            action: Action::Change(change.clone()),
        });
        match self.known_operation(&key, step.fingerprint) {
            Known::New => {}
            Known::Answered(outcome) => {
                self.answer_operator(asked.session, asked.call, for_operator(outcome));
                return;
            }
            Known::Waiting(number) => {
                if let Some(errand) = self.errands.by_number.get_mut(&number) {
                    errand.waiters.push((asked.session, asked.call));
                }
                return;
            }
            Known::Reused => {
                self.refuse_change(asked, &agent, &change, reused(&key));
                return;
            }
        }
        match self.begin_change(asked, &key, &agent, &change, step) {
            Ok(errand) => {
                let agent = errand.agent;
                self.run(errand);
                self.send_first(agent);
            }
            Err(failure) => self.refuse_change(asked, &agent, &change, failure),
        }
    }

    /// Writes down that a change was refused, and answers that.
    fn refuse_change(
        &mut self,
        asked: Asked<'_>,
        agent: &AgentName,
        change: &ResourceOperation,
        failure: Failure,
    ) {
        let what = format!("{} {} on agent {agent}", change.kind(), change.resources());
        let who = Actor::Operator(asked.principal.clone());
        self.audit(who, what, Some(&failure));
        let answer = OperatorAnswer::Failed(failure);
        self.answer_operator(asked.session, asked.call, answer);
    }

    /// Takes what a change needs, and returns what is to be done with it.
    fn begin_change(
        &mut self,
        asked: Asked<'_>,
        key: &OperationKey,
        agent: &AgentName,
        change: &ResourceOperation,
        step: Step,
    ) -> Result<Errand, Failure> {
        change
            .check()
            .map_err(|error| ChangeError::Invalid(error).failure())?;
        self.judge_change(&key.origin, change)
            .map_err(|error| error.failure())?;
        let known = self.agents.named(agent);
        let known = known.ok_or_else(|| unknown_agent(agent))?;
        if known.session().is_none() {
            return Err(Failure::new(
                ErrorCode::AgentDisconnected,
                format_args!("agent {agent} is not connected"),
                "wait until it is back",
            ));
        }
        let id = known.id;
        let rescinded = self.plan_taking(known, change);
        let rescinded = rescinded.map_err(|error| error.failure())?;
        for offer in rescinded {
            self.rescind(offer, RescindReason::Operator);
        }
        Ok(Errand {
            number: ErrandNumber(self.next_number()),
            turn: 0,
            origin: key.origin.clone(),
            agent: id,
            pool: change.consumed(),
            steps: [step].into(),
            filters: Filters::default(),
            stage: Stage::Fresh,
            waiters: vec![(asked.session, asked.call)],
        })
    }

    /// Returns the offers to be rescinded for what a change needs, if that is enough.
    fn plan_taking(
        &self,
        agent: &Agent,
        change: &ResourceOperation,
    ) -> Result<Vec<OfferId>, ChangeError> {
        let explain = |error| self.explain(agent, change, error);
        agent.total.apply(change).map_err(explain)?;
        let needed = change.consumed();
        let free = self.free(agent);
        let mut offers: Vec<_> = agent
            .offers
            .iter()
            .filter_map(|id| self.offers.get(id))
            .collect();
        offers.sort_by_key(|held| std::cmp::Reverse(held.number));
        let mut missing = without(&needed, &free);
        let mut taken: Vec<OfferId> = Vec::new();
        let mut available = free;
        for held in offers {
            if missing.is_empty() {
                break;
            }
            let rest = without(&missing, &held.offer.resources);
            if rest != missing {
                available = together(&available, &held.offer.resources);
                taken.push(held.offer.id);
                missing = rest;
            }
        }
        available.apply(change).map_err(explain)?;
        Ok(taken)
    }
}

/// Returns parts of what one agent has together.
fn together(one: &Resources, other: &Resources) -> Resources {
    one.checked_add(other)
        .expect("what is free and what is offered can be together")
}

/// Returns what whoever names an agent is told that is not there.
pub(super) fn unknown_agent(agent: &AgentName) -> Failure {
    Failure::new(
        ErrorCode::AgentUnknown,
        format_args!("there is no agent {agent}"),
        "`weir agents` lists those that there are",
    )
}
