//! A node: the shipped session of the agent, its disk, and containers that outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_agent::container::ContainerId;
use weir_agent::session::{
    AgentSession, ContainerState, Input, Now, Output, VolumeName, VolumeOrder, WriteId,
};
use weir_agent::store::{SessionChange, SessionStored};
use weir_executor::record::Outcome;
use weir_protocol::{
    AgentCall, AgentName, CallId, Launch, NetworkMode, Numbered, OperationKey, PortBlocks,
    ResourceSet, TaskKey,
};
use weir_resources::Resources;
use weir_scheduler::ledger::SessionId;

use crate::checker::Checker;
use crate::lending::Lending;
use crate::make;
use crate::mutation::Mutation;
use crate::network::{End, Frame, Party};
use crate::world::{BEGIN, Event, Life, World, unix};

/// What a node has.
const HAS: &str = "cpus:4;mem:4096;disk:1000";

/// How many blocks of ports a node has: fewer than it has room for isolated tasks.
const BLOCKS: u32 = 2;

/// A container: it is the kernel's, and goes on while the agent is down.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) task: TaskKey,
    pub(crate) holds: Resources,
    network: NetworkMode,
    pub(crate) state: ContainerState,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) life: Life,
    /// `None` while the agent is down.
    pub(crate) session: Option<AgentSession>,
    /// What is on the disk.
    pub(crate) stored: SessionStored,
    /// The write that is under way.
    writing: Option<Arc<[SessionChange]>>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    /// Their directories.
    pub(crate) volumes: BTreeSet<VolumeName>,
    /// How often the node was started, and when it last was.
    pub(crate) boot: u64,
    pub(crate) booted_at: Duration,
    /// A copy of the disk, of some time ago.
    pub(crate) backup: Option<SessionStored>,
    /// Whether the disk was lost, or put back from a copy.
    pub(crate) has_lost: bool,
    pub(crate) lending: Lending,
    pub(crate) connection: Option<SessionId>,
    next_call: CallId,
}

/// Returns what every node has.
pub(crate) fn has() -> Resources {
    make::resources(HAS)
}

impl Node {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            life: 0,
            session: None,
            stored: SessionStored::default(),
            writing: None,
            containers: BTreeMap::new(),
            volumes: BTreeSet::new(),
            boot: 1,
            // Not all at once.
            booted_at: BEGIN / (2 + u32::try_from(index).unwrap_or(0)),
            backup: None,
            has_lost: false,
            lending: Lending::default(),
            connection: None,
            next_call: CallId::FIRST,
        }
    }

    pub(crate) fn agent_name(&self) -> AgentName {
        format!("n{}", self.index).parse().expect("an agent's name")
    }

    /// Returns the containers whose program runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers
            .values()
            .filter(|container| container.is_running())
    }

    /// Returns the blocks of ports that containers have.
    fn blocks_held(&self) -> u32 {
        let held = self.containers.values().filter(|own| own.has_block());
        u32::try_from(held.count()).unwrap_or(u32::MAX)
    }
}

impl Container {
    fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    fn has_block(&self) -> bool {
        self.network == NetworkMode::Isolated && !matches!(self.state, ContainerState::Ended { .. })
    }
}

impl World {
    /// Returns the clocks of a node.
    pub(crate) fn clock_of(&self, index: usize) -> Now {
        Now {
            since_boot: self.now.saturating_sub(self.nodes[index].booted_at),
            unix: unix(self.now),
        }
    }

    pub(crate) fn agent_start(&mut self, index: usize) {
        let now = self.clock_of(index);
        let chance = &mut self.chance;
        let node = &mut self.nodes[index];
        if node.session.is_some() {
            return;
        }
        node.life += 1;
        let states = node.containers.iter();
        let states = states.map(|(id, container)| (id.clone(), container.state.clone()));
        let restored = AgentSession::restore(
            make::profile(node.agent_name().as_str(), &has(), node.boot),
            node.stored.clone(),
            &states.collect(),
            now,
            &mut || chance.wide(),
        );
        match restored {
            Ok(session) => node.session = Some(session),
            Err(error) => return self.violate(Checker::Durability, error),
        }
        self.note(format_args!("agent {index} starts"));
        self.carry_out(index);
        // The agent connects only once it has counted and estimated, or tried to.
        self.count_blocks(index);
        self.estimate(index);
        self.connect(Party::Agent(index));
    }

