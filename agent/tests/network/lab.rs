//! A laboratory: a node and a machine on its wire, each a network namespace of its own, with the
//! data plane loaded on the node.
//!
//! ```text
//!   far (172.31.5.5, MTU 1300 on the way) ── wire (10.9.0.1, fd09::1) ── up0: node (10.9.0.2, fd09::2)
//!                                                                              ├── container a
//!                                                                              └── container b
//! ```
//!
//! Everything is named by the process, and goes when the laboratory does, also when a test fails.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use weir_agent::config::{AttachMode, BandwidthConfig};
use weir_agent::container::{
    Attachment, Bandwidth, ContainerId, ContainerNetwork, LiveAttachment, Slot,
};
use weir_agent::network::{NetworkHandle, NetworkSettings, start};
use weir_executor::spec::NetworkMode;
use weir_resources::{PortRange, PortSet};
use weir_sys::netns;

use crate::log;

/// Every wait in these tests ends here: far beyond what a loaded machine needs, or an emulated one.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) const NODE_V4: &str = "10.9.0.2";
pub(crate) const NODE_V6: &str = "fd09::2";
pub(crate) const WIRE_V4: &str = "10.9.0.1";
pub(crate) const WIRE_V6: &str = "fd09::1";
/// An address beyond the gateway.
pub(crate) const FAR_V4: &str = "172.31.5.5";
pub(crate) const FAR_V6: &str = "fd31::5";
/// The node and the machine at the other end of a second wire.
pub(crate) const SECOND_NODE_V4: &str = "10.8.0.2";
pub(crate) const SECOND_NODE_V6: &str = "fd08::2";
pub(crate) const SECOND_WIRE_V4: &str = "10.8.0.1";
pub(crate) const SECOND_WIRE_V6: &str = "fd08::1";

static LABS: AtomicU32 = AtomicU32::new(0);
static CONTAINERS: AtomicU32 = AtomicU32::new(0);

/// How the programs are attached in this run: `WEIR_TEST_ATTACH=clsact` forces the older way.
pub(crate) fn attach_mode() -> AttachMode {
    match std::env::var("WEIR_TEST_ATTACH").as_deref() {
        Ok("clsact") => AttachMode::Clsact,
        Ok("tcx") => AttachMode::Tcx,
        Ok(other) => panic!("WEIR_TEST_ATTACH is tcx or clsact, not {other}"),
        Err(_) => AttachMode::Auto,
    }
}

/// A namespace that commands and closures can be run in.
pub(crate) struct Place {
    pub(crate) netns: OwnedFd,
}

impl Place {
    fn new() -> Self {
        let (netns, ()) = netns::create(|| ()).expect("these tests need root");
        let place = Self { netns };
        place.ip("link set lo up");
        place
    }

