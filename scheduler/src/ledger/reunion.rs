//! An agent is back: what it has is brought together with what the ledger knows.
//!
//! Of its set of reservations and volumes, and of what became of its tasks, the agent is the authority; of
//! what is to run and what is to end, the ledger is.
//!
//! | the agent has the task | the ledger has it | what becomes of it |
//! | --- | --- | --- |
//! | yes | yes | it goes on; KILL and REVOKE that it may have missed are sent again |
//! | yes | no | it is learned, and its framework with it if that was lost |
//! | yes | no, for its framework has ended | it is a stray, and is killed |
//! | no | yes, and the agent has never said anything of it | LAUNCH was lost: it is sent again |
//! | no | yes, and it was to be killed, or was revoked | it was never launched: TASK_KILLED |
//! | no | yes, and the agent had it | TASK_LOST |
//!
//! A task whose end was acknowledged is in no list: its row went before the agent heard of that.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::{
    AgentEvent, AgentId, AgentTask, ErrorCode, Failure, Line, Note, Reason, Registration,
    RescindReason, ResourceSet, TaskKey, TaskState, TaskStatus,
};
use weir_resources::{ResourceName, Resources};

use super::agent::{Agent, AgentPresence, Stray};
use super::framework::info_from_task;
use super::input::SessionId;
use super::kill::KILLED_BEFORE;
use super::launch::Never;
use super::record::{ErrandNumber, LearnedTask, Past, Row, Standing};
use super::register::{RegisterError, blocks_of, held_by};
use super::state::Ledger;
use super::task::{Revoked, Task, What};
use super::timers::Timer;
use super::total::{Parts, TotalError};
use crate::allocator::AgentStanding;

/// What an agent's set tells of the operation that it was last sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetStory {
    /// The set is as it was.
    Unchanged,
    /// The first operation in its queue was applied, and the answer was lost.
    Applied(ErrandNumber),
    /// It is another than can be explained.
    Other,
}

/// What becomes of a task that the agent does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// It has ended, and its framework was told.
    Over,
    /// LAUNCH is sent again.
    Relaunched,
    /// It ends.
    Ends(Never, &'static str),
}

impl Ledger {
    /// Brings an agent that the ledger knows into a new session.
    pub(super) fn reunite(
        &mut self,
        id: AgentId,
        session: SessionId,
        software: Line,
        registration: Registration,
        tasks: Vec<AgentTask>,
    ) -> Result<(), RegisterError> {
        let before = self.agents.by_id.get(&id).and_then(Agent::session);
        if let Some(before) = before {
            self.disconnect_agent(id);
            if before != session {
                self.close(before);
            }
        }
        let Some(agent) = self.agents.by_id.get(&id) else {
            return Ok(());
        };
        let story = self.read_set(agent, &registration.checkpointed);
        if let SetStory::Applied(number) = story {
            self.apply_first(number, registration.checkpointed.version());
        }
        let total = self.plan_reunion(id, &registration, &tasks, story)?;
        if let SetStory::Other = story {
            self.abort_diverged(id);
        }
        let allocated = match self.agents.by_id.get(&id) {
            Some(agent) => self.allocatable(agent, &total),
            None => total,
        };
        self.allocator
            .update_agent(id, &allocated)
            .map_err(TotalError::Cluster)?;
        let named: BTreeMap<TaskKey, &AgentTask> =
            tasks.iter().map(|task| (task.key(), task)).collect();
        self.end_missing(id, &named, &registration);
        self.end_named(id, &tasks);
        if let Err(error) = self.claim_new(id, &tasks) {
            // The total goes back to what it was.
            self.settle_pools(id);
            return Err(error);
        }
        self.begin_session(id, session, software, &registration);
        self.tell_registered(id);
        self.tell_standing(id);
        self.relaunch(id, &named);
        for task in tasks {
            self.take_named(id, task);
        }
        self.retotal(id, RescindReason::ResourcesChanged)?;
        self.revoke_excess(id);
        if let Some(agent) = self.agents.by_id.get(&id) {
            let row = Row::Agent(agent.row());
            self.put(row);
        }
        self.send_first(id);
        Ok(())
    }

