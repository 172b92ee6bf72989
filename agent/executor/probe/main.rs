//! What the privileged tests run inside containers: it tries one thing, or a list of them, and says what happened.
//!
//! Every attempt becomes a line `name: answer`, where the answer is `ok`, the name of an error, or a text.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, chroot, sethostname};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["escapes", state_directory] => escapes(Path::new(state_directory)),
        ["surroundings"] => surroundings(),
        ["powers"] => powers(),
        ["ask", protocol, server, question] => ask(protocol, server, question),
        ["ask behind silence", server, questions] => {
            let questions = questions.parse().expect("a number of questions");
            let _open = keep_unanswered(server, questions).expect("questions can be sent");
            ask("udp", server, "name?");
        }
        ["spew", bytes] => spew(bytes.parse().expect("a number of bytes")),
        _ => panic!("unknown request {words:?}"),
    }
}

/// Tries to get out, or at something that is none of its business.
fn escapes(state_directory: &Path) {
    let nothing: Option<&Path> = None;
    let temporary = Path::new("/tmp");
    let new_mount = |kind: &str| {
        mount(
            Some("none"),
            temporary,
            Some(kind),
            MsFlags::empty(),
            nothing,
        )
    };
    say("mount tmpfs", new_mount("tmpfs"));
    say("mount cgroup2", new_mount("cgroup2"));
    say("mount bpf", new_mount("bpf"));
    say("mount proc", new_mount("proc"));
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    say(
        "remount root",
        mount(nothing, "/", nothing, remount, nothing),
    );
    say(
        "remount proc/sys",
        mount(nothing, "/proc/sys", nothing, remount, nothing),
    );
    say(
        "unmount proc/sys",
        umount2("/proc/sys", MntFlags::MNT_DETACH),
    );
    say(
        "unmount state",
        umount2(state_directory, MntFlags::MNT_DETACH),
    );
    say("chroot", chroot("/tmp"));
    say("host name", sethostname("escaped"));
    say("mount namespace", unshare(CloneFlags::CLONE_NEWNS));
    say(
        "user namespace",
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS),
    );
    match File::open("/proc/1/ns/net") {
        Ok(namespace) => say("namespace of init", setns(namespace, CloneFlags::empty())),
        Err(error) => say_io("namespace of init", Err(error)),
    }

    say(
        "new process all the same",
        std::thread::spawn(|| ())
            .join()
            .map_err(|_panic| Errno::EAGAIN),
    );
    say(
        "keyring",
        weir_sys::process::leave_session_keyring().map_err(|_refused| Errno::EPERM),
    );
    say(
        "host socket",
        open_socket(AddressFamily::Vsock, SockType::Stream, None),
    );

    let open_for_writing = |path: &str| OpenOptions::new().write(true).open(path).map(drop);
    for path in [
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/class/net/lo/mtu",
        "/sys/kernel/uevent_helper",
    ] {
        say_io(&format!("write {path}"), open_for_writing(path));
    }
    for path in [
        "/etc/weir-was-here",
        "/usr/weir-was-here",
        "/dev/weir-was-here",
        "/proc/weir-was-here",
    ] {
        say_io(&format!("create {path}"), File::create(path).map(drop));
    }
    let sandbox = std::env::var("WEIR_SANDBOX").expect("every task has it");
    for path in [
        "/tmp/file",
        "/var/tmp/file",
        "/dev/shm/file",
        &format!("{sandbox}/file"),
    ] {
        say_io(
            &format!("create {}", path.replace(&sandbox, "sandbox")),
            File::create(path).map(drop),
        );
    }
    let in_state = state_directory.join("file");
    say_io(
        "create in the state directory",
        File::create(in_state).map(drop),
    );

    say(
        "raw socket",
        open_socket(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp)),
    );
    say(
        "packet socket",
        open_socket(AddressFamily::Packet, SockType::Raw, None),
    );
    let everyone = Mode::from_bits_truncate(0o666);
    say(
        "block device",
        mknod(
            Path::new("/tmp/disk"),
            SFlag::S_IFBLK,
            everyone,
            makedev(254, 0),
        ),
    );
    say(
        "memory device",
        mknod(
            Path::new("/tmp/mem"),
            SFlag::S_IFCHR,
            everyone,
            makedev(1, 1),
        ),
    );

    let init = Pid::from_raw(1);
    say("trace init", ptrace::attach(init));
    say_io(
        "memory of init",
        OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/1/mem")
            .map(drop),
    );
    say_io(
        "descriptors of init",
        fs::read_link("/proc/1/fd/0").map(drop),
    );
    say_io("root of init", fs::read_dir("/proc/1/root").map(drop));
    say_io("environment of init", fs::read("/proc/1/environ").map(drop));
    // The signals themselves are allowed; that this goes on proves that they did nothing.
    for signal in [
        Signal::SIGKILL,
        Signal::SIGTERM,
        Signal::SIGSTOP,
        Signal::SIGSEGV,
    ] {
        say(&format!("{signal} to init"), kill(init, signal));
    }
    println!("init: {}", status("Name").trim());

    let processes = names("/proc")
        .into_iter()
        .filter(|name| name.parse::<u32>().is_ok())
        .count();
    println!("processes: {processes}");
    println!(
        "cgroup: {}",
        fs::read_to_string("/proc/self/cgroup")
            .expect("/proc")
            .lines()
            .last()
            .unwrap_or("")
    );
    for directory in [
        "/sys/fs/cgroup",
        "/sys/fs/bpf",
        "/run",
        "/sys/firmware",
        "/sys/kernel/debug",
    ] {
        println!("in {directory}: {}", names(directory).join(" "));
    }
    println!("in the state directory: {}", tree(state_directory));
    println!(
        "kcore: {}",
        fs::read("/proc/kcore")
            .map_or_else(|error| error.to_string(), |bytes| bytes.len().to_string())
    );
    for line in fs::read_to_string("/proc/self/mountinfo")
        .expect("/proc")
        .lines()
    {
        println!("mounted: {line}");
    }
}

