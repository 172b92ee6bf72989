//! The tables against what each change means.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::Connection;
use weir_protocol::{
    AgentId, ApplyOutcome, Argv, BootId, Ceilings, Command, Environment, ErrorCode, Exit, Failure,
    FrameworkId, Launch, Line, Millis, NetworkMode, Note, OperationId, OperationKey,
    OperationOrigin, Reason, ResourceSet, Run, SetVersion, Shell, Source, TaskId, TaskKey,
    TaskOwner, TaskSpec, TaskState, TaskStatus, UnixMs, UpdateId, WorkingDirectory,
};
use weir_resources::{Labels, Principal, ResourceOperation, Role};

use super::*;
use crate::near_miss::{Edit, near_miss};
use crate::store::schema::{migrations, migrations_up_to};
use crate::store::{StoreError, open};

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations().to_latest(&mut connection).unwrap();
    connection
}

fn key(number: u8) -> TaskKey {
    TaskKey {
        framework: FrameworkId::from_bits(u128::from(number % 2)),
        task: TaskId::new(format!("t{}", number % 4)).unwrap(),
    }
}

fn operation(number: u8) -> OperationKey {
    OperationKey {
        origin: if number.is_multiple_of(2) {
            OperationOrigin::Framework(FrameworkId::from_bits(7))
        } else {
            OperationOrigin::Operator(Principal::new("ops").unwrap())
        },
        id: OperationId::new(format!("o{number}")).unwrap(),
    }
}

fn status(key: &TaskKey, number: u8) -> TaskStatus {
    TaskStatus {
        task: key.task.clone(),
        state: TaskState::ALL[usize::from(number) % TaskState::ALL.len()],
        agent: Some(AgentId::from_bits(3)),
        source: Source::Agent,
        reason: Some(Reason::ALL[usize::from(number) % Reason::ALL.len()]),
        message: (number.is_multiple_of(3)).then(|| Note::cut("it \"said\" so")),
        timestamp: UnixMs(1_700_000_000_000 + u64::from(number)),
        update: Some(UpdateId::from_bits(u128::from(number))),
        exit: (number.is_multiple_of(5)).then_some(Exit::Signal(9)),
    }
}

fn launch(key: &TaskKey, number: u8) -> Launch {
    Launch {
        operation: operation(number),
        owner: TaskOwner {
            framework: key.framework,
            framework_name: Line::new("Ünïcode").unwrap(),
            principal: Principal::new("alice").unwrap(),
            role: Role::new("db").unwrap(),
            failover_timeout: Millis(60_000),
            unattended: false,
        },
        task: TaskSpec {
            id: key.task.clone(),
            name: Line::new("a task").unwrap(),
            command: Command {
                run: if number.is_multiple_of(2) {
                    Run::Argv(Argv::new(vec!["sh".to_owned(), String::new()]).unwrap())
                } else {
                    Run::Shell(Shell::new("sleep 1").unwrap())
                },
                environment: Environment::new(vec![("A".to_owned(), "B=C".to_owned())]).unwrap(),
                user: Some(Line::new("nobody").unwrap()),
                working_directory: Some(WorkingDirectory::new("/tmp").unwrap()),
            },
            resources: "cpus:0.5;disk(db, alice, {why=x})[data:a/b:ro]:10;ports:[1-2,5-5]"
                .parse()
                .unwrap(),
            network: NetworkMode::Host,
            kill_grace: Millis(1),
            labels: Labels::none(),
            ceilings: Ceilings::default(),
        },
    }
}

fn progress(key: &TaskKey, number: u8) -> Progress {
    let container = ContainerId::from_random(u64::from(number));
    let boot = BootId::new("boot").unwrap();
    Progress {
        phase: match number % 3 {
            0 => TaskPhase::Launching {
                container,
                attempt: u32::from(number),
                boot,
            },
            1 => TaskPhase::Running { container, boot },
            _ => TaskPhase::Ended,
        },
        ending: (number % 4 > 1).then(|| Ending {
            reason: (number % 4 > 2).then_some(Reason::Revoked),
            message: (number % 8 > 4).then(|| Note::cut("why")),
            grace: (number.is_multiple_of(5)).then_some(Millis(7)),
        }),
        latest: status(key, number),
        acknowledged: (number % 7 > 3).then_some(TaskState::Running),
    }
}

