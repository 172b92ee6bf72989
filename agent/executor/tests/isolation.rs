//! What a task can see and do, tried from inside, as user 0.
#![forbid(unsafe_code)]

mod node;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use weir_executor::record::Outcome;
use weir_sys::cgroup::Cgroup;

use crate::node::{Container, Node, answer, install};

/// Runs the list of attempts as user 0 and returns what the probe says.
fn escapes(node: &Node, capabilities: &[&str]) -> String {
    let state = node.state.path().to_str().unwrap();
    let prepared = node.probe(&["escapes", state]).with(|spec| {
        spec.capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
    });
    prepared.start().output()
}

fn assert_answers(output: &str, expected: &[(&str, &str)]) {
    for (name, wanted) in expected {
        assert_eq!(answer(output, name), *wanted, "{name} in:\n{output}");
    }
}

#[test]
fn user_0_cannot_mount_or_change_a_mount() {
    let node = Node::new();
    let output = escapes(&node, &[]);
    for name in [
        "mount tmpfs",
        "mount cgroup2",
        "mount bpf",
        "mount proc",
        "remount root",
        "remount proc/sys",
        "unmount proc/sys",
        "unmount state",
        "chroot",
        "mount namespace",
        "user namespace",
        "host name",
    ] {
        assert_eq!(answer(&output, name), "EPERM", "{name}");
    }
    assert_answers(
        &output,
        &[("keyring", "EPERM"), ("new process all the same", "ok")],
    );
}

#[test]
fn user_0_cannot_leave_its_cgroup_for_there_is_none_to_be_seen() {
    let node = Node::new();
    let output = escapes(&node, &[]);
    assert_answers(
        &output,
        &[
            ("cgroup", "0::/"),
            ("in /sys/fs/cgroup", ""),
            ("in /sys/fs/bpf", ""),
        ],
    );
}

#[test]
fn user_0_cannot_write_where_the_node_or_the_kernel_is_steered() {
    let node = Node::new();
    let output = escapes(&node, &[]);
    for path in [
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/class/net/lo/mtu",
        "/sys/kernel/uevent_helper",
    ] {
        // Not every kernel has every one of them.
        let expected = if Path::new(path).exists() {
            "EROFS"
        } else {
            "ENOENT"
        };
        assert_eq!(
            answer(&output, &format!("write {path}")),
            expected,
            "{path}"
        );
    }
    for path in [
        "/etc/weir-was-here",
        "/usr/weir-was-here",
        "/dev/weir-was-here",
    ] {
        assert_eq!(
            answer(&output, &format!("create {path}")),
            "EROFS",
            "{path}"
        );
        assert!(!Path::new(path).exists());
    }
    assert_eq!(answer(&output, "create in the state directory"), "EROFS");
}

#[test]
fn task_can_write_its_own_places_and_the_node_does_not_see_the_private_ones() {
    let node = Node::new();
    let mut container = node
        .probe(&["escapes", node.state.path().to_str().unwrap()])
        .start();
    assert_eq!(container.outcome(), Outcome::Exited { code: 0 });
    let output = container.file("stdout");
    for place in [
        "/tmp/file",
        "/var/tmp/file",
        "/dev/shm/file",
        "sandbox/file",
    ] {
        assert_eq!(answer(&output, &format!("create {place}")), "ok", "{place}");
    }
    assert!(container.spec.sandbox().join("file").exists());
    for place in ["/tmp/file", "/var/tmp/file", "/dev/shm/file"] {
        assert!(!Path::new(place).exists(), "{place} is on the node");
    }
}

#[test]
fn user_0_gets_no_socket_that_could_spoof_or_sniff() {
    let node = Node::new();
    let expected = [
        ("raw socket", "EPERM"),
        ("packet socket", "EPERM"),
        ("host socket", "EAFNOSUPPORT"),
    ];
    assert_answers(&escapes(&node, &[]), &expected);
}

