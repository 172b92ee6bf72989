//! Stories of a task, told to the plan.

use std::num::NonZeroU64;

use weir_client::ConversationError;
use weir_protocol::{
    Argv, Ceilings, Command, Environment, Exit, Line, NetworkMode, RescindReason, Run, UnixMs,
    UpdateId, VolumeSizes,
};
use weir_resources::{Amount, Attributes, Labels};

use super::super::fit::Wanted;
use super::*;

const SOON: Duration = Duration::from_millis(1);

fn order() -> Order {
    Order {
        task: TaskSpec {
            id: TaskId::new("nothing-yet").unwrap(),
            name: Line::new("web").unwrap(),
            command: Command {
                run: Run::Argv(Argv::new(vec!["true".to_owned()]).unwrap()),
                environment: Environment::default(),
                user: None,
                working_directory: None,
            },
            resources: Resources::new(),
            network: NetworkMode::Isolated,
            kill_grace: Millis(5_000),
            labels: Labels::none(),
            ceilings: Ceilings::default(),
        },
        wanted: Wanted {
            role: "db".parse().unwrap(),
            kind: Kind::Regular,
            cpus: "1".parse().unwrap(),
            mem: "256".parse().unwrap(),
            egress: None,
            ingress: None,
            disk: Amount::ZERO,
            ports: 0,
            volumes: Vec::new(),
            network: NetworkMode::Isolated,
        },
        detach: false,
        deadline: None,
    }
}

fn plan_of(order: Order) -> Plan {
    let mut plan = Plan::new(order, TaskId::new("web.x").unwrap());
    let steps = plan.handle_event(SOON, subscribed(false));
    assert_eq!(told(&steps), ["waiting for an offer of cpus 1, mem 256"]);
    plan
}

fn subscribed(again: bool) -> Event {
    Event::Subscribed {
        id: FrameworkId::from_bits(7),
        scheduler: Line::new("main").unwrap(),
        again,
    }
}

fn disconnected() -> Event {
    Event::Disconnected {
        error: ConversationError::Ended {
            address: "localhost:5151".parse().unwrap(),
        },
        retry_in: Duration::from_millis(700),
    }
}

fn offer(id: u128, resources: &str) -> Offer {
    let resources: Resources = resources.parse().unwrap();
    Offer {
        id: OfferId::from_bits(id),
        agent: AgentId::from_bits(1),
        agent_name: AgentName::new("n1").unwrap(),
        hostname: Line::new("n1").unwrap(),
        addresses: [].into(),
        attributes: Attributes::default(),
        kind: if resources.revocable().is_empty() {
            Kind::Regular
        } else {
            Kind::Revocable
        },
        resources,
        expires_after: None,
        volume_sizes: VolumeSizes::Accounted,
    }
}

const ENOUGH: &str = "cpus:4;mem:1024;port_blocks:3";

fn status(task: &str, state: TaskState) -> TaskStatus {
    TaskStatus {
        task: TaskId::new(task).unwrap(),
        state,
        agent: Some(AgentId::from_bits(1)),
        source: Source::Agent,
        reason: None,
        message: None,
        timestamp: UnixMs(0),
        update: Some(UpdateId::from_bits(1)),
        exit: None,
    }
}

fn scheduler_says(task: &str, state: TaskState, reason: Reason) -> Event {
    Event::Update(TaskStatus {
        source: Source::Scheduler,
        reason: Some(reason),
        update: None,
        ..status(task, state)
    })
}

fn operation(id: &str, outcome: OperationOutcome) -> Event {
    Event::Operation {
        id: OperationId::new(id).unwrap(),
        outcome,
    }
}

fn failed(code: ErrorCode) -> OperationOutcome {
    OperationOutcome::Failed(Failure::new(code, "it went wrong", "do better"))
}

fn finished() -> OperationOutcome {
    OperationOutcome::Finished { notes: Vec::new() }
}

fn told(steps: &[Step]) -> Vec<&str> {
    let told = steps.iter().filter_map(|step| match step {
        Step::Say(text) => Some(text.as_str()),
        Step::Call(_) | Step::End(_) => None,
    });
    told.collect()
}

fn calls(steps: &[Step]) -> Vec<&FrameworkCall> {
    let calls = steps.iter().filter_map(|step| match step {
        Step::Call(call) => Some(call),
        Step::Say(_) | Step::End(_) => None,
    });
    calls.collect()
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    calls(steps).into_iter().map(FrameworkCall::name).collect()
}

fn end(steps: &[Step]) -> Option<&End> {
    match steps.last()? {
        Step::End(end) => Some(end),
        Step::Call(_) | Step::Say(_) => None,
    }
}

