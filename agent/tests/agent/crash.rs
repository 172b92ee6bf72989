//! The daemon and the executors are killed, everywhere and at any time: nothing that was
//! acknowledged is lost, and nothing is left behind.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_agent::container::{CRASH_POINTS, ContainerView};
use weir_executor::record::Outcome;

use crate::adjustment::LIMITS_POINTS;
use crate::command::{is_running, pids, server, wait_file};
use crate::node::{Node, eventually};

/// Pools that can be tried out whole, and freed ports that rest for a moment.
const SMALL: &str = "network.container_ports = \"31000-31019\"\n\
                     network.ephemeral_ports = \"61440-65535\"\n\
                     network.ephemeral_block = 1024\n\
                     network.quarantine_ms = 300\n";
const POOL: &str = "31000-31019";
const BLOCKS: usize = 4;

/// Ends with 7 when a file `end` appears in its sandbox.
const UNTIL_END: [&str; 3] = [
    "sh",
    "-c",
    "echo up; until [ -e end ]; do sleep 0.02; done; echo over; exit 7",
];

/// What a launch is to be found as after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Never heard of: nobody was told that it exists.
    Unknown,
    /// Undone, and on record as such.
    Aborted,
    /// Running.
    Running,
}

const LAUNCH_POINTS: &[(&str, Found)] = &[
    ("launch-before-row", Found::Unknown),
    ("launch-after-row", Found::Aborted),
    ("launch-after-directory", Found::Aborted),
    ("launch-after-cgroup", Found::Aborted),
    ("launch-after-namespace", Found::Aborted),
    ("launch-after-network", Found::Aborted),
    ("launch-after-spawn", Found::Aborted),
    ("launch-after-ready", Found::Aborted),
    // Its executor waits for the agent's word, and gives up when there is no agent.
    ("launch-after-running", Found::Aborted),
    ("launch-after-go", Found::Running),
    ("launch-after-started", Found::Running),
];

const UPDATE_POINTS: &[&str] = &["update-after-row", "update-after-network"];

const KILL_POINTS: &[&str] = &["kill-before-signal", "kill-after-signal"];

const END_POINTS: &[&str] = &[
    "end-before-record",
    "end-after-record",
    "end-after-detach",
    "end-after-cgroup",
    "end-after-row",
];

const FORGET_POINTS: &[&str] = &["forget-after-directory", "forget-after-row"];

#[test]
fn every_crash_point_has_a_test() {
    let launch = LAUNCH_POINTS.iter().map(|(place, _)| place);
    let others = [UPDATE_POINTS, KILL_POINTS, END_POINTS, FORGET_POINTS].concat();
    let limits = LIMITS_POINTS.iter().map(|(place, _)| place);
    let mut tested: Vec<&str> = launch.chain(limits).chain(&others).copied().collect();
    let mut all = CRASH_POINTS.to_vec();
    tested.sort_unstable();
    all.sort_unstable();
    assert_eq!(tested, all);
}

/// Kills the daemon, and starts one that dies at `place`.
pub(crate) fn restart_to_crash_at(node: &mut Node, place: &str) {
    println!("crash at {place}");
    node.kill_daemon();
    node.start_to_crash_at(place);
}

/// Starts a daemon to die at a place that it may pass while it takes over.
fn take_over_to_crash_at(node: &mut Node, place: &str) {
    println!("crash at {place}, when taking over");
    match node.try_start(&[("WEIR_CRASH_AT", place)]) {
        Ok(()) => node.wait_crashed(place),
        Err(failed) => {
            let signal = std::os::unix::process::ExitStatusExt::signal(&failed.status);
            assert_eq!(signal, Some(9), "{place}: {failed:?}");
        }
    }
}

