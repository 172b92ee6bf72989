//! Rows in their tables.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, named_params};

use super::error::StoreError;
use super::image;
use crate::ledger::{Row, RowKey};

/// A table of rows, with what is done to it.
struct Table {
    name: &'static str,
    read: &'static str,
    put: &'static str,
    remove: &'static str,
}

macro_rules! table {
    ($name:literal) => {
        Table {
            name: $name,
            read: concat!("SELECT key, row FROM ", $name),
            put: concat!(
                "INSERT INTO ",
                $name,
                " (key, row) VALUES (:key, :row) ON CONFLICT (key) DO UPDATE SET row = :row"
            ),
            remove: concat!("DELETE FROM ", $name, " WHERE key = :key"),
        }
    };
}

static AGENTS: Table = table!("agents");
static REMOVED_AGENTS: Table = table!("removed_agents");
static FRAMEWORKS: Table = table!("frameworks");
static ENDED_FRAMEWORKS: Table = table!("ended_frameworks");
static TASKS: Table = table!("tasks");
static ERRANDS: Table = table!("errands");
static ANSWERS: Table = table!("answers");
static WEIGHTS: Table = table!("weights");

/// How many statements are kept prepared: two for each table, and the log's.
pub(super) const STATEMENTS: usize = 24;

/// Returns where a row of this key is, and as what.
fn place(key: &RowKey) -> (&'static Table, String) {
    match key {
        RowKey::Agent(id) => (&AGENTS, id.to_string()),
        RowKey::RemovedAgent(id) => (&REMOVED_AGENTS, id.to_string()),
        RowKey::Framework(id) => (&FRAMEWORKS, id.to_string()),
        RowKey::EndedFramework(id) => (&ENDED_FRAMEWORKS, id.to_string()),
        // No id holds a slash, so the text is of one key only.
        RowKey::Task(key) => (&TASKS, key.to_string()),
        RowKey::Errand(number) => (&ERRANDS, number.0.to_string()),
        RowKey::Answer(key) => (&ANSWERS, key.to_string()),
        RowKey::Weight(role) => (&WEIGHTS, role.to_string()),
    }
}

/// Puts a row in its place, inside the transaction that `connection` is in.
pub(super) fn put(connection: &Connection, row: &Row) -> Result<(), rusqlite::Error> {
    let (table, key) = place(&row.key());
    connection
        .prepare_cached(table.put)?
        .execute(named_params! { ":key": key, ":row": image::encode(row) })
        .map(drop)
}

/// Takes a row out, if there is one.
pub(super) fn remove(connection: &Connection, key: &RowKey) -> Result<(), rusqlite::Error> {
    let (table, key) = place(key);
    connection
        .prepare_cached(table.remove)?
        .execute(named_params! { ":key": key })
        .map(drop)
}

/// Reads every row.
pub(super) fn load(connection: &Connection) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    read(connection, &AGENTS, image::agent, &mut rows)?;
    read(connection, &REMOVED_AGENTS, image::removed_agent, &mut rows)?;
    read(connection, &FRAMEWORKS, image::framework, &mut rows)?;
    read(
        connection,
        &ENDED_FRAMEWORKS,
        image::ended_framework,
        &mut rows,
    )?;
    read(connection, &TASKS, image::task, &mut rows)?;
    read(connection, &ERRANDS, image::errand, &mut rows)?;
    read(connection, &ANSWERS, image::answer, &mut rows)?;
    read(connection, &WEIGHTS, image::weight, &mut rows)?;
    Ok(rows)
}

fn read(
    connection: &Connection,
    table: &Table,
    decode: fn(&[u8]) -> Result<Row, String>,
    rows: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(table.read).map_err(StoreError::Read)?;
    let mut found = statement.query([]).map_err(StoreError::Read)?;
    while let Some(entry) = found.next().map_err(StoreError::Read)? {
        let key: String = entry.get("key").map_err(StoreError::Read)?;
        let bytes = match entry.get_ref("row").map_err(StoreError::Read)? {
            ValueRef::Blob(bytes) => bytes,
            // A strict table holds nothing else.
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => &[],
        };
        let wrong = |what| StoreError::Row {
            table: table.name,
            key: key.clone(),
            what,
        };
        let row = decode(bytes).map_err(wrong)?;
        let (_, own) = place(&row.key());
        if own != key {
            return Err(wrong(format!("it is a row of `{own}`")));
        }
        rows.push(row);
    }
    Ok(())
}
