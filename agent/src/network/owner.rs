//! The thread that owns the data plane. It decides nothing about containers: it makes the kernel
//! agree with what it is told and with what the node looks like.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};
use weir_abi::{Address, LAYOUT_VERSION, Node, Uplink};
use weir_resources::PortSet;
use weir_sys::bpf::{Hook, Target};
use weir_sys::netlink::Netlink;
use weir_sys::netns;

use super::bandwidth::Rates;
use super::cleanup::restore_host;
use super::clsact::{self, Side};
use super::error::NetworkError;
use super::features::Features;
use super::handle::NetworkSettings;
use super::host::HostChanges;
use super::namespace::Namespace;
use super::node::{self, InsideView, NodePlan};
use super::observe;
use super::programs::{self, Attachment as ProgramAttachment, NODE_HOOKS, Programs};
use super::shared::Shared;
use super::slots::follow_link;
use super::tables::Tables;
use crate::config::AttachMode;
use crate::container::{Attachment, Bandwidth, ContainerId, LiveAttachment};

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
    UpdateBandwidth {
        slot: u32,
        bandwidth: Bandwidth,
        answer: Answer<()>,
    },
    /// The first half of leaving: nobody reaches the container any more. The answer is its link, which
    /// has to be removed before the second.
    Close {
        slot: u32,
        answer: Answer<Option<u32>>,
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
    /// The node's links, addresses or routes are not what they were, as was heard at that moment.
    NodeChanged {
        heard: Instant,
    },
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, NetworkError>>;

/// A namespace, and what it was made to look like.
#[derive(Debug)]
pub struct MadeNamespace {
    pub(super) namespace: Namespace,
    pub(super) inside: Arc<InsideView>,
}

/// One container that is joined to the node.
pub(super) struct Joined {
    pub(super) container: ContainerId,
    /// With its namespace, for an isolated container.
    pub(super) link: Option<JoinedLink>,
}

pub(super) struct JoinedLink {
    pub(super) ifindex: u32,
    /// The index of the container's own end, inside.
    pub(super) eth0: u32,
    pub(super) netns: OwnedFd,
    pub(super) inside: Arc<InsideView>,
}

pub(super) struct Owner {
    pub(super) features: Features,
    pub(super) settings: NetworkSettings,
    pub(super) host: HostChanges,
    pub(super) programs: Programs,
    pub(super) tables: Tables,
    pub(super) netlink: Netlink,
    pub(super) plan: NodePlan,
    pub(super) slots: BTreeMap<u32, Joined>,
    pub(super) rates: Rates,
    pub(super) shared: Arc<Shared>,
    /// Since when the containers do not have what the node has.
    behind_since: Option<Instant>,
}

/// What a look at the node has found.
enum Look {
    /// What was known.
    Same,
    /// Something that the containers have by now, if they are not behind.
    Changed,
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
        let mut tables = Tables::open(programs.maps())?;
        let mut features = features;
        if features.queues.is_ok() {
            features.queues = tables.try_flows();
        }
        let netlink = Netlink::open()?;
        let mut owner = Self {
            features,
            settings,
            host,
            programs,
            tables,
            netlink,
            plan: NodePlan::default(),
            slots: BTreeMap::new(),
            rates: Rates::default(),
            shared,
            behind_since: None,
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
                Request::UpdateBandwidth {
                    slot,
                    bandwidth,
                    answer,
                } => reply(answer, self.set_bandwidth(slot, bandwidth)),
                Request::Close { slot, answer } => reply(answer, self.close(slot)),
                Request::Leave { slot, answer } => reply(answer, self.leave(slot)),
                Request::Recover { live, answer } => reply(answer, self.recover(live)),
                Request::StopIfUnused { answer } => {
                    if self.slots.is_empty() {
                        reply(answer, self.clean_up());
                        // The links of the last containers are still going, and each tells so: to
                        // follow that would be to begin anew.
                        return;
                    }
                    reply(answer, Ok(()));
                }
                Request::NodeChanged { heard } => self.follow(heard),
            }
        }
    }

    /// Follows a change of the node. One that cannot be followed now is as old as the first news of it
    /// when it is.
    fn follow(&mut self, heard: Instant) {
        let since = *self.behind_since.get_or_insert(heard);
        match self.follow_node() {
            Ok(_) if self.shared.is_behind() => {}
            Ok(look) => {
                self.behind_since = None;
                match look {
                    Look::Same => {}
                    Look::Changed => self.shared.add_followed(since.elapsed()),
                }
            }
            Err(error) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "cannot follow the node"
                );
                self.shared.set_behind(true);
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
        self.attach_interface("loopback", "node_loopback", self.plan.loopback)
    }

    /// Makes a program run on an interface of the node's own, whose qdisc is not Weir's to keep.
    fn attach_interface(
        &mut self,
        link: &str,
        program: &'static str,
        ifindex: u32,
    ) -> Result<(), NetworkError> {
        match self.programs.attachment() {
            ProgramAttachment::Tcx => {}
            ProgramAttachment::Clsact => {
                if !clsact::has_qdisc(&mut self.netlink, ifindex)? {
                    self.host.add_qdisc(ifindex)?;
                }
            }
        }
        self.programs
            .attach_interface(&mut self.netlink, link, program, ifindex, Side::Ingress)?;
        Ok(())
    }

    /// Takes the program off an interface of the node's own, with the qdisc that was made for it.
    fn detach_interface(&mut self, link: &str, ifindex: u32) -> Result<(), NetworkError> {
        self.programs
            .detach_interface(&mut self.netlink, link, ifindex, Side::Ingress)?;
        if self.host.qdiscs().contains(&ifindex) {
            clsact::remove_qdisc(&mut self.netlink, ifindex)?;
            self.host.forget_qdisc(ifindex)?;
        }
        Ok(())
    }

    /// Makes tables, uplinks and namespaces agree with the node as it is now.
    fn follow_node(&mut self) -> Result<Look, NetworkError> {
        let view = observe::observe(&mut self.netlink)?;
        let plan = node::plan(&view, &self.settings.uplinks);
        // Also where nothing seems to have changed: an interface that was removed and made anew under
        // its old index has lost its program.
        for &index in plan.uplinks.keys() {
            self.attach_interface(&uplink_link(index), "uplink_in", index)?;
        }
        let agrees = |joined: &Joined| joined.agrees(&plan);
        if plan == self.plan && self.rates.are_held() && self.slots.values().all(agrees) {
            // Whatever could not be done before, nothing of it is left.
            self.shared.set_behind(false);
            return Ok(Look::Same);
        }
        for refused in &plan.refused {
            if !self.plan.refused.contains(refused) {
                warn!("{refused}");
            }
        }
        // What is new is there before it is used; what is gone goes last.
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
                info!(uplink = %uplink.name, index, mtu = uplink.mtu, "uplink in use");
            }
        }
        let former = std::mem::take(&mut self.plan.uplinks);
        for (index, uplink) in former {
            if !plan.uplinks.contains_key(&index) {
                self.restore_root(index)?;
                self.detach_interface(&uplink_link(index), index)?;
                info!(uplink = %uplink.name, index, "uplink no longer in use");
            }
        }
        self.shared.set_inside(&plan.inside);
        self.plan = plan;
        self.divide_uplinks()?;
        self.follow_inside();
        Ok(Look::Changed)
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

pub(super) fn uplink_link(index: u32) -> String {
    format!("uplink-{index}")
}

pub(super) fn open_cgroup(path: &Path) -> Result<File, NetworkError> {
    File::open(path).map_err(|source| NetworkError::Cgroup {
        path: path.to_owned(),
        source,
    })
}
