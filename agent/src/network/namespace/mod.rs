//! The network namespace of one container: a link to the node, the node's addresses, and routes
//! that send everything over the link.
//!
//! 1. A thread enters a new namespace and brings up its loopback.
//! 2. It creates the link: `eth0` inside, the other end in the node's namespace, both with one MAC
//!    address given in the request (udev would change one that is set later).
//! 3. It sets the namespace's own settings, before the link is up.
//! 4. It gives the link the node's addresses, and the routes.
//! 5. It puts a rule before the table of local addresses, so that what the container sends to the
//!    node's addresses, which are its own as well, leaves over the link and is judged like all else.
//!    Arriving packets do not match the rule and are delivered. (The alternative, a program on the
//!    container's loopback, loses the socket of each packet and with it the backpressure.)
//!
//! The namespace belongs to nobody: it lives as long as a process inside, or a descriptor of the
//! agent's, and takes its link with it.

mod message;
mod plan;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use weir_abi::CONTAINER_IFINDEX_FIRST;
use weir_resources::PortRange;
use weir_sys::netlink::{Netlink, NetlinkError};
use weir_sys::netns;

use self::message::{
    address_message, arrival_of, near_route, new_link, route_message, rule, set_link,
};
use self::plan::{Step, plan};
use super::node::{InsideRoute, InsideView};
use super::observe;
use crate::container::ContainerId;

/// The table of the routes to the node's own addresses, and the rules around it.
const NEAR_TABLE: u32 = 77;
const NEAR_RULE: u32 = 10;
const LOCAL_RULE: u32 = 100;
const LOCAL_TABLE: u8 = 255;
const LOOPBACK_IFINDEX: u32 = 1;

/// What the name of the host's end of a link begins with; the container's id follows.
const LINK_PREFIX: &str = "we";

/// How long a worker of the kernel may take to put something in force: a thousand times what it takes.
const KERNEL_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait between two looks.
const KERNEL_PAUSE: Duration = Duration::from_micros(200);

/// Settings of the node that a new namespace does not inherit and that a server's behaviour depends
/// on. Those that a namespace does not have are skipped.
const INHERITED: &[&str] = &[
    "core/somaxconn",
    "ipv4/tcp_congestion_control",
    "ipv4/tcp_ecn",
    "ipv4/tcp_fin_timeout",
    "ipv4/tcp_keepalive_intvl",
    "ipv4/tcp_keepalive_probes",
    "ipv4/tcp_keepalive_time",
    "ipv4/tcp_max_syn_backlog",
    "ipv4/tcp_mtu_probing",
    "ipv4/tcp_notsent_lowat",
    "ipv4/tcp_retries2",
    "ipv4/tcp_rmem",
    "ipv4/tcp_slow_start_after_idle",
    "ipv4/tcp_syn_retries",
    "ipv4/tcp_synack_retries",
    "ipv4/tcp_tw_reuse",
    "ipv4/tcp_wmem",
];

/// A namespace that is ready for its container.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) netns: OwnedFd,
    pub(crate) cookie: u64,
}

/// Says which part of a namespace could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamespaceError {
    #[error("cannot enter a network namespace for container {container}")]
    Enter {
        container: ContainerId,
        #[source]
        source: io::Error,
    },
    #[error("cannot set `{path}` to `{value}` in the namespace of container {container}")]
    Setting {
        container: ContainerId,
        path: String,
        value: String,
        #[source]
        source: io::Error,
    },
    #[error("the link of container {container} did not come up within {KERNEL_PATIENCE:?}")]
    NoCarrier { container: ContainerId },
    #[error(
        "address {address} of container {container} was not in force within {KERNEL_PATIENCE:?}"
    )]
    NoAddress {
        container: ContainerId,
        address: IpAddr,
    },
    #[error("cannot set up the network of container {container}")]
    Netlink {
        container: ContainerId,
        #[source]
        source: NetlinkError,
    },
}

/// Returns the index of `eth0` in the container with this slot.
pub(crate) const fn eth0_of(slot: u32) -> u32 {
    CONTAINER_IFINDEX_FIRST + slot
}

/// Returns the name of the host's end of a container's link.
pub(crate) fn link_name(container: &ContainerId) -> String {
    format!("{LINK_PREFIX}{container}")
}

/// Returns whether a link is the host's end of some container's.
pub(crate) fn is_container_link(name: &str) -> bool {
    container_of_link(name).is_some()
}

