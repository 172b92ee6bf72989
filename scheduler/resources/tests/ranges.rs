//! The laws of ranges, held against plain sets of numbers.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_resources::{PortSet, Range, Ranges};

/// Returns ranges that crowd at both ends of the numbers and in one place between.
fn range() -> impl Strategy<Value = Range> {
    let first = prop_oneof![0..30_u64, 1000..1030_u64, (u64::MAX - 30)..=u64::MAX];
    (first, 0..8_u64).prop_map(|(first, more)| {
        Range::new(first, first.saturating_add(more)).expect("not backwards")
    })
}

fn list() -> impl Strategy<Value = Vec<Range>> {
    prop::collection::vec(range(), 0..8)
}

fn numbers(ranges: &[Range]) -> BTreeSet<u64> {
    ranges
        .iter()
        .flat_map(|range| range.first()..=range.last())
        .collect()
}

fn is_normal(ranges: &Ranges) -> bool {
    ranges
        .ranges()
        .windows(2)
        .all(|pair| u128::from(pair[0].last()) + 1 < u128::from(pair[1].first()))
}

proptest! {
    #[test]
    fn ranges_are_sets_of_numbers(a in list(), b in list()) {
        let (left, right) = (Ranges::from_iter(a.clone()), Ranges::from_iter(b.clone()));
        let (a, b) = (numbers(&a), numbers(&b));
        for (result, expected) in [
            (left.clone(), a.clone()),
            (left.union(&right), &a | &b),
            (left.intersect(&right), &a & &b),
            (left.subtract(&right), &a - &b),
        ] {
            prop_assert!(is_normal(&result), "{result}");
            prop_assert_eq!(result.count(), expected.len() as u128);
            prop_assert_eq!(numbers(result.ranges()), expected);
        }
        prop_assert_eq!(left == right, a == b);
        prop_assert_eq!(left.contains_all(&right), a.is_superset(&b));
        prop_assert_eq!(left.is_disjoint(&right), a.is_disjoint(&b));
        let shared = left.first_shared(&right).map(Range::first);
        prop_assert_eq!(shared, (&a & &b).first().copied());
    }

    #[test]
    fn disjoint_ranges_are_those_without_a_shared_number(list in list()) {
        let total: u128 = list.iter().map(|range| range.count()).sum();
        let apart = total == numbers(&list).len() as u128;
        match Ranges::disjoint(list.clone()) {
            Ok(ranges) => {
                prop_assert!(apart);
                prop_assert_eq!(ranges, Ranges::from_iter(list));
            }
            Err(overlap) => {
                prop_assert!(!apart);
                prop_assert!(overlap.first.contains_range(overlap.shared));
                prop_assert!(overlap.second.contains_range(overlap.shared));
            }
        }
    }

    #[test]
    fn the_text_of_ranges_reads_back(list in list()) {
        let ranges = Ranges::from_iter(list);
        prop_assert_eq!(ranges.to_string().parse::<Ranges>(), Ok(ranges.clone()));
        let json = serde_json::to_string(&ranges).expect("a text");
        prop_assert_eq!(serde_json::from_str::<Ranges>(&json).expect("its own text"), ranges);
    }
}

#[test]
fn every_number_there_is_can_be_held_and_counted() {
    let all = Ranges::from(Range::new(0, u64::MAX).unwrap());
    assert_eq!(all.count(), 1 << 64);
    let highest = Ranges::from(Range::single(u64::MAX));
    let rest = all.subtract(&highest);
    assert_eq!(rest.to_string(), "[0-18446744073709551614]");
    assert_eq!(rest.union(&highest), all);
    assert!(all.subtract(&all).is_empty());
    assert_eq!(highest.union(&Range::single(0).into()).ranges().len(), 2);
}

#[test]
fn ports_are_ranges_and_only_some_ranges_are_ports() {
    let ports: PortSet = "1-5,80,65535".parse().unwrap();
    let ranges = Ranges::from(&ports);
    assert_eq!(ranges.to_string(), "[1-5, 80-80, 65535-65535]");
    assert_eq!(PortSet::try_from(&ranges), Ok(ports));
    for text in ["[0-5]", "[65535-65536]", "[1-2, 70000-70001]"] {
        let ranges: Ranges = text.parse().unwrap();
        let error = PortSet::try_from(&ranges).unwrap_err();
        assert!(
            error.to_string().ends_with("ports are 1 to 65535"),
            "{error}"
        );
    }
}
