//! Scheduler and agents are killed at random moments while others work with them.
//!
//! Two workers run tasks with `weir run`, a third reserves, makes volumes and takes both back. When all is quiet again,
//! nothing that was acknowledged is lost: every operation that was answered has its effect, every task began once and
//! ended as it said.
//!
//! `WEIR_TEST_SEED` chooses other moments. The same seed makes the same choices, and finds the processes elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_sys::netns;

use crate::cluster::{Cluster, Said};
use crate::node::{DEADLINE, eventually, programs};

/// For how long somebody is killed, about a dozen times.
const STORM: Duration = Duration::from_secs(40);

/// Small enough that tasks of both workers find room on either node, and more containers on record than will ever end.
const LEND: &str = "resources.lend = \"cpus:4;mem:1024;disk:4096;ports:[31000-31019]\"\n\
     container.ended_keep = 5000\n";

/// Numbers that look random, and are the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Lets time pass in which whatever is under way comes as far as it does.
    fn pass(&mut self, ms_max: u64) {
        std::thread::sleep(Duration::from_millis(self.below(ms_max)));
    }
}

/// Runs `weir` while others hold the cluster.
struct Weir {
    wire: OwnedFd,
    config: PathBuf,
}

impl Weir {
    fn of(cluster: &Cluster) -> Self {
        Self {
            wire: cluster.nodes[0].wire.try_clone().unwrap(),
            config: cluster.certificates().join("weir.toml"),
        }
    }

    fn say(&self, words: &[&str]) -> Said {
        let mut command = Command::new(programs().join("weir"));
        command
            .env("WEIR_CONFIG", &self.config)
            .args(words)
            .stdin(Stdio::null());
        let output = netns::enter(self.wire.as_fd(), || command.output());
        Said::of(&output.unwrap().unwrap())
    }

    /// Asks for a change, under one id, until it is answered.
    ///
    /// Whoever is killed leaves the question open, or says that nothing was changed.
    fn change(&self, words: &[&str], id: &str) {
        let begin = Instant::now();
        loop {
            let said = self.say(&[words, &["--operation-id", id]].concat());
            let is_gone =
                words[..2] == ["volume", "destroy"] && said.stderr.contains("has no volume");
            if said.code == Some(0) || is_gone {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "{words:?}: {said:?}");
        }
    }
}

/// A task that was run to its end.
#[derive(Debug)]
struct Ran {
    /// What it wrote, which no other does.
    token: String,
    code: i32,
    said: Said,
}

/// The fewest tasks of a worker: on a machine that is slow the last ones run when the storm is over.
const TASKS_LEAST: usize = 3;

/// Runs one task after the other.
fn run_tasks(weir: &Weir, worker: u64, mut chance: Chance, is_over: &AtomicBool) -> Vec<Ran> {
    let mut ran = Vec::new();
    while !is_over.load(Ordering::Relaxed) || ran.len() < TASKS_LEAST {
        let token = format!("worker-{worker}-task-{}", ran.len());
        let code = i32::try_from(chance.below(100)).unwrap();
        let seconds = chance.below(10);
        let script = format!("echo {token}; sleep 0.{seconds}; exit {code}");
        // Without it whoever is not yet known to the scheduler gives up when that is killed.
        let patience = ["--timeout", "120s"];
        let words = [
            &["run", "--name", &token],
            &patience[..],
            &["--", "sh", "-c", &script],
        ];
        let said = weir.say(&words.concat());
        ran.push(Ran { token, code, said });
    }
    ran
}

/// What is left of the third worker's reservations and volumes, by agent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    reserved: BTreeSet<(String, String)>,
    volumes: BTreeSet<(String, String)>,
}

/// Makes reservations and volumes, and takes some of them back.
fn change_resources(weir: &Weir, mut chance: Chance, is_over: &AtomicBool) -> Kept {
    let mut kept = Kept::default();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        let agent = format!("n{}", 1 + chance.below(2));
        let (role, volume) = (format!("role{number}"), format!("vol{number}"));
        let on = ["--agent", &agent, "--role", &role];
        let id = |what: &str| format!("{what}-{number}");
        let reserve = [&["reserve"], &on[..], &["cpus:0.01;disk:2"]].concat();
        weir.change(&reserve, &id("reserve"));
        let create = [&["volume", "create"], &on[..], &["--size", "1", &volume]].concat();
        weir.change(&create, &id("create"));
        if chance.below(2) == 0 {
            kept.reserved.insert((agent.clone(), role));
            kept.volumes.insert((agent, volume));
            continue;
        }
        let destroy = [&["volume", "destroy"], &on[..], &[&volume]].concat();
        weir.change(&destroy, &id("destroy"));
        let unreserve = [&["unreserve"], &on[..], &["cpus:0.01;disk:2"]].concat();
        weir.change(&unreserve, &id("unreserve"));
    }
    kept
}

