//! Writes refused packets and calls into the agent's log, as the programs tell them.
//!
//! The programs send at most ten a second for each container and reason; the counters have all.

use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::maps::{Map, MapData, RingBuf};
use tracing::{error, warn};
use weir_abi::{Address, DropReason, Event};
use weir_sys::readiness::readable;

use super::shared::Shared;

/// Starts writing events into the log.
pub(super) fn spawn(map: Map, shared: Arc<Shared>) {
    tokio::spawn(async move {
        if let Err(error) = run(map, &shared).await {
            error!(
                error = &*error as &dyn std::error::Error,
                "refused packets are no longer logged, only counted; restart the agent"
            );
        }
    });
}

async fn run(map: Map, shared: &Shared) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut ring: RingBuf<MapData> = map.try_into()?;
    let news = readable(ring.as_fd())?;
    loop {
        let mut ready = news.readable().await?;
        while let Some(item) = ring.next() {
            match decode(&item) {
                Some(event) => write(&event, shared),
                None => warn!(bytes = item.len(), "an event of an unknown form"),
            }
        }
        ready.clear_ready();
    }
}

/// Reads an event out of the bytes of the ring buffer.
///
/// `None` where the length is not an event's: never with programs of this agent.
pub(super) fn decode(bytes: &[u8]) -> Option<Event> {
    let bytes: &[u8; size_of::<Event>()] = bytes.try_into().ok()?;
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let half = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
    let address = |at: usize| Address([word(at), word(at + 4), word(at + 8), word(at + 12)]);
    Some(Event {
        at_ns: u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes")),
        slot: word(8),
        reason: word(12),
        source: address(16),
        destination: address(32),
        source_port: half(48),
        destination_port: half(50),
        protocol: bytes[52],
        inbound: bytes[53],
        reserved: half(54),
    })
}

fn write(event: &Event, shared: &Shared) {
    let container = shared.container(event.slot).map_or_else(
        || format!("slot {}", event.slot),
        |container| container.to_string(),
    );
    let source = SocketAddr::new(IpAddr::from(event.source), event.source_port);
    if event.reason == Event::BIND_REFUSED {
        warn!(
            container,
            address = %source,
            "refused a bind: the port does not belong to the container"
        );
        return;
    }
    let destination = SocketAddr::new(IpAddr::from(event.destination), event.destination_port);
    let (reason, explanation) = DropReason::from_number(event.reason)
        .map_or(("unknown", "unknown"), |reason| {
            (reason.name(), reason.explanation())
        });
    warn!(
        container,
        reason,
        direction = if event.inbound == 0 { "out" } else { "in" },
        protocol = event.protocol,
        %source,
        %destination,
        "dropped a packet: {explanation}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_lies_in_memory() {
        let mut bytes = [0_u8; 56];
        bytes[..8].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[8..12].copy_from_slice(&3_u32.to_ne_bytes());
        bytes[12..16].copy_from_slice(&(DropReason::SourcePort as u32).to_ne_bytes());
        bytes[24..28].copy_from_slice(&[0, 0, 0xff, 0xff]);
        bytes[28..32].copy_from_slice(&[10, 0, 0, 1]);
        bytes[48..50].copy_from_slice(&31000_u16.to_ne_bytes());
        bytes[52] = 17;
        let event = decode(&bytes).unwrap();
        assert_eq!((event.at_ns, event.slot, event.protocol), (7, 3, 17));
        assert_eq!(
            DropReason::from_number(event.reason),
            Some(DropReason::SourcePort)
        );
        assert_eq!(IpAddr::from(event.source), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(event.source_port, 31000);
    }

    #[test]
    fn bytes_of_another_length_are_no_event() {
        assert_eq!(decode(&[0; 55]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn any_bytes_of_an_events_length_are_that_event_and_can_be_logged() {
        let shared = Shared::default();
        bolero::check!()
            .with_type::<(Vec<u8>, [[u8; 7]; 8], u8)>()
            .with_iterations(1000)
            .for_each(|(bytes, event, reason)| {
                assert_eq!(decode(bytes).is_some(), bytes.len() == size_of::<Event>());
                let mut bytes = event.concat();
                // Every reason, the refused bind, and some that are unknown.
                let reason = match reason % 24 {
                    23 => Event::BIND_REFUSED,
                    reason => u32::from(reason),
                };
                bytes[12..16].copy_from_slice(&reason.to_ne_bytes());
                let event = decode(&bytes).unwrap();
                assert_eq!(event.reason, reason);
                // Field by field in the order of `Event`, which has no padding.
                let words = |address: Address| address.0.map(u32::to_ne_bytes).concat();
                let again = [
                    event.at_ns.to_ne_bytes().as_slice(),
                    &event.slot.to_ne_bytes(),
                    &event.reason.to_ne_bytes(),
                    &words(event.source),
                    &words(event.destination),
                    &event.source_port.to_ne_bytes(),
                    &event.destination_port.to_ne_bytes(),
                    &[event.protocol, event.inbound],
                    &event.reserved.to_ne_bytes(),
                ]
                .concat();
                assert_eq!(again, bytes);
                write(&event, &shared);
            });
    }
}