fn launch_is_cut_off_everywhere(network: &str) {
    let mut node = Node::with(SMALL);
    let keeper = node.start_server("keeper", 31000);
    for (&(place, found), port) in LAUNCH_POINTS.iter().zip(31009..) {
        restart_to_crash_at(&mut node, place);
        let ports = port.to_string();
        let options = [
            "--detach",
            "--name",
            "victim",
            "--ports",
            &ports,
            "--network",
            network,
        ];
        let said = node.exec(&options, &server(port));
        assert_eq!(said.code, 1, "{place}: {said:?}");
        node.wait_crashed(place);
        assert!(
            node.serves("keeper", 31000),
            "{place}: a container serves without the agent"
        );

        node.start();
        let victim = || {
            node.containers(true)
                .into_iter()
                .rfind(|view| view.name.as_str() == "victim")
        };
        match found {
            Found::Unknown => assert_eq!(victim(), None, "{place}"),
            Found::Aborted => {
                let outcome = node.wait_ended("victim");
                assert!(
                    matches!(outcome, Outcome::Aborted { .. }),
                    "{place}: {outcome:?}"
                );
                assert_eq!(node.weir(&["logs", "victim"]).ok(), "", "{place}");
            }
            Found::Running => {
                assert!(
                    victim().is_some_and(|view| is_running(&view)),
                    "{place}: {:?}",
                    victim()
                );
                node.wait_serving("victim", port);
            }
        }
        assert_eq!(node.find("keeper").as_ref(), Some(&keeper), "{place}");
        assert!(node.serves("keeper", 31000), "{place}");
        node.assert_exact();
        if found == Found::Running {
            node.weir(&["kill", "victim"]).ok();
            node.assert_exact();
        }
    }
    node.kill_all();
    // On the node's own network the two that did serve are in TIME_WAIT for a minute.
    let pool = if network == "host" {
        "31000-31017"
    } else {
        POOL
    };
    node.assert_pool_is_whole(pool, BLOCKS);
}

#[test]
fn a_launch_that_is_cut_off_anywhere_is_undone_or_done() {
    launch_is_cut_off_everywhere("isolated");
}

#[test]
fn a_launch_on_the_nodes_network_that_is_cut_off_anywhere_is_undone_or_done() {
    launch_is_cut_off_everywhere("host");
}

#[test]
fn an_update_that_is_cut_off_has_happened() {
    let mut node = Node::with(SMALL);
    node.start_server("web", 31000);
    let ports = |node: &Node| node.find("web").unwrap().ports.to_string();
    let mut had = 31000;
    for &place in UPDATE_POINTS {
        restart_to_crash_at(&mut node, place);
        let wanted = had + 1;
        let said = node.weir(&["update", "web", "--ports", &format!("31000,{wanted}")]);
        assert_eq!(said.code, 1, "{said:?}");
        node.wait_crashed(place);
        node.start();
        // It was on record, which is what the next agent goes by.
        assert_eq!(ports(&node), PortText(31000, wanted).to_string(), "{place}");
        node.assert_exact();
        assert!(node.serves("web", 31000), "{place}");
        if had != 31000 {
            // What it no longer has rests, and is free then.
            eventually(&format!("{had} can be had again"), || {
                let name = format!("heir-{had}");
                let said = node.exec(&["--name", &name, "--ports", &had.to_string()], &["true"]);
                (said.code == 0).then_some(())
            });
        }
        had = wanted;
    }
    node.kill_all();
    node.assert_pool_is_whole(POOL, BLOCKS);
}

/// Two ports as a set of ports is written.
struct PortText(u16, u16);

impl std::fmt::Display for PortText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(first, second) = self;
        let separator = if first + 1 == *second { "-" } else { "," };
        write!(f, "{first}{separator}{second}")
    }
}

