//! Serves what is measured over HTTP/1.1.
//!
//! | path | what |
//! |---|---|
//! | `/metrics` | Prometheus' text format |
//! | `/monitor/statistics.json` | Mesos' format |
//! | `/health` | `ok`, or 503 when the agent cannot do its work |

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

use super::measure::Telemetry;
use super::mesos::Usage;

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
        async move { Ok::<_, Infallible>(respond(&request, &telemetry).await) }
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

async fn respond(request: &Request<Incoming>, telemetry: &Telemetry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            full(StatusCode::OK, kind, telemetry.metrics().await)
        }
        "/monitor/statistics.json" | "/monitor/statistics" => {
            let statistics = telemetry.statistics(None).await;
            let usages: Vec<Usage> = statistics.iter().map(Usage::of).collect();
            let body = serde_json::to_vec(&usages).expect("usage is plain data");
            full(StatusCode::OK, "application/json", body)
        }
        "/health" if telemetry.is_healthy() => text(StatusCode::OK, "ok\n"),
        "/health" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the container task is gone\n",
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /monitor/statistics.json and /health\n",
        ),
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use weir_abi::{Counters, NodeCounters, RttHistogram};

    use super::*;
    use crate::container::{ContainerHandle, NetworkFault, Slot};
    use crate::telemetry::facilities::{FollowStatistics, NetworkStatistics, ProgramStatistics};

    struct Quiet;

    impl NetworkStatistics for Quiet {
        fn counters(&self, _slot: Slot) -> Result<Counters, NetworkFault> {
            Ok(Counters::default())
        }

        fn rtt(&self, _slot: Slot) -> Result<RttHistogram, NetworkFault> {
            Ok(RttHistogram::default())
        }

        fn node_counters(&self) -> Result<NodeCounters, NetworkFault> {
            Ok(NodeCounters::default())
        }

        fn programs(&self) -> Result<Vec<ProgramStatistics>, NetworkFault> {
            Ok(Vec::new())
        }

        fn follow(&self) -> FollowStatistics {
            FollowStatistics::default()
        }
    }

    async fn ask(containers: ContainerHandle, request: &str) -> String {
        let telemetry = Telemetry::new(containers, Arc::new(Quiet), "/nonexistent".into());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = HttpServer::spawn(address, telemetry).await.unwrap();
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.stop();
        answer
    }

    async fn get(path: &str) -> String {
        let (containers, _task) = ContainerHandle::without_task();
        ask(
            containers,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
        .await
    }

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let answer = get("/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(
            answer.contains("\nweir_agent_containers{state=\"running\"} 0\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn statistics_are_an_array() {
        let answer = get("/monitor/statistics.json").await;
        assert!(answer.contains("application/json"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n[]"), "{answer}");
    }

    #[tokio::test]
    async fn health_follows_the_container_task() {
        assert!(get("/health").await.ends_with("ok\n"));
        let (containers, task) = ContainerHandle::without_task();
        drop(task);
        let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(ask(containers, request).await.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        assert!(get("/").await.starts_with("HTTP/1.1 404 "));
        let (containers, _task) = ContainerHandle::without_task();
        let request = "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = ask(containers, request).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }

    #[tokio::test]
    async fn what_is_not_http_is_answered_and_closed() {
        for bytes in ["\0\x01\x02\r\n\r\n", "GET\r\n\r\n"] {
            let (containers, _task) = ContainerHandle::without_task();
            let answer = ask(containers, bytes).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
        let (containers, _task) = ContainerHandle::without_task();
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        let answer = ask(containers, &long).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}
