//! The life of containers, from the start to every kind of end.
#![forbid(unsafe_code)]

mod node;

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use weir_executor::grace;
use weir_executor::record::{ExitRecord, Outcome};
use weir_executor::spawn::{EXECUTOR_LOG_FILE, StartError};
use weir_sys::cgroup::Cgroup;
use weir_sys::pidfd;

use crate::node::{Node, PATIENCE, wait_until};

#[test]
fn exit_code_is_recorded() {
    let node = Node::new();
    for code in [0, 1, 42, 255] {
        let mut container = node.shell(&format!("exit {code}")).start();
        assert_eq!(container.outcome(), Outcome::Exited { code });
    }
}

#[test]
fn death_by_signal_is_recorded() {
    let node = Node::new();
    let mut container = node.shell("kill -SEGV $$").start();
    let outcome = container.outcome();
    assert!(
        matches!(outcome, Outcome::Signaled { signal: 11, .. }),
        "{outcome:?}"
    );
    let mut container = node.shell("kill -KILL $$").start();
    assert_eq!(
        container.outcome(),
        Outcome::Signaled {
            signal: 9,
            core_dumped: false
        }
    );
}

#[test]
fn pids_are_those_of_the_node_and_in_the_cgroup_of_the_task() {
    let node = Node::new();
    let mut container = node.container(&["/bin/sleep", "1000"]).spawn();
    let (init, task) = container.wait_running().unwrap();
    let members: Vec<i32> = Cgroup::open(&container.spec.task_cgroup())
        .unwrap()
        .processes()
        .unwrap()
        .into_iter()
        .map(nix::unistd::Pid::as_raw)
        .collect();
    assert!(
        members.contains(&init) && members.contains(&task),
        "{init} and {task} are not both in {members:?}"
    );
    assert_ne!(init, task);
}

#[test]
fn stop_lets_the_task_end_by_itself() {
    let node = Node::new();
    let mut container = node
        .shell("trap 'echo bye; exit 7' TERM; echo up; while :; do read -t 1 x || sleep 1; done")
        .start();
    container.wait_output("up");
    let before = Instant::now();
    container.signal(Signal::SIGTERM);
    assert_eq!(container.outcome(), Outcome::Exited { code: 7 });
    assert!(
        before.elapsed() < Duration::from_secs(8),
        "the grace period was not cut short"
    );
    assert!(container.file("stdout").ends_with("bye\n"));
}

#[test]
fn task_that_does_not_handle_the_stop_dies_of_it() {
    let node = Node::new();
    let mut container = node.container(&["/bin/sleep", "1000"]).start();
    container.signal(Signal::SIGTERM);
    assert_eq!(
        container.outcome(),
        Outcome::Signaled {
            signal: 15,
            core_dumped: false
        }
    );
}

#[test]
fn stubborn_task_is_killed_with_all_its_children_when_the_grace_is_over() {
    let node = Node::new();
    let mut container = node
        .shell("trap '' TERM; (sleep 1000 &) ; echo up; while :; do sleep 1000; done")
        .with(|spec| spec.kill_grace_ms = 300)
        .start();
    container.wait_output("up");
    let before = Instant::now();
    container.signal(Signal::SIGTERM);
    container.signal(Signal::SIGTERM);
    assert_eq!(
        container.outcome(),
        Outcome::KilledAfterGrace { grace_ms: 300 }
    );
    assert!(
        before.elapsed() >= Duration::from_millis(300),
        "the grace was not granted"
    );
}

#[test]
fn whoever_ends_a_task_can_give_it_another_time_and_shorten_it() {
    let node = Node::new();
    let mut container = node
        .shell("trap '' TERM; echo up; while :; do sleep 1000; done")
        .with(|spec| spec.kill_grace_ms = 3_600_000)
        .start();
    container.wait_output("up");
    grace::write(&container.spec.directory, 1_800_000).unwrap();
    container.signal(Signal::SIGTERM);
    // Longer than what it has does not count.
    grace::write(&container.spec.directory, 7_200_000).unwrap();
    container.signal(Signal::SIGTERM);
    grace::write(&container.spec.directory, 50).unwrap();
    container.signal(Signal::SIGTERM);
    assert_eq!(
        container.outcome(),
        Outcome::KilledAfterGrace { grace_ms: 50 }
    );
}

