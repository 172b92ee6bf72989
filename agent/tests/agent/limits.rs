//! What containers may use, and that the kernel holds them to it: where cgroup v2 has the controllers.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use weir_agent::container::ContainerView;
use weir_sys::cgroup::{Cgroup, find_hierarchy};

use crate::command::is_running;
use crate::node::{Node, eventually};
use crate::puppet::PYTHON;
use crate::statistics::metrics;

/// Goes on for as long as a test; a guest has no `sleep` but the shell's own.
const IDLE: [&str; 3] = ["/bin/sh", "-c", "sleep 1000"];

/// Returns whether all of these are in cgroup v2, and says that the test is skipped where they are not.
fn has(test: &str, controllers: &[&str]) -> bool {
    let found = Cgroup::open(&find_hierarchy().unwrap())
        .and_then(|root| root.controllers())
        .unwrap();
    let missing = |name: &&&str| found.iter().all(|found| found != **name);
    let missing: Vec<_> = controllers.iter().filter(missing).copied().collect();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        eprintln!("weir-skip: {test}: no {missing} controller in cgroup v2");
    }
    missing.is_empty()
}

/// Returns the cgroup of a container.
fn cgroup(node: &Node, view: &ContainerView) -> PathBuf {
    node.cgroup().join(view.id.as_str())
}

fn file(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    let text = fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim()
        .to_owned()
}

/// Returns a value of a file of `name value` lines.
fn value(directory: &Path, file_name: &str, name: &str) -> u64 {
    let text = file(directory, file_name);
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(found, _)| *found == name);
    found.map_or(0, |(_, value)| value.parse().unwrap())
}

#[test]
fn a_fork_bomb_stays_in_its_container() {
    if !has("a_fork_bomb_stays_in_its_container", &["pids"]) {
        return;
    }
    let mut node = Node::with("container.pids_max = 48");
    let bomb = node.start_puppet(&["--name", "bomb"]);
    let task = cgroup(&node, &bomb.view).join("task");
    assert_eq!(bomb.view.limits.pids.map(u32::from), Some(48));
    assert_eq!(file(&task, "pids.max"), "48");
    // Every process forks until it is refused; those that do not answer go on doing nothing.
    bomb.says(
        "first = os.getpid()\n\
         while True:\n\
        \x20   try: os.fork()\n\
        \x20   except OSError as error:\n\
        \x20       name = errno.errorcode[error.errno]\n\
        \x20       break\n\
         if os.getpid() != first:\n\
        \x20   os.closerange(3, 100)\n\
        \x20   time.sleep(3600)\n\
        \x20   os._exit(0)\n\
         print(name)",
        "EAGAIN",
    );
    eventually("all that there can be are there", || {
        (file(&task, "pids.current") == "48").then_some(())
    });
    assert!(value(&task, "pids.events", "max") > 0);
    // Nobody else notices, and who is to have more has more.
    assert_eq!(node.exec(&[], &["/bin/sh", "-c", ":"]).code, 0);
    let wide = node.start_puppet(&["--name", "wide", "--pids", "200"]);
    let forks = "for _ in range(100):\n    if os.fork() == 0:\n        os._exit(0)\nprint('done')";
    wide.says(forks, "done");

    // What a new agent's configuration says counts for those that run; what was asked for stays.
    node.stop_daemon();
    node.configure("container.pids_max = 60");
    node.start();
    assert_eq!(file(&task, "pids.max"), "60");
    let wide = cgroup(&node, &wide.view).join("task");
    assert_eq!(file(&wide, "pids.max"), "200");
    assert!(node.weir(&["ps"]).ok().contains("60 pids"));

    node.weir(&["kill", "bomb", "--signal", "KILL"]).ok();
    node.wait_ended("bomb");
    let log = node.log();
    let told = log.lines().find(|line| line.contains("limit of processes"));
    assert!(told.is_some_and(|line| line.contains("bomb")), "{log}");
}