#[test]
fn a_kill_that_is_cut_off_has_happened_or_not() {
    let mut node = Node::with(SMALL);
    let script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done";
    for &place in KILL_POINTS {
        for signal in ["term", "kill"] {
            let victim = node.start_container(&["--name", "victim"], &["sh", "-c", script]);
            node.wait_output(&victim, "up");
            restart_to_crash_at(&mut node, place);
            let said = node.weir(&["kill", "--signal", signal, "victim"]);
            assert_eq!(said.code, 1, "{said:?}");
            node.wait_crashed(place);
            node.start();
            if place == "kill-before-signal" {
                assert_eq!(
                    node.find("victim"),
                    Some(victim),
                    "{place}: nobody told it to end"
                );
                node.weir(&["kill", "--signal", signal, "victim"]).ok();
            }
            let expected = match signal {
                "term" => Outcome::Exited { code: 5 },
                _ => Outcome::Signaled {
                    signal: 9,
                    core_dumped: false,
                },
            };
            assert_eq!(node.wait_ended("victim"), expected, "{place} {signal}");
            node.assert_exact();
        }
    }
    node.assert_pool_is_whole(POOL, BLOCKS);
}

fn end_is_cut_off_everywhere(network: &str) {
    let mut node = Node::with(SMALL);
    for &place in END_POINTS {
        let start = |node: &Node| -> ContainerView {
            let options = ["--name", "victim", "--ports", "31010", "--network", network];
            let victim = eventually("port 31010 has rested", || {
                let said = node.exec(
                    &[&options[..], &["--detach", "--json"]].concat(),
                    &UNTIL_END,
                );
                assert!(matches!(said.code, 0 | 2), "{said:?}");
                (said.code == 0).then(|| serde_json::from_str(&said.stdout).unwrap())
            });
            node.wait_output(&victim, "up");
            victim
        };
        let check = |node: &Node, victim: &ContainerView| {
            assert_eq!(
                node.wait_ended("victim"),
                Outcome::Exited { code: 7 },
                "{place}"
            );
            assert_eq!(node.find("victim").unwrap().id, victim.id, "{place}");
            assert_eq!(node.weir(&["logs", "victim"]).ok(), "up\nover\n", "{place}");
            node.assert_exact();
        };

        let victim = start(&node);
        restart_to_crash_at(&mut node, place);
        fs::write(victim.directory.join("sandbox/end"), "").unwrap();
        node.wait_crashed(place);
        node.start();
        check(&node, &victim);

        // The same when the agent that takes over is killed, and the one after that as well.
        let victim = start(&node);
        node.kill_daemon();
        fs::write(victim.directory.join("sandbox/end"), "").unwrap();
        wait_file(&victim.directory.join("exit.json"));
        take_over_to_crash_at(&mut node, place);
        if place != "end-after-row" {
            take_over_to_crash_at(&mut node, place);
        }
        node.start();
        check(&node, &victim);
    }
    node.assert_pool_is_whole(POOL, BLOCKS);
}

#[test]
fn an_end_that_is_cut_off_anywhere_is_finished() {
    end_is_cut_off_everywhere("isolated");
}

#[test]
fn an_end_on_the_nodes_network_that_is_cut_off_anywhere_is_finished() {
    end_is_cut_off_everywhere("host");
}

#[test]
fn ended_containers_that_were_half_forgotten_are_forgotten() {
    let mut node = Node::with(&format!("{SMALL}container.ended_keep = 1\n"));
    for &place in FORGET_POINTS {
        restart_to_crash_at(&mut node, place);
        node.exec(&["--name", "first"], &["true"]);
        // The one before it is forgotten, and with it the daemon.
        node.exec(&["--name", "second"], &["true"]);
        node.wait_crashed(place);
        node.start();
        node.assert_exact();
        assert!(
            node.containers(true).len() <= 1,
            "{place}: {:?}",
            node.containers(true)
        );
    }
}

#[test]
fn an_executor_that_is_killed_takes_its_own_container_along_and_no_other() {
    let mut node = Node::with(SMALL);
    let keeper = node.start_server("keeper", 31000);
    let victim = node.start_server("victim", 31010);
    kill(Pid::from_raw(pids(&victim).0), Signal::SIGKILL).unwrap();
    let outcome = node.wait_ended("victim");
    assert!(
        matches!(&outcome, Outcome::Lost { reason } if reason.contains("executor")),
        "{outcome:?}"
    );
    node.assert_exact();

    // The same while there is no agent.
    let victim = node.start_server("second", 31011);
    node.kill_daemon();
    kill(Pid::from_raw(pids(&victim).0), Signal::SIGKILL).unwrap();
    assert!(node.serves("keeper", 31000));
    node.start();
    let outcome = node.wait_ended("second");
    assert!(
        matches!(&outcome, Outcome::Lost { reason } if reason.contains("executor")),
        "{outcome:?}"
    );
    assert_eq!(node.find("keeper"), Some(keeper));
    node.assert_exact();
    node.kill_all();
    node.assert_pool_is_whole(POOL, BLOCKS);
}

