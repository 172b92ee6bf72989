//! The state machine in a world of its own: a store, containers and volumes that can be looked at, and
//! a crash between any two steps.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test is about a few of all calls and events; any other fails it"
)]

mod laws;
mod registering;
mod sets;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use weir_executor::record::Outcome;
use weir_protocol::{
    AgentCall, AgentEvent, AgentId, ApplyOutcome, Argv, BootId, Ceilings, Command, Environment,
    FrameworkId, Launch, Line, Millis, NetworkMode, OperationId, OperationKey, OperationOrigin,
    Run, SetVersion, TaskId, TaskKey, TaskOwner, TaskSpec, TaskState, TaskStatus, UnixMs,
};
use weir_resources::{Attributes, Labels, Principal, ResourceOperation, Resources, Role};

use super::{
    AgentSession, ContainerState, HangUp, Input, Now, Output, Profile, RestoreError, VolumeFailure,
    VolumeName, VolumeOrder, WriteId,
};
use crate::container::ContainerId;
use crate::store::{SessionChange, SessionStored};

/// What the node of these tests lends.
const RESOURCES: &str = "cpus:4;mem:4096;disk:1000;disk(db):100;ports:[31000-31009]";

/// A container of this world.
#[derive(Clone, Debug)]
struct FakeContainer {
    task: TaskKey,
    state: ContainerState,
    /// Whether its program can have run.
    ran: bool,
    killed: bool,
    /// Whether it looks as if it ran, and waits in vain for the word to go.
    aborts: bool,
}

/// All that outlives an agent, and the agent.
struct World {
    resources: Resources,
    boot: u32,
    now: Now,
    randoms: u128,
    stored: SessionStored,
    containers: BTreeMap<ContainerId, FakeContainer>,
    volumes: BTreeSet<VolumeName>,
    session: AgentSession,
    /// What was asked for and not done, in order.
    asked: VecDeque<Output>,
    /// What the scheduler was told on this connection and has not looked at.
    heard: VecDeque<AgentCall>,
    hung_up: Option<HangUp>,
    connected: bool,
    /// How often a program was begun for each task.
    runs: BTreeMap<TaskKey, u32>,
    volumes_fail: bool,
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn profile(resources: &Resources, boot: u32) -> Profile {
    Profile {
        hostname: Line::new("n1.example").unwrap(),
        addresses: Arc::new([]),
        attributes: Attributes::default(),
        resources: resources.clone(),
        boot: BootId::new(format!("boot-{boot}")).unwrap(),
        estimate_ttl: Millis(60_000),
    }
}

fn task_key(name: &str) -> TaskKey {
    TaskKey {
        framework: FrameworkId::from_bits(7),
        task: TaskId::new(name).unwrap(),
    }
}

fn operation(name: &str) -> OperationKey {
    OperationKey {
        origin: OperationOrigin::Operator(Principal::new("ops").unwrap()),
        id: OperationId::new(name).unwrap(),
    }
}

pub(super) fn launch(name: &str, holds: &str) -> Launch {
    Launch {
        operation: OperationKey {
            origin: OperationOrigin::Framework(FrameworkId::from_bits(7)),
            id: OperationId::new(format!("launch-{name}")).unwrap(),
        },
        owner: TaskOwner {
            framework: FrameworkId::from_bits(7),
            framework_name: Line::new("tests").unwrap(),
            principal: Principal::new("tester").unwrap(),
            role: Role::new("db").unwrap(),
            failover_timeout: Millis(0),
            unattended: false,
        },
        task: TaskSpec {
            id: TaskId::new(name).unwrap(),
            name: Line::new(name).unwrap(),
            command: Command {
                run: Run::Argv(Argv::new(vec!["true".to_owned()]).unwrap()),
                environment: Environment::default(),
                user: None,
                working_directory: None,
            },
            resources: resources(holds),
            network: NetworkMode::Isolated,
            kill_grace: Millis(5_000),
            labels: Labels::none(),
            ceilings: Ceilings::default(),
        },
    }
}

fn apply(name: &str, base: u64, change: ResourceOperation) -> AgentEvent {
    AgentEvent::Apply {
        operation: operation(name),
        base: SetVersion(base),
        change,
    }
}

impl World {
    fn new() -> Self {
        Self::with(RESOURCES)
    }