    /// Runs a closure inside, in a thread of its own.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::enter(self.netns.as_fd(), work).unwrap()
    }

    /// Runs `ip` with these words.
    pub(crate) fn ip(&self, words: &str) {
        self.command("ip", words);
    }

    /// Runs a command with these words, and fails with what it said.
    pub(crate) fn command(&self, program: &str, words: &str) -> String {
        let output = self.run(|| {
            Command::new(program)
                .args(words.split_whitespace())
                .output()
                .unwrap_or_else(|error| {
                    panic!("cannot run {program}, which `cargo xtask setup` installs: {error}")
                })
        });
        assert!(
            output.status.success(),
            "{program} {words}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until an IPv6 address is in force: a worker of the kernel does it.
    fn await_address(&self, address: &str) {
        eventually(&format!("{address} is in force"), || {
            let local = self.command("ip", "-6 route show table local");
            local.contains(&format!("local {address} ")).then_some(())
        });
    }

    pub(crate) fn write_setting(&self, path: &str, value: &str) {
        self.run(|| fs::write(format!("/proc/sys/{path}"), value).unwrap());
    }

    /// Returns how many TCP segments were sent again by the sockets here.
    pub(crate) fn retransmits(&self) -> u64 {
        let text = self.run(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
        let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
        let mut pairs = names.split(' ').zip(values.split(' '));
        let (_, value) = pairs.find(|(name, _)| *name == "RetransSegs").unwrap();
        value.parse().unwrap()
    }

    pub(crate) fn setting(&self, path: &str) -> String {
        self.run(|| {
            fs::read_to_string(format!("/proc/sys/{path}"))
                .unwrap()
                .trim()
                .to_owned()
        })
    }
}

/// A container without processes: a namespace that the data plane knows.
pub(crate) struct Container {
    pub(crate) place: Place,
    pub(crate) slot: Slot,
    pub(crate) attachment: Attachment,
}

impl Container {
    /// Returns the first port that was asked for.
    pub(crate) fn port(&self) -> u16 {
        self.attachment.ports.first().unwrap()
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.place.run(work)
    }
}

pub(crate) struct Lab {
    pub(crate) node: Place,
    pub(crate) wire: Place,
    pub(crate) far: Place,
    pub(crate) directory: PathBuf,
    pub(crate) cgroup: PathBuf,
    settings: NetworkSettings,
    agent: Option<Agent>,
}

/// A running data plane: what an agent holds.
struct Agent {
    runtime: Runtime,
    handle: NetworkHandle,
}

impl Lab {
    /// Builds the networks and loads the data plane.
    pub(crate) fn new() -> Self {
        Self::with_settings(|_, _| ())
    }

    /// The same, with the node and the settings prepared before the data plane is loaded.
    pub(crate) fn with_settings(prepare: impl FnOnce(&Self, &mut NetworkSettings)) -> Self {
        let mut lab = Self::without_agent();
        let mut settings = lab.settings.clone();
        prepare(&lab, &mut settings);
        lab.settings = settings;
        lab.start();
        lab
    }

    /// Builds the networks only.
    pub(crate) fn without_agent() -> Self {
        log::capture();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        let pins = directory.join("bpf");
        fs::create_dir_all(&pins).unwrap();
        mount_bpffs(&pins);

        let (node, wire, far) = (Place::new(), Place::new(), Place::new());
        join(&node, "up0", &wire, "w0");
        join(&wire, "w1", &far, "f0");
        // The default would overlap with the blocks of the containers; a real agent sees to it.
        node.write_setting("net/ipv4/ip_local_port_range", "55000 60999");
        node.ip("addr add 10.9.0.2/24 dev up0");
        node.ip("-6 addr add fd09::2/64 dev up0 nodad");
        node.ip("route add default via 10.9.0.1");
        node.ip("-6 route add default via fd09::1");
        wire.ip("addr add 10.9.0.1/24 dev w0");
        wire.ip("-6 addr add fd09::1/64 dev w0 nodad");
        wire.ip("addr add 172.31.5.1/24 dev w1");
        wire.ip("-6 addr add fd31::1/64 dev w1 nodad");
        wire.write_setting("net/ipv4/ip_forward", "1");
        wire.write_setting("net/ipv6/conf/all/forwarding", "1");
        far.ip("addr add 172.31.5.5/24 dev f0");
        far.ip("-6 addr add fd31::5/64 dev f0 nodad");
        far.ip("route add default via 172.31.5.1");
        far.ip("-6 route add default via fd31::1");

        node.await_address(NODE_V6);
        wire.await_address(WIRE_V6);
        far.await_address(FAR_V6);

        let cgroup_root = cgroup_root();
        let cgroup = cgroup_root.join(&name);
        let settings = NetworkSettings {
            attach: attach_mode(),
            pins: pins.join("weir"),
            uplinks: Vec::new(),
            cgroup_root,
            cgroup_parent: cgroup.clone(),
            state_directory: directory.clone(),
            reserved_ports: None,
            bandwidth: BandwidthConfig::default(),
            program_statistics: false,
        };
        Self {
            node,
            wire,
            far,
            directory,
            cgroup,
            settings,
            agent: None,
        }
    }

    /// Joins the node to another machine by a second link, named `name` on the node and `w0` there.
    pub(crate) fn second_wire(&self, name: &str) -> Place {
        let other = Place::new();
        join(&self.node, name, &other, "w0");
        self.node
            .ip(&format!("addr add {SECOND_NODE_V4}/24 dev {name}"));
        self.node
            .ip(&format!("-6 addr add {SECOND_NODE_V6}/64 dev {name} nodad"));
        other.ip(&format!("addr add {SECOND_WIRE_V4}/24 dev w0"));
        other.ip(&format!("-6 addr add {SECOND_WIRE_V6}/64 dev w0 nodad"));
        self.node.await_address(SECOND_NODE_V6);
        other.await_address(SECOND_WIRE_V6);
        other
    }

    /// Where the maps are pinned.
    pub(crate) fn maps(&self) -> PathBuf {
        self.settings
            .pins
            .join(format!("v{}/maps", weir_abi::LAYOUT_VERSION))
    }

    /// Where the links are pinned.
    pub(crate) fn links(&self) -> PathBuf {
        self.settings
            .pins
            .join(format!("v{}/links", weir_abi::LAYOUT_VERSION))
    }

    /// Changes what the next [`Lab::start`] is given.
    pub(crate) fn settings(&mut self) -> &mut NetworkSettings {
        &mut self.settings
    }

    /// Loads the data plane, or takes over the one that is in force.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap_or_else(|error| {
            use std::error::Error;
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            panic!("{text}");
        });
    }

    pub(crate) fn try_start(&mut self) -> Result<(), weir_agent::network::StartError> {
        let settings = self.settings.clone();
        // The workers of the runtime, and the owner's thread, inherit the node's namespace.
        let agent = self.node.run(|| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let handle = runtime.block_on(async { start(settings) })?;
            Ok::<_, weir_agent::network::StartError>(Agent { runtime, handle })
        })?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Ends the agent's side; what is pinned stays in force.
    pub(crate) fn stop(&mut self) {
        if let Some(Agent { runtime, handle }) = self.agent.take() {
            drop(handle);
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    pub(crate) fn handle(&self) -> &NetworkHandle {
        &self
            .agent
            .as_ref()
            .expect("the data plane is loaded")
            .handle
    }

    pub(crate) fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let agent = self.agent.as_ref().expect("the data plane is loaded");
        agent.runtime.block_on(work)
    }

    /// Makes the network of a container and joins it to the node; gives its namespace.
    pub(crate) fn join(&self, attachment: &Attachment) -> Option<OwnedFd> {
        let handle = self.handle();
        self.wait(async {
            let (mode, ephemeral) = (attachment.mode, attachment.ephemeral);
            let (container, slot) = (&attachment.container, attachment.slot);
            let prepared = handle.prepare(container, slot, mode, ephemeral).await;
            let prepared = prepared.unwrap();
            handle
                .attach(attachment.clone(), prepared.made)
                .await
                .unwrap();
            prepared.netns
        })
    }

    /// Joins an isolated container that owns these ports.
    pub(crate) fn container(&self, slot: u32, ports: &str) -> Container {
        self.join_container(attachment(slot, ports))
    }

    /// Joins an isolated container as it is described.
    pub(crate) fn join_container(&self, attachment: Attachment) -> Container {
        let place = Place {
            netns: self.join(&attachment).unwrap(),
        };
        Container {
            place,
            slot: attachment.slot,
            attachment,
        }
    }

    /// Takes containers over after [`Lab::start`]. They have no process of their own: a `sleep`
    /// stands in each, whose pid an agent would know.
    pub(crate) fn recover(&self, containers: &[(&Container, u32)]) {
        self.recover_attachments(
            containers
                .iter()
                .map(|(container, pid)| (container.attachment.clone(), *pid))
                .collect(),
        );
    }

    pub(crate) fn recover_attachments(&self, living: Vec<(Attachment, u32)>) {
        let live = living
            .into_iter()
            .map(|(attachment, init_pid)| LiveAttachment {
                attachment,
                init_pid,
            })
            .collect();
        self.wait(self.handle().recover(live)).unwrap();
    }

    pub(crate) fn counters(&self, container: &Container) -> weir_abi::Counters {
        self.handle().counters(container.slot).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop();
        let pins = self.directory.join("bpf");
        drop(fs::remove_dir_all(self.settings.pins.clone()));
        nix::mount::umount2(&pins, nix::mount::MntFlags::MNT_DETACH).unwrap_or_default();
        drop(fs::remove_dir_all(&self.directory));
        remove_cgroups(&self.cgroup);
    }
}

