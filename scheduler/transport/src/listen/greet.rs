//! One greeting: from a first packet to a peer that is believed and has opened its stream.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::ConnectionError;
use rustls::pki_types::UnixTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use weir_protocol::hello::ALPN;

use super::Incoming;
use super::counters::Gauge;
use super::refused::{Reason, RefusedPeer};
use super::sweep::judge_again;
use super::task::{Door, canonical, left};
use crate::check::Check;
use crate::session::{CloseCode, Disconnect, Link, Peer, alert, believed};
use crate::verify::Record;

/// Greets one peer, or refuses it.
pub(super) async fn greet(
    door: Arc<Door>,
    greeted: mpsc::Sender<Incoming>,
    incoming: quinn::Incoming,
    address: SocketAddr,
    handshake: Gauge,
) {
    let record = Arc::new(Record::default());
    if let Err(reason) = introduce(&door, &greeted, incoming, &record, handshake).await {
        let finding = record.finding();
        door.refuse(RefusedPeer {
            address,
            claimed: finding.and_then(|finding| finding.claimed.clone()),
            serial: finding.and_then(|finding| finding.serial.clone()),
            reason,
        });
    }
}

async fn introduce(
    door: &Arc<Door>,
    greeted: &mpsc::Sender<Incoming>,
    incoming: quinn::Incoming,
    record: &Arc<Record>,
    handshake: Gauge,
) -> Result<(), Reason> {
    let state = door.credentials.borrow().clone();
    let judged_at = UnixTime::now();
    let config = door
        .server_config(&state.current, record)
        .map_err(|error| Reason::Broken {
            what: error.to_string(),
        })?;
    let patience = door.limits.handshake_patience;
    let connecting = incoming
        .accept_with(config)
        .map_err(|error| reason(error, record))?;
    let connection = match timeout(patience, connecting).await {
        Ok(Ok(connection)) => connection,
        // The listener was closed meanwhile.
        Ok(Err(ConnectionError::LocallyClosed)) => return Ok(()),
        Ok(Err(error)) => return Err(reason(error, record)),
        Err(_elapsed) => return Err(Reason::Slow { patience }),
    };
    drop(handshake);

    let connections_max = door.limits.connections_max;
    let Some(gauge) = door.counters.begin_connection(connections_max) else {
        connection.close(CloseCode::Busy.as_varint(), b"no place is left");
        return Err(Reason::Full { connections_max });
    };
    let certificate = believed(&connection).ok_or_else(|| Reason::Broken {
        what: "the certificate that was believed cannot be read".to_owned(),
    })?;
    let peer = Peer::new(certificate, canonical(connection.remote_address()));
    let place = door.places.take(gauge);
    let number = place.number();
    let link = Link::new(connection, peer, Some(Box::new(place)));
    door.places.fill(number, &link, judged_at);
    // Credentials that changed during the handshake: the sweep may have passed before the place was
    // filled.
    let now = door.credentials.borrow().clone();
    if now.generation != state.generation {
        judge_again(door, &link, judged_at, now.current.trust());
    }
    open(door, greeted, link).await;
    Ok(())
}

/// Waits for the stream of a peer that is believed, and hands it over.
async fn open(door: &Arc<Door>, greeted: &mpsc::Sender<Incoming>, link: Link) {
    let refuse = |reason: Reason, code: CloseCode| {
        link.close(code, &reason);
        let peer = link.peer();
        door.refuse(RefusedPeer {
            address: peer.address,
            claimed: Some(peer.identity.clone()),
            serial: Some(peer.serial.clone()),
            reason,
        });
    };
    let patience = door.limits.stream_patience;
    let began = Instant::now();
    let (send, receive) = match timeout(patience, link.connection().accept_bi()).await {
        Ok(Ok(stream)) => stream,
        // It is gone again; for whoever is judged anew and closed, that was told already.
        Ok(Err(error)) => {
            let disconnect = link.disconnect(error);
            tracing::debug!(peer = %link.peer().identity, reason = %disconnect, "a peer left before it spoke");
            if let Disconnect::RefusedByPeer(refusal) = disconnect {
                refuse(Reason::RefusedUs(refusal), CloseCode::Done);
            }
            return;
        }
        Err(_elapsed) => return refuse(Reason::NoStream { patience }, CloseCode::NoStream),
    };
    let incoming = Incoming {
        link: link.clone(),
        send,
        receive,
        stall: door.limits.stall,
    };
    match timeout(left(patience, began), greeted.send(incoming)).await {
        Ok(Ok(())) => {
            let peer = link.peer();
            tracing::debug!(
                peer = %peer.identity,
                address = %peer.address,
                serial = %peer.serial,
                "a peer has connected"
            );
        }
        // The listener is gone.
        Ok(Err(_)) => link.close(CloseCode::ShuttingDown, ""),
        Err(_elapsed) => refuse(
            Reason::Broken {
                what: "the application did not accept it in time".to_owned(),
            },
            CloseCode::Busy,
        ),
    }
}

/// Returns why a handshake failed.
fn reason(error: ConnectionError, record: &Record) -> Reason {
    if let Some(finding) = record.finding() {
        return Reason::Check {
            check: finding.check,
            what: finding.what.clone(),
        };
    }
    if let ConnectionError::TransportError(error) = &error
        && let Some(alert) = alert(error.code)
    {
        return local_failure(alert, &error.reason, record);
    }
    match Disconnect::read(error, None) {
        Disconnect::RefusedByPeer(refusal) => Reason::RefusedUs(refusal),
        other @ (Disconnect::ByPeer { .. }
        | Disconnect::Here { .. }
        | Disconnect::Silence
        | Disconnect::Restarted
        | Disconnect::Full { .. }
        | Disconnect::Version
        | Disconnect::Quic { .. }) => Reason::Broken {
            what: other.to_string(),
        },
    }
}

/// Returns what this side's TLS refused, when it was not the verifier.
fn local_failure(alert: u8, words: &str, record: &Record) -> Reason {
    let check = Check::of_alert(alert);
    let what = if check == Check::Protocol {
        let offered = record.offered();
        let offered = if offered.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", offered.join("`, `"))
        };
        format!(
            "the peer offers {offered}, and this side speaks `{}`",
            ALPN.escape_ascii()
        )
    } else {
        words.to_owned()
    };
    Reason::Check { check, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_protocol_names_both_sides() {
        let record = Record::default();
        record.offer(vec!["h3".to_owned(), "weir/0".to_owned()]);
        let Reason::Check { check, what } = local_failure(120, "", &record) else {
            panic!("not a check");
        };
        assert_eq!(check, Check::Protocol);
        assert_eq!(
            what,
            "the peer offers `h3`, `weir/0`, and this side speaks `weir/1`"
        );
    }
}
