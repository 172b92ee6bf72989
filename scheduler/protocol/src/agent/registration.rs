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
use crate::bounds::{LIST_BYTES_MAX, REGISTRATION_BYTES_MAX, TASKS_PER_CALL_MAX};
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
    let mut calls = vec![AgentCall::Register(Box::new(registration))];
    let portions = pack(tasks, TASKS_PER_CALL_MAX, LIST_BYTES_MAX, size);
    calls.extend(portions.into_iter().map(AgentCall::Tasks));
    calls
}

/// Returns how many bytes a task is on the wire.
fn size(task: &AgentTask) -> usize {
    wire::AgentTask::from(task.clone()).encoded_len()
}

/// Puts a registration together from the calls of one connection.
#[derive(Debug, Default)]
pub struct RegistrationReader {
    begun: Option<Begun>,
}

/// A registration that is not complete.
#[derive(Debug)]
struct Begun {
    registration: Box<Registration>,
    /// What is there of it.
    tasks: Vec<AgentTask>,
    /// How long that is on the wire.
    bytes: usize,
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
    /// More than is kept for one agent.
    #[error(
        "the first {named} of {announced} tasks are {bytes} bytes; at most {REGISTRATION_BYTES_MAX} are taken"
    )]
    TooLong {
        /// How many tasks there are.
        named: usize,
        /// How many there should be.
        announced: u32,
        /// How long they are.
        bytes: usize,
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
            AgentCall::Register(registration) => self.proceed(Begun {
                registration,
                tasks: Vec::new(),
                bytes: 0,
            }),
            AgentCall::Tasks(tasks) => {
                let Some(mut begun) = begun else {
                    return Err(RegistrationError::NotBegun { count: tasks.len() });
                };
                // What came in one call alone was bounded by its frame.
                if !begun.tasks.is_empty() {
                    begun.bytes += tasks.iter().map(size).sum::<usize>();
                }
                begun.tasks.extend(tasks);
                self.proceed(begun)
            }
            other @ (AgentCall::StatusUpdate { .. }
            | AgentCall::OperationStatus { .. }
            | AgentCall::Estimate(_)
            | AgentCall::PortBlocks(_)
            | AgentCall::Unregister) => match begun {
                None => Ok(RegistrationStep::Other(other)),
                Some(begun) => Err(RegistrationError::Interrupted {
                    call: other.name(),
                    named: begun.tasks.len(),
                    announced: begun.registration.tasks_total,
                }),
            },
        }
    }

    fn proceed(&mut self, begun: Begun) -> Result<RegistrationStep, RegistrationError> {
        let announced = begun.registration.tasks_total;
        let named = begun.tasks.len();
        let total = usize::try_from(announced).unwrap_or(usize::MAX);
        if named > total {
            return Err(RegistrationError::TooMany { named, announced });
        }
        if begun.bytes > REGISTRATION_BYTES_MAX {
            return Err(RegistrationError::TooLong {
                named,
                announced,
                bytes: begun.bytes,
            });
        }
        if named < total {
            self.begun = Some(begun);
            return Ok(RegistrationStep::More);
        }
        let mut keys = BTreeSet::new();
        for task in &begun.tasks {
            let task = task.key();
            if keys.contains(&task) {
                return Err(RegistrationError::Twice { task });
            }
            keys.insert(task);
        }
        Ok(RegistrationStep::Complete(begun.registration, begun.tasks))
    }
}
