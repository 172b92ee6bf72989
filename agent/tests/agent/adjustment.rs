//! Limits that are changed while a container runs.

use std::fs;

use weir_agent::container::ContainerView;
use weir_executor::record::Outcome;

use crate::command::pids;
use crate::crash::restart_to_crash_at;
use crate::node::Node;
use crate::refusals::{assert_tells, has_controllers};

/// Places where a change of limits is cut off, and whether it has happened then.
pub(crate) const LIMITS_POINTS: &[(&str, bool)] = &[
    ("limits-after-reclaim", false),
    ("limits-after-row", true),
    ("limits-after-kernel", true),
];

/// As every node has it, a guest with little in it, too.
pub(crate) const SLEEP: [&str; 3] = ["/bin/sh", "-c", "while :; do sleep 1000; done"];

/// Returns what a file of the container's cgroups says.
pub(crate) fn in_kernel(node: &Node, view: &ContainerView, file: &str) -> String {
    let path = node.cgroup().join(view.id.as_str()).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.trim().to_owned()
}

#[test]
fn limits_that_are_not_named_stay_and_all_outlive_the_agent() {
    let mut node = Node::with("cgroup.allow_unenforced_limits = true");
    let limits = ["--name", "web", "--cpus", "0.5", "--mem", "512M"];
    let before = node.start_container(&limits, &SLEEP);
    let update = |node: &Node, change: &[&str], expected: &str| {
        let said = node.weir(&[&["update", "web"], change].concat()).ok();
        // Where it can be enforced there is a limit of processes, too.
        assert!(said.starts_with(expected), "{change:?}: {said}");
        let listed = node.weir(&["ps"]).ok();
        let line = listed.lines().find(|line| line.starts_with("web")).unwrap();
        assert!(line.contains(said.trim_end()), "{said} in {line}");
    };
    update(&node, &["--cpus", "0.25"], "0.25 cpus 512M");
    update(&node, &["--mem", "1G"], "0.25 cpus 1G");
    update(&node, &["--cpus", "none"], "1G");
    update(
        &node,
        &["--pids", "512", "--mem-high", "512M"],
        "1G high 512M 512 pids",
    );
    update(&node, &["--mem-high", "none"], "1G 512 pids");
    update(&node, &["--cpus", "2", "--mem", "none"], "2 cpus");
    for _ in 0..2 {
        node.kill_daemon();
        node.start();
        let after = node.find("web").unwrap();
        assert_eq!(after.limits.cpus, Some("2".parse().unwrap()));
        assert_eq!(after.limits.memory, None);
        assert_eq!(pids(&after), pids(&before));
    }
    let json = node
        .weir(&["update", "web", "--mem", "none", "--json"])
        .ok();
    let view: ContainerView = serde_json::from_str(&json).unwrap();
    assert_eq!(Some(view), node.find("web"));
    // Ports are changed as before.
    let said = node.weir(&["update", "web", "--ports", "31000"]).ok();
    assert_eq!(said, "31000\n");
    node.assert_exact();
}

#[test]
fn a_change_of_limits_that_cannot_be_is_refused() {
    let node = Node::new();
    node.start_container(&["--name", "web"], &SLEEP);
    node.exec(&["--name", "over"], &["/bin/sh", "-c", "exit 0"]);
    let update = |name: &str, change: &[&str]| node.weir(&[&["update", name], change].concat());
    let missing = update("nobody", &["--cpus", "1"]).refused();
    assert_tells(&missing, &["there is no container nobody", "ps --all"]);
    let ended = update("over", &["--cpus", "1"]).refused();
    assert_tells(&ended, &["container over has ended", "ps --all"]);
    for (option, controller) in [("--cpus", "cpu"), ("--mem", "memory")] {
        let said = update("web", &[option, "8192"]);
        if has_controllers() {
            continue;
        }
        let reason = format!("the {controller} controller is not in its cgroup v2");
        let words = ["cannot enforce", option, &reason, "allow_unenforced_limits"];
        assert_tells(&said.refused(), &words);
        let limits = node.find("web").unwrap().limits;
        assert_eq!((limits.cpus, limits.memory), (None, None));
    }
    let pointless = update("web", &["--mem", "64M", "--mem-high", "1G"]).refused();
    assert_tells(&pointless, &["--mem-high 1G", "--mem 64M", "ask for less"]);
    for words in [
        &[][..],
        &["--json"],
        &["--force"],
        &["--cpus", "1", "--force"],
        &["--cpus", "max"],
        &["--mem", "1.5G"],
        &["--cpus", "1", "--ports", "31000"],
        &["--pids", "0"],
    ] {
        assert_eq!(update("web", words).code, 64, "{words:?}");
    }
    node.assert_exact();
}

