//! Judges the scheduler again while the session lives.

use rustls::pki_types::{ServerName, UnixTime};

use crate::credentials::{CredentialState, CredentialWatch};
use crate::listen::chain;
use crate::session::{CloseCode, Link, WeakLink};

/// How the scheduler was judged when it was connected to.
pub(super) struct Vigil {
    pub(super) name: ServerName<'static>,
    pub(super) judged_at: UnixTime,
    pub(super) generation: u64,
}

/// Watches over one session until it ends, or until the credentials can change no more.
pub(super) async fn watch_over(link: WeakLink, mut credentials: CredentialWatch, mut vigil: Vigil) {
    loop {
        // Credentials that changed during the handshake are seen here, before any waiting.
        let state = credentials.borrow_and_update().clone();
        if state.generation != vigil.generation {
            vigil.generation = state.generation;
            let Some(link) = link.upgrade() else { return };
            vigil.judge(&link, &state);
        }
        let Some(connection) = link.upgrade().map(|link| link.connection().clone()) else {
            return;
        };
        // The connection alone does not keep the link: that closes it when its last handle goes.
        tokio::select! {
            _ = connection.closed() => return,
            changed = credentials.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Vigil {
    fn judge(&self, link: &Link, state: &CredentialState) {
        let chain = chain(link.connection());
        let Some((end_entity, intermediates)) = chain.split_first() else {
            return link.close(CloseCode::Untrusted, "the certificate is gone");
        };
        let judged = state.current.trust().judge_server(
            end_entity,
            intermediates,
            &self.name,
            self.judged_at,
        );
        if let Err((finding, _)) = judged {
            tracing::warn!(
                peer = %link.peer().identity,
                address = %link.peer().address,
                check = finding.check.label(),
                reason = %finding,
                "the scheduler is not believed any more"
            );
            link.close(CloseCode::of_check(finding.check), &finding);
        }
    }
}