#[test]
fn other_signals_are_passed_on() {
    let node = Node::new();
    let mut container = node
        .shell("trap 'exit 9' USR1; echo up; while :; do sleep 0.1; done")
        .start();
    container.wait_output("up");
    container.signal(Signal::SIGUSR1);
    assert_eq!(container.outcome(), Outcome::Exited { code: 9 });
}

#[test]
fn kill_of_the_cgroup_is_recorded_as_a_kill() {
    let node = Node::new();
    let mut container = node.shell("echo up; sleep 1000").start();
    Cgroup::open(&container.spec.task_cgroup())
        .unwrap()
        .kill()
        .unwrap();
    assert_eq!(
        container.outcome(),
        Outcome::Signaled {
            signal: 9,
            core_dumped: false
        }
    );
}

#[test]
fn children_end_with_the_task() {
    let node = Node::new();
    let mut container = node
        .shell("(trap '' TERM HUP; sleep 1000) & echo up")
        .start();
    // `outcome` finds the cgroup of the task empty.
    assert_eq!(container.outcome(), Outcome::Exited { code: 0 });
}

#[test]
fn orphans_are_reaped() {
    let node = Node::new();
    let script = "(true &) ; (true &) ; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status; true";
    let container = node.shell(script).start();
    assert_eq!(container.output(), "");
}

#[test]
fn program_that_is_missing_is_reported_and_recorded() {
    let node = Node::new();
    for (name, path) in [
        ("/nonexistent/program", "/nonexistent/program"),
        ("nonexistent", "/usr/local/sbin/nonexistent"),
    ] {
        let mut container = node.container(&[name]).spawn();
        let expected = Outcome::ExecFailed {
            errno: Errno::ENOENT as i32,
            path: path.into(),
            what: Errno::ENOENT.desc().into(),
        };
        match container.wait_running() {
            Err(StartError::Failed { outcome }) => assert_eq!(outcome, expected),
            other => panic!("{other:?}"),
        }
        assert_eq!(container.outcome(), expected);
    }
}

#[test]
fn program_that_may_not_be_executed_is_reported() {
    let node = Node::new();
    let mut container = node.container(&["/etc/passwd"]).spawn();
    let outcome = match container.wait_running() {
        Err(StartError::Failed { outcome }) => outcome,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(&outcome, Outcome::ExecFailed { errno, path, .. } if *errno == Errno::EACCES as i32 && path == "/etc/passwd")
    );
    assert_eq!(container.outcome(), outcome);
}

#[test]
fn working_directory_that_is_missing_is_reported_with_its_path() {
    let node = Node::new();
    let mut container = node
        .shell("true")
        .with(|spec| spec.working_directory = Some("/nonexistent/place".into()))
        .spawn();
    let error = container.wait_running().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/place"), "{error}");
    assert!(matches!(container.outcome(), Outcome::SetupFailed { .. }));
}

#[test]
fn failed_set_up_leaves_a_record_that_says_what_failed() {
    let node = Node::new();
    let mut container = node
        .shell("true")
        .with(|spec| spec.state_directory = "/".into())
        .spawn();
    let error = container
        .spawned
        .wait_ready(PATIENCE)
        .unwrap_err()
        .to_string();
    assert!(error.contains("state directory"), "{error}");
    assert!(matches!(container.outcome(), Outcome::SetupFailed { .. }));

    let prepared = node.shell("true");
    let sandbox = prepared.spec.sandbox();
    let mut container = prepared.spawn_after(|| fs::remove_dir_all(&sandbox).unwrap());
    let error = container
        .spawned
        .wait_ready(PATIENCE)
        .unwrap_err()
        .to_string();
    assert!(error.contains("sandbox"), "{error}");
    assert!(matches!(container.outcome(), Outcome::SetupFailed { .. }));
}

#[test]
fn agent_that_is_gone_before_it_says_go_takes_the_container_with_it() {
    let node = Node::new();
    let container = node.shell("touch $WEIR_SANDBOX/began").spawn();
    container.spawned.wait_ready(PATIENCE).unwrap();
    let (spec, pidfd, _guard) = container.lose_agent();
    assert!(pidfd::wait_ended(pidfd.as_fd(), Some(PATIENCE)).unwrap());
    pidfd::reap(pidfd.as_fd()).unwrap();
    let record = ExitRecord::read(&spec.directory).unwrap().unwrap();
    assert!(
        matches!(&record.outcome, Outcome::Aborted { reason } if reason.contains("agent")),
        "{record:?}"
    );
    assert!(!spec.sandbox().join("began").exists());
    assert!(
        !Cgroup::open(&spec.task_cgroup())
            .unwrap()
            .is_populated()
            .unwrap()
    );
}

