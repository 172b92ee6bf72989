//! The thread that owns the database, and the handle to it.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rusqlite_migration::MigrationDefinitionError;
use tokio::sync::{mpsc, oneshot};
use weir_executor::record::Outcome;
use weir_resources::PortSet;

use super::error::StoreError;
use super::row::{self, Change, ContainerRow, ExecutorIdentity, Stored};
use super::schema::{APPLICATION_ID, migrations};
use super::session::{self, SessionChange, SessionStored};
use crate::container::{ContainerId, Launch};
use crate::ports::{Freed, UnixMs};

/// The most requests that wait: one per slot of the node, so that every container can be starting
/// or ending at once. Further callers wait for room.
const QUEUE_MAX: usize = 1024;

/// The most changes in one transaction: bounds how long the first caller waits for the last, a few
/// milliseconds, and is where sharing a flush stops paying (22,000 changes a second).
const GROUP_MAX: usize = 128;

/// How long another process's lock on the file is waited for: someone may be reading it by hand.
const BUSY_MS: u64 = 5_000;

enum Request {
    Load(oneshot::Sender<Result<Stored, StoreError>>),
    LoadSession(oneshot::Sender<Result<SessionStored, StoreError>>),
    Change(Change, oneshot::Sender<Result<(), StoreError>>),
}

/// Reads and changes the database, from anywhere in the agent.
#[derive(Clone, Debug)]
pub struct StoreHandle(mpsc::Sender<Request>);

/// The thread of the database: joined at the end, so that its last commits are made.
#[derive(Debug)]
pub struct StoreThread(JoinHandle<()>);

/// Opens or creates the database at `path` and starts its thread.
///
/// Blocks until the file has been checked.
pub fn open(path: &Path) -> Result<(StoreHandle, StoreThread), StoreError> {
    let connection = connect(path)?;
    let (sender, requests) = mpsc::channel(QUEUE_MAX);
    let thread = thread::Builder::new()
        .name("weir-store".to_owned())
        .spawn(move || serve(connection, requests))
        .expect("the process has just begun and is far from its limit of threads");
    Ok((StoreHandle(sender), StoreThread(thread)))
}

impl StoreThread {
    /// Waits until the thread has written what was asked of it and closed the file.
    ///
    /// Returns only once every handle is dropped.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the database's thread panicked");
        }
    }
}

impl StoreHandle {
    /// Returns everything that the database holds.
    pub async fn load(&self) -> Result<Stored, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Load(answer)).await?;
        answered.await.map_err(|_gone| StoreError::Gone)?
    }

    /// Returns everything that the database holds for the session.
    pub async fn load_session(&self) -> Result<SessionStored, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::LoadSession(answer)).await?;
        answered.await.map_err(|_gone| StoreError::Gone)?
    }

    /// Records what the session has decided: all of it or nothing.
    pub async fn change_session(&self, changes: Arc<[SessionChange]>) -> Result<(), StoreError> {
        self.change(Change::Session(changes)).await
    }

    /// Records a container that begins.
    pub async fn insert(&self, row: ContainerRow) -> Result<(), StoreError> {
        self.change(Change::Insert(Box::new(row))).await
    }

    /// Records that a container's executor is ready to go.
    pub async fn set_running(
        &self,
        id: ContainerId,
        executor: ExecutorIdentity,
        started_at: UnixMs,
    ) -> Result<(), StoreError> {
        self.change(Change::SetRunning {
            id,
            executor,
            started_at,
        })
        .await
    }

    /// Records the ports that a container owns from now on, and those it no longer does.
    pub async fn set_ports(
        &self,
        id: ContainerId,
        ports: PortSet,
        freed: Freed,
    ) -> Result<(), StoreError> {
        self.change(Change::SetPorts { id, ports, freed }).await
    }

    /// Records how a container is run from now on, which differs in its limits, and whether these are not enforced.
    pub async fn set_limits(
        &self,
        id: ContainerId,
        launch: Launch,
        unenforced: bool,
    ) -> Result<(), StoreError> {
        let launch = Box::new(launch);
        self.change(Change::SetLimits {
            id,
            launch,
            unenforced,
        })
        .await
    }

    /// Records the end of a container, and the ports that it owned.
    pub async fn set_ended(
        &self,
        id: ContainerId,
        outcome: Outcome,
        ended_at: UnixMs,
        freed: Freed,
    ) -> Result<(), StoreError> {
        self.change(Change::SetEnded {
            id,
            outcome,
            ended_at,
            freed,
        })
        .await
    }

    /// Forgets a container that has ended; fine when it is not known.
    pub async fn forget(&self, id: ContainerId) -> Result<(), StoreError> {
        self.change(Change::Forget { id }).await
    }

    /// Forgets ports that were freed before `before`.
    pub async fn forget_freed(&self, before: UnixMs) -> Result<(), StoreError> {
        self.change(Change::ForgetFreed { before }).await
    }

    async fn change(&self, change: Change) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Change(change, answer)).await?;
        answered.await.map_err(|_gone| StoreError::Gone)?
    }

    async fn send(&self, request: Request) -> Result<(), StoreError> {
        self.0.send(request).await.map_err(|_gone| StoreError::Gone)
    }
}

