//! Any history, with a crash between any two steps: nothing is lost, nothing runs twice, every
//! operation is answered and stays answered.

use proptest::prelude::*;
use weir_protocol::UpdateId;

use super::*;

/// What may happen next, chosen by two bytes.
type Choice = (u8, u8);

/// The tasks and volumes of these histories are few, so that they meet.
const TASKS: u8 = 6;
const VOLUMES: u8 = 2;

/// The scheduler of these histories: it asks for anything, repeats itself, and writes down what it
/// is told.
#[derive(Default)]
struct Scheduler {
    /// Everything that was ever said to the agent, to be said again.
    said: Vec<AgentEvent>,
    operations: u32,
    /// What each operation was answered.
    answers: BTreeMap<OperationKey, ApplyOutcome>,
    /// The changes that were made, by the version that they made.
    applied: BTreeMap<u64, ResourceOperation>,
    asked: BTreeMap<OperationKey, ResourceOperation>,
    /// What each task's updates said, in the order in which they were first seen.
    seen: BTreeMap<TaskKey, Vec<(UpdateId, TaskState)>>,
    acknowledged: BTreeSet<UpdateId>,
}

impl Scheduler {
    /// Looks at what the agent has said.
    fn read(&mut self, world: &mut World) {
        for call in std::mem::take(&mut world.heard) {
            match call {
                AgentCall::OperationStatus { operation, outcome } => {
                    if let ApplyOutcome::Applied { version } = &outcome {
                        let change = self.asked[&operation].clone();
                        self.applied.insert(version.0, change);
                    }
                    let first = self
                        .answers
                        .entry(operation)
                        .or_insert_with(|| outcome.clone());
                    assert_eq!(*first, outcome, "an answer has changed");
                }
                AgentCall::StatusUpdate {
                    framework, status, ..
                } => {
                    let Some(update) = status.update else {
                        continue;
                    };
                    let key = TaskKey {
                        framework,
                        task: status.task.clone(),
                    };
                    let seen = self.seen.entry(key).or_default();
                    match seen.iter().find(|(id, _)| *id == update) {
                        Some((_, state)) => assert_eq!(*state, status.state),
                        None => {
                            let over = seen.iter().any(|(_, state)| state.is_terminal());
                            assert!(!over, "{status:?} after the end");
                            let unacknowledged = seen
                                .iter()
                                .filter(|(id, _)| !self.acknowledged.contains(id));
                            assert_eq!(unacknowledged.count(), 0, "two are under way");
                            seen.push((update, status.state));
                        }
                    }
                }
                AgentCall::Register(registration) => {
                    // What was answered is never taken back.
                    let version = self.applied.keys().next_back().copied().unwrap_or_default();
                    assert!(registration.checkpointed.version().0 >= version);
                }
                AgentCall::Tasks(_)
                | AgentCall::Estimate(_)
                | AgentCall::PortBlocks(_)
                | AgentCall::Unregister => {}
            }
        }
    }

    fn say(&mut self, world: &mut World, event: AgentEvent) {
        self.said.push(event.clone());
        if world.connected {
            world.hear(event);
        }
    }

    fn change(&mut self, world: &mut World, choice: u8) {
        let volume = choice / 8 % VOLUMES;
        let text = |text: String| resources(&text);
        let change = match choice % 4 {
            0 => ResourceOperation::Reserve(text("cpus(db, alice):1".to_owned())),
            1 => ResourceOperation::Unreserve(text("cpus(db, alice):1".to_owned())),
            2 => ResourceOperation::Create(text(format!("disk(db)[v{volume}:data:rw]:10"))),
            _ => ResourceOperation::Destroy(text(format!("disk(db)[v{volume}:data:rw]:10"))),
        };
        self.operations += 1;
        let name = format!("o{}", self.operations);
        // Mostly for the version that there is, or will be; sometimes for another.
        let version = world.session.set().version().0 + u64::from(choice / 64);
        self.asked.insert(operation(&name), change.clone());
        self.say(world, apply(&name, version, change));
    }