/// Returns the task of the ACCEPT among the steps.
fn launched(steps: &[Step]) -> (Vec<OfferId>, TaskSpec) {
    let accept = calls(steps).into_iter().find_map(|call| match call {
        FrameworkCall::Accept {
            offers, operations, ..
        } => Some((offers.clone(), operations.clone())),
        FrameworkCall::Subscribe { .. }
        | FrameworkCall::Decline { .. }
        | FrameworkCall::Revive
        | FrameworkCall::Suppress
        | FrameworkCall::Kill { .. }
        | FrameworkCall::Acknowledge { .. }
        | FrameworkCall::Reconcile { .. }
        | FrameworkCall::Teardown => None,
    });
    let (offers, operations) = accept.expect("there is an ACCEPT");
    match &operations[..] {
        [
            Operation {
                action: Action::Launch(tasks),
                ..
            },
        ] if tasks.len() == 1 => (offers, tasks[0].clone()),
        other => panic!("one task in one LAUNCH, and not {other:?}"),
    }
}

/// A plan whose task is on its way.
fn launching() -> Plan {
    let mut plan = plan_of(order());
    let steps = plan.handle_event(SOON, Event::Offers(vec![offer(1, ENOUGH)]));
    assert_eq!(names(&steps), ["ACCEPT", "SUPPRESS"]);
    plan
}

/// A plan whose task runs.
fn running() -> Plan {
    let mut plan = launching();
    plan.handle_event(SOON, operation("launch:web.x", finished()));
    let steps = plan.handle_event(SOON, Event::Update(status("web.x", TaskState::Running)));
    assert_eq!(names(&steps), ["ACKNOWLEDGE"]);
    assert_eq!(told(&steps), ["web.x runs on agent n1"]);
    plan
}

#[test]
fn what_does_not_fit_goes_back_and_is_told_once() {
    let mut plan = plan_of(order());
    let small = |id| Event::Offers(vec![offer(id, "cpus:0.5;mem:1024;port_blocks:1")]);
    let steps = plan.handle_event(SOON, small(1));
    assert_eq!(told(&steps), ["agent n1 has cpus 0.5, and 1 are wanted"]);
    assert_eq!(names(&steps), ["DECLINE"]);
    assert!(told(&plan.handle_event(SOON, small(2))).is_empty());
}

#[test]
fn no_more_offers_are_given_back_in_one_call_than_it_may_name() {
    let mut plan = plan_of(order());
    let offers = (0..2_500).map(|id| offer(id, "cpus:0.5")).collect();
    let steps = plan.handle_event(SOON, Event::Offers(offers));
    assert_eq!(names(&steps), ["DECLINE"; 3]);
}

#[test]
fn just_enough_of_one_offer_is_taken_and_the_rest_goes_back() {
    let mut plan = plan_of(order());
    let offers = vec![offer(1, "cpus:0.5"), offer(2, ENOUGH), offer(3, ENOUGH)];
    let steps = plan.handle_event(SOON, Event::Offers(offers));
    assert_eq!(names(&steps), ["ACCEPT", "DECLINE", "SUPPRESS"]);
    let (offers, task) = launched(&steps);
    assert_eq!(offers, [OfferId::from_bits(2)]);
    assert_eq!(
        task.resources,
        "cpus:1;mem:256;port_blocks:1".parse().unwrap()
    );
    let late = plan.handle_event(SOON, Event::Offers(vec![offer(4, ENOUGH)]));
    assert_eq!(names(&late), ["DECLINE"]);
}

#[test]
fn a_lent_and_a_regular_offer_of_one_agent_are_taken_together() {
    let mut order = order();
    order.wanted.kind = Kind::Revocable;
    let mut plan = Plan::new(order, TaskId::new("web.x").unwrap());
    plan.handle_event(SOON, subscribed(false));
    let lent = offer(1, "cpus{REV}:2;mem{REV}:512");
    let steps = plan.handle_event(SOON, Event::Offers(vec![lent]));
    assert!(names(&steps).is_empty(), "it waits for its other half");
    assert_eq!(plan.next_tick(), Some(SOON + HALVES_APART));
    let steps = plan.handle_event(SOON, Event::Offers(vec![offer(2, ENOUGH)]));
    let (offers, task) = launched(&steps);
    assert_eq!(offers, [1, 2].map(OfferId::from_bits));
    assert_eq!(
        task.resources,
        "cpus{REV}:1;mem{REV}:256;port_blocks:1".parse().unwrap()
    );
}

