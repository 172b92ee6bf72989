//! Who plays: a web server, a file server, two ends of a bulk transfer, and a client on the wire.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::http;
use crate::interrupt::Interrupt;
use crate::node::{Node, inside};
use crate::programs::{FILE_SERVER, program};

/// Where nginx listens.
pub(super) const WEB_PORT: u16 = 31000;

/// Where Python's server listens.
const FILES_PORT: u16 = 31100;

/// Where the end of the bulk transfer listens.
const BULK_PORT: u16 = 31010;

/// How long a server may take to answer its first request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts every container that is there to stay, and waits until the servers answer the wire.
pub(super) fn start(node: Node, interrupt: &Interrupt) -> Result<()> {
    for role in [
        web(node)?,
        files(node)?,
        bulk_server(node)?,
        bulk_client(node)?,
    ] {
        interrupt.check()?;
        role.start(node)?;
    }
    for port in [WEB_PORT, FILES_PORT] {
        await_answer(node, interrupt, SocketAddr::new(node.v4(), port))?;
        await_answer(node, interrupt, SocketAddr::new(node.v6(), port))?;
    }
    Ok(())
}

/// One container and what it plays.
struct Role {
    name: &'static str,
    ports: &'static str,
    argv: Vec<String>,
    /// What it is, in a few words.
    what: &'static str,
}

impl Role {
    fn start(&self, node: Node) -> Result<()> {
        let argv: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        let begun = Instant::now();
        node.exec_detached(
            &[
                "--name", self.name, "--ports", self.ports, "--user", "nobody",
            ],
            &argv,
        )
        .with_context(|| format!("cannot start container {}", self.name))?;
        let owns = match self.ports {
            "" => "owns no port".to_owned(),
            ports => format!("owns {ports}"),
        };
        println!(
            "  {:<12} {:<40} {:<18} {:>3} ms",
            self.name,
            self.what,
            owns,
            begun.elapsed().as_millis()
        );
        Ok(())
    }
}

/// nginx, as nobody, in its sandbox: all it writes is relative to that.
fn web(node: Node) -> Result<Role> {
    let nginx = program(node, "nginx")?;
    let config = node.files_directory().join("nginx.conf");
    let text = format!(
        "daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {WEB_PORT};
        listen [::]:{WEB_PORT};
        location / {{ return 200 \"nginx, in a container, on the node's own address\\n\"; }}
    }}
}}
"
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let script = format!(
        "exec {nginx} -p \"$WEIR_SANDBOX\" -c {} -e stderr",
        config.display()
    );
    Ok(Role {
        name: "web",
        ports: "31000-31009",
        argv: words(["sh", "-c", &script]),
        what: "nginx",
    })
}

fn files(node: Node) -> Result<Role> {
    Ok(Role {
        name: "files",
        ports: "31100",
        argv: words([&program(node, "python3")?, "-c", FILE_SERVER]),
        what: "Python's http.server",
    })
}

fn bulk_server(node: Node) -> Result<Role> {
    let port = BULK_PORT.to_string();
    Ok(Role {
        name: "bulk-server",
        ports: "31010",
        argv: words([&program(node, "iperf3")?, "-s", "-p", &port]),
        what: "iperf3 -s",
    })
}

fn bulk_client(node: Node) -> Result<Role> {
    let iperf3 = program(node, "iperf3")?;
    // It begins again when a run is over, and when the server is not there yet.
    let node_v4 = node.v4();
    let script =
        format!("while :; do {iperf3} -c {node_v4} -p {BULK_PORT} -t 10 -b 300M; sleep 0.2; done");
    Ok(Role {
        name: "bulk-client",
        ports: "",
        argv: words(["sh", "-c", &script]),
        what: "iperf3 -c, 300 Mbit/s to bulk-server",
    })
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

fn await_answer(node: Node, interrupt: &Interrupt, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match inside(node.wire_namespace(), || http::get(address, "/"))? {
            Ok(_answer) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("{address} does not answer the wire")));
            }
            // The server is not listening yet, and only asking shows when it is.
            Err(_not_yet) => interrupt.pause(Duration::from_millis(20))?,
        }
    }
}

/// A client on the wire that asks both servers over both address families, again and again.
pub(super) struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Neighbour {
    /// Starts asking.
    pub(super) fn start(node: Node) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("neighbour".to_owned())
            .spawn(move || inside(node.wire_namespace(), || ask_until(node, &stopped)))
            .context("cannot start a thread")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Stops asking and returns how many answers there were.
    pub(super) fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread
                .join()
                .map_err(|_panic| anyhow!("the neighbour panicked"))?,
            None => Ok(0),
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_until(node: Node, stop: &AtomicBool) -> u64 {
    let addresses = [node.v4(), node.v6()]
        .into_iter()
        .flat_map(|ip| [WEB_PORT, FILES_PORT].map(|port| SocketAddr::new(ip, port)));
    let mut answers = 0;
    for address in addresses.cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        answers += u64::from(http::get(address, "/").is_ok());
        // A visitor, not a flood: some 100 requests a second.
        thread::sleep(Duration::from_millis(10));
    }
    answers
}
