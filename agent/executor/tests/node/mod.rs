//! A node for the privileged tests: a state directory, a cgroup and network namespaces, all gone with the test.
//!
//! The tests play the agent: they start the real executor and speak the agent's side of the contract.

#![allow(dead_code, reason = "every test program uses another part of it")]

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use weir_executor::record::{ExitRecord, Outcome};
use weir_executor::spawn::{EXECUTOR_LOG_FILE, Spawned, StartError, spawn};
use weir_executor::spec::{ContainerSpec, NetworkMode};
use weir_sys::cgroup::{Cgroup, find_hierarchy};
use weir_sys::netlink::Netlink;
use weir_sys::{netns, pidfd};

/// Longer than anything here takes on a node that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The loopback device is the first of every namespace.
const LOOPBACK_INDEX: u32 = 1;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// What the containers of one test have in common.
pub(crate) struct Node {
    pub(crate) state: TempDir,
    pub(crate) cgroup: Cgroup,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with_state_in(&std::env::temp_dir())
    }

    pub(crate) fn with_state_in(directory: &Path) -> Self {
        require_root();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-executor-test-{}-{number}", std::process::id());
        let cgroup = Cgroup::create(&find_hierarchy().unwrap().join(name)).unwrap();
        let state = tempfile::Builder::new()
            .prefix("weir-executor-test-")
            .tempdir_in(directory)
            .unwrap();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self { state, cgroup }
    }

    /// Prepares a container that runs as root and is like any other.
    pub(crate) fn container(&self, argv: &[&str]) -> Prepared<'_> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("container{number:03}");
        let directory = self.state.path().join("containers").join(&id);
        fs::create_dir_all(directory.join("sandbox")).unwrap();
        fs::write(directory.join("spec.json"), "secret").unwrap();
        let cgroup = self.cgroup.create_child(&id).unwrap();
        cgroup.create_child("executor").unwrap();
        cgroup.create_child("task").unwrap();
        let (network, ()) = netns::create(raise_loopback).unwrap();
        let spec = ContainerSpec {
            name: format!("test-{number}"),
            id,
            directory,
            state_directory: self.state.path().to_path_buf(),
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            env: vec![],
            working_directory: None,
            uid: 0,
            gid: 0,
            groups: vec![],
            user_name: "root".to_owned(),
            capabilities: vec![],
            cgroup: cgroup.path().to_path_buf(),
            network: NetworkMode::Isolated,
            ports: "31000-31001".to_owned(),
            first_ports: vec![31000, 31001],
            kill_grace_ms: 10_000,
            output_bytes_max: 1 << 20,
            output_files: 2,
            tmp_bytes_max: 1 << 20,
            volumes: vec![],
        };
        Prepared {
            spec,
            network: Some(network),
            node: self,
        }
    }

    /// Prepares a container that runs a shell script.
    pub(crate) fn shell(&self, script: &str) -> Prepared<'_> {
        self.container(&["/bin/sh", "-c", script])
    }

    /// Prepares a container that runs the probe, which it finds in its sandbox.
    pub(crate) fn probe(&self, words: &[&str]) -> Prepared<'_> {
        let mut prepared = self.container(&[]);
        let probe = prepared.spec.sandbox().join("probe");
        install(
            Path::new(env!("CARGO_BIN_EXE_weir-executor-probe")),
            &probe,
            0o755,
        );
        prepared.spec.argv = vec![probe.to_str().unwrap().to_owned()];
        prepared
            .spec
            .argv
            .extend(words.iter().map(|&word| word.to_owned()));
        prepared
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Containers that a failed test has left.
        self.cgroup.kill().unwrap();
        self.cgroup.remove(PATIENCE).unwrap();
    }
}

/// A container that can still be changed.
pub(crate) struct Prepared<'a> {
    pub(crate) spec: ContainerSpec,
    pub(crate) network: Option<OwnedFd>,
    node: &'a Node,
}

impl<'a> Prepared<'a> {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Makes the task run as that user and group.
    pub(crate) fn run_as(mut self, id: u32) -> Self {
        self.spec.uid = id;
        self.spec.gid = id;
        self.spec.user_name = id.to_string();
        self
    }

    /// Puts the container into the network that the executor is started in.
    pub(crate) fn in_host_network(mut self) -> Self {
        self.spec.network = NetworkMode::Host;
        self.network = None;
        self
    }

    /// Starts the executor and nothing more.
    pub(crate) fn spawn(self) -> Container<'a> {
        self.spawn_after(|| {})
    }

    /// Does something to the prepared directories, and starts the executor.
    pub(crate) fn spawn_after(self, change: impl FnOnce()) -> Container<'a> {
        chown(
            self.spec.sandbox(),
            Some(self.spec.uid),
            Some(self.spec.gid),
        )
        .unwrap();
        change();
        let network = self.network.as_ref().map(|network| network.as_fd());
        let spawned = spawn(
            Path::new(env!("CARGO_BIN_EXE_weir-executor")),
            &self.spec,
            network,
        )
        .unwrap();
        let guard = Guard {
            cgroup: self.spec.cgroup.clone(),
            pidfd: spawned.pidfd.try_clone().unwrap(),
        };
        Container {
            spec: self.spec,
            spawned,
            guard,
            _node: self.node,
        }
    }

    /// Starts the container up to where its program runs.
    pub(crate) fn start(self) -> Container<'a> {
        let mut container = self.spawn();
        if let Err(error) = container.wait_running() {
            panic!(
                "{error}; the executor's log says: {}",
                container.file(EXECUTOR_LOG_FILE)
            );
        }
        container
    }
}