#[test]
fn user_0_makes_no_device() {
    let node = Node::new();
    assert_answers(
        &escapes(&node, &[]),
        &[("block device", "EPERM"), ("memory device", "EPERM")],
    );
}

#[test]
fn user_0_can_neither_trace_nor_read_nor_kill_init() {
    let node = Node::new();
    let output = escapes(&node, &[]);
    assert_answers(
        &output,
        &[
            ("trace init", "EPERM"),
            ("memory of init", "EACCES"),
            ("descriptors of init", "EACCES"),
            ("root of init", "EACCES"),
            ("environment of init", "EACCES"),
            ("namespace of init", "EACCES"),
            ("SIGKILL to init", "ok"),
            ("init", "weir-init"),
        ],
    );
}

#[test]
fn init_is_as_powerless_as_the_task() {
    let node = Node::new();
    // It may trace now, and would win nothing by it.
    let mut container = node
        .shell("grep -E '^(Cap|Uid|Gid|NoNewPrivs)' /proc/1/status")
        .run_as(12345)
        .with(|spec| spec.capabilities = vec!["SYS_PTRACE".into()])
        .start();
    assert_eq!(container.outcome(), Outcome::Exited { code: 0 });
    let status = container.file("stdout");
    for line in status.lines().filter(|line| line.starts_with("Cap")) {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    assert!(
        status.contains("Uid:\t12345\t12345\t12345\t12345"),
        "{status}"
    );
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn task_sees_no_process_but_its_own() {
    let node = Node::new();
    assert_answers(&escapes(&node, &[]), &[("processes", "2")]);
}

#[test]
fn task_sees_nothing_of_the_agent_but_its_own_sandbox() {
    // The state directory may be below a directory that is replaced, or stand in the node's tree.
    for place in ["/tmp", "/var/lib"] {
        let node = Node::with_state_in(Path::new(place));
        let neighbour = node.shell("true");
        let state = node.state.path().to_str().unwrap();
        let mut container = node.probe(&["escapes", state]).start();
        assert_eq!(
            container.outcome(),
            Outcome::Exited { code: 0 },
            "{}",
            container.file("stderr")
        );
        let seen = format!("containers({}(sandbox))", container.spec.id);
        assert_eq!(
            answer(&container.file("stdout"), "in the state directory"),
            seen
        );
        assert!(neighbour.spec.sandbox().exists());
    }
}

#[test]
fn system_directories_are_empty_or_masked() {
    let node = Node::new();
    let output = escapes(&node, &[]);
    assert_answers(
        &output,
        &[("in /sys/firmware", ""), ("in /sys/kernel/debug", "")],
    );
    let expected = if Path::new("/proc/kcore").exists() {
        "0"
    } else {
        "No such file or directory (os error 2)"
    };
    assert_answers(&output, &[("kcore", expected)]);
    // What is there at all is the resolver's configuration, where it lives in /run.
    let resolver = fs::canonicalize("/etc/resolv.conf").unwrap();
    let expected = resolver
        .strip_prefix("/run")
        .map_or("", |path| path.iter().next().unwrap().to_str().unwrap());
    assert_eq!(answer(&output, "in /run"), expected);
}

#[test]
fn every_mount_is_harmless_and_all_but_the_own_places_read_only() {
    let node = Node::new();
    let output = escapes(&node, &[]);
    let mounts: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("mounted: "))
        .collect();
    assert!(mounts.len() > 10, "{mounts:?}");
    let writable = ["/tmp", "/var/tmp", "/run", "/dev/shm", "/dev/pts", "/proc"];
    for line in mounts {
        let fields: Vec<&str> = line.split(' ').collect();
        let (path, options) = (fields[4], fields[5]);
        assert!(
            options.split(',').any(|option| option == "nosuid"),
            "{line}"
        );
        let devices =
            path.starts_with("/dev") || line.contains(" devtmpfs ") || path == "/proc/kcore";
        assert!(
            devices
                || line.contains("/null ")
                || options.split(',').any(|option| option == "nodev"),
            "{line}"
        );
        let own = writable.contains(&path) || path.ends_with("/sandbox");
        assert_eq!(
            !own,
            options.split(',').any(|option| option == "ro"),
            "{line}"
        );
        assert!(
            !line.contains(" - cgroup")
                && !line.contains(" - bpf ")
                && !line.contains(" - debugfs "),
            "{line}"
        );
    }
}

#[test]
fn modes_that_are_the_whole_nodes_cannot_be_changed() {
    let node = Node::new();
    let script = "chmod 000 /proc/meminfo /dev/null /proc/self/fd/0 /sys/kernel/mm; echo done";
    let mut container = node.shell(script).start();
    container.outcome();
    assert_eq!(container.file("stdout"), "done\n");
    assert_eq!(
        container.file("stderr").lines().count(),
        4,
        "{}",
        container.file("stderr")
    );
    for path in ["/proc/meminfo", "/dev/null", "/sys/kernel/mm"] {
        assert_ne!(
            fs::metadata(path).unwrap().permissions().mode() & 0o444,
            0,
            "{path}"
        );
    }
}

#[test]
fn granted_capability_works_and_no_other_does() {
    let node = Node::new();
    for user in [0, 12345] {
        let granted = |name: &str| {
            let capabilities = vec![name.to_owned()];
            let container = node
                .probe(&["powers"])
                .run_as(user)
                .with(|spec| spec.capabilities = capabilities);
            container.start().output()
        };
        let output = granted("NET_RAW");
        assert_answers(
            &output,
            &[
                ("raw socket", "ok"),
                ("host name", "EPERM"),
                ("NoNewPrivs", "1"),
            ],
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(
                answer(&output, set),
                "0000000000002000",
                "{set} of user {user}"
            );
        }
        let output = granted("SYS_ADMIN");
        assert_answers(&output, &[("raw socket", "EPERM"), ("host name", "ok")]);
    }
}

#[test]
fn task_without_a_grant_has_no_capability_whatever_its_user() {
    let node = Node::new();
    for user in [0, 12345] {
        let output = node.probe(&["powers"]).run_as(user).start().output();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(
                answer(&output, set),
                "0000000000000000",
                "{set} of user {user}"
            );
        }
    }
}

