//! An agent goes away, and another comes.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_agent::container::{ContainerError, ContainerView, Kill, PortsWanted, Refusal, State};
use weir_executor::record::Outcome;
use weir_sys::cgroup::Cgroup;

use crate::bench::{Bench, DEADLINE, shell};

fn pids(view: &ContainerView) -> (i32, i32) {
    match view.state {
        State::Running {
            executor_pid,
            init_pid,
            ..
        } => (
            executor_pid.try_into().unwrap(),
            init_pid.try_into().unwrap(),
        ),
        State::Starting | State::Ending { .. } | State::Ended { .. } => {
            panic!("{} runs: {:?}", view.name, view.state)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_outlives_the_agent_and_is_taken_over() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let mut launched = shell(
        "web",
        "while [ ! -e end ]; do sleep 0.01; done; echo over; exit 4",
    );
    launched.ports = PortsWanted::Set("31000".parse().unwrap());
    let before = agent.containers.launch(launched).await.unwrap();
    agent.vanish().await;

    let agent = bench.start().await;
    let after = agent.containers.find("web").unwrap();
    assert_eq!(after, before);
    let recovered = bench.network.recovered.lock().unwrap().clone();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].attachment.slot, before.slot);
    assert_eq!(
        i32::try_from(recovered[0].init_pid).unwrap(),
        pids(&before).1
    );
    let mut rival = shell("rival", "true");
    rival.ports = PortsWanted::Set("31000".parse().unwrap());
    let refused = agent.containers.launch(rival).await.unwrap_err();
    assert_eq!(refused.to_string(), "port 31000 is owned by container web");

    fs::write(after.directory.join("sandbox/end"), "").unwrap();
    let ended = agent.containers.wait("web".to_owned()).await.unwrap();
    assert_eq!(ended.outcome, Outcome::Exited { code: 4 });
    assert_eq!(
        fs::read_to_string(after.directory.join("stdout")).unwrap(),
        "over\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_without_an_agent_is_known_to_the_next() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let view = agent
        .containers
        .launch(shell("web", "sleep 1000"))
        .await
        .unwrap();
    agent.vanish().await;
    Cgroup::open(&bench.cgroup_parent().join(view.id.as_str()).join("task"))
        .unwrap()
        .kill()
        .unwrap();
    let container = Cgroup::open(&bench.cgroup_parent().join(view.id.as_str())).unwrap();
    assert!(container.wait_empty(DEADLINE).unwrap());

    let agent = bench.start().await;
    let ended = agent.containers.wait("web".to_owned()).await.unwrap();
    assert_eq!(
        ended.outcome,
        Outcome::Signaled {
            signal: 9,
            core_dumped: false
        }
    );
    assert!(bench.network.recovered.lock().unwrap().is_empty());
    assert_eq!(bench.cgroups(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_is_killed_takes_its_container_along() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let view = agent
        .containers
        .launch(shell("web", "sleep 1000 & sleep 1000"))
        .await
        .unwrap();
    kill(Pid::from_raw(pids(&view).0), Signal::SIGKILL).unwrap();
    let ended = agent.containers.wait("web".to_owned()).await.unwrap();
    assert!(matches!(&ended.outcome, Outcome::Lost { reason } if reason.contains("executor")));
    assert_eq!(bench.cgroups(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_owns_is_removed() {
    let bench = Bench::new();
    bench.start().await.vanish().await;
    let stray = Cgroup::create(&bench.cgroup_parent().join("straystray22/task")).unwrap();
    let directory = bench.directory.path().join("containers/straystray22");
    fs::create_dir_all(directory.join("sandbox")).unwrap();
    let agent = bench.start().await;
    assert!(!stray.path().exists());
    assert!(!directory.exists());
    agent.vanish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freed_ports_rest_across_a_restart() {
    let bench = Bench::new();
    let agent = bench.start().await;
    let request = || {
        let mut request = shell("web", "true");
        request.ports = PortsWanted::Set("31000".parse().unwrap());
        request
    };
    agent.containers.launch(request()).await.unwrap();
    agent.containers.wait("web".to_owned()).await.unwrap();
    agent.vanish().await;
    let agent = bench.start().await;
    let refused = agent.containers.launch(request()).await.unwrap_err();
    assert!(refused.to_string().contains("freed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_vanishes_in_a_launch_leaves_nothing_that_runs() {
    let bench = Bench::new();
    let agent = bench.start().await;
    // Wherever it is when the agent goes: before its row, in the middle, or running.
    for pause_us in [0, 500, 2_000, 5_000, 10_000] {
        let containers = agent.containers.clone();
        let name = format!("c{pause_us}");
        let launching = tokio::spawn(async move {
            drop(containers.launch(shell(&name, "sleep 1000")).await);
        });
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
        launching.abort();
    }
    agent.vanish().await;
    let agent = bench.start().await;
    for view in agent.containers.list().iter() {
        if let State::Running { .. } = view.state {
            let kill = agent.containers.kill(view.id.to_string(), Kill::AtOnce);
            match kill.await {
                // An executor that was never told to go ends by itself, perhaps just now.
                Ok(()) | Err(ContainerError::Refused(Refusal::NotRunning { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
        agent.containers.wait(view.id.to_string()).await.unwrap();
    }
    assert_eq!(bench.cgroups(), Vec::<String>::new());
    assert!(bench.network.attached.lock().unwrap().is_empty());
}
