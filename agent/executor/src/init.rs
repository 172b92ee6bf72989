//! Init: process 1 of the container, which sets it up, begets the task and reaps.
//!
//! 1. It is cloned into the PID, mount, IPC and UTS namespaces and the task's cgroup, non-dumpable as the executor is.
//! 2. It enters a cgroup namespace, makes the file tree, takes the host name.
//! 3. It clones the task, which waits for the word to go.
//! 4. It becomes the task's user without any capability, so that nobody who got hold of it would gain anything.
//! 5. It reports `Standing` with a pidfd of the task, and reaps until the task ends; its own end ends all others.
//!
//! The kernel protects process 1 from every signal that comes from inside its namespace; being non-dumpable keeps
//! the task, although of the same user, from tracing it or looking at its descriptors.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, RawFd};
use std::process::exit;

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, sethostname};
use weir_executor::spec::ContainerSpec;
use weir_sys::capability::{self, CapabilityError};
use weir_sys::clone::{self, CloneError, Process, Side};
use weir_sys::pidfd::Status;
use weir_sys::process::{self, ProcessError};

use crate::sandbox::{self, ExecuteError, ObserveError};
use crate::task::{self, TaskEnds};
use crate::wire::{Report, Reports, chain};

/// What init needs of all that the executor has open.
#[derive(Debug)]
pub(crate) struct InitEnds {
    pub(crate) reports: Reports,
    pub(crate) task: TaskEnds,
}

/// Lives the life of init, in the process that was cloned for it.
///
/// Nothing that the executor owns may be dropped here: the descriptors behind it are closed.
pub(crate) fn run(spec: &ContainerSpec, ends: InitEnds) -> ! {
    match live(spec, &ends) {
        Ok(never) => match never {},
        Err(error) => {
            // If nobody listens any more, nobody is left to be told.
            let _unheard = ends.reports.send(
                &Report::Failed {
                    reason: chain(&error),
                },
                None,
            );
            exit(1)
        }
    }
}

fn live(spec: &ContainerSpec, ends: &InitEnds) -> Result<Infallible, InitError> {
    let own = |source| InitError::Process { source };
    process::die_with_parent().map_err(own)?;
    let kept: Vec<_> = ends.task.numbers().chain([ends.reports.number()]).collect();
    process::close_inherited(&kept).map_err(own)?;
    process::set_name(c"weir-init").map_err(own)?;

    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(|errno| InitError::CgroupNamespace {
        source: errno.into(),
    })?;
    // The modes of what is made here are meant literally.
    umask(Mode::empty());
    let node = sandbox::observe().map_err(|source| InitError::Observe { source })?;
    sandbox::execute(&sandbox::plan(spec, &node))
        .map_err(|source| InitError::FileTree { source })?;
    drop(node);
    sethostname(&spec.name).map_err(|errno| InitError::HostName {
        name: spec.name.clone(),
        source: errno.into(),
    })?;

    let task = match clone::clone_process(CloneFlags::empty(), None)
        .map_err(|source| InitError::Task { source })?
    {
        Side::Child => task::run(spec, &ends.task, &ends.reports),
        Side::Parent(task) => task,
    };

    capability::become_user_with(spec.uid, spec.gid, &[], &[])
        .map_err(|source| InitError::Powers { source })?;
    process::set_no_new_privileges().map_err(own)?;
    // The change of user has reset both. Until here a dead executor was noticed by the kernel; whether it died just
    // now, the report below tells.
    process::set_not_dumpable().map_err(own)?;
    process::die_with_parent().map_err(own)?;
    let Process { pid, pidfd } = task;
    ends.reports
        .send(&Report::Standing, Some(pidfd.as_fd()))
        .map_err(|source| InitError::Report { source })?;
    drop(pidfd);
    let_go_of_all_but(ends.reports.number())?;
    reap_until(pid, &ends.reports)
}

/// Keeps the way to report, and of everything else nothing: not the executor's log, not the task's output.
fn let_go_of_all_but(reports: RawFd) -> Result<(), InitError> {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|source| InitError::Null { source })?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .map_err(|errno| InitError::Null {
            source: errno.into(),
        })?;
    drop(null);
    process::close_inherited(&[reports]).map_err(|source| InitError::Process { source })
}

/// Reaps whatever ends, and ends with the task.
fn reap_until(task: Pid, reports: &Reports) -> ! {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(task) => {
                let report = match Status::from_wait(status) {
                    Some(Status::Exited { code }) => Report::Exited { code },
                    Some(Status::Signaled {
                        signal,
                        core_dumped,
                    }) => Report::Signaled {
                        signal,
                        core_dumped,
                    },
                    None => continue,
                };
                let _unheard = reports.send(&report, None);
                exit(0)
            }
            Ok(_orphan) => {}
            Err(nix::errno::Errno::EINTR) => {}
            // ECHILD cannot be: the task is this process's own and reported when it ends.
            Err(_) => exit(1),
        }
    }
}

/// Why the container does not stand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("init of the container cannot be what it must be")]
    Process { source: ProcessError },
    #[error(
        "cannot make a cgroup namespace: is the kernel built with CONFIG_CGROUPS and 4.6 or later?"
    )]
    CgroupNamespace { source: io::Error },
    #[error("cannot look at the node's file tree")]
    Observe { source: ObserveError },
    #[error("cannot make the container's file tree")]
    FileTree { source: ExecuteError },
    #[error("cannot make {name:?} the host name of the container")]
    HostName { name: String, source: io::Error },
    #[error("cannot make a process for the task")]
    Task { source: CloneError },
    #[error("init of the container cannot give up its powers")]
    Powers { source: CapabilityError },
    #[error("cannot open /dev/null in the container")]
    Null { source: io::Error },
    #[error("the executor does not listen")]
    Report { source: io::Error },
}
