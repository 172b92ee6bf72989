//! Joining containers to the node, and taking them off it again.

use std::fs;
use std::os::fd::AsFd;
use std::sync::Arc;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use tracing::{error, warn};
use weir_abi::{Container, ContainerMode, OWNER_NONE};
use weir_executor::spec::NetworkMode;
use weir_resources::PortSet;
use weir_sys::bpf::{Hook, Target};
use weir_sys::netlink::Netlink;
use weir_sys::netns;

use super::bandwidth::{host_end_link, own_end_link};
use super::clsact::Side;
use super::error::NetworkError;
use super::host::HostError;
use super::namespace::{self, Namespace, eth0_of};
use super::node::{InsideView, NodePlan};
use super::observe;
use super::owner::{Joined, JoinedLink, MadeNamespace, Owner, open_cgroup, uplink_link};
use super::programs::NODE_HOOKS;
use crate::container::{Attachment, ContainerId, LiveAttachment, task_cgroup};

impl Owner {
    /// Joins a container to the node.
    pub(super) fn join(
        &mut self,
        attachment: &Attachment,
        namespace: Option<MadeNamespace>,
    ) -> Result<(), NetworkError> {
        let slot = attachment.slot.index();
        self.tables.reset_counters(slot)?;
        self.tables.reset_lanes(slot)?;
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
            return Err(HostError::Setting {
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
                held: self.held_already(slot, ifindex),
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
            Side::Ingress,
        )?;
        self.link_up(ifindex, &name, made.inside.mtu)?;
        self.shared.set_container(slot, Some(container.clone()));
        let mut link = JoinedLink {
            ifindex,
            eth0: eth0_of(slot),
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
        self.set_bandwidth(slot, attachment.bandwidth)
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
    pub(super) fn set_ports(&mut self, slot: u32, ports: &PortSet) {
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

    /// Takes the ports of a slot away, and returns its link, if it has one.
    pub(super) fn close(&self, slot: u32) -> Result<Option<u32>, NetworkError> {
        for port in 1..=u16::MAX {
            if self.tables.owner(port) == slot + 1 {
                self.tables.free_port(port);
            }
        }
        let index = self.tables.container(slot)?.veth_ifindex;
        Ok((index != 0).then_some(index))
    }

    /// Takes everything of a slot away; fine where there is nothing.
    pub(super) fn leave(&mut self, slot: u32) -> Result<(), NetworkError> {
        if let Some(link) = self.close(slot)? {
            remove_link(&mut self.netlink, link)?;
        }
        self.tables.remove_keys(|of| of == slot)?;
        self.tables.set_container(slot, Container::default())?;
        self.release(slot)?;
        for link in [
            container_link(slot),
            own_end_link(slot),
            host_end_link(slot),
            host_link("host_rx", slot),
            host_link("host_tx", slot),
        ] {
            self.programs.detach(&link)?;
        }
        self.tables.drop_histogram(slot)?;
        self.shared.set_container(slot, None);
        // With the descriptor goes the last hold on the namespace, once its processes are gone.
        drop(self.slots.remove(&slot));
        Ok(())
    }

    /// Takes over what a former agent left: the living stay as they are, without a gap, and what
    /// belongs to nobody is collected.
    pub(super) fn recover(&mut self, live: Vec<LiveAttachment>) -> Result<(), NetworkError> {
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
                if let Some(link) = self.close(slot)? {
                    remove_link(&mut self.netlink, link)?;
                }
                self.tables.set_container(slot, Container::default())?;
                self.release(slot)?;
                self.tables.drop_histogram(slot)?;
            }
        }
        let wanted = wanted_links(&living, &self.plan);
        self.programs
            .retain(|name| wanted.iter().any(|link| link == name))?;
        for one in &live {
            let attachment = &one.attachment;
            if attachment.mode == NetworkMode::Isolated && self.features.queues.is_ok() {
                self.remember_bandwidth(attachment.slot.index(), attachment.bandwidth);
            }
        }
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
        self.retain_classes()
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
        let cookie = namespace::adopt(container, eth0_of(slot), netns.as_fd(), &inside)?;
        let made = MadeNamespace {
            namespace: Namespace { netns, cookie },
            inside,
        };
        self.join_isolated(attachment, made)?;
        self.tables.ensure_histogram(slot)?;
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

    /// Brings up the host's end of a link. Its MTU is that of the other end already, but where that
    /// changed while no agent ran.
    fn link_up(&mut self, ifindex: u32, name: &str, mtu: u32) -> Result<(), NetworkError> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.flags = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        message.header.change_mask = LinkFlags::Up;
        self.netlink
            .execute(RouteNetlinkMessage::SetLink(message), 0, || {
                format!("bring up `{name}`")
            })?;
        Ok(())
    }
}

/// Removes the link of a container; fine where there is none.
///
/// Before its program is taken off: whoever still holds the namespace could else send into the node
/// unjudged.
pub(super) fn remove_link(netlink: &mut Netlink, index: u32) -> Result<(), NetworkError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let found = netlink.get(RouteNetlinkMessage::GetLink(message.clone()), || {
        format!("look up link {index}")
    });
    let link = match found {
        Ok(answer) => answer.as_ref().and_then(observe::read_link),
        Err(error) if error.is_gone() => None,
        Err(error) => return Err(error.into()),
    };
    // Gone with its namespace, or its index is somebody else's by now.
    if !link.is_some_and(|link| namespace::is_container_link(&link.name)) {
        return Ok(());
    }
    match netlink.execute(RouteNetlinkMessage::DelLink(message), 0, || {
        format!("remove link {index}")
    }) {
        Err(error) if !error.is_gone() => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Brings one namespace, and the host's end of its link, up to date.
pub(super) fn follow_link(
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
    namespace::follow(
        container,
        link.eth0,
        link.netns.as_fd(),
        &link.inside,
        wanted,
    )?;
    link.inside = Arc::clone(wanted);
    Ok(())
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
            own_end_link(slot),
            host_end_link(slot),
            host_link("host_rx", slot),
            host_link("host_tx", slot),
        ]);
    }
    links
}
