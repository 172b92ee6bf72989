//! The sweep: who is connected is judged again whenever the credentials change.

use std::sync::Arc;

use rustls::pki_types::UnixTime;

use super::greet::chain;
use super::places::Live;
use super::refused::{Reason, RefusedPeer};
use super::task::Door;
use crate::session::{CloseCode, Link};
use crate::verify::Trust;

/// Follows the credentials until they can change no more.
pub(super) async fn sweep(door: Arc<Door>) {
    let mut credentials = door.credentials.clone();
    let mut swept = credentials.borrow_and_update().generation;
    while credentials.changed().await.is_ok() {
        let state = credentials.borrow_and_update().clone();
        if state.generation == swept {
            // Only the counts or the error changed.
            continue;
        }
        swept = state.generation;
        let live = door.places.live();
        let door = Arc::clone(&door);
        // A tenth of a millisecond for each: too long for a task that others wait for.
        let judged = tokio::task::spawn_blocking(move || {
            for Live { link, judged_at } in live {
                if let Some(link) = link.upgrade() {
                    judge_again(&door, &link, judged_at, state.current.trust());
                }
            }
        })
        .await;
        if let Err(error) = judged {
            tracing::error!(%error, "the sweep did not reach every connection");
        }
    }
}

/// Judges a live connection by `trust`, and closes it if it would be refused now.
///
/// It is judged as of when it connected: that a certificate has run out since does not end a
/// connection.
pub(super) fn judge_again(door: &Door, link: &Link, judged_at: UnixTime, trust: &Trust) {
    if link.close_reason().is_some() {
        // Somebody still holds it, and that is all.
        return;
    }
    let chain = chain(link.connection());
    let Some((end_entity, intermediates)) = chain.split_first() else {
        return link.close(CloseCode::Untrusted, "the certificate is gone");
    };
    let Err((finding, _)) = trust.judge_client(end_entity, intermediates, judged_at) else {
        return;
    };
    link.close(CloseCode::of_check(finding.check), &finding);
    let peer = link.peer();
    door.refuse(RefusedPeer {
        address: peer.address,
        claimed: Some(peer.identity.clone()),
        serial: Some(peer.serial.clone()),
        reason: Reason::NoLonger {
            check: finding.check,
            what: finding.what,
        },
    });
}
