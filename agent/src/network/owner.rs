//! The thread that owns the data plane. It decides nothing about containers: it makes the kernel
//! agree with what it is told and with what the node looks like.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};
use weir_abi::{Address, Container, ContainerMode, LAYOUT_VERSION, Node, OWNER_NONE, Uplink};
use weir_executor::spec::NetworkMode;
use weir_resources::PortSet;
use weir_sys::bpf::{Hook, Target};
use weir_sys::netlink::Netlink;
use weir_sys::netns;

use super::clsact;
use super::error::{NetworkError, StartError};
use super::features::Features;
use super::handle::NetworkSettings;
use super::host::HostChanges;
use super::namespace::{self, Namespace};
use super::node::{self, InsideView, NodePlan};
use super::observe;
use super::programs::{self, Attachment as ProgramAttachment, NODE_HOOKS, Programs};
use super::tables::Tables;
use crate::config::AttachMode;
use crate::container::{Attachment, ContainerId, LiveAttachment, task_cgroup};

/// Settings of the node without which the data plane does not work.
///
/// What a container sends to the node arrives on the loopback interface from an address that is the
/// node's own, which `accept_local` allows. The route look-up is made as if by the loopback
/// interface, which is how the kernel looks up what the node itself sends; the helper insists that
/// the interface it is told forwards. Nothing else ever comes in through that interface, so neither
/// changes anything for anybody else.
const NODE_SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/conf/lo/accept_local", "1"),
    ("net/ipv4/conf/lo/forwarding", "1"),
    ("net/ipv6/conf/lo/forwarding", "1"),
];

const RESERVED_PORTS: &str = "net/ipv4/ip_local_reserved_ports";

/// What the owner is asked to do.
pub(super) enum Request {
    Join {
        attachment: Attachment,
        namespace: Option<MadeNamespace>,
        answer: Answer<()>,
    },
    UpdatePorts {
        slot: u32,
        ports: PortSet,
        answer: Answer<()>,
    },
    Leave {
        slot: u32,
        answer: Answer<()>,
    },
    Recover {
        live: Vec<LiveAttachment>,
        answer: Answer<()>,
    },
    StopIfUnused {
        answer: Answer<()>,
    },
    /// The node's links, addresses or routes are not what they were.
    NodeChanged,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, NetworkError>>;

/// A namespace, and what it was made to look like.
pub(super) struct MadeNamespace {
    pub(super) namespace: Namespace,
    pub(super) inside: Arc<InsideView>,
}

/// What others may read of the owner's state.
#[derive(Default)]
pub(super) struct Shared {
    /// Whether something could not be brought up to date, and has to be tried again.
    is_behind: AtomicBool,
    inside: Mutex<Arc<InsideView>>,
    containers: Mutex<BTreeMap<u32, ContainerId>>,
}

impl Shared {
    /// Returns whether something could not be brought up to date with the node.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }

    /// Returns what a new namespace is to look like.
    pub(super) fn inside(&self) -> Arc<InsideView> {
        Arc::clone(&self.inside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns which container is in a slot.
    pub(super) fn container(&self, slot: u32) -> Option<ContainerId> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&slot)
            .cloned()
    }

    fn set_inside(&self, inside: &InsideView) {
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(inside.clone());
    }

