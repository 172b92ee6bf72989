//! A registration is as long as an agent has tasks, so it comes in several calls.
//!
//! 1. REGISTER says how many tasks there are.
//! 2. TASKS, as often as it takes, name them; no other call may stand between.
//! 3. With the last task the registration is complete, and is answered.
//!
//! [`registration_calls`] is the agent's side, [`RegistrationReader`] the scheduler's.

use std::collections::BTreeSet;

use prost::Message;

use super::call::{AgentCall, Registration};
use super::task::AgentTask;
use crate::bounds::{LIST_BYTES_MAX, TASKS_PER_CALL_MAX};
use crate::failure::{ErrorCode, Failure};
use crate::id::TaskKey;
use crate::pack::pack;
use crate::wire;

/// Returns the calls that register an agent with its tasks; `tasks_total` is set to their number.
pub fn registration_calls(registration: Registration, tasks: Vec<AgentTask>) -> Vec<AgentCall> {
    let registration = Registration {
        tasks_total: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        ..registration
    };
    let bytes = |task: &AgentTask| wire::AgentTask::from(task.clone()).encoded_len();
    let mut calls = vec![AgentCall::Register(Box::new(registration))];
    let portions = pack(tasks, TASKS_PER_CALL_MAX, LIST_BYTES_MAX, bytes);
    calls.extend(portions.into_iter().map(AgentCall::Tasks));
    calls
}

/// Puts a registration together from the calls of one connection.
#[derive(Debug, Default)]
pub struct RegistrationReader {
    /// The registration that is not complete, and what is there of it.
    begun: Option<(Box<Registration>, Vec<AgentTask>)>,
}

/// What a call is to a registration.
#[derive(Debug, PartialEq, Eq)]
pub enum RegistrationStep {
    /// It is one of several; more must come.
    More,
    /// The agent is registered with all its tasks.
    Complete(Box<Registration>, Vec<AgentTask>),
    /// It is another call.
    Other(AgentCall),
}

/// Says why calls make no registration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Tasks that no registration announced.
    #[error("TASKS names {count} tasks, and no REGISTER before it announced any")]
    NotBegun {
        /// How many.
        count: usize,
    },
    /// More tasks than were announced.
    #[error("TASKS names {named} tasks in all, and REGISTER announced {announced}")]
    TooMany {
        /// How many there are.
        named: usize,
        /// How many there should be.
        announced: u32,
    },
    /// Something else between the tasks.
    #[error("{call} comes after {named} of {announced} tasks of a registration")]
    Interrupted {
        /// The call.
        call: &'static str,
        /// How many there are.
        named: usize,
        /// How many there should be.
        announced: u32,
    },
    /// One task twice.
    #[error("task {task} is named twice")]
    Twice {
        /// The task.
        task: TaskKey,
    },
}

impl RegistrationError {
    /// Returns the failure to answer with.
    pub fn failure(&self) -> Failure {
        Failure::new(
            ErrorCode::InvalidMessage,
            self,
            "send REGISTER, then its tasks, each once, then other calls",
        )
    }
}

impl RegistrationReader {
    /// Takes the next call of the agent.
    ///
    /// A REGISTER begins anew, whatever came before. After an error nothing is begun.
    pub fn handle_call(&mut self, call: AgentCall) -> Result<RegistrationStep, RegistrationError> {
        let begun = self.begun.take();
        match call {
            AgentCall::Register(registration) => self.proceed(registration, Vec::new()),
            AgentCall::Tasks(tasks) => {
                let Some((registration, mut named)) = begun else {
                    return Err(RegistrationError::NotBegun { count: tasks.len() });
                };
                named.extend(tasks);
                self.proceed(registration, named)
            }
            other @ (AgentCall::StatusUpdate { .. }
            | AgentCall::OperationStatus { .. }
            | AgentCall::Estimate(_)
            | AgentCall::PortBlocks(_)
            | AgentCall::Unregister) => match begun {
                None => Ok(RegistrationStep::Other(other)),
                Some((registration, named)) => Err(RegistrationError::Interrupted {
                    call: other.name(),
                    named: named.len(),
                    announced: registration.tasks_total,
                }),
            },
        }
    }

    fn proceed(
        &mut self,
        registration: Box<Registration>,
        tasks: Vec<AgentTask>,
    ) -> Result<RegistrationStep, RegistrationError> {
        let announced = registration.tasks_total;
        let total = usize::try_from(announced).unwrap_or(usize::MAX);
        if tasks.len() > total {
            return Err(RegistrationError::TooMany {
                named: tasks.len(),
                announced,
            });
        }
        if tasks.len() < total {
            self.begun = Some((registration, tasks));
            return Ok(RegistrationStep::More);
        }
        let mut keys = BTreeSet::new();
        for task in &tasks {
            let task = task.key();
            if keys.contains(&task) {
                return Err(RegistrationError::Twice { task });
            }
            keys.insert(task);
        }
        Ok(RegistrationStep::Complete(registration, tasks))
    }
}
