//! The requests to the kernel that make up a container's network.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use weir_abi::LINK_MAC;

use super::NEAR_TABLE;
use crate::network::node::{InsideRoute, Prefix};

pub(super) fn set_link(index: u32, flags: LinkFlags) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.header.change_mask = flags;
    RouteNetlinkMessage::SetLink(message)
}

/// A request for the link: `eth0` here, its other end in `node`.
pub(super) fn new_link(
    name: &str,
    eth0: u32,
    node: BorrowedFd<'_>,
    mtu: u32,
) -> RouteNetlinkMessage {
    let mac = LINK_MAC.to_vec();
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.clone()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(node.as_raw_fd()),
    ];
    let mut message = LinkMessage::default();
    message.header.index = eth0;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(mac),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    RouteNetlinkMessage::NewLink(message)
}

fn family_of(address: &IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn bits_of(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

pub(super) fn address_message(eth0: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(&address);
    message.header.prefix_len = bits_of(&address);
    message.header.index = eth0;
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute),
    ];
    message
}

fn new_route(eth0: u32, prefix: Prefix, table: u32, source: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(&prefix.address);
    message.header.destination_prefix_length = prefix.length;
    message.header.table = u8::try_from(table).expect("both tables have small numbers");
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Oif(eth0),
        RouteAttribute::PrefSource(RouteAddress::from(source)),
    ];
    if prefix.length > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::from(
                prefix.address,
            )));
    }
    message
}

pub(super) fn near_route(eth0: u32, address: IpAddr) -> RouteMessage {
    new_route(
        eth0,
        Prefix {
            length: bits_of(&address),
            address,
        },
        NEAR_TABLE,
        address,
    )
}

/// A question: what becomes of a packet to this address that arrives over the link?
pub(super) fn arrival_of(eth0: u32, address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(&address);
    message.header.destination_prefix_length = bits_of(&address);
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(address)),
        RouteAttribute::Iif(eth0),
    ];
    message
}

pub(super) fn route_message(eth0: u32, route: &InsideRoute) -> RouteMessage {
    const TABLE_MAIN: u32 = 254;
    let mut message = new_route(eth0, route.prefix, TABLE_MAIN, route.source);
    if let Some(mtu) = route.mtu {
        message
            .attributes
            .push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    message
}

pub(super) fn rule(family: AddressFamily, priority: u32, table: u8, only_own: bool) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.table = table;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::Priority(priority)];
    if only_own {
        // To the kernel, "received from lo" is what is sent from here.
        message
            .attributes
            .push(RuleAttribute::Iifname("lo".to_owned()));
    }
    message
}