#[test]
fn half_an_offer_does_not_wait_for_ever() {
    let mut order = order();
    order.wanted.kind = Kind::Revocable;
    let mut plan = Plan::new(order, TaskId::new("web.x").unwrap());
    plan.handle_event(SOON, subscribed(false));
    plan.handle_event(
        SOON,
        Event::Offers(vec![offer(1, ENOUGH), offer(2, ENOUGH)]),
    );
    let gone = Event::Rescinded {
        offer: OfferId::from_bits(2),
        reason: RescindReason::Expired,
    };
    assert!(plan.handle_event(SOON, gone).is_empty());
    assert!(plan.handle_tick(SOON).is_empty());
    let steps = plan.handle_tick(SOON + HALVES_APART);
    let [FrameworkCall::Decline { offers, .. }] = calls(&steps)[..] else {
        panic!("a DECLINE, and not {steps:?}");
    };
    assert_eq!(*offers, [OfferId::from_bits(1)]);
    assert_eq!(plan.next_tick(), None);
}

#[test]
fn the_task_ends_it() {
    let mut plan = running();
    let last = TaskStatus {
        exit: Some(Exit::Code(3)),
        ..status("web.x", TaskState::Failed)
    };
    let steps = plan.handle_event(SOON, Event::Update(last));
    assert_eq!(names(&steps), ["ACKNOWLEDGE"], "before the end");
    assert!(matches!(end(&steps), Some(End::Ended(status)) if status.exit == Some(Exit::Code(3))));
    assert!(plan.handle_event(SOON, subscribed(true)).is_empty());
    assert!(plan.handle_interrupt().is_empty());
}

#[test]
fn what_never_began_is_asked_for_again_under_other_ids() {
    // The update may come before the answer to the operation, or after it.
    for update_first in [true, false] {
        let mut plan = launching();
        let update = scheduler_says("web.x", TaskState::Lost, Reason::InvalidOffers);
        let answer = operation("launch:web.x", failed(ErrorCode::InvalidOffers));
        let story = if update_first {
            [update, answer]
        } else {
            [answer, update]
        };
        let steps: Vec<Step> = story
            .into_iter()
            .flat_map(|event| plan.handle_event(SOON, event))
            .collect();
        assert_eq!(names(&steps), ["REVIVE"], "once");
        let steps = plan.handle_event(SOON, Event::Offers(vec![offer(2, ENOUGH)]));
        assert_eq!(launched(&steps).1.id.as_str(), "web.x.2");
    }
}

#[test]
fn what_is_refused_for_good_is_not_asked_for_again() {
    let mut plan = launching();
    let answer = operation("launch:web.x", failed(ErrorCode::Unauthorized));
    let steps = plan.handle_event(SOON, answer);
    assert!(
        matches!(end(&steps), Some(End::Refused(failure)) if failure.code == ErrorCode::Unauthorized)
    );
}

#[test]
fn a_launch_is_tried_so_often_and_no_more() {
    let mut plan = plan_of(order());
    for attempt in 1.. {
        let steps = plan.handle_event(SOON, Event::Offers(vec![offer(attempt, ENOUGH)]));
        let id = format!("launch:{}", launched(&steps).1.id);
        let steps = plan.handle_event(SOON, operation(&id, failed(ErrorCode::InvalidOffers)));
        if end(&steps).is_some() {
            assert_eq!(attempt, u128::from(ATTEMPTS_MAX));
            return;
        }
    }
}

#[test]
fn a_refused_accept_is_known_by_its_number() {
    let mut plan = launching();
    let number = |n| CallId(NonZeroU64::new(n).unwrap());
    let accept = FrameworkCall::Accept {
        offers: Vec::new(),
        operations: Vec::new(),
        filters: LEFT_OVER,
    };
    plan.handle_called(&accept, number(3));
    plan.handle_called(&FrameworkCall::Suppress, number(4));
    let refused = |call| Event::Refused {
        call: number(call),
        failure: Failure::new(ErrorCode::LimitReached, "too much", "ask later"),
    };
    let steps = plan.handle_event(SOON, refused(4));
    assert_eq!(told(&steps), ["too much; ask later"]);
    assert_eq!(names(&plan.handle_event(SOON, refused(3))), ["REVIVE"]);
}

#[test]
fn a_task_is_asked_after_when_the_scheduler_is_back() {
    let mut plan = running();
    let steps = plan.handle_event(SOON, disconnected());
    assert!(
        told(&steps)[0].ends_with("trying again in 1 s"),
        "{steps:?}"
    );
    let steps = plan.handle_event(SOON, subscribed(true));
    assert_eq!(names(&steps), ["SUPPRESS", "RECONCILE"]);
    let lost = scheduler_says("web.x", TaskState::Lost, Reason::Reconciliation);
    let steps = plan.handle_event(SOON, lost);
    assert!(matches!(end(&steps), Some(End::Ended(status)) if status.state == TaskState::Lost));
}

