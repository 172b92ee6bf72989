//! The TLS that both sides speak: 1.3 only, one provider, one application protocol, no resumption.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// What both sides say they will speak on a connection.
pub const ALPN: &[u8] = b"weir/1";

/// Returns the cryptography, always named: the default of a process is whatever the last linked
/// crate made of it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            // The hybrid first: it costs nothing that can be measured beside a signature, and what
            // is recorded today stays closed. A peer that lacks it takes the next.
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}
