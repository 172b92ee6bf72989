//! One container at a time, from launch to end.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use weir_agent::container::{
    ContainerError, ContainerId, Kill, LaunchRequest, PortsWanted, Refusal, State, StepError,
    TaskLaunch, TaskName, TaskPart,
};
use weir_executor::record::Outcome;
use weir_executor::spec::NetworkMode;
use weir_sys::cgroup::{Cgroup, find_hierarchy};

use crate::bench::{Bench, DEADLINE, FakeNetwork, shell};

fn ports(text: &str) -> PortsWanted {
    PortsWanted::Set(text.parse().unwrap())
}

fn with_ports(name: &str, script: &str, text: &str) -> LaunchRequest {
    LaunchRequest {
        ports: ports(text),
        ..shell(name, script)
    }
}

fn outcome(state: &State) -> Option<&Outcome> {
    match state {
        State::Ended { outcome, .. } => Some(outcome),
        State::Starting | State::Running { .. } | State::Ending { .. } => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_runs_and_its_end_is_known() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let script = "echo to stdout; echo to stderr >&2; id -u; pwd; exit 3";
    let view = agent.containers.launch(shell("web", script)).await.unwrap();
    assert_eq!(view.name.as_str(), "web");
    let ended = agent.containers.wait("web".to_owned()).await.unwrap();
    assert_eq!(ended.outcome, Outcome::Exited { code: 3 });

    let sandbox = view.directory.join("sandbox");
    let stdout = fs::read_to_string(view.directory.join("stdout")).unwrap();
    assert_eq!(stdout, format!("to stdout\n65534\n{}\n", sandbox.display()));
    assert_eq!(
        fs::read_to_string(view.directory.join("stderr")).unwrap(),
        "to stderr\n"
    );
    assert_eq!(
        fs::metadata(&view.directory).unwrap().permissions().mode() & 0o7777,
        0o711
    );
    assert_eq!(fs::metadata(&sandbox).unwrap().uid(), 65534);
    assert_eq!(bench.cgroups(), Vec::<String>::new());
    assert!(bench.network.attached.lock().unwrap().is_empty());
    assert_eq!(
        outcome(&agent.containers.find("web").unwrap().state),
        Some(&ended.outcome)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocable_task_has_what_nobody_else_wants() {
    let root = Cgroup::open(&find_hierarchy().unwrap()).unwrap();
    let found = root.controllers().unwrap();
    if ["cpu", "io"]
        .iter()
        .any(|name| !found.iter().any(|one| one == name))
    {
        eprintln!(
            "weir-skip: a_revocable_task_has_what_nobody_else_wants: no cpu and io controllers in cgroup v2"
        );
        return;
    }
    let bench = Bench::new();
    let agent = bench.start().await;
    for (name, is_revocable, idle, weight) in [
        ("regular", false, "0", "default 100"),
        ("revocable", true, "1", "default 1"),
    ] {
        let task = TaskLaunch {
            id: ContainerId::from_random(u64::from(is_revocable)),
            request: shell(name, "sleep 1000"),
            part: TaskPart {
                name: TaskName {
                    framework: "f".to_owned(),
                    task: name.to_owned(),
                },
                kill_grace_ms: 0,
                volumes: Vec::new(),
                is_revocable,
            },
        };
        let view = agent.containers.launch_task(task).await.unwrap();
        let cgroup = bench.cgroup_parent().join(view.id.as_str());
        let file = |name| fs::read_to_string(cgroup.join(name)).unwrap();
        assert_eq!(file("cpu.idle").trim(), idle, "{name}");
        assert_eq!(file("io.weight").trim(), weight, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_container_gets_a_namespace_and_a_block() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let mut request = shell("web", "readlink /proc/self/ns/net");
    request.network = NetworkMode::Isolated;
    let view = agent.containers.launch(request).await.unwrap();
    assert_eq!(view.ephemeral.unwrap().count(), 128);
    agent.containers.wait("web".to_owned()).await.unwrap();
    let inside = fs::read_to_string(view.directory.join("stdout")).unwrap();
    let outside = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(inside.trim(), outside.to_str().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_a_failure_that_names_it() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let mut request = shell("web", "");
    request.argv = vec!["/nonexistent/program".to_owned()];
    let error = agent.containers.launch(request).await.unwrap_err();
    assert!(
        matches!(error, ContainerError::Failed(StepError::Start(_))),
        "{error}"
    );
    assert!(
        error.to_string().contains("/nonexistent/program"),
        "{error}"
    );
    // Answered when all is taken back: the name is free.
    let view = agent.containers.find("web").unwrap();
    assert!(
        matches!(outcome(&view.state), Some(Outcome::ExecFailed { .. })),
        "{view:?}"
    );
    agent.containers.launch(shell("web", "true")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_is_gentle_or_not() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done";
    for (kill, expected) in [
        (Kill::Gracefully, Outcome::Exited { code: 9 }),
        (
            Kill::AtOnce,
            Outcome::Signaled {
                signal: 9,
                core_dumped: false,
            },
        ),
    ] {
        let view = agent.containers.launch(shell("web", script)).await.unwrap();
        let output = view.directory.join("stdout");
        // The trap is set when it says so.
        let is_up = |_: &_| fs::read_to_string(&output).is_ok_and(|text| text == "up\n");
        agent.wait_for("web", "up", is_up).await;
        agent.containers.kill("web".to_owned(), kill).await.unwrap();
        let ended = agent.containers.wait("web".to_owned()).await.unwrap();
        assert_eq!(ended.outcome, expected);
    }
    let again = agent
        .containers
        .kill("web".to_owned(), Kill::AtOnce)
        .await
        .unwrap_err();
    assert!(
        matches!(again, ContainerError::Refused(Refusal::NotRunning { .. })),
        "{again}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn launches_of_different_containers_do_not_wait_for_each_other() {
    const LAUNCHES: usize = 8;
    let meeting = Some(Barrier::new(LAUNCHES));
    let bench = Bench::with_network(FakeNetwork {
        meeting,
        ..FakeNetwork::default()
    });
    let agent = bench.start().await;
    let mut launches = JoinSet::new();
    for number in 0..LAUNCHES {
        let containers = agent.containers.clone();
        launches.spawn(async move {
            containers
                .launch(shell(&format!("c{number}"), "true"))
                .await
                .map(drop)
        });
    }
    // Each waits in `attach` for all the others: one after the other would never end.
    while let Some(launched) = launches.join_next().await {
        launched.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_the_network_refuses_leaves_nothing() {
    let bench = Bench::new();
    bench
        .network
        .attach_faults
        .lock()
        .unwrap()
        .push_back("no link today");
    let agent = bench.start().await;
    let error = agent
        .containers
        .launch(with_ports("web", "true", "31000"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no link today");
    assert_eq!(error.remedy(), "try something else");
    assert_eq!(bench.cgroups(), Vec::<String>::new());
    let view = agent.containers.find("web").unwrap();
    assert!(
        matches!(outcome(&view.state), Some(Outcome::Aborted { reason }) if reason == "no link today")
    );
    // Nothing ran, so nothing rests.
    agent
        .containers
        .launch(with_ports("web", "true", "31000"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_detached_stays_owned_until_it_is() {
    let bench = Bench::new();
    bench
        .network
        .detach_faults
        .lock()
        .unwrap()
        .extend(["busy"; 1000]);
    let agent = bench.start().await;
    agent
        .containers
        .launch(with_ports("web", "true", "31000"))
        .await
        .unwrap();
    let is_ending =
        |view: &weir_agent::container::ContainerView| matches!(view.state, State::Ending { .. });
    agent.wait_for("web", "ending", is_ending).await;
    let refused = agent
        .containers
        .launch(with_ports("web", "true", ""))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ContainerError::Refused(Refusal::NameTaken { .. })),
        "{refused}"
    );
    bench.network.detach_faults.lock().unwrap().clear();
    agent.containers.wait("web".to_owned()).await.unwrap();
    assert!(bench.network.attached.lock().unwrap().is_empty());
    let refused = agent
        .containers
        .launch(with_ports("a", "true", "31000"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("freed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_a_running_container_change() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let launched = with_ports("web", "sleep 1000", "31000-31009");
    let view = agent.containers.launch(launched).await.unwrap();
    let update = |text: &str| agent.containers.update_ports("web".to_owned(), ports(text));
    assert_eq!(
        update("31005-31014").await.unwrap().ports.to_string(),
        "31005-31014"
    );
    let known = || {
        bench.network.attached.lock().unwrap()[&view.slot]
            .ports
            .to_string()
    };
    assert_eq!(known(), "31005-31014");

    bench
        .network
        .update_faults
        .lock()
        .unwrap()
        .push_back("no room in the map");
    let error = update("31100").await.unwrap_err();
    assert_eq!(error.to_string(), "no room in the map");
    let view = agent.containers.find("web").unwrap();
    assert_eq!(view.ports.to_string(), "31005-31014");
    assert_eq!(known(), "31005-31014");

    let error = update("40000").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("outside the agent's 31000-31999"),
        "{error}"
    );
    agent
        .containers
        .kill("web".to_owned(), Kill::AtOnce)
        .await
        .unwrap();
    agent.containers.wait("web".to_owned()).await.unwrap();
    assert!(update("31000").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_newest_of_those_that_ended_are_kept() {
    let mut bench = Bench::new();
    bench.config.ended_keep = 2;
    let agent = bench.start().await;
    let mut directories = Vec::new();
    for number in 0..4 {
        let name = format!("c{number}");
        let view = agent.containers.launch(shell(&name, "true")).await.unwrap();
        directories.push(view.directory);
        agent.containers.wait(name).await.unwrap();
    }
    let names = |agent: &crate::bench::Agent| -> Vec<String> {
        agent
            .containers
            .list()
            .iter()
            .map(|view| view.name.to_string())
            .collect()
    };
    assert_eq!(names(&agent), ["c2", "c3"]);
    agent.containers.stop().await;
    agent.vanish().await;
    let agent = bench.start().await;
    assert_eq!(names(&agent), ["c2", "c3"]);
    // Directories are removed behind the answer.
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let is_there: Vec<bool> = directories.iter().map(|path| path.exists()).collect();
        if is_there == [false, false, true, true] {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{is_there:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_cannot_hold_is_refused_or_said() {
    let mut bench = Bench::new();
    let mut limited = shell("web", "true");
    limited.limits.memory = Some("64M".parse().unwrap());
    let agent = bench.start().await;
    match agent.containers.launch(limited.clone()).await {
        // Here is the memory controller: then it holds.
        Ok(view) => {
            assert!(!view.unenforced);
            return;
        }
        Err(error) => assert!(
            matches!(
                error,
                ContainerError::Refused(Refusal::Unenforceable { .. })
            ),
            "{error}"
        ),
    }
    agent.vanish().await;
    bench.allow_unenforced = true;
    let agent = bench.start().await;
    assert!(agent.containers.launch(limited).await.unwrap().unenforced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_the_network_back_only_when_nothing_runs() {
    let bench = Bench::new();
    let agent = bench.start().await;
    agent
        .containers
        .launch(shell("web", "sleep 1000"))
        .await
        .unwrap();
    agent.containers.stop().await;
    assert_eq!(bench.network.stopped.load(Ordering::Relaxed), 0);
    agent.vanish().await;

    let agent = bench.start().await;
    agent
        .containers
        .kill("web".to_owned(), Kill::AtOnce)
        .await
        .unwrap();
    agent.containers.wait("web".to_owned()).await.unwrap();
    agent.containers.stop().await;
    assert_eq!(bench.network.stopped.load(Ordering::Relaxed), 1);
    let late = agent
        .containers
        .launch(shell("late", "true"))
        .await
        .unwrap_err();
    assert!(matches!(late, ContainerError::Gone), "{late}");
}
