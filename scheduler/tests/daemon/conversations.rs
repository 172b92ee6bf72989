//! What frameworks, agents and operators do together, through the daemon.

use weir_client::{Event, Framework};
use weir_protocol::{
    Action, AgentEvent, Argv, Ceilings, Command, Environment, Filters, FrameworkCall, Line, Millis,
    NetworkMode, Offer, Operation, OperationId, OperationOutcome, Run, TaskId, TaskSpec, TaskState,
    TaskStatus,
};
use weir_resources::{Labels, Role};
use weir_transport::PeerKind;

use crate::node::{Kept, Node, resources};
use crate::world::{World, within};

/// Waits for something that a framework hears.
pub(crate) async fn heard<T>(
    framework: &mut Framework,
    mut pick: impl FnMut(Event) -> Option<T>,
) -> T {
    within(async {
        loop {
            let event = framework.next().await.unwrap();
            if let Some(found) = pick(event) {
                return found;
            }
        }
    })
    .await
}

pub(crate) async fn offered(framework: &mut Framework) -> Offer {
    let pick = |event| match event {
        Event::Offers(offers) => offers.into_iter().next(),
        other => {
            assert!(!matches!(other, Event::Refused { .. }), "{other:?}");
            None
        }
    };
    heard(framework, pick).await
}

pub(crate) async fn updated(framework: &mut Framework) -> TaskStatus {
    let pick = |event| match event {
        Event::Update(status) => Some(status),
        Event::Refused { failure, .. } => panic!("{failure}"),
        _ => None,
    };
    heard(framework, pick).await
}

pub(crate) async fn answered(framework: &mut Framework, operation: &str) -> OperationOutcome {
    let pick = |event| match event {
        Event::Operation { id, outcome } if id.as_str() == operation => Some(outcome),
        Event::Refused { failure, .. } => panic!("{failure}"),
        _ => None,
    };
    heard(framework, pick).await
}

pub(crate) fn task(id: &str) -> TaskSpec {
    TaskSpec {
        id: TaskId::new(id).unwrap(),
        name: Line::new(id).unwrap(),
        command: Command {
            run: Run::Argv(Argv::new(vec!["true".to_owned()]).unwrap()),
            environment: Environment::default(),
            user: None,
            working_directory: None,
        },
        resources: resources("cpus:1;mem:64"),
        network: NetworkMode::Host,
        kill_grace: Millis(5_000),
        labels: Labels::none(),
        ceilings: Ceilings::default(),
    }
}

pub(crate) fn launch(operation: &str, offer: &Offer, tasks: Vec<TaskSpec>) -> FrameworkCall {
    FrameworkCall::Accept {
        offers: vec![offer.id],
        operations: vec![Operation {
            id: OperationId::new(operation).unwrap(),
            action: Action::Launch(tasks),
        }],
        filters: Filters { refuse: Millis(0) },
    }
}

#[tokio::test]
async fn a_framework_is_offered_what_an_agent_has_and_runs_a_task_on_it() {
    let world = World::running();
    let mut framework = world.framework("ci", "web");
    let mut node = Node::register(&world, "n1", Kept::default()).await;
    let offer = offered(&mut framework).await;
    assert_eq!(offer.agent, node.id);
    assert_eq!(offer.resources.amount("cpus"), "4".parse().unwrap());

    let call = launch("op-1", &offer, vec![task("t-1")]);
    framework.call(call).await.unwrap();
    let launched = node.launched().await;
    assert_eq!(launched.task.id.as_str(), "t-1");
    assert_eq!(launched.owner.principal.as_str(), "ci");
    node.update(&launched, TaskState::Running, 1).await;
    let status = updated(&mut framework).await;
    assert_eq!(status.state, TaskState::Running);
    framework.acknowledge(&status).await.unwrap();
    assert!(matches!(node.hear().await, AgentEvent::Acknowledge { .. }));

    let mut operator = world.operator("ann");
    let tasks = within(operator.tasks(None, None, true)).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!(world.metric("weir_scheduler_sessions{kind=\"agent\"}"), 1.0);
    assert!(world.get("/health").ends_with("ok\n"));
    // Counted every two seconds.
    within(async {
        while world.metric("weir_scheduler_allocator_grants_total") < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(world.metric("weir_scheduler_allocator_rounds_total") >= 1.0);

    node.update(&launched, TaskState::Finished, 2).await;
    let status = updated(&mut framework).await;
    assert_eq!(status.state, TaskState::Finished);
    framework.acknowledge(&status).await.unwrap();
    assert!(matches!(node.hear().await, AgentEvent::Acknowledge { .. }));
    assert!(within(operator.tasks(None, None, true)).await.is_ok());
}

#[tokio::test]
async fn calls_that_come_together_share_a_flush() {
    const CALLERS: usize = 24;
    let world = World::running();
    let mut operators: Vec<_> = (0..CALLERS)
        .map(|number| world.operator(&format!("op-{number}")))
        .collect();
    for operator in &mut operators {
        within(operator.roles()).await.unwrap();
    }
    let before = world.metric("weir_scheduler_store_commit_seconds_count");
    let mut changes = tokio::task::JoinSet::new();
    for (number, mut operator) in operators.into_iter().enumerate() {
        changes.spawn(async move {
            for round in 0..8 {
                let role = Role::new(format!("role-{number}-{round}")).unwrap();
                let weight = weir_protocol::operator::Weight::ONE;
                operator.set_weight(role, weight).await.unwrap();
            }
        });
    }
    within(async {
        while let Some(done) = changes.join_next().await {
            done.unwrap()
        }
    })
    .await;
    let commits = world.metric("weir_scheduler_store_commit_seconds_count") - before;
    let calls = 8.0 * f64::from(u32::try_from(CALLERS).unwrap());
    assert!(commits < calls, "{calls} calls in {commits} transactions");
}

#[tokio::test]
async fn a_revoked_peer_is_disconnected_and_a_renewed_certificate_is_taken() {
    let world = World::running();
    let node = Node::register(&world, "n1", Kept::default()).await;
    world.issue(PeerKind::Scheduler, "main");
    world.revoke(PeerKind::Agent, "n1");
    let why = within(node.session().link().closed()).await;
    assert!(why.to_string().contains("revoked"), "{why}");
    // With the certificate that has just been issued.
    let other = Node::register(&world, "n2", Kept::default()).await;
    assert_ne!(other.id, node.id);
    assert!(world.metric("weir_scheduler_certificate_reloads_total{outcome=\"ok\"}") >= 1.0);
}
