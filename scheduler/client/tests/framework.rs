//! A framework that is refused, thrown out, left alone and taken back: over real connections.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::time::timeout;
use weir_client::{
    ConversationError, Event, Framework, FrameworkError, FrameworkSettings, NotSent,
    OperatorClient, OperatorError,
};
use weir_protocol::{
    CallError, Envelope as _, ErrorCode, Failure, FrameworkCall, FrameworkEvent, FrameworkId,
    FrameworkInfo, HelloAnswer, Limits, Line, Millis, Numbered, Welcome, wire,
};
use weir_resources::Labels;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_LIFETIME, IssueRequest, Overwrite,
};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::listen::ListenLimits;
use weir_transport::{
    Address, CredentialWatch, Credentials, Listener, PeerKind, Session, TrustDomain,
};

type Talk = Session<wire::FrameworkEvent, wire::FrameworkCall>;

const ID: FrameworkId = FrameworkId::from_bits(7);

/// Certificates, and a scheduler that says what the test says.
struct World {
    directory: TempDir,
    authority: Authority,
    listener: Listener,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(
            directory.path(),
            &TrustDomain::new("weir.test").unwrap(),
            AUTHORITY_LIFETIME,
            SystemTime::now(),
        )
        .unwrap();
        let credentials = credentials(&authority, directory.path().into(), PeerKind::Scheduler);
        let limits = ListenLimits::default();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), credentials, limits).unwrap();
        Self {
            directory,
            authority,
            listener,
        }
    }

    fn credentials(&self, kind: PeerKind) -> CredentialWatch {
        credentials(&self.authority, self.directory.path().into(), kind)
    }

    fn address(&self) -> Address {
        self.listener.local_address().into()
    }

    fn framework(&self) -> Framework {
        let info = FrameworkInfo {
            name: line("test"),
            role: "test".parse().unwrap(),
            user: None,
            failover_timeout: Millis(60_000),
            unattended: false,
            capabilities: [].into(),
            labels: Labels::none(),
            weburl: None,
        };
        let settings = FrameworkSettings {
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(50),
            ..FrameworkSettings::new(info, line("test 1"))
        };
        Framework::start(
            self.address(),
            self.credentials(PeerKind::Framework),
            settings,
        )
    }

    /// Waits for a peer, welcomes it, and hears its SUBSCRIBE.
    async fn greet(&mut self) -> (Talk, Option<FrameworkId>, bool) {
        let incoming = within(self.listener.accept()).await.unwrap();
        let mut session = incoming.into_session::<wire::HelloAnswer, wire::Hello>();
        within(session.receive()).await.unwrap().unwrap();
        let welcome = HelloAnswer::Welcome(Welcome {
            version: 1,
            capabilities: [].into(),
            scheduler: line("main"),
            limits: Limits::OWN,
        });
        session.send(&welcome.into_wire()).await.unwrap();
        let mut talk: Talk = session.continue_with();
        let FrameworkCall::Subscribe { id, force, .. } = hear(&mut talk).await.call else {
            panic!("SUBSCRIBE comes first");
        };
        (talk, id, force)
    }

    async fn subscribe(&mut self, heartbeat: Millis) -> Talk {
        let (mut talk, _, _) = self.greet().await;
        subscribed(&mut talk, heartbeat).await;
        talk
    }
}

fn credentials(authority: &Authority, directory: PathBuf, kind: PeerKind) -> CredentialWatch {
    let request = IssueRequest {
        kind,
        name: "test".parse().unwrap(),
        host_names: match kind {
            PeerKind::Scheduler => vec!["127.0.0.1".parse().unwrap()],
            PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
                Vec::new()
            }
        },
        lifetime: CERTIFICATE_LIFETIME,
    };
    let now = SystemTime::now();
    let (_, files) = authority
        .issue_files(&request, &directory, Overwrite::Replace, now)
        .unwrap();
    let files = CredentialFiles {
        certificate: files.certificate,
        key: files.key,
        authorities: authority.certificate_path(),
        revocations: None,
    };
    CredentialState::fixed(Credentials::load(&files, &PeerKind::ALL, now).unwrap())
}

fn line(text: &str) -> Line {
    Line::new(text).unwrap()
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("what the test waits for did not come")
}

async fn hear(talk: &mut Talk) -> Numbered<FrameworkCall> {
    let call = within(talk.receive()).await.unwrap().unwrap();
    Numbered::from_wire(call).unwrap()
}

async fn say(talk: &mut Talk, event: FrameworkEvent) {
    within(talk.send(&event.into_wire())).await.unwrap();
}

async fn subscribed(talk: &mut Talk, heartbeat_interval: Millis) {
    let event = FrameworkEvent::Subscribed {
        id: ID,
        scheduler: line("main"),
        heartbeat_interval,
    };
    say(talk, event).await;
}

fn error(code: ErrorCode) -> FrameworkEvent {
    FrameworkEvent::Error(CallError {
        call: None,
        failure: Failure::new(code, "because", "do something"),
    })
}

async fn next(framework: &mut Framework) -> Event {
    within(framework.next()).await.unwrap()
}

const MINUTE: Millis = Millis(60_000);

#[tokio::test]
async fn it_comes_back_under_its_id_and_takes_nobodys_place() {
    let mut world = World::new();
    let mut framework = world.framework();
    let talk = world.subscribe(MINUTE).await;
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed {
            again: false,
            id: ID,
            ..
        }
    ));
    drop(talk);
    assert!(matches!(
        next(&mut framework).await,
        Event::Disconnected { .. }
    ));
    // The scheduler still believes in the connection that broke.
    let (mut talk, id, force) = world.greet().await;
    assert_eq!((id, force), (Some(ID), false));
    say(&mut talk, error(ErrorCode::AlreadySubscribed)).await;
    assert!(matches!(next(&mut framework).await, Event::NotYet { .. }));
    let _talk = world.subscribe(MINUTE).await;
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { again: true, .. }
    ));
}

