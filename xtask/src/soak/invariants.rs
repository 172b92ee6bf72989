//! What must be true of a node after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::chance::Chance;
use super::record::Record;
use super::remains;
use crate::command::read;
use crate::http;
use crate::interrupt::Interrupt;
use crate::node::{Container, Network, Node, Usage, inside};

/// How long the node may take to become what it was told to be: a server starts, a killed container
/// has five seconds of grace.
const PATIENCE: Duration = Duration::from_secs(15);

/// The ports that containers may ask for, as the agent ships.
const CONTAINER_PORTS: std::ops::RangeInclusive<u16> = 31000..=31999;

/// What the steps so far should have led to.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The running containers.
    running: BTreeMap<String, Server>,
    /// How many were ever named.
    named: u64,
    /// What was counted last, by container and counter.
    counted: BTreeMap<(String, String), u64>,
}

/// A container that serves.
#[derive(Debug)]
struct Server {
    network: Network,
    /// Where it listens: the first of the ports that it was started with. Once it was seen.
    listens: Option<u16>,
    /// Those that it was last seen with.
    ports: Vec<u16>,
}

impl Expected {
    pub(super) fn running(&self) -> impl Iterator<Item = &String> {
        self.running.keys()
    }

    pub(super) fn isolated(&self) -> impl Iterator<Item = &String> {
        self.running
            .iter()
            .filter(|(_, server)| server.network == Network::Isolated)
            .map(|(name, _)| name)
    }

    pub(super) fn new_name(&self) -> String {
        format!("soak-{}", self.named)
    }

    /// Names are not used again: what the log says of one is about one container.
    pub(super) fn name_is_used(&mut self) {
        self.named += 1;
    }

    pub(super) fn ports(&self, name: &str) -> Vec<u16> {
        self.running
            .get(name)
            .map(|server| server.ports.clone())
            .unwrap_or_default()
    }

    /// Returns the ports of `name` and a few that no container owns, as one types them.
    pub(super) fn ports_and_more(&self, name: &str, chance: &mut Chance) -> String {
        let owned: BTreeSet<u16> = self
            .running
            .values()
            .flat_map(|server| server.ports.iter().copied())
            .collect();
        let free = CONTAINER_PORTS.filter(|port| !owned.contains(port));
        // From anywhere: those that were given back a moment ago are refused.
        let more = free.skip(chance.below(900)).take(chance.below(4));
        let ports = self.ports(name).into_iter().chain(more);
        let words: Vec<String> = ports.map(|port| port.to_string()).collect();
        words.join(",")
    }

    pub(super) fn started(&mut self, name: &str, network: Network) {
        let server = Server {
            network,
            listens: None,
            ports: Vec::new(),
        };
        self.running.insert(name.to_owned(), server);
    }

    pub(super) fn ended(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// Kills every container.
    pub(super) fn kill_all(&mut self, node: Node) -> Result<()> {
        for name in self.running.keys() {
            read(node.weir_agent("kill").arg(name))?;
        }
        self.running.clear();
        Ok(())
    }

    /// Holds what is true against what should be; waits for what takes a moment.
    pub(super) fn hold(
        &mut self,
        node: Node,
        record: &mut Record,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let containers = self.await_listing(node, interrupt)?;
        no_port_has_two_owners(&containers)?;
        record.containers_most = record.containers_most.max(containers.len());
        for container in &containers {
            let ports = read_ports(&container.ports)?;
            let server = self.running.get_mut(&container.name);
            let server = server.context("the listing was held against this")?;
            server.ports = ports;
            let Some(first) = server.ports.first() else {
                bail!("{} owns no port", container.name);
            };
            let port = *server.listens.get_or_insert(*first);
            for ip in [node.v4(), node.v6()] {
                await_answer(node, interrupt, SocketAddr::new(ip, port))
                    .with_context(|| format!("{} does not serve", container.name))?;
                record.answers += 1;
                the_node_cannot_listen(node, ip, &server.ports)?;
            }
        }
        let isolated = self.isolated().count();
        remains::await_only(node, interrupt, isolated, containers.len(), PATIENCE)?;
        self.no_counter_falls(&node.statistics()?.all().iter().collect::<Vec<_>>())
    }

    /// Waits until exactly the expected containers run.
    fn await_listing(&self, node: Node, interrupt: &Interrupt) -> Result<Vec<Container>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let containers: Vec<Container> = node.containers()?;
            let names: BTreeSet<&String> =
                containers.iter().map(|container| &container.name).collect();
            let all_run = containers.iter().all(Container::is_running);
            if all_run && names.iter().copied().eq(self.running.keys()) {
                return Ok(containers);
            }
            if Instant::now() > deadline {
                let expected: Vec<&String> = self.running.keys().collect();
                bail!("expected {expected:?} to run, the agent lists {containers:?}");
            }
            interrupt.pause(Duration::from_millis(20))?;
        }
    }

    /// A counter belongs to a container from its start to its end, whatever becomes of the agent.
    fn no_counter_falls(&mut self, usages: &[&Usage]) -> Result<()> {
        let mut counted = BTreeMap::new();
        for usage in usages {
            for (counter, count) in usage.counters() {
                let key = (usage.id.clone(), counter);
                if let Some(earlier) = self.counted.get(&key)
                    && count < *earlier
                {
                    bail!("{} of {} fell from {earlier} to {count}", key.1, usage.name);
                }
                counted.insert(key, count);
            }
        }
        self.counted = counted;
        Ok(())
    }
}

