//! The tables, one migration after the other. A migration that was released is never edited.

use rusqlite_migration::{M, Migrations};

/// Marks the file as the scheduler's (`PRAGMA application_id`): "WeiS" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x5765_6953;

/// One table per kind of row. `key` is what people call the thing, `row` a message of `image.rs`.
const ROWS: &str = "
CREATE TABLE agents           (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE removed_agents   (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE frameworks       (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ended_frameworks (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tasks            (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE errands          (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE answers          (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE weights          (key TEXT NOT NULL PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Who did what, in text, for people with the `sqlite3` program. AUTOINCREMENT: a number is never used
/// again, so that whoever copies the log elsewhere knows where to go on.
const AUDIT: &str = "
CREATE TABLE audit (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('framework', 'operator', 'agent', 'scheduler')),
    who       TEXT    NOT NULL,
    framework TEXT,
    what      TEXT    NOT NULL,
    refused   TEXT
) STRICT;
";

/// The migrations, first to last.
pub(super) const MIGRATIONS: [&str; 2] = [ROWS, AUDIT];

/// Returns all migrations in order.
pub(super) fn migrations() -> Migrations<'static> {
    Migrations::new(MIGRATIONS.into_iter().map(M::up).collect())
}
