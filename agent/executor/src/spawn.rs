//! Starts an executor and speaks the agent's side of [`control`](crate::control).
//!
//! 1. [`spawn`]: the executor runs in its own cgroup and session; nothing of the container does yet.
//! 2. [`Spawned::wait_ready`]: the container stands, its task waits.
//! 3. The caller makes the container durable.
//! 4. [`Spawned::go`] and [`Spawned::wait_started`]: the task's program runs.
//!
//! Dropping [`Spawned`] before step 4 makes the executor take everything down again. Every call here blocks: an
//! asynchronous caller uses a thread for blocking calls.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use weir_sys::cgroup::{Cgroup, CgroupError};
use weir_sys::program::{Program, ProgramError};

use crate::control::{Control, ToAgent, ToExecutor};
use crate::record::Outcome;
use crate::spec::{ContainerSpec, NetworkMode};

/// Where the executor finds its specification.
pub const SPEC_DESCRIPTOR: i32 = 3;
/// Where the executor finds its end of the control socket.
pub const CONTROL_DESCRIPTOR: i32 = 4;
/// Where the executor of an isolated container finds the network namespace.
pub const NETWORK_DESCRIPTOR: i32 = 5;

/// The name of the file that holds what an executor has to say about itself.
pub const EXECUTOR_LOG_FILE: &str = "executor.log";

/// An executor that was started and has not been told to go.
#[derive(Debug)]
pub struct Spawned {
    /// The executor's process id.
    pub pid: i32,
    /// The executor, for waiting and signalling; readable when it has ended.
    pub pidfd: OwnedFd,
    control: Control,
}

/// Starts `executor_path` for `spec`.
///
/// The cgroup of the container and its two children, the container's directory and the sandbox in it must
/// exist. `network` is the namespace of an isolated container; the executor and the container hold it from then on.
///
/// The caller is the executor's parent: it must reap it ([`weir_sys::pidfd::reap`]) once the pidfd is readable.
pub fn spawn(
    executor_path: &Path,
    spec: &ContainerSpec,
    network: Option<BorrowedFd<'_>>,
) -> Result<Spawned, SpawnError> {
    match (spec.network, network) {
        (NetworkMode::Isolated, Some(_)) | (NetworkMode::Host, None) => {}
        (mode, _) => {
            return Err(SpawnError::Network {
                id: spec.id.clone(),
                mode,
            });
        }
    }
    let set_up = |what| {
        move |source| SpawnError::SetUp {
            what,
            id: spec.id.clone(),
            source,
        }
    };
    let document = document(spec).map_err(set_up("specification"))?;
    let (control, theirs) = Control::pair().map_err(set_up("control socket"))?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(set_up("standard input"))?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(spec.directory.join(EXECUTOR_LOG_FILE))
        .map_err(set_up("log file"))?;
    let cgroup = Cgroup::open(&spec.executor_cgroup())
        .and_then(|cgroup| cgroup.directory())
        .map_err(|source| SpawnError::Cgroup {
            id: spec.id.clone(),
            source,
        })?;

    let mut descriptors = vec![
        (null.as_fd(), 0),
        (null.as_fd(), 1),
        (log.as_fd(), 2),
        (document.as_fd(), SPEC_DESCRIPTOR),
        (theirs.as_fd(), CONTROL_DESCRIPTOR),
    ];
    descriptors.extend(network.map(|network| (network, NETWORK_DESCRIPTOR)));
    let path =
        CString::new(executor_path.as_os_str().as_bytes()).map_err(|source| SpawnError::Path {
            path: executor_path.to_path_buf(),
            source,
        })?;
    // The id is an argument only so that a listing of processes says which container this is.
    let id = CString::new(spec.id.as_str()).map_err(|source| SpawnError::Path {
        path: PathBuf::from(&spec.id),
        source,
    })?;
    let process = Program {
        path: path.clone(),
        arguments: vec![path, id],
        // Nothing of the agent's environment, which may hold secrets.
        environment: vec![],
        descriptors,
        cgroup: Some(cgroup.as_fd()),
        new_session: true,
    }
    .spawn()
    .map_err(|source| SpawnError::Program {
        id: spec.id.clone(),
        source,
    })?;
    Ok(Spawned {
        pid: process.pid.as_raw(),
        pidfd: process.pidfd,
        control,
    })
}

impl Spawned {
    /// Waits until the container stands, and returns the pid of its init.
    pub fn wait_ready(&self, timeout: Duration) -> Result<i32, StartError> {
        match self.receive("ready", timeout)? {
            ToAgent::Ready { init_pid } => Ok(init_pid),
            ToAgent::Failed { outcome } => Err(StartError::Failed { outcome }),
            message @ ToAgent::Started { .. } => Err(StartError::Unexpected {
                awaited: "ready",
                message,
            }),
        }
    }

