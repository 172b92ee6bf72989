//! What must be true of a node after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::record::Record;
use crate::http;
use crate::node::{Container, NODE_V4, NODE_V6, Node, inside};

/// How long the node may take to become what it was told to be: a server starts, a killed container
/// has five seconds of grace.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the steps so far should have led to.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The running containers and how many ports each was last seen with.
    running: BTreeMap<String, usize>,
    /// How many were ever named.
    named: u64,
}

impl Expected {
    pub(super) fn running(&self) -> impl Iterator<Item = &String> {
        self.running.keys()
    }

    pub(super) fn new_name(&self) -> String {
        format!("soak-{}", self.named)
    }

    pub(super) fn ports_of(&self, name: &str) -> usize {
        self.running.get(name).copied().unwrap_or(1)
    }

    pub(super) fn started(&mut self, name: &str) {
        self.running.insert(name.to_owned(), 1);
        self.named += 1;
    }

    pub(super) fn killed(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// Holds what is true against what should be; waits for what takes a moment.
    pub(super) fn hold(&mut self, node: Node, record: &mut Record) -> Result<()> {
        let containers = self.await_listing(node)?;
        no_port_has_two_owners(&containers)?;
        for container in &containers {
            let ports = ports_of(container)?;
            self.running.insert(container.name.clone(), ports.len());
            record.containers_most = record.containers_most.max(containers.len());
            let Some(port) = ports.first() else {
                bail!("{} owns no port", container.name);
            };
            for ip in [NODE_V4, NODE_V6] {
                await_answer(node, SocketAddr::new(ip, *port))
                    .with_context(|| format!("{} does not serve", container.name))?;
                record.answers += 1;
            }
        }
        Ok(())
    }

    /// Waits until exactly the expected containers run.
    fn await_listing(&self, node: Node) -> Result<Vec<Container>> {
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
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn no_port_has_two_owners(containers: &[Container]) -> Result<()> {
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    for container in containers {
        let ephemeral = container.ephemeral.as_deref().unwrap_or_default();
        for port in ports_of(container)?
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

fn ports_of(container: &Container) -> Result<Vec<u16>> {
    read_ports(&container.ports)
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

fn await_answer(node: Node, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match inside(node.wire_namespace(), || http::get(address, "/"))? {
            Ok(_answer) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            // A new server is not listening yet, and only asking shows when it is.
            Err(_not_yet) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Returns how much memory of its own the agent has.
pub(super) fn agent_memory_kib(node: Node) -> Result<u64> {
    let pid = node.agent_process().context("the agent is not there")?;
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse().ok())
        .with_context(|| format!("{path} has no VmRSS"))
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
