//! RESERVE, UNRESERVE, CREATE and DESTROY by example: what they do, and what they answer.
#![forbid(unsafe_code)]

use std::error::Error as _;

use weir_resources::{OperationError, Principal, ResourceOperation, Resources};

fn resources(text: &str) -> Resources {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn reserve(text: &str) -> ResourceOperation {
    ResourceOperation::Reserve(resources(text))
}

fn unreserve(text: &str) -> ResourceOperation {
    ResourceOperation::Unreserve(resources(text))
}

fn create(text: &str) -> ResourceOperation {
    ResourceOperation::Create(resources(text))
}

fn destroy(text: &str) -> ResourceOperation {
    ResourceOperation::Destroy(resources(text))
}

/// Returns the message of an error and of what caused it.
fn message(error: &OperationError) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {source}"),
    }
}

#[test]
fn disk_is_reserved_made_a_volume_and_given_back() {
    let agent = resources("cpus:4;disk:100;ports:[1-9]");
    let steps = [
        (
            reserve("cpus(db,alice):1.5;disk(db,alice):60;ports(db,alice):[3-4]"),
            "cpus:2.5; cpus(db, alice):1.5; disk:40; disk(db, alice):60; ports:[1-2, 5-9]; ports(db, alice):[3-4]",
        ),
        (
            create("disk(db,alice)[pgdata:data:rw]:50"),
            "cpus:2.5; cpus(db, alice):1.5; disk:40; disk(db, alice):10; disk(db, alice)[pgdata:data:rw]:50; \
             ports:[1-2, 5-9]; ports(db, alice):[3-4]",
        ),
        (
            unreserve("cpus(db,alice):0.5;disk(db,alice):10"),
            "cpus:3; cpus(db, alice):1; disk:50; disk(db, alice)[pgdata:data:rw]:50; \
             ports:[1-2, 5-9]; ports(db, alice):[3-4]",
        ),
        (
            destroy("disk(db,alice)[pgdata:data:rw]:50"),
            "cpus:3; cpus(db, alice):1; disk:50; disk(db, alice):50; ports:[1-2, 5-9]; ports(db, alice):[3-4]",
        ),
        (
            unreserve("cpus(db,alice):1;disk(db,alice):50;ports(db,alice):[3-4]"),
            "cpus:4; disk:100; ports:[1-9]",
        ),
    ];
    let mut now = agent;
    for (operation, expected) in steps {
        now = now.apply(&operation).unwrap();
        assert_eq!(now.to_string(), expected);
    }
}

#[test]
fn a_static_reservation_carries_volumes_and_stays() {
    let agent = resources("disk(db):100");
    let after = agent.apply(&create("disk(db)[log:log:rw]:30")).unwrap();
    assert_eq!(after.to_string(), "disk(db):70; disk(db)[log:log:rw]:30");
    assert_eq!(after.checkpointed().to_string(), "disk(db)[log:log:rw]:30");
}

#[test]
fn path_and_mode_are_no_part_of_what_a_volume_is() {
    let agent = resources("cpus:1;disk(db)[log:log:rw]:30");
    let used = resources("disk(db)[log:elsewhere:ro]:30");
    assert!(agent.contains(&used));
    assert_eq!(agent.checked_sub(&used), Ok(resources("cpus:1")));
    let after = agent
        .apply(&destroy("disk(db)[log:elsewhere:ro]:30"))
        .unwrap();
    assert_eq!(after, resources("cpus:1;disk(db):30"));

    let one = resources("disk(db)[log:log:rw]:30");
    assert_eq!(one, used);
    assert_ne!(one.to_string(), used.to_string());
    let volume = |resources: &Resources| resources.as_slice()[0].volume().unwrap().clone();
    assert!(!volume(&one).same_use(&volume(&used)));
}

