//! Makes the kernel hold what was planned. Nothing is decided here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use tracing::{info, warn};
use weir_abi::{Container, Lane};
use weir_resources::BitRate;
use weir_sys::netlink::{Netlink, NetlinkError};
use weir_sys::netns;

use super::htb::{self, Class, Root};
use super::plan::{self, Asked, Held, Hold, LANE_DEFAULT, MARGIN, NODE_LEAF, Wire};
use super::wire;
use crate::container::{Bandwidth, NetworkCapacity};
use crate::network::clsact::Side;
use crate::network::error::NetworkError;
use crate::network::owner::Owner;
use crate::network::programs::Programs;
use crate::network::tables::Way;

/// The setting by which TCP makes its bursts as large as it can where round trips are short. 64 KiB of each of many flows
/// are a queue of a second at 100 Mbit/s.
const BURSTS_BY_ROUND_TRIP: &str = "/proc/sys/net/ipv4/tcp_tso_rtt_log";

/// What the owner knows of rates.
#[derive(Debug, Default)]
pub(in crate::network) struct Rates {
    /// The wire, if it is divided.
    wire: Option<Wire>,
    /// What is asked for, by slot.
    asked: Asked,
    /// What each was assured of the wire when it was last told, in bytes per second.
    assured: BTreeMap<u32, u64>,
    /// The uplinks that are divided, by index.
    divided: Vec<u32>,
    /// Whether something of all that could not be done, and has to be tried again.
    is_behind: bool,
}

impl Rates {
    /// Returns whether the kernel holds what was planned.
    pub(in crate::network) fn are_held(&self) -> bool {
        !self.is_behind
    }
}

/// Returns the name of the pin of the program on a container's own end.
pub(in crate::network) fn own_end_link(slot: u32) -> String {
    format!("container-tx-{slot}")
}

/// Returns the name of the pin of the program on the egress of the host's end.
pub(in crate::network) fn host_end_link(slot: u32) -> String {
    format!("container-rx-{slot}")
}

impl Owner {
    /// Divides the uplinks, as far as their rate is known.
    pub(in crate::network) fn divide_uplinks(&mut self) -> Result<(), NetworkError> {
        let was_behind = std::mem::replace(&mut self.rates.is_behind, true);
        // Without queues nothing is divided and nothing is held.
        let possible = self.features.queues.clone();
        let found = match &possible {
            Ok(()) => wire::find(
                &mut self.netlink,
                &self.plan.uplinks,
                &self.settings.bandwidth,
            )?,
            Err(reason) => Err(reason.clone()),
        };
        let capacity = NetworkCapacity {
            egress_min: found
                .as_ref()
                .map_err(Clone::clone)
                .map(Wire::for_containers),
            egress_max: possible.clone(),
            ingress_max: possible,
        };
        let wire = found.as_ref().ok().copied();
        let uplinks: Vec<u32> = self.plan.uplinks.keys().copied().collect();
        if let Some(wire) = &wire {
            for &index in &uplinks {
                if self.rates.wire.as_ref() != Some(wire) || !self.rates.divided.contains(&index) {
                    self.divide(index, wire)?;
                }
            }
        } else {
            // Those of a former agent as well, which was told otherwise.
            for index in self.host.queues().clone() {
                self.restore_root(index)?;
            }
        }
        if self.rates.wire != wire {
            match &found {
                Ok(wire) => {
                    info!(rate = %wire.rate, node = %wire.node_min, "the wire is divided among containers");
                }
                Err(reason) => info!(%reason, "the wire is not divided among containers"),
            }
        }
        let divided = if wire.is_some() { uplinks } else { Vec::new() };
        let is_same = self.rates.wire == wire && self.rates.divided == divided;
        self.rates.wire = wire;
        self.rates.divided = divided;
        self.shared.set_capacity(capacity);
        self.shared.set_divided(&self.rates.divided);
        if !is_same || was_behind {
            let slots: Vec<u32> = self.rates.asked.keys().copied().collect();
            for slot in slots {
                self.hold(slot)?;
            }
        }
        self.rates.is_behind = false;
        Ok(())
    }

    /// Gives an uplink its queue and the classes that do not depend on containers.
    fn divide(&mut self, index: u32, wire: &Wire) -> Result<(), NetworkError> {
        self.host.add_queue(index)?;
        Ok(make_root(&mut self.netlink, index, wire)?)
    }

