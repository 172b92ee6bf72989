//! A listener after one that was killed.
//!
//! The peers of the one before it were told nothing: they would wait until they have heard nothing for the
//! idle time. QUIC has a packet for that, the stateless reset, which whoever holds the keys of the former
//! process can answer with. So both keys come from the certificate's private key, and a peer connects
//! again as soon as it has sent something. At a certificate with another key it waits, as it would have.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;

use crate::credentials::Credentials;

/// Returns the configuration of the endpoint at an address, the same for every process that has the key.
///
/// Two listeners of one key have different secrets: what one answers would end connections of the other.
pub(super) fn endpoint_config(credentials: &Credentials, address: SocketAddr) -> EndpointConfig {
    let reset = credentials.secret(&format!("stateless reset at {address}"));
    let reset = hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref());
    let mut config = EndpointConfig::new(Arc::new(reset));
    // By it an id is known to be of this listener or of one before it: anything else is not answered.
    let ids = credentials.secret(&format!("connection ids at {address}"));
    let ids = ids
        .as_ref()
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}
