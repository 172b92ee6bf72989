//! Registering, leaving, and what is said of the agent as a whole.

use weir_protocol::{ErrorCode, Estimate, Failure, PortBlocks, Registration};

use super::*;

fn registration(world: &mut World) -> Registration {
    match world.heard.pop_front() {
        Some(AgentCall::Register(registration)) => *registration,
        other => panic!("{other:?} is no registration"),
    }
}

fn failure(code: ErrorCode) -> Failure {
    Failure::new(code, "a reason", "a remedy")
}

#[test]
fn the_first_registration_has_no_id_and_the_next_has_the_one_it_got() {
    let mut world = World::new();
    world.connect();
    world.settle();
    let first = registration(&mut world);
    assert_eq!((first.id, first.tasks_total), (None, 0));
    world.hear(registered());
    world.settle();
    world.crash();
    world.connect();
    world.settle();
    assert_eq!(registration(&mut world).id, Some(AgentId::from_bits(1)));
}

#[test]
fn a_registration_names_every_task() {
    let mut world = World::with("cpus:1000");
    world.register();
    for number in 0..150 {
        let launch = launch(&format!("t{number}"), "cpus:1");
        world.hear(AgentEvent::Launch(Box::new(launch)));
    }
    world.settle();
    world.disconnect();
    world.connect();
    world.settle();
    let total = registration(&mut world).tasks_total;
    let named: usize = world
        .heard
        .iter()
        .map(|call| match call {
            AgentCall::Tasks(tasks) => tasks.len(),
            other => panic!("{other:?} before it is registered"),
        })
        .sum();
    assert_eq!((total, named), (150, 150));
}

/// The scheduler may have lost its database meanwhile: it knows nothing of the change.
#[test]
fn a_registration_waits_for_a_change_that_is_under_way_and_shows_what_it_makes() {
    let mut world = World::registered();
    let volume = "disk(db)[data:data:rw]:10";
    world.hear(apply(
        "create",
        0,
        ResourceOperation::Create(resources(volume)),
    ));
    // As far as the record that it has begun, and not the directory.
    while world.stored.begun.is_none() {
        assert!(world.step());
    }
    world.crash();
    world.connect();
    assert!(world.heard.is_empty());
    world.settle();
    let shown = registration(&mut world).checkpointed;
    assert_eq!(shown.version(), SetVersion(1));
    assert_eq!(*shown.resources(), resources(volume));
    assert_eq!(world.volumes.len(), 1);
}

#[test]
fn a_registration_shows_nothing_that_is_not_durable() {
    let mut world = World::registered();
    let change = ResourceOperation::Reserve(resources("cpus(db, alice):1"));
    world.hear(apply("r", 0, change));
    let Some(Output::Write { id, changes }) = world.asked.pop_front() else {
        panic!("there was a write");
    };
    world.disconnect();
    world.connect();
    assert!(world.asked.is_empty());
    world.write(id, &changes);
    world.settle();
    let registration = registration(&mut world);
    assert_eq!(registration.checkpointed.version(), SetVersion(1));
}

#[test]
fn a_refused_registration_closes_the_connection() {
    let mut world = World::new();
    world.connect();
    world.hear(AgentEvent::RegistrationRefused(failure(
        ErrorCode::AgentNameTaken,
    )));
    world.settle();
    assert!(matches!(world.hung_up, Some(HangUp::Refused(_))));
    assert!(world.session.wants_connection());
}