    /// Has an agent count its blocks of ports.
    pub(crate) fn count_blocks(&mut self, index: usize) {
        let held = self.nodes[index].blocks_held();
        let free = BLOCKS.saturating_sub(held);
        self.tell(index, Input::PortBlocksCounted { free, held });
    }

    fn count_blocks_soon(&mut self, index: usize) {
        let delay = self.chance.millis(0, 30);
        self.after(delay, Event::CountBlocks { node: index });
    }

    /// Ends an agent at once. What it was writing may have been written; it was not told.
    pub(crate) fn agent_crash(&mut self, index: usize) {
        let chance = &mut self.chance;
        let node = &mut self.nodes[index];
        if node.session.take().is_none() {
            return;
        }
        node.life += 1;
        node.lending.forget();
        let written = node.writing.take().filter(|_| chance.percent(50));
        for change in written.iter().flat_map(|changes| changes.iter()) {
            node.stored.apply(change);
        }
        // A program that was not told to go never does; whoever waited with it may have written that down.
        let made: Vec<ContainerId> = node
            .containers
            .iter()
            .filter(|(_, container)| matches!(container.state, ContainerState::Changing))
            .map(|(id, _)| id.clone())
            .collect();
        for id in made {
            if chance.percent(50) {
                node.containers.remove(&id);
            } else if let Some(container) = node.containers.get_mut(&id) {
                let reason = "the agent ended first".to_owned();
                container.state = ContainerState::Ended {
                    outcome: Outcome::Aborted { reason },
                    ended_at: weir_protocol::UnixMs(1),
                };
            }
        }
        let connection = node.connection.take();
        self.report.crashes += 1;
        self.note(format_args!(
            "agent {index} crashes; its write was {}written",
            if written.is_some() { "" } else { "not " }
        ));
        if let Some(session) = connection {
            self.network.shut(session, End::Peer);
            let delay = self.until_noticed(End::Scheduler);
            self.after(delay, gone_at_scheduler(session));
        }
        let delay = self.chance.millis(200, 20_000);
        self.after(delay, Event::AgentStart { node: index });
    }

    pub(crate) fn tell(&mut self, index: usize, input: Input) {
        let now = self.clock_of(index);
        let chance = &mut self.chance;
        let Some(session) = &mut self.nodes[index].session else {
            return;
        };
        session.handle(input, now, &mut || chance.wide());
        self.carry_out(index);
        self.settle_connection(index);
    }

    pub(crate) fn agent_deadline(&mut self, index: usize) {
        let session = self.nodes[index].session.as_ref();
        let deadline = session.and_then(AgentSession::deadline);
        let now = self.clock_of(index).since_boot;
        if deadline.is_some_and(|at| at <= now) {
            self.tell(index, Input::Tick);
        }
    }

