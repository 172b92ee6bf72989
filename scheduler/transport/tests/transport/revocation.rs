//! Live connections, when what they were believed for is over.

use std::fs;
use std::time::Duration;

use weir_transport::PeerKind;
use weir_transport::check::Check;
use weir_transport::listen::Reason;
use weir_transport::session::{CloseCode, Disconnect};

use crate::handshake::refused;
use crate::world::{World, connect, load, replace, say, spawn_reloader, within, write_bundle};

/// What the issue asks for: a revoked peer is closed within this time.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_revoked_peers_connection_is_closed_and_no_other() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let evil = world.issue(PeerKind::Framework, "evil");
    let mut good = connect(
        &scheduler.address,
        world.credentials(PeerKind::Agent, "good"),
    )
    .await
    .unwrap();
    let mut bad = connect(&scheduler.address, load(&evil)).await.unwrap();
    say(&mut good, "hello").await;
    say(&mut bad, "hello").await;

    world.revoke(PeerKind::Framework, "evil");
    let closed = tokio::time::timeout(CLOSED_WITHIN, bad.link().closed())
        .await
        .expect("a revoked peer is still connected");
    let Disconnect::ByPeer { code, reason } = closed else {
        panic!("{closed}");
    };
    assert_eq!(code, CloseCode::Revoked);
    assert!(reason.contains("revoked"), "{reason}");
    let told = scheduler.refusal().await;
    assert!(
        matches!(
            told.reason,
            Reason::NoLonger {
                check: Check::Revocation,
                ..
            }
        ),
        "{told}"
    );
    assert_eq!(
        told.claimed,
        Some(world.identity(PeerKind::Framework, "evil"))
    );
    assert_eq!(scheduler.counters.closed_no_longer(), 1);
    say(&mut good, "still here").await;

    let refusal = refused(connect(&scheduler.address, load(&evil)).await).await;
    assert_eq!(refusal.check, Check::Revocation);
}

#[tokio::test]
async fn peers_of_an_authority_that_left_the_bundle_are_closed() {
    let world = World::new();
    let other = World::new();
    let both = [&world, &other];
    write_bundle(&world.bundle(), &both);
    write_bundle(&other.bundle(), &both);
    let mut scheduler = world.scheduler();
    let mut stays = connect(&scheduler.address, world.credentials(PeerKind::Agent, "a"))
        .await
        .unwrap();
    let mut leaves = connect(&scheduler.address, other.credentials(PeerKind::Agent, "b"))
        .await
        .unwrap();
    say(&mut stays, "hello").await;
    say(&mut leaves, "hello").await;

    write_bundle(&world.bundle(), &[&world]);
    let closed = tokio::time::timeout(CLOSED_WITHIN, leaves.link().closed())
        .await
        .expect("a peer that is not believed any more is still connected");
    assert!(
        matches!(
            closed,
            Disconnect::ByPeer {
                code: CloseCode::Untrusted,
                ..
            }
        ),
        "{closed}"
    );
    let told = scheduler.refusal().await;
    assert!(
        matches!(
            told.reason,
            Reason::NoLonger {
                check: Check::Chain,
                ..
            }
        ),
        "{told}"
    );
    say(&mut stays, "still here").await;
}

#[tokio::test]
async fn an_agent_leaves_a_scheduler_that_was_revoked() {
    let world = World::new();
    // The scheduler does not know of it: it has no list.
    let mut files = world.issue(PeerKind::Scheduler, "main");
    files.revocations = None;
    let scheduler =
        crate::world::Scheduler::start(load(&files), crate::world::listen_limits(), None);
    let reloader = spawn_reloader(&world.issue(PeerKind::Agent, "n1"));
    let mut session = connect(&scheduler.address, reloader.watch()).await.unwrap();
    say(&mut session, "hello").await;

    world.revoke(PeerKind::Scheduler, "main");
    let closed = tokio::time::timeout(CLOSED_WITHIN, session.link().closed())
        .await
        .expect("the session with a revoked scheduler goes on");
    assert!(
        matches!(
            closed,
            Disconnect::Here {
                code: CloseCode::Revoked,
                ..
            }
        ),
        "{closed}"
    );
    assert!(!closed.is_retryable());
}

#[tokio::test]
async fn a_broken_certificate_file_does_not_delay_a_revocation() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let mut session = connect(&scheduler.address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap();
    say(&mut session, "hello").await;
    fs::write(world.path("certs/scheduler-main.pem"), "half a certi").unwrap();
    world.revoke(PeerKind::Agent, "n1");
    tokio::time::timeout(CLOSED_WITHIN, session.link().closed())
        .await
        .expect("a revoked peer is still connected");
    assert_eq!(scheduler.refusal().await.reason.label(), "revocation");
    let reloader = scheduler.reloader.as_ref().unwrap();
    let mut watch = reloader.watch();
    within(watch.wait_for(|state| state.reloads_failed > 0))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_empty_list_switches_nothing_off() {
    let world = World::new();
    let scheduler = world.scheduler();
    let revoked = world.issue(PeerKind::Agent, "n1");
    world.revoke(PeerKind::Agent, "n1");
    let reloader = scheduler.reloader.as_ref().unwrap();
    within(reloader.reload()).await.unwrap();
    replace(&world.authority.revocations_path(), b"");
    within(reloader.reload()).await.unwrap_err();
    let refusal = refused(connect(&scheduler.address, load_without_list(&revoked)).await).await;
    assert_eq!(refusal.check, Check::Revocation);
}

fn load_without_list(
    files: &weir_transport::credentials::CredentialFiles,
) -> weir_transport::CredentialWatch {
    load(&weir_transport::credentials::CredentialFiles {
        revocations: None,
        ..files.clone()
    })
}