#[test]
fn setuid_program_gains_nothing() {
    let node = Node::new();
    let prepared = node.probe(&["powers"]).run_as(12345);
    let tool = prepared.spec.sandbox().join("tool");
    install(
        Path::new(env!("CARGO_BIN_EXE_weir-executor-probe")),
        &tool,
        0o4755,
    );
    // Owned by root all the same: only the sandbox itself is given to the user.
    let prepared = prepared.with(|spec| spec.argv[0] = tool.to_str().unwrap().to_owned());
    let output = prepared.start().output();
    assert_answers(
        &output,
        &[("ids", "12345 12345"), ("CapEff", "0000000000000000")],
    );
}

#[test]
fn surroundings_are_those_of_a_fresh_login_and_of_weir() {
    let node = Node::new();
    let mut container = node
        .probe(&["surroundings"])
        .run_as(12345)
        .with(|spec| {
            spec.groups = vec![12346, 12347];
            spec.env = vec![
                ("GREETING".into(), "hello world".into()),
                ("WEIR_PORTS".into(), "1-65535".into()),
            ];
        })
        .start();
    assert_eq!(
        container.outcome(),
        Outcome::Exited { code: 0 },
        "{}",
        container.file("stderr")
    );
    let output = container.file("stdout");
    let sandbox = container.spec.sandbox();
    let sandbox = sandbox.to_str().unwrap();
    assert_answers(
        &output,
        &[
            ("variable HOME", sandbox),
            ("variable WEIR_SANDBOX", sandbox),
            ("variable USER", "12345"),
            ("variable GREETING", "hello world"),
            ("variable WEIR_CONTAINER_ID", &container.spec.id),
            ("variable WEIR_CONTAINER_NAME", &container.spec.name),
            ("variable WEIR_PORTS", "31000-31001"),
            ("variable WEIR_PORT0", "31000"),
            ("variable WEIR_PORT1", "31001"),
            ("directory", sandbox),
            ("host name", &container.spec.name),
            ("ids", "12345 12345"),
            ("groups", "12346 12347"),
            ("umask", "0022"),
            ("blocked", "0000000000000000"),
            ("ignored", "0000000000001000"),
            // Standard ones, and the one for looking.
            ("descriptors", "4"),
            ("pid", "2"),
            ("session", "2"),
        ],
    );
    assert_eq!(
        output
            .lines()
            .filter(|line| line.starts_with("variable "))
            .count(),
        10,
        "{output}"
    );
    assert!(!answer(&output, "oom score").starts_with('-'));
}

