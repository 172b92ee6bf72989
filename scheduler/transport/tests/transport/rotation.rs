//! New certificates, bundles and lists, while conversations go on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;
use weir_transport::PeerKind;
use weir_transport::credentials::{CredentialError, ReloadError};

use crate::world::{
    Words, World, connect, load, replace, say, spawn_reloader, told, within, write_bundle,
};

/// A peer that says words as fast as it hears them back, until it is told to stop.
struct Talker {
    stop: Arc<AtomicBool>,
    said: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Talker {
    fn start(mut session: Words) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let said = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&said));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let word = format!("word {}", count.fetch_add(1, Ordering::SeqCst));
                say(&mut session, &word).await;
            }
            within(session.finish()).await.unwrap();
        });
        Self { stop, said, task }
    }

    /// Waits until it has said and heard more.
    async fn goes_on(&self) {
        let before = self.said.load(Ordering::SeqCst);
        within(async {
            while self.said.load(Ordering::SeqCst) < before + 3 && !self.task.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(!self.task.is_finished(), "the conversation ended");
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        within(self.task).await.expect("the conversation was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_rotated_and_nobody_who_stays_valid_is_lost() {
    let world = World::new();
    let next = World::new();
    let scheduler = world.scheduler();
    let reloader = scheduler.reloader.clone().unwrap();
    let mut talkers = Vec::new();
    for name in ["a", "b", "c"] {
        let reloader = spawn_reloader(&world.issue(PeerKind::Agent, name));
        let session = connect(&scheduler.address, reloader.watch()).await.unwrap();
        talkers.push(Talker::start(session));
    }
    let goes_on = async |talkers: &[Talker]| {
        for talker in talkers {
            talker.goes_on().await;
        }
    };

    // The scheduler's certificate.
    let issued = world.issue_again(PeerKind::Scheduler, "main");
    let mut watch = reloader.watch();
    within(watch.wait_for(|state| *state.current.serial() == issued.serial))
        .await
        .unwrap();
    goes_on(&talkers).await;
    let session = connect(&scheduler.address, world.credentials(PeerKind::Agent, "d"))
        .await
        .unwrap();
    assert_eq!(
        session.peer().serial,
        issued.serial,
        "new ones see the new certificate"
    );
    talkers.push(Talker::start(session));

    // The agents' own: what is connected stays on the old one.
    world.issue_again(PeerKind::Agent, "a");
    goes_on(&talkers).await;

    // A second authority joins the bundle, and its peers are taken.
    let generation = watch.borrow().generation;
    write_bundle(&world.bundle(), &[&world, &next]);
    write_bundle(&next.bundle(), &[&world, &next]);
    within(watch.wait_for(|state| state.generation > generation))
        .await
        .unwrap();
    goes_on(&talkers).await;
    let session = connect(&scheduler.address, next.credentials(PeerKind::Agent, "e"))
        .await
        .unwrap();
    talkers.push(Talker::start(session));

    // Somebody else is revoked.
    world.issue(PeerKind::Framework, "gone");
    let generation = watch.borrow().generation;
    world.revoke(PeerKind::Framework, "gone");
    within(watch.wait_for(|state| state.generation > generation))
        .await
        .unwrap();
    goes_on(&talkers).await;

    for talker in talkers {
        talker.stop().await;
    }
    assert_eq!(scheduler.counters.closed_no_longer(), 0);
    assert!(reloader.watch().borrow().last_error.is_none());
}

#[tokio::test]
async fn a_broken_new_file_keeps_the_old_until_it_is_mended() {
    let world = World::new();
    let scheduler = world.scheduler();
    let reloader = scheduler.reloader.clone().unwrap();
    let mut watch = reloader.watch();
    let certificate = world.path("certs/scheduler-main.pem");
    let whole = fs::read(&certificate).unwrap();
    let serial = watch.borrow().current.serial().clone();

    replace(&certificate, &whole[..whole.len() / 2]);
    let state = within(watch.wait_for(|state| state.reloads_failed == 1))
        .await
        .unwrap()
        .clone();
    let error = state.last_error.clone().unwrap();
    assert!(error.to_string().contains("scheduler-main.pem"), "{error}");
    assert_eq!((*state.current.serial()).clone(), serial);
    assert_eq!(state.generation, 0);
    let mut session = connect(&scheduler.address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap();
    say(&mut session, "still served").await;

    replace(&certificate, &whole);
    let state = within(watch.wait_for(|state| state.last_error.is_none()))
        .await
        .unwrap()
        .clone();
    assert_eq!((state.reloads_ok, state.reloads_failed), (1, 1));
    assert_eq!(state.generation, 0, "what is in force never changed");
}

#[tokio::test]
async fn a_reload_that_is_asked_for_answers_with_what_is_wrong() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let reloader = spawn_reloader(&files);
    within(reloader.reload()).await.unwrap();

    // Another's key.
    let other = world.issue(PeerKind::Agent, "n2");
    replace(&files.key, &fs::read(&other.key).unwrap());
    let error = within(reloader.reload()).await.unwrap_err();
    let ReloadError::Refused(cause) = &error else {
        panic!("{error}");
    };
    assert!(
        matches!(**cause, CredentialError::KeyMismatch { .. }),
        "{}",
        told(&error)
    );

    // And another's certificate with it: whole, but somebody else.
    replace(&files.certificate, &fs::read(&other.certificate).unwrap());
    let error = within(reloader.reload()).await.unwrap_err();
    assert!(
        told(&error).contains("is of `spiffe://weir.test/agent/n2`, and this process runs as `spiffe://weir.test/agent/n1`"),
        "{}",
        told(&error)
    );
    assert_eq!(
        *reloader.watch().borrow().current.identity(),
        world.identity(PeerKind::Agent, "n1")
    );
}

#[tokio::test]
async fn a_bundle_that_would_shut_this_process_out_is_not_taken() {
    let world = World::new();
    let other = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let reloader = spawn_reloader(&files);
    write_bundle(&world.bundle(), &[&other]);
    let error = within(reloader.reload()).await.unwrap_err();
    assert!(
        told(&error).contains("does not verify against the authorities"),
        "{}",
        told(&error)
    );
    assert_eq!(reloader.watch().borrow().generation, 0);
}

#[tokio::test]
async fn yesterdays_list_does_not_give_back_what_was_revoked_today() {
    let world = World::new();
    let yesterday = fs::read(world.authority.revocations_path()).unwrap();
    let reloader = spawn_reloader(&world.issue(PeerKind::Agent, "n1"));
    world.issue(PeerKind::Agent, "gone");
    world.revoke(PeerKind::Agent, "gone");
    within(reloader.reload()).await.unwrap();
    replace(&world.authority.revocations_path(), &yesterday);
    let error = within(reloader.reload()).await.unwrap_err();
    assert!(
        told(&error).contains("has number 0, and number 1 is in force"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn the_task_ends_with_the_last_who_cares() {
    let world = World::new();
    let reloader = spawn_reloader(&world.issue(PeerKind::Agent, "n1"));
    let mut watch = reloader.watch();
    drop(reloader);
    // Without a handle it still looks.
    world.issue_again(PeerKind::Agent, "n1");
    within(watch.wait_for(|state| state.generation > 0))
        .await
        .unwrap();
    let session_credentials = load(&world.issue(PeerKind::Agent, "n2"));
    assert!(
        session_credentials.has_changed().is_err(),
        "a fixed watch has no sender"
    );
}
