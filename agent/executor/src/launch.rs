//! Begins a container: everything between reading the specification and waiting.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, fchown, pipe2};
use weir_executor::spec::ContainerSpec;
use weir_sys::cgroup::{Cgroup, CgroupError};
use weir_sys::clone::{self, CloneError, Process, Side};

use crate::init::{self, InitEnds};
use crate::output::Output;
use crate::relay::{self, Relay};
use crate::task::TaskEnds;
use crate::wire::Reports;

/// A container that is being set up, and the executor's hold on it.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) init: Process,
    pub(crate) reports: Reports,
    /// Takes the byte that lets the task begin.
    pub(crate) go: OwnedFd,
    /// Gives the failure of the exec, or its success as an end.
    pub(crate) answer: OwnedFd,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) relay: Relay,
}

/// Makes init and all connections to it. `network` is given if the container has a namespace of its own.
pub(crate) fn launch(
    spec: &ContainerSpec,
    network: Option<OwnedFd>,
) -> Result<Launched, LaunchError> {
    let cgroups = |source| LaunchError::Cgroup { source };
    let task_cgroup = Cgroup::open(&spec.task_cgroup())
        .and_then(|cgroup| cgroup.directory())
        .map_err(cgroups)?;
    let channel = |source| LaunchError::Channel { source };
    let (reports, init_reports) = Reports::pair().map_err(channel)?;
    let (task_go, go) = pipe().map_err(channel)?;
    let (answer, task_answer) = pipe().map_err(channel)?;
    let output = |name: &str| -> io::Result<(Output, OwnedFd)> {
        let (read, write) = pipe()?;
        // This end only: the task's writes wait for room as they do anywhere.
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // Programs open /dev/stdout and /dev/stderr anew, which takes the right to.
        fchown(
            &write,
            Some(Uid::from_raw(spec.uid)),
            Some(Gid::from_raw(spec.gid)),
        )?;
        Ok((
            Output::new(
                read,
                &spec.directory,
                name,
                spec.output_bytes_max,
                spec.output_files,
            )?,
            write,
        ))
    };
    let (stdout, task_stdout) =
        output("stdout").map_err(|source| LaunchError::Output { source })?;
    let (stderr, task_stderr) =
        output("stderr").map_err(|source| LaunchError::Output { source })?;

    // Init is cloned while the executor is in the container's network, so that it is born there and its /sys shows
    // that network; the relay's sockets are made there as well. Then the executor goes home.
    let home = File::open("/proc/self/ns/net").map_err(|source| LaunchError::Network { source })?;
    if let Some(network) = &network {
        setns(network, CloneFlags::CLONE_NEWNET).map_err(|errno| LaunchError::Network {
            source: errno.into(),
        })?;
    }
    let namespaces = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let side = clone::clone_process(namespaces, Some(task_cgroup.as_fd()));
    let task = TaskEnds {
        stdout: task_stdout,
        stderr: task_stderr,
        go: task_go,
        answer: task_answer,
    };
    let init = match side.map_err(|source| LaunchError::Init { source })? {
        Side::Child => init::run(
            spec,
            InitEnds {
                reports: init_reports,
                task,
            },
        ),
        Side::Parent(process) => process,
    };
    drop((task, init_reports));
    let relay = match network {
        Some(_) => listen_for_names(),
        // The node's own loopback is right there.
        None => Relay::default(),
    };
    setns(home, CloneFlags::CLONE_NEWNET).map_err(|errno| LaunchError::Network {
        source: errno.into(),
    })?;
    Ok(Launched {
        init,
        reports,
        go,
        answer,
        stdout,
        stderr,
        relay,
    })
}

fn listen_for_names() -> Relay {
    // Not necessarily text: a comment may be in any encoding.
    let configuration = fs::read("/etc/resolv.conf").unwrap_or_default();
    let configuration = String::from_utf8_lossy(&configuration);
    let (relay, failed) = Relay::listen(&relay::loopback_servers(&configuration));
    for (server, error) in failed {
        eprintln!(
            "name server {server} cannot be relayed, names that need it will not resolve in the container: {error}"
        );
    }
    relay
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

/// Why a container does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the task has no cgroup to run in")]
    Cgroup { source: CgroupError },
    #[error("cannot connect executor and container: are descriptors short?")]
    Channel { source: io::Error },
    #[error("cannot open the output files of the container")]
    Output { source: io::Error },
    #[error("cannot enter or leave the network namespace of the container")]
    Network { source: io::Error },
    #[error("cannot make init of the container")]
    Init { source: CloneError },
}
