//! A ledger from what was written down.
//!
//! Agents and frameworks are away until they come, and have time to. Offers are gone with the process that
//! made them; what tasks and errands hold is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_protocol::{
    AgentId, FrameworkId, Launch, OperationOrigin, PortBlocks, TaskKey, TaskState, TaskStatus,
};
use weir_resources::{Resources, Role};

use super::agent::{Agent, AgentPresence, Lent};
use super::errand::{Errand, Stage};
use super::framework::{Framework, FrameworkPresence, kinds};
use super::input::Moment;
use super::issue::Seed;
use super::policy::Policy;
use super::record::{
    AgentRow, AnswerRow, EndedFramework, ErrandNumber, ErrandRow, FrameworkRow, RemovedAgent, Row,
    TaskRow, TaskWhat,
};
use super::refusal::chain;
use super::settings::Settings;
use super::state::Ledger;
use super::task::{Revoked, Task, What};
use super::timers::Timer;
use super::total::{Parts, TotalError};
use crate::allocator::{AgentStanding, Weight};

/// Says why there is no ledger to be made of what was written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A task on an agent that is not there, or of a framework that is not.
    #[error("task {task} is on agent {agent} and there is no such agent, or no such framework")]
    Task {
        /// The task.
        task: TaskKey,
        /// Where it is.
        agent: AgentId,
    },
    /// An errand on an agent that is not there.
    #[error("errand {number} is of agent {agent}, and there is no such agent", number = number.0)]
    Errand {
        /// The errand.
        number: ErrandNumber,
        /// Where it is.
        agent: AgentId,
    },
    /// Two agents of one name.
    #[error("agents {first} and {second} have the same name")]
    Name {
        /// The one.
        first: AgentId,
        /// The other.
        second: AgentId,
    },
    /// An agent whose resources cannot be what they are written down to be.
    #[error("what agent {agent} has is not in order: {why}")]
    Agent {
        /// The agent.
        agent: AgentId,
        /// What is wrong.
        why: String,
    },
}

impl RecoverError {
    /// Returns what to try.
    pub const fn remedy(&self) -> &'static str {
        "the database is not what the scheduler has written: move it away and start again; agents and frameworks then give back what they know"
    }
}

/// Rows, by what they are.
#[derive(Debug, Default)]
struct Rows {
    agents: Vec<AgentRow>,
    removed: Vec<RemovedAgent>,
    frameworks: Vec<FrameworkRow>,
    ended: Vec<EndedFramework>,
    tasks: Vec<TaskRow>,
    errands: Vec<ErrandRow>,
    answers: Vec<AnswerRow>,
    weights: Vec<(Role, Weight)>,
}

impl Rows {
    fn sorted(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut all = Self::default();
        for row in rows {
            match row {
                Row::Agent(row) => all.agents.push(row),
                Row::RemovedAgent(row) => all.removed.push(row),
                Row::Framework(row) => all.frameworks.push(row),
                Row::EndedFramework(row) => all.ended.push(row),
                Row::Task(row) => all.tasks.push(*row),
                Row::Errand(row) => all.errands.push(row),
                Row::Answer(row) => all.answers.push(row),
                Row::Weight { role, weight } => all.weights.push((role, weight)),
            }
        }
        // The order in which rows come is nobody's, and must decide nothing.
        all.agents.sort_by_key(|row| row.id);
        all.removed.sort_by_key(|row| (row.at, row.id));
        all.frameworks.sort_by_key(|row| row.id);
        all.ended.sort_by_key(|row| (row.at, row.id));
        all.tasks.sort_by_key(|row| row.number);
        all.errands.sort_by_key(|row| row.turn);
        all.answers.sort_by_key(|row| row.number);
        all
    }

    /// Returns a number above all that were given.
    fn next_number(&self) -> u64 {
        let tasks = self.tasks.iter().map(|row| row.number);
        let errands = self.errands.iter().map(|row| row.turn.max(row.number.0));
        let answers = self.answers.iter().map(|row| row.number);
        let last = tasks.chain(errands).chain(answers).max();
        last.unwrap_or(0).saturating_add(1)
    }
}