    fn launch(&mut self, world: &mut World, choice: u8) {
        let holds = match choice / TASKS % 4 {
            0 => "cpus:1".to_owned(),
            1 => "cpus(db, alice):1".to_owned(),
            2 => format!("mem:64;disk(db)[v{}:here:rw]:10", choice / 32 % VOLUMES),
            _ => "mem:64;cpus{REV}:1".to_owned(),
        };
        let name = format!("t{}", choice % TASKS);
        // One task id is one task: what was said of it first is said again.
        let first = self.said.iter().find(|event| match event {
            AgentEvent::Launch(launch) => launch.key() == task_key(&name),
            _ => false,
        });
        let event = match first {
            Some(event) => event.clone(),
            None => AgentEvent::Launch(Box::new(launch(&name, &holds))),
        };
        self.say(world, event);
    }

    fn kill(&mut self, world: &mut World, choice: u8) {
        let event = AgentEvent::Kill {
            task: task_key(&format!("t{}", choice % TASKS)),
            grace: None,
            reason: None,
        };
        self.say(world, event);
    }

    fn acknowledge_one(&mut self, world: &mut World, choice: u8) {
        self.read(world);
        let all: Vec<(TaskKey, UpdateId)> = self
            .seen
            .iter()
            .flat_map(|(key, seen)| seen.iter().map(|(id, _)| (key.clone(), *id)))
            .collect();
        if all.is_empty() || !world.connected {
            return;
        }
        let (task, update) = all[usize::from(choice) % all.len()].clone();
        self.acknowledged.insert(update);
        world.hear(AgentEvent::Acknowledge { task, update });
    }
}

/// Returns how a container ends that is left alone.
fn end_of(fake: &FakeContainer) -> Outcome {
    if fake.aborts {
        Outcome::Aborted {
            reason: "the agent was gone before it said go".to_owned(),
        }
    } else {
        Outcome::Exited { code: 0 }
    }
}

/// Takes one container of the world a step further.
fn progress(world: &mut World, choice: u8) {
    let live: Vec<ContainerId> = world
        .containers
        .iter()
        .filter(|(_, fake)| !matches!(fake.state, ContainerState::Ended { .. }))
        .map(|(id, _)| id.clone())
        .collect();
    if live.is_empty() {
        return;
    }
    let id = live[usize::from(choice) % live.len()].clone();
    let started_at = world.now.unix;
    let state = match &world.containers[&id].state {
        ContainerState::Changing if choice < 224 => ContainerState::Running { started_at },
        ContainerState::Changing => world.ended(Outcome::SetupFailed {
            reason: "no space".to_owned(),
        }),
        _ => world.ended(end_of(&world.containers[&id])),
    };
    world.set_container(&id, state);
}

/// The agent dies, and with it what it was making.
fn crash(world: &mut World, choice: u8) {
    let ids: Vec<ContainerId> = world.containers.keys().cloned().collect();
    for (index, id) in ids.into_iter().enumerate() {
        if world.containers[&id].state != ContainerState::Changing {
            continue;
        }
        // Its row may not have been written; or it was, and recovery undoes it; or its program was
        // told to go at the last moment; or it waits for that word, looks as if it ran, and aborts.
        match (usize::from(choice) + index) % 4 {
            0 => {
                world.containers.remove(&id);
            }
            1 => {
                let state = world.ended(Outcome::Aborted {
                    reason: "the agent ended while it was being started".to_owned(),
                });
                world.containers.get_mut(&id).unwrap().state = state;
            }
            2 => {
                let started_at = world.now.unix;
                let fake = world.containers.get_mut(&id).unwrap();
                fake.state = ContainerState::Running { started_at };
                fake.aborts = true;
            }
            _ => {
                let started_at = world.now.unix;
                let fake = world.containers.get_mut(&id).unwrap();
                fake.state = ContainerState::Running { started_at };
                fake.ran = true;
                *world.runs.entry(fake.task.clone()).or_default() += 1;
            }
        }
    }
    world.crash();
}

fn take(world: &mut World, scheduler: &mut Scheduler, (what, choice): Choice) {
    match what % 16 {
        0..=3 => {
            for _ in 0..=choice % 4 {
                world.step();
            }
        }
        4 => scheduler.change(world, choice),
        5 | 6 => scheduler.launch(world, choice),
        7 => scheduler.kill(world, choice),
        8 => scheduler.acknowledge_one(world, choice),
        9 | 10 => progress(world, choice),
        11 => {
            // Something that was said before is said again, whatever has become of it.
            if !scheduler.said.is_empty() && world.connected {
                let index = usize::from(choice) % scheduler.said.len();
                world.hear(scheduler.said[index].clone());
            }
        }
        12 => {
            if world.connected {
                world.disconnect();
            } else {
                world.connect();
                world.hear(registered());
            }
        }
        13 => crash(world, choice),
        14 => {
            world.volumes_fail = choice % 4 == 0;
            if let Some(Output::Write { id, .. }) = world.asked.front()
                && choice % 2 == 0
            {
                let id = *id;
                world.asked.pop_front();
                world.tell(Input::WriteFailed(id));
            }
        }
        _ => world.wait(u64::from(choice)),
    }
    scheduler.read(world);
}

