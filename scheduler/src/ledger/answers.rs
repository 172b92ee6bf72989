//! Answers to operations: one to each, and the same to whoever asks again.
//!
//! An operation has a key, its name in the whole cluster. What came of it is written down before it is
//! told, and remembered for a while: the same operation under the same key is answered again and not
//! done again, another under the same key is refused.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::operator::OperatorAnswer;
use weir_protocol::{
    CallId, FrameworkEvent, FrameworkId, Operation, OperationId, OperationKey, OperationOrigin,
    OperationOutcome, encode_frame, wire,
};

use super::input::SessionId;
use super::record::{AnswerRow, Fingerprint, Row, RowKey, Step};
use super::state::Ledger;

/// Final answers that are remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    by_key: BTreeMap<OperationKey, AnswerRow>,
    /// In the order in which they were given.
    by_origin: BTreeMap<OperationOrigin, VecDeque<OperationId>>,
}

impl Answers {
    pub(super) fn get(&self, key: &OperationKey) -> Option<&AnswerRow> {
        self.by_key.get(key)
    }

    /// Remembers an answer, later than all before; returns the one of the same origin that is forgotten
    /// for it.
    pub(super) fn remember(&mut self, row: AnswerRow, most: usize) -> Option<OperationKey> {
        let key = row.key.clone();
        if self.by_key.insert(key.clone(), row).is_some() {
            return None;
        }
        let own = self.by_origin.entry(key.origin.clone()).or_default();
        own.push_back(key.id);
        if own.len() <= most {
            return None;
        }
        let forgotten = OperationKey {
            origin: key.origin,
            id: own.pop_front()?,
        };
        self.by_key.remove(&forgotten);
        Some(forgotten)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &AnswerRow> {
        self.by_key.values()
    }

    /// Forgets all answers to somebody; returns which.
    pub(super) fn forget(&mut self, origin: &OperationOrigin) -> Vec<OperationKey> {
        let ids = self.by_origin.remove(origin).unwrap_or_default();
        let keys = ids.into_iter().map(|id| OperationKey {
            origin: origin.clone(),
            id,
        });
        let keys: Vec<OperationKey> = keys.collect();
        for key in &keys {
            self.by_key.remove(key);
        }
        keys
    }
}

impl Step {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            fingerprint: fingerprint(&operation),
            operation,
        }
    }
}

/// Returns the bits by which an operation is known again, the same in every life of the scheduler:
/// FNV-1a (Fowler, Noll and Vo) over what it is on the wire.
fn fingerprint(operation: &Operation) -> Fingerprint {
    let mut bytes = Vec::new();
    let wire = wire::Operation::from(operation.clone());
    encode_frame(&wire, &mut bytes).expect("it came in a frame, among others");
    let hash = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Fingerprint(hash)
}

impl Ledger {
    /// Writes down what came of an operation, and tells who asked for it.
    pub(super) fn answer(
        &mut self,
        key: OperationKey,
        fingerprint: Fingerprint,
        outcome: OperationOutcome,
        waiters: &[(SessionId, CallId)],
    ) {
        debug_assert!(outcome.is_final(), "{key} has one answer");
        if let OperationOrigin::Framework(framework) = key.origin
            && !self.frameworks.by_id.contains_key(&framework)
        {
            // Nobody will ever ask.
            return;
        }
        let row = AnswerRow {
            key: key.clone(),
            number: self.next_number(),
            fingerprint,
            outcome: outcome.clone(),
        };
        self.put(Row::Answer(row.clone()));
        let most = self.settings.bounds.answers;
        if let Some(forgotten) = self.answers.remember(row, most) {
            self.drop_row(RowKey::Answer(forgotten));
        }
        match key.origin {
            OperationOrigin::Framework(framework) => {
                self.tell_outcome(framework, key.id, outcome);
            }
            OperationOrigin::Operator(_) => {
                for (session, call) in waiters {
                    self.answer_operator(*session, *call, for_operator(outcome.clone()));
                }
            }
        }
    }

    /// Tells a framework what came of an operation, now or when it is back.
    fn tell_outcome(&mut self, framework: FrameworkId, id: OperationId, outcome: OperationOutcome) {
        let most = self.settings.bounds.answers;
        if let Some(known) = self.frameworks.by_id.get_mut(&framework)
            && known.session().is_none()
        {
            known.untold.push_back(id);
            if known.untold.len() > most {
                known.untold.pop_front();
            }
            return;
        }
        self.tell_framework(framework, FrameworkEvent::Operation { id, outcome });
    }

    /// Tells a framework once more what came of an operation, if that is remembered.
    pub(super) fn tell_answer_again(&mut self, framework: FrameworkId, id: OperationId) {
        let key = OperationKey {
            origin: OperationOrigin::Framework(framework),
            id,
        };
        if let Some(row) = self.answers.get(&key) {
            let outcome = row.outcome.clone();
            self.tell_framework(
                framework,
                FrameworkEvent::Operation {
                    id: key.id,
                    outcome,
                },
            );
        }
    }

    /// Forgets all answers to a framework that has ended.
    pub(super) fn forget_answers_of(&mut self, framework: FrameworkId) {
        let origin = OperationOrigin::Framework(framework);
        for key in self.answers.forget(&origin) {
            self.drop_row(RowKey::Answer(key));
        }
    }
}

/// Returns what an operator is answered of an operation.
pub(super) fn for_operator(outcome: OperationOutcome) -> OperatorAnswer {
    match outcome {
        OperationOutcome::Accepted => OperatorAnswer::Done { notes: Vec::new() },
        OperationOutcome::Finished { notes } => OperatorAnswer::Done { notes },
        OperationOutcome::Failed(failure) => OperatorAnswer::Failed(failure),
    }
}
