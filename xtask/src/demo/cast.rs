//! Who plays: a web server, a file server, two ends of a bulk transfer, and a client on the wire.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::command::find;
use crate::http;
use crate::node::{NODE_V4, NODE_V6, Node, inside};

/// Where nginx listens.
pub(super) const WEB_PORT: u16 = 31000;

/// Where Python's server listens.
const FILES_PORT: u16 = 31100;

/// Where the end of the bulk transfer listens.
const BULK_PORT: u16 = 31010;

/// How long a server may take to answer its first request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts every container that is there to stay, and waits until the servers answer the wire.
pub(super) fn start(node: Node) -> Result<()> {
    println!("Starting containers. All of them have the addresses {NODE_V4} and {NODE_V6}.");
    web(node)?;
    files(node)?;
    bulk(node)?;
    for port in [WEB_PORT, FILES_PORT] {
        await_answer(node, SocketAddr::new(NODE_V4, port))?;
        await_answer(node, SocketAddr::new(NODE_V6, port))?;
    }
    Ok(())
}

/// nginx, as nobody, in its sandbox: all it writes is relative to that.
fn web(node: Node) -> Result<()> {
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
    start_one(node, "web", "31000-31009", &["sh", "-c", &script], "nginx")
}

fn files(node: Node) -> Result<()> {
    let python = program(node, "python3")?;
    let port = FILES_PORT.to_string();
    let argv = [&python, "-m", "http.server", &port, "--bind", "::"];
    start_one(node, "files", &port, &argv, "Python's http.server")
}

fn bulk(node: Node) -> Result<()> {
    let iperf3 = program(node, "iperf3")?;
    let port = BULK_PORT.to_string();
    let server = [&iperf3, "-s", "-p", &port];
    start_one(node, "bulk-server", &port, &server, "iperf3 -s")?;
    // It begins again when a run is over, and when the server is not there yet.
    let script = format!(
        "while :; do {iperf3} -c {NODE_V4} -p {port} -t 10 -b 300M > /dev/null 2>&1; sleep 0.2; done"
    );
    let client = ["sh", "-c", script.as_str()];
    start_one(
        node,
        "bulk-client",
        "",
        &client,
        "iperf3 -c, 300 Mbit/s to bulk-server",
    )
}

fn start_one(node: Node, name: &str, ports: &str, argv: &[&str], what: &str) -> Result<()> {
    let mut options = vec!["--name", name, "--user", "nobody"];
    if !ports.is_empty() {
        options.extend(["--ports", ports]);
    }
    node.exec_detached(&options, argv)
        .with_context(|| format!("cannot start container {name}"))?;
    let of = if ports.is_empty() {
        "no port of its own"
    } else {
        ports
    };
    println!("  {name}: {what} ({of})");
    Ok(())
}

/// Returns the path of a program that everybody may run, and that a container sees.
///
/// Not the first of the search path: that may be in root's own folder. What `setup` unpacked is
/// where the repository is, which may be there as well, and is copied to where everybody reads.
pub(super) fn program(node: Node, name: &str) -> Result<String> {
    let installed = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|directory| Path::new(directory).join(name))
        .into_iter()
        .find(|path| path.is_file());
    let path = match (installed, find(name)) {
        (Some(path), _) => path,
        (None, Some(found)) => {
            let copy = node.files_directory().join(name);
            fs::copy(&found, &copy)
                .with_context(|| format!("cannot copy {} for containers", found.display()))?;
            copy
        }
        (None, None) => {
            bail!("{name} is not on this machine; run `cargo xtask setup` and see why")
        }
    };
    Ok(path.display().to_string())
}

fn await_answer(node: Node, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match inside(node.wire_namespace(), || http::get(address, "/"))? {
            Ok(_answer) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("{address} does not answer the wire")));
            }
            // The server is not listening yet, and only asking shows when it is.
            Err(_not_yet) => thread::sleep(Duration::from_millis(50)),
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
            .spawn(move || inside(node.wire_namespace(), || ask_until(&stopped)))
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

fn ask_until(stop: &AtomicBool) -> u64 {
    let addresses = [NODE_V4, NODE_V6]
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
