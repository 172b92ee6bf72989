//! A node for the tests: two network namespaces, a wire between them, and a daemon in one of them.
//!
//! ```text
//!  wire 10.9.0.1, fd09::1                 node 10.9.0.2, fd09::2
//!  whoever is outside    w0 ======= up0   weir-agent and its containers
//! ```
//!
//! Everything of it is named after the test's process: `/var/lib/<name>` has the configuration, the
//! state and what containers read, `/run/<name>` the socket and a bpffs, the cgroup `<name>` what
//! runs. All of it goes with the [`Node`], also when the test has failed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_sys::cgroup::{Cgroup, find_hierarchy};
use weir_sys::netns;

/// Every wait in these tests ends here: far beyond what a loaded machine needs. The kernel takes a second of CPU time to
/// verify the programs at every start of a daemon, which on a crowded machine is half a minute.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) const NODE_V4: &str = "10.9.0.2";
pub(crate) const NODE_V6: &str = "fd09::2";
pub(crate) const WIRE_V4: &str = "10.9.0.1";

/// Where the daemon serves HTTP, in the node's namespace.
pub(crate) const HTTP: &str = "127.0.0.1:9464";

/// What the names of all nodes begin with; the process that made them follows.
const NAME_PREFIX: &str = "weir-e2e";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A node, and the daemon if one runs.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) node: OwnedFd,
    pub(crate) wire: OwnedFd,
    /// What the daemon is started through: nothing, or a program that becomes it.
    pub(crate) wrapper: Vec<String>,
    /// The daemon, and the socket that it tells its state to.
    daemon: Option<(Child, UnixDatagram)>,
}

/// How a daemon that did not become ready ended, and what it said.
#[derive(Debug)]
pub(crate) struct NotReady {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Node {
    /// Makes a node with a daemon that is ready.
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same, with these lines in the configuration: dotted keys, as in `network.uplinks = []`.
    pub(crate) fn with(lines: &str) -> Self {
        let mut node = Self::without_daemon(lines);
        node.start();
        node
    }