#[test]
fn limits_change_in_the_kernel_while_a_container_runs() {
    if !has_controllers() {
        eprintln!(
            "weir-skip: limits_change_in_the_kernel_while_a_container_runs: no cpu and memory controllers in cgroup v2"
        );
        return;
    }
    let mut node = Node::new();
    let web = node.start_puppet(&["--name", "web", "--cpus", "1", "--mem", "64M"]);
    let before = node.find("web").unwrap();
    let is = |node: &Node, expected: [&str; 4]| {
        let files = [
            "task/cpu.max",
            "cpu.weight",
            "task/memory.max",
            "task/memory.oom.group",
        ];
        let found = files.map(|file| in_kernel(node, &before, file));
        assert_eq!(found, expected);
        assert_eq!(pids(&node.find("web").unwrap()), pids(&before));
    };
    let update = |node: &Node, change: &[&str]| node.weir(&[&["update", "web"], change].concat());
    web.says("kept = 'kept'", "");
    is(&node, ["100000 100000", "100", "67108864", "1"]);
    let said = update(&node, &["--cpus", "0.5", "--mem", "128M", "--pids", "64"]).ok();
    assert_eq!(said, "0.5 cpus 128M 64 pids\n");
    assert_eq!(in_kernel(&node, &before, "task/pids.max"), "64");
    is(&node, ["50000 100000", "50", "134217728", "1"]);
    let said = update(&node, &["--mem", "none"]).ok();
    assert_eq!(said, "0.5 cpus 64 pids\n");
    is(&node, ["50000 100000", "50", "max", "0"]);
    update(&node, &["--cpus", "none", "--pids", "none"]).ok();
    // What the configuration says.
    assert_eq!(in_kernel(&node, &before, "task/pids.max"), "4096");
    is(&node, ["max 100000", "100", "max", "0"]);

    // Less than it holds: refused with both figures, and nothing is changed.
    web.says("held = b'x' * (96 << 20)", "");
    let refused = update(&node, &["--cpus", "1", "--mem", "64M"]).refused();
    assert_tells(&refused, &["web holds ", "of memory", " 64M", "--force"]);
    is(&node, ["max 100000", "100", "max", "0"]);
    assert_eq!(node.find("web").unwrap().limits.cpus, None);
    web.says("held = None", "");
    update(&node, &["--mem", "64M"]).ok();
    is(&node, ["max 100000", "100", "67108864", "1"]);
    web.says("print(kept)", "kept");

    // The next agent leaves them, and mends what is not what is recorded.
    node.kill_daemon();
    let limit = node
        .cgroup()
        .join(before.id.as_str())
        .join("task/memory.max");
    fs::write(&limit, "max").unwrap();
    node.start();
    is(&node, ["max 100000", "100", "67108864", "1"]);
    web.says("print(kept)", "kept");

    web.says("held = b'x' * (40 << 20)", "");
    let forced = update(&node, &["--mem", "16M", "--force"]);
    // It may be ending before that is answered.
    assert!([0, 2].contains(&forced.code), "{forced:?}");
    assert_eq!(node.wait_ended("web"), Outcome::OutOfMemory);
    node.assert_exact();
}

#[test]
fn a_change_of_limits_that_is_cut_off_has_happened_or_not() {
    let mut node = Node::with("cgroup.allow_unenforced_limits = true");
    let options = ["--name", "web", "--cpus", "1", "--mem", "512M"];
    let web = node.start_container(&options, &SLEEP);
    let mut had = (1, 512_u64);
    for &(place, has_happened) in LIMITS_POINTS {
        restart_to_crash_at(&mut node, place);
        let wanted = (had.0 + 1, had.1 - 64);
        let (cpus, memory) = (wanted.0.to_string(), format!("{}M", wanted.1));
        let said = node.weir(&["update", "web", "--cpus", &cpus, "--mem", &memory]);
        assert_eq!(said.code, 1, "{said:?}");
        node.wait_crashed(place);
        node.start();
        if has_happened {
            had = wanted;
        }
        let view = node.find("web").unwrap();
        let (cpus, memory) = had;
        assert_eq!(view.limits.cpus, cpus.to_string().parse().ok(), "{place}");
        assert_eq!(
            view.limits.memory,
            format!("{memory}M").parse().ok(),
            "{place}"
        );
        assert_eq!(pids(&view), pids(&web), "{place}");
        if has_controllers() {
            let found = in_kernel(&node, &view, "task/cpu.max");
            assert_eq!(found, format!("{cpus}00000 100000"), "{place}");
            let found = in_kernel(&node, &view, "task/memory.max");
            assert_eq!(found, (memory << 20).to_string(), "{place}");
        }
        node.assert_exact();
    }
}
