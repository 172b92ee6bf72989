//! How Weir's processes reach each other: QUIC, mutual TLS 1.3, and who a peer is.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
