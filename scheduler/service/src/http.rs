//! Serves what is measured over HTTP/1.1: to this machine plainly, to others over TLS.
//!
//! ```text
//!   loopback ──────► connection ─┬─► GET and HEAD ─► Pages::page
//!   elsewhere ─► Gate: believed? ┘
//! ```
//!
//! What there is to be read is the daemon's ([`Pages`]); who may read it is the gate's. A connection is a task of its
//! own; all of them end with the server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;
use weir_transport::scrape::Gate;

/// The most connections: a few scrapers with a connection each, and a few people. A further one takes
/// the place of the oldest: connections that somebody opens and forgets must not keep monitoring out,
/// and a scraper that loses one opens another.
///
/// Those that are not yet believed are counted by themselves, by the gate's bound: they take no place of one that is.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for the head of a request, and stay silent between two. Prometheus
/// scrapes every minute at most and opens a connection again by itself.
const HEADER_PATIENCE: Duration = Duration::from_secs(75);

/// How long a connection may live in all: one that reads its answer byte by byte does not stay.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(3600);

/// The most bytes of a request's head: no path needs more.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Gives the pages of a daemon. A handle, cheap to clone.
pub trait Pages: Clone + Send + Sync + 'static {
    /// Returns what is at a path.
    fn page(&self, path: &str) -> impl Future<Output = Page> + Send;
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    status: StatusCode,
    kind: &'static str,
    body: Bytes,
}

/// How clients come in.
#[derive(Clone, Debug)]
pub enum Way {
    /// Without TLS: for clients on this machine.
    Plain,
    /// Over TLS, each with a certificate.
    Tls(Gate),
}

/// The server, being served.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Says why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for [http]; set [http] listen to a free address, or to \"\"")]
pub struct HttpError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Returns whether an address is reached from this machine alone, and so served without TLS.
pub fn is_plain(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

// === impl Page ===

impl Page {
    /// Returns metrics in Prometheus' text format.
    pub fn metrics(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: StatusCode::OK,
            kind: "text/plain; version=0.0.4; charset=utf-8",
            body: Bytes::from(body.into()),
        }
    }

    /// Returns a page of JSON.
    pub fn json(body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            kind: "application/json",
            body: body.into(),
        }
    }

    /// Returns a line of text.
    pub fn text(line: &'static str) -> Self {
        Self::of(StatusCode::OK, line)
    }

    /// Says that something cannot be told, and why.
    pub fn broken(line: &'static str) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, line)
    }

    /// Says that the daemon does not do its work, and why.
    pub fn unavailable(line: &'static str) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, line)
    }

    /// Says that there is nothing here, and what there is.
    pub fn not_found(line: &'static str) -> Self {
        Self::of(StatusCode::NOT_FOUND, line)
    }

    fn of(status: StatusCode, line: &'static str) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: line.into(),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static(self.kind);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

// === impl HttpServer ===

impl HttpServer {
    /// Listens on `address`, lets clients in by `way`, and serves `pages`.
    pub async fn spawn(
        address: SocketAddr,
        way: Way,
        pages: impl Pages,
    ) -> Result<Self, HttpError> {
        let failed = |source| HttpError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            address,
            task: tokio::spawn(serve(listener, way, pages)),
        })
    }

    /// Returns where it listens: the port that was given where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops to serve.
    pub fn stop(self) {
        self.task.abort();
    }
}

/// One connection.
struct Open {
    address: SocketAddr,
    task: AbortHandle,
    is_admitted: Arc<AtomicBool>,
}

impl Open {
    fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, way: Way, pages: impl Pages) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<Open> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                while connections.try_join_next().is_some() {}
                oldest_first.retain(|connection| !connection.task.is_finished());
                let is_admitted = Arc::new(AtomicBool::new(false));
                let task = serve_connection(
                    stream,
                    address,
                    way.clone(),
                    pages.clone(),
                    Arc::clone(&is_admitted),
                );
                if let Way::Plain = way {
                    is_admitted.store(true, Ordering::Relaxed);
                }
                oldest_first.push_back(Open {
                    address,
                    task: connections.spawn(task),
                    is_admitted,
                });
                make_room(&mut oldest_first, &way);
            }
            Err(error) => {
                // Descriptors are short, most likely: connections that end will make room.
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Ends the oldest connection where there is one too many.
fn make_room(oldest_first: &mut VecDeque<Open>, way: &Way) {
    let admitted = oldest_first.iter().filter(|open| open.is_admitted());
    let admitted = admitted.count();
    if admitted > CONNECTIONS_MAX
        && let Some(oldest) = oldest_first.iter().position(Open::is_admitted)
        && let Some(open) = oldest_first.remove(oldest)
    {
        open.task.abort();
    }
    let Way::Tls(gate) = way else { return };
    let greeted = oldest_first.iter().filter(|open| !open.is_admitted());
    if greeted.count() > gate.limits().handshakes_max
        && let Some(oldest) = oldest_first.iter().position(|open| !open.is_admitted())
        && let Some(open) = oldest_first.remove(oldest)
    {
        open.task.abort();
        gate.crowded_out(open.address);
    }
}

async fn serve_connection(
    stream: TcpStream,
    address: SocketAddr,
    way: Way,
    pages: impl Pages,
    is_admitted: Arc<AtomicBool>,
) {
    match way {
        Way::Plain => converse(stream, pages).await,
        Way::Tls(gate) => {
            let Some(admitted) = gate.admit(stream, address).await else {
                return;
            };
            is_admitted.store(true, Ordering::Relaxed);
            let (stream, mut vigil) = admitted.into_parts();
            tokio::select! {
                () = converse(stream, pages) => {}
                // What it was being answered ends with the connection.
                () = vigil.until_refused() => {}
            }
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, pages: impl Pages) {
    let service = service_fn(move |request| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(respond(&request, &pages).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_PATIENCE, connection).await {
        Ok(Ok(())) => {}
        // What clients do wrong is their affair.
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection broke"),
        Err(_elapsed) => tracing::debug!("an HTTP connection was open for too long"),
    }
}

async fn respond(request: &Request<Incoming>, pages: &impl Pages) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let page = Page::of(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let mut response = page.into_response();
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    pages.page(request.uri().path()).await.into_response()
}