impl Ledger {
    /// Returns the ledger that has written these rows, as far as it is durable. They come in any order.
    ///
    /// `seed` is another than that of the ledger before.
    pub fn recover(
        settings: Settings,
        policy: Arc<dyn Policy>,
        seed: Seed,
        now: Moment,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<Self, RecoverError> {
        let rows = Rows::sorted(rows);
        let mut ledger = Self::new(settings, policy, seed, now);
        ledger.next_number = rows.next_number();
        for (role, weight) in rows.weights {
            ledger.allocator.set_weight(&role, weight);
            ledger.weights.insert(role, weight);
        }
        for ended in rows.ended {
            ledger.frameworks.remember(ended, usize::MAX);
        }
        for removed in rows.removed {
            ledger.agents.remember(removed, usize::MAX);
        }
        for row in rows.frameworks {
            ledger.recover_framework(row);
        }
        let mut agents: BTreeMap<AgentId, Agent> = BTreeMap::new();
        for row in rows.agents {
            let agent = ledger.recovered_agent(row);
            agents.insert(agent.id, agent);
        }
        for row in rows.tasks {
            ledger.recover_task(&mut agents, row)?;
        }
        for row in rows.errands {
            ledger.recover_errand(&mut agents, row)?;
        }
        for row in rows.answers {
            ledger.answers.remember(row, usize::MAX);
        }
        for agent in agents.into_values() {
            ledger.recover_agent(agent)?;
        }
        let frameworks: Vec<FrameworkId> = ledger.frameworks.by_id.keys().copied().collect();
        // Whose database was put back from a copy is told of tasks by agents, as they come.
        let patience = ledger
            .settings
            .framework_return
            .max(ledger.settings.agent_return);
        for framework in frameworks {
            ledger.hasten_end(framework, patience);
        }
        ledger.check();
        Ok(ledger)
    }

    fn recover_framework(&mut self, row: FrameworkRow) {
        let id = row.id;
        self.allocator
            .add_framework(id, &row.info.role, kinds(&row.info))
            .expect("each row has its own key");
        self.allocator
            .deactivate_framework(id)
            .expect("it was added");
        let gone_at =
            self.framework_gone_at(row.info.failover_timeout, self.settings.framework_return);
        self.timers.set(gone_at, Timer::FrameworkGone(id));
        let framework = Framework {
            id,
            info: row.info,
            principal: row.principal,
            subscribed: row.subscribed,
            past: row.past,
            presence: FrameworkPresence::Away { gone_at },
            offers: Default::default(),
            tasks: Default::default(),
            errands: Default::default(),
            untold: Default::default(),
        };
        self.frameworks.by_id.insert(id, framework);
    }

    fn recovered_agent(&mut self, row: AgentRow) -> Agent {
        let gone_at = self.now.elapsed.saturating_add(self.settings.agent_return);
        self.timers.set(gone_at, Timer::AgentGone(row.id));
        Agent {
            id: row.id,
            info: row.info,
            boot: row.boot,
            software: row.software,
            registered: row.registered,
            presence: AgentPresence::Recovered { gone_at },
            standing: row.standing,
            checkpointed: row.checkpointed,
            port_blocks: PortBlocks {
                version: 0,
                free: row.port_blocks,
                held: 0,
            },
            port_blocks_registered: row.port_blocks,
            lent: Lent::Nothing,
            total: Resources::new(),
            offers: Default::default(),
            tasks: Default::default(),
            strays: Default::default(),
            errands: Default::default(),
        }
    }

    fn recover_task(
        &mut self,
        agents: &mut BTreeMap<AgentId, Agent>,
        row: TaskRow,
    ) -> Result<(), RecoverError> {
        let key = row.key();
        let framework = self.frameworks.by_id.get_mut(&key.framework);
        let (Some(framework), Some(agent)) = (framework, agents.get_mut(&row.agent)) else {
            return Err(RecoverError::Task {
                task: key,
                agent: row.agent,
            });
        };
        framework.tasks.insert(key.task.clone());
        agent.tasks.insert(key.clone());
        let what = match row.what {
            TaskWhat::Launched(task) => What::Unconfirmed(Box::new(Launch {
                operation: row.operation.clone(),
                owner: row.owner.clone(),
                task,
            })),
            TaskWhat::Learned(learned) => What::Confirmed(Box::new(learned)),
        };
        // Where it is its agent says when it comes.
        let status: TaskStatus =
            self.status(&key.task, TaskState::Staging, Some(row.agent), None, None);
        let task = Task {
            number: row.number,
            owner: row.owner,
            agent: row.agent,
            operation: row.operation,
            what,
            kill: row.kill,
            revoked: Revoked::No,
            status,
            unacknowledged: None,
            final_update: None,
            latest: row.ended.unwrap_or(TaskState::Staging),
        };
        self.tasks.insert(key, task);
        Ok(())
    }

    fn recover_errand(
        &mut self,
        agents: &mut BTreeMap<AgentId, Agent>,
        row: ErrandRow,
    ) -> Result<(), RecoverError> {
        let Some(agent) = agents.get_mut(&row.agent) else {
            return Err(RecoverError::Errand {
                number: row.number,
                agent: row.agent,
            });
        };
        let stage = if agent.errands.is_empty() {
            Stage::Doubtful
        } else {
            Stage::Queued
        };
        agent.errands.push_back(row.number);
        let errand = Errand {
            number: row.number,
            turn: row.turn,
            origin: row.origin,
            agent: row.agent,
            pool: row.pool,
            steps: row.steps.into(),
            filters: row.filters,
            stage,
            waiters: Vec::new(),
        };
        if let OperationOrigin::Framework(id) = errand.origin
            && let Some(framework) = self.frameworks.by_id.get_mut(&id)
        {
            framework.errands.insert(errand.number);
        }
        self.errands.insert(errand);
        Ok(())
    }

    /// Puts an agent into the books, after all that is held there.
    fn recover_agent(&mut self, agent: Agent) -> Result<(), RecoverError> {
        let id = agent.id;
        let refused = |why: &TotalError| RecoverError::Agent {
            agent: id,
            why: chain(why),
        };
        let total = Parts {
            info: &agent.info,
            checkpointed: agent.checkpointed.resources(),
            blocks: agent.port_blocks,
            lent: &Resources::new(),
            held_blocks: self.held_blocks(&agent),
        }
        .total()
        .map_err(|error| refused(&error))?;
        let tasks = agent.tasks.iter().filter_map(|key| {
            let task = self.tasks.get(key).filter(|task| task.is_alive())?;
            Some((key.framework, task.resources().clone()))
        });
        let pools = agent.errands.iter().filter_map(|number| {
            let errand = self.errands.by_number.get(number)?;
            Some((errand.framework()?, errand.pool.clone()))
        });
        let held: Vec<(FrameworkId, Resources)> = tasks.chain(pools).collect();
        let allocated = self.allocatable(&agent, &total);
        self.allocator
            .add_agent(id, &allocated, &held, AgentStanding::Inactive)
            .map_err(|error| refused(&error.into()))?;
        let name = agent.info.name.clone();
        if let Some(first) = self.agents.by_name.insert(name, id) {
            return Err(RecoverError::Name { first, second: id });
        }
        self.agents.awaited.insert(id);
        self.agents.by_id.insert(id, Agent { total, ..agent });
        Ok(())
    }

    /// Returns everything that is written down, as it is by now: what [`Self::recover`] needs, and what a
    /// database holds once every batch is written.
    pub fn rows(&self) -> Vec<Row> {
        let agents = self.agents.by_id.values();
        let removed = self.agents.removed.values().cloned();
        let frameworks = self.frameworks.by_id.values();
        let ended = self.frameworks.ended.values().cloned();
        let tasks = self.tasks.values();
        let errands = self.errands.by_number.values();
        let answers = self.answers.rows().cloned();
        let weights = self.weights.iter().map(|(role, weight)| Row::Weight {
            role: role.clone(),
            weight: *weight,
        });
        agents
            .map(|agent| Row::Agent(agent.row()))
            .chain(removed.map(Row::RemovedAgent))
            .chain(frameworks.map(|framework| Row::Framework(framework.row())))
            .chain(ended.map(Row::EndedFramework))
            .chain(tasks.map(|task| Row::Task(Box::new(task.row()))))
            .chain(errands.map(|errand| Row::Errand(errand.row())))
            .chain(answers.map(Row::Answer))
            .chain(weights)
            .collect()
    }
}
