//! The database over real files.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use weir_executor::record::Outcome;
use weir_executor::spec::NetworkMode;
use weir_resources::PortSet;

use super::*;
use crate::container::{ContainerId, Launch, Limits, Slot, User};
use crate::ports::{Freed, UnixMs};

fn id(number: u64) -> ContainerId {
    ContainerId::from_random(number)
}

fn row(number: u64, name: &str, slot: u32) -> ContainerRow {
    ContainerRow {
        id: id(number),
        name: name.parse().unwrap(),
        phase: Phase::Starting,
        launch: Launch {
            name: Some(name.parse().unwrap()),
            argv: vec!["sh".to_owned(), "-c".to_owned(), "echo 'ü'".to_owned()],
            env: vec![("A".to_owned(), "B".to_owned())],
            working_directory: Some("/tmp".into()),
            user: User {
                name: "nobody".to_owned(),
                uid: 65534,
                gid: 65534,
                groups: vec![1],
            },
            network: NetworkMode::Isolated,
            limits: Limits {
                cpus: Some("0.5".parse().unwrap()),
                memory: None,
                ..Limits::default()
            },
            capabilities: vec!["KILL".to_owned()],
            task: None,
        },
        slot: Slot::try_from(slot).unwrap(),
        ports: "31000-31009,31500".parse().unwrap(),
        ephemeral: Some("61440-62463".parse().unwrap()),
        unenforced: true,
        created_at: UnixMs(1_700_000_000_000 + number),
    }
}

fn executor() -> ExecutorIdentity {
    ExecutorIdentity {
        pid: 7,
        start_ticks: 8,
        boot_id: "boot".to_owned(),
        init_pid: 9,
    }
}

fn freed(ports: &str, at: u64) -> Freed {
    Freed {
        ports: ports.parse().unwrap(),
        released_at: UnixMs(at),
    }
}

/// Opens, does something, and closes again.
async fn with<T>(path: &Path, work: impl AsyncFnOnce(&StoreHandle) -> T) -> T {
    let (store, thread) = open(path).unwrap();
    let value = work(&store).await;
    drop(store);
    thread.join();
    value
}

#[tokio::test]
async fn a_container_is_the_same_after_each_step_and_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    let mut expected = row(1, "web", 5);
    with(&path, async |store| {
        store.insert(expected.clone()).await.unwrap()
    })
    .await;
    let stored = || with(&path, async |store| store.load().await.unwrap());
    assert_eq!(stored().await.containers, [expected.clone()]);

    let started_at = UnixMs(1_700_000_000_500);
    let mut limited = expected.launch.clone();
    limited.limits.memory = Some("64M".parse().unwrap());
    assert_ne!(limited, expected.launch);
    with(&path, async |store| {
        store
            .set_running(id(1), executor(), started_at)
            .await
            .unwrap();
        let ports: PortSet = "31000".parse().unwrap();
        store
            .set_ports(id(1), ports, freed("31001-31009", 1))
            .await
            .unwrap();
        store
            .set_limits(id(1), limited.clone(), true)
            .await
            .unwrap();
    })
    .await;
    expected.phase = Phase::Running {
        executor: executor(),
        started_at,
    };
    expected.ports = "31000".parse().unwrap();
    expected.launch = limited;
    expected.unenforced = true;
    assert_eq!(stored().await.containers, [expected.clone()]);

    let outcome = Outcome::Signaled {
        signal: 9,
        core_dumped: false,
    };
    let ended_at = UnixMs(1_700_000_001_000);
    with(&path, async |store| {
        store
            .set_ended(id(1), outcome.clone(), ended_at, freed("31000", 2))
            .await
            .unwrap();
    })
    .await;
    expected.phase = Phase::Ended {
        outcome,
        started_at: Some(started_at),
        ended_at,
    };
    let after = stored().await;
    assert_eq!(after.containers, [expected]);
    assert_eq!(after.freed, [freed("31001-31009", 1), freed("31000", 2)]);

    with(&path, async |store| {
        store.forget(id(1)).await.unwrap();
        store.forget(id(1)).await.unwrap();
        store.forget_freed(UnixMs(2)).await.unwrap();
    })
    .await;
    let after = stored().await;
    assert_eq!(after.containers, []);
    assert_eq!(after.freed, [freed("31000", 2)]);
}