    /// Takes away the classes of containers that ended while no agent ran.
    pub(in crate::network) fn retain_classes(&mut self) -> Result<(), NetworkError> {
        for &index in &self.rates.divided {
            let there = htb::classes(&mut self.netlink, index)?;
            let gone = |slot: &u32| !self.rates.asked.contains_key(slot);
            for slot in (0..weir_abi::SLOTS_MAX).filter(gone) {
                for minor in plan::minors_of(slot) {
                    if there.contains(&minor) {
                        htb::remove_class(&mut self.netlink, index, minor)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives an uplink back the queue that it would have without Weir.
    pub(in crate::network) fn restore_root(&mut self, index: u32) -> Result<(), NetworkError> {
        if self.host.queues().contains(&index) {
            htb::remove(&mut self.netlink, index)?;
            self.host.forget_queue(index)?;
        }
        Ok(())
    }

    /// Holds a container to what it may use of the network.
    pub(in crate::network) fn set_bandwidth(
        &mut self,
        slot: u32,
        bandwidth: Bandwidth,
    ) -> Result<(), NetworkError> {
        let is_isolated = self.slots.get(&slot).is_some_and(|one| one.link.is_some());
        // Whoever asks for what this node cannot hold was told so, and is here because the configuration allows it.
        if !is_isolated || self.features.queues.is_err() {
            return Ok(());
        }
        let former = self.rates.asked.insert(slot, bandwidth);
        let queues = self.hold(slot)?;
        if queues == Queues::MadeAgain {
            // Everybody's classes were in it.
            self.rates.assured.clear();
        }
        if former != Some(bandwidth) || queues == Queues::MadeAgain {
            self.share_anew()?;
        }
        Ok(())
    }

    /// Writes down what a container has that outlived the former agent, before any is held: the first is not to be given what others have.
    pub(in crate::network) fn remember_bandwidth(&mut self, slot: u32, bandwidth: Bandwidth) {
        self.rates.asked.insert(slot, bandwidth);
    }

    /// Makes the kernel agree with what is asked for one container.
    ///
    /// Classes are there before packets are told to use them, and packets no longer use them before they go.
    fn hold(&mut self, slot: u32) -> Result<Queues, NetworkError> {
        let Some(bandwidth) = self.rates.asked.get(&slot).copied() else {
            return Ok(Queues::AsTheyWere);
        };
        let held = Held::of(self.rates.asked.values());
        let known = self.tables.container(slot)?;
        let hold = plan::hold(&bandwidth, self.rates.wire.as_ref(), &held, known.held);
        let mut queues = Queues::AsTheyWere;
        if let Some(wire) = &self.rates.wire {
            let assured = wire.assured(&bandwidth, &held);
            let classes = wire.classes_of(slot, &bandwidth, assured);
            self.rates.assured.insert(slot, assured);
            queues = set_classes(&mut self.netlink, &self.rates.divided, wire, &classes)?;
        }
        self.tables.set_lane(slot, Way::Out, hold.egress)?;
        self.tables.set_lane(slot, Way::In, hold.ingress)?;
        self.hold_ends(slot, &hold)?;
        if known.held != hold.flags {
            self.tables.set_container(
                slot,
                Container {
                    held: hold.flags,
                    ..known
                },
            )?;
        }
        Ok(queues)
    }

    /// Holds both ends of a container's link.
    fn hold_ends(&mut self, slot: u32, hold: &Hold) -> Result<(), NetworkError> {
        let Some(link) = self.slots.get(&slot).and_then(|one| one.link.as_ref()) else {
            return Ok(());
        };
        if hold.flags & Container::EGRESS != 0 {
            let programs = &self.programs;
            let eth0 = link.eth0;
            let held = netns::enter(link.netns.as_fd(), || {
                hold_own_end(programs, slot, eth0, hold)
            });
            held.map_err(NetworkError::NodeNamespace)??;
        }
        let ifindex = link.ifindex;
        if hold.flags & Container::INGRESS != 0 {
            self.programs.attach_interface(
                &mut self.netlink,
                &host_end_link(slot),
                "container_rx",
                ifindex,
                Side::Egress,
            )?;
        }
        hold_queue(
            &mut self.netlink,
            ifindex,
            Way::In,
            hold.ingress_max,
            hold.frame_max,
        )
    }

    /// Tells every container its part of the wire, which depends on the others'.
    fn share_anew(&mut self) -> Result<(), NetworkError> {
        let Some(wire) = &self.rates.wire else {
            return Ok(());
        };
        let held = Held::of(self.rates.asked.values());
        for (&slot, bandwidth) in &self.rates.asked {
            let assured = wire.assured(bandwidth, &held);
            let known = self.rates.assured.get(&slot).copied().unwrap_or(0);
            if assured.abs_diff(known) * MARGIN <= known {
                continue;
            }
            let was_held = self.tables.container(slot)?.held;
            let lane = plan::hold(bandwidth, Some(wire), &held, was_held).egress;
            self.tables.set_lane(slot, Way::Out, lane)?;
            let classes = wire.classes_of(slot, bandwidth, assured);
            set_classes(&mut self.netlink, &self.rates.divided, wire, &classes)?;
            self.rates.assured.insert(slot, assured);
        }
        Ok(())
    }

    /// Lets go of a container that is gone, or about to be.
    pub(in crate::network) fn release(&mut self, slot: u32) -> Result<(), NetworkError> {
        let was_asked = self.rates.asked.remove(&slot).is_some();
        self.rates.assured.remove(&slot);
        for way in Way::ALL {
            self.tables.set_lane(slot, way, Lane::default())?;
        }
        for &index in &self.rates.divided {
            for minor in plan::minors_of(slot) {
                htb::remove_class(&mut self.netlink, index, minor)?;
            }
        }
        if was_asked {
            self.share_anew()?;
        }
        Ok(())
    }

    /// Returns how a slot's packets are held already, if they are those of this link: what is in force stays so.
    pub(in crate::network) fn held_already(&self, slot: u32, ifindex: u32) -> u32 {
        match self.tables.container(slot) {
            Ok(known) if known.veth_ifindex == ifindex => known.held,
            Ok(_) | Err(_) => 0,
        }
    }
}

/// Makes the queue of an uplink, with the classes that do not depend on containers.
fn make_root(netlink: &mut Netlink, index: u32, wire: &Wire) -> Result<(), NetlinkError> {
    htb::make(netlink, index, NODE_LEAF)?;
    for class in wire.classes() {
        htb::set_class(netlink, index, &class)?;
    }
    Ok(())
}

/// What became of the queues of the uplinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queues {
    AsTheyWere,
    /// One was gone.
    MadeAgain,
}

/// Gives a container its classes on all uplinks. An uplink that is gone is followed as any change of the node; a queue that somebody has
/// taken away is made again.
fn set_classes(
    netlink: &mut Netlink,
    uplinks: &[u32],
    wire: &Wire,
    classes: &[Class],
) -> Result<Queues, NetlinkError> {
    let mut queues = Queues::AsTheyWere;
    for &index in uplinks {
        let mut set = || {
            let mut classes = classes.iter();
            classes.try_for_each(|class| htb::set_class(netlink, index, class))
        };
        let Err(error) = set() else { continue };
        if error.errno() == Some(nix::libc::ENODEV) {
            continue;
        }
        warn!(%error, index, "the queue of an uplink is not as it was left; making it again");
        make_root(netlink, index, wire)?;
        for class in classes {
            htb::set_class(netlink, index, class)?;
        }
        queues = Queues::MadeAgain;
    }
    Ok(queues)
}

/// Holds the end that is the container's, from inside of its namespace.
fn hold_own_end(
    programs: &Programs,
    slot: u32,
    eth0: u32,
    hold: &Hold,
) -> Result<(), NetworkError> {
    let mut netlink = Netlink::open()?;
    match fs::write(BURSTS_BY_ROUND_TRIP, "0") {
        // Before 5.18 bursts did not depend on round trips.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            warn!(slot, %error, "cannot set {BURSTS_BY_ROUND_TRIP} in a container");
        }
        Ok(()) => {}
    }
    let mut message = LinkMessage::default();
    message.header.index = eth0;
    message
        .attributes
        .push(LinkAttribute::GsoMaxSize(hold.frame_max));
    netlink.execute(RouteNetlinkMessage::SetLink(message), 0, || {
        format!("set the largest frame of interface {eth0}")
    })?;
    programs.attach_interface(
        &mut netlink,
        &own_end_link(slot),
        "container_tx",
        eth0,
        Side::Egress,
    )?;
    hold_queue(
        &mut netlink,
        eth0,
        Way::Out,
        hold.egress_max,
        hold.frame_max,
    )
}

/// Gives one end its queue, or another rate to the one that it has. Nobody gets a queue in order not to be limited.
fn hold_queue(
    netlink: &mut Netlink,
    ifindex: u32,
    way: Way,
    rate: Option<BitRate>,
    frame_max: u32,
) -> Result<(), NetworkError> {
    let Some(rate) = rate else {
        return Ok(());
    };
    if rate == BitRate::MAX && htb::root(netlink, ifindex)? != Root::Own {
        return Ok(());
    }
    htb::make(netlink, ifindex, LANE_DEFAULT)?;
    for class in plan::lane_classes(way, rate, frame_max) {
        htb::set_class(netlink, ifindex, &class)?;
    }
    Ok(())
}