/// Returns whose link it is.
pub(crate) fn container_of_link(name: &str) -> Option<ContainerId> {
    name.strip_prefix(LINK_PREFIX)?.parse().ok()
}

/// Makes the namespace of a container. Its link's other end is in `node`, and down.
pub(crate) fn create(
    container: &ContainerId,
    eth0: u32,
    node: BorrowedFd<'_>,
    ephemeral: PortRange,
    inside: &InsideView,
) -> Result<Namespace, NamespaceError> {
    let inherited = read_inherited();
    let made = netns::create(|| {
        set_up(container, eth0, node, ephemeral, inside, &inherited)?;
        netns::cookie().map_err(|source| enter_error(container, source))
    });
    let (netns, cookie) = made.map_err(|source| enter_error(container, source))?;
    Ok(Namespace {
        netns,
        cookie: cookie?,
    })
}

/// Waits until the link of a namespace carries packets.
///
/// Bringing up the other end is not enough: the kernel takes note of a new carrier in a worker, and
/// until then it drops what is sent, without a word. The first packet of a container is often a
/// question about a name, which would be asked again seconds later.
pub(crate) fn await_link(
    container: &ContainerId,
    eth0: u32,
    netns: BorrowedFd<'_>,
) -> Result<(), NamespaceError> {
    let waited = netns::enter(netns, || {
        let mut netlink = open(container)?;
        let end = Instant::now() + KERNEL_PATIENCE;
        loop {
            let mut ask = LinkMessage::default();
            ask.header.index = eth0;
            // The state is written by that same worker. Since 6.8 the kernel does its work before
            // it answers; an older one has done it a moment later.
            let answer = netlink
                .get(RouteNetlinkMessage::GetLink(ask), || "show eth0".to_owned())
                .map_err(|source| netlink_error(container, source))?;
            if answer.as_ref().is_some_and(observe::is_operational) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(NamespaceError::NoCarrier {
                    container: container.clone(),
                });
            }
            thread::sleep(KERNEL_PAUSE);
        }
    });
    waited.map_err(|source| enter_error(container, source))?
}

/// Returns the cookie of a namespace, and makes its addresses and routes those of `inside`.
pub(crate) fn adopt(
    container: &ContainerId,
    eth0: u32,
    netns: BorrowedFd<'_>,
    inside: &InsideView,
) -> Result<u64, NamespaceError> {
    let adopted = netns::enter(netns, || {
        let mut netlink = open(container)?;
        let observed = observe_inside(&mut netlink, eth0)
            .map_err(|source| netlink_error(container, source))?;
        execute(container, eth0, &mut netlink, plan(&observed, inside))?;
        netns::cookie().map_err(|source| enter_error(container, source))
    });
    adopted.map_err(|source| enter_error(container, source))?
}

/// Changes the addresses and routes of a namespace from `old` to `new`.
pub(crate) fn follow(
    container: &ContainerId,
    eth0: u32,
    netns: BorrowedFd<'_>,
    old: &InsideView,
    new: &InsideView,
) -> Result<(), NamespaceError> {
    let steps = plan(old, new);
    if steps.is_empty() {
        return Ok(());
    }
    let followed = netns::enter(netns, || {
        execute(container, eth0, &mut open(container)?, steps)
    });
    followed.map_err(|source| enter_error(container, source))?
}

fn enter_error(container: &ContainerId, source: io::Error) -> NamespaceError {
    NamespaceError::Enter {
        container: container.clone(),
        source,
    }
}

fn netlink_error(container: &ContainerId, source: NetlinkError) -> NamespaceError {
    NamespaceError::Netlink {
        container: container.clone(),
        source,
    }
}

fn open(container: &ContainerId) -> Result<Netlink, NamespaceError> {
    Netlink::open().map_err(|source| netlink_error(container, source))
}

