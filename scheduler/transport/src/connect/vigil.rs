//! Judges the scheduler again while the session lives.

use std::sync::Arc;

use rustls::pki_types::{ServerName, UnixTime};

use crate::credentials::{CredentialWatch, Credentials};
use crate::session::{CloseCode, Link, WeakLink, chain};

/// How the scheduler was judged, and by what.
pub(super) struct Vigil {
    pub(super) name: ServerName<'static>,
    pub(super) judged_at: UnixTime,
    pub(super) by: Arc<Credentials>,
}

/// Watches over one session until it ends, or until the credentials can change no more.
pub(super) async fn watch_over(link: WeakLink, mut credentials: CredentialWatch, mut vigil: Vigil) {
    loop {
        // Credentials that changed during the handshake are seen here, before any waiting.
        let current = Arc::clone(&credentials.borrow_and_update().current);
        if !current.believes_like(&vigil.by) {
            let Some(link) = link.upgrade() else { return };
            vigil.by = current;
            vigil.judge(&link);
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
    fn judge(&self, link: &Link) {
        let chain = chain(link.connection());
        let Some((end_entity, intermediates)) = chain.split_first() else {
            return link.close(CloseCode::Untrusted, "the certificate is gone");
        };
        let judged =
            self.by
                .trust()
                .judge_server(end_entity, intermediates, &self.name, self.judged_at);
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
