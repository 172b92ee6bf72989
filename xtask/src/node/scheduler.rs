//! The scheduler of a few nodes, on their wire: its certificates, its configuration, its start and end.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::daemon::Daemon;
use super::{Node, remove_directory};
use crate::command::{command, read};
use crate::interrupt::Interrupt;
use crate::tree;

/// What it is made of.
pub(crate) const PACKAGE: &[&str] = &["weir-scheduler"];

/// Where agents and frameworks connect, over UDP.
pub(super) const PORT: u16 = 5151;

/// Where it answers, inside of the wire's namespace.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9465);

/// A scheduler, there or not: its name says where everything of it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheduler {
    name: &'static str,
}

impl Scheduler {
    /// Returns the scheduler of `name`, without making anything of it.
    pub(crate) const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Makes the certificates of the scheduler, of its operator and of its nodes, the first of which has the wire.
    pub(crate) fn make_certificates(self, nodes: &[Node]) -> Result<()> {
        let mut weir = command(client());
        weir.args(["certs", "init", "--directory"])
            .arg(self.certificates());
        for node in nodes {
            weir.arg("--host").arg(node.wire_v4().to_string());
            if let Some(membership) = node.membership {
                weir.args(["--agent", membership.agent]);
            }
        }
        fs::create_dir_all(self.state_directory())
            .with_context(|| format!("cannot create {}", self.state_directory().display()))?;
        read(&mut weir).map(drop)
    }

    /// Starts it on the wire of `node` and waits until it is healthy.
    pub(crate) fn start(self, node: Node, interrupt: &Interrupt) -> Result<()> {
        let certificates = self.certificates();
        let text = format!(
            r#"# Written by `cargo xtask up`: everything of this scheduler has names of its own.
[scheduler]
listen = ["[::]:{PORT}"]
state_directory = "{state}"

[tls]
certificate = "{certificates}/scheduler-main.pem"
key = "{certificates}/scheduler-main-key.pem"
authorities = "{certificates}/ca.pem"
revocations = "{certificates}/crl.pem"

[http]
listen = "{LISTEN}"
"#,
            state = self.state_directory().display(),
            certificates = certificates.display(),
        );
        fs::write(self.config(), text)
            .with_context(|| format!("cannot write {}", self.config().display()))?;
        self.daemon(node).start(interrupt)
    }

    /// Takes everything of it away, however much of it is there.
    pub(crate) fn remove(self, node: Node) -> Result<()> {
        let steps = [self.daemon(node).stop(), remove_directory(self.home())];
        steps.into_iter().collect()
    }

    /// Returns whether anything of it is there.
    pub(crate) fn is_there(self) -> bool {
        self.home().exists()
    }

    /// Returns `weir`, told which scheduler is meant, on the wire of `node`; arguments follow.
    pub(crate) fn weir(self, node: Node) -> Command {
        let mut weir = command("nsenter");
        weir.arg(format!("--net={}", node.wire_namespace().display()))
            .arg(client())
            .env("WEIR_CONFIG", self.client_config());
        weir
    }

    /// Returns how to type that.
    pub(crate) fn weir_text(self, node: Node) -> String {
        format!(
            "WEIR_CONFIG={} nsenter --net={} {}",
            self.client_config().display(),
            node.wire_namespace().display(),
            client().display(),
        )
    }

    /// Returns how to ask it over HTTP by hand.
    pub(crate) fn curl_text(self, node: Node, path: &str) -> String {
        format!(
            "nsenter --net={} curl http://{LISTEN}{path}",
            node.wire_namespace().display()
        )
    }

    /// Returns the directory of the certificates.
    pub(super) fn certificates(self) -> PathBuf {
        self.home().join("certs")
    }

    fn home(self) -> PathBuf {
        PathBuf::from("/var/lib").join(self.name)
    }

    fn state_directory(self) -> PathBuf {
        self.home().join("state")
    }

    fn config(self) -> PathBuf {
        self.home().join("scheduler.toml")
    }

    fn client_config(self) -> PathBuf {
        self.certificates().join("weir.toml")
    }

    /// Returns the file that its log goes to.
    pub(crate) fn log(self) -> PathBuf {
        self.home().join("scheduler.log")
    }

    fn daemon(self, node: Node) -> Daemon {
        Daemon {
            program: tree::target().join("debug").join("weir-scheduler"),
            namespace: node.wire_namespace(),
            config: self.config(),
            log: self.log(),
            listen: LISTEN,
        }
    }
}

/// Returns the command `weir`.
fn client() -> PathBuf {
    tree::target().join("debug").join("weir")
}