    fn with(text: &str) -> Self {
        let resources = resources(text);
        let now = Now {
            since_boot: Duration::from_secs(1000),
            unix: UnixMs(1_700_000_000_000),
        };
        let mut randoms = 0;
        let session = AgentSession::restore(
            profile(&resources, 1),
            SessionStored::default(),
            &BTreeMap::new(),
            now,
            &mut || {
                randoms += 1;
                randoms
            },
        );
        Self {
            session: session.unwrap(),
            resources,
            boot: 1,
            now,
            randoms,
            stored: SessionStored::default(),
            containers: BTreeMap::new(),
            volumes: BTreeSet::new(),
            asked: VecDeque::new(),
            heard: VecDeque::new(),
            hung_up: None,
            connected: false,
            runs: BTreeMap::new(),
            volumes_fail: false,
        }
    }

    /// Returns a world whose agent is registered.
    fn registered() -> Self {
        let mut world = Self::new();
        world.register();
        world.heard.clear();
        world
    }

    fn tell(&mut self, input: Input) {
        let randoms = &mut self.randoms;
        self.session.handle(input, self.now, &mut || {
            *randoms += 1;
            *randoms
        });
        while let Some(output) = self.session.poll_output() {
            self.asked.push_back(output);
        }
    }

    fn connect(&mut self) {
        self.connected = true;
        self.hung_up = None;
        self.heard.clear();
        self.tell(Input::Connected {
            name: "n1".parse().unwrap(),
        });
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.heard.clear();
        self.tell(Input::Disconnected);
    }

    fn register(&mut self) {
        self.connect();
        self.settle();
        self.hear(registered());
        self.settle();
    }

    fn hear(&mut self, event: AgentEvent) {
        self.tell(Input::Heard(event));
    }

    fn wait(&mut self, seconds: u64) {
        self.now.since_boot += Duration::from_secs(seconds);
        self.now.unix.0 += seconds * 1000;
        self.tell(Input::Tick);
    }

    /// Does the next thing that was asked for; returns whether there was one.
    fn step(&mut self) -> bool {
        let Some(output) = self.asked.pop_front() else {
            return false;
        };
        match output {
            Output::Send(call) => {
                if self.connected {
                    self.heard.push_back(call);
                }
            }
            Output::Write { id, changes } => self.write(id, &changes),
            Output::Launch { container, launch } => {
                let key = launch.key();
                let fake = FakeContainer {
                    task: key,
                    state: ContainerState::Changing,
                    ran: false,
                    killed: false,
                    aborts: false,
                };
                self.containers.entry(container).or_insert(fake);
            }
            Output::Kill { container, .. } => {
                let fake = self.containers.get_mut(&container);
                fake.expect("what is killed is there").killed = true;
            }
            Output::Release { container } => {
                let is_over = |fake: &FakeContainer| match &fake.state {
                    ContainerState::Ended { .. } => true,
                    ContainerState::Absent
                    | ContainerState::Changing
                    | ContainerState::Running { .. } => false,
                };
                if self.containers.get(&container).is_some_and(is_over) {
                    self.containers.remove(&container);
                }
            }
            Output::Volumes {
                operation,
                order,
                volumes,
            } => self.do_volumes(operation, order, volumes),
            Output::Sweep => {}
            Output::HangUp(why) => {
                self.hung_up = Some(why);
                self.disconnect();
            }
        }
        true
    }

    fn write(&mut self, id: WriteId, changes: &[SessionChange]) {
        for change in changes {
            self.stored.apply(change);
        }
        self.tell(Input::Written(id));
    }

    fn do_volumes(
        &mut self,
        operation: OperationKey,
        order: VolumeOrder,
        volumes: Vec<VolumeName>,
    ) {
        // All or none, also if some were done before a crash.
        let is_there = (order == VolumeOrder::Make) != self.volumes_fail;
        for volume in volumes {
            if is_there {
                self.volumes.insert(volume);
            } else {
                self.volumes.remove(&volume);
            }
        }
        let result = if self.volumes_fail {
            Err(VolumeFailure {
                reason: "no space".to_owned(),
                remedy: "make some".to_owned(),
            })
        } else {
            Ok(())
        };
        self.tell(Input::VolumesDone { operation, result });
    }

