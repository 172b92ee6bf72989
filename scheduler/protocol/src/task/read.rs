//! From the wire.

use prost::Message;
use weir_resources::BitRate;

use super::command::{Argv, Command, Environment, Run, Shell, WorkingDirectory};
use super::spec::{Ceilings, KILL_GRACE_DEFAULT, NetworkMode, TaskSpec};
use super::state::{Reason, Source, TaskState};
use super::status::{Exit, TaskStatus};
use crate::bounds::{DURATION_MS_MAX, TASK_BYTES_MAX, UNIX_MS_MAX};
use crate::id::TaskId;
use crate::invalid::{At, Enumeration, Invalid, Problem, enumeration, optional, required, within};
use crate::resource;
use crate::text::{Line, Note};
use crate::time::{Millis, UnixMs};
use crate::wire;

enumeration! {
    NetworkMode, NetworkMode, Unspecified { Isolated = Isolated, Host = Host }
}

enumeration! {
    TaskState, TaskState, Unspecified {
        Staging = TaskStaging,
        Starting = TaskStarting,
        Running = TaskRunning,
        Killing = TaskKilling,
        Finished = TaskFinished,
        Failed = TaskFailed,
        Killed = TaskKilled,
        Lost = TaskLost,
        Error = TaskError,
    }
}

enumeration! {
    Source, TaskSource, Unspecified {
        Scheduler = Scheduler,
        Agent = Agent,
        Executor = Executor,
    }
}

enumeration! {
    Reason, Reason, Unspecified {
        CommandFailed = CommandFailed,
        CommandExecutorFailed = CommandExecutorFailed,
        ContainerLaunchFailed = ContainerLaunchFailed,
        ContainerLimitation = ContainerLimitation,
        ContainerLimitationDisk = ContainerLimitationDisk,
        ContainerLimitationMemory = ContainerLimitationMemory,
        ContainerPreempted = ContainerPreempted,
        Revoked = Revoked,
        ExecutorTerminated = ExecutorTerminated,
        FrameworkRemoved = FrameworkRemoved,
        InvalidFrameworkId = InvalidFrameworkid,
        InvalidOffers = InvalidOffers,
        Reconciliation = Reconciliation,
        ResourcesUnknown = ResourcesUnknown,
        AgentDisconnected = AgentDisconnected,
        AgentRemoved = AgentRemoved,
        AgentRemovedByOperator = AgentRemovedByOperator,
        AgentRestarted = AgentRestarted,
        AgentUnknown = AgentUnknown,
        AgentDraining = AgentDraining,
        TaskInvalid = TaskInvalid,
        TaskUnauthorized = TaskUnauthorized,
        TaskUnknown = TaskUnknown,
        TaskKilledDuringLaunch = TaskKilledDuringLaunch,
        KilledByOperator = KilledByOperator,
    }
}

/// Returns a duration that may be zero.
pub(crate) fn duration(millis: u64) -> Result<Millis, Problem> {
    within(millis, 0, DURATION_MS_MAX).map(Millis)
}

/// Returns a point in time.
pub(crate) fn timestamp(millis: u64) -> Result<UnixMs, Problem> {
    within(millis, 0, UNIX_MS_MAX).map(UnixMs)
}

impl TryFrom<wire::TaskSpec> for TaskSpec {
    type Error = Invalid;

    fn try_from(wire: wire::TaskSpec) -> Result<Self, Invalid> {
        let bytes = wire.encoded_len();
        if bytes > TASK_BYTES_MAX {
            return Err(Invalid::from(Problem::TooLong {
                bytes,
                max: TASK_BYTES_MAX,
            }));
        }
        let wire::TaskSpec {
            task_id,
            name,
            command,
            resources,
            network,
            kill_grace_ms,
            labels,
            ceilings,
        } = wire;
        let id = TaskId::new(task_id).at("task_id")?;
        let command = required(command).at("command")?;
        let resources = resource::resources(resources).at("resources")?;
        if resources.is_empty() {
            return Err(Problem::Empty).at("resources");
        }
        Ok(Self {
            id,
            name: Line::new(name).at("name")?,
            command: Command::try_from(command).at("command")?,
            resources,
            network: NetworkMode::from_number(network).at("network")?,
            kill_grace: optional(kill_grace_ms, duration)
                .at("kill_grace_ms")?
                .unwrap_or(KILL_GRACE_DEFAULT),
            labels: resource::labels(labels).at("labels")?,
            ceilings: Ceilings::try_from(ceilings.unwrap_or_default()).at("ceilings")?,
        })
    }
}

