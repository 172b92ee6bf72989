//! What the tables hold, read back; every row that this program could not have written is named.

use std::collections::BTreeMap;

use prost::Message;
use rusqlite::{Connection, Row};
use weir_protocol::wire::agent_call::Call;
use weir_protocol::wire::agent_event::Event;
use weir_protocol::{
    AgentCall, AgentEvent, ApplyOutcome, Launch, Millis, Note, OperationKey, Reason, ResourceSet,
    TaskKey, TaskState, TaskStatus, wire,
};

use super::{BegunChange, Ending, Progress, SessionStored, TaskPhase, TaskRow};
use crate::store::StoreError;

/// What is wrong with a row.
type Wrong = String;

/// Reads everything.
pub(in crate::store) fn load(connection: &Connection) -> Result<SessionStored, StoreError> {
    let mut stored = SessionStored::default();
    each(connection, "session", "key", |row| {
        let agent: Option<String> = column(row, "agent_id")?;
        stored.agent = agent.map(|id| parse(&id)).transpose()?;
        let set = message::<wire::ResourceSet>(row, "resource_set")?;
        stored.set = ResourceSet::try_from(set).map_err(text)?;
        let begun: Option<Vec<u8>> = column(row, "begun")?;
        stored.begun = begun.map(|bytes| begun_of(&bytes)).transpose()?;
        Ok(())
    })?;
    each(connection, "answers", "sequence", |row| {
        let call = message::<wire::AgentCall>(row, "answer")?;
        stored.answers.push(answer_of(call)?);
        Ok(())
    })?;
    each(connection, "tasks", "sequence", |row| {
        stored.tasks.push(task_of(row)?);
        Ok(())
    })?;
    let index: BTreeMap<TaskKey, usize> = stored
        .tasks
        .iter()
        .enumerate()
        .map(|(position, task)| (task.key(), position))
        .collect();
    each(connection, "updates", "sequence", |row| {
        let key = key_of(row)?;
        let status = status_of(row, "status", &key)?;
        if status.update.is_none() {
            return Err("the update has no id".to_owned());
        }
        let position = *index
            .get(&key)
            .ok_or_else(|| format!("it is an update of task {key}, which is not there"))?;
        stored.tasks[position].updates.push(status);
        Ok(())
    })?;
    each(connection, "finished", "sequence", |row| {
        let key = key_of(row)?;
        let status = status_of(row, "status", &key)?;
        stored.finished.push((key, status));
        Ok(())
    })?;
    Ok(stored)
}

/// Reads every row of a table in the order of its key.
fn each(
    connection: &Connection,
    table: &str,
    key: &'static str,
    mut read: impl FnMut(&Row<'_>) -> Result<(), Wrong>,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write {
        what: format!("read the table {table}"),
        source,
    };
    let mut statement = connection
        .prepare(&format!("SELECT * FROM {table} ORDER BY {key}"))
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        read(row).map_err(|what| {
            let number: i64 = row.get(key).unwrap_or_default();
            StoreError::Row {
                id: format!("{table} {number}"),
                what,
            }
        })?;
    }
    Ok(())
}

fn task_of(row: &Row<'_>) -> Result<TaskRow, Wrong> {
    let key = key_of(row)?;
    let launch = message::<wire::agent_event::Launch>(row, "launch")?;
    let launch = Launch::try_from(launch).map_err(text)?;
    if launch.key() != key {
        return Err(format!("it is {key}, and launches {}", launch.key()));
    }
    let latest = status_of(row, "latest", &key)?;
    let acknowledged: Option<String> = column(row, "acknowledged")?;
    Ok(TaskRow {
        launch: launch.into(),
        progress: Progress {
            phase: phase_of(row)?,
            ending: ending_of(row)?,
            latest,
            acknowledged: acknowledged.map(|name| state_of(&name)).transpose()?,
        },
        updates: Vec::new(),
    })
}

