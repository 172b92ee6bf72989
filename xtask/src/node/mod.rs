//! A node for show and for trial: two network namespaces, and an agent in one of them.
//!
//! ```text
//!  namespace <name>-wire               namespace <name>-node
//!  10.87.0.1, fd87::1                  10.87.0.2, fd87::2
//!  the world outside   wire ======= uplink   weir-agent and its containers
//! ```
//!
//! Nothing of the machine's own network is touched: the link is created inside the namespaces.
//! A second node can be on the same wire, with a network of its own (10.87.1.2, fd87:1::2); both may work
//! for a [`Scheduler`] that is out there.
//!
//! Everything has a fixed name that begins with the name of the node, so that [`Node::remove`] finds
//! it whoever created it and however far that came:
//!
//! 1. `/run/<name>`: the agent's socket, and a bpffs of its own;
//! 2. `/var/lib/<name>`: configuration, state, log, and files for the containers to read;
//! 3. two named namespaces, the link, addresses and routes;
//! 4. the agent, known by its command line, and the cgroup `<name>` with what it starts.

mod agent;
mod daemon;
mod network;
mod scheduler;
mod statistics;

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result, bail};

pub(crate) use agent::{AGENT, Container, Membership, Network, Profile, build};
pub(crate) use network::{UPLINK, inside};
pub(crate) use scheduler::{PACKAGE as SCHEDULER, Scheduler};
pub(crate) use statistics::{Statistics, Traffic, Usage};

use crate::cgroup;
use crate::interrupt::Interrupt;

/// A node, there or not: its name says where everything of it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    name: &'static str,
    network_settings: &'static str,
    /// Its network is 10.87.`subnet`.0.
    subnet: u8,
    /// The node whose wire it is on, if not its own.
    wire_of: Option<&'static str>,
    membership: Option<Membership>,
}

/// The right to make and remove a node, held until this is dropped.
///
/// Two that show the same node at once would take it away from each other.
pub(crate) struct Claim {
    /// Bound to a name that the kernel gives to one process at a time, and frees whatever becomes of
    /// the process.
    _socket: UnixListener,
}

impl Node {
    /// Returns the node of `name`, without making anything of it.
    ///
    /// `network_settings` are lines for the `[network]` table of its agent.
    pub(crate) const fn named(name: &'static str, network_settings: &'static str) -> Self {
        Self {
            name,
            network_settings,
            subnet: 0,
            wire_of: None,
            membership: None,
        }
    }

    /// Returns the node on the wire of another, which is made before it and removed after it.
    pub(crate) const fn beside(self, other: Self, subnet: u8) -> Self {
        Self {
            subnet,
            wire_of: Some(other.name),
            ..self
        }
    }

    /// Returns the node with an agent that works for a scheduler.
    pub(crate) const fn member(self, membership: Membership) -> Self {
        Self {
            membership: Some(membership),
            ..self
        }
    }

