//! A real agent on a node of its own: the program that is shipped, its executor, its socket.
//!
//! Configured as it comes, but for its places, and for smaller blocks of ephemeral ports: a hundred
//! containers at once, and the hundreds that rest for a minute after their end, need more blocks
//! than there are of 1,024 ports.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use weir_agent::container::{ContainerView, Kill, LaunchRequest, Limits, PortsWanted};
use weir_agent::local::{Answer, Client, Request};
use weir_executor::spec::NetworkMode;
use weir_sys::cgroup::Cgroup;

use crate::ground::{DAEMON_CGROUP, Ground, check_interrupt};
use crate::path::{UPLINK, address};
use crate::place::Place;

/// Far beyond what a loaded machine needs for any step.
const PATIENCE: Duration = Duration::from_secs(30);

const LISTEN: &str = "127.0.0.1:9464";

/// The daemon, on its node, until it is dropped.
pub(crate) struct Daemon {
    node: Place,
    _wire: Place,
    child: Child,
    cgroup: PathBuf,
    socket: PathBuf,
    runtime: Runtime,
    client: Client,
    _state: TempDir,
}

impl Daemon {
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        let (node, wire) = (Place::with_ipv6()?, Place::with_ipv6()?);
        node.join((UPLINK, ""), &wire, ("w0", ""))?;
        address(&node, &wire)?;

        let (run, home) = (ground.run(), ground.home());
        let config = home.join("agent.toml");
        // One of its own for each daemon: the next would wait until the ports of the last are long enough out of use.
        let state = tempfile::tempdir_in(&home).context("cannot make a state directory")?;
        let text = format!(
            "[agent]\nstate_directory = {:?}\nsocket = {:?}\n\
             [network]\npin_directory = {:?}\nephemeral_block = 32\n\
             [cgroup]\nparent = {DAEMON_CGROUP:?}\n\
             [http]\nlisten = {LISTEN:?}\n",
            state.path(),
            run.join("agent.sock"),
            ground.bpffs().join("agent"),
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let log_path = home.join("agent.log");
        let log = File::create(&log_path).context("cannot create the log")?;
        let errors = log.try_clone().context("cannot copy a descriptor")?;
        let started = node.run(|| {
            Command::new(env!("CARGO_BIN_EXE_weir-agent"))
                .args(["run", "--config"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(errors)
                // Ctrl-C is for the benchmark, which then ends the daemon.
                .process_group(0)
                .spawn()
        })?;
        let mut child = started.context("cannot start weir-agent")?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let cgroup = ground.cgroup_root().join(DAEMON_CGROUP);
        let socket = run.join("agent.sock");
        match wait_ready(&mut child, &runtime, &socket) {
            Ok(client) => Ok(Self {
                node,
                _wire: wire,
                child,
                cgroup,
                socket,
                runtime,
                client,
                _state: state,
            }),
            Err(error) => {
                end(&mut child, &cgroup);
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                Err(error.context(format!("weir-agent says:\n{log}")))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connects anew: the daemon does not keep a connection on which nobody asks.
    pub(crate) fn reconnect(&mut self) -> Result<()> {
        self.client = self.runtime.block_on(Client::connect(&self.socket))?;
        Ok(())
    }

    /// Asks through the local socket, as the commands do.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer> {
        check_interrupt()?;
        let client = &mut self.client;
        let answered = self
            .runtime
            .block_on(async { timeout(PATIENCE, client.ask(request)).await });
        Ok(answered.context("weir-agent does not answer")??)
    }

    /// Runs a container with a port of its own; returns when its program runs.
    pub(crate) fn launch(&mut self, argv: &[&str]) -> Result<ContainerView> {
        let request = Request::Launch(Box::new(LaunchRequest {
            name: None,
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: Vec::new(),
            working_directory: None,
            user: None,
            ports: PortsWanted::Count(NonZeroU16::MIN),
            network: NetworkMode::Isolated,
            limits: Limits::default(),
            capabilities: Vec::new(),
        }));
        let answer = self.ask(&request)?;
        if let Answer::Container(view) = answer {
            return Ok(*view);
        }
        bail!("weir-agent answers {answer:?} to a launch")
    }

    /// Kills a container.
    pub(crate) fn kill(&mut self, container: &ContainerView) -> Result<()> {
        let name = container.id.to_string();
        self.ask(&Request::Kill {
            name,
            kill: Kill::AtOnce,
        })
        .map(drop)
    }

    /// Waits until nothing is left of a container but its record.
    pub(crate) fn wait(&mut self, container: &ContainerView) -> Result<()> {
        self.ask(&Request::Wait {
            name: container.id.to_string(),
        })
        .map(drop)
    }

    /// Returns the containers that live.
    pub(crate) fn containers(&mut self) -> Result<Vec<ContainerView>> {
        let answer = self.ask(&Request::List { all: false })?;
        if let Answer::Containers(views) = answer {
            return Ok(views);
        }
        bail!("weir-agent answers {answer:?} to a listing")
    }

    /// Reads the metrics as Prometheus does; returns how long it took and the bytes of the answer.
    pub(crate) fn scrape(&self) -> Result<(Duration, usize)> {
        check_interrupt()?;
        self.node.run(|| {
            let address: SocketAddr = LISTEN.parse()?;
            let begun = Instant::now();
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET /metrics HTTP/1.0\r\nHost: {LISTEN}\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let taken = begun.elapsed();
            if !answer.starts_with("HTTP/1.0 200") && !answer.starts_with("HTTP/1.1 200") {
                bail!(
                    "weir-agent answers a scrape with {:?}",
                    answer.lines().next()
                );
            }
            Ok((taken, answer.len()))
        })?
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child, &self.cgroup);
    }
}

fn wait_ready(child: &mut Child, runtime: &Runtime, socket: &std::path::Path) -> Result<Client> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        check_interrupt()?;
        if let Some(status) = child.try_wait().context("cannot wait for weir-agent")? {
            bail!("weir-agent ended with {status}");
        }
        match runtime.block_on(Client::connect(socket)) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_not_yet) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Ends the containers and the daemon; what is on disk goes with the ground.
fn end(child: &mut Child, cgroup: &std::path::Path) {
    if let Ok(containers) = Cgroup::open(cgroup) {
        let killed = containers
            .kill()
            .and_then(|()| containers.wait_empty(PATIENCE));
        if let Err(error) = killed {
            eprintln!("containers are left in {}: {error}", cgroup.display());
        }
    }
    let told = i32::try_from(child.id())
        .is_ok_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
    let deadline = Instant::now() + PATIENCE;
    while told && Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    // An error means that it is gone.
    drop(child.kill());
    drop(child.wait());
}