    /// Lets the task begin. To be called when the container is on record.
    pub fn go(&self) -> Result<(), StartError> {
        let Err(source) = self.control.send(&ToExecutor::Go) else {
            return Ok(());
        };
        // An executor that gave up meanwhile has said why before it went.
        match self.control.receive() {
            Ok(Some(ToAgent::Failed { outcome })) => Err(StartError::Failed { outcome }),
            Ok(Some(ToAgent::Ready { .. } | ToAgent::Started { .. }) | None) | Err(_) => {
                Err(StartError::Control {
                    awaited: "go",
                    source,
                })
            }
        }
    }

    /// Waits until the task's program runs, and returns the pid of the task.
    pub fn wait_started(&self, timeout: Duration) -> Result<i32, StartError> {
        match self.receive("started", timeout)? {
            ToAgent::Started { task_pid } => Ok(task_pid),
            ToAgent::Failed { outcome } => Err(StartError::Failed { outcome }),
            message @ ToAgent::Ready { .. } => Err(StartError::Unexpected {
                awaited: "started",
                message,
            }),
        }
    }

    /// Gives up the control socket and keeps what outlives the start.
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }

    fn receive(&self, awaited: &'static str, timeout: Duration) -> Result<ToAgent, StartError> {
        let broken = |source| StartError::Control { awaited, source };
        let deadline = Instant::now() + timeout;
        loop {
            match self.control.receive() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => return Err(StartError::Lost { awaited }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(broken(error)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StartError::TimedOut {
                    awaited,
                    timeout_ms: timeout.as_millis(),
                });
            }
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            let left =
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)],
                left,
            ) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(broken(errno.into())),
            }
        }
    }
}

/// Puts the specification into memory, to be read from its beginning.
fn document(spec: &ContainerSpec) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"weir-spec", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(spec)?)?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// Why no executor was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The namespace and the mode do not agree.
    #[error(
        "container {id} is of network mode {mode:?}: an isolated one, and only such a one, comes with a namespace"
    )]
    Network {
        /// The container.
        id: String,
        /// Its mode.
        mode: NetworkMode,
    },
    /// Something that the executor is to inherit cannot be made.
    #[error("cannot prepare the {what} for the executor of container {id}")]
    SetUp {
        /// Which part.
        what: &'static str,
        /// The container.
        id: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The cgroup for the executor cannot be opened.
    #[error("the executor of container {id} has no cgroup to run in")]
    Cgroup {
        /// The container.
        id: String,
        /// What is wrong with it.
        source: CgroupError,
    },
    /// The path has a NUL byte.
    #[error("`{path}` cannot be passed to the kernel")]
    Path {
        /// The path.
        path: PathBuf,
        /// Where the byte is.
        source: std::ffi::NulError,
    },
    /// The program does not start.
    #[error("cannot start the executor of container {id}")]
    Program {
        /// The container.
        id: String,
        /// Why not.
        source: ProgramError,
    },
}

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The executor says why; it has taken everything down and ends.
    #[error("the executor could not start the task: {}", describe(outcome))]
    Failed {
        /// What the exit record says as well.
        outcome: Outcome,
    },
    /// The executor ended without a word.
    #[error(
        "the executor was gone before it said `{awaited}`: its {EXECUTOR_LOG_FILE} may say why"
    )]
    Lost {
        /// What was waited for.
        awaited: &'static str,
    },
    /// The executor is too slow.
    #[error("the executor did not say `{awaited}` within {timeout_ms} ms: is the node overloaded?")]
    TimedOut {
        /// What was waited for.
        awaited: &'static str,
        /// How long.
        timeout_ms: u128,
    },
    /// The executor says something else than it should.
    #[error(
        "the executor said {message:?} instead of `{awaited}`: are agent and executor of one release?"
    )]
    Unexpected {
        /// What was waited for.
        awaited: &'static str,
        /// What came.
        message: ToAgent,
    },
    /// The control socket fails.
    #[error("the control socket failed at `{awaited}`")]
    Control {
        /// What was to be said or heard.
        awaited: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::ExecFailed { path, what, .. } => format!("`{path}`: {what}"),
        Outcome::SetupFailed { reason }
        | Outcome::Aborted { reason }
        | Outcome::Lost { reason } => reason.clone(),
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::KilledAfterGrace { .. }
        | Outcome::OutOfMemory => {
            format!("it ended early ({outcome:?})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gave_up_before_it_was_told_to_go_is_heard() {
        let (control, theirs) = Control::pair().unwrap();
        let spawned = Spawned {
            pid: 1,
            pidfd: File::open("/dev/null").unwrap().into(),
            control,
        };
        let reason = "there is no such directory".to_owned();
        let outcome = Outcome::SetupFailed { reason };
        let message = ToAgent::Failed {
            outcome: outcome.clone(),
        };
        theirs.send(&message).unwrap();
        drop(theirs);
        let error = spawned.go().unwrap_err();
        assert!(
            matches!(&error, StartError::Failed { outcome: told } if *told == outcome),
            "{error}"
        );
        let error = spawned.go().unwrap_err();
        assert!(matches!(error, StartError::Control { .. }), "{error}");
    }
}
