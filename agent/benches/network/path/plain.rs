//! What any Linux machine does without more: an address per container, behind a router or on a bridge.
//!
//! In their favour: no firewall, no connection tracking, no address translation, one route per
//! container.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::{Path, RANGES_MAX, WIRE, first_of};
use crate::place::Place;

const CONTAINER: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 2, 2);
const ON_BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

/// Builds a router with two containers behind it.
pub(super) fn routing() -> Result<Path> {
    let (wire, host) = (Place::new()?, Place::new()?);
    let (container, other) = (Place::new()?, Place::new()?);
    host.join(("up0", ""), &wire, ("w0", ""))?;
    host.join(("v1", ""), &container, ("eth0", ""))?;
    host.join(("v2", ""), &other, ("eth0", ""))?;
    host.write_setting("net/ipv4/ip_forward", "1")?;
    wire.ip(&format!("address add {WIRE}/24 dev w0"))?;
    wire.ip("route add default via 10.9.0.254")?;
    for (link, place, address) in [
        ("v1", &container, Ipv4Addr::new(10, 9, 1, 254)),
        ("v2", &other, Ipv4Addr::new(10, 9, 2, 254)),
    ] {
        host.ip(&format!("address add {address}/24 dev {link}"))?;
        let inside = if link == "v1" { CONTAINER } else { OTHER };
        place.ip(&format!("address add {inside}/24 dev eth0"))?;
        place.ip(&format!("route add default via {address}"))?;
    }
    host.ip("address add 10.9.0.254/24 dev up0")?;
    let other = Some((other, SocketAddr::from((OTHER, first_of(RANGES_MAX - 1)))));
    Ok(Path {
        wire,
        host,
        container,
        address: CONTAINER.into(),
        other,
    })
}

/// Builds a bridge with a container on it.
pub(super) fn bridge() -> Result<Path> {
    let (wire, host, container) = (Place::new()?, Place::new()?, Place::new()?);
    host.ip("link add br0 type bridge")?;
    host.ip("link set br0 up")?;
    host.join(("up0", ""), &wire, ("w0", ""))?;
    host.join(("v1", ""), &container, ("eth0", ""))?;
    for port in ["up0", "v1"] {
        host.ip(&format!("link set {port} master br0"))?;
    }
    wire.ip(&format!("address add {WIRE}/24 dev w0"))?;
    container.ip(&format!("address add {ON_BRIDGE}/24 dev eth0"))?;
    Ok(Path {
        wire,
        host,
        container,
        address: ON_BRIDGE.into(),
        other: None,
    })
}