/// Kills one or the other, and starts it again.
fn storm(cluster: &mut Cluster, mut chance: Chance) {
    let begin = Instant::now();
    while begin.elapsed() < STORM {
        chance.pass(5000);
        let index = usize::try_from(chance.below(2)).unwrap();
        match chance.below(4) {
            0 | 1 => {
                cluster.kill_scheduler();
                chance.pass(500);
                cluster.start_scheduler();
            }
            2 => {
                let node = &mut cluster.nodes[index];
                node.kill_daemon();
                // Some of those that come after it do not come far.
                node.start_and_kill(Duration::from_millis(chance.below(2000)));
                node.start();
            }
            _ => {
                cluster.nodes[index].kill_daemon();
                cluster.kill_scheduler();
                cluster.nodes[index].start();
                cluster.start_scheduler();
            }
        }
    }
}

/// Returns how often each line was written by a container of a node.
fn written(directory: &Path, lines: &mut BTreeMap<String, u32>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            written(&path, lines);
        } else if entry.file_name() == "stdout" {
            for line in fs::read_to_string(path).unwrap().lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a test that fails says how to repeat it"
)]
#[test]
fn nothing_that_was_acknowledged_is_lost_whoever_is_killed() {
    let seed = std::env::var("WEIR_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("WEIR_TEST_SEED={seed}");
    let mut chance = Chance(seed);
    let mut cluster = Cluster::with(&[LEND, LEND]);
    let weir = Weir::of(&cluster);
    let is_over = AtomicBool::new(false);
    let (ran, kept) = std::thread::scope(|scope| {
        let (weir, is_over) = (&weir, &is_over);
        let workers: Vec<_> = [0, 1]
            .map(|worker| {
                let chance = Chance(chance.next());
                scope.spawn(move || run_tasks(weir, worker, chance, is_over))
            })
            .into();
        let third = Chance(chance.next());
        let third = scope.spawn(move || change_resources(weir, third, is_over));
        storm(&mut cluster, Chance(chance.next()));
        is_over.store(true, Ordering::Relaxed);
        let ran = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        let ran: Vec<Ran> = ran.collect();
        (ran, third.join().unwrap())
    });
    cluster.await_agents(2);
    eventually("no task is left", || {
        cluster.list(&["tasks"]).is_empty().then_some(())
    });
    check_tasks(&cluster, &ran);
    check_resources(&cluster, &kept);
}

fn check_tasks(cluster: &Cluster, ran: &[Ran]) {
    let mut lines = BTreeMap::new();
    for node in &cluster.nodes {
        written(&node.state(), &mut lines);
    }
    for Ran { token, code, said } in ran {
        assert_eq!(said.code, Some(*code), "{token}: {said:?}");
        let times = lines.remove(token).unwrap_or_default();
        assert_eq!(times, 1, "{token} began so often: {said:?}");
    }
    assert!(lines.is_empty(), "nobody ran {lines:?}");
}

fn check_resources(cluster: &Cluster, kept: &Kept) {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut found = Kept::default();
    for volume in cluster.list(&["volume", "list"]) {
        found
            .volumes
            .insert((text(&volume["agent"]), text(&volume["id"])));
    }
    for reservation in cluster.list(&["reservations"]) {
        for resource in reservation["resources"].as_array().unwrap() {
            let role = text(&resource["reservations"][0]["role"]);
            found.reserved.insert((text(&reservation["agent"]), role));
        }
    }
    assert_eq!(&found, kept);
    let mut there = BTreeSet::new();
    for (index, node) in cluster.nodes.iter().enumerate() {
        let roles = node.state().join("volumes/roles");
        for role in fs::read_dir(roles).into_iter().flatten().flatten() {
            for volume in fs::read_dir(role.path()).unwrap().flatten() {
                let name = volume.file_name().into_string().unwrap();
                there.insert((format!("n{}", index + 1), name));
            }
        }
    }
    assert_eq!(there, kept.volumes, "the directories");
}