#[test]
fn memory_of_a_container_is_limited_in_steps_and_swap_with_it() {
    if !has(
        "memory_of_a_container_is_limited_in_steps_and_swap_with_it",
        &["memory"],
    ) {
        return;
    }
    let node = Node::new();
    // More than it should have, less than it may have.
    let words = [
        PYTHON,
        "-c",
        "import time\nx = b'x' * (40 << 20)\ntime.sleep(3600)",
    ];
    let options = ["--name", "slow", "--mem", "256M", "--mem-high", "24M"];
    let slow = node.start_container(&options, &words);
    let task = cgroup(&node, &slow).join("task");
    assert_eq!(file(&task, "memory.high"), (24 << 20).to_string());
    eventually("it was slowed down", || {
        (value(&task, "memory.events", "high") > 0).then_some(())
    });
    let slow = node.find("slow").unwrap();
    assert!(is_running(&slow), "slowed down, not killed: {slow:?}");
    assert_eq!(value(&task, "memory.events", "oom_kill"), 0);

    let swap = |options: &[&str]| {
        let view = node.start_container(options, &IDLE);
        file(&cgroup(&node, &view).join("task"), "memory.swap.max")
    };
    assert_eq!(file(&task, "memory.swap.max"), "0");
    assert_eq!(swap(&["--mem", "64M", "--swap", "8M"]), "8388608");
    assert_eq!(swap(&[]), "max");

    // Together containers are left what each of them is left.
    let parent = || file(&node.cgroup(), "memory.low");
    assert_eq!(parent(), "0");
    let first = node.start_container(
        &["--name", "first", "--mem", "64M", "--mem-low", "16M"],
        &IDLE,
    );
    node.start_container(&["--name", "second", "--mem-low", "8M"], &IDLE);
    let first = cgroup(&node, &first);
    for directory in [first.clone(), first.join("task")] {
        assert_eq!(file(&directory, "memory.low"), (16 << 20).to_string());
    }
    assert_eq!(parent(), (24 << 20).to_string());
    node.weir(&["kill", "first", "--signal", "KILL"]).ok();
    node.wait_ended("first");
    assert_eq!(parent(), (8 << 20).to_string());
}

#[test]
fn a_disk_that_cannot_be_limited_is_refused_with_what_to_do() {
    let node = Node::new();
    for (limit, cause) in [
        ("/dev/null:rbps=1M", "/dev/null is not a block device"),
        ("4095:1048575:rbps=1M", "no block device 4095:1048575"),
    ] {
        let told = node.exec(&["--io-max", limit], &["true"]).refused();
        for words in ["--io-max cannot limit", cause, "lsblk --nodeps"] {
            assert!(told.contains(words), "{words:?} is not in: {told}");
        }
    }
    let told = node
        .exec(&["--mem", "8M", "--mem-high", "9M"], &["true"])
        .refused();
    assert!(
        told.contains("--mem-high 9M is more than --mem 8M"),
        "{told}"
    );
    node.assert_exact();
}

#[test]
fn memory_in_steps_swap_and_weights_change_while_a_container_runs() {
    let test = "memory_in_steps_swap_and_weights_change_while_a_container_runs";
    if !has(test, &["memory", "io"]) {
        return;
    }
    let node = Node::new();
    let view = node.start_container(&["--name", "web", "--mem", "64M"], &IDLE);
    let cgroup = cgroup(&node, &view);
    let is = |expected: [&str; 5]| {
        let found = [
            file(&cgroup, "task/memory.high"),
            file(&cgroup, "task/memory.low"),
            file(&cgroup, "memory.low"),
            file(&cgroup, "task/memory.swap.max"),
            file(&cgroup, "io.weight"),
        ];
        assert_eq!(found, expected);
        assert!(is_running(&node.find("web").unwrap()));
    };
    let update = |change: &[&str]| node.weir(&[&["update", "web"], change].concat()).ok();
    is(["max", "0", "0", "0", "default 100"]);
    let steps = ["--mem-high", "32M", "--mem-low", "16M", "--swap", "8M"];
    update(&[&steps[..], &["--io-weight", "300"]].concat());
    is(["33554432", "16777216", "16777216", "8388608", "default 300"]);
    let less = ["--mem-high", "24M", "--mem-low", "8M", "--swap", "4M"];
    update(&less);
    is(["25165824", "8388608", "8388608", "4194304", "default 300"]);
    update(&[
        "--mem-high",
        "none",
        "--mem-low",
        "none",
        "--io-weight",
        "none",
    ]);
    is(["max", "0", "0", "4194304", "default 100"]);
}

