//! What is there of containers and of the agent, beside the processes: links, pins, cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::command::{command, read};
use crate::interrupt::Interrupt;
use crate::node::{Node, UPLINK, inside};

/// What the agent may change of a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remains {
    /// Interfaces, qdiscs and filters.
    links: BTreeSet<String>,
    /// What is pinned, and where.
    pins: BTreeSet<PathBuf>,
    cgroup_is_there: bool,
    reserved_ports: String,
}

impl Remains {
    /// Looks at the node.
    pub(super) fn look(node: Node) -> Result<Self> {
        let mut links = interfaces(node)?;
        let namespace = format!("--net={}", node.node_namespace().display());
        for device in ["lo", UPLINK] {
            for words in [["qdisc", "show"], ["filter", "show"]] {
                let said = read(
                    command("nsenter")
                        .args([&namespace, "tc"])
                        .args(words)
                        .args(["dev", device]),
                )?;
                links.extend(said.lines().map(|line| format!("{device}: {line}")));
            }
        }
        let mut pins = BTreeSet::new();
        collect(&node.bpffs(), &mut pins)?;
        let reserved_ports = inside(node.node_namespace(), || {
            fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports")
        })?
        .context("cannot read ip_local_reserved_ports")?;
        Ok(Self {
            links,
            pins,
            cgroup_is_there: node.cgroup().is_some_and(|cgroup| cgroup.exists()),
            reserved_ports,
        })
    }

    /// Says what `after` has that this has not, and the other way round.
    pub(super) fn difference(&self, after: &Self) -> Option<String> {
        (self != after).then(|| format!("before {self:?}, after {after:?}"))
    }
}

/// How many ended containers the agent keeps, as it ships.
const ENDED_KEPT: usize = 100;

/// Waits until the node has the links, pins and cgroups of its containers, and no more.
///
/// The kernel takes a namespace and its link away some time after the last process has left it.
pub(super) fn await_only(
    node: Node,
    interrupt: &Interrupt,
    isolated: usize,
    containers: usize,
    patience: Duration,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        // The loopback and the uplink are the node's own.
        let links = interfaces(node)?.len();
        let mut pins = BTreeSet::new();
        collect(&node.bpffs(), &mut pins)?;
        let pins = pins
            .iter()
            .filter_map(|pin| pin.file_name()?.to_str())
            .filter(|name| name.starts_with("container-"))
            .count();
        let cgroups = match node.cgroup() {
            Some(cgroup) if cgroup.exists() => directories(&cgroup)?,
            Some(_) | None => 0,
        };
        // One network is one link, and of tcx one pin.
        let pins_fit = pins == isolated || pins == 0;
        let kept = directories(&node.state_directory().join("containers"))?;
        let fits = links == isolated + 2 && cgroups == containers;
        if fits && pins_fit && kept <= containers + ENDED_KEPT {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{containers} containers run, {isolated} with a network of their own; there are {links} \
                 interfaces (2 are the node's), {pins} pinned links, {cgroups} cgroups and {kept} directories \
                 of containers"
            );
        }
        interrupt.pause(Duration::from_millis(20))?;
    }
}

fn interfaces(node: Node) -> Result<BTreeSet<String>> {
    let text = inside(node.node_namespace(), || {
        fs::read_to_string("/proc/thread-self/net/dev")
    })?
    .context("cannot list the node's interfaces")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect())
}

fn directories(directory: &Path) -> Result<usize> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    Ok(entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .count())
}

fn collect(directory: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        files.insert(path.clone());
        if is_directory {
            // What is unpinned in between is gone, which is as well.
            collect(&path, files).ok();
        }
    }
    Ok(())
}
