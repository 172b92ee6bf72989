//! Why a request about a container was not met.
//!
//! A [`Refusal`] is about the request: nothing was done, and the same request in other circumstances
//! or other words may be met. A failure is about the node: something was tried and undone.

use std::io;
use std::path::PathBuf;

use weir_executor::grace::GraceError;
use weir_executor::record::Outcome;
use weir_executor::spawn::{SpawnError, StartError};
use weir_resources::{Amount, BitRate};
use weir_sys::block::BlockError;
use weir_sys::cgroup::CgroupError;

use super::cgroups::Lacking;
use super::facilities::NetworkFault;
use super::id::ContainerName;
use super::limits::MemoryBytes;
use crate::ports;
use crate::store::StoreError;

/// Says why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing to run.
    #[error("there is no program to run")]
    NoProgram,
    /// A longer command than is taken.
    #[error("the command and its variables are {words} words, and at most {words_max} are taken")]
    TooManyWords {
        /// How many.
        words: usize,
        /// The most.
        words_max: usize,
    },
    /// A longer word than execve(2) takes.
    #[error("a word of the command is {bytes} bytes long, and the kernel takes {bytes_max}")]
    WordTooLong {
        /// How long.
        bytes: usize,
        /// The most.
        bytes_max: usize,
    },
    /// A word that execve(2) would cut.
    #[error("`{word}` holds a NUL, which no word of a command can")]
    NulInWord {
        /// The word.
        word: String,
    },
    /// A variable that cannot be.
    #[error("{name:?} cannot be the name of a variable")]
    VariableName {
        /// The name.
        name: String,
    },
    /// A directory that cannot be entered.
    #[error("{:?} is not an absolute path without ..", directory.display().to_string())]
    WorkingDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// A capability that the configuration does not allow.
    #[error("the capability {capability} is not allowed on this node: allowed are {}", allowed.join(", "))]
    CapabilityNotAllowed {
        /// What was asked for.
        capability: String,
        /// What may be asked for.
        allowed: Vec<String>,
    },
    /// A capability that reaches the node through the network that it shares.
    #[error("{capability} on the node's own network reaches every packet of the node")]
    CapabilityOnHostNetwork {
        /// What was asked for.
        capability: String,
    },
    /// Not the name of a capability.
    #[error("{name:?} is not a capability")]
    UnknownCapability {
        /// The name.
        name: String,
    },
    /// A user that a container cannot run as.
    #[error("no container can run as `{user}`: {reason}")]
    User {
        /// What was asked for.
        user: String,
        /// Why not.
        reason: String,
    },
    /// The name of a container that lives.
    #[error("the name {name} is taken by container {holder}, which has not ended")]
    NameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it.
        holder: String,
    },
    /// Every slot is taken.
    #[error("{live} containers live on this node, and {slots} is the most there can be")]
    NoSlot {
        /// How many there are.
        live: usize,
        /// How many there can be.
        slots: u32,
    },
    /// The ports cannot be had.
    #[error("{}", cause_of(.0))]
    Ports(ports::Refusal),
    /// A limit that the node cannot enforce.
    #[error("this node cannot enforce {option}: {lacking} ({reason})")]
    Unenforceable {
        /// The option that asks for it.
        option: &'static str,
        /// What is missing.
        lacking: Lacking,
        /// Why it is missing.
        reason: String,
    },
    /// A part of the memory that is more than all of it.
    #[error("{option} {amount} is more than --mem {memory}, so it would never count")]
    AboveMemory {
        /// The option that asks for it.
        option: &'static str,
        /// What it asks for.
        amount: String,
        /// All of the memory.
        memory: String,
    },
    /// Memory that a cgroup above the container is not left.
    #[error(
        "--mem-low would not hold: {} is left {low} bytes of memory when it gets short, and containers would be left {all} together",
        cgroup.display()
    )]
    LowAbove {
        /// The cgroup above.
        cgroup: PathBuf,
        /// What it is left.
        low: u64,
        /// What all containers would be left.
        all: u64,
    },
    /// What cgroups are left cannot be read.
    #[error("it is not known whether --mem-low would hold")]
    LowUnknown {
        /// Why not.
        source: CgroupError,
    },
    /// A disk that cannot be limited.
    #[error("--io-max cannot limit {device}")]
    Device {
        /// What was asked for.
        device: String,
        /// Why not.
        source: BlockError,
    },
    /// One disk with two limits.
    #[error("--io-max says twice what may be done with device {device}")]
    DeviceTwice {
        /// Its number.
        device: String,
    },
    /// More disks than are taken.
    #[error("--io-max is given for {devices} devices, and at most {devices_max} are taken")]
    TooManyDevices {
        /// How many.
        devices: usize,
        /// The most.
        devices_max: usize,
    },
    /// A minimum that is more than the most.
    #[error("--egress-min {min} is more than --egress-max {max}")]
    EgressMinimum {
        /// What it is to have at any time.
        min: BitRate,
        /// The most that it is to have.
        max: BitRate,
    },
    /// A rate on the node's own network.
    #[error("{option} holds a link of the container's own, and on the node's network it has none")]
    RateOnHostNetwork {
        /// The option that asks for it.
        option: &'static str,
    },
    /// A rate that whom it holds could lift.
    #[error(
        "{option} would not hold beside the capability NET_ADMIN, with which a container can change its link"
    )]
    RateBesideNetAdmin {
        /// The option that asks for it.
        option: &'static str,
    },
    /// A rate that the node cannot hold.
    #[error("this node cannot enforce {option}: {reason}")]
    RateUnenforceable {
        /// The option that asks for it.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// More minima than the wire carries.
    #[error(
        "--egress-min {wanted} cannot be promised: containers are promised {promised} Mbit/s of the {all} that there are for them"
    )]
    EgressPromised {
        /// What is asked for.
        wanted: BitRate,
        /// What others were promised, in Mbit/s.
        promised: Amount,
        /// What there is.
        all: BitRate,
    },
    /// A name that no container has.
    #[error("there is no container {name}")]
    NoSuchContainer {
        /// The name or id.
        name: String,
    },
    /// A container that has ended.
    #[error("container {name} {state}")]
    NotRunning {
        /// The name or id.
        name: String,
        /// What it does instead.
        state: &'static str,
    },
    /// A container whose ports or limits are being changed.
    #[error("container {name} is being changed already")]
    Updating {
        /// The name or id.
        name: String,
    },
    /// The limits of a task, which are not this node's to change.
    #[error(
        "container {name} is task {task} of framework {framework}, which was given what it may use"
    )]
    LimitsOfTask {
        /// The name or id.
        name: String,
        /// The task.
        task: String,
        /// Its framework.
        framework: String,
    },
    /// A container that holds more memory than it would be left.
    #[error(
        "container {name} holds {held} of memory, of which nothing more can be taken from it, and would be left {limit}"
    )]
    MemoryHeld {
        /// Its name.
        name: ContainerName,
        /// What it holds.
        held: MemoryBytes,
        /// What it would be left.
        limit: MemoryBytes,
    },
    /// The agent is about to stop.
    #[error("the agent is stopping")]
    Stopping,
}

