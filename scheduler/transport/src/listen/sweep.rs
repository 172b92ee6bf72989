//! The sweep: who is connected is judged again whenever the credentials change.

use std::sync::Arc;

use rustls::pki_types::UnixTime;

use super::places::Live;
use super::refused::{Reason, RefusedPeer};
use super::task::Door;
use crate::credentials::Credentials;
use crate::session::{CloseCode, Link, chain};
use crate::verify::{CONVERSING, Trust};

/// Follows the credentials until they can change no more.
pub(super) async fn sweep(door: Arc<Door>) {
    let mut credentials = door.credentials.clone();
    // Not what is in force now: who was greeted before this task ran was judged by that.
    let mut swept = Arc::clone(&door.opened_with);
    while credentials.changed().await.is_ok() {
        let current = Arc::clone(&credentials.borrow_and_update().current);
        if current.believes_like(&swept) {
            // Only the own certificate changed, or what is counted.
            continue;
        }
        swept = Arc::clone(&current);
        let live = door.places.live();
        let door = Arc::clone(&door);
        // A tenth of a millisecond for each: too long for a task that others wait for.
        let judged = tokio::task::spawn_blocking(move || {
            for Live { link, judged_at } in listed_first(live, &current) {
                if let Some(link) = link.upgrade() {
                    judge_again(&door, &link, judged_at, current.trust());
                }
            }
        })
        .await;
        if let Err(error) = judged {
            tracing::error!(%error, "the sweep did not reach every connection");
        }
    }
}

/// Puts those first whose number stands in a list: the judgement of ten thousand takes a second or
/// two, and who was revoked should not wait for all the others.
///
/// Nothing here keeps a connection that its last user lets go of meanwhile.
fn listed_first(mut live: Vec<Live>, credentials: &Credentials) -> Vec<Live> {
    let listed = credentials.listed_serials();
    live.sort_by_cached_key(|live| {
        let link = live.link.upgrade();
        !link.is_some_and(|link| listed.contains(&link.peer().serial))
    });
    live
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
    let Err((finding, _)) = trust.judge_client(end_entity, intermediates, judged_at, CONVERSING)
    else {
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
