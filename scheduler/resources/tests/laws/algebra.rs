//! Adding, taking away, containing, filtering.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_resources::{Amount, Kind, Reservation, Resource, ResourceParts, Resources, Role};

use crate::model::Model;
use crate::strategy::{any_resources, resource, resources, whole_and_part};

fn model(resources: &Resources) -> Model {
    Model::of(resources).expect("a collection is possible")
}

/// Returns whether the entries are in the one order and form.
fn is_normal(resources: &Resources) -> bool {
    let again = Resources::collect(resources.iter().rev().cloned());
    again.is_ok_and(|again| again.as_slice() == resources.as_slice())
}

proptest! {
    #[test]
    fn a_collection_is_possible_exactly_when_its_parts_are(all in any_resources()) {
        let collected = Resources::collect(all.clone());
        match Model::of(&all) {
            Some(expected) => {
                let collected = collected.expect("possible");
                prop_assert_eq!(model(&collected), expected);
                prop_assert!(is_normal(&collected));
            }
            None => prop_assert!(collected.is_err(), "{collected:?} of {all:?}"),
        }
    }

    #[test]
    fn order_and_division_do_not_matter(
        (all, mixed) in any_resources().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        cut in 0..8_usize,
    ) {
        let collected = Resources::collect(all).ok();
        prop_assert_eq!(&Resources::collect(mixed.clone()).ok(), &collected);
        let (left, right) = mixed.split_at(cut.min(mixed.len()));
        let halves = Resources::collect(left.to_vec()).and_then(|left| {
            left.checked_add(&Resources::collect(right.to_vec())?)
        });
        prop_assert_eq!(&halves.ok(), &collected);
        let one_by_one = mixed.iter().cloned().map(Resources::from).try_fold(
            Resources::new(),
            |sum, next| sum.checked_add(&next).ok(),
        );
        prop_assert_eq!(one_by_one, collected);
    }

    #[test]
    fn addition_commutes_and_associates(a in resources(), b in resources(), c in resources()) {
        let add = |one: &Resources, other: &Resources| one.checked_add(other).ok();
        prop_assert_eq!(add(&a, &b), add(&b, &a));
        let left = add(&a, &b).and_then(|sum| add(&sum, &c));
        let right = add(&b, &c).and_then(|sum| add(&a, &sum));
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(Resources::sum([&a, &b, &c]).ok(), left);
    }

    #[test]
    fn adding_then_taking_away_is_nothing(a in resources(), b in resources()) {
        if let Ok(sum) = a.checked_add(&b) {
            prop_assert!(is_normal(&sum));
            prop_assert_eq!(sum.checked_sub(&b), Ok(a.clone()));
            prop_assert_eq!(sum.checked_sub(&a), Ok(b));
        }
        prop_assert_eq!(a.checked_add(&Resources::new()), Ok(a.clone()));
        prop_assert_eq!(a.checked_sub(&Resources::new()), Ok(a.clone()));
        prop_assert_eq!(a.checked_sub(&a), Ok(Resources::new()));
    }

    #[test]
    fn taking_away_then_adding_is_nothing((whole, part) in whole_and_part()) {
        prop_assert!(whole.contains(&part));
        let rest = whole.checked_sub(&part).expect("contained");
        prop_assert!(is_normal(&rest));
        prop_assert_eq!(model(&rest), model(&whole).without(&model(&part)));
        prop_assert_eq!(rest.checked_add(&part), Ok(whole));
    }

    #[test]
    fn taking_away_succeeds_exactly_when_contained(a in resources(), b in resources()) {
        let contained = model(&a).contains(&model(&b));
        prop_assert_eq!(a.contains(&b), contained);
        prop_assert_eq!(a.checked_sub(&b).is_ok(), contained);
        prop_assert_eq!(a.check_contains(&b).is_ok(), contained);
        prop_assert_eq!(a.check_contains(&b).err(), a.checked_sub(&b).err());
        if let Err(shortfall) = a.checked_sub(&b) {
            prop_assert!(b.contains(&shortfall.wanted.clone().into()));
            prop_assert!(!a.contains(&shortfall.wanted.into()));
        }
    }

    #[test]
    fn contains_is_a_partial_order(
        (a, b) in whole_and_part(),
        (c, _) in whole_and_part(),
        choice in any::<prop::sample::Index>(),
    ) {
        prop_assert!(a.contains(&a) && a.contains(&Resources::new()));
        prop_assert_eq!(b.contains(&a), a == b);
        prop_assert_eq!(a.contains(&c) && c.contains(&a), a == c);
        // What is in a part is in the whole.
        if !b.is_empty() {
            let less = Resources::from(b.as_slice()[choice.index(b.len())].clone());
            prop_assert!(b.contains(&less) && a.contains(&less));
        }
    }

    #[test]
    fn equal_content_is_an_equal_collection(a in resources(), b in resources()) {
        prop_assert_eq!(a == b, model(&a) == model(&b));
    }

    #[test]
    fn what_is_not_the_same_never_stands_in(own in resource(), other in resource()) {
        let (one, two) = (Resources::from(own.clone()), Resources::from(other.clone()));
        if one.contains(&two) {
            prop_assert_eq!(own.name(), other.name());
            prop_assert_eq!(own.kind(), other.kind());
            prop_assert_eq!(own.reservation(), other.reservation());
            prop_assert_eq!(own.volume().map(|volume| &volume.id), other.volume().map(|volume| &volume.id));
            prop_assert!(own.volume().is_none() || own.value() == other.value());
        }
    }

    #[test]
    fn volumes_never_split_and_never_merge(a in resources(), less in any::<u64>()) {
        for volume in &a.volumes() {
            let size = volume.amount().expect("a volume has a size").thousandths();
            let other = Amount::from_thousandths(less % size);
            let resized = Resource::from_parts(ResourceParts {
                value: other.into(),
                ..volume.clone().into_parts()
            });
            if let Ok(resized) = resized {
                let resized = Resources::from(resized);
                prop_assert!(!a.contains(&resized) && a.checked_sub(&resized).is_err());
                prop_assert!(a.checked_add(&resized).is_err());
            }
            prop_assert!(a.checked_add(&volume.clone().into()).is_err());
            prop_assert!(Resources::collect([volume.clone(), volume.clone()]).is_err());
        }
    }

    #[test]
    fn filters_divide_the_whole(a in resources()) {
        let make = |one: &Resources, other: &Resources, whole: &Resources| {
            one.checked_add(other).as_ref() == Ok(whole)
        };
        prop_assert!(make(&a.regular(), &a.revocable(), &a));
        prop_assert!(make(&a.unreserved(), &a.reserved(), &a));
        let rest = a.filter(|entry| entry.volume().is_none());
        prop_assert!(make(&a.volumes(), &rest, &a));
        let by_role: Vec<Resources> = a.roles().map(|role| a.reserved_to(role)).collect();
        prop_assert_eq!(Resources::sum(&by_role).ok(), Some(a.reserved()));
        let db: Role = "db".parse().unwrap();
        prop_assert!(make(&a.unreserved(), &a.reserved_to(&db), &a.available_to(&db)));
        let remembered = |entry: &Resource| {
            matches!(entry.reservation(), Reservation::Dynamic { .. }) || entry.volume().is_some()
        };
        prop_assert_eq!(a.checkpointed(), a.filter(remembered));
        for part in [a.regular(), a.reserved(), a.volumes(), a.available_to(&db)] {
            prop_assert!(a.contains(&part) && is_normal(&part));
        }
    }

    #[test]
    fn stripped_resources_are_plain_and_as_much(a in resources()) {
        let stripped = a.strip_reservations();
        prop_assert!(is_normal(&stripped));
        prop_assert_eq!(&stripped.unreserved(), &stripped);
        prop_assert!(stripped.volumes().is_empty());
        prop_assert_eq!(&stripped.strip_reservations(), &stripped);
        for kind in [Kind::Regular, Kind::Revocable] {
            let of_kind = |all: &Resources| all.filter(|entry| entry.kind() == kind);
            let (before, after) = (of_kind(&a), of_kind(&stripped));
            prop_assert!(before.scalars().eq(after.scalars()));
            prop_assert_eq!(before.ranges("ports"), after.ranges("ports"));
        }
    }

    #[test]
    fn amounts_by_name_are_sums(a in resources()) {
        let mut expected = BTreeMap::new();
        for entry in &a {
            if let Some(amount) = entry.amount() {
                *expected.entry(entry.name()).or_insert(0) += amount.thousandths();
            }
        }
        let found: Vec<_> = a.scalars().map(|(name, sum)| (name, sum.thousandths())).collect();
        prop_assert!(found.iter().copied().eq(expected));
        for (name, sum) in found {
            prop_assert_eq!(a.amount(name.as_str()).thousandths(), sum);
            prop_assert!(a.get(name.as_str()).iter().all(|entry| entry.name() == name));
        }
        let by_name: usize = ["bytes", "cpus", "disk", "mem", "numbers", "ports", "zones", "none"]
            .iter()
            .map(|name| a.get(name).len())
            .sum();
        prop_assert_eq!(by_name, a.len());
    }

    #[test]
    fn only_what_nobody_reserved_is_lent(a in resources()) {
        let lent = a.to_revocable();
        if !a.reserved().is_empty() {
            prop_assert!(lent.is_err());
        } else if a.revocable().is_empty() {
            let lent = lent.expect("unreserved and regular");
            prop_assert_eq!(&lent.revocable(), &lent);
            prop_assert!(lent.scalars().eq(a.scalars()));
            prop_assert!(lent.is_empty() || !a.contains(&lent));
        }
    }
}