#[test]
fn a_launch_that_nobody_heard_of_is_made_again_and_one_that_was_heard_of_is_not() {
    let lost = || scheduler_says("web.x", TaskState::Lost, Reason::Reconciliation);
    let mut plan = launching();
    plan.handle_event(SOON, disconnected());
    let steps = plan.handle_event(SOON, subscribed(true));
    let [_, FrameworkCall::Reconcile { tasks, operations }] = calls(&steps)[..] else {
        panic!("SUPPRESS and RECONCILE, and not {steps:?}");
    };
    assert_eq!((tasks.len(), operations.len()), (1, 1));
    // The task is not known yet or not any more: that alone says nothing.
    assert!(plan.handle_event(SOON, lost()).is_empty());
    let unknown = operation("launch:web.x", failed(ErrorCode::OperationUnknown));
    assert_eq!(names(&plan.handle_event(SOON, unknown)), ["REVIVE"]);

    let mut plan = launching();
    plan.handle_event(SOON, operation("launch:web.x", finished()));
    assert!(end(&plan.handle_event(SOON, lost())).is_some());
}

#[test]
fn an_interrupt_kills_and_waits_and_a_second_leaves_no_time() {
    let mut plan = running();
    let grace = |steps: &[Step]| match calls(steps)[..] {
        [FrameworkCall::Kill { grace, .. }] => *grace,
        _ => panic!("one KILL, and not {steps:?}"),
    };
    assert_eq!(grace(&plan.handle_interrupt()), None);
    assert_eq!(grace(&plan.handle_interrupt()), Some(Millis(0)));
    let steps = plan.handle_event(SOON, Event::Update(status("web.x", TaskState::Killed)));
    assert!(matches!(end(&steps), Some(End::Ended(_))));
}

#[test]
fn an_interrupt_without_a_task_is_the_end() {
    let mut plan = plan_of(order());
    assert!(matches!(
        end(&plan.handle_interrupt()),
        Some(End::Interrupted)
    ));
}

#[test]
fn an_interrupt_while_the_scheduler_is_away_is_kept() {
    let mut plan = running();
    plan.handle_event(SOON, disconnected());
    let steps = plan.handle_interrupt();
    assert!(names(&steps).is_empty() && end(&steps).is_none());
    let steps = plan.handle_event(SOON, subscribed(true));
    assert_eq!(names(&steps), ["SUPPRESS", "RECONCILE", "KILL"]);
    plan.handle_event(SOON, disconnected());
    assert!(matches!(
        end(&plan.handle_interrupt()),
        Some(End::Abandoned { .. })
    ));
}

#[test]
fn a_launch_that_failed_is_not_repeated_for_whoever_wants_it_killed() {
    let mut plan = launching();
    plan.handle_interrupt();
    let answer = operation("launch:web.x", failed(ErrorCode::InvalidOffers));
    let steps = plan.handle_event(SOON, answer);
    assert!(matches!(end(&steps), Some(End::Interrupted)));
}

#[test]
fn whoever_detaches_leaves_when_it_runs() {
    let mut order = order();
    order.detach = true;
    let mut plan = plan_of(order);
    plan.handle_event(SOON, Event::Offers(vec![offer(1, ENOUGH)]));
    let steps = plan.handle_event(SOON, Event::Update(status("web.x", TaskState::Starting)));
    assert!(end(&steps).is_none());
    let steps = plan.handle_event(SOON, Event::Update(status("web.x", TaskState::Running)));
    assert_eq!(names(&steps), ["ACKNOWLEDGE"]);
    assert!(matches!(end(&steps), Some(End::Detached { .. })));
}

#[test]
fn time_is_up_with_what_was_lacking() {
    let mut order = order();
    order.deadline = Some(Duration::from_secs(5));
    let mut plan = plan_of(order);
    assert_eq!(plan.next_tick(), Some(Duration::from_secs(5)));
    plan.handle_event(SOON, Event::Offers(vec![offer(1, "cpus:0.5")]));
    assert!(plan.handle_tick(Duration::from_secs(4)).is_empty());
    let steps = plan.handle_tick(Duration::from_secs(5));
    assert!(
        matches!(end(&steps), Some(End::NoOffer { lacking: Some(lacking) }) if lacking.contains("0.5"))
    );
}

#[test]
fn a_scheduler_that_was_never_there_is_waited_for_only_with_a_time() {
    let mut plan = Plan::new(order(), TaskId::new("web.x").unwrap());
    let steps = plan.handle_event(SOON, disconnected());
    assert!(matches!(end(&steps), Some(End::Unreachable(_))));
    let mut patient = order();
    patient.deadline = Some(Duration::from_secs(5));
    let mut plan = Plan::new(patient, TaskId::new("web.x").unwrap());
    assert!(end(&plan.handle_event(SOON, disconnected())).is_none());
}
