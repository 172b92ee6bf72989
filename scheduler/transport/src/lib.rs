//! How Weir's processes reach each other: QUIC, mutual TLS 1.3, and who a peer is.
//!
//! ```text
//! identity: TrustDomain, PeerKind{Agent,Framework,Operator,Scheduler}, PeerName, Identity{trust_domain(),kind(),name()}, Display/FromStr = the URI
//! certificate: Serial (hex), Certificate{identity, serial, not_before, not_after}; Moment (whole seconds, RFC 3339 Display)
//! authority: Authority::{create,open,issue,issue_files,revoke,list,certificate_path,revocations_path}  (done)
//!
//! credentials:
//!   struct CredentialFiles { certificate: PathBuf, key: PathBuf, authorities: PathBuf, revocations: Option<PathBuf> }
//!   Credentials::load(&CredentialFiles, kinds: &[PeerKind], now: SystemTime) -> Result<Credentials, CredentialError>     // blocking; CredentialError::remedy()
//!      .identity() .serial() .not_after() -> Moment .warnings()
//!   struct CredentialState { current: Arc<Credentials>, generation: u64, last_error: Option<Arc<CredentialError>>, reloads_ok: u64, reloads_failed: u64 }  .expires_at()
//!   type CredentialWatch = tokio::sync::watch::Receiver<CredentialState>
//!   CredentialState::fixed(Credentials) -> CredentialWatch                // for a command that runs once
//!   Reloader::spawn(files, kinds: Vec<PeerKind>, interval: Duration) -> Result<Reloader, CredentialError>   // needs a tokio runtime; loads at once
//!      .watch() -> CredentialWatch   .reload(&self).await -> Result<(), ReloadError>     (Clone handle; SIGHUP)
//!
//! listen:
//!   ListenLimits: Default
//!   Listener::bind(address: SocketAddr, CredentialWatch, ListenLimits) -> Result<Listener, ListenError>   // in a tokio runtime
//!      .local_address()  .accept(&mut self).await -> Option<Incoming>  .counters() -> Counters (Clone)  .refusals() -> broadcast::Receiver<RefusedPeer>
//!      .close(self, CloseCode, &str).await
//!   Incoming: .peer() -> &Peer { identity, serial, not_after, address }   .into_session::<Out, In>() -> Session<Out, In>
//!      (appears once the peer has opened its stream; the Hello is then the first receive())
//!
//! connect:
//!   Address{host, port}: FromStr ("host:port", "[::1]:port")
//!   ConnectLimits: Default
//!   Connector::new(CredentialWatch, ConnectLimits)   .connect::<Out, In>(&Address).await -> Result<Session<Out, In>, ConnectError>
//!   connect(&Address, CredentialWatch) -> same, once
//!   ConnectError: is_retryable(), remedy().  Backoff::new(first, max) .next_delay(random: u64) -> Duration .reset()
//!
//! session:  Out, In: prost::Message (In: Default)
//!   Session<Out, In>: .send(&Out).await -> Result<(), SendError>   .receive().await -> Result<Option<In>, ReceiveError>   (both cancel-safe)
//!      .continue_with::<Out2, In2>() -> Session<Out2, In2>          // Hello/Welcome first, then the kind's envelopes
//!      .split() -> (Sender<Out>, Receiver<In>)   .peer()  .statistics()  .finish(self).await  .close(CloseCode, reason)  .closed().await -> Disconnect
//!   Sender<Out>: send, feed (no I/O) + flush (one write for many), into_outbox(bound) -> Outbox<Out>
//!   Outbox<Out>: Clone; try_send(Out) -> Result<(), OutboxError{Full, Closed}>; send(Out).await   // own task, coalesces; a peer that does not read is disconnected
//!   Both halves and the Link (connection handle) keep the connection; the last one dropped closes it.
//!   Link (Clone): peer(), statistics(), close(code, reason), closed()
//!   CloseCode: enum with u32 codes and names
//!   Disconnect: why a connection ended (RefusedByPeer(Refusal{check, said}), Closed{code, reason}, TimedOut, …): is_retryable(), remedy()
//!   A certificate refused by the scheduler shows at the client's first receive() as ReceiveError::Disconnected(Disconnect::RefusedByPeer(..)).
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authority;
pub mod certificate;
pub mod check;
mod congestion;
pub mod connect;
pub mod credentials;
pub mod host;
pub mod identity;
pub mod listen;
mod moment;
pub mod session;
mod tls;
mod transport_config;
pub mod verify;

pub use connect::{Address, Connector};
pub use credentials::{CredentialWatch, Credentials, Reloader};
pub use identity::{Identity, PeerKind, PeerName, TrustDomain};
pub use listen::Listener;
pub use moment::Moment;
pub use session::{CloseCode, Session};
pub use tls::TlsSetupError;
