//! Agents and frameworks come and go; what is refused, and restarts.

use weir_resources::{Amount, Kind, Resource, ResourceName, Resources};

use super::{World, agent, framework, grant, resources, role_of};
use crate::allocator::{
    AgentError, AgentStanding, Allocator, FrameworkError, HoldingError, Kinds, SCALAR_NAMES_MAX,
    Settings,
};

#[test]
fn an_inactive_agent_is_not_offered() {
    let mut world = World::with_frameworks(&["a"]);
    world
        .allocator
        .add_agent(agent(1), &resources("cpus:4"), &[], AgentStanding::Inactive)
        .expect("it is new");
    assert_eq!(world.poll(), []);
    world
        .allocator
        .set_agent_standing(agent(1), AgentStanding::Active)
        .expect("it is there");
    assert_eq!(world.poll_frameworks(), [1]);
    world
        .allocator
        .set_agent_standing(agent(1), AgentStanding::Inactive)
        .expect("it is there");
    world.recover((1, 1, "cpus:4"));
    assert_eq!(world.poll(), []);
    world.allocator.revive(framework(1)).expect("it is there");
    assert_eq!(world.poll(), []);
}

#[test]
fn a_look_is_at_no_more_agents_than_allowed() {
    let mut world = World::with_frameworks(&["a"]);
    for number in 1..=10 {
        world.add_agent(number, "cpus:1");
    }
    let mut polls = 0;
    let mut grants = 0;
    while world.allocator.is_pending() {
        let granted = world.allocator.poll_grants(world.now, 3);
        assert!(granted.len() <= 3);
        grants += granted.len();
        polls += 1;
    }
    assert_eq!(grants, 10);
    assert!(polls <= 5, "{polls}");
}

#[test]
fn the_same_seed_and_events_give_the_same_grants() {
    let run = |seed| {
        let mut world = World::with_frameworks(&["a", "b", "b"]);
        world.allocator = Allocator::new(Settings::default(), seed);
        for number in 1..=20 {
            world.add_agent(number, "cpus:1");
        }
        world.poll();
        world.add_framework(1, "a", Kinds::Regular);
        world.add_framework(2, "b", Kinds::Regular);
        world.poll()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4), "where a sweep begins is the seed's");
}

#[test]
fn what_is_held_counts_whoever_comes_first() {
    // After a restart agents come back with tasks of frameworks that are not there yet.
    let mut world = World::new();
    let held = [(framework(1), resources("cpus:3"))];
    world
        .allocator
        .add_agent(agent(1), &resources("cpus:4"), &held, AgentStanding::Active)
        .expect("it is new");
    world.add_framework(1, "a", Kinds::Regular);
    world.add_framework(2, "b", Kinds::Regular);
    world.allocator.assert_consistent();
    assert_eq!(world.poll(), [grant(1, 2, "cpus:1")]);
    // And they leave before their tasks do.
    world
        .allocator
        .remove_framework(framework(1))
        .expect("it is there");
    world.allocator.assert_consistent();
    assert_eq!(world.poll(), []);
    world.recover((1, 1, "cpus:3"));
    assert_eq!(world.poll(), [grant(1, 2, "cpus:3")]);
}

#[test]
fn a_removed_agent_takes_with_it_what_is_held_there() {
    let mut world = World::with_frameworks(&["a", "b"]);
    world.add_agent(1, "cpus:4");
    world.add_agent(2, "cpus:1");
    assert_eq!(world.poll_frameworks(), [1, 2]);
    world.allocator.remove_agent(agent(1)).expect("it is there");
    world.allocator.assert_consistent();
    world.add_agent(3, "cpus:1");
    assert_eq!(world.poll_frameworks(), [1]);
    let late = world
        .allocator
        .recover(agent(1), framework(1), &resources("cpus:4"));
    assert_eq!(late, Err(HoldingError::UnknownAgent { agent: agent(1) }));
}

#[test]
fn what_a_task_turns_out_to_hold_is_not_free() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4");
    world
        .allocator
        .claim(agent(1), framework(7), &resources("cpus:3"))
        .expect("the agent is there");
    assert_eq!(world.poll(), [grant(1, 1, "cpus:1")]);
    assert_eq!(
        world.allocator.held(agent(1), framework(7), Kind::Regular),
        resources("cpus:3")
    );
}

#[test]
fn refused_calls_say_what_is_wrong_and_change_nothing() {
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:4;mem:64");
    world.poll();
    let allocator = &mut world.allocator;
    let error = allocator
        .recover(agent(1), framework(1), &resources("cpus:5"))
        .expect_err("it holds four");
    assert!(
        matches!(&error, HoldingError::NotHeld { source, .. }
        if source.to_string().contains("only 4")),
        "{error:?}"
    );
    let error = allocator
        .convert(
            agent(1),
            framework(2),
            &resources("cpus:1"),
            &resources("cpus(a):1"),
        )
        .expect_err("it holds nothing");
    assert!(matches!(error, HoldingError::NotHeld { .. }));
    assert_eq!(
        allocator.add_agent(agent(1), &resources(""), &[], AgentStanding::Active),
        Err(AgentError::Known { agent: agent(1) })
    );
    assert_eq!(
        allocator.update_agent(agent(2), &resources("cpus:1")),
        Err(AgentError::Unknown { agent: agent(2) })
    );
    assert_eq!(
        allocator.add_framework(framework(1), &role_of("b"), Kinds::Regular),
        Err(FrameworkError::Known {
            framework: framework(1)
        })
    );
    let unknown = Err(FrameworkError::Unknown {
        framework: framework(9),
    });
    assert_eq!(allocator.revive(framework(9)), unknown);
    assert_eq!(allocator.suppress(framework(9)), unknown);
    assert_eq!(allocator.remove_framework(framework(9)), unknown);
    allocator.assert_consistent();
    assert_eq!(world.poll(), []);
}

#[test]
fn more_than_can_be_counted_is_refused_and_changes_nothing() {
    let most = |name| {
        let most = Resource::new(ResourceName::new(name).expect("a name"), Amount::MAX);
        Resources::from(most.expect("not nothing"))
    };
    let mut world = World::with_frameworks(&["a"]);
    world.add_agent(1, "cpus:1");
    let allocator = &mut world.allocator;
    let error = allocator
        .add_agent(agent(2), &most("cpus"), &[], AgentStanding::Active)
        .expect_err("one more is too many");
    assert_eq!(
        error.to_string(),
        format!(
            "with agent {} the cluster has more of `cpus` than can be counted",
            agent(2)
        )
    );
    allocator
        .update_agent(agent(1), &most("cpus"))
        .expect("it takes the place of what there was");
    let held = [(framework(1), most("mem")), (framework(2), most("mem"))];
    assert!(
        allocator
            .add_agent(agent(3), &most("mem"), &held, AgentStanding::Active)
            .is_err()
    );
    allocator.assert_consistent();
    assert_eq!(world.poll_frameworks(), [1]);
}

#[test]
fn an_agent_that_makes_up_names_is_refused_in_the_end() {
    let mut world = World::new();
    let named = |number: usize| resources(&format!("made-up-{number}:1"));
    for number in 0..SCALAR_NAMES_MAX {
        let result =
            world
                .allocator
                .add_agent(agent(1), &named(number), &[], AgentStanding::Active);
        match result {
            Ok(()) => world.allocator.remove_agent(agent(1)).expect("it is there"),
            Err(error) => {
                assert!(matches!(error, AgentError::TooManyNames { .. }), "{error}");
                world.allocator.assert_consistent();
                return;
            }
        }
    }
    panic!("every name was taken");
}
