//! Resolves, shakes hands, opens the stream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use prost::{Message, Name};
use quinn::{
    ClientConfig, Connecting, ConnectionError, Endpoint, EndpointConfig, RecvStream, SendStream,
    TokioRuntime, TransportConfig,
};
use rustls::pki_types::UnixTime;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_protocol::hello::ALPN;

use super::address::Address;
use super::error::ConnectError;
use super::vigil::{Vigil, watch_over};
use crate::check::Check;
use crate::credentials::CredentialWatch;
use crate::host::HostName;
use crate::session::{Disconnect, Link, Peer, Session, alert, believed};
use crate::tls;
use crate::transport_config::{Settings, transport_config};
use crate::verify::{Finding, Record};

/// Bounds of the connecting side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectLimits {
    /// How long resolving a name may take.
    pub resolve_patience: Duration,
    /// The most addresses of a name that are tried.
    pub addresses_max: usize,
    /// How long an address may keep silent before the next is tried beside it.
    pub stagger: Duration,
    /// How long the handshake with one address may take: a few losses on a bad path.
    pub handshake_patience: Duration,
    /// How long the scheduler may read nothing of what it is owed.
    pub stall: Duration,
    /// How long nothing may be heard of the scheduler before it is taken for dead.
    pub idle: Duration,
    /// How often it is asked for a sign of life when it sends none: twice per idle time.
    pub keep_alive: Duration,
    /// How much of the scheduler's data may wait to be read, in bytes.
    pub receive_bytes_max: u32,
    /// How much may be on its way without having been confirmed, in bytes.
    pub send_bytes_max: u32,
    /// What its packets are to the queues of this node (`SO_PRIORITY`); one above six takes CAP_NET_ADMIN. Not said where absent.
    pub priority: Option<u32>,
}

/// Connects to schedulers, from as few sockets as there are kinds of network.
#[derive(Debug)]
pub struct Connector(Arc<Shared>);

/// What the attempts of one connector share.
#[derive(Debug)]
struct Shared {
    credentials: CredentialWatch,
    limits: ConnectLimits,
    sockets: Mutex<Vec<(IpAddr, Endpoint)>>,
}

/// A connection with its stream.
type Opened = (Link, SendStream, RecvStream);

impl Default for ConnectLimits {
    fn default() -> Self {
        Self {
            resolve_patience: Duration::from_secs(5),
            addresses_max: 8,
            // As browsers do it (RFC 8305, section 5).
            stagger: Duration::from_millis(250),
            handshake_patience: Duration::from_secs(5),
            stall: Duration::from_secs(10),
            idle: Duration::from_secs(6),
            keep_alive: Duration::from_secs(3),
            receive_bytes_max: 1024 * 1024,
            send_bytes_max: 1024 * 1024,
            priority: None,
        }
    }
}

impl Connector {
    /// Makes a connector. No socket is opened yet.
    pub fn new(credentials: CredentialWatch, limits: ConnectLimits) -> Self {
        Self(Arc::new(Shared {
            credentials,
            limits,
            sockets: Mutex::new(Vec::new()),
        }))
    }