    /// Makes a node on which nothing of the agent was ever started.
    pub(crate) fn without_daemon(lines: &str) -> Self {
        build_executor();
        sweep();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME_PREFIX}-{}-{number}", std::process::id());
        let (node, ()) = netns::create(|| ()).expect("these tests need root");
        let (wire, ()) = netns::create(|| ()).unwrap();
        let made = Self {
            name,
            node,
            wire,
            wrapper: Vec::new(),
            daemon: None,
        };
        for directory in [made.files(), made.run_directory().join("bpf")] {
            fs::create_dir_all(directory).unwrap();
        }
        mount(
            Some("bpf"),
            &made.run_directory().join("bpf"),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("these tests mount a bpffs of their own, which needs root");
        made.configure(lines);
        // An address of a link is of use at once.
        made.on_node(|| fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        let other = format!("/proc/{}/fd/{}", std::process::id(), made.wire.as_raw_fd());
        made.ip("link set lo up");
        made.ip(&format!(
            "link add up0 type veth peer name w0 netns {other}"
        ));
        made.ip("addr add 10.9.0.2/24 dev up0");
        made.ip("-6 addr add fd09::2/64 dev up0 nodad");
        made.ip("link set up0 up");
        for words in [
            "link set lo up",
            "addr add 10.9.0.1/24 dev w0",
            "-6 addr add fd09::1/64 dev w0 nodad",
            "link set w0 up",
        ] {
            made.on_wire(|| run("ip", words));
        }
        // The kernel takes its time to notice a carrier, and IPv6 for what follows from it.
        eventually("the wire carries", || {
            let routes = made.ip("-6 route show table local");
            let is_up = made.ip("link show up0").contains("state UP");
            (is_up && routes.contains("local fe80:")).then_some(())
        });
        made.ip("route add default via 10.9.0.1");
        made.ip("-6 route add default via fd09::1");
        made
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, lines: &str) {
        let attach = std::env::var("WEIR_TEST_ATTACH").unwrap_or_else(|_| "auto".to_owned());
        let standard = [
            ("agent.state_directory", self.state().display().to_string()),
            ("agent.socket", self.default_socket().display().to_string()),
            ("network.pin_directory", self.pins().display().to_string()),
            ("network.attach", attach),
            ("cgroup.parent", self.name.clone()),
            ("http.listen", HTTP.to_owned()),
        ];
        let mut text = String::new();
        for (key, value) in standard.iter().filter(|(key, _)| !lines.contains(key)) {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
        fs::write(self.config(), text + lines + "\n").unwrap();
    }

    // === places ===

    pub(crate) fn home(&self) -> PathBuf {
        PathBuf::from("/var/lib").join(&self.name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home().join("agent.toml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home().join("state")
    }

    /// Where there is what containers read: everyone can, at the same path inside.
    pub(crate) fn files(&self) -> PathBuf {
        self.home().join("files")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.home().join("agent.log")
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        PathBuf::from("/run").join(&self.name)
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.run_directory().join("bpf/weir")
    }

    /// Where the configuration has the socket; as it is by default where it has none.
    pub(crate) fn socket(&self) -> PathBuf {
        let text = fs::read_to_string(self.config()).unwrap_or_default();
        let table: toml::Table = text.parse().unwrap_or_default();
        let socket = table
            .get("agent")
            .and_then(|agent| agent.get("socket")?.as_str());
        socket.map_or_else(|| self.default_socket(), PathBuf::from)
    }

    fn default_socket(&self) -> PathBuf {
        self.run_directory().join("agent.sock")
    }

    pub(crate) fn cgroup(&self) -> PathBuf {
        find_hierarchy()
            .expect("these tests need cgroup v2, mounted anywhere")
            .join(&self.name)
    }

    /// Puts a program of this workspace where containers can run it.
    pub(crate) fn program(&self, name: &str) -> String {
        let path = self.files().join(name);
        copy_program(&programs().join(name), &path)
    }

    // === namespaces ===

    /// Runs a closure in the node's network namespace, in a thread of its own.
    pub(crate) fn on_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::enter(self.node.as_fd(), work).unwrap()
    }

    /// Runs a closure at the other end of the wire, in a thread of its own.
    pub(crate) fn on_wire<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::enter(self.wire.as_fd(), work).unwrap()
    }

    /// Runs `ip` on the node.
    pub(crate) fn ip(&self, words: &str) -> String {
        self.on_node(|| run("ip", words))
    }

    // === the daemon ===

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.try_start(&[]).unwrap_or_else(|failed| {
            panic!("the daemon ended with {}: {}", failed.status, failed.log)
        });
    }

    /// Starts the daemon to die at a place of `weir_agent::container::CRASH_POINTS`.
    pub(crate) fn start_to_crash_at(&mut self, place: &str) {
        self.try_start(&[("WEIR_CRASH_AT", place)])
            .unwrap_or_else(|failed| {
                panic!("the daemon ended with {}: {}", failed.status, failed.log)
            });
    }

    /// Starts the daemon, which may end before it is ready.
    pub(crate) fn try_start(&mut self, variables: &[(&str, &str)]) -> Result<(), NotReady> {
        let begin = fs::metadata(self.log_path()).map_or(0, |log| log.len());
        let (mut daemon, ready) = self.spawn(variables);
        let deadline = Instant::now() + DEADLINE;
        let mut message = [0; 256];
        loop {
            if let Ok(length) = ready.recv(&mut message)
                && message[..length].starts_with(b"READY=1")
            {
                self.daemon = Some((daemon, ready));
                return Ok(());
            }
            if let Some(status) = daemon.try_wait().unwrap() {
                let log = self.log().split_off(usize::try_from(begin).unwrap());
                return Err(NotReady { status, log });
            }
            assert!(
                Instant::now() < deadline,
                "the daemon is not ready: {}",
                self.log()
            );
        }
    }

    /// Starts the daemon and kills it so long after, wherever it then is.
    pub(crate) fn start_and_kill(&mut self, after: Duration) {
        let (mut daemon, _ready) = self.spawn(&[]);
        std::thread::sleep(after);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn spawn(&self, variables: &[(&str, &str)]) -> (Child, UnixDatagram) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let told = self.run_directory().join("notify.sock");
        drop(fs::remove_file(&told));
        let ready = UnixDatagram::bind(&told).unwrap();
        ready
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let agent = programs().join("weir-agent").display().to_string();
        let words = [&self.wrapper[..], &[agent]].concat();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["run", "--config"])
            .arg(self.config())
            .env("NOTIFY_SOCKET", &told)
            .envs(variables.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        (self.on_node(|| command.spawn()).unwrap(), ready)
    }

    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").0.id()
    }