    fn set_container(&self, slot: u32, container: Option<ContainerId>) {
        let mut containers = self
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match container {
            Some(container) => containers.insert(slot, container),
            None => containers.remove(&slot),
        };
    }
}

/// One container that is joined to the node.
struct Joined {
    container: ContainerId,
    /// With its namespace, for an isolated container.
    link: Option<JoinedLink>,
}

struct JoinedLink {
    ifindex: u32,
    netns: OwnedFd,
    inside: Arc<InsideView>,
}

pub(super) struct Owner {
    settings: NetworkSettings,
    host: HostChanges,
    programs: Programs,
    tables: Tables,
    netlink: Netlink,
    plan: NodePlan,
    slots: BTreeMap<u32, Joined>,
    shared: Arc<Shared>,
}

impl Owner {
    /// Loads the data plane, or takes over the one that is in force, and fits it to the node.
    pub(super) fn start(
        settings: NetworkSettings,
        shared: Arc<Shared>,
    ) -> Result<Self, NetworkError> {
        let mut host = HostChanges::open(&settings.state_directory)?;
        host.ensure_bpffs(&settings.pins)?;
        let features = Features::probe();
        let attachment = match settings.attach {
            AttachMode::Tcx if !features.tcx => return Err(NetworkError::NoTcx),
            AttachMode::Tcx => ProgramAttachment::Tcx,
            AttachMode::Auto if features.tcx => ProgramAttachment::Tcx,
            AttachMode::Auto | AttachMode::Clsact => ProgramAttachment::Clsact,
        };
        for (path, value) in NODE_SETTINGS {
            host.set(path, value)?;
        }
        if let Some(reserved) = &settings.reserved_ports {
            host.set(RESERVED_PORTS, reserved)?;
        }
        let programs = Programs::load(&settings.pins, attachment, &features)?;
        let tables = Tables::open(programs.maps())?;
        let netlink = Netlink::open()?;
        let mut owner = Self {
            settings,
            host,
            programs,
            tables,
            netlink,
            plan: NodePlan::default(),
            slots: BTreeMap::new(),
            shared,
        };
        owner.follow_node()?;
        owner.attach_node_programs()?;
        info!(
            attachment = ?attachment,
            uplinks = ?owner.plan.uplinks.values().map(|uplink| &uplink.name).collect::<Vec<_>>(),
            addresses = ?owner.plan.inside.addresses,
            "the data plane is in force"
        );
        Ok(owner)
    }

    /// Returns the loaded programs.
    pub(super) fn programs(&mut self) -> &mut Programs {
        &mut self.programs
    }

