//! The node before the first agent and after the last: the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use weir_abi::LAYOUT_VERSION;
use weir_executor::record::Outcome;
use weir_sys::cgroup::find_hierarchy;

use crate::command::is_running;
use crate::node::{Node, run};

/// Everything of a node that an agent could have changed.
#[derive(Debug, PartialEq, Eq)]
struct Picture(BTreeMap<String, String>);

impl Picture {
    fn of(node: &Node) -> Self {
        let mut seen = BTreeMap::new();
        node.on_node(|| {
            for (program, words) in [
                ("ip", "-d link"),
                ("ip", "addr"),
                ("ip", "route show table all"),
                ("ip", "-6 route show table all"),
                ("ip", "rule"),
                ("ip", "-6 rule"),
                ("tc", "qdisc show"),
                ("tc", "filter show dev up0 ingress"),
                ("tc", "filter show dev lo ingress"),
            ] {
                seen.insert(format!("{program} {words}"), run(program, words));
            }
            read_settings(Path::new("/proc/sys/net"), &mut seen);
        });
        let bpffs = node.run_directory().join("bpf");
        seen.insert("bpffs".to_owned(), tree(&bpffs).join("\n"));
        let cgroups = fs::read_dir(find_hierarchy().unwrap()).unwrap().flatten();
        let cgroups = cgroups.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let own: Vec<String> = cgroups
            .filter(|name| name.starts_with(&node.name))
            .collect();
        seen.insert("cgroups".to_owned(), own.join(" "));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        // Other tests of this machine mount as well.
        let mounts = mounts
            .lines()
            .filter(|line| line.contains(&node.name) || !line.contains("weir"));
        seen.insert("mounts".to_owned(), mounts.collect::<Vec<_>>().join("\n"));
        Self(seen)
    }

    #[track_caller]
    fn assert_same(&self, later: &Self) {
        let keys = self.0.keys().chain(later.0.keys());
        let changed: BTreeMap<&String, _> = keys
            .map(|key| (key, (self.0.get(key), later.0.get(key))))
            .filter(|(_, (before, after))| before != after)
            .collect();
        assert!(changed.is_empty(), "before and after: {changed:#?}");
    }
}

/// Reads all settings below a directory, as far as they can be read.
fn read_settings(directory: &Path, seen: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_settings(&path, seen);
        } else if let Ok(value) = fs::read_to_string(&path) {
            seen.insert(path.display().to_string(), value);
        }
    }
}

/// Returns all paths below a directory.
fn tree(directory: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            paths.push(path.strip_prefix(directory).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                waiting.push(path);
            }
        }
    }
    paths.sort();
    paths
}

/// Checks what stays in the state directory: the database, the lock, and what ended containers left.
fn assert_state(node: &Node, containers: usize) {
    let entries = fs::read_dir(node.state()).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    // Those that SQLite has beside the database are its own.
    names.retain(|name| !name.starts_with("agent.db-"));
    assert_eq!(names, ["agent.db", "agent.lock", "containers"]);
    assert_eq!(
        fs::read_dir(node.state().join("containers"))
            .unwrap()
            .count(),
        containers
    );
}

#[test]
fn a_stop_without_containers_leaves_the_node_as_it_was() {
    let mut node = Node::without_daemon("");
    let before = Picture::of(&node);
    node.start();
    assert_ne!(
        Picture::of(&node),
        before,
        "the picture would not show what the agent changes"
    );
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
    assert_state(&node, 0);

    // Again, and with containers that came and went.
    node.start();
    assert_eq!(node.exec(&["--ports", "31000"], &["true"]).code, 0);
    assert_eq!(
        node.exec(&["--network", "host"], &["sh", "-c", "exit 3"])
            .code,
        3
    );
    node.assert_exact();
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
    assert_state(&node, 2);
}

#[test]
fn a_stop_leaves_the_node_to_its_containers_and_the_last_one_leaves_it_as_it_was() {
    let mut node = Node::without_daemon("");
    let before = Picture::of(&node);
    node.start();
    let web = node.start_server("web", 31000);
    node.stop_daemon();
    assert!(
        node.serves("web", 31000),
        "containers go on without the agent"
    );
    node.start();
    assert_eq!(node.find("web"), Some(web));
    node.weir(&["kill", "web"]).ok();
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
    assert_state(&node, 1);
}

