//! Launches, ends and updates.

use weir_protocol::{Exit, Millis, Note, Reason};

use super::*;

fn run(name: &str, holds: &str) -> World {
    let mut world = World::registered();
    world.hear(AgentEvent::Launch(Box::new(launch(name, holds))));
    world.settle();
    world
}

fn running(name: &str) -> World {
    let mut world = run(name, "cpus:1;mem:128");
    world.run_container(name);
    world
}

fn kill(name: &str) -> AgentEvent {
    AgentEvent::Kill {
        task: task_key(name),
        grace: None,
        reason: None,
    }
}

fn exited(code: i32) -> Outcome {
    Outcome::Exited { code }
}

#[test]
fn a_task_runs_and_its_updates_come_one_after_the_other() {
    let mut world = running("a");
    world.end_container("a", exited(0));
    // The end waits until somebody knows of the beginning.
    let updates = world.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].state, TaskState::Running);
    world.acknowledge(&updates[0]);
    let updates = world.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].state, TaskState::Finished);
    assert_eq!(updates[0].exit, Some(Exit::Code(0)));
    world.acknowledge(&updates[0]);
    assert_eq!(world.updates(), []);
    assert!(world.stored.tasks.is_empty());
    assert_eq!(world.stored.finished.len(), 1);
    assert!(world.containers.is_empty(), "its container was released");
}

#[test]
fn a_task_that_comes_again_is_launched_once_and_answered() {
    let mut world = running("a");
    let again = || AgentEvent::Launch(Box::new(launch("a", "cpus:1;mem:128")));
    world.updates();
    world.hear(again());
    world.settle();
    let updates = world.updates();
    assert_eq!(updates[0].state, TaskState::Running);
    assert_eq!(updates[0].update, None);
    world.end_container("a", exited(0));
    // Acknowledged out of what the scheduler was sent before.
    for _ in 0..2 {
        let task = &world.stored.tasks[0];
        let status = task.updates[0].clone();
        world.acknowledge(&status);
    }
    world.updates();
    world.hear(again());
    world.settle();
    assert_eq!(world.states(), [TaskState::Finished]);
    assert_eq!(world.runs[&task_key("a")], 1);
    assert!(world.containers.is_empty());
}

#[test]
fn an_update_comes_again_later_and_later_until_it_is_acknowledged() {
    let mut world = running("a");
    let first = world.updates().remove(0);
    for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
        world.wait(pause - 1);
        world.settle();
        assert_eq!(world.updates(), [], "after {pause} s");
        let deadline = world.session.deadline().unwrap();
        assert_eq!(deadline, world.now.since_boot + Duration::from_secs(1));
        world.wait(1);
        world.settle();
        assert_eq!(world.updates(), std::slice::from_ref(&first));
    }
    world.acknowledge(&first);
    assert_eq!(world.session.deadline(), None);
    assert_eq!(world.session.figures().updates_repeated, 8);
}

#[test]
fn updates_wait_for_the_scheduler_and_come_with_the_next_registration() {
    let mut world = running("a");
    let first = world.updates().remove(0);
    world.disconnect();
    world.end_container("a", exited(3));
    world.wait(3600);
    world.settle();
    assert_eq!(world.session.deadline(), None);
    world.connect();
    world.settle();
    assert_eq!(world.updates(), [], "not before it is registered");
    world.hear(registered());
    world.settle();
    assert_eq!(world.updates(), [first]);
}

#[test]
fn an_acknowledgement_of_something_else_is_ignored() {
    let mut world = running("a");
    let first = world.updates().remove(0);
    world.acknowledge(&TaskStatus {
        update: Some(weir_protocol::UpdateId::from_bits(12345)),
        ..first.clone()
    });
    assert_eq!(world.stored.tasks[0].updates, std::slice::from_ref(&first));
    world.acknowledge(&first);
    world.acknowledge(&first);
    let figures = world.session.figures();
    assert_eq!(
        (figures.acknowledgements, figures.acknowledgements_ignored),
        (1, 2)
    );
}

#[test]
fn a_killed_task_says_why() {
    let mut world = running("a");
    world.hear(AgentEvent::Kill {
        task: task_key("a"),
        grace: Some(Millis(100)),
        reason: Some(Reason::KilledByOperator),
    });
    world.settle();
    assert!(world.containers[&world.container_of("a")].killed);
    world.crash();
    world.register();
    world.end_container(
        "a",
        Outcome::Signaled {
            signal: 15,
            core_dumped: false,
        },
    );
    let first = world.updates().remove(0);
    world.acknowledge(&first);
    let last = world.updates().remove(0);
    assert_eq!(last.state, TaskState::Killed);
    assert_eq!(last.reason, Some(Reason::KilledByOperator));
    assert_eq!(last.exit, Some(Exit::Signal(15)));
}

