//! The laws of port sets, held against plain sets of numbers.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_resources::{PortRange, PortSet};

/// Returns ports that crowd at both ends and in one place between, where ranges meet.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        1..=40_u16,
        31_000..=31_040_u16,
        65_496..=65_535_u16,
        1..=65_535_u16
    ]
}

fn range() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        16 => (port(), 0..12_u16).prop_map(|(first, more)| {
            PortRange::new(first, first.saturating_add(more)).expect("the end is not below")
        }),
        1 => (port(), port()).prop_map(|(a, b)| {
            PortRange::new(a.min(b), a.max(b)).expect("the end is not below")
        }),
    ]
}

fn ranges() -> impl Strategy<Value = Vec<PortRange>> {
    prop::collection::vec(range(), 0..12)
}

fn set() -> impl Strategy<Value = PortSet> {
    ranges().prop_map(PortSet::from_iter)
}

/// Returns what the set means.
fn model(set: &PortSet) -> BTreeSet<u16> {
    set.ranges().iter().flat_map(|range| range.iter()).collect()
}

proptest! {
    #[test]
    fn a_set_holds_what_its_ranges_hold(ranges in ranges()) {
        let expected: BTreeSet<u16> = ranges.iter().flat_map(|range| range.iter()).collect();
        let set = PortSet::from_iter(ranges);
        prop_assert_eq!(model(&set), expected);
    }

    #[test]
    fn every_result_is_in_normal_form(a in set(), b in set()) {
        for set in [a.union(&b), a.intersect(&b), a.subtract(&b), a] {
            for pair in set.ranges().windows(2) {
                prop_assert!(u32::from(pair[0].last()) + 1 < u32::from(pair[1].first()), "{set}");
            }
        }
    }

    #[test]
    fn equal_ports_are_equal_sets(a in set()) {
        let one_by_one: PortSet = a
            .iter()
            .rev()
            .map(|port| PortRange::single(port).expect("ports of a set are ports"))
            .collect();
        prop_assert_eq!(one_by_one, a);
    }

    #[test]
    fn union_holds_the_ports_of_either(a in set(), b in set()) {
        prop_assert_eq!(model(&a.union(&b)), &model(&a) | &model(&b));
    }

    #[test]
    fn intersection_holds_the_ports_of_both(a in set(), b in set()) {
        prop_assert_eq!(model(&a.intersect(&b)), &model(&a) & &model(&b));
    }

    #[test]
    fn difference_holds_the_ports_of_the_first_alone(a in set(), b in set()) {
        prop_assert_eq!(model(&a.subtract(&b)), &model(&a) - &model(&b));
    }

    #[test]
    fn adding_then_taking_away_leaves_what_was_not_shared(a in set(), b in set()) {
        prop_assert_eq!(a.union(&b).subtract(&b), a.subtract(&b));
    }

    #[test]
    fn taking_away_and_keeping_make_the_whole(a in set(), b in set()) {
        prop_assert_eq!(&a.subtract(&b).union(&a.intersect(&b)), &a);
        prop_assert!(a.subtract(&b).is_disjoint(&a.intersect(&b)));
    }

    #[test]
    fn union_and_intersection_commute_and_associate(a in set(), b in set(), c in set()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.intersect(&b).intersect(&c), a.intersect(&b.intersect(&c)));
    }

    #[test]
    fn intersection_distributes_over_union(a in set(), b in set(), c in set()) {
        prop_assert_eq!(
            a.intersect(&b.union(&c)),
            a.intersect(&b).union(&a.intersect(&c))
        );
    }

    #[test]
    fn contains_agrees_with_the_ports(a in set(), ports in prop::collection::vec(port(), 20)) {
        let expected = model(&a);
        for port in ports {
            prop_assert_eq!(a.contains(port), expected.contains(&port));
        }
        for range in a.ranges() {
            prop_assert!(a.contains(range.first()) && a.contains(range.last()));
            prop_assert!(!a.contains(range.first() - 1));
            prop_assert!(range.last().checked_add(1).is_none_or(|port| !a.contains(port)));
        }
        prop_assert!(!a.contains(0));
    }

    #[test]
    fn contains_all_is_a_partial_order(a in set(), b in set()) {
        prop_assert_eq!(a.contains_all(&b), model(&b).is_subset(&model(&a)));
        prop_assert!(a.contains_all(&a));
        prop_assert_eq!(a.contains_all(&b) && b.contains_all(&a), a == b);
    }

    #[test]
    fn a_range_is_contained_or_disjoint_as_its_set_is(a in set(), range in range()) {
        let single = PortSet::from(range);
        prop_assert_eq!(a.contains_range(range), a.contains_all(&single));
        prop_assert_eq!(a.is_disjoint_from_range(range), a.is_disjoint(&single));
    }

    #[test]
    fn sets_are_disjoint_exactly_when_nothing_is_in_both(a in set(), b in set()) {
        prop_assert_eq!(a.is_disjoint(&b), a.intersect(&b).is_empty());
        prop_assert_eq!(a.is_disjoint(&b), model(&a).is_disjoint(&model(&b)));
    }

    #[test]
    fn count_first_last_and_iteration_agree_with_the_ports(a in set()) {
        let expected = model(&a);
        prop_assert_eq!(a.count() as usize, expected.len());
        prop_assert_eq!(a.first(), expected.first().copied());
        prop_assert_eq!(a.last(), expected.last().copied());
        prop_assert_eq!(a.is_empty(), expected.is_empty());
        prop_assert!(a.iter().eq(expected));
    }

    #[test]
    fn the_text_of_a_set_reads_back(a in set()) {
        prop_assert_eq!(a.to_string().parse::<PortSet>(), Ok(a.clone()));
        prop_assert_eq!(format!("[{a}]").parse::<PortSet>(), Ok(a));
    }

    #[test]
    fn the_text_of_a_range_reads_back(range in range()) {
        prop_assert_eq!(range.to_string().parse::<PortRange>(), Ok(range));
    }
}

#[test]
fn nothing_wraps_at_the_highest_port() {
    let all = PortSet::from(PortRange::ALL);
    let highest: PortSet = "65535".parse().unwrap();
    let lowest: PortSet = "1".parse().unwrap();
    assert_eq!(all.subtract(&highest).to_string(), "1-65534");
    assert_eq!(all.subtract(&highest).union(&highest), all);
    assert_eq!(all.subtract(&lowest).to_string(), "2-65535");
    assert_eq!(highest.union(&lowest).to_string(), "1,65535");
    assert!(all.subtract(&all).is_empty());
    assert_eq!(all.count(), 65535);
}

#[test]
fn the_raggedest_set_is_no_trouble() {
    let ranges = |from: u16| {
        (from..=65535)
            .step_by(2)
            .map(|port| PortRange::single(port).expect("not zero"))
    };
    let odd: PortSet = ranges(1).collect();
    let even: PortSet = ranges(2).collect();
    assert_eq!(odd.ranges().len(), 32768);
    assert!(odd.is_disjoint(&even));
    assert_eq!(odd.union(&even), PortSet::from(PortRange::ALL));
    assert_eq!(PortSet::from(PortRange::ALL).subtract(&odd), even);
    assert_eq!(odd.to_string().parse::<PortSet>(), Ok(odd));
}