/// An attachment as the agent would plan it: a block of 512 ports per slot, from 40000 on.
pub(crate) fn attachment(slot: u32, ports: &str) -> Attachment {
    let first = 40_000 / 512 * 512 + 512 * u16::try_from(slot).unwrap();
    Attachment {
        // Not the slot, which every laboratory counts from one: the log is that of them all.
        container: ContainerId::from_random(CONTAINERS.fetch_add(1, Ordering::Relaxed).into()),
        slot: Slot::try_from(slot).unwrap(),
        mode: NetworkMode::Isolated,
        ports: ports.parse::<PortSet>().unwrap(),
        ephemeral: Some(PortRange::new(first, first + 511).unwrap()),
        bandwidth: Bandwidth::default(),
        cgroup_id: 0,
    }
}

fn join(one: &Place, one_name: &str, other: &Place, other_name: &str) {
    use std::os::fd::AsRawFd;
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        other.netns.as_raw_fd()
    );
    one.ip(&format!(
        "link add {one_name} type veth peer name {other_name} netns {path}"
    ));
    one.ip(&format!("link set {one_name} up"));
    other.ip(&format!("link set {other_name} up"));
}

/// Waits until a condition holds.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        // Between two looks, not instead of one.
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

fn mount_bpffs(path: &Path) {
    use nix::mount::{MsFlags, mount};
    mount(
        Some("bpf"),
        path,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .expect("these tests mount a bpffs of their own, which needs root");
}

pub(crate) fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .expect("these tests need cgroup v2, mounted anywhere");
    PathBuf::from(line.split(' ').nth(4).unwrap())
}

fn remove_cgroups(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    drop(fs::remove_dir(path));
}
