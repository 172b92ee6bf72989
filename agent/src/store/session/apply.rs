//! What each change means.

use weir_protocol::TaskKey;

use super::{ANSWERS_MAX, FINISHED_MAX, SessionChange, SessionStored, TaskRow};

impl SessionStored {
    /// Makes one change, as the tables do.
    ///
    /// A change of what is not there changes nothing: the session never makes one.
    pub fn apply(&mut self, change: &SessionChange) {
        match change {
            SessionChange::SetAgent { id } => self.agent = *id,
            SessionChange::Begin(begun) => self.begun = Some((**begun).clone()),
            SessionChange::Answer {
                operation,
                outcome,
                set,
            } => {
                self.begun.take_if(|begun| begun.operation == *operation);
                if let Some(set) = set {
                    self.set = set.clone();
                }
                self.answers.push((operation.clone(), outcome.clone()));
                trim(&mut self.answers, ANSWERS_MAX);
            }
            SessionChange::AddTask(row) => self.tasks.push((**row).clone()),
            SessionChange::SetProgress { task, progress } => {
                if let Some(row) = self.task_mut(task) {
                    row.progress = (**progress).clone();
                }
            }
            SessionChange::AddUpdate { task, status } => {
                if let Some(row) = self.task_mut(task) {
                    row.updates.push((**status).clone());
                }
            }
            SessionChange::RemoveUpdate { task, update } => {
                if let Some(row) = self.task_mut(task) {
                    row.updates.retain(|status| status.update != Some(*update));
                }
            }
            SessionChange::FinishTask { task, status } => {
                self.tasks.retain(|row| row.key() != *task);
                self.finished.push((task.clone(), (**status).clone()));
                trim(&mut self.finished, FINISHED_MAX);
            }
            SessionChange::ForgetTasks => {
                self.tasks.clear();
                self.finished.clear();
            }
        }
    }

    fn task_mut(&mut self, key: &TaskKey) -> Option<&mut TaskRow> {
        self.tasks.iter_mut().find(|row| row.key() == *key)
    }
}

/// Forgets the oldest of what is more than is kept.
fn trim<T>(entries: &mut Vec<T>, max: usize) {
    let excess = entries.len().saturating_sub(max);
    entries.drain(..excess);
}
