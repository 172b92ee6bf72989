//! Serves what is measured over HTTP/1.1.
//!
//! | path | what |
//! |---|---|
//! | `/metrics` | Prometheus' text format |
//! | `/health` | `ok`, or 503 with why the scheduler does not do its work |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Telemetry;

/// The most connections: a few scrapers with a connection each, and a few people. A further one takes
/// the place of the oldest: connections that somebody opens and forgets must not keep monitoring out,
/// and a scraper that loses one opens another.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for the head of a request, and stay silent between two. Prometheus
/// scrapes every minute at most and opens a connection again by itself.
const HEADER_PATIENCE: Duration = Duration::from_secs(75);

/// How long a connection may live in all: one that reads its answer byte by byte does not stay.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(3600);

/// The most bytes of a request's head: none of these paths needs more.
const HEAD_BYTES_MAX: usize = 16 * 1024;

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

impl HttpServer {
    /// Listens on `address` and serves what `telemetry` measures.
    pub async fn spawn(address: SocketAddr, telemetry: Telemetry) -> Result<Self, HttpError> {
        let failed = |source| HttpError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            address,
            task: tokio::spawn(serve(listener, telemetry)),
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

async fn serve(listener: TcpListener, telemetry: Telemetry) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                oldest_first.retain(|connection| !connection.is_finished());
                if oldest_first.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                }
                let telemetry = telemetry.clone();
                oldest_first.push_back(connections.spawn(serve_connection(stream, telemetry)));
            }
            Err(error) => {
                // Descriptors are short, most likely: connections that end will make room.
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, telemetry: Telemetry) {
    let service = service_fn(move |request| {
        let telemetry = telemetry.clone();
        async move { Ok::<_, Infallible>(respond(&request, &telemetry)) }
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

fn respond(request: &Request<Incoming>, telemetry: &Telemetry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => match telemetry.render() {
            Ok(body) => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                full(StatusCode::OK, kind, body)
            }
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics cannot be written; see the log\n",
                )
            }
        },
        "/health" => match telemetry.health.fault() {
            None => text(StatusCode::OK, "ok\n"),
            Some(fault) => text(StatusCode::SERVICE_UNAVAILABLE, fault),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics and /health\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    full(status, "text/plain; charset=utf-8", body)
}

fn full(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