#[test]
fn an_end_while_there_is_no_agent_is_known_to_the_next_as_it_was() {
    let mut node = Node::with(SMALL);
    let options = |name: &'static str| ["--name", name];
    let exits = node.start_container(&options("exits"), &UNTIL_END);
    let dies = node.start_container(
        &options("dies"),
        &[
            "sh",
            "-c",
            "echo up; until [ -e end ]; do sleep 0.02; done; kill -SEGV $$",
        ],
    );
    let killed = node.start_container(&options("killed"), &["sleep", "1000"]);
    for view in [&exits, &dies] {
        node.wait_output(view, "up");
    }
    node.kill_daemon();
    for view in [&exits, &dies] {
        fs::write(view.directory.join("sandbox/end"), "").unwrap();
    }
    fs::write(
        node.cgroup()
            .join(killed.id.as_str())
            .join("task/cgroup.kill"),
        "1",
    )
    .unwrap();
    for view in [&exits, &dies, &killed] {
        wait_file(&view.directory.join("exit.json"));
    }
    node.start();
    assert_eq!(node.wait_ended("exits"), Outcome::Exited { code: 7 });
    let outcome = node.wait_ended("dies");
    assert!(
        matches!(outcome, Outcome::Signaled { signal: 11, .. }),
        "{outcome:?}"
    );
    let outcome = node.wait_ended("killed");
    assert_eq!(
        outcome,
        Outcome::Signaled {
            signal: 9,
            core_dumped: false
        }
    );
    node.assert_exact();
    node.assert_pool_is_whole(POOL, BLOCKS);
}

#[test]
fn an_attached_command_outlives_the_agent_and_hears_the_true_end_from_the_next() {
    let mut node = Node::with(SMALL);
    let mut command = node.command(&[
        "exec",
        "--name",
        "web",
        "--",
        UNTIL_END[0],
        UNTIL_END[1],
        UNTIL_END[2],
    ]);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let attached = command.spawn().unwrap();
    let web = eventually("it runs", || node.find("web").filter(is_running));
    node.wait_output(&web, "up");
    node.kill_daemon();
    fs::write(web.directory.join("sandbox/end"), "").unwrap();
    wait_file(&web.directory.join("exit.json"));
    node.start();
    let said = crate::command::wait_for(attached);
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (7, "up\nover\n"),
        "{said:?}"
    );
}

#[test]
fn an_agent_that_is_killed_while_it_takes_over_leaves_all_to_the_next() {
    const ROUNDS: u32 = 12;
    let mut node = Node::with(SMALL);
    let keeper = node.start_server("keeper", 31000);
    let ending = node.start_container(&["--name", "ending"], &UNTIL_END);
    node.wait_output(&ending, "up");
    // How long a start takes on this machine, in this build: the kills are spread over it.
    node.kill_daemon();
    let begin = Instant::now();
    node.start();
    let took = begin.elapsed();
    for round in 0..ROUNDS {
        if round == 0 {
            node.kill_daemon();
        }
        if round == ROUNDS / 2 {
            fs::write(ending.directory.join("sandbox/end"), "").unwrap();
            wait_file(&ending.directory.join("exit.json"));
        }
        node.start_and_kill(took * (round + 1) / ROUNDS);
        assert!(node.serves("keeper", 31000), "round {round}");
    }
    node.start();
    assert_eq!(node.find("keeper"), Some(keeper));
    assert_eq!(node.wait_ended("ending"), Outcome::Exited { code: 7 });
    node.assert_exact();
    node.kill_all();
    node.assert_pool_is_whole(POOL, BLOCKS);
}