    /// Does all that was asked for.
    fn settle(&mut self) {
        while self.step() {}
    }

    fn container_of(&self, name: &str) -> ContainerId {
        let key = task_key(name);
        let of_task = self.containers.iter().filter(|(_, fake)| fake.task == key);
        of_task.map(|(id, _)| id.clone()).next_back().unwrap()
    }

    /// Takes a container further, and tells the agent.
    fn set_container(&mut self, id: &ContainerId, state: ContainerState) {
        let fake = self.containers.get_mut(id).unwrap();
        if let ContainerState::Running { .. } = &state
            && !std::mem::replace(&mut fake.ran, true)
        {
            *self.runs.entry(fake.task.clone()).or_default() += 1;
        }
        fake.state = state.clone();
        self.tell(Input::Container {
            id: id.clone(),
            state,
        });
    }

    fn run_container(&mut self, name: &str) {
        let id = self.container_of(name);
        let started_at = self.now.unix;
        self.set_container(&id, ContainerState::Running { started_at });
        self.settle();
    }

    fn end_container(&mut self, name: &str, outcome: Outcome) {
        let id = self.container_of(name);
        let state = self.ended(outcome);
        self.set_container(&id, state);
        self.settle();
    }

    fn ended(&self, outcome: Outcome) -> ContainerState {
        ContainerState::Ended {
            outcome,
            ended_at: self.now.unix,
        }
    }

    /// Ends the agent at once: what was not done is never done.
    fn crash(&mut self) {
        self.restart().unwrap();
    }

    fn restart(&mut self) -> Result<(), RestoreError> {
        self.asked.clear();
        self.heard.clear();
        self.connected = false;
        let states = self
            .containers
            .iter()
            .map(|(id, fake)| (id.clone(), fake.state.clone()))
            .collect();
        let randoms = &mut self.randoms;
        self.session = AgentSession::restore(
            profile(&self.resources, self.boot),
            self.stored.clone(),
            &states,
            self.now,
            &mut || {
                *randoms += 1;
                *randoms
            },
        )?;
        while let Some(output) = self.session.poll_output() {
            self.asked.push_back(output);
        }
        Ok(())
    }

    /// Returns the updates that the scheduler was sent since it last looked.
    fn updates(&mut self) -> Vec<TaskStatus> {
        let calls = std::mem::take(&mut self.heard);
        let updates = calls.into_iter().filter_map(|call| match call {
            AgentCall::StatusUpdate { status, .. } => Some(status),
            AgentCall::Register(_)
            | AgentCall::Tasks(_)
            | AgentCall::OperationStatus { .. }
            | AgentCall::Estimate(_)
            | AgentCall::PortBlocks(_)
            | AgentCall::Unregister => None,
        });
        updates.collect()
    }

    fn states(&mut self) -> Vec<TaskState> {
        self.updates().iter().map(|status| status.state).collect()
    }

    /// Returns the answers that the scheduler was sent since it last looked.
    fn outcomes(&mut self) -> Vec<ApplyOutcome> {
        let calls = std::mem::take(&mut self.heard);
        let outcomes = calls.into_iter().filter_map(|call| match call {
            AgentCall::OperationStatus { outcome, .. } => Some(outcome),
            AgentCall::Register(_)
            | AgentCall::Tasks(_)
            | AgentCall::StatusUpdate { .. }
            | AgentCall::Estimate(_)
            | AgentCall::PortBlocks(_)
            | AgentCall::Unregister => None,
        });
        outcomes.collect()
    }

    fn acknowledge(&mut self, status: &TaskStatus) {
        let task = TaskKey {
            framework: FrameworkId::from_bits(7),
            task: status.task.clone(),
        };
        let update = status.update.expect("it wants to be acknowledged");
        self.hear(AgentEvent::Acknowledge { task, update });
        self.settle();
    }
}

fn registered() -> AgentEvent {
    AgentEvent::Registered {
        id: AgentId::from_bits(1),
        scheduler: Line::new("s1").unwrap(),
    }
}
