//! What is served over HTTP.
//!
//! | path | what |
//! |---|---|
//! | `/metrics` | Prometheus' text format |
//! | `/monitor/statistics.json` | Mesos' format |
//! | `/health` | `ok`, or 503 when the agent cannot do its work |

use weir_service::http::{Page, Pages};

use super::measure::Telemetry;
use super::mesos::Usage;
use super::metrics::{Family, Kind, Sample, Value, float};

/// The metrics of who scrapes. An agent that is scraped on loopback has none of them: nobody is asked who it is.
pub(super) const FAMILIES: &[Family] = &[Family {
    name: "http_refused_total",
    help: "Clients that would read metrics over TLS and were refused, by the check that failed; the log names them.",
    kind: Kind::Counter,
    labels: &["check"],
    samples: |snapshot| {
        let refused = snapshot.gate.iter().flat_map(|counts| counts.refused());
        let sample = |(check, count)| Sample::new([check], Value::Number(float(count)));
        refused.map(sample).collect()
    },
}];

impl Pages for Telemetry {
    async fn page(&self, path: &str) -> Page {
        match path {
            "/metrics" => Page::metrics(self.metrics().await),
            "/monitor/statistics.json" | "/monitor/statistics" => {
                let statistics = self.statistics(None).await;
                let usages: Vec<Usage> = statistics.iter().map(Usage::of).collect();
                Page::json(serde_json::to_vec(&usages).expect("usage is plain data"))
            }
            "/health" if self.is_healthy() => Page::text("ok\n"),
            "/health" => Page::unavailable("the container task is gone\n"),
            _ => Page::not_found("there are /metrics, /monitor/statistics.json and /health\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use weir_abi::{Counters, NodeCounters, RttHistogram};
    use weir_service::http::{HttpServer, Way};

    use super::*;
    use crate::container::{ContainerHandle, NetworkFault, Slot};
    use crate::telemetry::facilities::{
        FollowStatistics, NetworkStatistics, ProgramStatistics, Queues, WireStatistics,
    };

    struct Quiet;

    impl NetworkStatistics for Quiet {
        fn counters(&self, _slot: Slot) -> Result<Counters, NetworkFault> {
            Ok(Counters::default())
        }

        fn rtt(&self, _slot: Slot) -> Result<RttHistogram, NetworkFault> {
            Ok(RttHistogram::default())
        }

        fn queues(&self, _slot: Slot) -> Result<Queues, NetworkFault> {
            Ok(Queues::default())
        }

        fn wire(&self) -> Result<WireStatistics, NetworkFault> {
            Ok(WireStatistics::default())
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
        let server = HttpServer::spawn(address, Way::Plain, telemetry)
            .await
            .unwrap();
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
}