/// Returns a change that the session could make of `stored`, or nothing where it could not.
fn change(stored: &SessionStored, (what, number): (u8, u8)) -> Option<SessionChange> {
    let key = key(number);
    let row = stored.tasks.iter().find(|row| row.key() == key);
    Some(match what % 9 {
        0 => SessionChange::SetAgent {
            id: (number > 9).then(|| AgentId::from_bits(u128::from(number))),
        },
        1 => SessionChange::Begin(Box::new(BegunChange {
            operation: operation(number),
            base: SetVersion(u64::from(number)),
            change: ResourceOperation::Create("disk(db)[v:p:rw]:1".parse().unwrap()),
        })),
        2 => SessionChange::Answer {
            operation: match &stored.begun {
                Some(begun) if number < 200 => begun.operation.clone(),
                Some(_) | None => operation(number),
            },
            outcome: if number.is_multiple_of(2) {
                ApplyOutcome::Applied {
                    version: SetVersion(u64::from(number)),
                }
            } else {
                ApplyOutcome::Failed(Failure::new(ErrorCode::StaleVersion, "a", "b"))
            },
            set: (number.is_multiple_of(2)).then(|| {
                let resources = "cpus(db, alice):1;disk(db)[v:p:rw]:1".parse().unwrap();
                ResourceSet::new(SetVersion(u64::from(number)), resources).unwrap()
            }),
        },
        3 if row.is_none() => SessionChange::AddTask(Box::new(TaskRow {
            launch: Arc::new(launch(&key, number)),
            progress: progress(&key, number),
            updates: Vec::new(),
        })),
        4 => {
            row?;
            SessionChange::SetProgress {
                progress: Box::new(progress(&key, number)),
                task: key,
            }
        }
        5 => {
            let status = status(&key, number);
            if row?.updates.iter().any(|own| own.update == status.update) {
                return None;
            }
            SessionChange::AddUpdate {
                task: key,
                status: Box::new(status),
            }
        }
        6 => SessionChange::RemoveUpdate {
            update: row?.updates.first()?.update?,
            task: key,
        },
        7 => {
            row?;
            SessionChange::FinishTask {
                status: Box::new(status(&key, number)),
                task: key,
            }
        }
        8 if number < 20 => SessionChange::ForgetTasks,
        _ => return None,
    })
}

proptest! {
    #[test]
    fn the_tables_hold_what_the_changes_mean(
        choices in prop::collection::vec(any::<(u8, u8)>(), 0..60),
    ) {
        let connection = database();
        let mut expected = SessionStored::default();
        for choice in choices {
            if let Some(change) = change(&expected, choice) {
                expected.apply(&change);
                execute(&change, &connection).unwrap();
            }
        }
        prop_assert_eq!(load(&connection).unwrap(), expected);
    }
}

#[test]
fn only_the_last_answers_and_ends_are_kept() {
    let connection = database();
    // As if many had been there before.
    connection
        .execute_batch(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('answers', 99), ('finished', 99)",
        )
        .unwrap();
    let mut expected = SessionStored::default();
    let answer = |number: usize| SessionChange::Answer {
        operation: OperationKey {
            origin: OperationOrigin::Framework(FrameworkId::from_bits(7)),
            id: OperationId::new(format!("o{number}")).unwrap(),
        },
        outcome: ApplyOutcome::Applied {
            version: SetVersion(1),
        },
        set: None,
    };
    expected.apply(&answer(0));
    execute(&answer(0), &connection).unwrap();
    expected.answers = vec![expected.answers[0].clone(); ANSWERS_MAX];
    let more = format!(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {ANSWERS_MAX})
         INSERT INTO answers (answer) SELECT answer FROM answers, n"
    );
    connection.execute_batch(&more).unwrap();
    for number in 1..3 {
        expected.apply(&answer(number));
        execute(&answer(number), &connection).unwrap();
    }
    assert_eq!(expected.answers.len(), ANSWERS_MAX);
    assert_eq!(load(&connection).unwrap(), expected);
}

/// Returns every row of the session's tables, as SQL writes its values.
fn dump(connection: &Connection) -> Vec<String> {
    let tables = ["session", "answers", "tasks", "updates", "finished"];
    let mut lines = Vec::new();
    for table in tables {
        let mut rows = connection
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .unwrap();
        let columns: Vec<String> = rows
            .column_names()
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = columns.iter().map(|name| {
                let value: rusqlite::types::Value = row.get(name.as_str()).unwrap();
                let text = match value {
                    rusqlite::types::Value::Null => "NULL".to_owned(),
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Real(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => format!("'{text}'"),
                    rusqlite::types::Value::Blob(bytes) => {
                        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
                        format!("x'{}'", hex.collect::<String>())
                    }
                };
                format!("{name}={text}")
            });
            lines.push(format!("{table}: {}", values.collect::<Vec<_>>().join(" ")));
        }
    }
    lines
}

/// What former versions have written is in databases, so this stays. Lines are added for what is new.
#[test]
fn rows_of_every_kind_are_written_as_they_were() {
    let connection = database();
    let mut expected = SessionStored::default();
    // A failure and a success are answered, a change is begun; tasks are in each phase, one with an
    // update that waits; one is finished.
    let choices = [
        (0, 10),
        (2, 201),
        (2, 204),
        (1, 7),
        (3, 0),
        (3, 1),
        (3, 6),
        (3, 3),
        (4, 15),
        (5, 5),
        (5, 8),
        (7, 2),
    ];
    for choice in choices {
        let change = change(&expected, choice).unwrap();
        expected.apply(&change);
        execute(&change, &connection).unwrap();
    }
    let golden = include_str!("rows.txt").lines();
    let golden = golden.filter(|line| !line.starts_with('#'));
    let now = dump(&connection);
    assert_eq!(golden.collect::<Vec<_>>(), now, "\n{}", now.join("\n"));
    assert_eq!(load(&connection).unwrap(), expected);
}

