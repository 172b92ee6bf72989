//! Reads the node's network from the kernel into a [`NodeView`].

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, State};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use weir_sys::netlink::{Netlink, NetlinkError};

use super::namespace::is_container_link;
use super::node::{Link, LinkAddress, LinkKind, NodeView, Prefix, Route, plan};

const TABLE_MAIN: u32 = 254;
const TABLE_DEFAULT: u32 = 253;

/// Reads links, addresses and routes.
pub(crate) fn observe(netlink: &mut Netlink) -> Result<NodeView, NetlinkError> {
    let links = netlink
        .dump(
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            "list the links",
        )?
        .iter()
        .filter_map(read_link)
        .filter(|link| !is_container_link(&link.name))
        .collect();
    Ok(NodeView {
        links,
        addresses: addresses(netlink)?,
        routes: routes(netlink)?,
    })
}

/// Returns the addresses of the node that its containers have as well.
pub(crate) fn usable_addresses(uplinks: &[String]) -> Result<BTreeSet<IpAddr>, NetlinkError> {
    let view = observe(&mut Netlink::open()?)?;
    Ok(plan(&view, uplinks).inside.addresses)
}

/// Reads the addresses of all links in the socket's namespace.
pub(crate) fn addresses(netlink: &mut Netlink) -> Result<Vec<LinkAddress>, NetlinkError> {
    let ask = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    Ok(netlink
        .dump(ask, "list the addresses")?
        .iter()
        .filter_map(read_address)
        .collect())
}

/// Reads the unicast routes of the main and default tables in the socket's namespace.
pub(crate) fn routes(netlink: &mut Netlink) -> Result<Vec<Route>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut ask = RouteMessage::default();
        ask.header.address_family = family;
        let found = netlink.dump(RouteNetlinkMessage::GetRoute(ask), "list the routes")?;
        routes.extend(found.iter().filter_map(read_route));
    }
    Ok(routes)
}

/// Returns the link that a message is about.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are an open set"
)]
pub(crate) fn read_link(message: &RouteNetlinkMessage) -> Option<Link> {
    let (RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)) = message
    else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        is_up: message.header.flags.contains(LinkFlags::Up),
        kind: match message.header.link_layer_type {
            LinkLayerType::Loopback => LinkKind::Loopback,
            LinkLayerType::Ether => LinkKind::Ethernet,
            _ => LinkKind::Other,
        },
        is_port: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.is_port = *index != 0,
            _ => {}
        }
    }
    Some(link)
}

/// Returns whether the link that a message is about is up and carries packets.
pub(crate) fn is_operational(message: &RouteNetlinkMessage) -> bool {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return false;
    };
    message
        .attributes
        .contains(&LinkAttribute::OperState(State::Up))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are an open set"
)]
fn read_address(message: &RouteNetlinkMessage) -> Option<LinkAddress> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let (mut remote, mut local) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // On a link with a peer, "address" is the peer's and "local" is ours.
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let address = local.or(remote)?;
    let scope = u8::from(message.header.scope);
    let (universe, site) = (
        u8::from(AddressScope::Universe),
        u8::from(AddressScope::Site),
    );
    let is_loopback = address.is_loopback();
    Some(LinkAddress {
        link: message.header.index,
        address,
        is_usable: !is_loopback
            && (scope == universe || scope == site)
            && !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        is_deprecated: flags.contains(AddressFlags::Deprecated),
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are an open set"
)]
fn read_route(message: &RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let any: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut table = u32::from(message.header.table);
    let mut prefix = Prefix {
        length: message.header.destination_prefix_length,
        address: any,
    };
    let (mut metric, mut link, mut source, mut mtu) = (0, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => prefix.address = ip_of(address)?,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::PrefSource(address) => source = ip_of(address),
            // The first of several hops stands for all of them: they differ in nothing that a
            // container needs to know, unless they leave by links with different addresses.
            RouteAttribute::MultiPath(hops) => {
                link = link.or_else(|| hops.first().map(|hop| hop.interface_index));
            }
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if table != TABLE_MAIN && table != TABLE_DEFAULT {
        return None;
    }
    let is_link_local = match prefix.address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    };
    if is_link_local {
        return None;
    }
    debug_assert_eq!(u32::from(RouteHeader::RT_TABLE_MAIN), TABLE_MAIN);
    Some(Route {
        prefix,
        metric,
        link: link?,
        source,
        mtu,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's addresses are an open set"
)]
fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