/// Says why an agent would not begin with this database, and changes nothing; fine where there is none.
pub fn examine(path: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let sort = |source| classify(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sort)?;
    connection
        .busy_timeout(std::time::Duration::from_millis(BUSY_MS))
        .map_err(sort)?;
    check_owner(&connection, path)?;
    let pending = migrations().pending_migrations(&connection);
    let pending = pending.map_err(|source| StoreError::Migrate {
        path: path.to_owned(),
        source,
    })?;
    if pending < 0 {
        return Err(StoreError::Newer {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Checks that it is an agent's, or nobody's yet.
fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let sort = |source| classify(path, source);
    let application_id = row::pragma(connection, "application_id").map_err(sort)?;
    let version = row::pragma(connection, "user_version").map_err(sort)?;
    let is_new = application_id == "0" && version == "0";
    if !is_new && application_id != APPLICATION_ID.to_string() {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "it is a database of another program".to_owned(),
        });
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let owned = || path.to_owned();
    let sort = |source| classify(path, source);
    let mut connection = Connection::open(path).map_err(sort)?;
    connection
        .busy_timeout(std::time::Duration::from_millis(BUSY_MS))
        .map_err(sort)?;

    check_owner(&connection, path)?;
    // A few pages: the whole check takes less than a launch.
    let verdict = row::pragma(&connection, "quick_check").map_err(sort)?;
    if verdict != "ok" {
        return Err(StoreError::Damaged {
            path: owned(),
            what: verdict,
        });
    }

    connection
        .pragma_update(None, "journal_mode", "wal")
        .map_err(sort)?;
    connection
        .pragma_update(None, "synchronous", "full")
        .map_err(sort)?;
    // Asserted and not assumed: on a file system without shared memory SQLite silently stays
    // with its old journal.
    for (pragma, wanted) in [("journal_mode", "wal"), ("synchronous", "2")] {
        let found = row::pragma(&connection, pragma).map_err(sort)?;
        if found != wanted {
            return Err(StoreError::NotDurable {
                path: owned(),
                pragma,
                found,
                wanted,
            });
        }
    }

    let too_far_ahead = rusqlite_migration::Error::MigrationDefinition(
        MigrationDefinitionError::DatabaseTooFarAhead,
    );
    migrations().to_latest(&mut connection).map_err(|source| {
        if source == too_far_ahead {
            StoreError::Newer { path: owned() }
        } else {
            StoreError::Migrate {
                path: owned(),
                source,
            }
        }
    })?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(sort)?;
    Ok(connection)
}

fn classify(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged {
            path: path.to_owned(),
            what: source.to_string(),
        },
        Some(_) | None => StoreError::Open {
            path: path.to_owned(),
            source,
        },
    }
}

fn serve(mut connection: Connection, mut requests: mpsc::Receiver<Request>) {
    let mut group = Vec::new();
    while let Some(first) = requests.blocking_recv() {
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Load(answer) => {
                    // What came before must be seen.
                    commit(&mut connection, &mut group);
                    // The caller may have gone away; that is its right.
                    drop(answer.send(row::load(&connection)));
                }
                Request::LoadSession(answer) => {
                    commit(&mut connection, &mut group);
                    drop(answer.send(session::load(&connection)));
                }
                Request::Change(change, answer) => group.push((change, answer)),
            }
            next = if group.len() < GROUP_MAX {
                requests.try_recv().ok()
            } else {
                None
            };
        }
        commit(&mut connection, &mut group);
    }
}

type Waiting = (Change, oneshot::Sender<Result<(), StoreError>>);

/// Makes one transaction of the group, and answers each caller after the commit.
fn commit(connection: &mut Connection, group: &mut Vec<Waiting>) {
    if group.is_empty() {
        return;
    }
    let (changes, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
    let results = match commit_all(connection, &changes) {
        Ok(results) => results,
        Err(source) => {
            let reason = source.to_string();
            tracing::error!(%reason, changes = changes.len(), "commit failed");
            changes
                .iter()
                .map(|_| {
                    Err(StoreError::Commit {
                        reason: reason.clone(),
                    })
                })
                .collect()
        }
    };
    for (answer, result) in answers.into_iter().zip(results) {
        // The caller may have gone away; the change is made all the same.
        drop(answer.send(result));
    }
}

/// The outer error concerns all, an inner one its own change.
fn commit_all(
    connection: &mut Connection,
    changes: &[Change],
) -> Result<Vec<Result<(), StoreError>>, rusqlite::Error> {
    // Immediate: the lock is taken now, and not in the middle, where it could not be waited for.
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(changes.len());
    for change in changes {
        // A savepoint each, so that a refused change leaves the others' untouched.
        let savepoint = transaction.savepoint()?;
        match change.execute(&savepoint) {
            Ok(()) => {
                savepoint.commit()?;
                results.push(Ok(()));
            }
            Err(source) => {
                savepoint.finish()?;
                results.push(Err(StoreError::Write {
                    what: change.describe(),
                    source,
                }));
            }
        }
    }
    transaction.commit()?;
    Ok(results)
}
