//! A container as the database keeps it.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weir_executor::record::Outcome;
use weir_resources::{PortRange, PortSet};

use super::error::StoreError;
use super::session::{self, SessionChange};
use crate::container::{ContainerId, ContainerName, Launch, Slot};
use crate::ports::{Freed, UnixMs};

/// Everything that the database holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Every container that is known, in the order of creation.
    pub containers: Vec<ContainerRow>,
    /// The ports that were given back, oldest first.
    pub freed: Vec<Freed>,
}

/// One container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRow {
    /// The key.
    pub id: ContainerId,
    /// The name: given, or the id.
    pub name: ContainerName,
    /// How far it has come.
    pub phase: Phase,
    /// What it is.
    pub launch: Launch,
    /// Its index in the data plane.
    pub slot: Slot,
    /// The ports that it owns beside its block.
    pub ports: PortSet,
    /// Its block.
    pub ephemeral: Option<PortRange>,
    /// Whether its limits are not enforced, which the configuration allowed when they were set.
    pub unenforced: bool,
    /// When it was asked for.
    pub created_at: UnixMs,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It owns its slot and ports; nothing of it may run yet without the agent.
    Starting,
    /// Its executor lives, or has left a record of the end.
    Running {
        /// The process that supervises it.
        executor: ExecutorIdentity,
        /// Since when.
        started_at: UnixMs,
    },
    /// It owns nothing any more but its directory.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When its task was started; never, if it ended before.
        started_at: Option<UnixMs>,
        /// When it ended.
        ended_at: UnixMs,
    },
}

/// What tells an executor from a later process with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorIdentity {
    /// The process id of the executor.
    pub pid: u32,
    /// When it began, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
    /// The boot it belongs to: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The first process inside the container.
    pub init_pid: u32,
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Ended { .. } => "ended",
        }
    }
}

/// Reads everything.
pub(super) fn load(connection: &Connection) -> Result<Stored, StoreError> {
    let failed = |source| StoreError::Write {
        what: "read the containers".to_owned(),
        source,
    };
    let mut statement = connection
        .prepare("SELECT * FROM containers ORDER BY created_ms, id")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut containers = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        containers.push(read(row)?);
    }
    let mut statement = connection
        .prepare("SELECT sequence, ports, freed_ms FROM freed_ports ORDER BY sequence")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut freed = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        freed.push(read_freed(row)?);
    }
    Ok(Stored { containers, freed })
}

fn read_freed(row: &Row<'_>) -> Result<Freed, StoreError> {
    let wrong = |what: String| StoreError::Row {
        id: format!("freed_ports {}", key_of(row, "sequence")),
        what,
    };
    let sql = |error: rusqlite::Error| wrong(error.to_string());
    let text: String = row.get("ports").map_err(sql)?;
    let ports = text
        .parse()
        .map_err(|error| wrong(format!("ports `{text}`: {error}")))?;
    Ok(Freed {
        ports,
        released_at: from_sql(row.get("freed_ms").map_err(sql)?),
    })
}

/// Returns the key of a row for an error, whatever it has become.
fn key_of(row: &Row<'_>, column: &str) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Ok(ValueRef::Null | ValueRef::Real(_)) | Err(_) => "?".to_owned(),
    }
}

fn read(row: &Row<'_>) -> Result<ContainerRow, StoreError> {
    let key = key_of(row, "id");
    let wrong = |what: String| StoreError::Row {
        id: key.clone(),
        what,
    };
    let sql = |error: rusqlite::Error| wrong(error.to_string());
    let text = |column: &str| row.get::<_, String>(column).map_err(sql);
    let optional = |column: &str| row.get::<_, Option<String>>(column).map_err(sql);
    let moment = |column: &str| {
        row.get::<_, Option<i64>>(column)
            .map(|ms| ms.map(from_sql))
            .map_err(sql)
    };
    let required = |column: &'static str, value: Option<UnixMs>| {
        value.ok_or_else(|| wrong(format!("{column} is missing")))
    };
    fn json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|error| format!("{column}: {error}"))
    }
    let phase = match text("phase")?.as_str() {
        "starting" => Phase::Starting,
        "running" => {
            let executor =
                optional("executor")?.ok_or_else(|| wrong("executor is missing".to_owned()))?;
            Phase::Running {
                executor: json("executor", &executor).map_err(wrong)?,
                started_at: required("started_ms", moment("started_ms")?)?,
            }
        }
        "ended" => {
            let outcome =
                optional("outcome")?.ok_or_else(|| wrong("outcome is missing".to_owned()))?;
            Phase::Ended {
                outcome: json("outcome", &outcome).map_err(wrong)?,
                started_at: moment("started_ms")?,
                ended_at: required("ended_ms", moment("ended_ms")?)?,
            }
        }
        other => return Err(wrong(format!("phase `{other}` is not known"))),
    };
    let slot: u32 = row.get("slot").map_err(sql)?;
    let ephemeral = optional("ephemeral")?
        .map(|text| json::<PortRange>("ephemeral", &text).map_err(wrong))
        .transpose()?;
    Ok(ContainerRow {
        id: key.parse().map_err(|error| wrong(format!("{error}")))?,
        name: text("name")?
            .parse()
            .map_err(|error| wrong(format!("{error}")))?,
        phase,
        launch: json("launch", &text("launch")?).map_err(wrong)?,
        slot: Slot::try_from(slot).map_err(|error| wrong(error.to_string()))?,
        ports: text("ports")?
            .parse()
            .map_err(|error| wrong(format!("ports: {error}")))?,
        ephemeral,
        unenforced: row.get("unenforced").map_err(sql)?,
        created_at: required("created_ms", moment("created_ms")?)?,
    })
}

