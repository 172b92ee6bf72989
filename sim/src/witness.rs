//! The witness: sees everything that is said and done, and knows the laws that hold at once.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::{
    AgentCall, AgentEvent, ApplyOutcome, FrameworkEvent, FrameworkId, OfferId, OperationKey,
    OperationOrigin, OperationOutcome, TaskKey,
};
use weir_resources::Kind;
use weir_scheduler::ledger::{Message, Row, SessionId};

use crate::checker::Checker;
use crate::framework::takes_lent;
use crate::network::Party;
use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// How often a program was begun for each task.
    pub(crate) runs: BTreeMap<TaskKey, u32>,
    /// To whom each offer was made.
    pub(crate) offered: BTreeMap<OfferId, usize>,
    /// Whose id is whose.
    pub(crate) names: BTreeMap<FrameworkId, usize>,
    /// Tasks that may run once more: the disk that knew that they had run was put back from a copy.
    pub(crate) excused: BTreeSet<TaskKey>,
}

impl World {
    /// Sees what the ledger lets go.
    pub(crate) fn witness_message(&mut self, session: SessionId, message: &Message) {
        let party = self.network.connections.get(&session);
        let party = party.map(|connection| connection.party);
        match (party, message) {
            (Some(Party::Framework(index)), Message::Framework(event)) => {
                self.witness_framework_event(index, event);
            }
            (Some(Party::Agent(index)), Message::Agent(AgentEvent::Revoke { task, .. })) => {
                self.witness_revoke(index, task);
            }
            (Some(Party::Agent(index)), Message::Agent(AgentEvent::Launch(launch))) => {
                let key = launch.key();
                self.witness_lent(index, key.clone(), &launch.task.resources);
                self.note(format_args!(
                    "the ledger says LAUNCH {key}, which holds {}",
                    launch.task.resources
                ));
                self.assert_asked_for(&key, &launch.operation);
                let is_written = self.scheduler.disk.rows().any(|row| match row {
                    Row::Task(row) => row.key() == key,
                    Row::Agent(_)
                    | Row::RemovedAgent(_)
                    | Row::Framework(_)
                    | Row::EndedFramework(_)
                    | Row::Errand(_)
                    | Row::Answer(_)
                    | Row::Weight { .. } => false,
                });
                if !is_written {
                    let what = format!("task {key} is launched and is not on the disk");
                    self.violate(Checker::Durability, what);
                }
            }
            (Some(Party::Agent(_) | Party::Operator | Party::Framework(_)) | None, _) => {}
        }
    }

    fn witness_framework_event(&mut self, index: usize, event: &FrameworkEvent) {
        match event {
            FrameworkEvent::Subscribed { id, .. } => {
                self.witness.names.insert(*id, index);
                let is_written = self
                    .scheduler
                    .disk
                    .rows()
                    .any(|row| matches!(row, Row::Framework(row) if row.id == *id));
                if !is_written {
                    let what = format!("framework {id} is subscribed and is not on the disk");
                    self.violate(Checker::Durability, what);
                }
            }
            FrameworkEvent::Offers(offers) => {
                for offer in offers {
                    if offer.kind == Kind::Revocable && !takes_lent(index) {
                        let what = format!("what is lent is offered to framework {index}");
                        self.violate(Checker::Lending, what);
                    }
                    let before = self.witness.offered.insert(offer.id, index);
                    if before.is_some() {
                        let what = format!("offer {} is made twice", offer.id);
                        self.violate(Checker::Offers, what);
                    }
                }
            }
            FrameworkEvent::Operation { id, outcome } => {
                let finished = matches!(outcome, OperationOutcome::Finished { .. });
                let framework = self.frameworks[index].id;
                if let Some(framework) = framework.filter(|_| finished) {
                    let key = OperationKey {
                        origin: OperationOrigin::Framework(framework),
                        id: id.clone(),
                    };
                    let is_written = self.scheduler.disk.rows().any(
                        |row| matches!(row, Row::Answer(row) if row.key == key && row.outcome == *outcome),
                    );
                    if !is_written {
                        let what =
                            format!("operation {key} has finished, which is not on the disk");
                        self.violate(Checker::Durability, what);
                    }
                }
            }
            FrameworkEvent::Rescind { .. }
            | FrameworkEvent::Update(_)
            | FrameworkEvent::AgentLost { .. }
            | FrameworkEvent::Error(_)
            | FrameworkEvent::Heartbeat => {}
        }
    }