#[test]
fn a_process_that_the_kernel_kills_for_memory_is_counted() {
    let test = "a_process_that_the_kernel_kills_for_memory_is_counted";
    if !has(test, &["memory"]) {
        return;
    }
    let node = Node::new();
    let web = node.start_puppet(&["--name", "web"]);
    let kills = || metrics(&node)["weir_agent_container_oom_kills_total{container=\"web\"}"];
    assert!(kills().abs() < f64::EPSILON);
    // It has no limit of its own, with which all of it would be killed; all containers together have one.
    let all = node.cgroup();
    let held: u64 = file(&all, "memory.current").parse().unwrap();
    let limit = held + (48 << 20);
    fs::write(all.join("memory.max"), limit.to_string()).unwrap();
    web.says(
        "child = os.fork()\n\
         if child == 0:\n\
        \x20   held = b'x' * (256 << 20)\n\
        \x20   os._exit(0)\n\
         print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        "-9",
    );
    eventually("it is counted", || (kills() >= 1.0).then_some(()));
    assert!(is_running(&node.find("web").unwrap()));
}

/// A disk that nobody else uses, and its number.
struct Disk {
    file: PathBuf,
    number: String,
    _held: MutexGuard<'static, ()>,
}

impl Disk {
    /// Finds one, or says that the test is skipped.
    fn find(test: &str) -> Option<Self> {
        static HELD: Mutex<()> = Mutex::new(());
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let mut disks = fs::read_dir("/sys/block").unwrap().flatten();
        let found = disks.find_map(|entry| {
            let file = Path::new("/dev").join(entry.file_name());
            // What is mounted or part of another device cannot be had alone, and what has no medium not at all.
            let mut alone = File::options();
            alone.read(true).custom_flags(OFlag::O_EXCL.bits());
            let is_free = entry.path().join("device").exists() && alone.open(&file).is_ok();
            let number = fs::read_to_string(entry.path().join("dev")).ok()?;
            is_free.then(|| (file, number.trim().to_owned()))
        });
        let Some((file, number)) = found else {
            eprintln!("weir-skip: {test}: no disk that nobody uses");
            return None;
        };
        Some(Self {
            file,
            number,
            _held: held,
        })
    }

    /// Runs a script in a container's cgroup, in which `$0` is the disk. The container itself sees no disk; what is done with
    /// a file on one counts alike.
    fn used_in(&self, task: &Path, script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let procs = task.join("cgroup.procs");
        let script = format!("echo $$ >{} && {script}", procs.display());
        command.args(["-c", &script]).arg(&self.file);
        command
    }
}

