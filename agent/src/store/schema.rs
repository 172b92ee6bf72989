//! The tables, one migration after the other. A migration that was released is never edited.

use rusqlite_migration::{M, Migrations};

/// Marks the file as Weir's (`PRAGMA application_id`): "Weir" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x5765_6972;

/// Two containers that live never share a name or a slot: the indexes hold that even if the agent
/// has a bug. Ports are text as `weir_resources` writes it; the ledger holds that they are disjoint.
const CONTAINERS: &str = "
CREATE TABLE containers (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    phase       TEXT    NOT NULL CHECK (phase IN ('starting', 'running', 'ended')),
    launch      TEXT    NOT NULL,
    slot        INTEGER NOT NULL,
    ports       TEXT    NOT NULL,
    ephemeral   TEXT,
    unenforced  INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    executor    TEXT,
    started_ms  INTEGER,
    outcome     TEXT,
    ended_ms    INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX live_names ON containers (name) WHERE phase <> 'ended';
CREATE UNIQUE INDEX live_slots ON containers (slot) WHERE phase <> 'ended';
CREATE TABLE freed_ports (
    sequence    INTEGER NOT NULL PRIMARY KEY,
    ports       TEXT    NOT NULL,
    freed_ms    INTEGER NOT NULL
) STRICT;
";

/// Returns all migrations in order.
pub(super) fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(CONTAINERS)])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migrations_apply() {
        super::migrations().validate().unwrap();
    }
}
