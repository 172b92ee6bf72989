//! `weir-executor`: the small process that parents one container and outlives the agent.
//!
//! Its life:
//!
//! 1. It takes the specification, the control socket and the network namespace that it was started with.
//! 2. It makes itself untouchable and catches the signals it is steered by.
//! 3. It begins the container ([`launch`]) and tells the agent when it stands.
//! 4. It looks after the container ([`supervise`]): output, names, signals, its end.
//! 5. It writes the exit record and exits. If it is killed instead, the kernel kills the container.
//!
//! There is one thread and one poll loop. What it has to say about itself goes to standard error, which the agent
//! has connected with a file in the container's directory.

#![forbid(unsafe_code)]

mod init;
mod launch;
mod output;
mod relay;
mod sandbox;
mod supervise;
mod task;
mod wire;

use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use weir_executor::control::{Control, ToAgent};
use weir_executor::record::{ExitRecord, Outcome, RecordError};
use weir_executor::spawn::{CONTROL_DESCRIPTOR, NETWORK_DESCRIPTOR, SPEC_DESCRIPTOR};
use weir_executor::spec::{ContainerSpec, NetworkMode, SpecError};
use weir_sys::cgroup::{Cgroup, CgroupError};
use weir_sys::process::{self, ProcessError};

use crate::supervise::Supervisor;

/// What `sysexits.h` calls a misuse: it was not started by an agent.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let (spec, control) = match inherit() {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("weir-executor: {}", wire::chain(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let record = live(&spec, control);
    match record.write(&spec.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: RecordError = error;
            eprintln!(
                "weir-executor: {} (it would have said {:?})",
                wire::chain(&error),
                record.outcome
            );
            ExitCode::FAILURE
        }
    }
}

/// Takes over what the agent handed down.
fn inherit() -> Result<(ContainerSpec, Control), InheritError> {
    let taken = |source| InheritError::Descriptor { source };
    let mut document = String::new();
    File::from(process::inherited_descriptor(SPEC_DESCRIPTOR).map_err(taken)?)
        .read_to_string(&mut document)
        .map_err(|source| InheritError::Read { source })?;
    let control =
        Control::from_descriptor(process::inherited_descriptor(CONTROL_DESCRIPTOR).map_err(taken)?);
    let spec: ContainerSpec =
        serde_json::from_str(&document).map_err(|source| InheritError::Parse { source })?;
    Ok((spec, control))
}

/// Runs the container, and returns how it ended.
fn live(spec: &ContainerSpec, control: Control) -> ExitRecord {
    let launched = prepare(spec).and_then(|(network, signals)| {
        let launched =
            launch::launch(spec, network).map_err(|source| PrepareError::Launch { source })?;
        Ok((launched, signals))
    });
    match launched {
        Ok((launched, signals)) => Supervisor::new(spec, launched, signals, control).run(),
        Err(error) => {
            let outcome = Outcome::SetupFailed {
                reason: wire::chain(&error),
            };
            if let Err(error) = control.send(&ToAgent::Failed {
                outcome: outcome.clone(),
            }) {
                eprintln!("weir-executor: cannot tell the agent {outcome:?}: {error}");
            }
            supervise::record(outcome, 0)
        }
    }
}

/// Makes the process what an executor must be before it begins anything.
fn prepare(spec: &ContainerSpec) -> Result<(Option<std::os::fd::OwnedFd>, SignalFd), PrepareError> {
    let own = |source| PrepareError::Process { source };
    spec.validate()
        .map_err(|source| PrepareError::Spec { source })?;
    let network = match spec.network {
        NetworkMode::Isolated => {
            Some(process::inherited_descriptor(NETWORK_DESCRIPTOR).map_err(own)?)
        }
        NetworkMode::Host => None,
    };
    // Before init is cloned, which inherits it: no task may ever look into either of them.
    process::set_not_dumpable().map_err(own)?;
    umask(Mode::from_bits_truncate(0o022));
    // No directory of the node is kept busy.
    std::env::set_current_dir("/").map_err(|source| PrepareError::Root { source })?;

    let cgroup =
        Cgroup::open(&spec.executor_cgroup()).map_err(|source| PrepareError::Cgroup { source })?;
    let members = cgroup
        .processes()
        .map_err(|source| PrepareError::Cgroup { source })?;
    if !members.contains(&nix::unistd::Pid::this()) {
        return Err(PrepareError::WrongCgroup {
            expected: cgroup.path().to_path_buf(),
        });
    }

    let mut steering = SigSet::empty();
    steering.add(Signal::SIGTERM);
    steering.extend(supervise::FORWARDED);
    let signals = steering
        .thread_block()
        .and_then(|()| {
            SignalFd::with_flags(&steering, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        })
        .map_err(|errno| PrepareError::Signals {
            source: errno.into(),
        })?;
    Ok((network, signals))
}

/// Why the process cannot even tell which container it is for.
#[derive(Debug, thiserror::Error)]
enum InheritError {
    #[error("it was not handed what an agent hands down")]
    Descriptor { source: ProcessError },
    #[error("cannot read the specification of the container")]
    Read { source: std::io::Error },
    #[error(
        "the specification of the container is not one that this release knows: are agent and executor of one release?"
    )]
    Parse { source: serde_json::Error },
}

/// Why no container was begun.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("the container cannot be as specified")]
    Spec { source: SpecError },
    #[error("the executor cannot be what it must be")]
    Process { source: ProcessError },
    #[error("the executor cannot leave its directory")]
    Root { source: std::io::Error },
    #[error("the executor has no cgroup to run in")]
    Cgroup { source: CgroupError },
    #[error("the executor was not started in its cgroup `{}`, it would be accounted elsewhere", expected.display())]
    WrongCgroup { expected: std::path::PathBuf },
    #[error("the executor cannot receive signals")]
    Signals { source: std::io::Error },
    #[error("the container cannot be begun")]
    Launch { source: launch::LaunchError },
}
