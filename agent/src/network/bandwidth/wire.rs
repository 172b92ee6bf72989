//! What the wire carries, and whether it can be divided: asked of the node, and tried.

use std::collections::BTreeMap;
use std::fs;

use weir_resources::BitRate;
use weir_sys::netlink::{Netlink, NetlinkError};
use weir_sys::netns;

use super::htb::{self, Root};
use super::plan::Wire;
use crate::config::{BandwidthConfig, NetworkConfig};
use crate::container::chain;
use crate::network::node::{self, UplinkPlan};
use crate::network::observe;

/// The index of the loopback interface of a new namespace.
const LOOPBACK: u32 = 1;

/// Returns what the wire carries, or why it is not divided, as the rest of a sentence.
///
/// With several uplinks it is what the slowest of them carries: what is promised has to hold whichever a route takes.
pub(crate) fn find(
    netlink: &mut Netlink,
    uplinks: &BTreeMap<u32, UplinkPlan>,
    config: &BandwidthConfig,
) -> Result<Result<Wire, String>, NetlinkError> {
    if !config.divide {
        return Ok(Err("[bandwidth] divide is false".to_owned()));
    }
    let node_min = config.node_egress_min;
    for (&index, UplinkPlan { name, .. }) in uplinks {
        if let Root::Foreign { kind } = htb::root(netlink, index)? {
            return Ok(Err(format!(
                "interface {name} has a queue of its own (`{kind}`), which Weir does not replace: `tc qdisc del dev {name} root` takes it away"
            )));
        }
    }
    if uplinks.is_empty() {
        return Ok(Err("the node has no uplink".to_owned()));
    }
    let rate = match config.egress {
        Some(rate) => rate,
        None => match slowest(uplinks) {
            Ok(rate) => rate,
            Err(name) => {
                return Ok(Err(format!(
                    "interface {name} does not know its speed: name it in [bandwidth] egress"
                )));
            }
        },
    };
    if node_min >= rate {
        return Ok(Err(format!(
            "the node keeps {node_min} ([bandwidth] node_egress_min) of the {rate} that its uplink carries"
        )));
    }
    Ok(Ok(Wire { rate, node_min }))
}

/// Returns what containers can be promised of what the node sends, and what it receives; nothing for what is not known.
pub(crate) fn rates(
    network: &NetworkConfig,
    config: &BandwidthConfig,
) -> (Option<BitRate>, Option<BitRate>) {
    let look = || -> Result<_, NetlinkError> {
        let mut netlink = Netlink::open()?;
        let uplinks = node::plan(&observe::observe(&mut netlink)?, &network.uplinks).uplinks;
        Ok((find(&mut netlink, &uplinks, config)?, uplinks))
    };
    match look() {
        Ok((wire, uplinks)) => {
            let ingress = config.ingress.or_else(|| slowest(&uplinks).ok());
            (wire.ok().map(|wire| wire.for_containers()), ingress)
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "what the uplinks carry is not known");
            (None, None)
        }
    }
}

/// Returns the speed of the slowest uplink, or which does not know its own.
fn slowest(uplinks: &BTreeMap<u32, UplinkPlan>) -> Result<BitRate, String> {
    let mut slowest = BitRate::MAX;
    for UplinkPlan { name, .. } in uplinks.values() {
        let rate = speed_of(name).ok_or_else(|| name.clone())?;
        slowest = slowest.min(rate);
    }
    Ok(slowest)
}

/// Returns the speed of an interface, as its driver knows it; many virtual ones do not.
fn speed_of(name: &str) -> Option<BitRate> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/speed")).ok()?;
    let megabits: u64 = text.trim().parse().ok()?;
    BitRate::from_kilobits(megabits.checked_mul(1000)?)
}

/// Returns why rates cannot be held on this kernel: tried in a namespace of its own, of which the node sees nothing.
pub(crate) fn try_queue() -> Result<(), String> {
    let tried = netns::create(|| {
        let mut netlink = Netlink::open()?;
        htb::make(&mut netlink, LOOPBACK, 0)
    });
    match tried {
        Ok((_, Ok(()))) => Ok(()),
        Ok((_, Err(error))) => Err(chain(&error)),
        Err(error) => Err(error.to_string()),
    }
}