#[tokio::test]
async fn whoever_is_taken_over_stops() {
    let mut world = World::new();
    let mut framework = world.framework();
    let mut talk = world.subscribe(MINUTE).await;
    next(&mut framework).await;
    say(&mut talk, error(ErrorCode::FrameworkFailedOver)).await;
    let end = within(framework.next()).await.unwrap_err();
    assert!(
        matches!(&end, FrameworkError::Ended(_)) && !end.is_retryable(),
        "{end}"
    );
    assert!(framework.next().await.is_err(), "and stays at its end");
    let reconcile = FrameworkCall::Revive;
    let not_sent = framework.call(reconcile).await.unwrap_err();
    assert!(matches!(
        not_sent,
        NotSent::NotSubscribed { .. } | NotSent::Ended { .. }
    ));
}

#[tokio::test]
async fn a_refused_subscription_that_may_pass_is_tried_again_and_another_is_not() {
    let mut world = World::new();
    let mut framework = world.framework();
    let (mut talk, _, _) = world.greet().await;
    say(&mut talk, error(ErrorCode::NotReady)).await;
    assert!(matches!(next(&mut framework).await, Event::NotYet { .. }));
    let (mut talk, _, _) = world.greet().await;
    say(&mut talk, error(ErrorCode::AlreadySubscribed)).await;
    let end = within(framework.next()).await.unwrap_err();
    assert!(matches!(&end, FrameworkError::Refused(_)), "{end}");
    assert_eq!(end.remedy(), "do something");
}

#[tokio::test]
async fn a_scheduler_that_says_nothing_is_left() {
    let mut world = World::new();
    let mut framework = world.framework();
    let _talk = world.subscribe(Millis(1)).await;
    next(&mut framework).await;
    let Event::Disconnected { error, .. } = next(&mut framework).await else {
        panic!("the silence is noticed");
    };
    assert!(matches!(error, ConversationError::Silent { .. }), "{error}");
    let _talk = world.subscribe(MINUTE).await;
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { again: true, .. }
    ));
}

#[tokio::test]
async fn calls_go_out_in_order_and_are_all_there_when_it_is_closed() {
    let mut world = World::new();
    let mut framework = world.framework();
    let early = framework.call(FrameworkCall::Revive).await.unwrap_err();
    assert!(early.is_retryable(), "{early}");
    let mut talk = world.subscribe(MINUTE).await;
    next(&mut framework).await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(framework.call(FrameworkCall::Revive).await.unwrap());
    }
    let closing = tokio::spawn(framework.close());
    for id in ids {
        assert_eq!(hear(&mut talk).await.id, id);
    }
    let over = within(talk.receive()).await;
    assert!(!matches!(over, Ok(Some(_))), "{over:?}");
    within(closing).await.unwrap();
}

#[tokio::test]
async fn a_question_is_asked_again_and_a_change_is_not() {
    let mut world = World::new();
    let credentials = world.credentials(PeerKind::Operator);
    let mut client = OperatorClient::new(world.address(), credentials, line("test 1"));
    assert_eq!(client.principal().as_str(), "test");
    let asking = tokio::spawn(async move {
        let first = client.agents().await;
        // The connection breaks now; nobody notices before it is used.
        let second = client.agents().await;
        let third = client.remove_agent("n1".parse().unwrap()).await;
        (first, second, third)
    });
    type Answers = Session<wire::OperatorAnswer, wire::OperatorCall>;
    let mut calls = Vec::new();
    for answers in [true, true] {
        let incoming = within(world.listener.accept()).await.unwrap();
        let mut session = incoming.into_session::<wire::HelloAnswer, wire::Hello>();
        within(session.receive()).await.unwrap().unwrap();
        let welcome = HelloAnswer::Welcome(Welcome {
            version: 1,
            capabilities: [].into(),
            scheduler: line("main"),
            limits: Limits::OWN,
        });
        session.send(&welcome.into_wire()).await.unwrap();
        let mut talk: Answers = session.continue_with();
        let asked = within(talk.receive()).await.unwrap().unwrap();
        let asked = Numbered::<weir_protocol::OperatorCall>::from_wire(asked).unwrap();
        calls.push(asked.call.name());
        if answers {
            let answer = weir_protocol::Answered {
                call: Some(asked.id),
                answer: weir_protocol::OperatorAnswer::Agents(weir_protocol::operator::Listing {
                    entries: Vec::new(),
                    next: None,
                }),
            };
            talk.send(&answer.into_wire()).await.unwrap();
            // What comes next on this connection is not answered.
            let next = within(talk.receive()).await.unwrap().unwrap();
            let next = Numbered::<weir_protocol::OperatorCall>::from_wire(next).unwrap();
            calls.push(next.call.name());
        }
    }
    assert_eq!(
        calls,
        ["LIST_AGENTS", "LIST_AGENTS", "LIST_AGENTS", "REMOVE_AGENT"]
    );
    let (first, second, third) = within(asking).await.unwrap();
    assert!(first.unwrap().is_empty() && second.unwrap().is_empty());
    let error = third.unwrap_err();
    assert!(matches!(error, OperatorError::Unanswered { .. }), "{error}");
    assert!(error.may_have_happened());
}