    /// Checks that a task which is launched was asked for, by its framework, with an offer of its own.
    fn assert_asked_for(&mut self, key: &TaskKey, operation: &OperationKey) {
        let index = self.witness.names.get(&key.framework).copied();
        let belief = index.and_then(|index| self.frameworks[index].tasks.get(&key.task));
        let Some(belief) = belief else {
            let what = format!("task {key} was not asked for by its framework");
            return self.violate(Checker::Owners, what);
        };
        let is_own = index.is_some_and(|index| {
            let offers = self.frameworks[index].used.get(&belief.operation);
            offers.is_some_and(|offers| {
                let mut owners = offers.iter().map(|offer| self.witness.offered.get(offer));
                owners.all(|owner| owner == Some(&index))
            })
        });
        let is_same = belief.operation == operation.id;
        if !is_own || !is_same {
            let what = format!("task {key} is launched with an offer that is another's");
            self.violate(Checker::Owners, what);
        }
    }

    /// Sees what an agent says: all of it is on its disk.
    pub(crate) fn witness_agent_call(&mut self, index: usize, call: &AgentCall) {
        let stored = &self.nodes[index].stored;
        let missing = match call {
            AgentCall::Register(registration) => (registration.checkpointed != stored.set)
                .then(|| format!("set {}", registration.checkpointed.version())),
            AgentCall::Tasks(tasks) => {
                let on_disk: BTreeSet<TaskKey> = stored
                    .tasks
                    .iter()
                    .map(weir_agent::store::TaskRow::key)
                    .collect();
                let mut keys = tasks.iter().map(weir_protocol::AgentTask::key);
                let lacks = keys.find(|key| !on_disk.contains(key));
                lacks.map(|key| format!("task {key}"))
            }
            AgentCall::StatusUpdate {
                framework, status, ..
            } => status.update.and_then(|update| {
                let key = TaskKey {
                    framework: *framework,
                    task: status.task.clone(),
                };
                let row = stored.tasks.iter().find(|row| row.key() == key);
                let mut updates = row.into_iter().flat_map(|row| &row.updates);
                let is_written = updates.any(|written| written.update == Some(update));
                (!is_written).then(|| format!("update {update} of task {key}"))
            }),
            AgentCall::OperationStatus { operation, outcome } => {
                let mut answers = stored.answers.iter().rev();
                let is_written =
                    answers.any(|(key, written)| key == operation && written == outcome);
                let is_applied = matches!(outcome, ApplyOutcome::Applied { .. });
                (is_applied && !is_written).then(|| format!("the answer to {operation}"))
            }
            AgentCall::Estimate(_) | AgentCall::PortBlocks(_) | AgentCall::Unregister => None,
        };
        self.note(format_args!("agent {index} says {}", call.name()));
        if let Some(missing) = missing {
            let what = format!("agent {index} tells of {missing}, which is not on its disk");
            self.violate(Checker::Durability, what);
        }
    }

    pub(crate) fn witness_launch(&mut self, index: usize, key: &TaskKey) {
        let mut rows = self.nodes[index].stored.tasks.iter();
        if !rows.any(|row| row.key() == *key) {
            let what = format!(
                "agent {index} makes a container for task {key}, of which its disk knows nothing"
            );
            self.violate(Checker::Durability, what);
        }
    }

    pub(crate) fn witness_run(&mut self, key: &TaskKey) {
        let runs = self.witness.runs.entry(key.clone()).or_default();
        *runs += 1;
        if *runs > 1 && !self.witness.excused.remove(key) {
            self.violate(Checker::RunsOnce, format_args!("task {key} runs again"));
        }
    }
}