/// Lets everything come to rest: what was said is said again, tasks are killed, updates
/// acknowledged.
fn rest(world: &mut World, scheduler: &mut Scheduler) {
    world.volumes_fail = false;
    world.disconnect();
    world.wait(60);
    world.register();
    for event in scheduler.said.clone() {
        world.hear(event);
        world.settle();
    }
    for task in 0..TASKS {
        scheduler.kill(world, task);
        world.settle();
    }
    for round in 0.. {
        assert!(round < 100, "it does not come to rest: {:?}", world.stored);
        scheduler.read(world);
        let ids: Vec<ContainerId> = world.containers.keys().cloned().collect();
        for id in ids {
            if world.containers.contains_key(&id) {
                let outcome = end_of(&world.containers[&id]);
                if world.containers[&id].state == ContainerState::Changing {
                    let started_at = world.now.unix;
                    world.set_container(&id, ContainerState::Running { started_at });
                }
                let state = world.ended(outcome);
                world.set_container(&id, state);
                world.settle();
            }
        }
        scheduler.read(world);
        let open: Vec<(TaskKey, UpdateId)> = scheduler
            .seen
            .iter()
            .flat_map(|(key, seen)| seen.iter().map(|(id, _)| (key.clone(), *id)))
            .collect();
        for (task, update) in open {
            scheduler.acknowledged.insert(update);
            world.hear(AgentEvent::Acknowledge { task, update });
            world.settle();
        }
        if world.stored.tasks.is_empty() {
            break;
        }
        world.wait(600);
        world.settle();
    }
    scheduler.read(world);
}

fn check(world: &World, scheduler: &Scheduler) {
    for (task, runs) in &world.runs {
        assert!(*runs <= 1, "{task} ran {runs} times");
    }
    for event in &scheduler.said {
        match event {
            AgentEvent::Launch(launch) => {
                let seen = scheduler.seen.get(&launch.key());
                let last = seen.and_then(|seen| seen.last());
                assert!(
                    last.is_some_and(|(_, state)| state.is_terminal()),
                    "{} has no end",
                    launch.key()
                );
            }
            AgentEvent::Apply { operation, .. } => {
                assert!(
                    scheduler.answers.contains_key(operation),
                    "{operation} has no answer"
                );
            }
            _ => {}
        }
    }
    // Every program that ran was told of.
    for task in world.runs.keys() {
        assert!(
            scheduler.seen.contains_key(task),
            "nobody knows that {task} ran"
        );
    }
    // The set is what the changes that were answered make of nothing, one after the other.
    let mut total = world.resources.clone();
    for (index, (version, change)) in scheduler.applied.iter().enumerate() {
        assert_eq!(*version, u64::try_from(index).unwrap() + 1);
        total = total.apply(change).unwrap();
    }
    let set = world.session.set();
    assert_eq!(*set.resources(), total.checkpointed());
    assert_eq!(
        set.version().0,
        u64::try_from(scheduler.applied.len()).unwrap()
    );
    assert_eq!(set, world.stored.set);
    // There is a directory for each volume, and no other.
    let volumes: BTreeSet<VolumeName> = set
        .resources()
        .volumes()
        .iter()
        .map(|entry| VolumeName {
            role: entry.role().unwrap().clone(),
            id: entry.volume().unwrap().id.clone(),
        })
        .collect();
    assert_eq!(world.volumes, volumes);
    assert_eq!(world.stored.begun, None);
    assert!(
        world.containers.is_empty(),
        "{:?} is left",
        world.containers
    );
    assert!(world.session.is_durable());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_run_twice_and_every_operation_is_answered(
        choices in prop::collection::vec(any::<Choice>(), 0..200),
    ) {
        let mut world = World::registered();
        let mut scheduler = Scheduler::default();
        for choice in choices {
            take(&mut world, &mut scheduler, choice);
        }
        rest(&mut world, &mut scheduler);
        check(&world, &scheduler);
    }
}
