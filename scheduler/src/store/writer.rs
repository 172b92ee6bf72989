//! The thread that owns the database, and the handle to it.

use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use rusqlite_migration::MigrationDefinitionError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::audit::Retention;
use super::error::StoreError;
use super::metrics::StoreMetrics;
use super::row;
use super::schema::{APPLICATION_ID, migrations};
use crate::ledger::{Batch, Record, Row};

/// The most requests that wait: the ledger's task keeps fewer batches under way, and gathers what comes
/// meanwhile in the next.
const QUEUE_MAX: usize = 64;

/// The most records in one transaction: bounds how long the first batch waits for the last, some tens
/// of milliseconds. A batch is never parted, however many it holds.
const GROUP_RECORDS_MAX: usize = 4_096;

/// How long another process's lock on the file is waited for: someone may be reading it by hand.
const BUSY: Duration = Duration::from_secs(5);

/// Records that are written whole or not at all.
pub trait Records: Send + 'static {
    /// Returns them, in their order.
    fn records(&self) -> &[Record];
}

impl Records for Batch {
    fn records(&self) -> &[Record] {
        Self::records(self)
    }
}

/// What an operator can choose of the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many entries of who did what are kept.
    pub audit_entries_max: u64,
    /// Where commits are counted.
    pub metrics: StoreMetrics,
}

enum Request<B> {
    Load(oneshot::Sender<Result<Vec<Row>, StoreError>>),
    Commit(B, oneshot::Sender<Result<B, StoreError>>),
}

/// Reads and writes the database.
#[derive(Debug)]
pub struct StoreHandle<B = Batch>(mpsc::Sender<Request<B>>);

/// A batch that is being written.
#[derive(Debug)]
#[must_use = "nothing may be answered before it is written"]
pub struct Pending<B = Batch>(oneshot::Receiver<Result<B, StoreError>>);

/// The thread of the database: joined at the end, so that its last commits are made.
#[derive(Debug)]
pub struct StoreThread(JoinHandle<()>);

/// Opens or creates the database at `path` and starts its thread.
///
/// Blocks until the file has been checked.
pub fn open<B: Records>(
    path: &Path,
    options: StoreOptions,
) -> Result<(StoreHandle<B>, StoreThread), StoreError> {
    let connection = connect(path)?;
    let (sender, requests) = mpsc::channel(QUEUE_MAX);
    let writer = Writer {
        connection,
        retention: Retention::new(options.audit_entries_max),
        metrics: options.metrics,
    };
    let thread = thread::Builder::new()
        .name("weir-store".to_owned())
        .spawn(move || writer.serve(requests))
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

impl<B: Records> StoreHandle<B> {
    /// Returns every row.
    pub async fn load(&self) -> Result<Vec<Row>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Load(answer)).await?;
        answered.await.map_err(|_gone| StoreError::Gone)?
    }

    /// Has a batch written after all that came before; what comes back says when it is durable.
    ///
    /// Waits only for room in the queue.
    pub async fn commit(&self, batch: B) -> Result<Pending<B>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Commit(batch, answer)).await?;
        Ok(Pending(answered))
    }

    async fn send(&self, request: Request<B>) -> Result<(), StoreError> {
        self.0.send(request).await.map_err(|_gone| StoreError::Gone)
    }
}

impl<B> Clone for StoreHandle<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Pending<B> {
    /// Waits until the batch is durable, and gives it back.
    ///
    /// Dropped half-way, it has lost nothing: it may be called again.
    pub async fn written(&mut self) -> Result<B, StoreError> {
        (&mut self.0).await.map_err(|_gone| StoreError::Gone)?
    }
}

pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let owned = || path.to_owned();
    let sort = |source| classify(path, source);
    let mut connection = Connection::open(path).map_err(sort)?;
    connection.busy_timeout(BUSY).map_err(sort)?;
    connection.set_prepared_statement_cache_capacity(row::STATEMENTS);

    let application_id = pragma(&connection, "application_id").map_err(sort)?;
    let version = pragma(&connection, "user_version").map_err(sort)?;
    let is_new = application_id == "0" && version == "0";
    if !is_new && application_id != APPLICATION_ID.to_string() {
        return Err(StoreError::Damaged {
            path: owned(),
            what: "it is a database of another program".to_owned(),
        });
    }
    // Every page: some 100 ms for the rows of ten thousand tasks.
    let verdict = pragma(&connection, "quick_check").map_err(sort)?;
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
    for (name, wanted) in [("journal_mode", "wal"), ("synchronous", "2")] {
        let found = pragma(&connection, name).map_err(sort)?;
        if found != wanted {
            return Err(StoreError::NotDurable {
                path: owned(),
                pragma: name,
                found,
                wanted,
            });
        }
    }

    // Before the first table: a process that is killed between the two would leave a file of nobody's.
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(sort)?;
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
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str) -> Result<String, rusqlite::Error> {
    connection.pragma_query_value(None, name, |row| {
        use rusqlite::types::Value;
        Ok(match row.get(0)? {
            Value::Null => String::new(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Blob(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        })
    })
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

/// Batches of one transaction, each with who waits for it.
type Group<B> = Vec<(B, oneshot::Sender<Result<B, StoreError>>)>;

/// Owns the connection, in a thread of its own.
struct Writer {
    connection: Connection,
    retention: Retention,
    metrics: StoreMetrics,
}

impl Writer {
    fn serve<B: Records>(mut self, mut requests: mpsc::Receiver<Request<B>>) {
        while let Some(first) = requests.blocking_recv() {
            let mut group: Group<B> = Vec::new();
            let mut records = 0;
            let mut load = None;
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Load(answer) => {
                        // What came before must be seen.
                        load = Some(answer);
                        break;
                    }
                    Request::Commit(batch, answer) => {
                        records += batch.records().len();
                        group.push((batch, answer));
                    }
                }
                next = if records < GROUP_RECORDS_MAX {
                    requests.try_recv().ok()
                } else {
                    None
                };
            }
            if let Err(source) = self.commit(&group, records) {
                let reason = source.to_string();
                tracing::error!(%reason, batches = group.len(), records, "a commit has failed");
                for (_, answer) in group {
                    let reason = reason.clone();
                    drop(answer.send(Err(StoreError::Commit { reason })));
                }
                // Whatever waits in the queue may not be written without what has just failed.
                return;
            }
            for (batch, answer) in group {
                // The caller may have gone away; the batch is written all the same.
                drop(answer.send(Ok(batch)));
            }
            if let Some(answer) = load {
                drop(answer.send(row::load(&self.connection)));
            }
        }
    }

    /// Makes one transaction of the group.
    fn commit<B: Records>(
        &mut self,
        group: &Group<B>,
        records: usize,
    ) -> Result<(), rusqlite::Error> {
        if records == 0 {
            return Ok(());
        }
        let began = Instant::now();
        // Immediate: the lock is taken now, and not in the middle, where it could not be waited for.
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for record in group.iter().flat_map(|(batch, _)| batch.records()) {
            match record {
                Record::Put(row) => row::put(&transaction, row)?,
                Record::Drop(key) => row::remove(&transaction, key)?,
                Record::Audit(entry) => self.retention.insert(&transaction, entry)?,
            }
        }
        transaction.commit()?;
        self.metrics
            .commit_seconds
            .observe(began.elapsed().as_secs_f64());
        self.metrics.commit_batches.observe(as_f64(group.len()));
        self.metrics.commit_records.observe(as_f64(records));
        Ok(())
    }
}

/// Returns a count as metrics have it.
fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
