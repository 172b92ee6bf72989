//! Frameworks: SUBSCRIBE, failover, and the end.

use std::sync::Arc;

use weir_protocol::{
    ErrorCode, FrameworkCall, FrameworkEvent, FrameworkId, Millis, Note, Reason, TaskState,
};
use weir_scheduler::ledger::{Act, Actor, Caller, Policy, Settings, Verdict};

use super::make;
use super::world::{Fw, NodeNumber, World};

const N1: NodeNumber = NodeNumber(0);

fn error(world: &mut World, fw: Fw) -> Option<(ErrorCode, String)> {
    let heard = world.heard(fw).into_iter();
    let mut errors = heard.filter_map(|event| match event {
        FrameworkEvent::Error(error) => {
            Some((error.failure.code, error.failure.reason.to_string()))
        }
        _ => None,
    });
    errors.next()
}

fn subscribe(world: &mut World, fw: Fw, id: Option<FrameworkId>, force: bool) {
    let framework = world.frameworks[fw.0].info.clone();
    world.say(
        fw,
        FrameworkCall::Subscribe {
            framework,
            id,
            force,
        },
    );
}

/// Adds a framework that has not subscribed.
fn stranger(world: &mut World, principal: &'static str, role: &str) -> Fw {
    let fw = world.framework(principal, role);
    world.say(fw, FrameworkCall::Teardown);
    world.frameworks[fw.0].id = None;
    world.heard(fw);
    world.connect(fw);
    fw
}

#[test]
fn subscribed_comes_before_everything_else() {
    let mut world = World::new();
    world.agent("n1", "cpus:4;mem:1024");
    let fw = world.framework("f1", "web");
    let heard = world.heard(fw);
    assert!(matches!(heard[0], FrameworkEvent::Subscribed { .. }));
    assert!(matches!(heard[1], FrameworkEvent::Offers(_)));
}

#[test]
fn nothing_is_done_before_subscribe() {
    let mut world = World::new();
    let fw = stranger(&mut world, "f1", "web");
    world.say(fw, FrameworkCall::Revive);
    assert_eq!(
        error(&mut world, fw).map(|(code, _)| code),
        Some(ErrorCode::NotSubscribed)
    );
}

#[test]
fn a_framework_takes_over_by_force_only_and_who_is_refused_changes_nothing() {
    let mut world = World::new();
    let first = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let id = world.id(first);
    let second = stranger(&mut world, "f1", "web");
    world.frameworks[second.0].info.name = make::line("an impostor");
    let before = world.ledger.rows();
    subscribe(&mut world, second, Some(id), false);
    let (code, reason) = error(&mut world, second).expect("refused");
    assert_eq!(code, ErrorCode::AlreadySubscribed);
    assert!(reason.contains(&id.to_string()));
    assert_eq!(world.ledger.rows(), before);
    assert_eq!(world.offers(first).len(), 1);
    let last = world.disk.audit().last().expect("it is written down");
    let principal = make::principal("f1");
    let who = Actor::Framework {
        id: Some(id),
        principal,
    };
    assert_eq!(last.who, who);
    assert!(last.what.as_str().contains("an impostor"), "{last:?}");
    let refused = last.refused.as_ref().map(Note::as_str);
    assert_eq!(refused, Some(reason.as_str()));
    // By force the other is told and closed.
    let old = world.frameworks[first.0].session.expect("a session");
    world.heard(first);
    subscribe(&mut world, second, Some(id), true);
    assert_eq!(
        error(&mut world, first).map(|(code, _)| code),
        Some(ErrorCode::FrameworkFailedOver)
    );
    assert!(world.closed.contains(&old));
    assert_eq!(world.id(second), id);
    assert_eq!(world.offers(second).len(), 1);
}

#[test]
fn another_principal_or_another_role_is_refused() {
    let mut world = World::new();
    let owner = world.framework("f1", "web");
    let id = world.id(owner);
    world.cut_framework(owner);
    let before = world.ledger.rows();
    let thief = stranger(&mut world, "f2", "web");
    subscribe(&mut world, thief, Some(id), true);
    let (code, reason) = error(&mut world, thief).expect("refused");
    assert_eq!(code, ErrorCode::Unauthorized);
    assert!(reason.contains("f1") && reason.contains("f2"), "{reason}");
    let changed = stranger(&mut world, "f1", "db");
    subscribe(&mut world, changed, Some(id), true);
    let (code, reason) = error(&mut world, changed).expect("refused");
    assert_eq!(code, ErrorCode::InvalidMessage);
    assert!(reason.contains("web") && reason.contains("db"), "{reason}");
    let own: Vec<_> = before
        .iter()
        .filter(|row| world.ledger.rows().contains(row))
        .collect();
    assert_eq!(own.len(), before.len());
}

#[test]
fn a_framework_that_subscribes_again_in_one_session_gets_its_offers_anew() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let before = world.offer(fw).id;
    let id = world.id(fw);
    world.heard(fw);
    subscribe(&mut world, fw, Some(id), false);
    let heard = world.heard(fw);
    assert!(
        matches!(&heard[0], FrameworkEvent::Rescind { offer, .. } if *offer == before),
        "{heard:?}"
    );
    assert!(matches!(heard[1], FrameworkEvent::Subscribed { .. }));
    assert_ne!(world.offer(fw).id, before);
    // As another framework, or as a new one, it is refused.
    subscribe(&mut world, fw, None, false);
    assert_eq!(
        error(&mut world, fw).map(|(code, _)| code),
        Some(ErrorCode::AlreadySubscribed)
    );
    assert_eq!(world.offers(fw).len(), 1);
}

