//! What operators ask: one answer to each call.
//!
//! Whatever changes something is written down with who has asked for it, also if it was refused.
//!
//! - [`list`], [`holdings`]: what there is, page by page.
//! - [`change`]: RESERVE, UNRESERVE, CREATE_VOLUMES and DESTROY_VOLUMES.
//! - [`control`]: weights, draining, removing, killing, tearing down.

mod change;
mod control;
mod holdings;
mod list;
mod place;

use weir_protocol::operator::OperatorAnswer;
use weir_protocol::{CallId, Failure, Numbered, OperatorCall};
use weir_resources::Principal;

use super::input::SessionId;
use super::state::Ledger;

/// A call of an operator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) session: SessionId,
    pub(super) call: CallId,
    pub(super) principal: &'a Principal,
}

impl Ledger {
    /// Does what an operator asks, and answers.
    pub(super) fn operate(
        &mut self,
        session: SessionId,
        principal: &Principal,
        call: Numbered<OperatorCall>,
    ) {
        let Numbered { id, call } = call;
        let asked = Asked {
            session,
            call: id,
            principal,
        };
        let answer = match call {
            OperatorCall::Change {
                operation,
                agent,
                change,
            } => {
                // It is answered when the agent has answered.
                self.handle_change(asked, operation, agent, change);
                return;
            }
            OperatorCall::SetWeight { role, weight } => self.set_weight(asked, role, weight),
            OperatorCall::DrainAgent { agent, grace_max } => {
                self.drain_agent(asked, &agent, grace_max)
            }
            OperatorCall::RemoveAgent { agent } => self.remove_named_agent(asked, &agent),
            OperatorCall::KillTask { task, grace } => self.kill_task(asked, task, grace),
            OperatorCall::TeardownFramework { framework } => {
                self.tear_down_framework(asked, framework)
            }
            list @ (OperatorCall::ListAgents(_)
            | OperatorCall::ListOffers(_)
            | OperatorCall::ListRoles(_)
            | OperatorCall::ListFrameworks(_)
            | OperatorCall::ListTasks { .. }
            | OperatorCall::ListReservations { .. }
            | OperatorCall::ListVolumes { .. }) => self.list(asked, list),
        };
        let answer = answer.unwrap_or_else(OperatorAnswer::Failed);
        self.answer_operator(session, id, answer);
    }
}

/// What a call of an operator leads to.
pub(super) type Answer = Result<OperatorAnswer, Failure>;
