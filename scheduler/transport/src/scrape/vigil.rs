//! Whether a client that was let in would still be.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};

use super::gate::Gate;
use super::refusal::Refusal;
use crate::certificate::Certificate;
use crate::credentials::CredentialWatch;
use crate::verify::SCRAPING;

/// Judges a client again whenever the credentials change.
#[derive(Debug)]
pub struct Vigil {
    pub(super) gate: Gate,
    pub(super) address: SocketAddr,
    pub(super) client: Certificate,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) judged_at: UnixTime,
    /// What was in force at the handshake was seen; whatever came since was not.
    pub(super) credentials: CredentialWatch,
}

impl Vigil {
    /// Waits until the client would be refused, which is counted and logged; for ever if that never comes.
    ///
    /// It is judged as of when it connected: that a certificate has run out since does not end a connection.
    pub async fn until_refused(&mut self) {
        while self.credentials.changed().await.is_ok() {
            let current = Arc::clone(&self.credentials.borrow_and_update().current);
            let Some((end_entity, intermediates)) = self.chain.split_first() else {
                return;
            };
            let judged =
                current
                    .trust()
                    .judge_client(end_entity, intermediates, self.judged_at, SCRAPING);
            if let Err((finding, _)) = judged {
                let refusal = Refusal::NoLonger {
                    check: finding.check,
                    what: finding.what,
                };
                let client = Some((&self.client.identity, &self.client.serial));
                return self.gate.count_and_log(self.address, client, &refusal);
            }
        }
        std::future::pending().await
    }
}
