//! What the node's network looks like, and what that means for its containers. Pure: it reads a
//! [`NodeView`] and returns a [`NodePlan`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The most routes that are mirrored into a container. A node with a full routing table keeps its
/// default routes and the shortest prefixes; which way a packet leaves is decided by the node's
/// own table in any case, only the choice of the source address gets coarser.
const ROUTES_MAX: usize = 256;

/// The MTU of a container's link where the node has no uplink at all.
const MTU_WITHOUT_UPLINK: u32 = 1500;

/// The node's links, addresses and routes, as the kernel tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeView {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<LinkAddress>,
    pub(crate) routes: Vec<Route>,
}

/// One interface of the node; the host's ends of containers' links are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    pub(crate) kind: LinkKind,
    /// A port of a bridge, bond or VRF: its packets are those of its controller.
    pub(crate) is_port: bool,
}

/// What frames on a link look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    Loopback,
    Ethernet,
    /// No Ethernet header: tunnels, WireGuard, PPP.
    Other,
}

/// One address of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) link: u32,
    pub(crate) address: IpAddr,
    /// Of global or site scope, and not waiting for, or failed in, duplicate address detection.
    pub(crate) is_usable: bool,
    /// Not to be used for new connections.
    pub(crate) is_deprecated: bool,
}

/// One unicast route of the main or default table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) prefix: Prefix,
    pub(crate) metric: u32,
    pub(crate) link: u32,
    pub(crate) source: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
}

/// A destination: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    pub(crate) length: u8,
    pub(crate) address: IpAddr,
}

/// What the data plane and the containers are to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// The index of the loopback interface.
    pub(crate) loopback: u32,
    /// Interface index → name and MTU.
    pub(crate) uplinks: BTreeMap<u32, UplinkPlan>,
    /// What 127.0.0.1 becomes for a container's port.
    pub(crate) primary_v4: Option<IpAddr>,
    /// What ::1 becomes.
    pub(crate) primary_v6: Option<IpAddr>,
    /// What every container's namespace looks like.
    pub(crate) inside: InsideView,
    /// Interfaces that would be uplinks if they could.
    pub(crate) refused: Vec<RefusedUplink>,
}

/// One interface through which containers reach the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UplinkPlan {
    pub(crate) name: String,
    pub(crate) mtu: u32,
}

/// Says why an interface is not an uplink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedUplink {
    #[error(
        "interface `{name}` is not an uplink: its frames have no Ethernet header; containers' packets whose route leaves by it are dropped as not_uplink"
    )]
    NoEthernet { name: String },
    #[error("uplink `{name}` of the configuration is not there; it will be used as soon as it is")]
    Missing { name: String },
    #[error(
        "interface `{name}` is not an uplink: it is a port of another one; name its bridge, bond or VRF instead"
    )]
    Port { name: String },
}

/// What a container's namespace contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InsideView {
    pub(crate) mtu: u32,
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) routes: BTreeSet<InsideRoute>,
}

/// One route inside a container; all of them leave by its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InsideRoute {
    pub(crate) prefix: Prefix,
    pub(crate) source: IpAddr,
    pub(crate) mtu: Option<u32>,
}

/// Works out what a node that looks like `view` gives its containers.
///
/// `configured` are the uplinks that the operator named; none means every Ethernet interface that
/// is up and has a usable address.
pub(crate) fn plan(view: &NodeView, configured: &[String]) -> NodePlan {
    let (uplinks, refused) = choose_uplinks(view, configured);
    let usable: Vec<&LinkAddress> = view
        .addresses
        .iter()
        .filter(|address| {
            address.is_usable
                && view
                    .links
                    .iter()
                    .any(|l| l.index == address.link && l.is_up)
        })
        .collect();
    let mtu = uplinks
        .values()
        .map(|uplink| uplink.mtu)
        .max()
        .unwrap_or(MTU_WITHOUT_UPLINK);
    let primary = |v4| primary(view, &usable, v4);
    let (primary_v4, primary_v6) = (primary(true), primary(false));
    let inside = InsideView {
        mtu,
        addresses: usable.iter().map(|address| address.address).collect(),
        routes: inside_routes(view, &usable, mtu),
    };
    let loopback = view
        .links
        .iter()
        .find(|link| link.kind == LinkKind::Loopback);
    NodePlan {
        loopback: loopback.map_or(1, |link| link.index),
        uplinks,
        primary_v4,
        primary_v6,
        inside,
        refused,
    }
}

