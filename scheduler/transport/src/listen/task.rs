//! The accept task, and what it shares with the greetings and the sweep.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, ServerConfig, TokioRuntime, ValidationTokenConfig};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Incoming;
use super::counters::Counters;
use super::error::ListenError;
use super::greet::greet;
use super::limits::ListenLimits;
use super::pace::Pace;
use super::places::Places;
use super::refused::{Reason, RefusedPeer};
use super::successor;
use super::sweep::sweep;
use crate::credentials::{CredentialWatch, Credentials};
use crate::tls::{self, TlsSetupError};
use crate::transport_config::{Settings, transport_config};
use crate::verify::Record;

/// How many first packets may wait for the accept task, which takes microseconds for each.
const FIRST_PACKETS_MAX: usize = 1024;

/// How many bytes may follow a first packet before it is accepted: the rest of one ClientHello.
const FIRST_BYTES_MAX: u64 = 32 * 1024;

/// What accept task, greetings and sweep share.
pub(super) struct Door {
    endpoint: Endpoint,
    /// Everything of a server configuration but the credentials.
    base: ServerConfig,
    pub(super) credentials: CredentialWatch,
    /// What was in force when the door was opened.
    pub(super) opened_with: Arc<Credentials>,
    pub(super) limits: ListenLimits,
    pub(super) counters: Counters,
    pub(super) places: Places,
    refusals: broadcast::Sender<RefusedPeer>,
    pace: Mutex<Pace>,
    opened: Instant,
}

impl Door {
    pub(super) fn open(
        address: SocketAddr,
        credentials: CredentialWatch,
        limits: ListenLimits,
        counters: Counters,
        refusals: broadcast::Sender<RefusedPeer>,
    ) -> Result<Self, ListenError> {
        limits.check()?;
        let bind = |source| ListenError::Bind { address, source };
        let transport = transport_config(Settings {
            // One conversation is one stream.
            peer_streams_max: 1,
            idle: limits.idle,
            keep_alive: limits.keep_alive,
            receive_bytes_max: limits.receive_bytes_max,
            send_bytes_max: limits.send_bytes_max,
        })
        .map_err(|idle| ListenError::Idle { idle })?;
        let opened_with = Arc::clone(&credentials.borrow().current);
        let first =
            tls::accepting(&opened_with, &Arc::new(Record::default())).map_err(ListenError::Tls)?;
        let mut validation_token = ValidationTokenConfig::default();
        // A peer proves its address when it is asked to, and keeps no token for the next time.
        validation_token.sent(0);
        let mut base = ServerConfig::with_crypto(Arc::new(first));
        base.transport_config(Arc::new(transport))
            .validation_token_config(validation_token)
            .max_incoming(FIRST_PACKETS_MAX)
            .incoming_buffer_size(FIRST_BYTES_MAX)
            .incoming_buffer_size_total(FIRST_BYTES_MAX * FIRST_PACKETS_MAX as u64);
        let socket = UdpSocket::bind(address).map_err(bind)?;
        let bound = socket.local_addr().map_err(bind)?;
        let endpoint = Endpoint::new(
            successor::endpoint_config(&opened_with, bound),
            Some(base.clone()),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(bind)?;
        Ok(Self {
            endpoint,
            base,
            credentials,
            opened_with,
            limits,
            counters,
            places: Places::default(),
            refusals,
            pace: Mutex::new(Pace::default()),
            opened: Instant::now(),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Starts the tasks. The queue ends when no more peers can come.
    pub(super) fn spawn(self, greeted: mpsc::Sender<Incoming>) -> Vec<JoinHandle<()>> {
        let door = Arc::new(self);
        vec![
            tokio::spawn(accept(Arc::clone(&door), greeted)),
            tokio::spawn(sweep(door)),
        ]
    }

    /// Returns the configuration of one handshake.
    pub(super) fn server_config(
        &self,
        credentials: &Credentials,
        record: &Arc<Record>,
    ) -> Result<Arc<ServerConfig>, TlsSetupError> {
        let mut config = self.base.clone();
        config.crypto = Arc::new(tls::accepting(credentials, record)?);
        Ok(Arc::new(config))
    }

    /// Counts, tells and logs that a peer was refused.
    pub(super) fn refuse(&self, refused: RefusedPeer) {
        self.counters.count_refused(&refused.reason);
        let admitted = self
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(self.opened.elapsed());
        if let Some(withheld) = admitted {
            tracing::warn!(
                address = %refused.address,
                claimed = refused.claimed.as_ref().map(tracing::field::display),
                serial = refused.serial.as_ref().map(tracing::field::display),
                check = refused.reason.label(),
                reason = %refused.reason,
                remedy = refused.reason.remedy(),
                lines_withheld = (withheld > 0).then_some(withheld),
                "a peer was refused"
            );
        }
        if let Err(broadcast::error::SendError(refused)) = self.refusals.send(refused) {
            tracing::trace!(address = %refused.address, "nobody follows refusals");
        }
    }
}

/// Decides over every first packet at once, and never waits for who sent it.
async fn accept(door: Arc<Door>, greeted: mpsc::Sender<Incoming>) {
    while let Some(incoming) = door.endpoint.accept().await {
        let ListenLimits {
            connections_max,
            handshakes_max,
            handshakes_unproven_max,
            ..
        } = door.limits;
        let address = canonical(incoming.remote_address());
        let refuse = |reason| {
            door.refuse(RefusedPeer {
                address,
                claimed: None,
                serial: None,
                reason,
            });
        };
        let handshakes = door.counters.handshakes();
        if door.counters.connections() + handshakes >= connections_max {
            incoming.refuse();
            refuse(Reason::Full { connections_max });
            continue;
        }
        if handshakes >= handshakes_unproven_max
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            match incoming.retry() {
                Ok(()) => door.counters.count_sent_away(),
                Err(error) => error.into_incoming().refuse(),
            }
            continue;
        }
        let Some(handshake) = door.counters.begin_handshake(handshakes_max) else {
            incoming.refuse();
            refuse(Reason::Busy { handshakes_max });
            continue;
        };
        tokio::spawn(greet(
            Arc::clone(&door),
            greeted.clone(),
            incoming,
            address,
            handshake,
        ));
    }
}

/// Returns an address as people know it: of IPv4 also when the socket is of IPv6.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Returns how long is left of `patience` since `began`.
pub(super) fn left(patience: Duration, began: Instant) -> Duration {
    patience.saturating_sub(began.elapsed())
}