/// Everything that the thread in the new namespace does.
fn set_up(
    container: &ContainerId,
    eth0: u32,
    node: BorrowedFd<'_>,
    ephemeral: PortRange,
    inside: &InsideView,
    inherited: &[(&'static str, String)],
) -> Result<(), NamespaceError> {
    let mut netlink = open(container)?;
    let failed = |source| netlink_error(container, source);

    netlink
        .execute(set_link(LOOPBACK_IFINDEX, LinkFlags::Up), 0, || {
            "bring up loopback".to_owned()
        })
        .map_err(failed)?;
    let name = link_name(container);
    netlink
        .execute(
            new_link(&name, eth0, node, inside.mtu),
            NLM_F_CREATE | NLM_F_EXCL,
            || format!("create link `{name}`"),
        )
        .map_err(failed)?;

    let range = format!("{} {}", ephemeral.first(), ephemeral.last());
    let own: &[(&str, &str)] = &[
        ("ipv4/ip_local_port_range", &range),
        // Which ports may be bound is decided by ownership alone.
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0 2147483647"),
        // The node and the neighbours send from addresses that are the container's own, too.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/eth0/rp_filter", "0"),
        ("ipv4/conf/eth0/accept_local", "1"),
        ("ipv4/conf/eth0/accept_redirects", "0"),
        // Addresses are given, not found: no link-local one, no router's advertisement.
        ("ipv6/conf/eth0/addr_gen_mode", "1"),
        ("ipv6/conf/eth0/accept_ra", "0"),
        ("ipv6/conf/eth0/dad_transmits", "0"),
        ("ipv6/conf/eth0/accept_redirects", "0"),
    ];
    for (path, value) in own {
        write_setting(container, path, value)?;
    }
    for (path, value) in inherited {
        write_setting(container, path, value)?;
    }

    netlink
        .execute(set_link(eth0, LinkFlags::Up | LinkFlags::Noarp), 0, || {
            "bring up eth0".to_owned()
        })
        .map_err(failed)?;
    for family in families() {
        // The rule that is moved must never be missing: the new one is there before the old goes.
        let steps = [
            (
                RouteNetlinkMessage::NewRule(rule(family, LOCAL_RULE, LOCAL_TABLE, false)),
                "add",
            ),
            (
                RouteNetlinkMessage::NewRule(rule(family, NEAR_RULE, near_table(), true)),
                "add",
            ),
            (
                RouteNetlinkMessage::DelRule(rule(family, 0, LOCAL_TABLE, false)),
                "remove",
            ),
        ];
        for (message, verb) in steps {
            let flags = if verb == "add" {
                NLM_F_CREATE | NLM_F_EXCL
            } else {
                0
            };
            netlink
                .execute(message, flags, || {
                    format!("{verb} a rule for local addresses")
                })
                .map_err(failed)?;
        }
    }
    execute(
        container,
        eth0,
        &mut netlink,
        plan(
            &InsideView {
                mtu: inside.mtu,
                ..InsideView::default()
            },
            inside,
        ),
    )
}

/// Returns the address families that this kernel has.
fn families() -> Vec<AddressFamily> {
    let mut families = vec![AddressFamily::Inet];
    if fs::exists("/proc/sys/net/ipv6/conf").unwrap_or(false) {
        families.push(AddressFamily::Inet6);
    }
    families
}

fn near_table() -> u8 {
    u8::try_from(NEAR_TABLE).expect("the table's number is small")
}

fn read_inherited() -> Vec<(&'static str, String)> {
    INHERITED
        .iter()
        .filter_map(|path| {
            let value = fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?;
            Some((*path, value.trim().to_owned()))
        })
        .collect()
}

/// Writes one setting of the calling thread's namespace, unless it has that value.
///
/// A setting that this kernel does not have needs no value.
fn write_setting(container: &ContainerId, path: &str, value: &str) -> Result<(), NamespaceError> {
    let file = format!("/proc/sys/net/{path}");
    match fs::read_to_string(&file) {
        Ok(present) if present.trim() == value => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(setting_error(container, file, value, source)),
    }
    match fs::write(&file, value) {
        Ok(()) => Ok(()),
        // Some settings can only be chosen from what the first namespace allows, such as the
        // congestion control; the container then has the kernel's default.
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied && INHERITED.contains(&path) =>
        {
            tracing::debug!(%container, path, value, "setting not inherited");
            Ok(())
        }
        Err(source) => Err(setting_error(container, file, value, source)),
    }
}

fn setting_error(
    container: &ContainerId,
    path: String,
    value: &str,
    source: io::Error,
) -> NamespaceError {
    NamespaceError::Setting {
        container: container.clone(),
        path,
        value: value.to_owned(),
        source,
    }
}

/// Reads what a namespace has now.
fn observe_inside(netlink: &mut Netlink, eth0: u32) -> Result<InsideView, NetlinkError> {
    let mut ask = LinkMessage::default();
    ask.header.index = eth0;
    let answer = netlink.get(RouteNetlinkMessage::GetLink(ask), || "show eth0".to_owned())?;
    let mtu = answer
        .as_ref()
        .and_then(observe::read_link)
        .map_or(0, |link| link.mtu);
    let addresses = observe::addresses(netlink)?
        .into_iter()
        .filter(|address| address.link == eth0 && !address.address.is_loopback())
        .map(|address| address.address)
        .collect();
    let routes = observe::routes(netlink)?
        .into_iter()
        .filter(|route| route.link == eth0)
        .filter_map(|route| {
            Some(InsideRoute {
                prefix: route.prefix,
                source: route.source?,
                mtu: route.mtu,
            })
        })
        .collect();
    Ok(InsideView {
        mtu,
        addresses,
        routes,
    })
}

fn execute(
    container: &ContainerId,
    eth0: u32,
    netlink: &mut Netlink,
    steps: Vec<Step>,
) -> Result<(), NamespaceError> {
    for &step in &steps {
        match execute_step(netlink, eth0, step) {
            Ok(()) => {}
            // Removing an address takes its routes along.
            Err(error)
                if error.is_gone()
                    && matches!(
                        step,
                        Step::RemoveAddress(_) | Step::RemoveNear(_) | Step::RemoveRoute(_)
                    ) => {}
            Err(source) => return Err(netlink_error(container, source)),
        }
    }
    for step in steps {
        if let Step::AddAddress(address @ IpAddr::V6(_)) = step {
            await_address(container, eth0, netlink, address)?;
        }
    }
    Ok(())
}

/// Waits until packets to an address of the link are taken for the container's own.
///
/// An IPv4 address is in force when it is added. One of IPv6 is by a worker of the kernel, also where
/// it is not tested for duplicates; until then the answer to the first packet would be thrown away.
fn await_address(
    container: &ContainerId,
    eth0: u32,
    netlink: &mut Netlink,
    address: IpAddr,
) -> Result<(), NamespaceError> {
    let end = Instant::now() + KERNEL_PATIENCE;
    loop {
        let answer = netlink
            .get(
                RouteNetlinkMessage::GetRoute(arrival_of(eth0, address)),
                || format!("look up what becomes of packets to {address}"),
            )
            .map_err(|source| netlink_error(container, source))?;
        let is_local = matches!(
            answer,
            Some(RouteNetlinkMessage::NewRoute(route)) if route.header.kind == RouteType::Local
        );
        if is_local {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(NamespaceError::NoAddress {
                container: container.clone(),
                address,
            });
        }
        thread::sleep(KERNEL_PAUSE);
    }
}

fn execute_step(netlink: &mut Netlink, eth0: u32, step: Step) -> Result<(), NetlinkError> {
    let what = || format!("{step:?}");
    match step {
        Step::SetMtu(mtu) => {
            let mut message = LinkMessage::default();
            message.header.index = eth0;
            message.attributes.push(LinkAttribute::Mtu(mtu));
            netlink.execute(RouteNetlinkMessage::SetLink(message), 0, what)
        }
        Step::AddAddress(address) => netlink.execute(
            RouteNetlinkMessage::NewAddress(address_message(eth0, address)),
            NLM_F_CREATE | NLM_F_REPLACE,
            what,
        ),
        Step::RemoveAddress(address) => netlink.execute(
            RouteNetlinkMessage::DelAddress(address_message(eth0, address)),
            0,
            what,
        ),
        Step::AddNear(address) => netlink.execute(
            RouteNetlinkMessage::NewRoute(near_route(eth0, address)),
            NLM_F_CREATE | NLM_F_REPLACE,
            what,
        ),
        Step::RemoveNear(address) => netlink.execute(
            RouteNetlinkMessage::DelRoute(near_route(eth0, address)),
            0,
            what,
        ),
        Step::AddRoute(route) => netlink.execute(
            RouteNetlinkMessage::NewRoute(route_message(eth0, &route)),
            NLM_F_CREATE | NLM_F_REPLACE,
            what,
        ),
        Step::RemoveRoute(route) => netlink.execute(
            RouteNetlinkMessage::DelRoute(route_message(eth0, &route)),
            0,
            what,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_an_id_are_containers_links() {
        assert!(is_container_link("weabcdefghij23"));
        assert!(!is_container_link("weird0"));
        assert!(!is_container_link("eth0"));
        assert!(!is_container_link("we"));
    }
}
