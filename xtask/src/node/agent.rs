//! The agent of a node: its configuration, its start and end, and its command line.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;
use serde::Deserialize;

use super::Node;
use super::daemon::Daemon;
use super::scheduler::{self, Scheduler};
use super::statistics::Statistics;
use crate::command::{command, read};
use crate::interrupt::Interrupt;
use crate::tree;

/// Where the agent answers, inside of the node's namespace.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// A container as `weir-agent ps --json` lists it, as far as it is looked at here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) ports: String,
    pub(crate) ephemeral: Option<String>,
    /// The task of the scheduler that it is, if any.
    task: Option<serde_json::Value>,
    state: State,
}

#[derive(Clone, Debug, Deserialize)]
struct State {
    state: String,
    /// Its supervisor, while it runs.
    executor_pid: Option<i32>,
}

/// How a node works for a scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) scheduler: Scheduler,
    /// What its certificate calls it.
    pub(crate) agent: &'static str,
    /// What it lends, in Mesos' text.
    pub(crate) lend: &'static str,
    /// What of that it lends twice.
    pub(crate) lend_idle: &'static str,
    /// What else is said of it.
    pub(crate) attributes: &'static str,
}

/// Which network a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// One of its own, with the node's addresses.
    Isolated,
    /// The node's.
    Host,
}

impl Network {
    /// Returns the word for it in the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Host => "host",
        }
    }
}

impl Container {
    pub(crate) fn executor(&self) -> Option<i32> {
        self.state.executor_pid
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.state == "running"
    }
}

impl Node {
    /// Returns `weir-agent`, told which agent is meant; arguments of the command follow.
    pub(crate) fn weir_agent(self, subcommand: &str) -> Command {
        let mut agent = command(program());
        agent.arg("--socket").arg(self.socket()).arg(subcommand);
        agent
    }

    /// Returns how to type that.
    pub(crate) fn weir_agent_text(self) -> String {
        format!(
            "{} --socket {}",
            program().display(),
            self.socket().display()
        )
    }

    /// Returns how to ask the agent for `path` by hand: its address is inside the namespace.
    pub(crate) fn curl_text(self, path: &str) -> String {
        format!(
            "nsenter --net={} curl http://{LISTEN}{path}",
            self.node_namespace().display()
        )
    }

    /// Starts a container that runs on by itself.
    pub(crate) fn exec_detached(self, options: &[&str], argv: &[&str]) -> Result<()> {
        read(
            self.weir_agent("exec")
                .arg("--detach")
                .args(options)
                .arg("--")
                .args(argv),
        )
        .map(drop)
    }

    /// Returns the containers that have not ended.
    pub(crate) fn containers(self) -> Result<Vec<Container>> {
        let json = read(self.weir_agent("ps").arg("--json"))?;
        serde_json::from_str(&json).context("weir-agent ps --json writes what is not expected")
    }

    /// Returns the name of the last container that was started for a task of the scheduler.
    pub(crate) fn last_task(self) -> Result<String> {
        let json = read(self.weir_agent("ps").args(["--all", "--json"]))?;
        let containers: Vec<Container> = serde_json::from_str(&json)
            .context("weir-agent ps --json writes what is not expected")?;
        let task = containers
            .into_iter()
            .rfind(|container| container.task.is_some());
        Ok(task.context("the node has run no task")?.name)
    }

    /// Returns what every container has used.
    pub(crate) fn statistics(self) -> Result<Statistics> {
        Statistics::read(&read(self.weir_agent("stats").arg("--json"))?)
    }

    fn config(self) -> PathBuf {
        self.home().join("agent.toml")
    }

    fn socket(self) -> PathBuf {
        self.run_directory().join("agent.sock")
    }

    /// Starts the agent in the node's namespace and waits until it is healthy.
    pub(crate) fn start_agent(self, interrupt: &Interrupt) -> Result<()> {
        self.write_config()?;
        self.agent().start(interrupt)
    }