#[test]
fn agent_that_is_gone_after_go_is_not_missed() {
    let node = Node::new();
    let container = node
        .shell("while ! test -e $WEIR_SANDBOX/end; do sleep 0.05; done; exit 5")
        .spawn();
    container.spawned.wait_ready(PATIENCE).unwrap();
    container.spawned.go().unwrap();
    let (spec, pidfd, _guard) = container.lose_agent();
    assert!(
        !pidfd::wait_ended(pidfd.as_fd(), Some(Duration::from_millis(300))).unwrap(),
        "it ended with the agent"
    );
    fs::write(spec.sandbox().join("end"), "").unwrap();
    assert!(pidfd::wait_ended(pidfd.as_fd(), Some(PATIENCE)).unwrap());
    pidfd::reap(pidfd.as_fd()).unwrap();
    assert_eq!(
        ExitRecord::read(&spec.directory).unwrap().unwrap().outcome,
        Outcome::Exited { code: 5 }
    );
}

#[test]
fn stop_before_go_is_an_abort() {
    let node = Node::new();
    let mut container = node.shell("true").spawn();
    container.spawned.wait_ready(PATIENCE).unwrap();
    container.signal(Signal::SIGTERM);
    let outcome = container.outcome();
    assert!(
        matches!(&outcome, Outcome::Aborted { reason } if reason.contains("stop")),
        "{outcome:?}"
    );
}

#[test]
fn stop_right_after_go_is_answered() {
    let node = Node::new();
    for _ in 0..20 {
        let mut container = node.container(&["/bin/sleep", "1000"]).spawn();
        container.spawned.wait_ready(PATIENCE).unwrap();
        container.spawned.go().unwrap();
        container.signal(Signal::SIGTERM);
        // Whether the word to go or the signal was seen first, the agent learns how it went.
        let started = container.spawned.wait_started(PATIENCE);
        assert!(
            matches!(started, Ok(_) | Err(StartError::Failed { .. })),
            "{started:?}"
        );
        let outcome = container.outcome();
        assert!(
            matches!(
                outcome,
                Outcome::Signaled { signal: 15, .. } | Outcome::Aborted { .. }
            ),
            "{outcome:?}"
        );
    }
}

#[test]
fn failure_of_the_exec_is_never_mistaken_for_an_end() {
    let node = Node::new();
    for _ in 0..50 {
        let mut container = node.container(&["/nonexistent/program"]).spawn();
        assert!(matches!(
            container.wait_running(),
            Err(StartError::Failed { .. })
        ));
        assert!(matches!(container.outcome(), Outcome::ExecFailed { .. }));
    }
}

#[test]
fn killed_executor_takes_the_container_with_it_and_leaves_no_record() {
    let node = Node::new();
    // As another user too: the change of user takes back what the kernel was told to do.
    for user in [0, 12345] {
        let mut container = node
            .shell("(sleep 1000 &); echo up; sleep 1000")
            .run_as(user)
            .start();
        container.wait_output("up");
        container.signal(Signal::SIGKILL);
        let (status, record) = container.wait_ended();
        assert_eq!(
            status,
            Some(pidfd::Status::Signaled {
                signal: 9,
                core_dumped: false
            })
        );
        assert_eq!(record, None);
        let task = Cgroup::open(&container.spec.task_cgroup()).unwrap();
        assert!(
            task.wait_empty(PATIENCE).unwrap(),
            "the task has outlived its executor"
        );
    }
}

#[test]
fn executor_killed_before_go_leaves_nothing() {
    let node = Node::new();
    let mut container = node.shell("true").spawn();
    container.spawned.wait_ready(PATIENCE).unwrap();
    container.signal(Signal::SIGKILL);
    container.wait_ended();
    let task = Cgroup::open(&container.spec.task_cgroup()).unwrap();
    assert!(task.wait_empty(PATIENCE).unwrap());
}

