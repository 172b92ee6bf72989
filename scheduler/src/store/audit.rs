//! The log of who did what: written with what was done, read by people, never by the scheduler.

use rusqlite::{Connection, named_params};

use crate::ledger::{Actor, AuditEntry};

/// How many entries may be too many before they are taken out: each removal goes through an index.
const TRIM_EVERY: u64 = 256;

/// Keeps the log to its bound.
#[derive(Debug)]
pub(super) struct Retention {
    entries_max: u64,
    since_trim: u64,
}

impl Retention {
    pub(super) const fn new(entries_max: u64) -> Self {
        Self {
            entries_max,
            // So that a lower bound counts from the first entry after a start.
            since_trim: TRIM_EVERY,
        }
    }

    /// Writes an entry, inside the transaction that `connection` is in.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        entry: &AuditEntry,
    ) -> Result<(), rusqlite::Error> {
        let (kind, who, framework) = match &entry.who {
            Actor::Framework { id, principal } => {
                ("framework", principal.as_str(), id.map(|id| id.to_string()))
            }
            Actor::Operator(principal) => ("operator", principal.as_str(), None),
            Actor::Agent(name) => ("agent", name.as_str(), None),
            Actor::Scheduler => ("scheduler", "", None),
        };
        connection
            .prepare_cached(
                "INSERT INTO audit (at_ms, kind, who, framework, what, refused)
                 VALUES (:at_ms, :kind, :who, :framework, :what, :refused)",
            )?
            .execute(named_params! {
                ":at_ms": entry.at.0.cast_signed(),
                ":kind": kind,
                ":who": who,
                ":framework": framework,
                ":what": entry.what.as_str(),
                ":refused": entry.refused.as_ref().map(|note| note.as_str()),
            })?;
        self.since_trim += 1;
        if self.since_trim < TRIM_EVERY {
            return Ok(());
        }
        self.since_trim = 0;
        connection
            .prepare_cached(
                "DELETE FROM audit WHERE sequence <= (SELECT max(sequence) FROM audit) - :entries_max",
            )?
            .execute(named_params! { ":entries_max": self.entries_max.cast_signed() })
            .map(drop)
    }
}
