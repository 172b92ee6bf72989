//! A real Prometheus, at the other end of the wire, that scrapes a cluster.
//!
//! It scrapes every second and looks back over ten, so that a rate is there soon.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::node::{DEADLINE, eventually, find};

/// Where it answers, in the namespace of the wire.
const LISTEN: &str = "127.0.0.1:9090";

/// The server. It goes with this.
pub(crate) struct Prometheus<'a> {
    cluster: &'a Cluster,
    child: Child,
}

/// What is scraped.
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: &'a str,
    /// Over TLS, the name that its certificate has to bear.
    pub(crate) tls: Option<&'a str>,
}

impl<'a> Prometheus<'a> {
    /// Starts one that scrapes these jobs and evaluates these rules, and waits until it serves.
    pub(crate) fn start(cluster: &'a Cluster, jobs: &[Job<'_>], rules: &[&Path]) -> Self {
        let mut config =
            String::from("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files:\n");
        for path in rules {
            config.push_str(&format!("  - {}\n", path.display()));
        }
        config.push_str("scrape_configs:\n");
        for Job { name, address, tls } in jobs {
            config.push_str(&format!(
                "  - job_name: {name}\n    static_configs: [{{targets: [\"{address}\"]}}]\n"
            ));
            if let Some(server) = tls {
                let certificates = cluster.certificates();
                let certificates = certificates.display();
                config.push_str(&format!(
                    "    scheme: https\n    tls_config:\n      ca_file: {certificates}/ca.pem\n      \
                     cert_file: {certificates}/scraper-prometheus.pem\n      \
                     key_file: {certificates}/scraper-prometheus-key.pem\n      \
                     server_name: {server}\n"
                ));
            }
        }
        let file = cluster.path("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(find("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                cluster.path("prometheus").display()
            ))
            .arg(format!("--web.listen-address={LISTEN}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(cluster.path("prometheus.log")).unwrap());
        let child = cluster.nodes[0].on_wire(|| command.spawn()).unwrap();
        let mut made = Self { cluster, child };
        eventually("Prometheus serves", || {
            let ended = made.child.try_wait().unwrap();
            let log = || fs::read_to_string(made.cluster.path("prometheus.log")).unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", log());
            made.get("/-/ready")
                .filter(|answer| answer.starts_with("HTTP/1.0 200"))
        });
        made
    }

    /// Returns what its API says to a path, which it must take.
    pub(crate) fn api(&self, path: &str) -> Value {
        let answer = self.get(path).expect("it runs");
        let (_, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let json: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
        assert_eq!(json["status"], "success", "{path}: {json}");
        json["data"].clone()
    }

    /// Returns how many series a query has at this moment.
    pub(crate) fn series(&self, query: &str) -> usize {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.api(&format!("/api/v1/query?query={query}"));
        data["result"].as_array().expect("a vector").len()
    }

    /// Asks over HTTP/1.0, whose answers are in one piece; nothing if it does not listen yet.
    fn get(&self, path: &str) -> Option<String> {
        self.cluster.nodes[0].on_wire(|| {
            let mut stream = TcpStream::connect(LISTEN).ok()?;
            stream.set_read_timeout(Some(DEADLINE)).ok()?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: {LISTEN}\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
