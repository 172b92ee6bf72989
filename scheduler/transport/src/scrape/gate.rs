//! One handshake after the other: who is let in.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::Error as TlsError;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::counts::ScrapeCounts;
use super::refusal::Refusal;
use super::vigil::Vigil;
use crate::certificate::{Certificate, Serial};
use crate::check::Check;
use crate::credentials::CredentialWatch;
use crate::identity::Identity;
use crate::listen::{Pace, canonical};
use crate::tls::{self, SCRAPE_ALPN};
use crate::verify::Record;

/// Credentials that may be loaded only later: a daemon serves what it measures also while it cannot show who it is,
/// which is when people look.
pub type LateCredentials = watch::Receiver<Option<CredentialWatch>>;

/// What a client is told that speaks HTTP without TLS.
const PLAIN_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
     Content-Type: text/plain; charset=utf-8\r\n\
     Content-Length: 75\r\n\
     Connection: close\r\n\r\n\
     this is served over TLS, to clients with a certificate of the cluster only\n";

/// How long a refused client may take to read why, and how much of what it had to say is thrown away meanwhile: a
/// connection that is closed while something of its is unread is reset, and the reason with it.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// Bounds of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// The most handshakes at once. Each costs about a millisecond of a core.
    pub handshakes_max: usize,
    /// How long a handshake may take: a few losses on a bad path.
    pub handshake_patience: Duration,
}

impl Default for ScrapeLimits {
    fn default() -> Self {
        Self {
            handshakes_max: 32,
            handshake_patience: Duration::from_secs(5),
        }
    }
}

/// Lets in who may scrape, with the credentials of the moment. A handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    credentials: LateCredentials,
    limits: ScrapeLimits,
    counts: ScrapeCounts,
    pace: Mutex<Pace>,
    opened: Instant,
}

/// A client that is believed.
#[derive(Debug)]
pub struct Admitted {
    stream: TlsStream<TcpStream>,
    vigil: Vigil,
}

/// A client that is not, and what its certificate said of it.
struct Turned {
    refusal: Refusal,
    claimed: Option<Identity>,
    serial: Option<Serial>,
    /// To be told why.
    stream: Option<TcpStream>,
}

impl Gate {
    /// Makes a gate that takes the credentials from here at each handshake.
    pub fn new(credentials: LateCredentials, limits: ScrapeLimits) -> Self {
        Self(Arc::new(Shared {
            credentials,
            limits,
            counts: ScrapeCounts::default(),
            pace: Mutex::new(Pace::default()),
            opened: Instant::now(),
        }))
    }

    /// Makes a gate for a process that has loaded its credentials.
    pub fn with(credentials: CredentialWatch, limits: ScrapeLimits) -> Self {
        Self::new(watch::channel(Some(credentials)).1, limits)
    }

    /// Returns its bounds.
    pub fn limits(&self) -> ScrapeLimits {
        self.0.limits
    }

    /// Returns the counts, for metrics.
    pub fn counts(&self) -> ScrapeCounts {
        self.0.counts.clone()
    }

    /// Does the handshake with a client; returns nothing if it is refused, which is then counted, logged, and told to
    /// the client as far as it listens.
    pub async fn admit(&self, stream: TcpStream, address: SocketAddr) -> Option<Admitted> {
        let address = canonical(address);
        let record = Arc::new(Record::default());
        let patience = self.0.limits.handshake_patience;
        let introduced = timeout(patience, self.introduce(stream, address, &record)).await;
        let turned = match introduced {
            Ok(Ok(admitted)) => {
                self.0.counts.count_admitted();
                return Some(admitted);
            }
            Ok(Err(turned)) => turned,
            Err(_elapsed) => Turned::without_client(Refusal::Slow { patience }, None),
        };
        let client = turned.claimed.as_ref().zip(turned.serial.as_ref());
        self.count_and_log(address, client, &turned.refusal);
        if let Some(stream) = turned.stream {
            take_leave(stream, &turned.refusal).await;
        }
        None
    }

    /// Counts and logs that a client had to give up its place to a newer one.
    pub fn crowded_out(&self, address: SocketAddr) {
        let handshakes_max = self.0.limits.handshakes_max;
        self.count_and_log(canonical(address), None, &Refusal::Busy { handshakes_max });
    }

