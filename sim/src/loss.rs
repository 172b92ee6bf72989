//! What is lost: nodes restart, and databases vanish or are put back from a backup.

use std::collections::BTreeSet;

use weir_agent::container::ContainerId;
use weir_agent::session::ContainerState;
use weir_agent::store::TaskPhase;
use weir_executor::record::Outcome;

use crate::mutation::Mutation;
use crate::world::World;

impl World {
    /// Restarts a node: its programs end, its clock begins anew, its disk stays.
    pub(crate) fn node_reboots(&mut self, index: usize) {
        self.agent_crash(index);
        let ended_at = self.clock_of(index).unix;
        let now = self.now;
        let wipes = self.is_mutated(Mutation::WipeVolumes);
        let node = &mut self.nodes[index];
        node.boot += 1;
        node.booted_at = now;
        for container in node.containers.values_mut() {
            match container.state {
                ContainerState::Running { .. } => {
                    let reason = "the node was restarted".to_owned();
                    let outcome = Outcome::Lost { reason };
                    container.state = ContainerState::Ended { outcome, ended_at };
                }
                ContainerState::Changing => {
                    let reason = "the node was restarted".to_owned();
                    let outcome = Outcome::Aborted { reason };
                    container.state = ContainerState::Ended { outcome, ended_at };
                }
                ContainerState::Absent | ContainerState::Ended { .. } => {}
            }
        }
        if wipes {
            node.volumes.clear();
        }
        self.report.losses += 1;
        self.note(format_args!("node {index} restarts"));
    }

    /// Ends the scheduler, and its disk is gone.
    pub(crate) fn scheduler_loses_database(&mut self) {
        if self.scheduler.ledger.is_none() {
            return;
        }
        self.scheduler_crash();
        self.scheduler.disk = weir_scheduler::ledger::Image::default();
        self.has_lost = true;
        self.report.losses += 1;
        self.note("the scheduler's database is lost");
    }

    /// Keeps a copy of an agent's database.
    pub(crate) fn agent_backs_up(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.backup = Some(node.stored.clone());
    }

    /// Ends an agent, and its database is gone; what there is of an earlier copy is put in its place.
    ///
    /// Containers are in the same database: what it does not know is ended before anything else is done.
    pub(crate) fn agent_loses_database(&mut self, index: usize) {
        if self.nodes[index].session.is_none() {
            return;
        }
        self.agent_crash(index);
        let is_restored = self.chance.percent(60);
        let node = &mut self.nodes[index];
        let backup = node.backup.clone().filter(|_| is_restored);
        let is_restored = backup.is_some();
        node.stored = backup.unwrap_or_default();
        node.has_lost = true;
        let known: BTreeSet<ContainerId> = node
            .stored
            .tasks
            .iter()
            .filter_map(|row| row.progress.phase.container().cloned())
            .collect();
        node.containers.retain(|id, _| known.contains(id));
        // What was about to run when the copy was made may have run since: nobody is left who knows.
        let doubtful = node
            .stored
            .tasks
            .iter()
            .filter(|row| match row.progress.phase {
                TaskPhase::Launching { .. } => true,
                TaskPhase::Running { .. } | TaskPhase::Ended => false,
            });
        for row in doubtful {
            self.witness.excused.insert(row.key());
        }
        self.has_lost = true;
        self.report.losses += 1;
        self.note(format_args!(
            "the database of agent {index} is lost{}",
            if is_restored {
                ", and an earlier one put back"
            } else {
                ""
            }
        ));
    }
}