#[test]
fn refusals_name_the_operation_the_resource_and_what_is_there() {
    let agent = resources(
        "cpus:4;cpus(web):2;cpus(db,alice):1;disk(db,alice):10;disk(db,alice)[log:log:rw]:5;cpus{REV}:8",
    );
    for (operation, expected) in [
        (reserve(""), "RESERVE names no resource"),
        (
            reserve("cpus:1"),
            "RESERVE of `cpus:1`, which is not dynamically reserved",
        ),
        (
            reserve("cpus(db):1"),
            "RESERVE of `cpus(db):1`, which is not dynamically reserved",
        ),
        (
            reserve("cpus{REV}:1"),
            "RESERVE of `cpus{REV}:1`, which is not dynamically reserved",
        ),
        (
            reserve("disk(db,alice)[new:new:rw]:1"),
            "RESERVE of `disk(db, alice)[new:new:rw]:1`, which is a volume",
        ),
        (
            reserve("cpus(db,alice):4.001"),
            "RESERVE cannot be applied: `cpus:4.001` is not there: there is only 4",
        ),
        (
            reserve("mem(db,alice):1"),
            "RESERVE cannot be applied: `mem:1` is not there: there is none",
        ),
        (
            unreserve("cpus(web):1"),
            "UNRESERVE of `cpus(web):1`, which is not dynamically reserved",
        ),
        (
            unreserve("disk(db,alice)[log:log:rw]:5"),
            "UNRESERVE of `disk(db, alice)[log:log:rw]:5`, which is a volume",
        ),
        (
            unreserve("cpus(db,bob):1"),
            "UNRESERVE cannot be applied: `cpus(db, bob):1` is not there: there is some, but with another \
             reservation, volume or kind, which are never mixed",
        ),
        (
            unreserve("cpus(db,alice,{k=v}):1"),
            "UNRESERVE cannot be applied: `cpus(db, alice, {k=v}):1` is not there: there is some, but with \
             another reservation, volume or kind, which are never mixed",
        ),
        (
            create("disk(db,alice):5"),
            "CREATE of `disk(db, alice):5`, which is not a volume",
        ),
        (
            create("disk(db,alice)[log:log:rw]:5"),
            "CREATE cannot be applied: role `db` has a volume `log` already, of 5",
        ),
        (
            create("disk(db,alice)[new:new:rw]:11"),
            "CREATE cannot be applied: `disk(db, alice):11` is not there: there is only 10",
        ),
        (
            destroy("disk(db,alice)[new:new:rw]:5"),
            "DESTROY cannot be applied: `disk(db, alice)[new:new:rw]:5` is not there: there is some, but with \
             another reservation, volume or kind, which are never mixed",
        ),
        (
            destroy("disk(db,alice)[log:log:rw]:4"),
            "DESTROY cannot be applied: `disk(db, alice)[log:log:rw]:4` is not there: the volume has 5, and is \
             used as a whole or not at all",
        ),
        (
            destroy("disk(db,alice):4"),
            "DESTROY of `disk(db, alice):4`, which is not a volume",
        ),
    ] {
        let error = agent.apply(&operation).unwrap_err();
        assert_eq!(message(&error), expected, "for {operation:?}");
        assert!(!error.remedy().is_empty());
    }
}

#[test]
fn revocable_and_regular_never_stand_in_for_each_other() {
    let agent = resources("cpus{REV}:8");
    assert!(!agent.contains(&resources("cpus:1")));
    assert!(agent.apply(&reserve("cpus(db,alice):1")).is_err());
    assert_eq!(agent.amount("cpus").to_string(), "8");
}

#[test]
fn nobody_takes_anothers_reservation_away() {
    let alice: Principal = "alice".parse().unwrap();
    let bob: Principal = "bob".parse().unwrap();
    let operation = unreserve("cpus(db,alice):1");
    assert_eq!(operation.check_principal(&alice), Ok(()));
    let error = operation.check_principal(&bob).unwrap_err();
    assert_eq!(
        error.to_string(),
        "UNRESERVE of `cpus(db, alice):1` by principal `bob`: it names another principal"
    );
    assert!(reserve("cpus(db,alice):1").check_principal(&bob).is_err());
    // A volume is its role's.
    let volume = create("disk(db,alice)[log:log:rw]:1");
    assert_eq!(volume.check_principal(&bob), Ok(()));
}

#[test]
fn an_agent_that_lost_what_was_reserved_says_so() {
    let error = resources("cpus:1")
        .with_checkpoint(&resources("cpus(db,alice):2"))
        .unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "`cpus:2` is not there: there is only 1"
    );
    assert!(!error.remedy().is_empty());
    assert_eq!(
        resources("cpus:3;disk(db):10")
            .with_checkpoint(&resources("cpus(db,alice):2;disk(db)[log:log:rw]:4")),
        Ok(resources(
            "cpus:1;cpus(db,alice):2;disk(db):6;disk(db)[log:log:rw]:4"
        ))
    );
}