#[test]
fn executor_killed_at_any_moment_of_the_start_leaves_nothing() {
    let node = Node::new();
    for delay_us in (0..12_000).step_by(500) {
        let mut container = node.shell("sleep 1000").spawn();
        let until = Instant::now() + Duration::from_micros(delay_us);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        container.signal(Signal::SIGKILL);
        container.wait_ended();
        let task = Cgroup::open(&container.spec.task_cgroup()).unwrap();
        assert!(
            task.wait_empty(PATIENCE).unwrap(),
            "something has outlived an executor killed after {delay_us} us"
        );
    }
}

#[test]
fn output_is_kept_in_bounds_and_apart() {
    let node = Node::new();
    let container = node.shell("echo to-out; echo to-err >&2").start();
    let (out, err) = (container.path("stdout"), container.path("stderr"));
    container.output();
    assert_eq!(fs::read_to_string(out).unwrap(), "to-out\n");
    assert_eq!(fs::read_to_string(&err).unwrap(), "to-err\n");
    assert_eq!(
        fs::metadata(err).unwrap().permissions().mode() & 0o777,
        0o644
    );

    let mut container = node
        .probe(&["spew", "1000000"])
        .with(|spec| spec.output_bytes_max = 100_000)
        .start();
    assert_eq!(container.outcome(), Outcome::Exited { code: 0 });
    let mut total = 0;
    for name in ["stdout", "stdout.1", "stdout.2"] {
        let length = fs::metadata(container.path(name)).unwrap().len();
        assert!(
            length <= 100_000 && length.is_multiple_of(64),
            "{name} has {length} bytes"
        );
        total += length;
    }
    assert!(total > 200_000, "{total}");
    assert!(!container.path("stdout.3").exists());
}

#[test]
fn output_after_the_last_line_of_a_killed_task_is_kept() {
    let node = Node::new();
    let mut container = node.shell("printf unfinished; kill -KILL $$").start();
    container.outcome();
    assert_eq!(container.file("stdout"), "unfinished");
}

#[test]
fn disk_that_is_full_does_not_stop_the_task() {
    let node = Node::new();
    let prepared = node
        .probe(&["spew", "1000000"])
        .with(|spec| spec.output_bytes_max = 1 << 30);
    // Every write to it says ENOSPC.
    std::os::unix::fs::symlink("/dev/full", prepared.spec.directory.join("stdout")).unwrap();
    let mut container = prepared.start();
    assert_eq!(container.outcome(), Outcome::Exited { code: 0 });
    let record = ExitRecord::read(&container.spec.directory)
        .unwrap()
        .unwrap();
    assert_eq!(record.output_bytes_dropped, 1_000_000);
}

#[test]
fn log_of_a_container_without_trouble_is_empty() {
    let node = Node::new();
    let mut container = node.shell("true").start();
    container.outcome();
    assert_eq!(container.file(EXECUTOR_LOG_FILE), "");
}

#[test]
fn start_is_quick_and_the_executor_small() {
    let node = Node::new();
    let mut starts = vec![];
    let mut memory_kib = vec![];
    for _ in 0..20 {
        let prepared = node.container(&["/bin/sleep", "1000"]);
        let before = Instant::now();
        let mut container = prepared.spawn();
        let (init, _task) = container.wait_running().unwrap();
        starts.push(before.elapsed());
        memory_kib.push((anonymous_kib(container.spawned.pid), anonymous_kib(init)));
    }
    starts.sort_unstable();
    eprintln!(
        "start: median {:?}, worst {:?}",
        starts[starts.len() / 2],
        starts[starts.len() - 1]
    );
    eprintln!(
        "private memory in KiB of executor and init: {:?}",
        memory_kib[0]
    );
    // The quickest, and many times what it takes on an idle machine: this finds what got slow by a mistake, not by
    // a neighbour.
    assert!(starts[0] < Duration::from_millis(200), "{starts:?}");
    assert!(
        memory_kib
            .iter()
            .all(|(executor, init)| executor + init < 2048),
        "{memory_kib:?}"
    );
}

fn anonymous_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn processes_of_the_node_are_not_kept_waiting_by_a_silent_reader() {
    // An agent that never reads its end of the control socket.
    let node = Node::new();
    let container = node.shell("exit 0").spawn();
    container.spawned.wait_ready(PATIENCE).unwrap();
    container.spawned.go().unwrap();
    let directory = &container.spec.directory;
    wait_until("the record is written", || {
        ExitRecord::read(directory).unwrap().is_some()
    });
}