#[tokio::test]
async fn several_changes_are_made_together_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    let (store, thread) = open(&path).unwrap();
    let task = SessionChange::AddTask(Box::new(TaskRow {
        launch: Arc::new(launch(&key(1), 1)),
        progress: progress(&key(1), 1),
        updates: Vec::new(),
    }));
    let agent = SessionChange::SetAgent {
        id: Some(AgentId::from_bits(1)),
    };
    // The same task twice cannot be.
    let error = store
        .change_session([agent.clone(), task.clone(), task.clone()].into())
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(
        store.load_session().await.unwrap(),
        SessionStored::default()
    );
    store.change_session([agent, task].into()).await.unwrap();
    let before = store.load_session().await.unwrap();
    assert_eq!(before.tasks.len(), 1);
    drop(store);
    thread.join();
    let (store, thread) = open(&path).unwrap();
    assert_eq!(store.load_session().await.unwrap(), before);
    drop(store);
    thread.join();
}

#[test]
fn a_database_of_every_earlier_agent_is_brought_up_to_date() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations_up_to(1).to_latest(&mut connection).unwrap();
    connection
        .execute_batch(
            "INSERT INTO containers (id, name, phase, launch, slot, ports, unenforced, created_ms)
             VALUES ('aaaaaaaaaaab', 'web', 'starting', '{}', 0, '', 0, 0)",
        )
        .unwrap();
    migrations().to_latest(&mut connection).unwrap();
    assert_eq!(load(&connection).unwrap(), SessionStored::default());
    let names: i64 = connection
        .query_row("SELECT count(*) FROM containers", [], |row| row.get(0))
        .unwrap();
    assert_eq!(names, 1);
}

#[test]
fn any_damage_to_a_row_is_an_error_that_names_it_or_reads_back() {
    let connection = AssertUnwindSafe(database());
    let mut whole = SessionStored::default();
    for choice in [
        (0, 10),
        (1, 1),
        (3, 3),
        (5, 3),
        (7, 3),
        (3, 2),
        (4, 4),
        (5, 2),
        (2, 2),
        (1, 2),
    ] {
        if let Some(change) = change(&whole, choice) {
            whole.apply(&change);
            execute(&change, &connection).unwrap();
        }
    }
    assert!(!whole.finished.is_empty() && !whole.tasks.is_empty() && whole.begun.is_some());
    connection
        .execute_batch("PRAGMA ignore_check_constraints = ON")
        .unwrap();
    let columns = [
        ("session", "agent_id"),
        ("session", "resource_set"),
        ("session", "begun"),
        ("answers", "answer"),
        ("tasks", "framework"),
        ("tasks", "task"),
        ("tasks", "phase"),
        ("tasks", "container"),
        ("tasks", "boot"),
        ("tasks", "ending_reason"),
        ("tasks", "latest"),
        ("tasks", "acknowledged"),
        ("tasks", "launch"),
        ("updates", "task"),
        ("updates", "status"),
        ("finished", "status"),
    ];
    bolero::check!()
        .with_type::<(u8, Vec<Edit>, Vec<u8>)>()
        .with_iterations(1000)
        .for_each(|(which, edits, bytes)| {
            let (table, column) = columns[usize::from(*which) % columns.len()];
            let is_blob = matches!(
                column,
                "resource_set" | "begun" | "answer" | "latest" | "launch" | "status"
            );
            let before: rusqlite::types::Value = connection
                .query_row(&format!("SELECT {column} FROM {table}"), [], |row| {
                    row.get(0)
                })
                .unwrap();
            let near = match &before {
                rusqlite::types::Value::Text(text) => near_miss(text, edits).into_bytes(),
                rusqlite::types::Value::Blob(blob) => {
                    let mut near = blob.clone();
                    for (place, byte) in bytes.iter().enumerate().take(4) {
                        let place = (place + usize::from(*byte)) % near.len().max(1);
                        if let Some(old) = near.get_mut(place) {
                            *old = old.wrapping_add(*byte);
                        }
                    }
                    near
                }
                rusqlite::types::Value::Null
                | rusqlite::types::Value::Integer(_)
                | rusqlite::types::Value::Real(_) => Vec::new(),
            };
            for bytes in [bytes, &near] {
                let kind = if is_blob { "BLOB" } else { "TEXT" };
                let set = format!("UPDATE {table} SET {column} = CAST(? AS {kind})");
                connection.execute(&set, [bytes]).unwrap();
                match load(&connection) {
                    Ok(_) => {}
                    Err(StoreError::Row { id, what }) => {
                        assert!(!what.is_empty());
                        // A task whose key was damaged leaves its updates without one.
                        assert!(
                            id.starts_with(table) || table == "tasks",
                            "{id} for {table}"
                        );
                    }
                    Err(other) => panic!("{other} does not name the row"),
                }
            }
            let set = format!("UPDATE {table} SET {column} = ?");
            connection.execute(&set, [before]).unwrap();
        });
    assert_eq!(load(&connection).unwrap(), whole);
}