    fn read_set(&self, agent: &Agent, set: &ResourceSet) -> SetStory {
        if *set == agent.checkpointed {
            return SetStory::Unchanged;
        }
        let first = agent
            .errands
            .front()
            .and_then(|number| self.errands.by_number.get(number));
        let expected = first.and_then(|errand| {
            let planned = self.plan_change(errand, errand.change()?).ok()?;
            Some((errand.number, planned.total.checkpointed()))
        });
        match expected {
            Some((number, expected))
                if set.version() == agent.checkpointed.version().next()
                    && *set.resources() == expected =>
            {
                SetStory::Applied(number)
            }
            Some(_) | None => SetStory::Other,
        }
    }

    /// Returns what the agent has in total then, if all that is held there can be together.
    fn plan_reunion(
        &self,
        id: AgentId,
        registration: &Registration,
        tasks: &[AgentTask],
        story: SetStory,
    ) -> Result<Resources, RegisterError> {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return Ok(Resources::new());
        };
        let named: BTreeSet<TaskKey> = tasks.iter().map(AgentTask::key).collect();
        let relaunched = agent.tasks.iter().filter_map(|key| {
            let task = self.tasks.get(key)?;
            let is_unheard = matches!(task.what, What::Unconfirmed(_)) && task.is_alive();
            (is_unheard && !named.contains(key)).then(|| task.resources().clone())
        });
        let pools: Vec<Resources> = match story {
            SetStory::Other => Vec::new(),
            SetStory::Unchanged | SetStory::Applied(_) => self.pools(agent).cloned().collect(),
        };
        let held: Vec<Resources> = held_by(tasks)
            .into_iter()
            .map(|(_, resources)| resources)
            .chain(relaunched)
            .collect();
        let all = Resources::sum(held.iter().chain(&pools))?;
        let lent = self.lent_by(registration).resources();
        Ok(Parts {
            info: &registration.agent,
            checkpointed: registration.checkpointed.resources(),
            blocks: registration.port_blocks,
            lent: &lent,
            held_blocks: blocks_of(&all),
        }
        .total()?)
    }

    /// Answers all that waits on an agent whose set is not what its operations were meant for.
    fn abort_diverged(&mut self, id: AgentId) {
        let failure = Failure::new(
            ErrorCode::StaleVersion,
            "the agent came back with another set of reservations and volumes than it had",
            "look at what it has now, and ask again",
        );
        let never = Never {
            state: TaskState::Lost,
            reason: Reason::ResourcesUnknown,
        };
        self.abort_errands(id, &failure, never);
    }

    /// Ends what the agent does not have and will not get.
    fn end_missing(
        &mut self,
        id: AgentId,
        named: &BTreeMap<TaskKey, &AgentTask>,
        registration: &Registration,
    ) {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return;
        };
        let strays = agent.strays.iter().filter(|(key, _)| {
            let named = named.get(key);
            named.is_none_or(|task| task.status.state.is_terminal())
        });
        let strays: Vec<(TaskKey, Resources)> = strays
            .map(|(key, stray)| (key.clone(), stray.resources.clone()))
            .collect();
        let keys = agent.tasks.iter().filter(|key| !named.contains_key(key));
        let ends: Vec<(TaskKey, Never, &'static str)> = keys
            .filter_map(|key| match self.plan_missing(agent, key, registration) {
                Missing::Over | Missing::Relaunched => None,
                Missing::Ends(never, why) => Some((key.clone(), never, why)),
            })
            .collect();
        for (key, resources) in strays {
            if let Some(agent) = self.agents.by_id.get_mut(&id) {
                agent.strays.remove(&key);
            }
            self.allocator
                .recover(id, key.framework, &resources)
                .expect("what a stray holds is held in the name of its framework");
        }
        for (key, Never { state, reason }, why) in ends {
            self.end_task(&key, state, reason, Note::cut(why));
        }
    }

    fn plan_missing(&self, agent: &Agent, key: &TaskKey, registration: &Registration) -> Missing {
        let Some(task) = self.tasks.get(key) else {
            return Missing::Over;
        };
        if task.status.state.is_terminal() {
            return Missing::Over;
        }
        if !task.is_alive() {
            let never = Never {
                state: task.latest,
                reason: Reason::AgentRestarted,
            };
            return Missing::Ends(never, "its agent came back without it");
        }
        let lost = |reason| Never {
            state: TaskState::Lost,
            reason,
        };
        match (&task.what, agent.standing) {
            (What::Confirmed(_), _) => Missing::Ends(
                lost(Reason::AgentRestarted),
                "its agent came back without it",
            ),
            (What::Unconfirmed(_), _) if task.kill.is_some() => {
                Missing::Ends(KILLED_BEFORE, "it was killed before it was launched")
            }
            (What::Unconfirmed(_), _) if task.revoked == Revoked::Yes => {
                let state = TaskState::Killed;
                let reason = Reason::Revoked;
                Missing::Ends(
                    Never { state, reason },
                    "what was lent to it was taken back before it was launched",
                )
            }
            (What::Unconfirmed(_), Standing::Draining { .. }) => Missing::Ends(
                lost(Reason::AgentDraining),
                "its agent was drained before it was launched",
            ),
            (What::Unconfirmed(launch), Standing::Open) => {
                let has = registration
                    .agent
                    .resources
                    .with_checkpoint(registration.checkpointed.resources());
                let checked = launch
                    .task
                    .resources
                    .regular()
                    .filter(|entry| *entry.name() != ResourceName::PORT_BLOCKS);
                if has.is_ok_and(|has| has.contains(&checked)) {
                    Missing::Relaunched
                } else {
                    Missing::Ends(
                        lost(Reason::ResourcesUnknown),
                        "its agent came back without what it was to hold",
                    )
                }
            }
        }
    }

    /// Frees what tasks held that have ended while the agent was away.
    fn end_named(&mut self, id: AgentId, named: &[AgentTask]) {
        for named in named {
            let (key, status) = (named.key(), &named.status);
            let Some(task) = self.tasks.get_mut(&key).filter(|task| task.agent == id) else {
                continue;
            };
            if status.state.is_terminal() {
                task.final_update = status.update;
                let is_new = task.confirm();
                if self.stop_holding(&key, status.state) || is_new {
                    self.put_task(&key);
                }
            }
        }
    }

    /// Writes down for the allocator what tasks hold that it does not know of, all or nothing.
    fn claim_new(&mut self, id: AgentId, tasks: &[AgentTask]) -> Result<(), RegisterError> {
        let new = tasks.iter().filter(|task| {
            let key = task.key();
            let known = self.tasks.get(&key);
            let is_here = known.is_some_and(|known| known.agent == id && known.is_alive());
            let is_stray = self
                .agents
                .by_id
                .get(&id)
                .is_some_and(|agent| agent.strays.contains_key(&key));
            !is_here && !is_stray && !task.status.state.is_terminal()
        });
        let mut claimed: Vec<&AgentTask> = Vec::new();
        for task in new {
            let framework = task.owner.framework;
            if let Err(error) = self.allocator.claim(id, framework, &task.resources) {
                for task in claimed {
                    self.allocator
                        .recover(id, task.owner.framework, &task.resources)
                        .expect("it was just claimed");
                }
                return Err(error.into());
            }
            claimed.push(task);
        }
        Ok(())
    }

    /// Writes down what the agent says of itself, and that it is there.
    fn begin_session(
        &mut self,
        id: AgentId,
        session: SessionId,
        software: Line,
        registration: &Registration,
    ) {
        let lent = self.lent_by(registration);
        let Some(agent) = self.agents.by_id.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut agent.lent, lent);
        if let Some(gone_at) = agent.gone_at() {
            self.timers.cancel(gone_at, Timer::AgentGone(id));
        }
        agent.presence = AgentPresence::Connected(session);
        agent.info = registration.agent.clone();
        agent.boot = registration.boot.clone();
        agent.software = software;
        agent.registered = self.now.unix;
        agent.port_blocks = registration.port_blocks;
        agent.port_blocks_registered = registration.port_blocks.total();
        agent.checkpointed = registration.checkpointed.clone();
        let standing = match agent.standing {
            Standing::Open => AgentStanding::Active,
            Standing::Draining { .. } => AgentStanding::Inactive,
        };
        self.agents.awaited.remove(&id);
        self.agents.spared.remove(&id);
        self.allocator
            .set_agent_standing(id, standing)
            .expect("the allocator has the agents of the ledger");
        self.forget_estimate_end(id, &before);
        self.expect_estimate_end(id);
        self.set_registered(session, id);
    }

    /// Tells an agent that it is being drained, if it is.
    fn tell_standing(&mut self, id: AgentId) {
        let standing = self.agents.by_id.get(&id).map(|agent| agent.standing);
        match standing {
            Some(Standing::Draining { grace_max }) => {
                self.tell_agent(id, AgentEvent::Drain { grace_max });
            }
            Some(Standing::Open) | None => {}
        }
    }

    /// Sends LAUNCH again for every task that the agent has never got.
    fn relaunch(&mut self, id: AgentId, named: &BTreeMap<TaskKey, &AgentTask>) {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return;
        };
        let missing = agent.tasks.iter().filter(|key| !named.contains_key(key));
        let mut launches: Vec<_> = missing
            .filter_map(|key| {
                let task = self.tasks.get(key).filter(|task| task.is_alive())?;
                match &task.what {
                    What::Unconfirmed(launch) => Some((task.number, launch.clone())),
                    What::Confirmed(_) => None,
                }
            })
            .collect();
        launches.sort_by_key(|(number, _)| *number);
        for (_, launch) in launches {
            if let Some(task) = self.tasks.get_mut(&launch.key()) {
                // By what was lent before, a moment ago. Whether it is still too much is seen when the total is.
                task.revoked = Revoked::No;
            }
            self.tell_agent(id, AgentEvent::Launch(launch));
        }
    }

    /// Takes a task that the agent has named.
    fn take_named(&mut self, id: AgentId, named: AgentTask) {
        let key = named.key();
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.agent == id) else {
            self.learn(id, named);
            return;
        };
        let is_new = task.confirm();
        let (kill, is_revoked) = (task.kill, task.revoked == Revoked::Yes);
        if named.status.state.is_terminal() {
            return;
        }
        if let Some(state) = named.acknowledged
            && task.status.state == TaskState::Staging
        {
            // What the ledger knew before it was restarted is not written down.
            task.status.state = state;
        }
        let had_ended = !task.is_alive();
        task.latest = named.status.state;
        if had_ended || is_new {
            self.put_task(&key);
        }
        if let Some(order) = kill {
            self.tell_kill(id, key, order);
        } else if is_revoked && let Some(task) = self.tasks.get_mut(&key) {
            // Whether it is still too much is seen when the total is.
            task.revoked = Revoked::No;
        }
    }

    /// Puts a task into the books that the agent has and the ledger does not. What it holds is held in
    /// the name of its framework already.
    pub(super) fn learn(&mut self, id: AgentId, named: AgentTask) {
        let key = named.key();
        let is_over = named.status.state.is_terminal();
        let ended = self.ended_tasks.by_key.get(&key);
        let was_acknowledged = named.status.update.is_some()
            && ended.is_some_and(|ended| ended.update == named.status.update);
        let is_nobodys = self.frameworks.ended.contains_key(&key.framework);
        if was_acknowledged || is_nobodys || self.tasks.contains_key(&key) {
            if is_over {
                self.acknowledge_oneself(id, key, named.status.update);
                return;
            }
            if let Some(agent) = self.agents.by_id.get_mut(&id) {
                let stray = Stray {
                    resources: named.resources,
                };
                agent.strays.insert(key.clone(), stray);
            }
            self.kill_stray(id, key);
            return;
        }
        if !self.frameworks.by_id.contains_key(&key.framework) {
            let info = info_from_task(&named.owner);
            let principal = named.owner.principal.clone();
            self.add_framework(key.framework, principal, info, Past::FromTasks);
        }
        let reported = named.status;
        let latest = reported.state;
        let final_update = reported.update.filter(|_| is_over);
        let task = Task {
            number: self.next_number(),
            owner: named.owner,
            agent: id,
            operation: named.operation,
            what: What::Confirmed(Box::new(LearnedTask {
                id: named.id,
                name: named.name,
                resources: named.resources,
                network: named.network,
                labels: named.labels,
            })),
            kill: None,
            revoked: Revoked::No,
            status: TaskStatus {
                // What its framework has acknowledged it has heard; the rest comes again.
                state: named.acknowledged.unwrap_or(TaskState::Staging),
                agent: Some(id),
                reason: None,
                update: None,
                exit: None,
                ..reported
            },
            unacknowledged: None,
            final_update,
            latest,
        };
        self.put(Row::Task(Box::new(task.row())));
        let framework = key.framework;
        self.add_task(key, task);
        self.put_off_end(framework);
    }
}
