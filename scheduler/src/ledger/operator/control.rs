//! Weights; draining and removing agents; killing tasks and tearing down frameworks.

use std::fmt;

use weir_protocol::operator::{OperatorAnswer, Weight as Wanted};
use weir_protocol::{
    AgentEvent, AgentName, ErrorCode, Failure, FrameworkId, Millis, Note, Reason, RescindReason,
    TaskKey,
};
use weir_resources::Role;

use super::change::unknown_agent;
use super::{Answer, Asked};
use crate::allocator::{AgentStanding, Weight};
use crate::ledger::leave::End;
use crate::ledger::policy::{Act, Caller};
use crate::ledger::record::{Actor, KillOrder, Row, Standing};
use crate::ledger::refusal::Refusal;
use crate::ledger::removal::Removal;
use crate::ledger::state::Ledger;

impl Ledger {
    /// Returns nothing if the rules let an operator do something; if not, it is written down, with what
    /// it would have been done to.
    pub(super) fn allow(
        &mut self,
        asked: Asked<'_>,
        act: Act<'_>,
        what: impl fmt::Display,
    ) -> Result<(), Failure> {
        let judged = self.judge(Caller::Operator(asked.principal), act);
        judged.map_err(|error| self.refused(asked, what, error.failure()))
    }

    /// Writes down that nothing was done, and why.
    fn refused(&mut self, asked: Asked<'_>, what: impl fmt::Display, why: Failure) -> Failure {
        self.audit(Actor::Operator(asked.principal.clone()), what, Some(&why));
        why
    }

    fn audit_done(&mut self, asked: Asked<'_>, what: impl fmt::Display) {
        self.audit(Actor::Operator(asked.principal.clone()), what, None);
    }

    pub(super) fn set_weight(&mut self, asked: Asked<'_>, role: Role, weight: Wanted) -> Answer {
        let what = format_args!("set the weight of role `{role}` to {weight}");
        self.allow(asked, Act::SetWeight(&role), what)?;
        let weight = Weight::try_from(weight.amount())
            .map_err(|error| Failure::new(ErrorCode::InvalidMessage, error, error.remedy()))?;
        self.allocator.set_weight(&role, weight);
        self.weights.insert(role.clone(), weight);
        self.audit_done(
            asked,
            format_args!("set the weight of role `{role}` to {weight}"),
        );
        self.put(Row::Weight { role, weight });
        Ok(done())
    }

    /// Has an agent end its tasks and leave. Nothing more of it is offered.
    pub(super) fn drain_agent(
        &mut self,
        asked: Asked<'_>,
        name: &AgentName,
        grace_max: Option<Millis>,
    ) -> Answer {
        let what = format_args!("drain agent {name}");
        self.allow(asked, Act::Drain, what)?;
        let Some(id) = self.agents.named(name).map(|agent| agent.id) else {
            return Err(self.refused(asked, what, unknown_agent(name)));
        };
        self.allocator
            .set_agent_standing(id, AgentStanding::Inactive)
            .expect("the allocator has the agents of the ledger");
        self.rescind_agent(id, RescindReason::AgentDraining);
        let mut notes = Vec::new();
        if let Some(agent) = self.agents.by_id.get_mut(&id) {
            agent.standing = Standing::Draining { grace_max };
            if agent.session().is_none() {
                notes.push(Note::cut(format_args!(
                    "agent {name} is not connected: it is told when it is back"
                )));
            }
            let row = Row::Agent(agent.row());
            self.put(row);
        }
        self.audit_done(asked, format_args!("drain agent {name} ({id})"));
        self.tell_agent(id, AgentEvent::Drain { grace_max });
        Ok(OperatorAnswer::Done { notes })
    }

    pub(super) fn remove_named_agent(&mut self, asked: Asked<'_>, name: &AgentName) -> Answer {
        let what = format_args!("remove agent {name}");
        self.allow(asked, Act::Remove, what)?;
        let Some(id) = self.agents.named(name).map(|agent| agent.id) else {
            return Err(self.refused(asked, what, unknown_agent(name)));
        };
        let why = Note::cut(format_args!("operator {} removed it", asked.principal));
        self.remove_agent(id, why, Removal::ByOperator(asked.principal.clone()));
        Ok(done())
    }

    pub(super) fn kill_task(
        &mut self,
        asked: Asked<'_>,
        key: TaskKey,
        grace: Option<Millis>,
    ) -> Answer {
        let unknown = || {
            Failure::new(
                ErrorCode::TaskUnknown,
                format_args!("there is no task {key} that has not ended"),
                "`weir tasks` lists those that there are",
            )
        };
        let what = format_args!("kill task {key}");
        let framework = self.frameworks.by_id.get(&key.framework);
        let Some(role) = framework.map(|framework| framework.info.role.clone()) else {
            return Err(self.refused(asked, what, unknown()));
        };
        self.allow(asked, Act::Kill(&role), what)?;
        let order = KillOrder {
            grace,
            reason: Some(Reason::KilledByOperator),
        };
        if !self.kill(&key, order) {
            return Err(self.refused(asked, what, unknown()));
        }
        self.audit_done(asked, what);
        let agent = self.tasks.get(&key).map(|task| task.agent);
        let agent = agent.and_then(|agent| self.agents.by_id.get(&agent));
        let mut notes = Vec::new();
        if let Some(agent) = agent
            && agent.session().is_none()
        {
            notes.push(Note::cut(format_args!(
                "agent {} is not connected: it is told when it is back",
                agent.info.name
            )));
        }
        Ok(OperatorAnswer::Done { notes })
    }

    pub(super) fn tear_down_framework(&mut self, asked: Asked<'_>, id: FrameworkId) -> Answer {
        let what = format_args!("end framework {id}");
        let Some(framework) = self.frameworks.by_id.get(&id) else {
            let why = match self.frameworks.ended.get(&id) {
                Some(ended) => Failure::new(
                    ErrorCode::FrameworkRemoved,
                    format_args!("framework {id} has ended: {}", ended.why),
                    "there is nothing to do",
                ),
                None => unknown_framework(id),
            };
            return Err(self.refused(asked, what, why));
        };
        let role = framework.info.role.clone();
        self.allow(asked, Act::Teardown(&role), what)?;
        let who = Actor::Operator(asked.principal.clone());
        self.end_framework(id, End::TornDownBy, who);
        Ok(done())
    }
}

/// Returns what whoever names a framework is told that is not there.
pub(super) fn unknown_framework(id: FrameworkId) -> Failure {
    Failure::new(
        ErrorCode::FrameworkUnknown,
        format_args!("there is no framework {id}"),
        "`weir frameworks` lists those that there are",
    )
}

fn done() -> OperatorAnswer {
    OperatorAnswer::Done { notes: Vec::new() }
}