#[tokio::test]
async fn two_that_live_cannot_share_a_name_or_a_slot() {
    let directory = tempfile::tempdir().unwrap();
    with(&directory.path().join("agent.db"), async |store| {
        store.insert(row(1, "web", 1)).await.unwrap();
        for twin in [row(1, "a", 2), row(2, "web", 2), row(2, "a", 1)] {
            let error = store.insert(twin).await.unwrap_err();
            assert!(matches!(error, StoreError::Write { .. }), "{error}");
        }
        let ended = Outcome::Exited { code: 0 };
        store
            .set_ended(id(1), ended, UnixMs(1), freed("", 1))
            .await
            .unwrap();
        store.insert(row(2, "web", 1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_step_out_of_order_is_refused_and_spoils_nothing() {
    let directory = tempfile::tempdir().unwrap();
    with(&directory.path().join("agent.db"), async |store| {
        // Sent together, so that they share a transaction.
        let (unknown, inserted) = tokio::join!(
            store.set_running(id(9), executor(), UnixMs(1)),
            store.insert(row(1, "web", 1)),
        );
        assert!(unknown.is_err());
        inserted.unwrap();
        let ended = || Outcome::Exited { code: 0 };
        store
            .set_ended(id(1), ended(), UnixMs(1), freed("", 1))
            .await
            .unwrap();
        assert!(
            store
                .set_ended(id(1), ended(), UnixMs(2), freed("1", 2))
                .await
                .is_err()
        );
        assert!(
            store
                .set_running(id(1), executor(), UnixMs(2))
                .await
                .is_err()
        );
        assert_eq!(store.load().await.unwrap().freed, []);
    })
    .await;
}

#[tokio::test]
async fn many_callers_at_once_are_all_served() {
    let directory = tempfile::tempdir().unwrap();
    with(&directory.path().join("agent.db"), async |store| {
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..500_u32 {
            let store = store.clone();
            let row = row(u64::from(number), &format!("c{number}"), number);
            callers.spawn(async move { store.insert(row).await });
        }
        while let Some(inserted) = callers.join_next().await {
            inserted.unwrap().unwrap();
        }
        assert_eq!(store.load().await.unwrap().containers.len(), 500);
    })
    .await;
}

#[test]
fn what_is_not_a_database_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    fs::write(
        &path,
        "this is not a database, but it is long enough to look at".repeat(100),
    )
    .unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_found_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    with(&path, async |store| {
        for number in 0..200_u32 {
            let name = format!("c{number}");
            store
                .insert(row(u64::from(number), &name, number))
                .await
                .unwrap();
        }
    })
    .await;
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_database_of_another_program_or_a_newer_agent_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 3;")
        .unwrap();
    drop(other);
    for error in [open(&path).unwrap_err(), examine(&path).unwrap_err()] {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    let path = directory.path().join("agent.db");
    examine(&path).unwrap();
    assert!(!path.exists());
    with(&path, async |_| ()).await;
    examine(&path).unwrap();
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    for error in [open(&path).unwrap_err(), examine(&path).unwrap_err()] {
        assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_row_that_was_edited_by_hand_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    with(&path, async |store| {
        store.insert(row(1, "web", 1)).await.unwrap()
    })
    .await;
    let editor = Connection::open(&path).unwrap();
    editor
        .execute_batch("UPDATE containers SET launch = '{}'")
        .unwrap();
    drop(editor);
    let error = with(&path, async |store| store.load().await.unwrap_err()).await;
    assert!(error.to_string().contains(id(1).as_str()), "{error}");
}