impl Refusal {
    /// Returns what to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoProgram => "give the command after --".to_owned(),
            Self::TooManyWords { .. } | Self::WordTooLong { .. } => {
                "put the arguments into a file".to_owned()
            }
            Self::NulInWord { .. } => "leave it out".to_owned(),
            Self::VariableName { .. } => "write --env NAME=VALUE".to_owned(),
            Self::WorkingDirectory { .. } => {
                "begin the path with /; without --workdir it is the sandbox".to_owned()
            }
            Self::CapabilityNotAllowed { .. } => {
                "do without it, or add it to [container] capabilities_allowed".to_owned()
            }
            Self::CapabilityOnHostNetwork { .. } => {
                "use --network isolated, where it ends at the container's link".to_owned()
            }
            Self::UnknownCapability { .. } => {
                "use a name of capabilities(7), for example NET_BIND_SERVICE".to_owned()
            }
            Self::User { .. } => {
                "create the user, or name one that `getent passwd` prints".to_owned()
            }
            Self::NameTaken { name, .. } => {
                format!("choose another, or end it with `weir-agent kill {name}`")
            }
            Self::NoSlot { .. } => "end a container".to_owned(),
            Self::Ports(refusal) => remedy_of(refusal),
            Self::Unenforceable { lacking, .. } => lacking.remedy().to_owned(),
            Self::AboveMemory { .. } => "ask for less, or leave it out".to_owned(),
            Self::LowAbove { all, .. } => format!(
                "leave it out, or have `systemctl set-property` give MemoryLow={all} or more to the unit of that cgroup"
            ),
            Self::LowUnknown { .. } => {
                "`weir-agent doctor` checks the cgroups of this node".to_owned()
            }
            Self::Device { .. } => "name a whole disk, as `lsblk --nodeps` lists them".to_owned(),
            Self::DeviceTwice { .. } => "put all of its limits into one --io-max".to_owned(),
            Self::TooManyDevices { .. } => "name fewer".to_owned(),
            Self::EgressMinimum { .. } => "raise the one, or lower the other".to_owned(),
            Self::RateOnHostNetwork { .. } => {
                "use --network isolated, or leave it out".to_owned()
            }
            Self::RateBesideNetAdmin { .. } => "leave out one of them".to_owned(),
            Self::RateUnenforceable { .. } => {
                "leave it out, or see `weir-agent doctor`, or set [cgroup] allow_unenforced_limits to run without it".to_owned()
            }
            Self::EgressPromised { .. } => {
                "ask for less, or end a container; [bandwidth] says what the wire carries and what the node keeps".to_owned()
            }
            Self::NoSuchContainer { .. } => {
                "`weir-agent ps --all` lists those that there are".to_owned()
            }
            Self::NotRunning { .. } => "`weir-agent ps --all` says more".to_owned(),
            Self::Updating { .. } => "ask again in a moment".to_owned(),
            Self::LimitsOfTask { .. } => {
                "have the framework launch a task with other resources in its place".to_owned()
            }
            Self::MemoryHeld { .. } => {
                "leave it more, or repeat with --force, at which the kernel kills the container"
                    .to_owned()
            }
            Self::Stopping => "ask again when it has been started again".to_owned(),
        }
    }
}