#[test]
fn estimates_are_said_when_they_change_and_before_they_expire() {
    let mut world = World::registered();
    let estimates = |world: &mut World| -> Vec<Estimate> {
        world.settle();
        world
            .heard
            .drain(..)
            .map(|call| match call {
                AgentCall::Estimate(estimate) => estimate,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let lent = || resources("cpus{REV}:2");
    world.tell(Input::Estimated(Resources::new()));
    assert_eq!(estimates(&mut world), [], "nothing is lent");
    world.tell(Input::Estimated(lent()));
    world.tell(Input::Estimated(lent()));
    let first = estimates(&mut world);
    assert_eq!(first.len(), 1);
    world.wait(29);
    world.tell(Input::Estimated(lent()));
    assert_eq!(estimates(&mut world), []);
    world.wait(1);
    world.tell(Input::Estimated(lent()));
    let renewed = estimates(&mut world);
    assert!(renewed[0].version() > first[0].version());
    world.tell(Input::Estimated(Resources::new()));
    assert!(estimates(&mut world)[0].resources().is_empty());
    world.tell(Input::Estimated(lent()));
    let before = estimates(&mut world).remove(0);
    // Numbers go on within a boot, though nothing of them is kept.
    world.wait(1);
    world.crash();
    world.tell(Input::Estimated(lent()));
    world.connect();
    world.settle();
    let estimate = registration(&mut world).estimate.unwrap();
    assert!(estimate.version() > before.version());
}

/// A world whose agent was started again with a task on what it holds.
fn started_again_with(holds: &str) -> World {
    let mut world = World::new();
    world.tell(Input::Estimated(resources("cpus{REV}:2")));
    world.register();
    world.hear(AgentEvent::Launch(Box::new(launch("t", holds))));
    world.settle();
    world.crash();
    world.connect();
    world.settle();
    world
}

#[test]
fn tasks_on_what_is_lent_have_a_registration_wait_for_the_first_estimate() {
    let mut world = started_again_with("cpus{REV}:1");
    assert!(world.heard.is_empty(), "to lend nothing would revoke it");
    world.tell(Input::Estimated(resources("cpus{REV}:1")));
    world.settle();
    let lent = registration(&mut world).estimate.unwrap();
    assert_eq!(*lent.resources(), resources("cpus{REV}:1"));
    world.disconnect();
    world.connect();
    world.settle();
    assert!(registration(&mut world).estimate.is_some());
}

#[test]
fn no_registration_waits_for_an_estimate_that_does_not_come_or_that_no_task_needs() {
    let mut world = started_again_with("cpus:1");
    assert_eq!(registration(&mut world).estimate, None);
    let mut world = started_again_with("cpus{REV}:1");
    let due = world.session.deadline().unwrap();
    assert!(due <= world.now.since_boot + Duration::from_secs(5));
    world.wait(5);
    world.settle();
    assert_eq!(registration(&mut world).estimate, None);
}

#[test]
fn an_estimate_lasts_no_longer_for_being_registered_with() {
    let mut world = World::new();
    world.tell(Input::Estimated(resources("cpus{REV}:2")));
    world.wait(40);
    world.connect();
    world.settle();
    let estimate = registration(&mut world).estimate.unwrap();
    assert_eq!(estimate.ttl(), Millis(20_000));
}

#[test]
fn an_estimate_that_has_expired_is_not_registered() {
    let mut world = World::new();
    world.tell(Input::Estimated(resources("cpus{REV}:2")));
    world.wait(61);
    world.connect();
    world.settle();
    assert_eq!(registration(&mut world).estimate, None);
}

#[test]
fn blocks_of_ports_are_said_when_they_change() {
    let mut world = World::registered();
    for (free, held) in [(5, 0), (5, 0), (4, 1)] {
        world.tell(Input::PortBlocksCounted { free, held });
    }
    world.settle();
    let said: Vec<PortBlocks> = world
        .heard
        .drain(..)
        .map(|call| match call {
            AgentCall::PortBlocks(blocks) => blocks,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].version < said[1].version);
    assert_eq!((said[1].free, said[1].held), (4, 1));
}

#[test]
fn a_drained_agent_ends_its_tasks_tells_of_them_and_leaves() {
    let mut world = World::registered();
    world.hear(AgentEvent::Launch(Box::new(launch("a", "cpus:1"))));
    world.settle();
    world.run_container("a");
    world.hear(AgentEvent::Drain {
        grace_max: Some(Millis(10)),
    });
    world.hear(AgentEvent::Launch(Box::new(launch("late", "cpus:1"))));
    world.settle();
    assert!(world.containers[&world.container_of("a")].killed);
    world.end_container("a", Outcome::Exited { code: 0 });
    let mut told = Vec::new();
    while world.hung_up.is_none() {
        let updates = world.updates();
        assert!(!updates.is_empty(), "it does not leave: {told:?}");
        for status in updates {
            told.push((status.task.to_string(), status.state, status.reason));
            world.acknowledge(&status);
        }
    }
    use weir_protocol::Reason::AgentDraining;
    told.sort();
    assert_eq!(
        told,
        [
            ("a".to_owned(), TaskState::Running, None),
            ("a".to_owned(), TaskState::Killed, Some(AgentDraining)),
            ("late".to_owned(), TaskState::Lost, Some(AgentDraining)),
        ]
    );
    assert_eq!(world.hung_up, Some(HangUp::Left));
    assert_eq!(world.stored.agent, None);
    assert!(!world.session.wants_connection());
    world.crash();
    assert!(
        world.session.wants_connection(),
        "until it is started again"
    );
}

#[test]
fn a_removed_agent_ends_everything_and_comes_back_as_a_new_one_with_its_set() {
    let mut world = World::registered();
    let change = ResourceOperation::Reserve(resources("cpus(db, alice):1"));
    world.hear(apply("r", 0, change));
    world.hear(AgentEvent::Launch(Box::new(launch("a", "cpus:1"))));
    world.settle();
    world.run_container("a");
    world.hear(AgentEvent::Shutdown(failure(ErrorCode::AgentRemoved)));
    world.settle();
    assert!(matches!(world.hung_up, Some(HangUp::Removed(_))));
    assert!(!world.session.wants_connection(), "while a task is left");
    world.end_container("a", Outcome::Exited { code: 0 });
    assert!(world.session.wants_connection());
    assert!(world.stored.tasks.is_empty());
    world.connect();
    world.settle();
    let registration = registration(&mut world);
    assert_eq!((registration.id, registration.tasks_total), (None, 0));
    assert_eq!(registration.checkpointed.version(), SetVersion(1));
}
