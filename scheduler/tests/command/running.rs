//! `weir run`.

use weir_protocol::{
    Action, AgentId, AgentName, Ceilings, Exit, FrameworkCall, FrameworkCapability, FrameworkEvent,
    Line, Millis, Offer, OfferId, Operation, OperationId, OperationOutcome, Reason, Source, TaskId,
    TaskSpec, TaskState, TaskStatus, UnixMs, UpdateId, VolumeSizes,
};
use weir_resources::{Attributes, Kind, Resources};

use super::stage::{
    FRAMEWORK, FrameworkTalk, Running, Scheduler, Stage, assert_done, assert_exit, stderr, stdout,
};

const AGENT: AgentId = AgentId::from_bits(1);

fn offer(id: u128, text: &str) -> FrameworkEvent {
    let resources: Resources = text.parse().unwrap();
    FrameworkEvent::Offers(vec![Offer {
        id: OfferId::from_bits(id),
        agent: AGENT,
        agent_name: AgentName::new("n1").unwrap(),
        hostname: Line::new("n1").unwrap(),
        addresses: [].into(),
        attributes: Attributes::default(),
        kind: if resources.revocable().is_empty() {
            Kind::Regular
        } else {
            Kind::Revocable
        },
        resources,
        expires_after: None,
        volume_sizes: VolumeSizes::Accounted,
    }])
}

const ENOUGH: &str = "cpus:4;mem:4096;disk:1000;ports:[31000-31009];port_blocks:8;\
                      disk(db, anna)[pgdata:data:rw]:100";

fn update(task: &TaskId, state: TaskState, exit: Option<Exit>) -> FrameworkEvent {
    FrameworkEvent::Update(TaskStatus {
        task: task.clone(),
        state,
        agent: Some(AGENT),
        source: Source::Agent,
        reason: None,
        message: None,
        timestamp: UnixMs(1),
        update: Some(UpdateId::from_bits(9)),
        exit,
    })
}

/// Waits for the ACCEPT, and says that its LAUNCH is done.
async fn take_launch(talk: &mut FrameworkTalk) -> (Vec<OfferId>, OperationId, TaskSpec) {
    let FrameworkCall::Accept {
        offers, operations, ..
    } = talk.hear_of("ACCEPT").await
    else {
        panic!("ACCEPT is ACCEPT");
    };
    let [
        Operation {
            id,
            action: Action::Launch(tasks),
        },
    ] = &operations[..]
    else {
        panic!("one LAUNCH, and not {operations:?}");
    };
    talk.say(FrameworkEvent::Operation {
        id: id.clone(),
        outcome: OperationOutcome::Finished { notes: Vec::new() },
    })
    .await;
    (offers, id.clone(), tasks[0].clone())
}

/// Starts `weir run`, and brings its task to run.
async fn running(stage: &Stage, words: &[&str]) -> (Scheduler, FrameworkTalk, Running, TaskId) {
    let mut scheduler = Scheduler::start(stage);
    let command = stage.start(&scheduler, words);
    let (mut talk, _, _) = scheduler.subscribe().await;
    talk.say(offer(1, ENOUGH)).await;
    let (_, _, task) = take_launch(&mut talk).await;
    talk.say(update(&task.id, TaskState::Running, None)).await;
    talk.hear_of("ACKNOWLEDGE").await;
    (scheduler, talk, command, task.id)
}