/// The refusals of `ports` carry their remedy behind a semicolon.
fn cause_of(refusal: &ports::Refusal) -> String {
    let text = refusal.to_string();
    text.split_once("; ")
        .map_or_else(|| text.clone(), |(cause, _)| cause.to_owned())
}

fn remedy_of(refusal: &ports::Refusal) -> String {
    let text = refusal.to_string();
    text.split_once("; ")
        .map_or_else(String::new, |(_, remedy)| remedy.to_owned())
}

/// Says which step of a launch, an update or an end failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A directory or file.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done, as a verb.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkFault),
    /// The executor could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The executor could not make the container.
    #[error(transparent)]
    Start(#[from] StartError),
    /// How long it has to end could not be written down.
    #[error(transparent)]
    Grace(#[from] GraceError),
    /// A process could not be asked about or signalled.
    #[error("cannot {what} process {pid}")]
    Process {
        /// What was to be done, as a verb.
        what: &'static str,
        /// The process.
        pid: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl StepError {
    /// Returns what to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Store(_) => {
                "see the agent's log, and the space on the disk of its state directory".to_owned()
            }
            Self::File { .. } | Self::Grace(_) => {
                "see the space and the permissions there".to_owned()
            }
            Self::Cgroup(_) => "`weir-agent doctor` checks the cgroups of this node".to_owned(),
            Self::Network(fault) => fault.remedy.clone(),
            Self::Spawn(_) => "see [agent] executor in the configuration".to_owned(),
            Self::Start(StartError::Failed {
                outcome: Outcome::ExecFailed { .. },
            }) => "see whether the program is there, and may be executed by the container's user"
                .to_owned(),
            Self::Start(_) => "see executor.log in the container's directory".to_owned(),
            Self::Process { .. } => "see the agent's log".to_owned(),
        }
    }
}

/// Says why a request about a container was not met.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something was tried and undone.
    #[error(transparent)]
    Failed(#[from] StepError),
    /// The task that owns the containers is gone.
    #[error("the agent's container task is gone")]
    Gone,
}

impl ContainerError {
    /// Returns what to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.remedy(),
            Self::Failed(failure) => failure.remedy(),
            Self::Gone => "restart the agent: containers go on; its log says why".to_owned(),
        }
    }
}

/// Says why the agent could not take over what its predecessor left.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The state directory cannot be read or made.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done, as a verb.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parent cgroup cannot be read or made.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The network cannot be taken over.
    #[error("cannot take over the containers' network")]
    Network(#[source] NetworkFault),
    /// Two rows that the database should have refused.
    #[error("the database gives one port to two containers: {0}; move it away and start again")]
    Ports(#[source] ports::LedgerError),
}