fn phase_of(row: &Row<'_>) -> Result<TaskPhase, Wrong> {
    let name: String = column(row, "phase")?;
    let container = || parse(&column::<String>(row, "container")?);
    let boot = || parse(&column::<String>(row, "boot")?);
    match name.as_str() {
        "launching" => Ok(TaskPhase::Launching {
            container: container()?,
            attempt: column(row, "attempt")?,
            boot: boot()?,
        }),
        "running" => Ok(TaskPhase::Running {
            container: container()?,
            boot: boot()?,
        }),
        "ended" => Ok(TaskPhase::Ended),
        other => Err(format!("phase `{other}` is not known")),
    }
}

fn ending_of(row: &Row<'_>) -> Result<Option<Ending>, Wrong> {
    if !column::<bool>(row, "is_ending")? {
        return Ok(None);
    }
    let reason: Option<String> = column(row, "ending_reason")?;
    let message: Option<String> = column(row, "ending_message")?;
    let grace: Option<i64> = column(row, "ending_grace_ms")?;
    let grace = grace.map(|ms| u64::try_from(ms).map_err(|_negative| format!("{ms} ms of grace")));
    Ok(Some(Ending {
        reason: reason.map(|name| reason_of(&name)).transpose()?,
        message: message
            .map(|text| Note::new(text).map_err(|error| error.to_string()))
            .transpose()?,
        grace: grace.transpose()?.map(Millis),
    }))
}

fn state_of(name: &str) -> Result<TaskState, Wrong> {
    let mut all = TaskState::ALL.into_iter();
    all.find(|state| state.as_str() == name)
        .ok_or_else(|| format!("state `{name}` is not known"))
}

fn reason_of(name: &str) -> Result<Reason, Wrong> {
    let mut all = Reason::ALL.into_iter();
    all.find(|reason| reason.as_str() == name)
        .ok_or_else(|| format!("reason `{name}` is not known"))
}

fn begun_of(bytes: &[u8]) -> Result<BegunChange, Wrong> {
    let wire = wire::AgentEvent::decode(bytes).map_err(text)?;
    let event: Event = wire.event.ok_or("there is no change in what was begun")?;
    let event = AgentEvent::try_from(event).map_err(text)?;
    let name = event.name();
    let AgentEvent::Apply {
        operation,
        base,
        change,
    } = event
    else {
        return Err(format!("{name} cannot be begun"));
    };
    Ok(BegunChange {
        operation,
        base,
        change,
    })
}

fn answer_of(wire: wire::AgentCall) -> Result<(OperationKey, ApplyOutcome), Wrong> {
    let call: Call = wire.call.ok_or("there is no answer in it")?;
    let call = AgentCall::try_from(call).map_err(text)?;
    let name = call.name();
    let AgentCall::OperationStatus { operation, outcome } = call else {
        return Err(format!("{name} is no answer"));
    };
    Ok((operation, outcome))
}

fn key_of(row: &Row<'_>) -> Result<TaskKey, Wrong> {
    Ok(TaskKey {
        framework: parse(&column::<String>(row, "framework")?)?,
        task: parse(&column::<String>(row, "task")?)?,
    })
}

fn status_of(row: &Row<'_>, name: &str, key: &TaskKey) -> Result<TaskStatus, Wrong> {
    let status = message::<wire::TaskStatus>(row, name)?;
    let status = TaskStatus::try_from(status).map_err(text)?;
    if status.task == key.task {
        Ok(status)
    } else {
        Err(format!("it is of {key}, and its status of {}", status.task))
    }
}

fn message<M: Message + Default>(row: &Row<'_>, name: &str) -> Result<M, Wrong> {
    let bytes: Vec<u8> = column(row, name)?;
    M::decode(bytes.as_slice()).map_err(|error| format!("{name}: {error}"))
}

fn column<T: rusqlite::types::FromSql>(row: &Row<'_>, name: &str) -> Result<T, Wrong> {
    row.get(name).map_err(|error| format!("{name}: {error}"))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(from: &str) -> Result<T, Wrong> {
    from.parse().map_err(text)
}

fn text(error: impl std::fmt::Display) -> Wrong {
    error.to_string()
}