fn cleanup_leaves_the_node_as_it_was(lines: &str) {
    let mut node = Node::without_daemon(lines);
    let before = Picture::of(&node);
    node.weir_here(&["cleanup"]).ok();
    before.assert_same(&Picture::of(&node));

    node.start();
    node.start_server("web", 31000);
    let host = node.start_container(
        &["--name", "host", "--network", "host", "--ports", "31001"],
        &["sleep", "1000"],
    );
    let told = node.weir_here(&["cleanup"]).refused();
    assert!(told.contains("another agent uses"), "{told}");
    node.kill_daemon();
    let told = node.weir_here(&["cleanup"]).refused();
    assert!(told.contains("--kill-containers"), "{told}");
    assert!(
        node.serves("web", 31000),
        "a cleanup that is refused changes nothing"
    );
    node.weir_here(&["cleanup", "--kill-containers"]).ok();
    before.assert_same(&Picture::of(&node));
    assert_state(&node, 2);
    node.weir_here(&["cleanup"]).ok();
    before.assert_same(&Picture::of(&node));

    // The next agent knows what became of them.
    node.start();
    for name in ["web", "host"] {
        let killed = Outcome::Signaled {
            signal: 9,
            core_dumped: false,
        };
        assert_eq!(node.wait_ended(name), killed, "{name}");
    }
    assert_eq!(node.containers(false), []);
    assert!(!is_running(&node.find("host").unwrap()), "{host:?}");
    node.assert_exact();
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
}

#[test]
fn cleanup_leaves_the_node_as_it_was_before_the_first_agent() {
    cleanup_leaves_the_node_as_it_was("");
}

#[test]
fn cleanup_takes_away_filters_and_the_qdiscs_that_were_made_for_them() {
    cleanup_leaves_the_node_as_it_was("network.attach = \"clsact\"");
}

#[test]
fn a_qdisc_that_was_there_before_stays_with_its_filters() {
    let mut node = Node::without_daemon("network.attach = \"clsact\"");
    node.on_node(|| {
        run("tc", "qdisc add dev up0 clsact");
        run(
            "tc",
            "filter add dev up0 ingress prio 50000 protocol ip u32 match u32 0 0 flowid 1:1",
        );
    });
    let before = Picture::of(&node);
    node.start();
    node.start_server("web", 31000);
    node.kill_all();
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
    node.start();
    node.kill_daemon();
    node.weir_here(&["cleanup"]).ok();
    before.assert_same(&Picture::of(&node));
}

#[test]
fn reserved_ports_are_given_back_with_those_that_were_reserved_before() {
    const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    let lines =
        "network.ephemeral_ports = \"40960-45055\"\nnetwork.container_ports = \"31000-31999\"";
    let mut node = Node::without_daemon(lines);
    node.on_node(|| fs::write(RESERVED, "50000-50001").unwrap());
    let before = Picture::of(&node);
    node.start();
    let reserved = node.on_node(|| fs::read_to_string(RESERVED).unwrap());
    assert_eq!(reserved.trim(), "40960-45055,50000-50001");
    node.kill_daemon();
    node.start();
    let reserved = node.on_node(|| fs::read_to_string(RESERVED).unwrap());
    assert_eq!(reserved.trim(), "40960-45055,50000-50001");
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));

    // None were reserved before: none are afterwards.
    node.on_node(|| fs::write(RESERVED, "\n").unwrap());
    let before = Picture::of(&node);
    node.start();
    node.kill_daemon();
    node.weir_here(&["cleanup"]).ok();
    before.assert_same(&Picture::of(&node));
}

#[test]
fn a_daemon_that_cannot_serve_leaves_the_node_as_it_was() {
    for (lines, message) in [
        (
            "http.listen = \"10.9.0.99:1\"",
            "cannot listen on 10.9.0.99:1",
        ),
        (
            "agent.socket = \"/etc/hostname\"",
            "/etc/hostname is not a socket",
        ),
        (
            "agent.executor = \"/nonexistent\"",
            "there is no executor at /nonexistent",
        ),
        (
            "network.pin_directory = \"/var/lib/weir-no-bpffs\"",
            "`/var/lib/weir-no-bpffs` is not on a bpffs",
        ),
        (
            "network.container_ports = \"32768-60999\"",
            "at least 4096 must be",
        ),
    ] {
        let mut node = Node::without_daemon(lines);
        let before = Picture::of(&node);
        let failed = node.try_start(&[]).unwrap_err();
        assert_eq!(failed.status.code(), Some(1), "{lines}");
        assert!(failed.log.contains(message), "{lines}: {}", failed.log);
        before.assert_same(&Picture::of(&node));
    }
    assert!(!Path::new("/var/lib/weir-no-bpffs").exists());
}

