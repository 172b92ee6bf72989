//! Offers: who gets them, who may use them, and how they end.

use std::time::Duration;

use weir_protocol::{ErrorCode, FrameworkCall, FrameworkEvent, OfferId, RescindReason};
use weir_scheduler::ledger::Settings;

use super::make;
use super::world::{Fw, World};

fn errors(world: &mut World, fw: Fw) -> Vec<(ErrorCode, String)> {
    let heard = world.heard(fw).into_iter();
    let errors = heard.filter_map(|event| match event {
        FrameworkEvent::Error(error) => {
            let failure = error.failure;
            Some((failure.code, failure.reason.to_string()))
        }
        _ => None,
    });
    errors.collect()
}

fn rescinds(world: &mut World, fw: Fw) -> Vec<RescindReason> {
    let heard = world.heard(fw).into_iter();
    let rescinds = heard.filter_map(|event| match event {
        FrameworkEvent::Rescind { reason, .. } => Some(reason),
        _ => None,
    });
    rescinds.collect()
}

#[test]
fn what_an_agent_has_is_offered_at_once() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024;ports:[31000-31009]");
    let offer = world.offer(fw);
    assert_eq!(
        offer.resources,
        make::resources("cpus:4;mem:1024;ports:[31000-31009]")
    );
    assert_eq!(offer.agent_name.as_str(), "n1");
    assert_eq!(offer.expires_after, None);
}

#[test]
fn what_is_kept_for_a_role_is_offered_to_that_role_only() {
    let mut world = World::new();
    let web = world.framework("f1", "web");
    let db = world.framework("f2", "db");
    let kept = make::kept("cpus:1", "db");
    let node = super::node::Node::new("n1", &make::and(&make::resources("cpus:4"), &kept), 1);
    world.add(node);
    let (first, second) = (world.offered(web), world.offered(db));
    assert!(!first.contains(&kept), "{first}");
    assert!(second.contains(&kept), "{second}");
    assert_eq!(
        make::and(&first, &second),
        make::and(&make::resources("cpus:4"), &kept)
    );
}

#[test]
fn a_declined_offer_goes_to_another_at_once_and_comes_back_when_its_filter_lapses() {
    let mut world = World::new();
    let first = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let offer = world.offer(first).id;
    world.decline(first, &[offer], 5_000);
    assert_eq!(world.offers(first), []);
    let second = world.framework("f2", "web");
    let taken = world.offer(second).id;
    world.decline(second, &[taken], 3_600_000);
    assert_eq!(world.offers(first), []);
    world.advance_secs(4);
    assert_eq!(world.offers(first), []);
    world.advance_secs(1);
    assert_eq!(world.offers(first).len(), 1);
}

#[test]
fn declining_anothers_offer_leaves_it_and_names_it() {
    let mut world = World::new();
    let owner = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let thief = world.framework("f2", "web");
    let offer = world.offer(owner).id;
    world.heard(thief);
    world.decline(thief, &[offer], 3_600_000);
    let errors = errors(&mut world, thief);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0, ErrorCode::InvalidOffers);
    assert!(errors[0].1.contains(&offer.to_string()), "{}", errors[0].1);
    // The owner still has it, and no filter was laid upon either.
    assert_eq!(world.offer(owner).id, offer);
    world.decline(owner, &[offer], 3_600_000);
    assert_eq!(world.offers(thief).len(), 1);
}

#[test]
fn of_several_declined_offers_those_that_are_ones_own_are_taken() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let own = world.offer(fw).id;
    let never = OfferId::from_bits(7);
    world.heard(fw);
    world.decline(fw, &[never, own], 3_600_000);
    let errors = errors(&mut world, fw);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].1.contains(&never.to_string()));
    assert!(!errors[0].1.contains(&own.to_string()));
    assert_eq!(world.offers(fw), []);
    let other = world.framework("f2", "web");
    assert_eq!(world.offers(other).len(), 1);
}

#[test]
fn an_offer_whose_time_is_over_is_rescinded_and_goes_to_another_first() {
    let mut settings = Settings::new(make::line("s1"));
    settings.offer_timeout = Some(Duration::from_secs(30));
    let mut world = World::with(
        settings,
        std::sync::Arc::new(weir_scheduler::ledger::Permissive),
    );
    let first = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let second = world.framework("f2", "web");
    assert!(world.offer(first).expires_after.is_some());
    world.heard(first);
    world.advance_secs(29);
    assert_eq!(world.offers(first).len(), 1);
    world.advance_secs(1);
    assert_eq!(rescinds(&mut world, first), [RescindReason::Expired]);
    assert_eq!(world.offers(second).len(), 1);
}

#[test]
fn an_offer_that_was_used_does_not_expire() {
    let mut settings = Settings::new(make::line("s1"));
    settings.offer_timeout = Some(Duration::from_secs(30));
    let mut world = World::with(
        settings,
        std::sync::Arc::new(weir_scheduler::ledger::Permissive),
    );
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    world.run(fw, "t1", "cpus:4;mem:1024");
    world.heard(fw);
    world.advance_secs(60);
    assert_eq!(rescinds(&mut world, fw), []);
}

#[test]
fn offers_of_an_agent_that_is_cut_off_are_rescinded() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    let agent = world.agent("n1", "cpus:4;mem:1024");
    world.heard(fw);
    world.cut(agent);
    assert_eq!(rescinds(&mut world, fw), [RescindReason::AgentDisconnected]);
    assert_eq!(world.offers(fw), []);
    world.register(agent);
    assert_eq!(world.offers(fw).len(), 1);
}

#[test]
fn offers_of_a_framework_that_is_cut_off_go_to_another() {
    let mut world = World::new();
    let first = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let second = world.framework("f2", "web");
    assert_eq!(world.offers(second), []);
    world.cut_framework(first);
    assert_eq!(world.offers(second).len(), 1);
}

#[test]
fn suppress_ends_offers_and_revive_brings_them_and_forgets_filters() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:4;mem:1024");
    let offer = world.offer(fw).id;
    world.decline(fw, &[offer], 3_600_000);
    world.say(fw, FrameworkCall::Revive);
    let offer = world.offer(fw).id;
    world.say(fw, FrameworkCall::Suppress);
    // What it holds it holds.
    assert_eq!(world.offer(fw).id, offer);
    world.decline(fw, &[offer], 0);
    world.advance_secs(3_600);
    assert_eq!(world.offers(fw), []);
    world.say(fw, FrameworkCall::Revive);
    assert_eq!(world.offers(fw).len(), 1);
}

#[test]
fn two_agents_ports_are_offered_apart() {
    let mut world = World::new();
    let fw = world.framework("f1", "web");
    world.agent("n1", "cpus:1;mem:64;ports:[31000-31009]");
    world.agent("n2", "cpus:1;mem:64;ports:[31000-31009]");
    assert_eq!(world.offers(fw).len(), 2);
}
