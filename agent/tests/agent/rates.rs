//! Rates, as they are asked for and refused. That they hold is tested where the data plane is.

use std::fs;
use std::path::Path;
use std::process::Command;

use weir_agent::container::ContainerView;

use crate::node::Node;

/// Goes on for as long as a test; a guest has no `sleep` but the shell's own.
const IDLE: [&str; 3] = ["/bin/sh", "-c", "sleep 1000"];

const WIRE: &str = "bandwidth.egress = \"100mbit\"";

/// Returns the classes of the queue of an interface, with their rates.
fn classes(node: &Node, within: Option<u32>, interface: &str) -> String {
    let mut words = vec!["tc".to_owned(), "class".to_owned(), "show".to_owned()];
    words.extend(["dev".to_owned(), interface.to_owned()]);
    let mut command = match within {
        None => Command::new("tc"),
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg("tc");
            command
        }
    };
    command.args(&words[1..]);
    let output = node.on_node(move || command.output().unwrap());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns a process inside of a container.
fn process_of(node: &Node, view: &ContainerView) -> u32 {
    let task = node.cgroup().join(view.id.as_str()).join("task");
    let processes = fs::read_to_string(task.join("cgroup.procs")).unwrap();
    processes.lines().last().unwrap().parse().unwrap()
}

#[test]
fn rates_are_promised_once_changed_and_remembered() {
    let mut node = Node::with(WIRE);
    let asked = ["--egress-min", "50mbit", "--egress-max", "80mbit"];
    let more = ["--ingress-max", "0.5gbit", "--weight", "30"];
    let view = node.start_container(&[&["--name", "web"], &asked[..], &more].concat(), &IDLE);
    let shown = node.weir(&["ps"]).ok();
    let expected = "egress 50mbit..80mbit ingress ..500mbit weight 30";
    assert!(shown.contains(expected), "{shown}");
    assert!(!view.unenforced);
    let pid = process_of(&node, &view);
    let inside = classes(&node, Some(pid), "eth0");
    assert!(inside.contains("5745:1 root rate 80Mbit"), "{inside}");
    let outside = classes(&node, None, "up0");
    // What the node keeps is not the containers'.
    assert!(
        outside.contains("5745:1 root rate 100Mbit") && outside.contains("rate 80Mbit"),
        "{outside}"
    );

    // What is promised to one is not promised to another, whoever is told.
    let other = || node.exec(&["--egress-min", "41mbit"], &["true"]);
    let told = other().refused();
    assert!(
        told.contains("containers are promised 50 Mbit/s of the 90mbit"),
        "{told}"
    );
    let update = |words: &[&str]| node.weir(&[&["update", "web"], words].concat());
    let told = update(&["--egress-min", "90.001mbit", "--egress-max", "none"]).refused();
    assert!(told.contains("cannot be promised"), "{told}");
    let said = update(&["--egress-min", "49mbit", "--egress-max", "60mbit"]).ok();
    assert_eq!(said, "egress 49mbit..60mbit ingress ..500mbit weight 30\n");
    let inside = classes(&node, Some(pid), "eth0");
    assert!(inside.contains("5745:1 root rate 60Mbit"), "{inside}");
    other().ok();

    // The next agent remembers, and the kernel never forgot.
    node.kill_daemon();
    let kept = classes(&node, Some(pid), "eth0");
    node.start();
    assert_eq!(classes(&node, Some(pid), "eth0"), kept);
    let told = node.exec(&["--egress-min", "42mbit"], &["true"]).refused();
    assert!(told.contains("promised 49 Mbit/s"), "{told}");
    node.weir(&["kill", "web", "--signal", "KILL"]).ok();
    node.wait_ended("web");
    node.exec(&["--egress-min", "90mbit"], &["true"]).ok();
}

#[test]
fn a_rate_that_would_not_hold_is_refused_with_what_to_do() {
    let node = Node::with(&format!(
        "{WIRE}\ncontainer.capabilities_allowed = [\"NET_ADMIN\"]"
    ));
    for (options, words) in [
        (
            &["--egress-min", "2mbit", "--egress-max", "1mbit"][..],
            &["--egress-min 2mbit is more than --egress-max 1mbit"][..],
        ),
        (
            &["--egress-max", "1mbit", "--cap-add", "NET_ADMIN"],
            &["--egress-max would not hold", "NET_ADMIN", "leave out one"],
        ),
        (
            &["--weight", "5", "--network", "host"],
            &["--weight", "on the node's network it has none", "isolated"],
        ),
    ] {
        let told = node.exec(options, &["true"]).refused();
        for words in words {
            assert!(told.contains(words), "{words:?} is not in: {told}");
        }
    }
    for wrong in ["50", "50mb", "0mbit", "1bit"] {
        let said = node.exec(&["--egress-max", wrong], &["true"]);
        assert_eq!(said.code, 64, "{said:?}");
        assert!(said.stderr.contains(wrong), "{said:?}");
    }
    node.assert_exact();
}

#[test]
fn nothing_is_promised_of_a_wire_that_nobody_knows() {
    if Path::new("/sys/class/net/up0").exists() {
        eprintln!("an interface of this machine has the name of the laboratory's");
        return;
    }
    let node = Node::new();
    let told = node.exec(&["--egress-min", "1mbit"], &["true"]).refused();
    for words in [
        "cannot enforce --egress-min",
        "[bandwidth] egress",
        "doctor",
    ] {
        assert!(told.contains(words), "{words:?} is not in: {told}");
    }
    node.exec(&["--egress-max", "1mbit"], &["true"]).ok();
    node.assert_exact();
}