impl TryFrom<wire::Ceilings> for Ceilings {
    type Error = Invalid;

    fn try_from(wire: wire::Ceilings) -> Result<Self, Invalid> {
        let wire::Ceilings {
            egress_kbit,
            ingress_kbit,
        } = wire;
        Ok(Self {
            egress: optional(egress_kbit, rate).at("egress_kbit")?,
            ingress: optional(ingress_kbit, rate).at("ingress_kbit")?,
        })
    }
}

fn rate(kilobits: u64) -> Result<BitRate, Problem> {
    let kilobits = within(kilobits, 1, BitRate::MAX.kilobits())?;
    Ok(BitRate::from_kilobits(kilobits).expect("within what rates are"))
}

impl TryFrom<wire::Command> for Command {
    type Error = Invalid;

    fn try_from(wire: wire::Command) -> Result<Self, Invalid> {
        let wire::Command {
            command,
            environment,
            user,
            working_directory,
        } = wire;
        let run = match required(command).at("command")? {
            wire::command::Command::Argv(argv) => {
                Run::Argv(Argv::new(argv.words).at("words").at("argv")?)
            }
            wire::command::Command::Shell(script) => Run::Shell(Shell::new(script).at("shell")?),
        };
        let variables = environment
            .into_iter()
            .map(|variable| (variable.name, variable.value));
        Ok(Self {
            run,
            environment: Environment::new(variables.collect()).at("environment")?,
            user: optional(user, Line::new).at("user")?,
            working_directory: optional(working_directory, WorkingDirectory::new)
                .at("working_directory")?,
        })
    }
}

impl TryFrom<wire::TaskStatus> for TaskStatus {
    type Error = Invalid;

    fn try_from(wire: wire::TaskStatus) -> Result<Self, Invalid> {
        let wire::TaskStatus {
            task_id,
            state,
            agent_id,
            source,
            reason,
            message,
            timestamp_ms,
            update_id,
            exit,
        } = wire;
        Ok(Self {
            task: TaskId::new(task_id).at("task_id")?,
            state: TaskState::from_number(state).at("state")?,
            agent: optional(agent_id, |id| id.parse()).at("agent_id")?,
            source: Source::from_number(source).at("source")?,
            reason: Reason::from_number_or_none(reason).at("reason")?,
            message: optional(message, Note::new).at("message")?,
            timestamp: timestamp(timestamp_ms).at("timestamp_ms")?,
            update: optional(update_id, |id| id.parse()).at("update_id")?,
            exit: optional(exit, Exit::try_from).at("exit")?,
        })
    }
}

impl TryFrom<wire::Exit> for Exit {
    type Error = Invalid;

    fn try_from(wire: wire::Exit) -> Result<Self, Invalid> {
        match required(wire.exit).at("exit")? {
            wire::exit::Exit::Code(code) => Ok(Self::Code(byte(code, 0, 255).at("code")?)),
            // Signals of Linux, real-time ones included, are below 65; waitpid(2) has seven bits.
            wire::exit::Exit::Signal(signal) => {
                Ok(Self::Signal(byte(signal, 1, 127).at("signal")?))
            }
        }
    }
}

fn byte(number: u32, min: u8, max: u8) -> Result<u8, Problem> {
    let refusal = Problem::OutOfRange {
        value: number.into(),
        min: min.into(),
        max: max.into(),
    };
    match u8::try_from(number) {
        Ok(byte) if (min..=max).contains(&byte) => Ok(byte),
        Ok(_) | Err(_) => Err(refusal),
    }
}
