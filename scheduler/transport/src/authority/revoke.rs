//! Revokes certificates.

use std::time::SystemTime;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};

use super::error::AuthorityError;
use super::files::{Readers, write_atomically};
use super::index::{IndexEntry, Standing};
use super::open::{Authority, calendar, crypto};
use crate::certificate::Serial;
use crate::identity::Identity;
use crate::moment::Moment;

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// One certificate.
    Serial(Serial),
    /// Every certificate that was issued to one peer and is not revoked yet.
    Identity(Identity),
}

impl Authority {
    /// Revokes certificates, and returns which.
    ///
    /// The index is written before the list: after a crash between the two, the next revocation
    /// writes both again.
    pub fn revoke(
        &self,
        which: &Revoke,
        now: SystemTime,
    ) -> Result<Vec<IndexEntry>, AuthorityError> {
        let now = Moment::from_system(now);
        let alone = self.lock()?;
        let mut entries = self.list()?;
        let mut matching = entries
            .iter_mut()
            .filter(|entry| which.is_about(entry))
            .peekable();
        if matching.peek().is_none() {
            return Err(which.unknown());
        }
        let mut revoked = Vec::new();
        for entry in matching {
            match entry.standing {
                Standing::Valid => {
                    entry.standing = Standing::Revoked { at: now };
                    revoked.push(entry.clone());
                }
                Standing::Revoked { .. } => {}
            }
        }
        self.write_index(&alone, &entries)?;
        // Also when nothing changed: the list may be missing, or older than the index.
        write_list(self, &entries, now)?;
        if revoked.is_empty() {
            return Err(AuthorityError::AlreadyRevoked {
                which: match which {
                    Revoke::Serial(serial) => format!("certificate {serial}"),
                    Revoke::Identity(identity) => format!("every certificate of {identity}"),
                },
            });
        }
        Ok(revoked)
    }
}

impl Revoke {
    fn is_about(&self, entry: &IndexEntry) -> bool {
        match self {
            Self::Serial(serial) => entry.serial == *serial,
            Self::Identity(identity) => entry.identity == *identity,
        }
    }

    fn unknown(&self) -> AuthorityError {
        match self {
            Self::Serial(serial) => AuthorityError::UnknownSerial {
                serial: serial.clone(),
            },
            Self::Identity(identity) => AuthorityError::UnknownIdentity {
                identity: identity.clone(),
            },
        }
    }
}

/// Writes the revocation list for `entries`.
///
/// It is good for as long as the authority: nobody renews the lists of a development cluster, and
/// one that goes stale would stop it for no reason.
pub(super) fn write_list(
    authority: &Authority,
    entries: &[IndexEntry],
    now: Moment,
) -> Result<(), AuthorityError> {
    let mut revoked_certs = Vec::new();
    for entry in entries {
        match entry.standing {
            Standing::Valid => {}
            Standing::Revoked { at } => revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(entry.serial.as_bytes()),
                revocation_time: calendar(at)?.to_datetime(),
                reason_code: Some(RevocationReason::Unspecified),
                invalidity_date: None,
            }),
        }
    }
    // Grows with each revocation, as the numbers of lists must.
    let number = u64::try_from(revoked_certs.len()).unwrap_or(u64::MAX);
    let list = CertificateRevocationListParams {
        this_update: calendar(now)?.to_datetime(),
        next_update: calendar(authority.not_after)?.to_datetime(),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&authority.issuer)
    .and_then(|list| list.pem())
    .map_err(crypto("sign the revocation list"))?;
    write_atomically(
        &authority.revocations_path(),
        list.as_bytes(),
        Readers::Everyone,
    )
}