#[tokio::test]
async fn a_task_takes_what_it_needs_of_an_offer_with_room_and_its_status_is_the_commands() {
    let stage = Stage::new();
    let mut scheduler = Scheduler::start(&stage);
    let words = [
        "run",
        "--role",
        "db",
        "--name",
        "web",
        "--cpus",
        "1",
        "--mem",
        "256",
        "--ports",
        "2",
        "--volume",
        "pgdata:here:ro",
        "--env",
        "A=b",
        "--user",
        "www",
        "--grace",
        "7s",
        "--egress-max",
        "200mbit",
        "--",
        "./server",
        "--fast",
    ];
    let command = stage.start(&scheduler, &words);
    let (mut talk, info, id) = scheduler.subscribe().await;
    assert_eq!(
        (info.name.as_str(), info.role.as_str(), id),
        ("web", "db", None)
    );
    talk.say(offer(1, "cpus:0.5;mem:4096")).await;
    let FrameworkCall::Decline { offers, filters } = talk.hear().await.call else {
        panic!("what has no room is declined");
    };
    assert_eq!(
        (offers, filters.refuse),
        (vec![OfferId::from_bits(1)], Millis(5_000))
    );
    talk.say(offer(2, ENOUGH)).await;
    let (offers, _, task) = take_launch(&mut talk).await;
    assert_eq!(offers, [OfferId::from_bits(2)]);
    assert_eq!(
        task.resources.to_string(),
        "cpus:1; disk(db, anna)[pgdata:here:ro]:100; mem:256; port_blocks:1; ports:[31000-31001]"
    );
    assert!(task.id.as_str().starts_with("web."), "{}", task.id);
    assert_eq!(task.kill_grace, Millis(7_000));
    let ceilings = Ceilings {
        egress: "200mbit".parse().ok(),
        ingress: None,
    };
    assert_eq!(task.ceilings, ceilings);
    assert_eq!(task.command.user, Some(Line::new("www").unwrap()));
    let variables = [("A".to_owned(), "b".to_owned())];
    assert_eq!(task.command.environment.variables(), variables);
    talk.hear_of("SUPPRESS").await;
    talk.say(update(&task.id, TaskState::Running, None)).await;
    talk.hear_of("ACKNOWLEDGE").await;
    talk.say(update(&task.id, TaskState::Failed, Some(Exit::Code(3))))
        .await;
    talk.hear_of("ACKNOWLEDGE").await;
    talk.hear_of("TEARDOWN").await;
    let output = command.output().await;
    assert_exit(&output, 3);
    assert!(output.stdout.is_empty(), "stdout is for data");
    assert!(
        stderr(&output).contains("runs on agent n1"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_lost_task_is_a_failure_with_what_to_try() {
    let stage = Stage::new();
    let (_scheduler, mut talk, command, task) = running(&stage, &["run", "--", "true"]).await;
    talk.say(FrameworkEvent::Update(TaskStatus {
        task,
        state: TaskState::Lost,
        agent: Some(AGENT),
        source: Source::Scheduler,
        reason: Some(Reason::AgentRemoved),
        message: None,
        timestamp: UnixMs(1),
        update: None,
        exit: None,
    }))
    .await;
    talk.hear_of("TEARDOWN").await;
    let output = command.output().await;
    assert_exit(&output, 1);
    let talked = stderr(&output);
    assert!(
        talked.contains("is TASK_LOST (REASON_AGENT_REMOVED)"),
        "{talked}"
    );
    assert!(talked.contains("\ntry: "), "{talked}");
}

#[tokio::test]
async fn a_task_is_followed_through_a_restart_of_the_scheduler() {
    let stage = Stage::new();
    let (scheduler, talk, command, task) = running(&stage, &["run", "--", "true"]).await;
    drop(talk);
    let mut scheduler = scheduler.restart().await;
    let (mut talk, _, id) = scheduler.subscribe().await;
    assert_eq!(id, Some(FRAMEWORK));
    let FrameworkCall::Reconcile { tasks, .. } = talk.hear_of("RECONCILE").await else {
        panic!("RECONCILE is RECONCILE");
    };
    assert_eq!(tasks[0].task, task);
    talk.say(update(&task, TaskState::Finished, Some(Exit::Code(0))))
        .await;
    talk.hear_of("TEARDOWN").await;
    let output = command.output().await;
    assert_done(&output);
    assert!(
        stderr(&output).contains("the scheduler is back"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn ctrl_c_kills_the_task_and_waits_for_its_end() {
    let stage = Stage::new();
    let (_scheduler, mut talk, command, task) = running(&stage, &["run", "--", "true"]).await;
    command.interrupt();
    let FrameworkCall::Kill { grace, .. } = talk.hear_of("KILL").await else {
        panic!("KILL is KILL");
    };
    assert_eq!(grace, None);
    talk.say(update(&task, TaskState::Killing, None)).await;
    talk.hear_of("ACKNOWLEDGE").await;
    command.interrupt();
    let FrameworkCall::Kill { grace, .. } = talk.hear_of("KILL").await else {
        panic!("KILL is KILL");
    };
    assert_eq!(grace, Some(Millis(0)));
    talk.say(update(&task, TaskState::Killed, Some(Exit::Signal(9))))
        .await;
    talk.hear_of("TEARDOWN").await;
    assert_exit(&command.output().await, 137);
}

#[tokio::test]
async fn whoever_detaches_is_told_the_task_and_leaves_it_running() {
    let stage = Stage::new();
    let words = [
        "run",
        "--detach",
        "--revocable",
        "--network",
        "host",
        "--",
        "true",
    ];
    let mut scheduler = Scheduler::start(&stage);
    let command = stage.start(&scheduler, &words);
    let (mut talk, info, _) = scheduler.subscribe().await;
    assert!(
        info.capabilities
            .contains(&FrameworkCapability::RevocableResources)
    );
    talk.say(offer(1, "cpus{REV}:1;mem{REV}:64")).await;
    let (_, _, task) = take_launch(&mut talk).await;
    assert_eq!(task.resources.to_string(), "cpus{REV}:0.1; mem{REV}:64");
    talk.hear_of("SUPPRESS").await;
    talk.say(update(&task.id, TaskState::Running, None)).await;
    talk.hear_of("ACKNOWLEDGE").await;
    assert!(talk.is_over().await, "no TEARDOWN");
    let output = command.output().await;
    assert_done(&output);
    assert_eq!(stdout(&output), format!("{FRAMEWORK}/{}\n", task.id));
}

#[tokio::test]
async fn who_is_offered_nothing_gives_up_in_time() {
    let stage = Stage::new();
    let mut scheduler = Scheduler::start(&stage);
    let command = stage.start(&scheduler, &["run", "--timeout", "3s", "--", "true"]);
    let (mut talk, _, _) = scheduler.subscribe().await;
    talk.say(offer(1, "cpus:8;mem:1")).await;
    talk.hear_of("TEARDOWN").await;
    let output = command.output().await;
    assert_exit(&output, 1);
    let said = "agent n1 has mem 1, and 64 are wanted";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
}