#[test]
fn a_task_that_is_killed_before_its_container_is_there_is_killed_when_it_is() {
    let mut world = World::registered();
    world.hear(AgentEvent::Launch(Box::new(launch("a", "cpus:1"))));
    world.hear(kill("a"));
    world.settle();
    assert!(!world.containers[&world.container_of("a")].killed);
    world.run_container("a");
    assert!(world.containers[&world.container_of("a")].killed);
}

#[test]
fn a_killed_task_whose_container_was_never_made_does_not_begin_after_a_crash() {
    let mut world = World::registered();
    world.hear(AgentEvent::Launch(Box::new(launch("a", "cpus:1"))));
    world.hear(kill("a"));
    // The two writes, and not the launch behind the first.
    for _ in 0..world.asked.len() {
        if matches!(world.asked.front(), Some(Output::Launch { .. })) {
            world.asked.pop_front();
        } else {
            world.step();
        }
    }
    while let Some(output) = world.asked.front() {
        if matches!(output, Output::Launch { .. }) {
            world.asked.pop_front();
        } else {
            world.step();
        }
    }
    world.crash();
    world.register();
    let updates = world.updates();
    assert_eq!(updates[0].state, TaskState::Killed);
    assert_eq!(updates[0].reason, Some(Reason::TaskKilledDuringLaunch));
    assert!(world.containers.is_empty());
}

#[test]
fn a_kill_of_what_the_agent_does_not_have_is_answered() {
    let mut world = World::registered();
    world.hear(kill("nothing"));
    world.settle();
    let updates = world.updates();
    assert_eq!(updates[0].state, TaskState::Lost);
    assert_eq!(updates[0].reason, Some(Reason::TaskUnknown));
    assert_eq!(updates[0].update, None);
}

#[test]
fn a_second_kill_counts_if_it_leaves_less_time() {
    let mut world = running("a");
    let with = |grace| AgentEvent::Kill {
        task: task_key("a"),
        grace: Some(Millis(grace)),
        reason: None,
    };
    world.hear(with(1000));
    world.settle();
    for (grace, is_shorter) in [(2000, false), (1000, false), (10, true)] {
        world.hear(with(grace));
        let mut killed = false;
        while let Some(output) = world.asked.front() {
            killed |=
                matches!(output, Output::Kill { grace: Some(Millis(ms)), .. } if *ms == grace);
            world.step();
        }
        assert_eq!(killed, is_shorter, "{grace}");
    }
}

#[test]
fn a_revoked_task_is_told_why_and_others_cannot_be_revoked() {
    let mut world = run("a", "cpus{REV}:1;mem:128");
    world.run_container("a");
    world.hear(AgentEvent::Launch(Box::new(launch("b", "cpus:1"))));
    world.settle();
    world.run_container("b");
    for name in ["a", "b"] {
        world.hear(AgentEvent::Revoke {
            task: task_key(name),
            why: Note::cut("the estimate fell from 2 to 1 CPUs"),
        });
    }
    world.settle();
    assert!(world.containers[&world.container_of("a")].killed);
    assert!(!world.containers[&world.container_of("b")].killed);
    assert_eq!(world.session.figures().revocations_refused, 1);
    world.updates();
    world.end_container("a", exited(0));
    let status = world.stored.tasks[0].updates[1].clone();
    assert_eq!(status.state, TaskState::Killed);
    assert_eq!(status.reason, Some(Reason::Revoked));
    let message = status.message.unwrap();
    assert_eq!(message.as_str(), "the estimate fell from 2 to 1 CPUs");
}

#[test]
fn a_task_that_holds_what_was_never_reserved_or_made_is_lost() {
    for holds in [
        "cpus(db, alice):1",
        "disk(db)[data:data:rw]:10",
        "cpus:5",
        "ports:[31009-31010]",
        "gpus:1",
    ] {
        let mut world = run("a", holds);
        assert!(world.containers.is_empty());
        let update = world.updates().remove(0);
        assert_eq!(update.state, TaskState::Lost, "{holds}");
        assert_eq!(update.reason, Some(Reason::ResourcesUnknown), "{holds}");
        assert!(update.update.is_some());
    }
}