#[test]
fn working_directory_and_path_are_as_asked() {
    let node = Node::new();
    let container = node
        .container(&["tool"])
        .with(|spec| {
            let script = spec.sandbox().join("script");
            fs::write(&script, "#!/bin/sh\npwd\n").unwrap();
            install(&script, &spec.sandbox().join("tool"), 0o755);
            spec.env.push((
                "PATH".into(),
                format!("/nonexistent:{}:/bin:/usr/bin", spec.sandbox().display()),
            ));
            spec.working_directory = Some("/usr".into());
        })
        .start();
    assert_eq!(container.output(), "/usr\n");
}

#[test]
fn terminals_and_devices_work() {
    let node = Node::new();
    let script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/null; \
                  echo full > /dev/full || echo refused; ls /dev | tr '\\n' ' '; echo; echo redirected > /dev/stderr; ls /dev/pts";
    let mut container = node.shell(script).run_as(12345).start();
    assert_eq!(
        container.outcome(),
        Outcome::Exited { code: 0 },
        "{}",
        container.file("stderr")
    );
    let expected = "4\n4\nrefused\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero \nptmx\n";
    assert_eq!(container.file("stdout"), expected);
    assert!(
        container.file("stderr").ends_with("redirected\n"),
        "{}",
        container.file("stderr")
    );
}

#[test]
fn private_memory_is_bounded() {
    let node = Node::new();
    let script = "head -c 2000000 /dev/zero > /tmp/big; stat -c %s /tmp/big";
    let container: Container<'_> = node
        .shell(script)
        .with(|spec| spec.tmp_bytes_max = 65536)
        .start();
    assert_eq!(container.output(), "65536\n");
}

#[test]
fn container_in_the_nodes_network_has_everything_else_of_its_own() {
    let node = Node::new();
    let state = node.state.path().to_str().unwrap();
    let output = node
        .probe(&["escapes", state])
        .in_host_network()
        .start()
        .output();
    assert_answers(
        &output,
        &[
            ("processes", "2"),
            ("mount tmpfs", "EPERM"),
            ("write /sys/class/net/lo/mtu", "EROFS"),
        ],
    );
}

#[test]
fn names_of_the_container_do_not_reach_the_node() {
    let node = Node::new();
    let before = nix::unistd::gethostname().unwrap();
    let container = node
        .shell("hostname; true >>/proc/sys/kernel/hostname || echo closed")
        .start();
    let name = container.spec.name.clone();
    assert_eq!(container.output(), format!("{name}\nclosed\n"));
    assert_eq!(nix::unistd::gethostname().unwrap(), before);
}

#[test]
fn executor_is_in_its_own_cgroup() {
    let node = Node::new();
    let container = node.container(&["/bin/sleep", "1000"]).start();
    let executor = Cgroup::open(&container.spec.executor_cgroup())
        .unwrap()
        .processes()
        .unwrap();
    assert_eq!(
        executor,
        [nix::unistd::Pid::from_raw(container.spawned.pid)]
    );
}