/// One change, made whole or not at all.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert(Box<ContainerRow>),
    SetRunning {
        id: ContainerId,
        executor: ExecutorIdentity,
        started_at: UnixMs,
    },
    SetPorts {
        id: ContainerId,
        ports: PortSet,
        freed: Freed,
    },
    SetLimits {
        id: ContainerId,
        /// With the limits in it.
        launch: Box<Launch>,
        unenforced: bool,
    },
    SetEnded {
        id: ContainerId,
        outcome: Outcome,
        ended_at: UnixMs,
        freed: Freed,
    },
    Forget {
        id: ContainerId,
    },
    /// Forgets freed ports whose rest is over.
    ForgetFreed {
        before: UnixMs,
    },
    /// What the session has decided, as a whole.
    Session(Arc<[SessionChange]>),
}

impl Change {
    /// Returns verb and object, for an error.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Insert(row) => format!("record container {} ({})", row.name, row.id),
            Self::SetRunning { id, .. } => format!("record that container {id} runs"),
            Self::SetPorts { id, .. } => format!("record the ports of container {id}"),
            Self::SetLimits { id, .. } => format!("record the limits of container {id}"),
            Self::SetEnded { id, .. } => format!("record the end of container {id}"),
            Self::Forget { id } => format!("forget container {id}"),
            Self::ForgetFreed { .. } => "forget freed ports".to_owned(),
            Self::Session(changes) => format!("record {} changes of the session", changes.len()),
        }
    }

    /// Makes the change, inside the transaction that `connection` is in.
    pub(super) fn execute(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        match self {
            Self::Insert(row) => insert(connection, row),
            Self::SetRunning {
                id,
                executor,
                started_at,
            } => one_row(connection.execute(
                "UPDATE containers SET phase = 'running', executor = :executor, started_ms = :at
                 WHERE id = :id AND phase = 'starting'",
                named_params! {
                    ":id": id.as_str(), ":executor": to_json(executor)?, ":at": to_sql(*started_at),
                },
            )?),
            Self::SetPorts { id, ports, freed } => {
                one_row(connection.execute(
                    "UPDATE containers SET ports = :ports WHERE id = :id AND phase <> 'ended'",
                    named_params! { ":id": id.as_str(), ":ports": ports.to_string() },
                )?)?;
                free(connection, freed)
            }
            Self::SetLimits {
                id,
                launch,
                unenforced,
            } => one_row(connection.execute(
                "UPDATE containers SET launch = :launch, unenforced = :unenforced
                 WHERE id = :id AND phase <> 'ended'",
                named_params! {
                    ":id": id.as_str(), ":launch": to_json(launch)?, ":unenforced": unenforced,
                },
            )?),
            Self::SetEnded {
                id,
                outcome,
                ended_at,
                freed,
            } => {
                one_row(connection.execute(
                    "UPDATE containers SET phase = 'ended', outcome = :outcome, ended_ms = :at
                     WHERE id = :id AND phase <> 'ended'",
                    named_params! {
                        ":id": id.as_str(), ":outcome": to_json(outcome)?, ":at": to_sql(*ended_at),
                    },
                )?)?;
                free(connection, freed)
            }
            Self::Forget { id } => connection
                .execute(
                    "DELETE FROM containers WHERE id = :id AND phase = 'ended'",
                    named_params! { ":id": id.as_str() },
                )
                .map(drop),
            Self::ForgetFreed { before } => connection
                .execute(
                    "DELETE FROM freed_ports WHERE freed_ms < :before",
                    named_params! { ":before": to_sql(*before) },
                )
                .map(drop),
            Self::Session(changes) => changes
                .iter()
                .try_for_each(|change| session::execute(change, connection)),
        }
    }
}

