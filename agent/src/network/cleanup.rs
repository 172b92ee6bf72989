//! Leaving the node as it was before the first agent.

use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use weir_sys::netlink::Netlink;

use super::bandwidth;
use super::clsact::{self, Side};
use super::error::{NetworkError, StartError};
use super::host::HostChanges;
use super::node::Link;
use super::{namespace, observe, programs};

pub(super) fn restore_host(
    host: &mut HostChanges,
    netlink: &mut Netlink,
) -> Result<(), NetworkError> {
    // Filters go from every interface: where somebody else's qdisc was there before, there is no
    // record of them.
    for link in links(netlink)? {
        for side in [Side::Ingress, Side::Egress] {
            clsact::detach(netlink, link.index, side)?;
        }
    }
    for &index in host.qdiscs() {
        clsact::remove_qdisc(netlink, index)?;
    }
    for &index in host.queues() {
        bandwidth::remove_queue(netlink, index)?;
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
    let names = links(netlink)?.into_iter().map(|link| link.name);
    Ok(names
        .filter(|name| namespace::is_container_link(name))
        .collect())
}

fn links(netlink: &mut Netlink) -> Result<Vec<Link>, NetworkError> {
    let ask = RouteNetlinkMessage::GetLink(LinkMessage::default());
    Ok(netlink
        .dump(ask, "list the links")?
        .iter()
        .filter_map(observe::read_link)
        .collect())
}