fn choose_uplinks(
    view: &NodeView,
    configured: &[String],
) -> (BTreeMap<u32, UplinkPlan>, Vec<RefusedUplink>) {
    let mut uplinks = BTreeMap::new();
    let mut refused = Vec::new();
    let has_address = |link: &Link| {
        view.addresses
            .iter()
            .any(|a| a.link == link.index && a.is_usable)
    };
    for link in &view.links {
        let is_wanted = if configured.is_empty() {
            link.kind != LinkKind::Loopback && link.is_up && has_address(link)
        } else {
            configured.contains(&link.name)
        };
        if !is_wanted {
            continue;
        }
        let name = link.name.clone();
        match link.kind {
            LinkKind::Loopback | LinkKind::Other => {
                refused.push(RefusedUplink::NoEthernet { name })
            }
            LinkKind::Ethernet if link.is_port => refused.push(RefusedUplink::Port { name }),
            LinkKind::Ethernet => {
                uplinks.insert(
                    link.index,
                    UplinkPlan {
                        name,
                        mtu: link.mtu,
                    },
                );
            }
        }
    }
    for name in configured {
        if !view.links.iter().any(|link| link.name == *name) {
            refused.push(RefusedUplink::Missing { name: name.clone() });
        }
    }
    (uplinks, refused)
}

/// Returns the address by which the node is known: that of its default route, else the first.
fn primary(view: &NodeView, usable: &[&LinkAddress], v4: bool) -> Option<IpAddr> {
    let fits = |address: &IpAddr| address.is_ipv4() == v4;
    let default = view
        .routes
        .iter()
        .filter(|route| route.prefix.length == 0 && fits(&route.prefix.address))
        .min_by_key(|route| route.metric);
    default
        .and_then(|route| source_of(route, usable))
        .or_else(|| usable.iter().map(|a| a.address).find(|a| fits(a)))
}

/// Returns the source address that the node would use on a route.
fn source_of(route: &Route, usable: &[&LinkAddress]) -> Option<IpAddr> {
    let v4 = route.prefix.address.is_ipv4();
    if let Some(source) = route.source {
        return usable.iter().any(|a| a.address == source).then_some(source);
    }
    let of_link = || {
        usable
            .iter()
            .filter(|a| a.link == route.link && a.address.is_ipv4() == v4)
    };
    of_link()
        .find(|a| !a.is_deprecated)
        .or_else(|| of_link().next())
        .or_else(|| {
            usable
                .iter()
                .find(|a| a.address.is_ipv4() == v4 && !a.is_deprecated)
        })
        .map(|a| a.address)
}

