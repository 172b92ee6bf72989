//! The two namespaces of a node, and what it takes to do something inside one.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};

use super::Node;
use crate::command::{command, read};

/// The node's address, which its containers share.
pub(crate) const NODE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 87, 0, 2));

/// The node's other address.
pub(crate) const NODE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd87, 0, 0, 0, 0, 0, 0, 2));

/// The other end of the wire: the node's gateway, and the world.
pub(crate) const WIRE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 87, 0, 1));

/// The interface of the node that leads to the wire.
pub(crate) const UPLINK: &str = "uplink";

/// The other end.
const WIRE: &str = "wire";

impl Node {
    pub(super) fn node_name(self) -> String {
        format!("{}-node", self.name)
    }

    fn wire_name(self) -> String {
        format!("{}-wire", self.name)
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
        // The link is born inside: udev, network managers and the machine's routes never see it.
        let lines = [
            format!("netns add {node}"),
            format!("netns add {wire}"),
            format!("link add name {UPLINK} netns {node} type veth peer name {WIRE} netns {wire}"),
            format!("-n {node} link set lo up"),
            format!("-n {wire} link set lo up"),
            format!("-n {node} address add 10.87.0.2/24 dev {UPLINK}"),
            // Without nodad an address is of no use for its first second.
            format!("-n {node} address add fd87::2/64 dev {UPLINK} nodad"),
            format!("-n {wire} address add 10.87.0.1/24 dev {WIRE}"),
            format!("-n {wire} address add fd87::1/64 dev {WIRE} nodad"),
            format!("-n {node} link set {UPLINK} up"),
            format!("-n {wire} link set {WIRE} up"),
            format!("-n {node} route add default via 10.87.0.1"),
            format!("-n {node} -6 route add default via fd87::1"),
        ];
        for line in lines {
            read(command("ip").args(line.split(' ')))?;
        }
        Ok(())
    }

    pub(super) fn remove_network(self) -> Result<()> {
        for (name, path) in [
            (self.node_name(), self.node_namespace()),
            (self.wire_name(), self.wire_namespace()),
        ] {
            if path.exists() {
                read(command("ip").args(["netns", "delete", &name]))?;
            }
        }
        Ok(())
    }

    /// Returns the directory under which the agent pins.
    pub(crate) fn bpffs(self) -> PathBuf {
        self.run_directory().join("bpf")
    }

    pub(super) fn mount_bpffs(self) -> Result<()> {
        let path = self.bpffs();
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
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

fn is_mounted(path: &std::path::Path) -> Result<bool> {
    let mounts =
        std::fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    Ok(mounts
        .lines()
        .any(|line| line.split(' ').nth(1).map(std::path::Path::new) == Some(path)))
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
