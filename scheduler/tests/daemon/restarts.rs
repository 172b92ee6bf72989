//! What is there after the daemon was killed.

use weir_client::Event;
use weir_protocol::operator::Weight;
use weir_protocol::{OperationOutcome, TaskState};
use weir_resources::Role;
use weir_transport::session::Disconnect;

use crate::conversations::{answered, heard, launch, offered, task, updated};
use crate::node::{Kept, Node, task_of};
use crate::world::{World, get, within};

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_daemon_is_killed() {
    let mut world = World::running();
    let mut framework = world.framework("ci", "web");
    let first = |event| match event {
        Event::Subscribed { id, .. } => Some(id),
        _ => None,
    };
    let id = heard(&mut framework, first).await;
    let mut node = Node::register(&world, "n1", Kept::default()).await;
    let offer = offered(&mut framework).await;
    let call = launch("op-1", &offer, vec![task("t-1"), task("t-2")]);
    framework.call(call).await.unwrap();
    let (one, two) = (node.launched().await, node.launched().await);
    let mut operator = world.operator("ann");
    let weight = Weight::new("3".parse().unwrap()).unwrap();
    let role = Role::new("db").unwrap();
    within(operator.set_weight(role.clone(), weight))
        .await
        .unwrap();

    world.kill();
    world.start();

    // Whoever was connected is told by the new one, and need not wait the idle time out.
    let end = within(node.session().link().closed()).await;
    assert!(matches!(end, Disconnect::Restarted), "{end}");
    // The framework comes back by itself, under the id that it had.
    let again = |event| match event {
        Event::Subscribed { id, again, .. } => again.then_some(id),
        _ => None,
    };
    assert_eq!(heard(&mut framework, again).await, id);
    // The agent has one of the two tasks running; the other it is told to launch again, once.
    let kept = Kept {
        id: Some(node.id),
        set: Default::default(),
        tasks: vec![task_of(&one, node.id)],
    };
    let mut back = Node::register(&world, "n1", kept).await;
    assert_eq!(back.id, node.id);
    let relaunched = back.launched().await;
    assert_eq!(relaunched.task, two.task);
    assert_eq!(relaunched.operation, two.operation);
    // What the tasks leave is offered at once.
    let offer = offered(&mut framework).await;
    back.update(&one, TaskState::Running, 1).await;
    let status = updated(&mut framework).await;
    assert_eq!(status.task.as_str(), one.task.id.as_str());

    let mut operator = world.operator("bob");
    let tasks = within(operator.tasks(None, None, true)).await.unwrap();
    assert_eq!(tasks.len(), 2);
    let roles = within(operator.roles()).await.unwrap();
    let db = roles.iter().find(|entry| entry.role == role).unwrap();
    assert_eq!(db.weight, weight);

    // The same operation again is answered as before, and not done again.
    let call = launch("op-1", &offer, vec![task("t-1"), task("t-2")]);
    framework.call(call).await.unwrap();
    let outcome = answered(&mut framework, "op-1").await;
    assert!(
        !matches!(outcome, OperationOutcome::Failed(_)),
        "{outcome:?}"
    );
    assert!(world.stop());
}

#[tokio::test]
async fn a_lost_database_is_given_back_by_the_agents() {
    let mut world = World::running();
    let mut framework = world.framework("ci", "web");
    let mut node = Node::register(&world, "n1", Kept::default()).await;
    let offer = offered(&mut framework).await;
    let call = launch("op-1", &offer, vec![task("t-1")]);
    framework.call(call).await.unwrap();
    let launched = node.launched().await;
    world.kill();
    std::fs::remove_dir_all(world.path("state")).unwrap();
    world.start();
    let kept = Kept {
        id: Some(node.id),
        set: Default::default(),
        tasks: vec![task_of(&launched, node.id)],
    };
    let back = Node::register(&world, "n1", kept).await;
    assert_eq!(back.id, node.id);
    let tasks = within(world.operator("ann").tasks(None, None, true))
        .await
        .unwrap();
    assert_eq!(tasks.len(), 1);
}

#[test]
fn a_damaged_database_and_a_second_scheduler_are_refused_with_what_to_do() {
    let mut world = World::running();
    let said = world.fails_to_start();
    assert!(said.contains("another scheduler uses"), "{said}");
    assert!(world.stop());
    std::fs::write(world.path("state/scheduler.db"), "x".repeat(9000)).unwrap();
    let said = world.fails_to_start();
    assert!(said.contains("is damaged"), "{said}");
    assert!(said.contains("move it away"), "{said}");
}

/// Else systemd would try it again every two seconds for ever: only 64 tells it not to.
#[test]
fn without_certificates_it_ends_as_check_config_does() {
    let world = World::new();
    std::fs::remove_file(world.path("certs/scheduler-main-key.pem")).unwrap();
    let (code, said) = world.ends_at_start();
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("scheduler-main-key.pem"), "{said}");
}

#[test]
fn while_the_database_is_read_health_says_that_the_scheduler_is_not_ready() {
    let mut world = World::new();
    std::fs::create_dir(world.path("state")).unwrap();
    let busy = rusqlite::Connection::open(world.path("state/scheduler.db")).unwrap();
    // Whoever holds it has the daemon wait for it.
    busy.execute_batch("BEGIN EXCLUSIVE").unwrap();
    world.start_meeting(|http| {
        let answer = get(http, "/health");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("starting"), "{answer}");
        busy.execute_batch("ROLLBACK").unwrap();
    });
    assert!(world.get("/health").ends_with("ok\n"));
}