    /// Claims the node for this process.
    pub(crate) fn claim(self) -> Result<Claim> {
        let name = format!("{}.xtask", self.name);
        let address = SocketAddr::from_abstract_name(&name)
            .with_context(|| format!("{name} cannot be the name of a socket"))?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Claim { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                "another `cargo xtask` works with the node {} in this moment; end it with Ctrl-C",
                self.name
            ),
            Err(error) => Err(error).with_context(|| format!("cannot bind the socket @{name}")),
        }
    }

    /// Returns whether anything of the node is there.
    pub(crate) fn is_there(self) -> bool {
        self.run_directory().exists()
            || self.home().exists()
            || self.node_namespace().exists()
            || self.wire_of.is_none() && self.wire_namespace().exists()
    }

    /// Makes the node and starts its agent, on a machine that has nothing of it.
    ///
    /// What a failure leaves behind is for [`Self::remove`].
    pub(crate) fn create(self, interrupt: &Interrupt) -> Result<()> {
        self.create_without_agent()?;
        self.start_agent(interrupt)
    }

    /// Makes the node as it is before it has an agent.
    pub(crate) fn create_without_agent(self) -> Result<()> {
        for directory in [
            self.run_directory(),
            self.files_directory(),
            self.state_directory(),
        ] {
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        self.create_network()?;
        self.mount_bpffs()
    }

    /// Takes everything of the node away, however much of it is there.
    ///
    /// Goes on after a failure, so that what can go is gone, and then reports the first.
    pub(crate) fn remove(self) -> Result<()> {
        let steps = [
            self.stop_agent().context("cannot stop the agent"),
            self.clean_up(),
            // Gone by then, unless there is no agent that could have been told to clean up.
            self.remove_cgroup(),
            self.unmount_bpffs(),
            self.remove_network(),
            remove_directory(self.run_directory()),
            remove_directory(self.home()),
        ];
        steps.into_iter().collect()
    }

    fn remove_cgroup(self) -> Result<()> {
        match self.cgroup() {
            Some(cgroup) => cgroup::remove(&cgroup),
            None => Ok(()),
        }
    }

    /// Returns the cgroup above those of the containers; none where there is no cgroup v2.
    pub(crate) fn cgroup(self) -> Option<PathBuf> {
        cgroup::root().map(|root| root.join(self.name))
    }

    /// Returns the directory of what does not survive a reboot. Containers do not see `/run`.
    pub(crate) fn run_directory(self) -> PathBuf {
        PathBuf::from("/run").join(self.name)
    }

    fn home(self) -> PathBuf {
        PathBuf::from("/var/lib").join(self.name)
    }

    /// Returns the directory whose files every container can read.
    pub(crate) fn files_directory(self) -> PathBuf {
        self.home().join("files")
    }

    /// Returns where the agent keeps what must survive it.
    pub(crate) fn state_directory(self) -> PathBuf {
        self.home().join("state")
    }

    /// Returns the file that the agent's log goes to.
    pub(crate) fn log(self) -> PathBuf {
        self.home().join("agent.log")
    }
}

/// Takes nodes away if the program panics while this is there.
///
/// What is said to a terminal that was closed, or to a `head` that has read enough, is a panic: no
/// reason to leave a node behind.
pub(crate) struct Safeguard(pub(crate) fn() -> Result<()>);

impl Drop for Safeguard {
    fn drop(&mut self) {
        if thread::panicking() {
            // Nobody may be there to be told, and `down` does it again.
            (self.0)().ok();
        }
    }
}

fn remove_directory(path: PathBuf) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write as _};

    use nix::unistd::Uid;

    use super::*;

    /// Returns whether the test can run; says why not if it cannot.
    fn is_root(test: &str) -> bool {
        let root = Uid::effective().is_root();
        if !root {
            writeln!(
                io::stderr(),
                "weir-skip: {test}: it makes namespaces, which needs root"
            )
            .expect("standard error is open");
        }
        root
    }

    #[test]
    fn what_is_left_of_a_node_is_taken_away_however_far_it_came() {
        if !is_root("what_is_left_of_a_node_is_taken_away_however_far_it_came") {
            return;
        }
        const NODE: Node = Node::named("weir-xtask-test", "");
        NODE.remove().unwrap();
        assert!(!NODE.is_there());
        for _ in 0..2 {
            fs::create_dir_all(NODE.files_directory()).unwrap();
            NODE.create_network().unwrap();
            NODE.mount_bpffs().unwrap();
            assert!(NODE.is_there());
            let links = inside(NODE.node_namespace(), || {
                fs::read_to_string("/proc/thread-self/net/dev").unwrap()
            });
            assert!(links.unwrap().contains("uplink:"));

            NODE.remove().unwrap();
            assert!(!NODE.is_there() && !NODE.home().exists());
            NODE.remove().unwrap();
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains("weir-xtask-test"));
    }
}