    /// Connects or hangs up, as the agent wants it.
    fn settle_connection(&mut self, index: usize) {
        let node = &self.nodes[index];
        let Some(session) = &node.session else {
            return;
        };
        match (session.wants_connection(), node.connection) {
            (true, None) => self.connect_later(Party::Agent(index)),
            (false, Some(connection)) => self.hang_up(connection),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Does what the agent wants.
    fn carry_out(&mut self, index: usize) {
        while let Some(output) = self.nodes[index]
            .session
            .as_mut()
            .and_then(AgentSession::poll_output)
        {
            match output {
                Output::Send(call) => self.agent_says(index, call),
                Output::Write { id, changes } => {
                    let delay = self.chance.millis(1, 25);
                    let node = &mut self.nodes[index];
                    node.writing = Some(Arc::clone(&changes));
                    let life = node.life;
                    self.after(
                        delay,
                        Event::AgentWritten {
                            node: index,
                            life,
                            id,
                            changes,
                        },
                    );
                }
                Output::Launch { container, launch } => self.launch(index, container, &launch),
                Output::Kill { container, .. } => {
                    let delay = self.chance.millis(5, 4_000);
                    self.after(
                        delay,
                        Event::ContainerEnds {
                            node: index,
                            container,
                            killed: true,
                        },
                    );
                }
                Output::Release { container } => {
                    let containers = &mut self.nodes[index].containers;
                    let is_over =
                        |own: &Container| matches!(own.state, ContainerState::Ended { .. });
                    if containers.get(&container).is_some_and(is_over) {
                        containers.remove(&container);
                    }
                }
                Output::Volumes {
                    operation,
                    order,
                    volumes,
                } => {
                    let life = self.nodes[index].life;
                    let delay = self.chance.millis(1, 300);
                    self.after(
                        delay,
                        Event::Volumes {
                            node: index,
                            life,
                            operation,
                            order,
                            volumes,
                        },
                    );
                }
                Output::Sweep => {}
                Output::HangUp(why) => {
                    self.note(format_args!("agent {index} hangs up: {why:?}"));
                    if let Some(session) = self.nodes[index].connection {
                        self.hang_up(session);
                    }
                    if why == weir_agent::session::HangUp::Left {
                        // Somebody starts it again, some time later.
                        self.nodes[index].session = None;
                        self.nodes[index].life += 1;
                        self.nodes[index].lending.forget();
                        let delay = self.chance.millis(1_000, 20_000);
                        self.after(delay, Event::AgentStart { node: index });
                    }
                }
            }
        }
    }

    fn agent_says(&mut self, index: usize, call: AgentCall) {
        self.witness_agent_call(index, &call);
        let node = &mut self.nodes[index];
        let id = node.next_call;
        node.next_call = id.next();
        if let Some(session) = node.connection {
            self.send(session, End::Scheduler, Frame::Agent(Numbered { id, call }));
        }
    }

    fn launch(&mut self, index: usize, container: ContainerId, launch: &Launch) {
        let key = launch.key();
        self.witness_launch(index, &key);
        let mut made = vec![container];
        if self.is_mutated(Mutation::LaunchTwice) {
            made.push(ContainerId::from_random(self.chance.bits()));
        }
        for container in made {
            let node = &mut self.nodes[index];
            if node.containers.contains_key(&container) {
                continue;
            }
            let network = launch.task.network;
            if network == NetworkMode::Isolated && node.blocks_held() >= BLOCKS {
                let what = format!("node {index} has no block of ports left for task {key}");
                return self.violate(Checker::Blocks, what);
            }
            let own = Container {
                network,
                task: key.clone(),
                holds: launch.task.resources.clone(),
                state: ContainerState::Changing,
            };
            node.containers.insert(container.clone(), own);
            let delay = self.chance.millis(5, 1_500);
            self.after(
                delay,
                Event::ContainerRuns {
                    node: index,
                    container,
                },
            );
            self.count_blocks_soon(index);
        }
    }

    pub(crate) fn agent_written(
        &mut self,
        index: usize,
        life: Life,
        id: WriteId,
        changes: &[SessionChange],
    ) {
        let skips = self.is_mutated(Mutation::SkipAgentWrite);
        let node = &mut self.nodes[index];
        if node.life != life {
            return;
        }
        node.writing = None;
        if self.chance.percent(1) && self.plan.faults {
            return self.tell(index, Input::WriteFailed(id));
        }
        if !skips {
            for change in changes {
                node.stored.apply(change);
            }
        }
        self.tell(index, Input::Written(id));
    }

    pub(crate) fn container_runs(&mut self, index: usize, id: &ContainerId) {
        let started_at = self.clock_of(index).unix;
        let node = &mut self.nodes[index];
        // Only the agent tells a program to go.
        if node.session.is_none() {
            return;
        }
        let Some(container) = node.containers.get_mut(id) else {
            return;
        };
        if !matches!(container.state, ContainerState::Changing) {
            return;
        }
        container.state = ContainerState::Running { started_at };
        let (key, state) = (container.task.clone(), container.state.clone());
        self.note(format_args!("task {key} runs on node {index}"));
        self.witness_run(&key);
        // Some end by themselves.
        if self.chance.percent(60) {
            let delay = self.chance.millis(50, 60_000);
            self.after(
                delay,
                Event::ContainerEnds {
                    node: index,
                    container: id.clone(),
                    killed: false,
                },
            );
        }
        let id = id.clone();
        self.tell(index, Input::Container { id, state });
    }

    pub(crate) fn container_ends(&mut self, index: usize, id: &ContainerId, killed: bool) {
        let ended_at = self.clock_of(index).unix;
        let code = i32::from(self.chance.percent(30));
        let Some(container) = self.nodes[index].containers.get_mut(id) else {
            return;
        };
        let outcome = match (&container.state, killed) {
            (ContainerState::Running { .. }, true) => Outcome::Signaled {
                signal: 15,
                core_dumped: false,
            },
            (ContainerState::Running { .. }, false) => Outcome::Exited { code },
            (ContainerState::Changing, true) => Outcome::Aborted {
                reason: "it was killed before its program could run".to_owned(),
            },
            (ContainerState::Changing, false)
            | (ContainerState::Absent | ContainerState::Ended { .. }, _) => return,
        };
        container.state = ContainerState::Ended { outcome, ended_at };
        let state = container.state.clone();
        let key = container.task.clone();
        self.note(format_args!("task {key} has ended on node {index}"));
        self.count_blocks_soon(index);
        let id = id.clone();
        self.tell(index, Input::Container { id, state });
    }

    pub(crate) fn volumes_done(
        &mut self,
        index: usize,
        life: Life,
        operation: OperationKey,
        order: VolumeOrder,
        volumes: Vec<VolumeName>,
    ) {
        let node = &mut self.nodes[index];
        if node.life != life {
            return;
        }
        for volume in volumes {
            match order {
                VolumeOrder::Make => drop(node.volumes.insert(volume)),
                VolumeOrder::Remove => drop(node.volumes.remove(&volume)),
            }
        }
        let result = Ok(());
        self.tell(index, Input::VolumesDone { operation, result });
    }

    pub(crate) fn agent_connected(&mut self, index: usize, session: SessionId) {
        let node = &mut self.nodes[index];
        node.connection = Some(session);
        node.lending.excuse();
        node.next_call = CallId::FIRST;
        let name = node.agent_name();
        self.tell(index, Input::Connected { name });
    }

    pub(crate) fn agent_disconnected(&mut self, index: usize, session: SessionId) {
        let node = &mut self.nodes[index];
        if node.connection == Some(session) {
            node.connection = None;
            self.tell(index, Input::Disconnected);
        }
    }

    /// Changes or drops what an agent says, if the wiring is to do that.
    pub(crate) fn mutate_agent_call(
        &self,
        _: SessionId,
        call: Numbered<AgentCall>,
    ) -> Option<Numbered<AgentCall>> {
        let Numbered { id, call } = call;
        let call = match (call, self.plan.mutation) {
            (AgentCall::StatusUpdate { status, .. }, Some(Mutation::ForgetUpdate))
                if status.state.is_terminal() =>
            {
                return None;
            }
            (AgentCall::Register(mut registration), Some(Mutation::OldSetVersion)) => {
                registration.checkpointed = ResourceSet::default();
                AgentCall::Register(registration)
            }
            (AgentCall::Register(mut registration), Some(Mutation::Inflate)) => {
                registration.agent.resources = make::resources("cpus:8;mem:8192;disk:1000");
                AgentCall::Register(registration)
            }
            (AgentCall::Register(mut registration), Some(Mutation::InventBlocks)) => {
                registration.port_blocks = invented(registration.port_blocks);
                AgentCall::Register(registration)
            }
            (AgentCall::PortBlocks(blocks), Some(Mutation::InventBlocks)) => {
                AgentCall::PortBlocks(invented(blocks))
            }
            (AgentCall::Register(mut registration), Some(Mutation::UnderstateEstimate)) => {
                registration.estimate = None;
                AgentCall::Register(registration)
            }
            (AgentCall::Estimate(_), Some(Mutation::UnderstateEstimate)) if id.0.get() % 2 == 0 => {
                return None;
            }
            (AgentCall::Register(mut registration), Some(Mutation::ForgetTasks)) => {
                registration.tasks_total = 0;
                AgentCall::Register(registration)
            }
            (AgentCall::Tasks(_), Some(Mutation::ForgetTasks)) => return None,
            (call, _) => call,
        };
        Some(Numbered { id, call })
    }
}

/// Returns a count of twice as many blocks as are free.
fn invented(blocks: PortBlocks) -> PortBlocks {
    PortBlocks {
        free: blocks.free * 2 + 1,
        ..blocks
    }
}

pub(crate) fn gone_at_scheduler(session: SessionId) -> Event {
    Event::Gone {
        session,
        at: End::Scheduler,
    }
}
