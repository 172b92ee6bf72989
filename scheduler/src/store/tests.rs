//! The database over real files.

use std::fs;
use std::path::{Path, PathBuf};

use prometheus::Registry;
use proptest::prelude::*;
use rusqlite::Connection;

use super::samples::{audit, row};
use super::schema::{APPLICATION_ID, MIGRATIONS};
use super::writer::connect;
use super::*;
use crate::ledger::{Image, Record, Row};

type Handle = StoreHandle<Vec<Record>>;

impl Records for Vec<Record> {
    fn records(&self) -> &[Record] {
        self
    }
}

fn options(audit_entries_max: u64) -> StoreOptions {
    StoreOptions {
        audit_entries_max,
        metrics: StoreMetrics::register(&Registry::new()).unwrap(),
    }
}

/// Opens, does something, and closes again.
async fn with<T>(path: &Path, work: impl AsyncFnOnce(&Handle) -> T) -> T {
    let (store, thread) = open(path, options(1000)).unwrap();
    let value = work(&store).await;
    drop(store);
    thread.join();
    value
}

async fn write(store: &Handle, records: Vec<Record>) {
    let mut pending = store.commit(records).await.unwrap();
    drop(pending.written().await.unwrap());
}

fn put(kind: u8, number: u64, version: u64) -> Record {
    Record::Put(row(kind, number, version))
}

/// Returns rows in the order of their keys, as an image has them.
fn sorted(rows: Vec<Row>) -> Vec<Row> {
    let mut image = Image::default();
    for row in rows {
        image.apply(&Record::Put(row));
    }
    image.rows().cloned().collect()
}

fn entries(path: &Path) -> Vec<(i64, String, String, Option<String>)> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT sequence, kind, what, refused FROM audit ORDER BY sequence")
        .unwrap();
    statement
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    let mut image = Image::default();
    let first: Vec<Record> = (0..9).map(|kind| put(kind, 1, 1)).collect();
    let second = vec![
        put(4, 1, 2),
        Record::Drop(row(0, 1, 0).key()),
        Record::Drop(row(2, 77, 0).key()),
        Record::Audit(audit(1)),
        put(0, 2, 1),
    ];
    for records in [first, second] {
        records.iter().for_each(|record| image.apply(record));
        with(&path, async |store| write(store, records).await).await;
        let rows = with(&path, async |store| store.load().await.unwrap()).await;
        assert_eq!(sorted(rows), image.rows().cloned().collect::<Vec<_>>());
    }
    let refused = Some("not allowed".to_owned());
    let did = ("operator".to_owned(), "did 1".to_owned(), refused);
    assert_eq!(entries(&path), [(1, did.0, did.1, did.2)]);
}

#[tokio::test]
async fn batches_that_wait_together_share_a_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    let own = options(1000);
    let metrics = own.metrics.clone();
    let (store, thread) = open::<Vec<Record>>(&path, own).unwrap();
    // Somebody holds the write lock, so the first transaction waits, and all others behind it.
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut pending = Vec::new();
    for number in 0..40 {
        pending.push(store.commit(vec![put(4, number, 1)]).await.unwrap());
    }
    reader.execute_batch("ROLLBACK").unwrap();
    for one in &mut pending {
        drop(one.written().await.unwrap());
    }
    let commits = metrics.commit_batches.get_sample_count();
    assert!(commits <= 2, "40 batches in {commits} transactions");
    assert_eq!(store.load().await.unwrap().len(), 40);
    drop(store);
    thread.join();
}

#[tokio::test]
async fn after_a_failed_commit_nothing_is_written_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    let (store, thread) = open::<Vec<Record>>(&path, options(1000)).unwrap();
    write(&store, vec![put(4, 1, 1)]).await;
    let saboteur = Connection::open(&path).unwrap();
    saboteur
        .execute_batch("ALTER TABLE tasks RENAME TO other")
        .unwrap();
    let mut failing = store
        .commit(vec![put(0, 1, 1), put(4, 2, 1)])
        .await
        .unwrap();
    let error = failing.written().await.unwrap_err();
    assert!(matches!(error, StoreError::Commit { .. }), "{error}");
    saboteur
        .execute_batch("ALTER TABLE other RENAME TO tasks")
        .unwrap();
    drop(saboteur);
    thread.join();
    let error = match store.commit(vec![put(4, 3, 1)]).await {
        Ok(mut pending) => pending.written().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Gone), "{error}");
    let rows = with(&path, async |store| store.load().await.unwrap()).await;
    assert_eq!(rows, [row(4, 1, 1)]);
}

#[tokio::test]
async fn the_log_keeps_its_newest_entries() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    let (store, thread) = open::<Vec<Record>>(&path, options(100)).unwrap();
    for from in [0, 1000] {
        let records = (from..from + 1000).map(|number| Record::Audit(audit(number)));
        write(&store, records.collect()).await;
    }
    drop(store);
    thread.join();
    let entries = entries(&path);
    // Up to 256 more are kept until the next look.
    assert!((100..=356).contains(&entries.len()), "{}", entries.len());
    assert_eq!(entries.last().unwrap().0, 2000);
    assert_eq!(entries.last().unwrap().2, "did 1999");
}

#[test]
fn a_database_is_for_one_scheduler() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let lock = StateLock::take(&state).unwrap();
    let error = StateLock::take(&state).unwrap_err();
    assert!(matches!(error, LockError::Running { .. }), "{error}");
    drop(lock);
    drop(StateLock::take(&state).unwrap());
}