    async fn introduce(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        record: &Arc<Record>,
    ) -> Result<Admitted, Turned> {
        let Some(mut credentials) = self.0.credentials.borrow().clone() else {
            return Err(Turned::without_client(Refusal::NoCredentials, None));
        };
        let current = Arc::clone(&credentials.borrow_and_update().current);
        let broken = |what: String| Refusal::Broken { what };
        match speaks(&stream).await {
            Ok(Speaks::Tls) => {}
            Ok(Speaks::Plain) => return Err(Turned::without_client(Refusal::Plain, Some(stream))),
            Ok(Speaks::Nothing) => {
                let refusal = broken("it went away before it said anything".to_owned());
                return Err(Turned::without_client(refusal, None));
            }
            Err(error) => return Err(Turned::without_client(broken(error.to_string()), None)),
        }
        if let Err(error) = current.check_serves() {
            let refusal = Refusal::CannotServe(error);
            return Err(Turned::without_client(refusal, Some(stream)));
        }
        let config = tls::scraped(&current, record)
            .map_err(|error| Turned::without_client(broken(error.to_string()), None))?;
        let judged_at = UnixTime::now();
        let accepting = TlsAcceptor::from(Arc::new(config)).accept(stream);
        let stream = match accepting.into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                let finding = record.finding();
                return Err(Turned {
                    refusal: refusal(&error, record),
                    claimed: finding.and_then(|finding| finding.claimed.clone()),
                    serial: finding.and_then(|finding| finding.serial.clone()),
                    stream: Some(stream),
                });
            }
        };
        let (_, connection) = stream.get_ref();
        let chain: Vec<CertificateDer<'static>> = connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        // The verifier has read it, so this does not fail.
        let client = chain.first().and_then(|leaf| Certificate::read(leaf).ok());
        let client = client.ok_or_else(|| {
            let what = "the certificate that was believed cannot be read".to_owned();
            Turned::without_client(broken(what), None)
        })?;
        tracing::debug!(client = %client.identity, serial = %client.serial, %address, "a scraper has connected");
        let vigil = Vigil {
            gate: self.clone(),
            address,
            client,
            chain,
            judged_at,
            credentials,
        };
        Ok(Admitted { stream, vigil })
    }

    pub(super) fn count_and_log(
        &self,
        address: SocketAddr,
        client: Option<(&Identity, &Serial)>,
        refusal: &Refusal,
    ) {
        self.0.counts.count_refused(refusal);
        let admitted = self
            .0
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(self.0.opened.elapsed());
        if let Some(withheld) = admitted {
            tracing::warn!(
                %address,
                claimed = client.map(|(identity, _)| tracing::field::display(identity)),
                serial = client.map(|(_, serial)| tracing::field::display(serial)),
                check = refusal.label(),
                reason = %refusal,
                remedy = refusal.remedy(),
                lines_withheld = (withheld > 0).then_some(withheld),
                "a scraper was refused"
            );
        }
    }
}

impl Admitted {
    /// Returns who it is.
    pub fn identity(&self) -> &Identity {
        &self.vigil.client.identity
    }

    /// Returns what to speak HTTP over, and what says when that is to end.
    pub fn into_parts(self) -> (impl AsyncRead + AsyncWrite + Send + Unpin + 'static, Vigil) {
        (self.stream, self.vigil)
    }
}

impl Turned {
    fn without_client(refusal: Refusal, stream: Option<TcpStream>) -> Self {
        Self {
            refusal,
            claimed: None,
            serial: None,
            stream,
        }
    }
}

/// What a client begins with.
enum Speaks {
    /// What can be a handshake; if it is none, TLS says so.
    Tls,
    /// A request of HTTP.
    Plain,
    /// It has closed.
    Nothing,
}

/// Waits for the first byte of a client, and leaves it where it is.
async fn speaks(stream: &TcpStream) -> io::Result<Speaks> {
    let mut first = [0];
    let bytes = stream.peek(&mut first).await?;
    Ok(match (bytes, first) {
        (0, _) => Speaks::Nothing,
        // A method; a record of TLS begins with a number below 32.
        (_, [b'A'..=b'Z']) => Speaks::Plain,
        (_, [_]) => Speaks::Tls,
    })
}

/// Lets a refused client read why.
async fn take_leave(mut stream: TcpStream, refusal: &Refusal) {
    let leave = async {
        if *refusal == Refusal::Plain {
            stream.write_all(PLAIN_ANSWER.as_bytes()).await?;
        }
        stream.shutdown().await?;
        let mut rest = stream.take(FAREWELL_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    match timeout(FAREWELL_PATIENCE, leave).await {
        Ok(Ok(bytes)) => tracing::trace!(bytes, "a refused client has left"),
        Ok(Err(error)) => tracing::trace!(%error, "a refused client was gone before"),
        Err(_elapsed) => tracing::trace!("a refused client does not leave by itself"),
    }
}

/// Returns why a handshake failed.
fn refusal(error: &io::Error, record: &Record) -> Refusal {
    if let Some(finding) = record.finding() {
        return Refusal::Check {
            check: finding.check,
            what: finding.what.clone(),
        };
    }
    let inner = error.get_ref();
    let Some(error) = inner.and_then(|inner| inner.downcast_ref::<TlsError>()) else {
        let what = error.to_string();
        return Refusal::Broken { what };
    };
    if let TlsError::AlertReceived(alert) = error {
        return Refusal::RefusedUs {
            alert: format!("{alert:?}"),
        };
    }
    let check = Check::of_tls_error(error);
    let what = if check == Check::Protocol {
        format!(
            "the client offers `{}`, and this side speaks `{}`",
            record.offered().join("`, `"),
            SCRAPE_ALPN.escape_ascii()
        )
    } else {
        error.to_string()
    };
    Refusal::Check { check, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let (head, body) = PLAIN_ANSWER.split_once("\r\n\r\n").unwrap();
        let length = format!("Content-Length: {}\r\n", body.len());
        assert!(head.contains(&length), "{length}");
    }
}