#[test]
fn an_agent_that_is_killed_at_random_loses_and_leaks_nothing() {
    const ROUNDS: usize = 20;
    let seed = std::env::var("WEIR_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("WEIR_TEST_SEED={seed}");
    let mut chance = Chance(seed | 1);
    let mut node = Node::with(SMALL);
    // Names and ports of servers that were acknowledged; the first port is what they listen on.
    let mut acknowledged: Vec<(String, u16, u16)> = Vec::new();
    for round in 0..ROUNDS {
        let victim = (!acknowledged.is_empty()).then(|| chance.below(acknowledged.len()));
        let port = 31000 + 2 * u16::try_from(round % 10).unwrap();
        let (listen, second) = victim.map_or((port, port), |at| {
            let (_, listen, second) = acknowledged[at];
            (listen, second ^ 1)
        });
        let name = match victim {
            Some(at) => acknowledged[at].0.clone(),
            None => format!("c{round}"),
        };
        let what = if victim.is_none() { 0 } else { chance.below(3) };
        let words: Vec<String> = match what {
            0 => {
                let ports = format!("{port}-{port}");
                let head = [
                    "exec",
                    "--detach",
                    "--name",
                    &format!("c{round}"),
                    "--ports",
                    &ports,
                    "--",
                ];
                head.iter()
                    .map(|word| (*word).to_owned())
                    .chain(server(port).map(str::to_owned))
                    .collect()
            }
            1 => ["kill", "--signal", "kill", &name]
                .map(str::to_owned)
                .to_vec(),
            _ => {
                let ports = if second == listen {
                    format!("{listen}")
                } else {
                    PortText(listen.min(second), listen.max(second)).to_string()
                };
                ["update", &name, "--ports", &ports]
                    .map(str::to_owned)
                    .to_vec()
            }
        };
        println!("round {round}: {words:?}");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = node.command(&words);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let asking = command.spawn().unwrap();
        // Not to wait for anything: this is the time at which the agent happens to die.
        std::thread::sleep(Duration::from_micros(
            chance.below(60_000).try_into().unwrap(),
        ));
        node.kill_daemon();
        let said = crate::command::wait_for(asking);
        assert!(matches!(said.code, 0..=2), "{said:?}");
        node.start();
        let listed = node.containers(false);
        let was_done = said.code == 0;
        match what {
            0 => {
                let name = format!("c{round}");
                let is_there = listed.iter().any(|view| view.name.as_str() == name);
                assert!(is_there || !was_done, "{name} was acknowledged: {listed:?}");
                // One that is there without the word of the agent may be on its way out.
                let runs = || node.find(&name).is_some_and(|view| is_running(&view));
                if was_done {
                    acknowledged.push((name, port, port));
                } else if is_there && runs() {
                    node.weir(&["kill", "--signal", "kill", &name]);
                }
            }
            1 => {
                let is_there = listed.iter().any(|view| view.name.as_str() == name);
                assert!(!(is_there && was_done), "{name} was killed: {listed:?}");
                if !is_there || node.weir(&["kill", "--signal", "kill", &name]).code <= 2 {
                    acknowledged.retain(|(other, _, _)| *other != name);
                }
            }
            _ => {
                let view = listed
                    .iter()
                    .find(|view| view.name.as_str() == name)
                    .unwrap();
                let has = view.ports.contains(second);
                assert!(has || !was_done, "{name} was given {second}: {view:?}");
                let at = victim.unwrap();
                acknowledged[at].2 = if has { second } else { acknowledged[at].2 };
            }
        }
        eventually("only what is to run does", || {
            (node.containers(false).len() == acknowledged.len()).then_some(())
        });
        for (name, port, _) in &acknowledged {
            node.wait_serving(name, *port);
        }
        node.assert_exact();
    }
    node.kill_all();
    node.assert_pool_is_whole(POOL, BLOCKS);
}

/// xorshift64: repeatable, which is all that is asked of it.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}