    /// Ends the agent, and not its containers; fine if it is not there.
    pub(crate) fn stop_agent(self) -> Result<()> {
        self.agent().stop()
    }

    /// Kills the agent as a crash would, and waits until it is gone.
    pub(crate) fn kill_agent(self) -> Result<()> {
        self.agent().kill()
    }

    /// Returns the process of the agent.
    pub(crate) fn agent_process(self) -> Option<Pid> {
        self.agent().process()
    }

    fn agent(self) -> Daemon {
        Daemon {
            program: program(),
            namespace: self.node_namespace(),
            config: self.config(),
            log: self.log(),
            listen: LISTEN,
        }
    }

    /// Has the agent take away what it and its containers left on the node, if it can still be run.
    pub(super) fn clean_up(self) -> Result<()> {
        if !self.node_namespace().exists() || !self.config().exists() || !program().exists() {
            return Ok(());
        }
        read(
            command("nsenter")
                .arg(format!("--net={}", self.node_namespace().display()))
                .arg(program())
                .arg("cleanup")
                .arg("--kill-containers")
                .arg("--config")
                .arg(self.config()),
        )
        .map(drop)
    }

    fn write_config(self) -> Result<()> {
        let (state, run) = (self.state_directory(), self.run_directory());
        let text = format!(
            r#"# Written by `cargo xtask up`: everything of this node has names of its own.
[agent]
state_directory = "{state}"
socket = "{run}/agent.sock"

[network]
pin_directory = "{run}/bpf/weir"
{settings}

[cgroup]
parent = "{name}"
{limits}
[container]
# NET_RAW for the container that tries to forge a packet.
capabilities_allowed = ["NET_BIND_SERVICE", "NET_RAW"]

[http]
listen = "{LISTEN}"
{membership}"#,
            state = state.display(),
            run = run.display(),
            settings = self.network_settings,
            name = self.name,
            limits = match self.membership {
                // A task always holds cpus and memory.
                Some(_) =>
                    "# Where cgroup v2 has no controllers for them, tasks run all the same.\nallow_unenforced_limits = true\n",
                None => "",
            },
            membership = self.membership_text(),
        );
        fs::write(self.config(), text)
            .with_context(|| format!("cannot write {}", self.config().display()))
    }

    /// Returns the tables that let the agent join its scheduler, if it has one.
    fn membership_text(self) -> String {
        let Some(Membership {
            scheduler,
            agent,
            lend,
            lend_idle,
            attributes,
        }) = self.membership
        else {
            return String::new();
        };
        let certificates = scheduler.certificates();
        format!(
            r#"
[scheduler]
addresses = ["{address}"]
certificate = "{certificates}/agent-{agent}.pem"
key = "{certificates}/agent-{agent}-key.pem"
authorities = "{certificates}/ca.pem"
revocations = "{certificates}/crl.pem"

[resources]
lend = "{lend}"

[attributes]
text = "{attributes}"

[estimate]
estimator = "fixed"
lend = "{lend_idle}"
"#,
            address = SocketAddr::new(self.wire_v4(), scheduler::PORT),
            certificates = certificates.display(),
        )
    }
}

/// With which profile the agent is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For whoever wants to see something: it is built in a quarter of the time (1 minute, not 4, on
    /// two CPUs), and what carries the packets are the programs in the kernel, which are always
    /// optimised. Its checks of arithmetic are on.
    Debug,
    /// For whoever measures the agent itself.
    Release,
}

/// Returns the agent that nodes run.
fn program() -> PathBuf {
    tree::target().join("debug").join("weir-agent")
}

/// What a node is made of.
pub(crate) const AGENT: &[&str] = &["weir-agent", "weir-executor"];

/// Builds packages of this repository.
pub(crate) fn build(profile: Profile, packages: &[&str]) -> Result<()> {
    let mut cargo = crate::command::cargo();
    cargo.args(["build", "--locked"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    for package in packages {
        cargo.arg(format!("--package={package}"));
    }
    crate::command::run(&mut cargo)
}
