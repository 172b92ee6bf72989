//! What went to the wire, as its queues tell it.

use weir_sys::netlink::{Netlink, NetlinkError};

use super::htb::{self, ClassStatistics};
use super::plan::{self, Whose};
use crate::telemetry::{WireQueue, WireStatistics};

/// Reads the queues of the uplinks: one dump each.
pub(in crate::network) fn read(
    netlink: &mut Netlink,
    uplinks: &[u32],
) -> Result<WireStatistics, NetlinkError> {
    let mut wire = WireStatistics::default();
    for &index in uplinks {
        for class in htb::statistics(netlink, index)? {
            add(&mut wire, &class);
        }
    }
    Ok(wire)
}

fn add(wire: &mut WireStatistics, class: &ClassStatistics) {
    let Some(whose) = plan::whose(class.minor) else {
        return;
    };
    let containers = &mut wire.containers;
    let queue = match whose {
        Whose::Session => wire.session.get_or_insert_default(),
        Whose::Node => wire.node.get_or_insert_default(),
        Whose::First(slot) => &mut containers.entry(slot).or_default().first,
        Whose::Bulk(slot) => &mut containers.entry(slot).or_default().bulk,
        Whose::Container(slot) => {
            // The same on every uplink.
            containers.entry(slot).or_default().assured = class.rate;
            return;
        }
    };
    let WireQueue {
        sent_bytes,
        waiting_bytes,
        dropped_packets,
    } = queue;
    *sent_bytes += class.sent_bytes;
    *waiting_bytes += class.waiting_bytes;
    *dropped_packets += class.dropped_packets;
}
