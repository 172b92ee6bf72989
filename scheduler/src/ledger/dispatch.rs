//! What peers say, sorted by what is to be done about it.
//!
//! A call that cannot be meant for this conversation, or not yet, is refused by name; one of a session
//! that the ledger has closed is not listened to.

use weir_protocol::agent::RegistrationStep;
use weir_protocol::{
    AgentCall, AgentId, CallId, ErrorCode, Failure, FrameworkCall, FrameworkId, Numbered,
    OperatorCall,
};

use super::framework::Framework;
use super::input::SessionId;
use super::session::Conversation;
use super::state::Ledger;

impl Ledger {
    /// Writes down that a session is gone.
    pub(super) fn handle_closed(&mut self, session: SessionId) {
        let Some(gone) = self.sessions.remove(&session) else {
            return;
        };
        match gone.conversation {
            Conversation::Agent { name, .. } => self.disconnect_agent_in(session, &name),
            Conversation::Framework { subscribed, .. } => {
                let id = subscribed.filter(|id| {
                    let framework = self.frameworks.by_id.get(id);
                    framework.and_then(Framework::session) == Some(session)
                });
                if let Some(id) = id {
                    self.disconnect_framework(id);
                }
            }
            Conversation::Operator { .. } => {}
        }
    }

    /// Does what an agent says.
    pub(super) fn handle_agent_call(&mut self, session: SessionId, call: Numbered<AgentCall>) {
        let Some(own) = self.sessions.get_mut(&session) else {
            return;
        };
        let Conversation::Agent {
            name,
            reader,
            registered,
        } = &mut own.conversation
        else {
            self.close(session);
            return;
        };
        let (name, registered) = (name.clone(), *registered);
        let Numbered { id, call } = call;
        match reader.handle_call(call) {
            Ok(RegistrationStep::More) => {}
            Ok(RegistrationStep::Complete(registration, tasks)) => {
                self.handle_registration(session, &name, *registration, tasks);
            }
            Ok(RegistrationStep::Other(call)) => match registered {
                Some(agent) => self.handle_registered_call(session, agent, id, call),
                None => {
                    let failure = Failure::new(
                        ErrorCode::NotSubscribed,
                        format_args!("{} before REGISTER was answered", call.name()),
                        "register first, and name all tasks",
                    );
                    self.refuse_agent(session, id, failure);
                }
            },
            Err(error) => self.refuse_agent(session, id, error.failure()),
        }
    }

    /// Does what an agent says that is registered.
    fn handle_registered_call(
        &mut self,
        session: SessionId,
        agent: AgentId,
        id: CallId,
        call: AgentCall,
    ) {
        match call {
            AgentCall::StatusUpdate {
                framework,
                status,
                latest,
            } => self.handle_update(agent, framework, status, latest),
            AgentCall::OperationStatus { operation, outcome } => {
                self.handle_applied(agent, &operation, outcome);
            }
            AgentCall::Estimate(estimate) => {
                if let Err(failure) = self.handle_estimate(agent, &estimate) {
                    self.refuse_agent(session, id, failure);
                }
            }
            AgentCall::PortBlocks(blocks) => {
                if let Err(failure) = self.handle_port_blocks(agent, blocks) {
                    self.refuse_agent(session, id, failure);
                }
            }
            AgentCall::Unregister => self.handle_unregister(agent),
            // They make registrations, and were read as such.
            AgentCall::Register(_) | AgentCall::Tasks(_) => {}
        }
    }

    /// Does what a framework asks.
    pub(super) fn handle_framework_call(
        &mut self,
        session: SessionId,
        call: Numbered<FrameworkCall>,
    ) {
        let Some(conversation) = self.sessions.get(&session).map(|own| &own.conversation) else {
            return;
        };
        let Conversation::Framework { subscribed, .. } = conversation else {
            self.close(session);
            return;
        };
        let subscribed = *subscribed;
        let Numbered { id, call } = call;
        match call {
            FrameworkCall::Subscribe {
                framework,
                id: given,
                force,
            } => self.handle_subscribe(session, id, framework, given, force),
            other @ (FrameworkCall::Accept { .. }
            | FrameworkCall::Decline { .. }
            | FrameworkCall::Revive
            | FrameworkCall::Suppress
            | FrameworkCall::Kill { .. }
            | FrameworkCall::Acknowledge { .. }
            | FrameworkCall::Reconcile { .. }
            | FrameworkCall::Teardown) => match subscribed {
                Some(framework) => self.handle_subscribed_call(session, framework, id, other),
                None => {
                    let failure = Failure::new(
                        ErrorCode::NotSubscribed,
                        format_args!("{} before SUBSCRIBE", other.name()),
                        "subscribe first, with the framework's id if it has one",
                    );
                    self.refuse_framework(session, id, failure);
                }
            },
        }
    }

    /// Does what a framework asks that is subscribed.
    fn handle_subscribed_call(
        &mut self,
        session: SessionId,
        framework: FrameworkId,
        id: CallId,
        call: FrameworkCall,
    ) {
        match call {
            FrameworkCall::Accept {
                offers,
                operations,
                filters,
            } => self.handle_accept(session, id, framework, &offers, operations, filters),
            FrameworkCall::Decline { offers, filters } => {
                self.handle_decline(session, id, framework, &offers, filters);
            }
            FrameworkCall::Revive => self.handle_revive(framework),
            FrameworkCall::Suppress => self.handle_suppress(framework),
            FrameworkCall::Kill { task, agent, grace } => {
                self.handle_kill(framework, task, agent, grace);
            }
            FrameworkCall::Acknowledge {
                agent,
                task,
                update,
            } => self.handle_acknowledge(framework, agent, task, update),
            FrameworkCall::Reconcile { tasks, operations } => {
                self.handle_reconcile(framework, &tasks, &operations);
            }
            FrameworkCall::Teardown => self.handle_teardown(framework),
            // It is for frameworks that are not subscribed as well.
            FrameworkCall::Subscribe { .. } => {}
        }
    }

    /// Does what an operator asks.
    pub(super) fn handle_operator_call(
        &mut self,
        session: SessionId,
        call: Numbered<OperatorCall>,
    ) {
        let Some(conversation) = self.sessions.get(&session).map(|own| &own.conversation) else {
            return;
        };
        let Conversation::Operator { principal } = conversation else {
            self.close(session);
            return;
        };
        let principal = principal.clone();
        self.operate(session, &principal, call);
    }
}
