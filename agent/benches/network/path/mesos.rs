//! How Apache Mesos' `network/port_mapping` gives containers ports of one address: filters on the
//! ingress of uplink and veth, one per block and direction, each of which redirects.
//!
//! In its favour: Mesos' own filters compare the hardware address and the address of every packet
//! beside its port, and it has three per block on the veth; these have one comparison, and one filter.

use std::fmt::Write as _;

use anyhow::Result;

use super::{BLOCK, NODE, Path, WIRE, blocks, first_of};
use crate::place::Place;

/// Host and containers share it.
const HARDWARE: &str = "02:00:00:00:09:02";

/// Builds a node with a container that owns so many blocks.
pub(super) fn build(ranges: u32) -> Result<Path> {
    let (wire, host, container) = (Place::new()?, Place::new()?, Place::new()?);
    let address = format!("address {HARDWARE}");
    host.join(("up0", &address), &wire, ("w0", ""))?;
    host.join(("v1", &address), &container, ("eth0", &address))?;
    host.ip(&format!("address add {NODE}/24 dev up0"))?;
    wire.ip(&format!("address add {WIRE}/24 dev w0"))?;
    container.ip(&format!("address add {NODE}/24 dev eth0"))?;
    // Mesos has filters for ARP as well; they are not what is measured.
    let neighbour = wire.hardware_address("w0")?;
    container.ip(&format!(
        "neighbour add {WIRE} lladdr {neighbour} dev eth0 nud permanent"
    ))?;

    let mut batch = String::from("qdisc add dev up0 ingress\nqdisc add dev v1 ingress\n");
    let mask = u16::MAX - (BLOCK - 1);
    for block in blocks(ranges) {
        let first = first_of(block);
        for (from, to, port) in [("up0", "v1", "dport"), ("v1", "up0", "sport")] {
            writeln!(
                batch,
                "filter add dev {from} parent ffff: protocol ip prio 3 u32 match ip {port} {first} {mask:#x} \
                 action mirred egress redirect dev {to}"
            )?;
        }
    }
    host.command("tc", "-batch -", &batch)?;
    Ok(Path {
        wire,
        host,
        container,
        address: NODE.into(),
        other: None,
    })
}