fn insert(connection: &Connection, row: &ContainerRow) -> Result<(), rusqlite::Error> {
    // Destructured so that a new field is a compile error here.
    let ContainerRow {
        id,
        name,
        phase,
        launch,
        slot,
        ports,
        ephemeral,
        unenforced,
        created_at,
    } = row;
    debug_assert_eq!(phase, &Phase::Starting, "a container begins by starting");
    let ephemeral = ephemeral.as_ref().map(to_json).transpose()?;
    connection
        .execute(
            "INSERT INTO containers
             (id, name, phase, launch, slot, ports, ephemeral, unenforced, created_ms)
             VALUES
             (:id, :name, :phase, :launch, :slot, :ports, :ephemeral, :unenforced, :created_ms)",
            named_params! {
                ":id": id.as_str(),
                ":name": name.as_str(),
                ":phase": phase.name(),
                ":launch": to_json(launch)?,
                ":slot": slot.index(),
                ":ports": ports.to_string(),
                ":ephemeral": ephemeral,
                ":unenforced": unenforced,
                ":created_ms": to_sql(*created_at),
            },
        )
        .map(drop)
}

fn free(connection: &Connection, freed: &Freed) -> Result<(), rusqlite::Error> {
    if freed.ports.is_empty() {
        return Ok(());
    }
    connection
        .execute(
            "INSERT INTO freed_ports (ports, freed_ms) VALUES (:ports, :at)",
            named_params! { ":ports": freed.ports.to_string(), ":at": to_sql(freed.released_at) },
        )
        .map(drop)
}

/// SQLite's integers are signed; a clock that has passed the year 292 million is not ours.
fn to_sql(moment: UnixMs) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn from_sql(ms: i64) -> UnixMs {
    UnixMs(u64::try_from(ms).unwrap_or_default())
}

fn one_row(changed: usize) -> Result<(), rusqlite::Error> {
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::StatementChangedRows(changed))
    }
}

fn to_json(value: &impl Serialize) -> Result<String, rusqlite::Error> {
    serde_json::to_string(value)
        .map_err(|source| rusqlite::Error::ToSqlConversionFailure(Box::new(source)))
}