    /// Serves requests until all handles are gone.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            match request {
                Request::Join {
                    attachment,
                    namespace,
                    answer,
                } => {
                    reply(answer, self.join(&attachment, namespace));
                }
                Request::UpdatePorts {
                    slot,
                    ports,
                    answer,
                } => {
                    self.set_ports(slot, &ports);
                    reply(answer, Ok(()));
                }
                Request::Leave { slot, answer } => reply(answer, self.leave(slot)),
                Request::Recover { live, answer } => reply(answer, self.recover(live)),
                Request::StopIfUnused { answer } => {
                    let stopped = if self.slots.is_empty() {
                        self.clean_up()
                    } else {
                        Ok(())
                    };
                    reply(answer, stopped);
                }
                Request::NodeChanged => {
                    if let Err(error) = self.follow_node() {
                        error!(
                            error = &error as &dyn std::error::Error,
                            "cannot follow the node"
                        );
                        self.shared.set_behind(true);
                    }
                }
            }
        }
    }

    fn attach_node_programs(&mut self) -> Result<(), NetworkError> {
        let root = open_cgroup(&self.settings.cgroup_root)?;
        for (name, hook) in NODE_HOOKS {
            self.programs.attach(
                &format!("node-{name}"),
                name,
                Target::Cgroup(root.as_fd()),
                *hook,
            )?;
        }
        let parent = &self.settings.cgroup_parent;
        fs::create_dir_all(parent).map_err(|source| NetworkError::Cgroup {
            path: parent.clone(),
            source,
        })?;
        let containers = open_cgroup(parent)?;
        self.programs.attach(
            "containers-tcp",
            "tcp_watch",
            Target::Cgroup(containers.as_fd()),
            Hook::CgroupSockOps,
        )?;
        self.programs.attach_interface(
            &mut self.netlink,
            "loopback",
            "node_loopback",
            self.plan.loopback,
        )?;
        self.host.add_qdiscs(self.programs.qdiscs())?;
        Ok(())
    }

    /// Makes tables, uplinks and namespaces agree with the node as it is now.
    fn follow_node(&mut self) -> Result<(), NetworkError> {
        let view = observe::observe(&mut self.netlink)?;
        let plan = node::plan(&view, &self.settings.uplinks);
        if plan == self.plan && self.slots.values().all(|joined| joined.agrees(&plan)) {
            return Ok(());
        }
        for refused in &plan.refused {
            if !self.plan.refused.contains(refused) {
                warn!("{refused}");
            }
        }
        // New addresses and uplinks before what uses them, old ones after.
        let address = |ip: &IpAddr| Address::from(*ip);
        let addresses: Vec<Address> = plan.inside.addresses.iter().map(address).collect();
        let cookie = netns::cookie().map_err(NetworkError::NodeNamespace)?;
        self.tables.set_node(Node {
            layout_version: LAYOUT_VERSION,
            loopback_ifindex: plan.loopback,
            netns_cookie: cookie,
            primary_v4: plan
                .primary_v4
                .as_ref()
                .map_or_else(Address::default, address),
            primary_v6: plan
                .primary_v6
                .as_ref()
                .map_or_else(Address::default, address),
        })?;
        self.tables.set_addresses(&addresses)?;
        let uplinks: Vec<(u32, Uplink)> = plan
            .uplinks
            .iter()
            .map(|(&index, uplink)| (index, Uplink { mtu: uplink.mtu }))
            .collect();
        self.tables.set_uplinks(&uplinks)?;
        for (&index, uplink) in &plan.uplinks {
            if !self.plan.uplinks.contains_key(&index) {
                self.programs.attach_interface(
                    &mut self.netlink,
                    &uplink_link(index),
                    "uplink_in",
                    index,
                )?;
                info!(uplink = %uplink.name, index, mtu = uplink.mtu, "uplink in use");
            }
        }
        for (&index, uplink) in &self.plan.uplinks {
            if !plan.uplinks.contains_key(&index) {
                self.programs
                    .detach_interface(&mut self.netlink, &uplink_link(index), index)?;
                info!(uplink = %uplink.name, index, "uplink no longer in use");
            }
        }
        self.host.add_qdiscs(self.programs.qdiscs())?;
        self.shared.set_inside(&plan.inside);
        self.plan = plan;
        self.follow_inside();
        Ok(())
    }

    /// Brings every namespace up to date. One that cannot be is tried again at the next change: it
    /// must not keep the others behind.
    fn follow_inside(&mut self) {
        let wanted = Arc::new(self.plan.inside.clone());
        let mut is_behind = false;
        for joined in self.slots.values_mut() {
            let Some(link) = &mut joined.link else {
                continue;
            };
            let followed = follow_link(&mut self.netlink, &joined.container, link, &wanted);
            if let Err(error) = followed {
                error!(
                    container = %joined.container,
                    error = &error as &dyn std::error::Error,
                    "the namespace does not have the node's addresses and routes"
                );
                is_behind = true;
            }
        }
        self.shared.set_behind(is_behind);
    }

    /// Joins a container to the node.
    fn join(
        &mut self,
        attachment: &Attachment,
        namespace: Option<MadeNamespace>,
    ) -> Result<(), NetworkError> {
        let slot = attachment.slot.index();
        self.tables.reset_counters(slot)?;
        let joined = match (attachment.mode, namespace) {
            (NetworkMode::Isolated, Some(made)) => self.join_isolated(attachment, made),
            (NetworkMode::Isolated, None) => Err(NetworkError::NoEphemeralBlock),
            (NetworkMode::Host, _) => self.join_host(attachment),
        };
        if joined.is_err() {
            // Half a container would own ports that nobody answers on.
            if let Err(error) = self.leave(slot) {
                warn!(
                    slot,
                    error = &error as &dyn std::error::Error,
                    "cannot undo a failed join"
                );
            }
        }
        joined
    }

    fn join_isolated(
        &mut self,
        attachment: &Attachment,
        made: MadeNamespace,
    ) -> Result<(), NetworkError> {
        let slot = attachment.slot.index();
        let container = &attachment.container;
        let ephemeral = attachment.ephemeral.ok_or(NetworkError::NoEphemeralBlock)?;
        let name = namespace::link_name(container);
        let ifindex = self
            .link_index(&name)?
            .ok_or_else(|| NetworkError::LinkGone {
                name: name.clone(),
                container: container.to_string(),
            })?;
        // No address of its own on the host's end: it is a pipe. A kernel without IPv6 has no such
        // setting.
        let setting = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        if let Err(error) = fs::write(&setting, "1")
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(super::host::HostError::Setting {
                path: setting,
                value: "1".to_owned(),
                source: error,
            }
            .into());
        }
        self.tables.set_container(
            slot,
            Container {
                veth_ifindex: ifindex,
                mode: ContainerMode::Isolated as u32,
                ephemeral_first: ephemeral.first(),
                // A block of all ports there are cannot be: the pools leave out port zero.
                ephemeral_count: u16::try_from(ephemeral.count()).unwrap_or(u16::MAX),
                reserved: 0,
            },
        )?;
        self.tables.set_namespace(made.namespace.cookie, slot)?;
        self.tables.set_veth(ifindex, slot)?;
        for port in ephemeral.iter() {
            self.tables.give_port(port, slot);
        }
        for port in attachment.ports.iter() {
            self.tables.give_port(port, slot);
        }
        self.programs.attach_interface(
            &mut self.netlink,
            &container_link(slot),
            "container_out",
            ifindex,
        )?;
        self.link_up(ifindex, &name)?;
        self.shared.set_container(slot, Some(container.clone()));
        let mut link = JoinedLink {
            ifindex,
            netns: made.namespace.netns,
            inside: made.inside,
        };
        let wanted = Arc::new(self.plan.inside.clone());
        follow_link(&mut self.netlink, container, &mut link, &wanted)?;
        self.slots.insert(
            slot,
            Joined {
                container: container.clone(),
                link: Some(link),
            },
        );
        Ok(())
    }

    fn join_host(&mut self, attachment: &Attachment) -> Result<(), NetworkError> {
        let slot = attachment.slot.index();
        self.tables.set_container(
            slot,
            Container {
                mode: ContainerMode::Host as u32,
                ..Container::default()
            },
        )?;
        self.tables.set_cgroup(attachment.cgroup_id, slot)?;
        for port in attachment.ports.iter() {
            self.tables.give_port(port, slot);
        }
        let path = task_cgroup(&self.settings.cgroup_parent, &attachment.container);
        let cgroup = open_cgroup(&path)?;
        for (program, hook) in [
            ("host_rx", Hook::CgroupIngress),
            ("host_tx", Hook::CgroupEgress),
        ] {
            self.programs.attach(
                &host_link(program, slot),
                program,
                Target::Cgroup(cgroup.as_fd()),
                hook,
            )?;
        }
        self.shared
            .set_container(slot, Some(attachment.container.clone()));
        self.slots.insert(
            slot,
            Joined {
                container: attachment.container.clone(),
                link: None,
            },
        );
        Ok(())
    }

    /// Makes the ports of a container these, beside its ephemeral block.
    fn set_ports(&mut self, slot: u32, ports: &PortSet) {
        let ephemeral = self.tables.container(slot).map_or(0..0, |container| {
            let first = u32::from(container.ephemeral_first);
            first..first + u32::from(container.ephemeral_count)
        });
        for port in 1..=u16::MAX {
            let is_wanted = ephemeral.contains(&u32::from(port)) || ports.contains(port);
            match (is_wanted, self.tables.owner(port) == slot + 1) {
                (true, false) => self.tables.give_port(port, slot),
                (false, true) => self.tables.free_port(port),
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Takes everything of a slot away; fine where there is nothing.
    fn leave(&mut self, slot: u32) -> Result<(), NetworkError> {
        for port in 1..=u16::MAX {
            if self.tables.owner(port) == slot + 1 {
                self.tables.free_port(port);
            }
        }
        self.tables.remove_keys(|of| of == slot)?;
        self.tables.set_container(slot, Container::default())?;
        for link in [
            container_link(slot),
            host_link("host_rx", slot),
            host_link("host_tx", slot),
        ] {
            self.programs.detach(&link)?;
        }
        self.tables.drop_histogram(slot)?;
        self.shared.set_container(slot, None);
        // With the descriptor goes the last hold on the namespace, once its processes are gone; it
        // takes the link along, filters and all.
        drop(self.slots.remove(&slot));
        Ok(())
    }

    /// Takes over what a former agent left: the living stay as they are, without a gap, and what
    /// belongs to nobody is collected.
    fn recover(&mut self, live: Vec<LiveAttachment>) -> Result<(), NetworkError> {
        let living: Vec<u32> = live.iter().map(|one| one.attachment.slot.index()).collect();
        for port in 1..=u16::MAX {
            let owner = self.tables.owner(port);
            if owner != OWNER_NONE && !living.contains(&(owner - 1)) {
                self.tables.free_port(port);
            }
        }
        self.tables.remove_keys(|slot| !living.contains(&slot))?;
        for slot in 0..weir_abi::SLOTS_MAX {
            if !living.contains(&slot) && self.tables.container(slot)? != Container::default() {
                self.tables.set_container(slot, Container::default())?;
                self.tables.drop_histogram(slot)?;
            }
        }
        let wanted = wanted_links(&living, &self.plan);
        self.programs
            .retain(|name| wanted.iter().any(|link| link == name))?;
        for one in live {
            let container = one.attachment.container.clone();
            if let Err(error) = self.readopt(&one) {
                // The container keeps what the kernel still enforces for it.
                error!(
                    %container,
                    error = &error as &dyn std::error::Error,
                    "cannot take over the network of a running container"
                );
            }
        }
        Ok(())
    }

    /// Takes over one living container. Nothing that is in force is taken away in between.
    fn readopt(&mut self, one: &LiveAttachment) -> Result<(), NetworkError> {
        let attachment = &one.attachment;
        let slot = attachment.slot.index();
        if attachment.mode == NetworkMode::Host {
            self.join_host(attachment)?;
            self.set_ports(slot, &attachment.ports);
            return Ok(());
        }
        let container = &attachment.container;
        let netns = netns::of_process(one.init_pid).map_err(NetworkError::NodeNamespace)?;
        let inside = Arc::new(self.plan.inside.clone());
        let cookie = namespace::adopt(container, netns.as_fd(), &inside)?;
        let made = MadeNamespace {
            namespace: Namespace { netns, cookie },
            inside,
        };
        self.join_isolated(attachment, made)?;
        // Ports that an update took away just before the former agent died.
        self.set_ports(slot, &attachment.ports);
        Ok(())
    }

    fn link_index(&mut self, name: &str) -> Result<Option<u32>, NetworkError> {
        let mut ask = LinkMessage::default();
        ask.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.netlink.get(RouteNetlinkMessage::GetLink(ask), || {
            format!("look up link `{name}`")
        }) {
            Ok(answer) => Ok(answer
                .as_ref()
                .and_then(observe::read_link)
                .map(|link| link.index)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn link_up(&mut self, ifindex: u32, name: &str) -> Result<(), NetworkError> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.netlink
            .execute(RouteNetlinkMessage::SetLink(message), 0, || {
                format!("bring up `{name}`")
            })?;
        Ok(())
    }

    /// Leaves the node as it was before the first agent.
    fn clean_up(&mut self) -> Result<(), NetworkError> {
        programs::remove_pins(&self.settings.pins)?;
        restore_host(&mut self.host, &mut self.netlink)?;
        info!("the node's network is as it was");
        Ok(())
    }
}

impl Joined {
    fn agrees(&self, plan: &NodePlan) -> bool {
        self.link
            .as_ref()
            .is_none_or(|link| *link.inside == plan.inside)
    }
}

fn reply<T>(answer: Answer<T>, result: Result<T, NetworkError>) {
    if answer.send(result).is_err() {
        warn!("nobody waits any more for the answer of the data plane");
    }
}

/// Brings one namespace, and the host's end of its link, up to date.
fn follow_link(
    netlink: &mut Netlink,
    container: &ContainerId,
    link: &mut JoinedLink,
    wanted: &Arc<InsideView>,
) -> Result<(), NetworkError> {
    if link.inside == *wanted {
        return Ok(());
    }
    if link.inside.mtu != wanted.mtu {
        let mut message = LinkMessage::default();
        message.header.index = link.ifindex;
        message.attributes.push(LinkAttribute::Mtu(wanted.mtu));
        netlink.execute(RouteNetlinkMessage::SetLink(message), 0, || {
            format!("set the MTU of the link of container {container}")
        })?;
    }
    namespace::follow(container, link.netns.as_fd(), &link.inside, wanted)?;
    link.inside = Arc::clone(wanted);
    Ok(())
}

fn uplink_link(index: u32) -> String {
    format!("uplink-{index}")
}

fn container_link(slot: u32) -> String {
    format!("container-{slot}")
}

fn host_link(program: &str, slot: u32) -> String {
    format!("{program}-{slot}")
}

/// Returns the names of all links that are in use.
fn wanted_links(living: &[u32], plan: &NodePlan) -> Vec<String> {
    let mut links = vec!["containers-tcp".to_owned(), "loopback".to_owned()];
    links.extend(NODE_HOOKS.iter().map(|(name, _)| format!("node-{name}")));
    links.extend(plan.uplinks.keys().map(|&index| uplink_link(index)));
    for &slot in living {
        links.extend([
            container_link(slot),
            host_link("host_rx", slot),
            host_link("host_tx", slot),
        ]);
    }
    links
}

fn open_cgroup(path: &Path) -> Result<File, NetworkError> {
    File::open(path).map_err(|source| NetworkError::Cgroup {
        path: path.to_owned(),
        source,
    })
}

fn restore_host(host: &mut HostChanges, netlink: &mut Netlink) -> Result<(), NetworkError> {
    for &index in host.qdiscs() {
        clsact::detach(netlink, index)?;
        clsact::remove_qdisc(netlink, index)?;
    }
    host.restore()?;
    Ok(())
}

/// Leaves the node as it was before the first agent: for `weir-agent cleanup`, when no agent and no
/// container runs.
pub fn clean_up(state_directory: &Path, pins: &Path) -> Result<(), StartError> {
    let clean = || -> Result<(), NetworkError> {
        let mut host = HostChanges::open(state_directory)?;
        let mut netlink = Netlink::open()?;
        programs::remove_pins(pins)?;
        for name in leftover_links(&mut netlink)? {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::IfName(name.clone()));
            let removed = netlink.execute(RouteNetlinkMessage::DelLink(message), 0, || {
                format!("remove link `{name}`")
            });
            match removed {
                Err(error) if !error.is_gone() => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        restore_host(&mut host, &mut netlink)
    };
    Ok(clean()?)
}

/// Returns the host's ends of containers' links that are still there.
fn leftover_links(netlink: &mut Netlink) -> Result<Vec<String>, NetworkError> {
    let links = netlink
        .dump(
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            "list the links",
        )?
        .iter()
        .filter_map(observe::read_link)
        .map(|link| link.name)
        .filter(|name| namespace::is_container_link(name))
        .collect();
    Ok(links)
}
