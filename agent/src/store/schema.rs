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

/// The session with the scheduler. Blobs are messages of the protocol: `ResourceSet`,
/// `AgentEvent.Apply` (what was begun), `AgentCall.OperationStatus` (answers), `AgentEvent.Launch`,
/// `TaskStatus`. An empty one is a message without fields.
const SESSION: &str = "
CREATE TABLE session (
    key             INTEGER NOT NULL PRIMARY KEY CHECK (key = 1),
    agent_id        TEXT,
    resource_set    BLOB    NOT NULL,
    begun           BLOB,
    begun_operation TEXT
) STRICT;
INSERT INTO session (key, resource_set) VALUES (1, x'');
CREATE TABLE answers (
    sequence     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    answer       BLOB    NOT NULL
) STRICT;
CREATE TABLE tasks (
    sequence          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    framework         TEXT    NOT NULL,
    task              TEXT    NOT NULL,
    phase             TEXT    NOT NULL CHECK (phase IN ('launching', 'running', 'ended')),
    container         TEXT,
    attempt           INTEGER,
    boot              TEXT,
    is_ending         INTEGER NOT NULL,
    ending_reason     TEXT,
    ending_message    TEXT,
    ending_grace_ms   INTEGER,
    latest            BLOB    NOT NULL,
    acknowledged      TEXT,
    launch            BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX task_keys ON tasks (framework, task);
CREATE TABLE updates (
    sequence     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    framework    TEXT    NOT NULL,
    task         TEXT    NOT NULL,
    update_id    TEXT    NOT NULL,
    status       BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX update_keys ON updates (framework, task, update_id);
CREATE TABLE finished (
    sequence     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    framework    TEXT    NOT NULL,
    task         TEXT    NOT NULL,
    status       BLOB    NOT NULL
) STRICT;
";

/// Returns all migrations in order.
pub(super) fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(CONTAINERS), M::up(SESSION)])
}

/// Returns the migrations that an agent had that knew only so many.
#[cfg(test)]
pub(super) fn migrations_up_to(version: usize) -> Migrations<'static> {
    let all = [CONTAINERS, SESSION];
    Migrations::new(all[..version].iter().map(|sql| M::up(sql)).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migrations_apply() {
        super::migrations().validate().unwrap();
    }
}