#[test]
fn tasks_do_not_hold_more_together_than_there_is() {
    let mut world = run("a", "cpus:3;port_blocks:1");
    world.hear(AgentEvent::Launch(Box::new(launch("b", "cpus:2"))));
    world.settle();
    let update = world.updates().remove(0);
    assert_eq!(update.state, TaskState::Lost);
    let message = update.message.unwrap();
    assert!(message.as_str().contains("there is only 1"), "{message}");
    world.run_container("a");
    world.end_container("a", exited(0));
    world.hear(AgentEvent::Launch(Box::new(launch("c", "cpus:2"))));
    world.settle();
    assert_eq!(world.containers.len(), 1);
}

#[test]
fn a_launch_that_failed_says_how() {
    let mut world = run("a", "cpus:1");
    let id = world.container_of("a");
    world.containers.clear();
    world.tell(Input::NotLaunched {
        id,
        failure: crate::session::LaunchFailure::Final {
            state: TaskState::Error,
            reason: Reason::TaskInvalid,
            message: Note::cut("no container can run as `nobdy`"),
        },
    });
    world.settle();
    let update = world.updates().remove(0);
    assert_eq!(update.state, TaskState::Error);
    assert_eq!(update.reason, Some(Reason::TaskInvalid));
    assert!(!world.stored.tasks[0].progress.phase.is_live());
}

#[test]
fn a_launch_that_the_end_of_the_agent_interrupted_is_made_again_three_times() {
    let mut world = run("a", "cpus:1");
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let id = world.container_of("a");
        assert!(
            seen.insert(id.clone()),
            "each attempt has its own container"
        );
        world.containers.get_mut(&id).unwrap().state = ContainerState::Ended {
            outcome: Outcome::Aborted {
                reason: "the agent ended while it was being started".to_owned(),
            },
            ended_at: world.now.unix,
        };
        world.crash();
        world.register();
    }
    let update = world.updates().remove(0);
    assert_eq!(update.state, TaskState::Failed);
    assert_eq!(update.reason, Some(Reason::AgentRestarted));
}

#[test]
fn a_task_that_the_node_took_with_it_is_lost() {
    let mut world = running("a");
    let id = world.container_of("a");
    world.containers.get_mut(&id).unwrap().state = ContainerState::Ended {
        outcome: Outcome::Lost {
            reason: "its executor was killed, and the container with it".to_owned(),
        },
        ended_at: world.now.unix,
    };
    world.boot = 2;
    world.crash();
    world.register();
    let first = world.updates().remove(0);
    world.acknowledge(&first);
    let last = world.updates().remove(0);
    assert_eq!(last.state, TaskState::Lost);
    assert_eq!(last.reason, Some(Reason::AgentRestarted));
}

#[test]
fn reconciliation_says_what_was_last_sent_and_asks_for_no_answer() {
    let mut world = running("a");
    world.end_container("a", exited(0));
    world.updates();
    world.hear(AgentEvent::Reconcile(vec![
        task_key("a"),
        task_key("unknown"),
    ]));
    world.settle();
    let calls: Vec<AgentCall> = world.heard.drain(..).collect();
    let AgentCall::StatusUpdate { status, latest, .. } = &calls[0] else {
        panic!("{calls:?}");
    };
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(*latest, TaskState::Finished);
    assert_eq!(
        (status.reason, status.update),
        (Some(Reason::Reconciliation), None)
    );
    let AgentCall::StatusUpdate { status, .. } = &calls[1] else {
        panic!("{calls:?}");
    };
    assert_eq!(status.state, TaskState::Lost);
    assert_eq!(status.update, None);
}

#[test]
fn nothing_is_said_or_launched_before_it_is_durable() {
    let mut world = World::registered();
    world.hear(AgentEvent::Launch(Box::new(launch("a", "cpus:1"))));
    assert!(matches!(world.asked.front(), Some(Output::Write { .. })));
    assert_eq!(world.asked.len(), 1);
    let Some(Output::Write { id, .. }) = world.asked.pop_front() else {
        panic!("there was a write");
    };
    world.tell(Input::WriteFailed(id));
    assert!(world.asked.is_empty());
    world.wait(1);
    world.settle();
    world.run_container("a");
    assert_eq!(world.states(), [TaskState::Running]);
}
