//! The two namespaces of a node, and what it takes to do something inside one.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};

use super::Node;
use crate::command::{command, read};

/// The interface of the node that leads to the wire.
pub(crate) const UPLINK: &str = "uplink";

/// What makes a namespace a router.
const FORWARDING: [&str; 2] = [
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
];

impl Node {
    pub(super) fn node_name(self) -> String {
        format!("{}-node", self.name)
    }

    fn wire_name(self) -> String {
        format!("{}-wire", self.wire_of.unwrap_or(self.name))
    }

    /// Returns the node's address, which its containers share.
    pub(crate) const fn v4(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 87, self.subnet, 2))
    }

    /// Returns the node's other address.
    pub(crate) const fn v6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd87, self.subnet as u16, 0, 0, 0, 0, 0, 2))
    }

    /// Returns the address of the other end of the wire: the node's gateway, and the world.
    pub(crate) const fn wire_v4(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 87, self.subnet, 1))
    }

    const fn wire_v6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd87, self.subnet as u16, 0, 0, 0, 0, 0, 1))
    }

    /// Returns the namespace that the agent is in.
    pub(crate) fn node_namespace(self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.node_name())
    }

    /// Returns the namespace of the world outside.
    pub(crate) fn wire_namespace(self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.wire_name())
    }

    pub(super) fn create_network(self) -> Result<()> {
        let (node, wire) = (self.node_name(), self.wire_name());
        let (v4, v6) = (self.v4(), self.v6());
        let (wire_v4, wire_v6) = (self.wire_v4(), self.wire_v6());
        let end = format!("wire{}", self.subnet);
        if self.wire_of.is_none() {
            read(command("ip").args(["netns", "add", &wire]))?;
        }
        // The link is born inside: udev, network managers and the machine's routes never see it.
        let lines = [
            format!("netns add {node}"),
            format!("link add name {UPLINK} netns {node} type veth peer name {end} netns {wire}"),
            format!("-n {node} link set lo up"),
            format!("-n {wire} link set lo up"),
            format!("-n {node} address add {v4}/24 dev {UPLINK}"),
            // Without nodad an address is of no use for its first second.
            format!("-n {node} address add {v6}/64 dev {UPLINK} nodad"),
            format!("-n {wire} address add {wire_v4}/24 dev {end}"),
            format!("-n {wire} address add {wire_v6}/64 dev {end} nodad"),
            format!("-n {node} link set {UPLINK} up"),
            format!("-n {wire} link set {end} up"),
            format!("-n {node} route add default via {wire_v4}"),
            format!("-n {node} -6 route add default via {wire_v6}"),
        ];
        for line in lines {
            read(command("ip").args(line.split(' ')))?;
        }
        if self.wire_of.is_some() {
            // Nodes on one wire reach each other through it.
            for switch in FORWARDING {
                inside(self.wire_namespace(), || fs::write(switch, "1"))?
                    .with_context(|| format!("cannot write to {switch}"))?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_network(self) -> Result<()> {
        remove_namespace(&self.node_name(), &self.node_namespace())?;
        match self.wire_of {
            Some(_other) => Ok(()),
            None => remove_namespace(&self.wire_name(), &self.wire_namespace()),
        }
    }

    /// Returns the directory under which the agent pins.
    pub(crate) fn bpffs(self) -> PathBuf {
        self.run_directory().join("bpf")
    }

    pub(super) fn mount_bpffs(self) -> Result<()> {
        let path = self.bpffs();
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        mount(
            Some("bpf"),
            &path,
            Some("bpf"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            None::<&str>,
        )
        .with_context(|| format!("cannot mount a bpffs at {}", path.display()))
    }

    pub(super) fn unmount_bpffs(self) -> Result<()> {
        let path = self.bpffs();
        // Half a start leaves the directory without a mount; two starts leave two mounts.
        while is_mounted(&path)? {
            umount2(&path, MntFlags::empty())
                .with_context(|| format!("cannot unmount {}", path.display()))?;
        }
        Ok(())
    }
}

fn remove_namespace(name: &str, path: &Path) -> Result<()> {
    if path.exists() {
        read(command("ip").args(["netns", "delete", name]))?;
    }
    Ok(())
}

fn is_mounted(path: &Path) -> Result<bool> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    Ok(mounts
        .lines()
        .any(|line| line.split(' ').nth(1).map(Path::new) == Some(path)))
}

/// Runs `work` in a thread that is in the network namespace at `path`.
///
/// A thread of its own, for it never comes back: it ends there.
pub(crate) fn inside<T: Send>(path: PathBuf, work: impl FnOnce() -> T + Send) -> Result<T> {
    let namespace =
        File::open(&path).with_context(|| format!("cannot open namespace {}", path.display()))?;
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter namespace {}", path.display()))?;
            Ok(work())
        });
        thread
            .join()
            .map_err(|_panic| anyhow!("the thread in the namespace panicked"))?
    })
}