fn no_port_has_two_owners(containers: &[Container]) -> Result<()> {
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    for container in containers {
        let ephemeral = container.ephemeral.as_deref().unwrap_or_default();
        for port in read_ports(&container.ports)?
            .into_iter()
            .chain(read_ports(ephemeral)?)
        {
            if let Some(owner) = owners.insert(port, &container.name) {
                bail!("port {port} belongs to {owner} and to {}", container.name);
            }
        }
    }
    Ok(())
}

fn the_node_cannot_listen(node: Node, ip: IpAddr, ports: &[u16]) -> Result<()> {
    inside(node.node_namespace(), || {
        for port in ports {
            match TcpListener::bind(SocketAddr::new(ip, *port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("a process of the node at {ip} port {port}"));
                }
                Ok(_listener) => bail!("a process of the node could take {ip} port {port}"),
            }
        }
        Ok(())
    })?
}

/// Reads ports as the agent writes them.
///
/// Anew and not with Weir's own reader: an error there would hide itself here.
fn read_ports(text: &str) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let end = |text: &str| {
            text.parse::<u16>()
                .with_context(|| format!("the agent lists the ports `{range}`"))
        };
        ports.extend(end(first)?..=end(last)?);
    }
    Ok(ports)
}

fn await_answer(node: Node, interrupt: &Interrupt, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match inside(node.wire_namespace(), || http::get(address, "/"))? {
            Ok(_answer) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            // A new server is not listening yet, and only asking shows when it is.
            Err(_not_yet) => interrupt.pause(Duration::from_millis(20))?,
        }
    }
}

/// What the agent has of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgentUse {
    /// How much memory, shared pages included.
    pub(super) memory_kib: u64,
    /// How many open files.
    pub(super) descriptors: usize,
}

impl AgentUse {
    /// Returns what the agent has now.
    pub(super) fn of(node: Node) -> Result<Self> {
        let pid = node.agent_process().context("the agent is not there")?;
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let memory_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.parse().ok())
            .with_context(|| format!("{path} has no VmRSS"))?;
        let path = format!("/proc/{pid}/fd");
        let descriptors = fs::read_dir(&path)
            .with_context(|| format!("cannot list {path}"))?
            .count();
        Ok(Self {
            memory_kib,
            descriptors,
        })
    }

    /// Fails if `later`, with as many containers as now, is more than what comes and goes.
    pub(super) fn holds(self, later: Self) -> Result<()> {
        /// Connections that are being closed, and a file that is opened at its first use.
        const DESCRIPTORS_MORE_MAX: usize = 8;
        if later.descriptors > self.descriptors + DESCRIPTORS_MORE_MAX {
            bail!(
                "the agent had {} files open when it was fresh, and has {} after its containers are gone",
                self.descriptors,
                later.descriptors
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(read_ports("").unwrap(), Vec::<u16>::new());
        assert_eq!(
            read_ports("31000-31002,31500").unwrap(),
            [31000, 31001, 31002, 31500]
        );
        assert!(read_ports("all").is_err());
    }
}