#[test]
fn what_is_not_a_database_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    let text = "this is not a database, but it is long enough to look at";
    fs::write(&path, text.repeat(100)).unwrap();
    let error = connect(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.remedy().contains("move it away"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_found_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    with(&path, async |store| {
        let records = (0..200).map(|number| put(4, number, 1)).collect();
        write(store, records).await;
    })
    .await;
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = connect(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_database_of_another_program_or_a_newer_scheduler_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 3;")
        .unwrap();
    drop(other);
    let error = connect(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");

    let path = directory.path().join("scheduler.db");
    with(&path, async |_| ()).await;
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = connect(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn a_row_that_was_edited_by_hand_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler.db");
    with(&path, async |store| write(store, vec![put(8, 1, 1)]).await).await;
    for edit in [
        "UPDATE weights SET row = x'00ff'",
        "UPDATE weights SET row = x'0a06726f6c652d391002'",
    ] {
        let editor = Connection::open(&path).unwrap();
        editor.execute_batch(edit).unwrap();
        drop(editor);
        let error = with(&path, async |store| store.load().await.unwrap_err()).await;
        assert!(error.to_string().contains("`role-1` of weights"), "{error}");
    }
}

#[tokio::test]
async fn a_database_of_every_earlier_version_is_brought_up_to_date() {
    for version in 0..MIGRATIONS.len() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scheduler.db");
        let old = Connection::open(&path).unwrap();
        for migration in &MIGRATIONS[..version] {
            old.execute_batch(migration).unwrap();
        }
        let mut expected = Vec::new();
        if version > 0 {
            old.pragma_update(None, "application_id", APPLICATION_ID)
                .unwrap();
            let version = u32::try_from(version).unwrap();
            old.pragma_update(None, "user_version", version).unwrap();
            old.execute_batch("INSERT INTO weights VALUES ('role-1', x'0a06726f6c652d311002')")
                .unwrap();
            expected.push(row(8, 1, 1));
        }
        drop(old);
        let rows = with(&path, async |store| {
            let rows = store.load().await.unwrap();
            write(store, vec![put(4, 1, 1), Record::Audit(audit(1))]).await;
            rows
        })
        .await;
        assert_eq!(rows, expected, "from version {version}");
    }
}

/// Copies a database as a process that is killed leaves it, with the log cut where the disk had come.
fn cut(path: &Path, to: &Path, part: f64) -> PathBuf {
    let copy = to.join("scheduler.db");
    fs::copy(path, &copy).unwrap();
    let log = |path: &Path| path.with_extension("db-wal");
    let bytes = fs::read(log(path)).unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a file, any will do"
    )]
    let end = (bytes.len() as f64 * part) as usize;
    fs::write(log(&copy), &bytes[..end.min(bytes.len())]).unwrap();
    copy
}

/// What happens to a database.
#[derive(Clone, Debug)]
enum Event {
    /// Batches are given, and all are waited for.
    Commit(Vec<Vec<(u8, u64, u64)>>),
    /// The process is killed, when so much of the log had come to the disk of what was not confirmed.
    Kill(f64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let record = (0_u8..12, 0_u64..4, 0_u64..50);
    let batches = prop::collection::vec(prop::collection::vec(record, 1..5), 1..6);
    let event = prop_oneof![
        3 => batches.prop_map(Event::Commit),
        1 => (0.0..=1.0_f64).prop_map(Event::Kill),
    ];
    prop::collection::vec(event, 1..8)
}

fn records(batch: &[(u8, u64, u64)]) -> Vec<Record> {
    let record = |(kind, number, version): &(u8, u64, u64)| match kind {
        9 | 10 => Record::Drop(row(kind - 5, *number, 0).key()),
        11 => Record::Audit(audit(*version)),
        kind => put(*kind, *number, *version),
    };
    batch.iter().map(record).collect()
}

fn rows_of(image: &Image) -> Vec<Row> {
    image.rows().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_interleaving_of_commits_and_kills_leaves_a_prefix(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut directory = tempfile::tempdir().unwrap();
            let mut path = directory.path().join("scheduler.db");
            let (mut store, mut thread) = open::<Vec<Record>>(&path, options(10)).unwrap();
            // What was there after each batch.
            let mut prefixes = vec![Image::default()];
            for event in events {
                match event {
                    Event::Commit(batches) => {
                        let mut pending = Vec::new();
                        for batch in &batches {
                            let records = records(batch);
                            let mut image = prefixes.last().unwrap().clone();
                            records.iter().for_each(|record| image.apply(record));
                            prefixes.push(image);
                            pending.push(store.commit(records).await.unwrap());
                        }
                        for one in &mut pending {
                            drop(one.written().await.unwrap());
                        }
                    }
                    Event::Kill(part) => {
                        // While the process is there, so that nothing is tidied up.
                        let next = tempfile::tempdir().unwrap();
                        let copy = cut(&path, next.path(), part);
                        drop(store);
                        thread.join();
                        (store, thread) = open(&copy, options(10)).unwrap();
                        let found = sorted(store.load().await.unwrap());
                        let left = prefixes.iter().rposition(|image| rows_of(image) == found);
                        let left = left.expect("what is left is what some first batches made");
                        if part >= 1.0 {
                            assert_eq!(found, rows_of(prefixes.last().unwrap()));
                        }
                        // What comes back from the log is there until it is cut again.
                        prefixes.truncate(left + 1);
                        (directory, path) = (next, copy);
                    }
                }
                let found = sorted(store.load().await.unwrap());
                assert_eq!(found, rows_of(prefixes.last().unwrap()));
            }
            drop(store);
            thread.join();
            drop(directory);
        });
    }
}
