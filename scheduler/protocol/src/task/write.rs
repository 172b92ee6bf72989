//! To the wire.

use weir_resources::BitRate;

use super::command::{Command, Run};
use super::spec::{Ceilings, TaskSpec};
use super::state::Reason;
use super::status::{Exit, TaskStatus};
use crate::invalid::Enumeration;
use crate::resource;
use crate::wire;

impl From<TaskSpec> for wire::TaskSpec {
    fn from(task: TaskSpec) -> Self {
        let TaskSpec {
            id,
            name,
            command,
            resources,
            network,
            kill_grace,
            labels,
            ceilings,
        } = task;
        Self {
            task_id: id.into(),
            name: name.into(),
            command: Some(command.into()),
            resources: resource::resource_list(&resources),
            network: network.number(),
            kill_grace_ms: Some(kill_grace.0),
            labels: resource::label_list(&labels),
            ceilings: (ceilings != Ceilings::default()).then(|| ceilings.into()),
        }
    }
}

impl From<Ceilings> for wire::Ceilings {
    fn from(Ceilings { egress, ingress }: Ceilings) -> Self {
        Self {
            egress_kbit: egress.map(BitRate::kilobits),
            ingress_kbit: ingress.map(BitRate::kilobits),
        }
    }
}

impl From<Command> for wire::Command {
    fn from(command: Command) -> Self {
        let Command {
            run,
            environment,
            user,
            working_directory,
        } = command;
        let variable = |(name, value)| wire::EnvironmentVariable { name, value };
        Self {
            command: Some(match run {
                Run::Argv(argv) => wire::command::Command::Argv(wire::Argv {
                    words: argv.into_words(),
                }),
                Run::Shell(script) => wire::command::Command::Shell(script.as_str().to_owned()),
            }),
            environment: environment
                .into_variables()
                .into_iter()
                .map(variable)
                .collect(),
            user: user.map(String::from),
            working_directory: working_directory.map(|path| path.as_str().to_owned()),
        }
    }
}

impl From<TaskStatus> for wire::TaskStatus {
    fn from(status: TaskStatus) -> Self {
        let TaskStatus {
            task,
            state,
            agent,
            source,
            reason,
            message,
            timestamp,
            update,
            exit,
        } = status;
        Self {
            task_id: task.into(),
            state: state.number(),
            agent_id: agent.map(String::from),
            source: source.number(),
            reason: reason.map_or(0, Reason::number),
            message: message.map(String::from),
            timestamp_ms: timestamp.0,
            update_id: update.map(String::from),
            exit: exit.map(wire::Exit::from),
        }
    }
}

impl From<Exit> for wire::Exit {
    fn from(exit: Exit) -> Self {
        Self {
            exit: Some(match exit {
                Exit::Code(code) => wire::exit::Exit::Code(code.into()),
                Exit::Signal(signal) => wire::exit::Exit::Signal(signal.into()),
            }),
        }
    }
}