/// Shows what the task was given.
fn surroundings() {
    for (name, value) in std::env::vars() {
        println!("variable {name}: {value}");
    }
    println!(
        "directory: {}",
        std::env::current_dir().expect("there is one").display()
    );
    println!(
        "host name: {}",
        nix::unistd::gethostname()
            .expect("there is one")
            .to_string_lossy()
    );
    println!(
        "session: {}",
        nix::unistd::getsid(None).expect("there is one")
    );
    println!("pid: {}", nix::unistd::getpid());
    println!("descriptors: {}", names("/proc/self/fd").len());
    println!("ids: {} {}", nix::unistd::geteuid(), nix::unistd::getegid());
    println!("groups: {}", status_of("self", "Groups").trim());
    println!("umask: {}", status_of("self", "Umask").trim());
    println!("blocked: {}", status_of("self", "SigBlk").trim());
    // Rust ignores SIGPIPE in every program of its own before main: that one bit says nothing.
    println!("ignored: {}", status_of("self", "SigIgn").trim());
    println!(
        "oom score: {}",
        fs::read_to_string("/proc/self/oom_score_adj")
            .expect("/proc")
            .trim()
    );
}

/// Shows what the task may do.
fn powers() {
    for field in [
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
    ] {
        println!("{field}: {}", status_of("self", field).trim());
    }
    println!("ids: {} {}", nix::unistd::getuid(), nix::unistd::geteuid());
    say(
        "raw socket",
        open_socket(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp)),
    );
    say("host name", sethostname("escaped"));
}

/// Sends a question to a name server and shows the answer.
fn ask(protocol: &str, server: &str, question: &str) {
    let server: SocketAddr = server.parse().expect("an address");
    let within = Some(Duration::from_secs(5));
    let answer = || -> io::Result<String> {
        let mut answer = vec![0; 4096];
        let length = if protocol == "udp" {
            let socket = UdpSocket::bind(if server.is_ipv4() {
                "127.0.0.1:0"
            } else {
                "[::1]:0"
            })?;
            socket.set_read_timeout(within)?;
            socket.connect(server)?;
            socket.send(question.as_bytes())?;
            socket.recv(&mut answer)?
        } else {
            let mut stream = TcpStream::connect(server)?;
            stream.set_read_timeout(within)?;
            stream.write_all(question.as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            answer.clear();
            stream.read_to_end(&mut answer)?
        };
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    println!(
        "answer: {}",
        answer().unwrap_or_else(|error| error.to_string())
    );
}

/// Sends questions that nobody answers, each from a socket of its own.
fn keep_unanswered(server: &str, questions: usize) -> io::Result<Vec<UdpSocket>> {
    let ask = |_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(b"silence", server)?;
        Ok(socket)
    };
    (0..questions).map(ask).collect()
}

fn spew(bytes: usize) {
    let line = format!("{:0>63}\n", 7);
    let mut out = io::stdout().lock();
    for _ in 0..bytes / line.len() {
        out.write_all(line.as_bytes()).expect("somebody reads");
    }
}

fn open_socket(
    family: AddressFamily,
    kind: SockType,
    protocol: Option<SockProtocol>,
) -> nix::Result<()> {
    socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(drop)
}

fn say(name: &str, answer: nix::Result<()>) {
    match answer {
        Ok(()) => println!("{name}: ok"),
        Err(errno) => println!("{name}: {errno:?}"),
    }
}

fn say_io(name: &str, answer: io::Result<()>) {
    say(
        name,
        answer.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    );
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).map(|entries| {
        entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect::<Vec<_>>()
    });
    let mut names = entries.unwrap_or_else(|error| vec![error.to_string()]);
    names.sort();
    names
}

/// Lists what is below a directory, but not what is in the sandbox.
fn tree(directory: &Path) -> String {
    let mut found = vec![];
    for name in names(&directory.to_string_lossy()) {
        let below = directory.join(&name);
        found.push(if name != "sandbox" && below.is_dir() {
            format!("{name}({})", tree(&below))
        } else {
            name
        });
    }
    found.join(" ")
}

fn status(field: &str) -> String {
    status_of("1", field)
}

fn status_of(process: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("/proc is mounted");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or("").to_owned()
}