#[test]
fn another_way_of_attaching_takes_the_place_of_the_former_under_running_containers() {
    let mut node = Node::without_daemon("network.attach = \"clsact\"");
    let before = Picture::of(&node);
    node.start();
    node.start_server("web", 31000);
    let filters = |node: &Node| {
        let devices = ["up0", "lo"]
            .map(str::to_owned)
            .into_iter()
            .chain(node.container_links());
        let mut found = Vec::new();
        for device in devices {
            let text = node.on_node(|| run("tc", &format!("filter show dev {device} ingress")));
            found.extend(text.contains("direct-action").then_some(device));
        }
        found.len()
    };
    let pins = |node: &Node| {
        let is_interface = |pin: &&String| {
            ["uplink-", "loopback", "container-"]
                .iter()
                .any(|prefix| pin.starts_with(prefix))
        };
        node.all_pins().iter().filter(is_interface).count()
    };
    assert_eq!((filters(&node), pins(&node)), (3, 0));
    for (attach, filters_wanted, pins_wanted) in [("auto", 0, 3), ("clsact", 3, 0)] {
        node.kill_daemon();
        node.configure(&format!("network.attach = \"{attach}\""));
        node.start();
        let found = (filters(&node), pins(&node));
        // Before Linux 6.6 both ways are one.
        if found != (3, 0) {
            assert_eq!(found, (filters_wanted, pins_wanted), "{attach}");
        }
        assert!(node.serves("web", 31000), "{attach}");
    }
    node.kill_all();
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
}

#[test]
fn a_parent_cgroup_with_cgroups_above_it_goes_with_those_that_were_made_for_it() {
    let mut node = Node::without_daemon("");
    let before = Picture::of(&node);
    node.configure(&format!(
        "cgroup.parent = \"{}/below/containers\"",
        node.name
    ));
    node.start();
    let web = node.start_server("web", 31000);
    let task = node
        .cgroup()
        .join(format!("below/containers/{}/task", web.id));
    assert!(
        !fs::read_to_string(task.join("cgroup.procs"))
            .unwrap()
            .is_empty()
    );
    node.kill_daemon();
    node.start();
    assert_eq!(node.find("web"), Some(web));
    node.weir(&["kill", "web"]).ok();
    assert!(!task.exists());
    // Somebody else's, in the meantime, stays with what is above it.
    let other = node.cgroup().join("other");
    fs::create_dir(&other).unwrap();
    node.stop_daemon();
    assert!(!node.cgroup().join("below").exists());
    fs::remove_dir(&other).unwrap();
    fs::remove_dir(node.cgroup()).unwrap();
    before.assert_same(&Picture::of(&node));
}

#[test]
fn the_program_of_all_containers_is_where_the_containers_are_also_after_they_moved() {
    let mut node = Node::without_daemon("");
    let before = Picture::of(&node);
    let is_at = |node: &Node, cgroup: &Path| {
        let link = node
            .pins()
            .join(format!("v{LAYOUT_VERSION}/links/containers-tcp"));
        let link = weir_sys::bpf::open_pin(&link).unwrap();
        let target = weir_sys::bpf::link_info(link.as_fd()).unwrap().target;
        let id = fs::metadata(cgroup).unwrap().ino();
        u64::from(target) == id & u64::from(u32::MAX)
    };
    node.start();
    assert!(is_at(&node, &node.cgroup()));
    node.kill_daemon();
    node.configure(&format!("cgroup.parent = \"{}/below\"", node.name));
    node.start();
    assert!(is_at(&node, &node.cgroup().join("below")));
    node.stop_daemon();
    before.assert_same(&Picture::of(&node));
}

#[test]
fn an_agent_that_is_killed_while_it_starts_leaves_a_node_that_can_be_cleaned() {
    for attach in ["auto", "clsact"] {
        let mut node = Node::without_daemon(&format!("network.attach = \"{attach}\""));
        let before = Picture::of(&node);
        let begin = Instant::now();
        node.start();
        let took = begin.elapsed();
        node.stop_daemon();
        for round in 1..=10 {
            node.start_and_kill(took * round / 10);
            node.weir_here(&["cleanup"]).ok();
            before.assert_same(&Picture::of(&node));
        }
        // Or by the next one, when it goes.
        for round in 1..=10 {
            node.start_and_kill(took * round / 10);
        }
        node.start();
        node.stop_daemon();
        before.assert_same(&Picture::of(&node));
    }
}
