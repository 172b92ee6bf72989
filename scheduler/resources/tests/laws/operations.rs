//! RESERVE, UNRESERVE, CREATE, DESTROY, and what an agent remembers of them.

use proptest::prelude::*;
use weir_resources::{
    OperationKind, Principal, Reservation, Resource, ResourceOperation, Resources, Volume,
};

use crate::strategy::{reservation, resources, whole_and_part};

/// Returns the part as it would be reserved.
fn reserved(part: &Resources, reservation: &Reservation) -> Option<Resources> {
    let plain = part.unreserved().regular();
    let reserved = plain
        .iter()
        .map(|entry| entry.with_reservation(reservation.clone()))
        .collect::<Result<Vec<_>, _>>();
    Resources::collect(reserved.ok()?).ok()
}

/// Returns plain reserved disk as volumes.
fn volumes(disk: &Resources) -> Option<Resources> {
    let volumes = disk
        .get("disk")
        .iter()
        .filter(|entry| entry.role().is_some() && entry.volume().is_none())
        .enumerate()
        .map(|(index, entry)| {
            entry.with_volume(Some(Volume {
                id: format!("new-{index}").parse().expect("an id"),
                container_path: "data".parse().expect("a path"),
                mode: weir_resources::VolumeMode::ReadWrite,
            }))
        })
        .collect::<Result<Vec<_>, _>>();
    Resources::collect(volumes.ok()?).ok()
}

fn operation() -> impl Strategy<Value = ResourceOperation> {
    (0..4, resources()).prop_map(|(kind, resources)| match kind {
        0 => ResourceOperation::Reserve(resources),
        1 => ResourceOperation::Unreserve(resources),
        2 => ResourceOperation::Create(resources),
        _ => ResourceOperation::Destroy(resources),
    })
}

/// Returns the operations that a node can see, applied to a part of what it has.
fn sensible(part: &Resources, reservation: &Reservation) -> Vec<ResourceOperation> {
    let mut all = Vec::new();
    all.extend(reserved(part, reservation).map(ResourceOperation::Reserve));
    all.extend(volumes(part).map(ResourceOperation::Create));
    all.push(ResourceOperation::Destroy(part.volumes()));
    let dynamic = |entry: &Resource| entry.reservation().is_dynamic() && entry.volume().is_none();
    all.push(ResourceOperation::Unreserve(part.filter(dynamic)));
    all.retain(|operation| operation.check().is_ok());
    all
}

fn inverse(operation: &ResourceOperation) -> ResourceOperation {
    match operation.clone() {
        ResourceOperation::Reserve(resources) => ResourceOperation::Unreserve(resources),
        ResourceOperation::Unreserve(resources) => ResourceOperation::Reserve(resources),
        ResourceOperation::Create(resources) => ResourceOperation::Destroy(resources),
        ResourceOperation::Destroy(resources) => ResourceOperation::Create(resources),
    }
}

proptest! {
    #[test]
    fn an_operation_and_its_opposite_are_nothing(
        (whole, part) in whole_and_part(),
        reservation in reservation(),
    ) {
        for operation in sensible(&part, &reservation) {
            // All that these operations consume is there, and their volumes are new.
            let after = whole.apply(&operation).expect("can be applied");
            prop_assert_eq!(after.apply(&inverse(&operation)), Ok(whole.clone()));
        }
    }

    #[test]
    fn no_operation_changes_how_much_there_is(
        (whole, part) in whole_and_part(),
        reservation in reservation(),
        other in operation(),
    ) {
        for operation in sensible(&part, &reservation).into_iter().chain([other]) {
            if let Ok(after) = whole.apply(&operation) {
                prop_assert_eq!(after.strip_reservations(), whole.strip_reservations());
                prop_assert_eq!(after.revocable(), whole.revocable());
            }
        }
    }

    #[test]
    fn an_operation_is_applied_exactly_when_it_can_be(whole in resources(), operation in operation()) {
        let kind = operation.kind();
        let fits = operation.resources().iter().all(|entry| match kind {
            OperationKind::Reserve | OperationKind::Unreserve => {
                entry.reservation().is_dynamic() && entry.volume().is_none()
            }
            OperationKind::Create | OperationKind::Destroy => entry.volume().is_some(),
        });
        let sense = fits && !operation.resources().is_empty();
        prop_assert_eq!(operation.check().is_ok(), sense);
        let applied = whole.apply(&operation);
        let possible = sense
            && whole.contains(&operation.consumed())
            && whole
                .checked_sub(&operation.consumed())
                .is_ok_and(|rest| rest.checked_add(&operation.produced()).is_ok());
        prop_assert_eq!(applied.is_ok(), possible);
        match applied {
            Ok(after) => prop_assert!(after.contains(&operation.produced())),
            Err(error) => prop_assert!(!error.remedy().is_empty()),
        }
    }

    #[test]
    fn an_agent_finds_again_what_operations_made(
        (whole, part) in whole_and_part(),
        reservation in reservation(),
    ) {
        // As it is configured: nothing that an operation made.
        let plain = |entry: &Resource| entry.volume().is_none() && !entry.reservation().is_dynamic();
        let (total, mut now) = (whole.filter(plain), whole.filter(plain));
        let part = part.filter(plain);
        for operation in sensible(&part, &reservation) {
            if let Ok(after) = now.apply(&operation) {
                now = after;
                prop_assert_eq!(total.with_checkpoint(&now.checkpointed()), Ok(now.clone()));
            }
        }
        if !total.is_empty() {
            prop_assert!(total.with_checkpoint(&total).is_err());
        }
    }

    #[test]
    fn only_the_principal_itself_reserves_and_unreserves(operation in operation()) {
        let alice: Principal = "alice".parse().unwrap();
        let others = operation.resources().iter().any(|entry| {
            entry.reservation().principal().is_some_and(|own| *own != alice)
        });
        let refused = operation.check_principal(&alice).is_err();
        match operation.kind() {
            OperationKind::Reserve | OperationKind::Unreserve => prop_assert_eq!(refused, others),
            OperationKind::Create | OperationKind::Destroy => prop_assert!(!refused),
        }
    }
}
