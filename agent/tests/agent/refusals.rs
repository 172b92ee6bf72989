//! What is refused, to whom, and how it is told: what failed, both numbers, and what to do.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;
use weir_sys::cgroup::{Cgroup, find_hierarchy};

use crate::command::{pids, wait_for};
use crate::node::{NODE_V4, Node, address};
use crate::statistics::metrics;

#[track_caller]
pub(crate) fn assert_tells(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
    assert_eq!(told.lines().count(), 1, "one line: {told}");
    assert!(told.starts_with("weir-agent: "), "{told}");
}

#[test]
fn ports_that_cannot_be_had_are_refused_with_who_has_them_and_what_there_is() {
    let node =
        Node::with("network.quarantine_ms = 60000\nnetwork.container_ports = \"31000-31009\"");
    let refused = |options: &[&str]| node.exec(options, &["true"]).refused();
    node.start_container(
        &["--name", "web", "--ports", "31000-31003"],
        &["sleep", "1000"],
    );
    assert_tells(
        &refused(&["--ports", "31002-31004"]),
        &["ports 31002-31003 are owned by container web"],
    );
    assert_tells(
        &refused(&["--ports", "31008-31011,40000"]),
        &[
            "31010-31011,40000 are outside the agent's 31000-31009",
            "container_ports",
        ],
    );
    assert_tells(
        &refused(&["--ports", "7"]),
        &[
            "asked for 7 ports, 6 are free",
            "31000-31009 hold 10, 4 taken",
        ],
    );
    assert_tells(
        &node.weir(&["update", "web", "--ports", "11"]).refused(),
        &[
            "asked for 11 ports, of which it has 4, and 6 are free",
            "31000-31009 hold 10",
        ],
    );
    node.exec(&["--ports", "31009"], &["true"]).ok();
    assert_tells(
        &refused(&["--ports", "31009"]),
        &["port 31009 was freed", "free again in", "60 s"],
    );

    // What the node's own processes use is theirs, TCP or UDP, IPv4 or IPv6, listening or not.
    let _tcp = node.on_node(|| TcpListener::bind("0.0.0.0:31004").unwrap());
    let _udp = node.on_node(|| UdpSocket::bind("[::1]:31005").unwrap());
    assert_tells(
        &refused(&["--ports", "31004-31005"]),
        &["ports 31004-31005 are in use on the node", "ss -antup"],
    );
    assert_tells(
        &node
            .weir(&["update", "web", "--ports", "31000-31005"])
            .refused(),
        &["31004-31005 are in use on the node"],
    );
    node.assert_exact();
}

#[test]
fn a_port_of_a_container_cannot_be_bound_on_the_node() {
    let node = Node::new();
    node.start_container(&["--ports", "31000"], &["sleep", "1000"]);
    for ip in ["0.0.0.0", NODE_V4, "::", "127.0.0.1"] {
        let bound = node.on_node(|| TcpListener::bind(address(ip, 31000)).map(drop));
        let kind = bound.unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::AddrInUse, "{ip}");
    }
    node.on_node(|| TcpListener::bind(address("0.0.0.0", 31001)).unwrap());
}

#[test]
fn a_full_pool_of_blocks_is_refused_with_its_numbers() {
    let node = Node::with("network.ephemeral_ports = \"61440-63487\"");
    for _ in 0..2 {
        node.start_container(&[], &["sleep", "1000"]);
    }
    let told = node.exec(&[], &["true"]).refused();
    assert_tells(
        &told,
        &[
            "no ephemeral block is free",
            "61440-63487 holds 2 blocks of 1024: 2 taken",
            "ephemeral_block",
        ],
    );
    // Who needs none gets in.
    node.exec(&["--network", "host"], &["true"]).ok();
}