/// Returns the value of a pragma as text.
pub(super) fn pragma(connection: &Connection, name: &str) -> Result<String, rusqlite::Error> {
    let value = connection
        .query_row(&format!("PRAGMA {name}"), [], |row| {
            row.get::<_, rusqlite::types::Value>(0)
        })
        .optional()?;
    Ok(match value {
        None | Some(rusqlite::types::Value::Null) => String::new(),
        Some(rusqlite::types::Value::Integer(number)) => number.to_string(),
        Some(rusqlite::types::Value::Real(number)) => number.to_string(),
        Some(rusqlite::types::Value::Text(text)) => text,
        Some(rusqlite::types::Value::Blob(bytes)) => format!("{} bytes", bytes.len()),
    })
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;
    use crate::near_miss::{Edit, near_miss};
    use crate::store::schema;

    const KEY: &str = "aaaaaaaaaaab";

    /// Every column of a row that is complete, and the other forms that some of them have.
    const COLUMNS: [(&str, &str); 12] = [
        ("id", KEY),
        ("name", "web"),
        ("ports", "31000-31009,31500"),
        ("ephemeral", r#""61440-62463""#),
        (
            "launch",
            r#"{"name":"web","argv":["sh","-c","true"],"env":[["A","B"]],"working_directory":"/tmp","user":{"name":"nobody","uid":65534,"gid":65534,"groups":[1]},"network":"isolated","limits":{"cpus":"0.5","memory":"64M"},"capabilities":["KILL"]}"#,
        ),
        (
            "launch",
            r#"{"name":"web","argv":["sh","-c","true"],"env":[["A","B"]],"working_directory":"/tmp","user":{"name":"nobody","uid":65534,"gid":65534,"groups":[1]},"network":"isolated","limits":{"cpus":"0.5","memory":"64M","memory_high":"48M","memory_low":"16M","swap":"0","pids":512,"io_weight":50,"io_max":["8:0:rbps=1M,wiops=100"]},"capabilities":["KILL"]}"#,
        ),
        (
            "executor",
            r#"{"pid":7,"start_ticks":8,"boot_id":"boot","init_pid":9}"#,
        ),
        (
            "outcome",
            r#"{"outcome":"signaled","signal":9,"core_dumped":false}"#,
        ),
        (
            "outcome",
            r#"{"outcome":"exec_failed","errno":2,"path":"/x","what":"no such file"}"#,
        ),
        ("slot", "5"),
        ("started_ms", "1700000000000"),
        ("created_ms", "1700000000000"),
    ];

    /// A target that fails ends the test: nobody looks at the connection after a panic.
    fn database() -> AssertUnwindSafe<Connection> {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrations().to_latest(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO containers (id, name, phase, launch, slot, ports, unenforced, created_ms)
                 VALUES ('', '', 'starting', '', 0, '', 0, 0);
                 INSERT INTO freed_ports (sequence, ports, freed_ms) VALUES (7, '31000', 1)",
            )
            .unwrap();
        AssertUnwindSafe(connection)
    }

    /// Makes the row complete and in `phase` again.
    fn restore(connection: &Connection, phase: &str) {
        for (column, text) in COLUMNS {
            set(connection, column, text.as_bytes()).unwrap();
        }
        connection
            .execute("UPDATE containers SET phase = ?, ended_ms = 1", [phase])
            .unwrap();
        connection
            .execute("UPDATE freed_ports SET ports = '31000'", [])
            .unwrap();
    }

    /// Writes bytes as SQLite's text, which need not be UTF-8. A number that is none is refused.
    fn set(connection: &Connection, column: &str, bytes: &[u8]) -> Result<usize, rusqlite::Error> {
        let text = format!("UPDATE containers SET {column} = CAST(? AS TEXT)");
        connection.prepare_cached(&text)?.execute([bytes])
    }

    #[test]
    fn any_damage_to_a_row_is_an_error_that_names_it_or_reads_back() {
        let connection = database();
        let check = |phase: &str, column: &str, bytes: &[u8]| {
            restore(&connection, phase);
            if set(&connection, column, bytes).is_err() {
                return;
            }
            match load(&connection) {
                Ok(stored) => {
                    let row = &stored.containers[0];
                    assert_eq!(row.phase.name(), phase);
                    let written = to_json(&row.launch).unwrap();
                    assert_eq!(
                        serde_json::from_str::<Launch>(&written).unwrap(),
                        row.launch
                    );
                    if let Phase::Ended { outcome, .. } = &row.phase {
                        let written = to_json(outcome).unwrap();
                        assert_eq!(serde_json::from_str::<Outcome>(&written).unwrap(), *outcome);
                    }
                }
                Err(StoreError::Row { id, what }) => {
                    let key = match column {
                        "id" => String::from_utf8_lossy(bytes).into_owned(),
                        _ => KEY.to_owned(),
                    };
                    assert_eq!(id, key);
                    assert!(!what.is_empty());
                }
                Err(other) => panic!("{other} does not name the row"),
            }
        };
        for phase in ["starting", "running", "ended"] {
            restore(&connection, phase);
            let stored = load(&connection).unwrap();
            assert_eq!(stored.containers[0].phase.name(), phase);
        }
        bolero::check!()
            .with_type::<(u8, u8, Vec<Edit>, Vec<u8>)>()
            .with_iterations(1000)
            .for_each(|(which, phase, edits, bytes)| {
                let (column, text) = COLUMNS[usize::from(*which) % COLUMNS.len()];
                let phase = ["starting", "running", "ended"][usize::from(phase % 3)];
                check(phase, column, bytes);
                check(phase, column, near_miss(text, edits).as_bytes());
            });
    }

    #[test]
    fn any_damage_to_freed_ports_is_an_error_that_names_the_row() {
        let connection = database();
        restore(&connection, "starting");
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<Edit>)>()
            .with_iterations(1000)
            .for_each(|(bytes, edits)| {
                for bytes in [bytes, near_miss("31000-31009", edits).as_bytes()] {
                    connection
                        .execute("UPDATE freed_ports SET ports = CAST(? AS TEXT)", [bytes])
                        .unwrap();
                    match load(&connection) {
                        Ok(stored) => {
                            let text = stored.freed[0].ports.to_string();
                            assert_eq!(text.parse(), Ok(stored.freed[0].ports.clone()));
                        }
                        Err(error) => {
                            assert!(error.to_string().contains("`freed_ports 7`"), "{error}");
                        }
                    }
                }
            });
    }
}
