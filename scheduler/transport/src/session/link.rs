//! One connection, held by all who use it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use quinn::{Connection, ConnectionError};
use rustls::pki_types::CertificateDer;

use super::close::CloseCode;
use super::disconnect::Disconnect;
use super::statistics::LinkStatistics;
use crate::certificate::{Certificate, Serial};
use crate::congestion::step_aside;
use crate::identity::Identity;
use crate::moment::Moment;

/// The most of a reason that goes into the packet that closes: it has to fit one.
const REASON_BYTES_MAX: usize = 300;

/// Who is at the other end, as its certificate says and the verifier believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// The number of its certificate.
    pub serial: Serial,
    /// When its certificate ends. The connection may outlive it.
    pub not_after: Moment,
    /// Where it was when it connected, or was connected to.
    pub address: SocketAddr,
}

/// A handle on one connection.
///
/// The connection is closed when the last handle, sender or receiver is dropped.
#[derive(Clone, Debug)]
pub struct Link(Arc<Shared>);

/// A handle that does not keep the connection.
#[derive(Clone, Debug)]
pub(crate) struct WeakLink(Weak<Shared>);

struct Shared {
    connection: Connection,
    peer: Peer,
    closed_here: OnceLock<(CloseCode, String)>,
    /// What is given back when the connection is no more: a place among the connections.
    _place: Option<Box<dyn Send + Sync>>,
}

impl Peer {
    pub(crate) fn new(certificate: Certificate, address: SocketAddr) -> Self {
        let Certificate {
            identity,
            serial,
            not_before: _,
            not_after,
        } = certificate;
        Self {
            identity,
            serial,
            not_after,
            address,
        }
    }
}

impl Link {
    pub(crate) fn new(
        connection: Connection,
        peer: Peer,
        place: Option<Box<dyn Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Shared {
            connection,
            peer,
            closed_here: OnceLock::new(),
            _place: place,
        }))
    }

    /// Returns who the peer is.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Returns how the connection goes.
    pub fn statistics(&self) -> LinkStatistics {
        LinkStatistics::read(&self.0.connection)
    }

    /// Closes the connection at once; what was not delivered is lost.
    ///
    /// The first code and reason count. The peer sees both.
    pub fn close(&self, code: CloseCode, reason: impl fmt::Display) {
        let mut reason = reason.to_string();
        let end = (0..=REASON_BYTES_MAX.min(reason.len()))
            .rev()
            .find(|end| reason.is_char_boundary(*end))
            .unwrap_or(0);
        reason.truncate(end);
        let (code, reason) = self.0.closed_here.get_or_init(|| (code, reason));
        step_aside(&self.0.connection);
        self.0.connection.close(code.as_varint(), reason.as_bytes());
    }

    /// Waits until the connection is no more, and returns why.
    pub async fn closed(&self) -> Disconnect {
        let error = self.0.connection.closed().await;
        self.disconnect(error)
    }

    /// Returns why the connection is no more, if it is.
    pub fn close_reason(&self) -> Option<Disconnect> {
        let error = self.0.connection.close_reason()?;
        Some(self.disconnect(error))
    }

    pub(crate) fn disconnect(&self, error: ConnectionError) -> Disconnect {
        Disconnect::read(error, self.0.closed_here.get())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    pub(crate) fn downgrade(&self) -> WeakLink {
        WeakLink(Arc::downgrade(&self.0))
    }
}

impl WeakLink {
    pub(crate) fn upgrade(&self) -> Option<Link> {
        self.0.upgrade().map(Link)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without effect on a connection that was closed with something else before.
        step_aside(&self.connection);
        self.connection.close(CloseCode::Done.as_varint(), b"");
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("peer", &self.peer)
            .field("closed_here", &self.closed_here)
            .finish_non_exhaustive()
    }
}

/// Returns the chain of a peer.
pub(crate) fn chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map_or_else(Vec::new, |chain| *chain)
}

/// Returns the certificate of a peer that the verifier believed.
pub(crate) fn believed(connection: &Connection) -> Option<Certificate> {
    Certificate::read(chain(connection).first()?).ok()
}