/// Returns the routes that make a container choose the source address and the packet size that the
/// node would.
fn inside_routes(view: &NodeView, usable: &[&LinkAddress], mtu: u32) -> BTreeSet<InsideRoute> {
    let mut best: BTreeMap<Prefix, &Route> = BTreeMap::new();
    for route in &view.routes {
        let Some(link) = view.links.iter().find(|link| link.index == route.link) else {
            continue;
        };
        if link.kind == LinkKind::Loopback || !link.is_up {
            continue;
        }
        best.entry(route.prefix)
            .and_modify(|kept| {
                if route.metric < kept.metric {
                    *kept = route;
                }
            })
            .or_insert(route);
    }
    let inside = |route: &Route| {
        let link_mtu = view
            .links
            .iter()
            .find(|l| l.index == route.link)
            .map(|l| l.mtu);
        let smallest = [route.mtu, link_mtu].into_iter().flatten().min();
        Some(InsideRoute {
            prefix: route.prefix,
            source: source_of(route, usable)?,
            mtu: smallest.filter(|&m| m < mtu),
        })
    };
    // Ordered by prefix length, so that what does not fit is the most specific.
    let mut routes: Vec<InsideRoute> = best.values().filter_map(|route| inside(route)).collect();
    let defaults: Vec<InsideRoute> = routes
        .iter()
        .filter(|route| route.prefix.length == 0)
        .copied()
        .collect();
    // A route that says what the default says is not needed: usually all but two.
    routes.retain(|route| {
        route.prefix.length == 0
            || !defaults.iter().any(|default| {
                default.prefix.address.is_ipv4() == route.prefix.address.is_ipv4()
                    && default.source == route.source
                    && default.mtu == route.mtu
            })
    });
    routes.truncate(ROUTES_MAX);
    routes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix {
            address: ip(address),
            length: length.parse().unwrap(),
        }
    }

    fn link(index: u32, name: &str, mtu: u32) -> Link {
        let kind = if name == "lo" {
            LinkKind::Loopback
        } else {
            LinkKind::Ethernet
        };
        Link {
            index,
            name: name.to_owned(),
            mtu,
            is_up: true,
            kind,
            is_port: false,
        }
    }

    fn address(link: u32, text: &str) -> LinkAddress {
        LinkAddress {
            link,
            address: ip(text),
            is_usable: true,
            is_deprecated: false,
        }
    }

    fn route(to: &str, link: u32) -> Route {
        Route {
            prefix: prefix(to),
            metric: 0,
            link,
            source: None,
            mtu: None,
        }
    }

    /// Two uplinks: a default route by the first, a lab network with a smaller MTU by the second.
    fn two_uplinks() -> NodeView {
        NodeView {
            links: vec![
                link(1, "lo", 65536),
                link(2, "eth0", 1500),
                link(3, "eth1", 1400),
            ],
            addresses: vec![
                address(2, "10.0.0.2"),
                address(2, "fd00::2"),
                address(3, "192.168.7.2"),
            ],
            routes: vec![
                route("0.0.0.0/0", 2),
                route("10.0.0.0/24", 2),
                route("192.168.7.0/24", 3),
                route("::/0", 2),
            ],
        }
    }

    #[test]
    fn each_route_has_the_source_and_size_of_its_way_out() {
        let plan = plan(&two_uplinks(), &[]);
        assert_eq!(plan.uplinks.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(plan.primary_v4, Some(ip("10.0.0.2")));
        assert_eq!(plan.primary_v6, Some(ip("fd00::2")));
        assert_eq!(plan.inside.mtu, 1500);
        let routes: Vec<InsideRoute> = plan.inside.routes.into_iter().collect();
        assert_eq!(
            routes,
            [
                InsideRoute {
                    prefix: prefix("0.0.0.0/0"),
                    source: ip("10.0.0.2"),
                    mtu: None
                },
                InsideRoute {
                    prefix: prefix("::/0"),
                    source: ip("fd00::2"),
                    mtu: None
                },
                InsideRoute {
                    prefix: prefix("192.168.7.0/24"),
                    source: ip("192.168.7.2"),
                    mtu: Some(1400)
                },
            ]
        );
    }

    #[test]
    fn a_link_without_ethernet_is_refused_with_its_name() {
        let mut view = two_uplinks();
        view.links[2].kind = LinkKind::Other;
        let plan = plan(&view, &[]);
        assert_eq!(plan.uplinks.len(), 1);
        assert_eq!(
            plan.refused,
            [RefusedUplink::NoEthernet {
                name: "eth1".to_owned()
            }]
        );
    }

    #[test]
    fn only_the_named_uplinks_are_taken() {
        let plan = plan(&two_uplinks(), &["eth1".to_owned(), "eth9".to_owned()]);
        assert_eq!(plan.uplinks.keys().copied().collect::<Vec<_>>(), [3]);
        assert_eq!(
            plan.refused,
            [RefusedUplink::Missing {
                name: "eth9".to_owned()
            }]
        );
    }

    #[test]
    fn a_tentative_address_is_not_given_out() {
        let mut view = two_uplinks();
        view.addresses[1].is_usable = false;
        let plan = plan(&view, &[]);
        assert!(!plan.inside.addresses.contains(&ip("fd00::2")));
        assert_eq!(plan.primary_v6, None);
        assert!(
            plan.inside
                .routes
                .iter()
                .all(|route| route.prefix.address.is_ipv4())
        );
    }

    #[test]
    fn of_two_routes_to_one_place_the_smaller_metric_counts() {
        let mut view = two_uplinks();
        view.routes.push(Route {
            metric: 100,
            ..route("0.0.0.0/0", 3)
        });
        view.routes[0].metric = 50;
        assert_eq!(plan(&view, &[]).primary_v4, Some(ip("10.0.0.2")));
        view.routes[0].metric = 200;
        assert_eq!(plan(&view, &[]).primary_v4, Some(ip("192.168.7.2")));
    }

    #[test]
    fn a_full_routing_table_is_cut_to_its_shortest_prefixes() {
        let mut view = two_uplinks();
        view.routes.extend(
            (0..=255).flat_map(|a| (0..4).map(move |b| route(&format!("44.{a}.{}.0/26", b), 3))),
        );
        let plan = plan(&view, &[]);
        assert_eq!(plan.inside.routes.len(), ROUTES_MAX);
        assert!(
            plan.inside
                .routes
                .iter()
                .any(|route| route.prefix.length == 0)
        );
    }

    #[test]
    fn a_node_without_a_network_still_has_a_plan() {
        let view = NodeView {
            links: vec![link(1, "lo", 65536)],
            ..NodeView::default()
        };
        let plan = plan(&view, &[]);
        assert_eq!(plan.loopback, 1);
        assert_eq!(plan.inside.mtu, MTU_WITHOUT_UPLINK);
        assert!(plan.inside.addresses.is_empty());
    }
}