    /// Kills the daemon as the OOM killer would.
    pub(crate) fn kill_daemon(&mut self) {
        let (mut daemon, _told) = self.daemon.take().expect("the daemon runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Waits until the daemon has killed itself at its crash point.
    pub(crate) fn wait_crashed(&mut self, place: &str) {
        let status = self.wait_daemon(place);
        assert_eq!(
            status.signal(),
            Some(9),
            "{place}: {status}: {}",
            self.log()
        );
    }

    /// Stops the daemon as an operator does.
    pub(crate) fn stop_daemon(&mut self) {
        self.signal_daemon(Signal::SIGTERM);
        let status = self.wait_daemon("stop");
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub(crate) fn signal_daemon(&self, signal: Signal) {
        kill(Pid::from_raw(self.daemon_pid().cast_signed()), signal).unwrap();
    }

    /// Waits until the daemon says this to systemd.
    pub(crate) fn wait_told(&self, state: &str) {
        let (_, told) = self.daemon.as_ref().expect("the daemon runs");
        eventually(state, || {
            let mut message = [0; 256];
            let length = told.recv(&mut message).ok()?;
            message[..length]
                .split(|byte| *byte == b'\n')
                .any(|line| line == state.as_bytes())
                .then_some(())
        });
    }

    fn wait_daemon(&mut self, what: &str) -> ExitStatus {
        let (mut daemon, _told) = self.daemon.take().expect("the daemon runs");
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = daemon.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                drop(daemon.kill());
                drop(daemon.wait());
                panic!("{what}: the daemon does not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns what the daemons of this node have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The account of what happened goes with the node.
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            drop(writeln!(
                io::stderr(),
                "the daemon of {} logged last:\n{}",
                self.name,
                lines[lines.len().saturating_sub(40)..].join("\n")
            ));
        }
        if let Some((mut daemon, _told)) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        remove(&self.name);
    }
}

/// Takes away everything that is named so.
fn remove(name: &str) {
    let cgroup = find_hierarchy().ok().map(|root| root.join(name));
    if let Some(cgroup) = cgroup.and_then(|path| Cgroup::open(&path).ok()) {
        drop(cgroup.kill());
        drop(cgroup.remove(DEADLINE));
    }
    let run = Path::new("/run").join(name);
    while umount2(&run.join("bpf"), MntFlags::MNT_DETACH).is_ok() {}
    drop(fs::remove_dir_all(&run));
    drop(fs::remove_dir_all(Path::new("/var/lib").join(name)));
}

/// Takes away what test processes left that were killed, once.
fn sweep() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        for entry in fs::read_dir("/var/lib").unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name
                .strip_prefix(NAME_PREFIX)
                .and_then(|rest| rest.trim_start_matches('-').split_once('-'));
            if let Some((pid, _)) = process
                && !Path::new("/proc").join(pid).exists()
            {
                remove(&name);
            }
        }
    });
}

/// Copies a program to where containers can run it, and returns that.
///
/// Not in this process: the kernel runs no file that is open for writing anywhere, and what a test has
/// open, the processes that other tests start have open as well until they execute their programs.
pub(crate) fn copy_program(program: &Path, place: &Path) -> String {
    let (program, place) = (program.display(), place.display().to_string());
    run("cp", &format!("{program} {place}"));
    place
}

/// Where the programs of this workspace are.
pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_weir-agent"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The executor and its probe are another package's, which building this test does not build.
fn build_executor() {
    static BUILT: Once = Once::new();
    // Somebody built everything elsewhere, and there is no cargo here.
    if std::env::var_os("WEIR_TEST_BUILT").is_some() {
        return;
    }
    BUILT.call_once(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "weir-executor", "--bins"]);
        if programs().ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().unwrap().success(),
            "weir-executor does not build"
        );
    });
}

/// Runs a program with these words, and fails with what it said.
pub(crate) fn run(program: &str, words: &str) -> String {
    let output = Command::new(program)
        .args(words.split_whitespace())
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run {program}, which `cargo xtask setup` installs: {error}")
        });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a check has an answer.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Finds a program that `cargo xtask setup` installs, or unpacks below `target/tools`.
pub(crate) fn find(name: &str) -> PathBuf {
    let tools = programs().parent().unwrap().join("tools");
    let roots = [PathBuf::from("/"), tools];
    let directories = ["usr/bin", "usr/sbin", "usr/local/bin"];
    roots
        .iter()
        .flat_map(|root| directories.map(|directory| root.join(directory).join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("no {name}, which `cargo xtask setup` brings"))
}

pub(crate) fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

/// Connects, and reads what the server says until it closes.
pub(crate) fn hear(from: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&from, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}