    /// Connects to the scheduler at `address`, and opens the stream.
    ///
    /// Needs a tokio runtime. Dropped half-way, it gives the attempt up.
    pub async fn connect<Out: Message, In: Message + Default + Name>(
        &self,
        address: &Address,
    ) -> Result<Session<Out, In>, ConnectError> {
        let stall = self.0.limits.stall;
        let stagger = self.0.limits.stagger;
        let mut remotes = self.0.resolve(address).await?.into_iter();
        // Attempts that are under way; dropped with this future.
        let mut attempts = JoinSet::new();
        let mut failure: Option<ConnectError> = None;
        loop {
            match remotes.next() {
                Some(remote) => {
                    let attempt = Arc::clone(&self.0).open(address.clone(), remote);
                    attempts.spawn(attempt);
                }
                None if attempts.is_empty() => break,
                None => {}
            }
            let more = remotes.len() > 0;
            let ended = if more {
                match timeout(stagger, attempts.join_next()).await {
                    Ok(ended) => ended,
                    // Nothing yet: the next address may be the one that answers.
                    Err(_elapsed) => continue,
                }
            } else {
                attempts.join_next().await
            };
            match ended {
                Some(Ok(Ok((link, send, receive)))) => {
                    return Ok(Session::new(link, send, receive, stall));
                }
                Some(Ok(Err(error))) => {
                    tracing::debug!(%address, %error, "an address of the scheduler failed");
                    let says_less = failure
                        .as_ref()
                        .is_some_and(|before| before.is_judgement() && !error.is_judgement());
                    if !says_less {
                        failure = Some(error);
                    }
                }
                // Only while the runtime shuts down.
                Some(Err(_)) | None => {}
            }
        }
        Err(failure.unwrap_or_else(|| ConnectError::NoAddresses {
            address: address.clone(),
        }))
    }

    /// Waits until every closed connection has told its peer: what a command does before it exits.
    pub async fn settle(&self) {
        let endpoints: Vec<Endpoint> = self
            .0
            .lock()
            .iter()
            .map(|(_, endpoint)| endpoint.clone())
            .collect();
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    }
}

impl Shared {
    async fn resolve(&self, address: &Address) -> Result<Vec<SocketAddr>, ConnectError> {
        let name = match &address.host {
            HostName::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, address.port)]),
            HostName::Dns(name) => name.as_str(),
        };
        let patience = self.limits.resolve_patience;
        let found = match timeout(patience, lookup_host((name, address.port))).await {
            Ok(Ok(found)) => found,
            Ok(Err(source)) => {
                return Err(ConnectError::Resolve {
                    address: address.clone(),
                    source,
                });
            }
            Err(_elapsed) => {
                return Err(ConnectError::ResolveSlow {
                    address: address.clone(),
                    patience,
                });
            }
        };
        let mut addresses = Vec::new();
        for remote in found {
            if !addresses.contains(&remote) && addresses.len() < self.limits.addresses_max {
                addresses.push(remote);
            }
        }
        Ok(addresses)
    }

    /// Shakes hands with one address, and opens the stream.
    async fn open(
        self: Arc<Self>,
        address: Address,
        remote: SocketAddr,
    ) -> Result<Opened, ConnectError> {
        let current = Arc::clone(&self.credentials.borrow().current);
        let record = Arc::new(Record::default());
        let crypto = tls::connecting(&current, &record).map_err(ConnectError::Tls)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(self.transport()?));
        let judged_at = UnixTime::now();
        let connecting = self.begin(config, remote, &address.host.to_string())?;

        let patience = self.limits.handshake_patience;
        let no_answer = || ConnectError::NoAnswer {
            address: address.clone(),
            remote,
            patience,
        };
        let connection = match timeout(patience, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(failure(&address, remote, patience, error, &record)),
            Err(_elapsed) => return Err(no_answer()),
        };
        let certificate = believed(&connection).ok_or_else(|| ConnectError::Failed {
            address: address.clone(),
            remote,
            disconnect: Disconnect::Quic {
                what: "the certificate that was believed cannot be read".to_owned(),
            },
        })?;
        let link = Link::new(connection, Peer::new(certificate, remote), None);
        let (send, receive) = match timeout(patience, link.connection().open_bi()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failure(&address, remote, patience, error, &record)),
            // It gives no stream.
            Err(_elapsed) => return Err(no_answer()),
        };
        tokio::spawn(watch_over(
            link.downgrade(),
            self.credentials.clone(),
            Vigil {
                name: address.host.to_server_name(),
                judged_at,
                by: current,
            },
        ));
        Ok((link, send, receive))
    }

    /// Sends the first packet.
    fn begin(
        &self,
        config: ClientConfig,
        remote: SocketAddr,
        name: &str,
    ) -> Result<Connecting, ConnectError> {
        let local = local_address(remote);
        let endpoint = self
            .endpoint(local)
            .map_err(|source| ConnectError::Socket { remote, source })?;
        match endpoint.connect_with(config.clone(), remote, name) {
            // The socket has failed since it was last used: once more, with another.
            Err(quinn::ConnectError::EndpointStopping) => {
                self.lock().retain(|(bound, _)| *bound != local);
                self.endpoint(local)
                    .map_err(|source| ConnectError::Socket { remote, source })?
                    .connect_with(config, remote, name)
            }
            begun => begun,
        }
        .map_err(|source| ConnectError::Begin { remote, source })
    }

    fn transport(&self) -> Result<TransportConfig, ConnectError> {
        transport_config(Settings {
            // The scheduler opens none.
            peer_streams_max: 0,
            idle: self.limits.idle,
            keep_alive: self.limits.keep_alive,
            receive_bytes_max: self.limits.receive_bytes_max,
            send_bytes_max: self.limits.send_bytes_max,
        })
        .map_err(|idle| ConnectError::Idle { idle })
    }

    /// Returns the socket of a local address.
    fn endpoint(&self, local: IpAddr) -> io::Result<Endpoint> {
        let mut sockets = self.lock();
        if let Some((_, endpoint)) = sockets.iter().find(|(bound, _)| *bound == local) {
            return Ok(endpoint.clone());
        }
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            None,
            bind(local, self.limits.priority)?,
            Arc::new(TokioRuntime),
        )?;
        sockets.push((local, endpoint.clone()));
        Ok(endpoint)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(IpAddr, Endpoint)>> {
        // Nothing panics while it is held, and a list of handles is whole at every moment.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a socket. One whose packets cannot go first works as well as any other.
fn bind(local: IpAddr, priority: Option<u32>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
    let number = priority.and_then(|priority| i32::try_from(priority).ok());
    if let Some(number) = number
        && let Err(error) = setsockopt(&socket, sockopt::Priority, &number)
    {
        tracing::warn!(%error, "the connection to the scheduler has no priority over other traffic of this node; run as root for it");
    }
    Ok(socket)
}

/// Returns from where to reach `remote`.
fn local_address(remote: SocketAddr) -> IpAddr {
    // What stays on this host is sent from where nobody else can answer.
    match (remote.ip(), remote.ip().is_loopback()) {
        (IpAddr::V4(_), true) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V4(_), false) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), true) => Ipv6Addr::LOCALHOST.into(),
        (IpAddr::V6(_), false) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Returns why a handshake failed.