/// A container whose executor was started.
pub(crate) struct Container<'a> {
    pub(crate) spec: ContainerSpec,
    pub(crate) spawned: Spawned,
    guard: Guard,
    /// The container needs what the node holds for it.
    _node: &'a Node,
}

/// Takes an executor and its container away with the test, however that ends.
pub(crate) struct Guard {
    cgroup: PathBuf,
    pidfd: OwnedFd,
}

impl Container<'_> {
    /// Closes the control socket, as the death of an agent does; what is left is a hold on the executor.
    pub(crate) fn lose_agent(self) -> (ContainerSpec, OwnedFd, Guard) {
        let Self {
            spec,
            spawned,
            guard,
            ..
        } = self;
        (spec, spawned.into_pidfd(), guard)
    }

    /// Goes through the start; returns the pids of init and task.
    pub(crate) fn wait_running(&mut self) -> Result<(i32, i32), StartError> {
        let init = self.spawned.wait_ready(PATIENCE)?;
        self.spawned.go()?;
        let task = self.spawned.wait_started(PATIENCE)?;
        Ok((init, task))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        assert!(
            pidfd::send_signal(self.spawned.pidfd.as_fd(), signal).unwrap(),
            "the executor has ended"
        );
    }

    /// Waits for the executor's end, and returns its own status and the record it has left.
    pub(crate) fn wait_ended(&mut self) -> (Option<pidfd::Status>, Option<ExitRecord>) {
        assert!(
            pidfd::wait_ended(self.spawned.pidfd.as_fd(), Some(PATIENCE)).unwrap(),
            "the executor goes on"
        );
        let status = pidfd::reap(self.spawned.pidfd.as_fd()).unwrap();
        (status, ExitRecord::read(&self.spec.directory).unwrap())
    }

    /// Waits for the end of a container whose executor ends as it should.
    pub(crate) fn outcome(&mut self) -> Outcome {
        let (status, record) = self.wait_ended();
        assert_eq!(
            status,
            Some(pidfd::Status::Exited { code: 0 }),
            "{}",
            self.file(EXECUTOR_LOG_FILE)
        );
        let task = Cgroup::open(&self.spec.task_cgroup()).unwrap();
        assert!(
            !task.is_populated().unwrap(),
            "something of the container has outlived its executor"
        );
        record
            .expect("an executor that ends as it should leaves a record")
            .outcome
    }

    /// Runs the container to its successful end, and returns its standard output.
    pub(crate) fn output(mut self) -> String {
        let outcome = self.outcome();
        assert_eq!(
            outcome,
            Outcome::Exited { code: 0 },
            "{}{}",
            self.file("stderr"),
            self.file(EXECUTOR_LOG_FILE)
        );
        self.file("stdout")
    }

    /// Reads a file of the container's directory.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.spec.directory.join(name)).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.spec.directory.join(name)
    }

    /// Waits until the standard output holds `text`.
    pub(crate) fn wait_output(&self, text: &str) {
        wait_until(&format!("the output holds {text:?}"), || {
            self.file("stdout").contains(text)
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        Cgroup::open(&self.cgroup)
            .and_then(|cgroup| cgroup.kill())
            .unwrap();
        assert!(
            pidfd::wait_ended(self.pidfd.as_fd(), Some(PATIENCE)).unwrap(),
            "killed, and goes on"
        );
        pidfd::reap(self.pidfd.as_fd()).unwrap();
    }
}

/// Copies a program to where a container can run it.
///
/// Not in this process: the kernel runs no file that is open for writing anywhere, and what a test has open, the
/// processes that other tests start have open as well until they execute their programs.
#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own is the point"
)]
pub(crate) fn install(program: &Path, place: &Path, mode: u32) {
    let copied = std::process::Command::new("cp")
        .args([program, place])
        .status()
        .unwrap();
    assert!(copied.success(), "cp: {copied}");
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

/// Fails a test that could not do what it is for.
pub(crate) fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes namespaces, mounts and cgroups: run it as root, as `cargo xtask test` does"
    );
}

/// Waits for what nothing announces.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Switches the loopback device of this thread's network namespace on.
pub(crate) fn raise_loopback() {
    let mut message = LinkMessage::default();
    message.header.index = LOOPBACK_INDEX;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let request = RouteNetlinkMessage::SetLink(message);
    Netlink::open()
        .unwrap()
        .execute(request, NLM_F_ACK, || {
            "raise the loopback device".to_owned()
        })
        .unwrap();
}

/// Finds the answer that the probe gave to an attempt.
pub(crate) fn answer<'a>(output: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    output
        .lines()
        .find_map(|line| {
            line.strip_prefix(&prefix)
                .or_else(|| (line == prefix.trim_end()).then_some(""))
        })
        .unwrap_or_else(|| panic!("the probe says nothing about {name:?} in:\n{output}"))
}
