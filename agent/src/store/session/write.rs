//! What each change does to the tables.

use prost::Message as _;
use rusqlite::{Connection, Params, named_params, params};
use weir_protocol::wire::agent_call::Call;
use weir_protocol::wire::agent_event::Event;
use weir_protocol::{AgentCall, AgentEvent, Launch, ResourceSet, TaskKey, TaskStatus, wire};

use super::{
    ANSWERS_MAX, BegunChange, Ending, FINISHED_MAX, Progress, SessionChange, TaskPhase, TaskRow,
};

/// Makes one change, inside the transaction that `connection` is in.
pub(in crate::store) fn execute(
    change: &SessionChange,
    connection: &Connection,
) -> Result<(), rusqlite::Error> {
    match change {
        SessionChange::SetAgent { id } => {
            let id = id.map(String::from);
            run(connection, "UPDATE session SET agent_id = ?", [id])?;
        }
        SessionChange::Begin(begun) => {
            run(
                connection,
                "UPDATE session SET begun = ?, begun_operation = ?",
                params![begun_blob(begun), begun.operation.to_string()],
            )?;
        }
        SessionChange::Answer {
            operation,
            outcome,
            set,
        } => {
            // Others may be answered, refused that is, while one is begun.
            run(
                connection,
                "UPDATE session SET begun = NULL, begun_operation = NULL WHERE begun_operation = ?",
                [operation.to_string()],
            )?;
            if let Some(set) = set {
                run(
                    connection,
                    "UPDATE session SET resource_set = ?",
                    [set_blob(set)],
                )?;
            }
            let call = AgentCall::OperationStatus {
                operation: operation.clone(),
                outcome: outcome.clone(),
            };
            run(
                connection,
                "INSERT INTO answers (answer) VALUES (?)",
                [call_blob(call)],
            )?;
            trim(connection, "answers", ANSWERS_MAX)?;
        }
        SessionChange::AddTask(row) => add_task(connection, row)?,
        SessionChange::SetProgress { task, progress } => set_progress(connection, task, progress)?,
        SessionChange::AddUpdate { task, status } => add_update(connection, task, status)?,
        SessionChange::RemoveUpdate { task, update } => {
            let TaskKey { framework, task } = task;
            run(
                connection,
                "DELETE FROM updates WHERE framework = ? AND task = ? AND update_id = ?",
                params![framework.to_string(), task.as_str(), update.to_string()],
            )?;
        }
        SessionChange::FinishTask { task: key, status } => {
            let (framework, task) = (key.framework.to_string(), key.task.as_str());
            for table in ["tasks", "updates"] {
                let text = format!("DELETE FROM {table} WHERE framework = ? AND task = ?");
                run(connection, &text, params![framework, task])?;
            }
            run(
                connection,
                "INSERT INTO finished (framework, task, status) VALUES (?, ?, ?)",
                params![framework, task, status_blob(status)],
            )?;
            trim(connection, "finished", FINISHED_MAX)?;
        }
        SessionChange::ForgetTasks => {
            connection
                .execute_batch("DELETE FROM tasks; DELETE FROM updates; DELETE FROM finished;")?;
        }
    }
    Ok(())
}

fn run(connection: &Connection, sql: &str, parameters: impl Params) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(sql)?
        .execute(parameters)
        .map(drop)
}

/// Forgets the oldest of what is more than is kept: sequences have no gaps among the youngest.
fn trim(connection: &Connection, table: &str, max: usize) -> Result<(), rusqlite::Error> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let text = format!("DELETE FROM {table} WHERE sequence <= ?");
    let oldest = connection.last_insert_rowid() - max;
    run(connection, &text, [oldest])?;
    Ok(())
}

fn add_task(connection: &Connection, row: &TaskRow) -> Result<(), rusqlite::Error> {
    let TaskRow {
        launch,
        progress,
        updates,
    } = row;
    let key = row.key();
    run(
        connection,
        "INSERT INTO tasks (framework, task, phase, is_ending, latest, launch)
         VALUES (?, ?, 'ended', 0, x'', ?)",
        params![
            key.framework.to_string(),
            key.task.as_str(),
            launch_blob(launch)
        ],
    )?;
    set_progress(connection, &key, progress)?;
    updates
        .iter()
        .try_for_each(|status| add_update(connection, &key, status))
}

fn set_progress(
    connection: &Connection,
    key: &TaskKey,
    progress: &Progress,
) -> Result<(), rusqlite::Error> {
    let Progress {
        phase,
        ending,
        latest,
        acknowledged,
    } = progress;
    let (name, container, attempt, boot) = match phase {
        TaskPhase::Launching {
            container,
            attempt,
            boot,
        } => ("launching", Some(container), Some(*attempt), Some(boot)),
        TaskPhase::Running { container, boot } => ("running", Some(container), None, Some(boot)),
        TaskPhase::Ended => ("ended", None, None, None),
    };
    let (reason, message, grace) = match ending {
        Some(Ending {
            reason,
            message,
            grace,
        }) => (*reason, message.clone(), *grace),
        None => (None, None, None),
    };
    let grace = grace.map(|grace| i64::try_from(grace.0).unwrap_or(i64::MAX));
    run(
        connection,
        "UPDATE tasks SET phase = :phase, container = :container, attempt = :attempt,
                 boot = :boot, is_ending = :is_ending, ending_reason = :reason,
                 ending_message = :message, ending_grace_ms = :grace, latest = :latest,
                 acknowledged = :acknowledged
             WHERE framework = :framework AND task = :task",
        named_params! {
            ":phase": name,
            ":container": container.map(|container| container.as_str()),
            ":attempt": attempt,
            ":boot": boot.map(|boot| boot.as_str()),
            ":is_ending": ending.is_some(),
            ":reason": reason.map(|reason| reason.as_str()),
            ":message": message.as_ref().map(|message| message.as_str()),
            ":grace": grace,
            ":latest": status_blob(latest),
            ":acknowledged": acknowledged.map(|state| state.as_str()),
            ":framework": key.framework.to_string(),
            ":task": key.task.as_str(),
        },
    )?;
    Ok(())
}

fn add_update(
    connection: &Connection,
    key: &TaskKey,
    status: &TaskStatus,
) -> Result<(), rusqlite::Error> {
    run(
        connection,
        "INSERT INTO updates (framework, task, update_id, status) VALUES (?, ?, ?, ?)",
        params![
            key.framework.to_string(),
            key.task.as_str(),
            status.update.map(String::from),
            status_blob(status),
        ],
    )?;
    Ok(())
}

fn set_blob(set: &ResourceSet) -> Vec<u8> {
    wire::ResourceSet::from(set).encode_to_vec()
}

fn status_blob(status: &TaskStatus) -> Vec<u8> {
    wire::TaskStatus::from(status.clone()).encode_to_vec()
}

fn launch_blob(launch: &Launch) -> Vec<u8> {
    wire::agent_event::Launch::from(launch.clone()).encode_to_vec()
}

fn begun_blob(begun: &BegunChange) -> Vec<u8> {
    let BegunChange {
        operation,
        base,
        change,
    } = begun.clone();
    let event = AgentEvent::Apply {
        operation,
        base,
        change,
    };
    // The whole event: which message it holds is a number in front of it.
    wire::AgentEvent {
        event: Some(Event::from(event)),
    }
    .encode_to_vec()
}

fn call_blob(call: AgentCall) -> Vec<u8> {
    // A call always has an id; here it stands for nothing.
    wire::AgentCall {
        call_id: 1,
        call: Some(Call::from(call)),
    }
    .encode_to_vec()
}
