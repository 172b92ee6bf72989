//! An operator, who changes things now and then.

use std::collections::BTreeSet;

use weir_protocol::operator::{Answered, OperatorAnswer, Page, Weight};
use weir_protocol::{CallId, Millis, Numbered, OperatorCall, TaskKey};
use weir_resources::{Amount, ResourceOperation};
use weir_scheduler::ledger::SessionId;

use crate::checker::Checker;
use crate::make;
use crate::network::{End, Frame, Party};
use crate::world::{Event, World};

#[derive(Debug, Default)]
pub(crate) struct Operator {
    pub(crate) connection: Option<SessionId>,
    next_call: Option<CallId>,
    /// Calls of this connection that are not answered.
    pub(crate) waiting: BTreeSet<CallId>,
    operations: u64,
}

impl World {
    pub(crate) fn operator_acts(&mut self) {
        if !self.is_restless {
            return;
        }
        let delay = self.chance.millis(2_000, 9_000);
        self.after(delay, Event::OperatorActs);
        let Some(session) = self.operator.connection else {
            return;
        };
        let node = self.chance.below(self.nodes.len());
        let agent = self.nodes[node].agent_name();
        let framework = self.chance.below(self.frameworks.len());
        let role = format!("r{framework}");
        let call = match self.chance.below(20) {
            0..8 => {
                self.operator.operations += 1;
                let operation = format!("op-{}", self.operator.operations);
                let some = make::reserved("cpus:1;mem:64", &role, "ops");
                let change = if self.chance.percent(60) {
                    ResourceOperation::Reserve(some)
                } else {
                    ResourceOperation::Unreserve(some)
                };
                OperatorCall::Change {
                    operation: operation.parse().expect("an operation id"),
                    agent,
                    change,
                }
            }
            8..12 => {
                let amount = Amount::from_thousandths(1000 * (1 + self.chance.bits() % 3));
                OperatorCall::SetWeight {
                    role: make::role(&role),
                    weight: Weight::new(amount).unwrap_or(Weight::ONE),
                }
            }
            12..16 => {
                let own = &self.frameworks[framework];
                let task = self.chance.pick(own.alive());
                let (Some(framework), Some(task)) = (own.id, task) else {
                    return;
                };
                OperatorCall::KillTask {
                    task: TaskKey { framework, task },
                    grace: None,
                }
            }
            16..18 => OperatorCall::ListAgents(Page::default()),
            18 if self.plan.faults => OperatorCall::DrainAgent {
                agent,
                grace_max: Some(Millis(2_000)),
            },
            19 if self.plan.faults => OperatorCall::RemoveAgent { agent },
            _ => OperatorCall::ListOffers(Page::default()),
        };
        self.note(format_args!("the operator says {}", call.name()));
        let id = self.operator.next_call.unwrap_or(CallId::FIRST);
        self.operator.next_call = Some(id.next());
        self.operator.waiting.insert(id);
        let call = Numbered { id, call };
        self.send(session, End::Scheduler, Frame::Operator(call));
    }

    pub(crate) fn operator_hears(&mut self, answered: &Answered) {
        if let OperatorAnswer::Failed(failure) = &answered.answer {
            self.note(format_args!("the operator is refused: {}", failure.reason));
        }
        if !answered
            .call
            .is_some_and(|call| self.operator.waiting.remove(&call))
        {
            self.violate(Checker::Answers, "the operator hears an answer to nothing");
        }
    }

    pub(crate) fn operator_connected(&mut self, session: SessionId) {
        self.operator.connection = Some(session);
    }

    pub(crate) fn operator_disconnected(&mut self, session: SessionId) {
        if self.operator.connection == Some(session) {
            self.operator.connection = None;
            self.operator.waiting.clear();
            self.connect_later(Party::Operator);
        }
    }
}