#[test]
fn a_disk_is_read_as_fast_as_a_container_may() {
    let test = "a_disk_is_read_as_fast_as_a_container_may";
    if !has(test, &["io"]) {
        return;
    }
    let Some(disk) = Disk::find(test) else {
        return;
    };
    let node = Node::new();
    let limit = format!("{}:rbps=1M", disk.file.display());
    let view = node.start_container(&["--name", "slow", "--io-max", &limit], &IDLE);
    let task = cgroup(&node, &view).join("task");
    let read = || {
        let script = "exec dd if=$0 of=/dev/null bs=256K count=16 iflag=direct";
        let begun = Instant::now();
        let output = disk.used_in(&task, script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        begun.elapsed()
    };
    // Four seconds, but for what the kernel lets through at once.
    let limited = read();
    assert!(limited > Duration::from_secs(2), "{limited:?}");
    node.weir(&["update", "slow", "--io-max", "none"]).ok();
    assert_eq!(file(&task, "io.max"), "");
    let free = read();
    println!("4 MiB at 1 MiB/s: {limited:?}, as fast as can be: {free:?}");
    assert!(free < limited / 2, "{free:?} and {limited:?}");
}

#[test]
fn where_a_disk_is_short_a_container_has_as_much_of_it_as_it_weighs() {
    let test = "where_a_disk_is_short_a_container_has_as_much_of_it_as_it_weighs";
    if !has(test, &["io"]) {
        return;
    }
    let model = find_hierarchy().unwrap().join("io.cost.model");
    if !model.exists() {
        eprintln!("weir-skip: {test}: no io.cost.model in cgroup v2");
        return;
    }
    let Some(disk) = Disk::find(test) else {
        return;
    };
    // So slow that it is what both wait for, and divided by weight.
    let number = &disk.number;
    let speed = "bps=2097152 Xseqiops=512 Xrandiops=512";
    let speeds = format!("r{} w{}", speed.replace('X', "r"), speed.replace('X', "w"));
    fs::write(&model, format!("{number} ctrl=user model=linear {speeds}")).unwrap();
    let qos = model.with_file_name("io.cost.qos");
    let divided = "enable=1 ctrl=user rpct=0 wpct=0 min=100 max=100";
    fs::write(&qos, format!("{number} {divided}")).unwrap();

    let node = Node::new();
    let start = |name: &str, weight: &str| {
        let view = node.start_container(&["--name", name, "--io-weight", weight], &IDLE);
        let cgroup = cgroup(&node, &view);
        assert_eq!(file(&cgroup, "io.weight"), format!("default {weight}"));
        let script = "while dd if=$0 of=/dev/null bs=16K iflag=direct 2>/dev/null; do :; done";
        let reader = disk.used_in(&cgroup.join("task"), script).spawn().unwrap();
        (cgroup, reader)
    };
    let (light, mut of_light) = start("light", "100");
    let (heavy, mut of_heavy) = start("heavy", "400");
    let used = |cgroup: &Path| {
        let stat = file(cgroup, "io.stat");
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        let values = lines.find(|(found, _)| found == number).map(|(_, it)| it);
        let mut values = values.unwrap_or_default().split(' ');
        let read = values.find_map(|value| value.strip_prefix("rbytes="));
        read.map_or(0, |bytes| bytes.parse::<u64>().unwrap())
    };
    let begun = |cgroup: &Path| used(cgroup) > 256 << 10;
    let before = eventually("both are at it", || {
        (begun(&light) && begun(&heavy)).then(|| (used(&light), used(&heavy)))
    });
    let gained = eventually("both have read", || {
        let gained = (used(&light) - before.0, used(&heavy) - before.1);
        (gained.1 > 4 << 20).then_some(gained)
    });
    // Its readers go with a container.
    node.kill_all();
    of_light.wait().unwrap();
    of_heavy.wait().unwrap();
    fs::write(&qos, format!("{number} enable=0")).unwrap();
    println!("light and heavy read {gained:?} bytes");
    assert!(
        gained.1 > 2 * gained.0,
        "four times the weight, and {gained:?} bytes"
    );
}

#[test]
fn where_processors_are_short_a_container_has_as_many_as_it_weighs() {
    let test = "where_processors_are_short_a_container_has_as_many_as_it_weighs";
    if !has(test, &["cpu"]) {
        return;
    }
    let node = Node::new();
    // All on one processor, of which either might use all, so that nothing but the weights divides it.
    let spin =
        "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass";
    let start = |name: &str, cpus: &str| {
        let view = node.start_container(&["--name", name, "--cpus", cpus], &[PYTHON, "-c", spin]);
        cgroup(&node, &view)
    };
    let (light, heavy) = (start("light", "1"), start("heavy", "4"));
    assert_eq!(file(&light, "cpu.weight"), "100");
    assert_eq!(file(&heavy, "cpu.weight"), "400");
    let used = |cgroup: &Path| value(cgroup, "cpu.stat", "usage_usec");
    // Python takes its time to begin, and is pinned after that.
    let begun = |cgroup: &Path| used(cgroup) > 2_000_000;
    let before = eventually("both are at it", || {
        (begun(&light) && begun(&heavy)).then(|| (used(&light), used(&heavy)))
    });
    // As long as it takes until the heavy one has had two seconds.
    let gained = eventually("both have run", || {
        let gained = (used(&light) - before.0, used(&heavy) - before.1);
        (gained.1 > 2_000_000).then_some(gained)
    });
    println!("light and heavy had {gained:?} us");
    assert!(
        gained.1 > 2 * gained.0,
        "four times the weight, and {gained:?} us"
    );
}