#[test]
fn tasks_outlive_their_framework_for_its_time_to_fail_over() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.acknowledge_all(fw);
    world.cut_framework(fw);
    world.advance_secs(59);
    assert_eq!(world.node(N1).alive().count(), 1);
    world.subscribe(fw);
    world.cut_framework(fw);
    world.advance_secs(60);
    assert_eq!(world.node(N1).alive().count(), 0);
    assert!(
        world.node(N1).tasks.is_empty(),
        "the ledger acknowledges itself"
    );
    // It may not come back.
    world.connect(fw);
    let id = world.id(fw);
    subscribe(&mut world, fw, Some(id), true);
    assert_eq!(
        error(&mut world, fw).map(|(code, _)| code),
        Some(ErrorCode::FrameworkRemoved)
    );
}

#[test]
fn a_framework_without_time_to_fail_over_ends_with_its_connection() {
    let mut world = World::new();
    let mut info = make::framework_info("f1", "web");
    info.failover_timeout = Millis(0);
    let fw = world.framework_as("f1", info);
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.cut_framework(fw);
    assert!(world.node(N1).tasks.is_empty());
}

#[test]
fn teardown_ends_all_tasks_and_what_they_held_is_free_when_they_have_ended() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:4;mem:1024");
    let other = world.framework("f2", "web");
    world.prompt = false;
    let session = world.frameworks[fw.0].session.expect("a session");
    world.heard(fw);
    world.say(fw, FrameworkCall::Teardown);
    assert_eq!(
        error(&mut world, fw).map(|(code, _)| code),
        Some(ErrorCode::FrameworkRemoved)
    );
    assert!(world.closed.contains(&session));
    assert_eq!(world.offers(other), [], "the task still holds all");
    world.prompt = true;
    world.settle();
    assert_eq!(world.offers(other).len(), 1);
    assert!(world.node(N1).tasks.is_empty());
}

#[test]
fn tasks_of_a_framework_that_ended_while_their_agent_was_away_are_killed_when_it_is_back() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:1;mem:64");
    world.cut(N1);
    world.say(fw, FrameworkCall::Teardown);
    world.restart();
    world.register(N1);
    assert!(world.node(N1).tasks.is_empty());
}

#[test]
fn a_framework_hears_something_at_least_once_per_interval() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.heard(fw);
    world.advance_secs(14);
    assert_eq!(world.heard(fw), []);
    world.advance_secs(1);
    assert_eq!(world.heard(fw), [FrameworkEvent::Heartbeat]);
    // Something else will do.
    world.advance_secs(10);
    world.agent("n1", "cpus:4;mem:1024");
    world.heard(fw);
    world.advance_secs(14);
    assert_eq!(world.heard(fw), []);
    world.advance_secs(1);
    assert_eq!(world.heard(fw), [FrameworkEvent::Heartbeat]);
}

/// Rules that know one role, and one user beside that of the agent.
#[derive(Debug)]
struct Strict;

impl Policy for Strict {
    fn judge(&self, caller: Caller<'_>, act: Act<'_>) -> Verdict {
        if let Some(role) = act.role()
            && role.as_str() != "web"
        {
            return Verdict::RoleUnknown;
        }
        match (caller, act) {
            (Caller::Framework(principal), _) if principal.as_str() == "banned" => Verdict::Refused,
            (_, Act::Launch { user, .. }) => match user {
                Some(user) if user.as_str() == "root" => Verdict::Refused,
                _ => Verdict::Allowed,
            },
            (_, Act::Reserve(_)) => Verdict::Refused,
            _ => Verdict::Allowed,
        }
    }
}

#[test]
fn the_rules_of_access_are_asked() {
    let settings = Settings::new(make::line("s1"));
    let mut world = World::with(settings, Arc::new(Strict));
    let unknown = world.framework("f1", "db");
    let (code, reason) = error(&mut world, unknown).expect("refused");
    assert_eq!(code, ErrorCode::RoleUnknown);
    assert!(reason.contains("db"), "{reason}");
    let banned = world.framework("banned", "web");
    let (code, reason) = error(&mut world, banned).expect("refused");
    assert_eq!(code, ErrorCode::Unauthorized);
    assert!(
        reason.contains("banned") && reason.contains("web"),
        "{reason}"
    );

    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    let mut task = make::task("t1", &make::resources("cpus:1"));
    task.command.user = Some(make::line("root"));
    world.accept(
        fw,
        &[offer],
        vec![
            make::launch("o1", vec![task]),
            make::reserve("o2", make::reserved("cpus:1", "web", "f1")),
        ],
    );
    let heard = world.heard(fw);
    let update = heard.iter().find_map(|event| match event {
        FrameworkEvent::Update(status) => Some((status.state, status.reason)),
        _ => None,
    });
    assert_eq!(
        update,
        Some((TaskState::Error, Some(Reason::TaskUnauthorized)))
    );
    let refused = heard.iter().filter(|event| match event {
        FrameworkEvent::Operation { outcome, .. } => {
            matches!(outcome, weir_protocol::OperationOutcome::Failed(failure) if failure.code == ErrorCode::Unauthorized)
        }
        _ => false,
    });
    assert_eq!(refused.count(), 2);
}

#[test]
fn a_task_runs_as_its_frameworks_user_unless_it_says_otherwise() {
    let mut world = World::new();
    let mut info = make::framework_info("f1", "web");
    info.user = Some(make::line("www"));
    let fw = world.framework_as("f1", info);
    world.agent("n1", "cpus:4;mem:1024");
    world.prompt = false;
    world.run(fw, "t1", "cpus:1");
    let launched = world.places[0].inbox.iter().find_map(|event| match event {
        weir_protocol::AgentEvent::Launch(launch) => Some(launch.task.command.user.clone()),
        _ => None,
    });
    assert_eq!(launched, Some(Some(make::line("www"))));
}