fn failure(
    address: &Address,
    remote: SocketAddr,
    patience: Duration,
    error: ConnectionError,
    record: &Record,
) -> ConnectError {
    let address = address.clone();
    if let Some(finding) = record.finding() {
        return ConnectError::NotBelieved {
            address,
            remote,
            finding: finding.clone(),
        };
    }
    if let ConnectionError::TransportError(error) = &error
        && let Some(alert) = alert(error.code)
    {
        let check = Check::of_alert(alert);
        return ConnectError::NotBelieved {
            address,
            remote,
            finding: Finding {
                check,
                what: if check == Check::Protocol {
                    format!("the peer did not agree to `{}`", ALPN.escape_ascii())
                } else {
                    error.reason.clone()
                },
                claimed: None,
                serial: None,
            },
        };
    }
    match Disconnect::read(error, None) {
        Disconnect::RefusedByPeer(refusal) => ConnectError::Refused {
            address,
            remote,
            refusal,
        },
        Disconnect::Silence => ConnectError::NoAnswer {
            address,
            remote,
            patience,
        },
        disconnect @ (Disconnect::ByPeer { .. }
        | Disconnect::Here { .. }
        | Disconnect::Restarted
        | Disconnect::Full { .. }
        | Disconnect::Version
        | Disconnect::Quic { .. }) => ConnectError::Failed {
            address,
            remote,
            disconnect,
        },
    }
}