#[test]
fn names_users_capabilities_and_commands_that_cannot_be_are_refused() {
    let node = Node::new();
    let refused = |options: &[&str]| node.exec(options, &["true"]).refused();
    let web = node.start_container(&["--name", "web"], &["sleep", "1000"]);
    assert_tells(
        &refused(&["--name", "web"]),
        &[
            "the name web is taken",
            web.id.as_str(),
            "weir-agent kill web",
        ],
    );
    assert_tells(
        &refused(&["--user", "no-such-user"]),
        &["no-such-user", "getent passwd"],
    );
    assert_tells(
        &refused(&["--user", "root:no-such-group"]),
        &["no-such-group"],
    );
    assert_tells(&refused(&["--user", "4294967295"]), &["4294967295"]);
    assert_tells(
        &refused(&["--cap-add", "NET_RAW"]),
        &[
            "NET_RAW is not allowed",
            "NET_BIND_SERVICE",
            "capabilities_allowed",
        ],
    );
    assert_tells(&refused(&["--cap-add", "FLY"]), &["FLY", "capabilities(7)"]);
    assert_tells(
        &refused(&["--workdir", "relative"]),
        &["relative", "absolute"],
    );
    node.assert_exact();
}

#[test]
fn what_is_typed_wrongly_ends_with_64_before_anything_is_asked() {
    // Nothing is there to be asked.
    let node = Node::without_daemon("");
    for words in [
        &[][..],
        &["fly"],
        &["exec"],
        &["exec", "--"],
        &["exec", "true"],
        &["exec", "--ports", "31000-", "--", "true"],
        &["exec", "--ports", "31001-31000", "--", "true"],
        &["exec", "--ports", "65536", "--", "true"],
        &["exec", "--ports", "0", "--", "true"],
        &["exec", "--name", "a b", "--", "true"],
        &["exec", "--name", "../x", "--", "true"],
        &["exec", "--env", "novalue", "--", "true"],
        &["exec", "--cpus", "much", "--", "true"],
        &["exec", "--cpus", "0", "--", "true"],
        &["exec", "--mem", "12Q", "--", "true"],
        &["exec", "--network", "bridge", "--", "true"],
        &["exec", "--json", "--", "true"],
        &["kill"],
        &["kill", "web", "--signal", "HUP"],
        &["update", "web"],
        &["ps", "--fly"],
    ] {
        let said = node.weir(words);
        assert_eq!(said.code, 64, "{words:?}: {said:?}");
        assert_eq!(said.stdout, "", "{words:?}");
        assert!(!said.stderr.is_empty());
    }
    for words in [&["--help"][..], &["exec", "--help"], &["--version"]] {
        let said = node.weir(words);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn a_configuration_that_cannot_be_is_refused_with_its_place() {
    let node = Node::without_daemon("");
    let text = node.weir_here(&["check-config"]).ok();
    assert!(text.contains("32 isolated containers"), "{text}");
    let json: Value =
        serde_json::from_str(&node.weir_here(&["check-config", "--json"]).ok()).unwrap();
    assert_eq!(
        (&json["valid"], &json["containers"]),
        (&Value::Bool(true), &Value::from(32))
    );

    let path = node.config();
    for (text, words) in [
        ("[network]\nuplnks = []", &[":2:1", "uplnks"][..]),
        (
            "[network]\nephemeral_block = 1000",
            &[":2:", "ephemeral_block", "1000", "power of two"],
        ),
        ("[network]\nquarantine_ms = -1", &[":2:"]),
        (
            "[network]\ncontainer_ports = \"31000-40000\"\nephemeral_ports = \"32768-40959\"",
            &["container_ports", "32768-40000"],
        ),
        ("[http]\nlisten = \"localhost\"", &[":2:"]),
        ("[container]\ncapabilities_allowed = [\"FLY\"]", &["FLY"]),
        ("[agent", &[":1:"]),
        (
            "[agent]\nsocket = \"run/agent.sock\"",
            &["socket", "absolute"],
        ),
    ] {
        fs::write(&path, text).unwrap();
        for command in ["check-config", "run", "doctor", "cleanup"] {
            let said = node.weir_here(&[command]);
            assert_eq!(said.code, 64, "{command} {text}: {said:?}");
            assert_tells(&said.stderr, words);
            assert!(said.stderr.contains(path.to_str().unwrap()), "{said:?}");
        }
    }
    fs::remove_file(&path).unwrap();
    let said = node.command_without_socket(&["check-config", "--config", path.to_str().unwrap()]);
    assert_eq!(said.code, 64);
    assert_tells(&said.stderr, &[path.to_str().unwrap(), "No such file"]);
}

pub(crate) fn has_controllers() -> bool {
    let root = find_hierarchy().unwrap();
    let found = Cgroup::open(&root).unwrap().controllers().unwrap();
    ["cpu", "memory"]
        .iter()
        .all(|name| found.iter().any(|found| found == name))
}

#[test]
fn a_limit_that_the_node_cannot_enforce_is_refused() {
    let node = Node::new();
    for (option, amount, controller) in [("--cpus", "0.5", "cpu"), ("--mem", "64M", "memory")] {
        let said = node.exec(&[option, amount], &["true"]);
        if has_controllers() {
            assert_eq!(said.code, 0, "{said:?}");
            continue;
        }
        let reason = format!("the {controller} controller is not in its cgroup v2");
        let words = ["cannot enforce", option, &reason, "allow_unenforced_limits"];
        assert_tells(&said.refused(), &words);
    }
    node.assert_exact();
}

#[test]
fn every_listing_says_where_a_limit_is_not_enforced() {
    let node = Node::with("cgroup.allow_unenforced_limits = true");
    let limits = ["--name", "web", "--cpus", "0.5", "--mem", "64M"];
    node.start_container(&limits, &["sleep", "1000"]);
    node.start_container(&["--name", "free"], &["sleep", "1000"]);
    let unenforced = !has_controllers();
    for words in [&["ps"][..], &["stats"]] {
        let text = node.weir(words).ok();
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("web").contains("0.5 cpus 64M"), "{text}");
        assert_eq!(
            line("web").contains("0.5 cpus 64M unenforced"),
            unenforced,
            "{text}"
        );
        assert!(!line("free").contains("unenforced"), "{text}");
        let json = node.weir(&[words, &["--json"]].concat()).ok();
        let json: Value = serde_json::from_str(&json).unwrap();
        let all = json.as_array().unwrap();
        let of = |name: &str| &all.iter().find(|one| one["name"] == name).unwrap()["unenforced"];
        assert_eq!(
            (of("web"), of("free")),
            (&unenforced.into(), &false.into()),
            "{words:?}"
        );
    }
}

#[test]
fn a_limit_is_enforced_where_the_controllers_are() {
    if !has_controllers() {
        eprintln!(
            "weir-skip: a_limit_is_enforced_where_the_controllers_are: no cpu and memory controllers in cgroup v2"
        );
        return;
    }
    let node = Node::new();
    let web = node.start_puppet(&["--name", "web", "--cpus", "0.25", "--mem", "64M"]);
    let used = web.run(
        "end = time.monotonic() + 2\nbefore = time.process_time()\n\
         while time.monotonic() < end: pass\nprint(time.process_time() - before)",
    );
    assert!(used.parse::<f64>().unwrap() < 1.0, "{used} s of CPU in 2 s");
    // The hungry one is not the first process, and the first does not care.
    let said = node.exec(
        &["--name", "hungry", "--mem", "32M"],
        &[
            "/bin/sh",
            "-c",
            "/usr/bin/python3 -c \"x = b'x' * (256 << 20)\"; sleep 600",
        ],
    );
    assert_eq!(said.code, 128 + 9, "{said:?}");
    let all: Value = serde_json::from_str(&node.weir(&["ps", "--all", "--json"]).ok()).unwrap();
    let mut all = all.as_array().unwrap().iter();
    let hungry = all.find(|one| one["name"] == "hungry").unwrap();
    assert_eq!(
        hungry["state"]["outcome"]["outcome"], "out_of_memory",
        "{hungry}"
    );
    // And all of it is counted, with the limits that `free` has not.
    let free = node.start_puppet(&["--name", "free"]);
    let found = metrics(&node);
    let of = |metric: &str| found.get(&format!("weir_agent_{metric}")).copied();
    assert_eq!(of("containers_out_of_memory_total"), Some(1.0));
    for metric in [
        "periods_total",
        "throttled_periods_total",
        "throttled_seconds_total",
    ] {
        let of = |name: &str| of(&format!("container_cpu_{metric}{{container=\"{name}\"}}"));
        assert!(of("web").is_some_and(|count| count > 0.0), "{metric}");
        assert_eq!(of("free"), None, "{metric}");
    }
    for name in ["web", "free"] {
        let kills = of(&format!(
            "container_oom_kills_total{{container=\"{name}\"}}"
        ));
        assert_eq!(kills, Some(0.0));
        let label = format!("container=\"{name}\"");
        let memory = of(&format!(
            "container_memory_bytes{{{label},source=\"cgroup\"}}"
        ));
        assert!(memory.is_some_and(|bytes| bytes > 1e6), "{memory:?}");
        let limit = of(&format!("container_threads_limit{{{label}}}"));
        assert!(limit.is_some_and(|count| count >= 1.0), "{limit:?}");
        let refused = of(&format!("container_refused_forks_total{{{label}}}"));
        assert_eq!(refused, Some(0.0), "{name}");
        for event in ["low", "high", "max", "oom"] {
            let count = of(&format!(
                "container_memory_events_total{{{label},event=\"{event}\"}}"
            ));
            assert!(count.is_some(), "{name} {event}");
        }
    }
    drop(free);
}

#[test]
fn only_root_is_served() {
    let node = Node::new();
    let socket = node.socket();
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Also where somebody has opened the door.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(node.run_directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let agent = node.program("weir-agent");
    let said = node.run_as(
        &["setpriv", "--reuid", "65534", "--clear-groups"],
        &agent,
        &["ps"],
    );
    assert_eq!(said.code, 2, "{said:?}");
    assert_tells(&said.stderr, &["only root may ask", "65534"]);
}

#[test]
fn whoever_is_inside_a_container_is_not_served_even_as_root() {
    // A place that containers see, which the default is not.
    let directory = tempfile::Builder::new()
        .prefix("weir-visible-")
        .tempdir_in("/var/lib")
        .unwrap();
    let socket = directory.path().join("agent.sock").display().to_string();
    let node = Node::with(&format!("agent.socket = \"{socket}\""));
    let agent = node.program("weir-agent");
    let said = node.exec(&["--user", "root"], &[&agent, "--socket", &socket, "ps"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("inside a container"), "{said:?}");

    // A process of the node that is moved into a container's cgroup is inside as well, ...
    let view = node.start_container(&["--name", "web"], &["sleep", "1000"]);
    let task = node
        .cgroup()
        .join(view.id.as_str())
        .join("task/cgroup.procs");
    let join = format!(
        "echo $$ > {} && exec {agent} --socket {socket} ps",
        task.display()
    );
    let said = node.run_as(&[], "sh", &["-c", &join]);
    assert_eq!(said.code, 2, "{said:?}");
    assert_tells(&said.stderr, &["inside a container", view.id.as_str()]);

    // ... and so is one that is only in its PID namespace, or in one that nobody knows.
    let init = pids(&view).1.to_string();
    for wrapper in [
        &["nsenter", "--pid", "--target", &init][..],
        &["unshare", "--pid", "--fork"],
    ] {
        let said = node.run_as(wrapper, &agent, &["--socket", &socket, "ps"]);
        assert_eq!(said.code, 2, "{wrapper:?}: {said:?}");
        assert_tells(&said.stderr, &["PID namespace"]);
    }
    assert!(node.log().contains("a peer of the socket is refused"));
    // The node's own root is served all the while.
    assert_eq!(node.exec(&[], &["true"]).code, 0);
}

#[test]
fn a_container_is_known_also_where_the_root_of_its_cgroups_is_not_the_hierarchys() {
    let mut node = Node::without_daemon("");
    let root = node.cgroup();
    fs::create_dir(&root).unwrap();
    node.configure(&format!(
        "cgroup.root = \"{}\"\ncgroup.parent = \"below/containers\"",
        root.display()
    ));
    node.start();
    let view = node.start_container(&["--name", "web"], &["sleep", "1000"]);
    let agent = node.program("weir-agent");
    let socket = node.socket().display().to_string();
    let ask = |cgroup: &str| {
        let join = format!(
            "echo $$ > {}/{cgroup}/cgroup.procs && exec {agent} --socket {socket} ps",
            root.display()
        );
        node.run_as(&[], "sh", &["-c", &join])
    };
    let said = ask(&format!("below/containers/{}/task", view.id));
    assert_eq!(said.code, 2, "{said:?}");
    assert_tells(&said.stderr, &["inside a container", view.id.as_str()]);
    fs::create_dir(root.join("beside")).unwrap();
    assert_eq!(ask("beside").code, 0);
    let text = node.weir_here(&["doctor"]).ok();
    let line = text.lines().find(|line| line.contains(" cgroup v2: "));
    assert!(
        line.is_some_and(|line| line.starts_with("degraded")),
        "{text}"
    );
}

#[test]
fn the_socket_is_not_to_be_found_inside_a_container() {
    let node = Node::new();
    let socket = node.socket().display().to_string();
    let puppet = node.start_puppet(&["--user", "root"]);
    puppet.says(
        &format!("socket.socket(socket.AF_UNIX).connect('{socket}')"),
        "ENOENT",
    );
    puppet.says("print(os.listdir('/run'))", "[]");
}

#[test]
fn doctor_says_whether_the_node_is_ready() {
    let node = Node::new();
    let said = node.weir_here(&["doctor", "--json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (said.code, &json["ready"]),
        (0, &Value::Bool(true)),
        "{json:#}"
    );
    let checks = json["checks"].as_array().unwrap();
    assert!(checks.len() > 5);
    for check in checks {
        let status = check["status"].as_str().unwrap();
        assert!(["ok", "degraded"].contains(&status), "{check}");
        assert!(!check["detail"].as_str().unwrap().is_empty(), "{check}");
        assert!(!check["purpose"].as_str().unwrap().is_empty(), "{check}");
        assert_eq!(
            check["lost"].as_str().unwrap().is_empty(),
            status == "ok",
            "{check}"
        );
    }
    let text = node.weir_here(&["doctor"]).ok();
    assert!(text.contains("this node is ready"), "{text}");
    let plan = "32 at once, 1024 ephemeral ports each";
    assert!(
        text.contains(plan),
        "33 blocks, and the agent is in one: {text}"
    );
    assert!(text.contains("for: dividing the node's ports"), "{text}");

    // The agent cannot run where its executor is not.
    let node = Node::without_daemon("agent.executor = \"/nonexistent\"");
    let said = node.weir_here(&["doctor", "--json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (said.code, &json["ready"]),
        (1, &Value::Bool(false)),
        "{json:#}"
    );
}

impl Node {
    /// Runs a program on the node, through others that become it.
    fn run_as(&self, wrapper: &[&str], program: &str, words: &[&str]) -> crate::command::Said {
        let all = [wrapper, &[program], words].concat();
        let mut command = std::process::Command::new(all[0]);
        command
            .args(&all[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let socket = self.socket().display().to_string();
        if !all.contains(&"--socket") && program != "sh" {
            command.args(["--socket", &socket]);
        }
        wait_for(self.on_node(|| command.spawn()).unwrap())
    }

    /// Runs a command that needs neither daemon nor configuration.
    fn command_without_socket(&self, words: &[&str]) -> crate::command::Said {
        let agent = crate::node::programs().join("weir-agent");
        let mut command = std::process::Command::new(agent);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        wait_for(command.spawn().unwrap())
    }
}
