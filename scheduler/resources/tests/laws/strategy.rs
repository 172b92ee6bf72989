//! Resources that often meet: few names, few owners, small numbers, and now and then a huge amount.

use proptest::prelude::*;
use weir_resources::{
    Amount, Item, ItemSet, Kind, Labels, Range, Ranges, Reservation, Resource, ResourceName,
    ResourceParts, Resources, Value, Volume, VolumeMode,
};

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        20 => 1..5000_u64,
        1 => (u64::MAX - 3000)..=u64::MAX,
        1 => Just(1_u64 << 63),
    ]
    .prop_map(Amount::from_thousandths)
}

fn ranges() -> impl Strategy<Value = Ranges> {
    let range = (0..40_u64, 0..6_u64)
        .prop_map(|(first, more)| Range::new(first, first + more).expect("not backwards"));
    prop::collection::vec(range, 1..4).prop_map(Ranges::from_iter)
}

fn items() -> impl Strategy<Value = ItemSet> {
    let item = prop::sample::select(&["a", "b", "c d", "e;f", "\"", "\\", "é", "*", "{}"][..]);
    prop::collection::vec(
        item.prop_map(|item| Item::new(item).expect("visible")),
        1..4,
    )
    .prop_map(ItemSet::from_iter)
}

pub(crate) fn reservation() -> impl Strategy<Value = Reservation> {
    let role = || prop::sample::select(&["db", "web", "a;b:\"c", "*x"][..]);
    const LABELS: &[&[(&str, &str)]] = &[&[], &[("k", "v")], &[("k", ""), ("=", "\\ {}")]];
    let labels = prop::sample::select(LABELS);
    prop_oneof![
        Just(Reservation::Unreserved),
        role().prop_map(|role| Reservation::Static(role.parse().expect("a role"))),
        (role(), prop::sample::select(&["alice", "b,ob"][..]), labels).prop_map(
            |(role, principal, labels)| Reservation::Dynamic {
                role: role.parse().expect("a role"),
                principal: principal.parse().expect("a principal"),
                labels: Labels::new(labels.iter().map(|(key, value)| {
                    (key.parse().expect("a key"), value.parse().expect("a value"))
                }))
                .expect("each key once"),
            }
        ),
    ]
}

/// Returns how one container uses a volume, which is no part of what the volume is.
fn volume() -> impl Strategy<Value = Volume> {
    (
        prop::sample::select(&["pgdata", "log", "a]b"][..]),
        prop::sample::select(&["data", "a b/c:d", "[]"][..]),
        prop::sample::select(&[VolumeMode::ReadWrite, VolumeMode::ReadOnly][..]),
    )
        .prop_map(|(id, path, mode)| Volume {
            id: id.parse().expect("an id"),
            container_path: path.parse().expect("a path"),
            mode,
        })
}

pub(crate) fn resource() -> impl Strategy<Value = Resource> {
    let value = prop_oneof![
        3 => (prop::sample::select(&["cpus", "mem", "disk", "bytes"][..]), amount())
            .prop_map(|(name, amount)| (name, Value::Scalar(amount))),
        1 => (prop::sample::select(&["ports", "numbers"][..]), ranges())
            .prop_map(|(name, ranges)| (name, Value::Ranges(ranges))),
        1 => (prop::sample::select(&["zones", "bytes"][..]), items())
            .prop_map(|(name, items)| (name, Value::Set(items))),
    ];
    let kind = prop_oneof![4 => Just(Kind::Regular), 1 => Just(Kind::Revocable)];
    let volume = prop::option::weighted(0.7, volume());
    (value, reservation(), volume, kind).prop_map(|((name, value), reservation, volume, kind)| {
        let name: ResourceName = name.parse().expect("a name");
        let reservation = match kind {
            Kind::Regular => reservation,
            Kind::Revocable => Reservation::Unreserved,
        };
        let is_reserved_disk = name == ResourceName::DISK && reservation.role().is_some();
        Resource::from_parts(ResourceParts {
            name,
            value,
            reservation,
            volume: volume.filter(|_| is_reserved_disk),
            kind,
        })
        .expect("possible parts")
    })
}

/// Returns resources that may be impossible together.
pub(crate) fn any_resources() -> impl Strategy<Value = Vec<Resource>> {
    prop::collection::vec(resource(), 0..8)
}

/// Returns what a node can have.
pub(crate) fn resources() -> impl Strategy<Value = Resources> {
    prop::collection::vec(resource(), 0..14).prop_map(|all| {
        all.into_iter().fold(Resources::new(), |sum, resource| {
            sum.checked_add(&resource.into()).unwrap_or(sum)
        })
    })
}

/// Returns what a node can have, and a part of it.
pub(crate) fn whole_and_part() -> impl Strategy<Value = (Resources, Resources)> {
    let choices = prop::collection::vec((0..4_u8, any::<u64>()), 14);
    (resources(), choices).prop_map(|(whole, choices)| {
        let part = whole
            .iter()
            .zip(choices)
            .filter_map(|(entry, (choice, number))| match choice {
                0 => None,
                1 => Some(entry.clone()),
                _ => Some(part_of(entry, number)),
            });
        let part = Resources::collect(part).expect("a part is possible");
        (whole, part)
    })
}

/// Returns some of a resource, but never nothing; a volume as it is.
fn part_of(resource: &Resource, number: u64) -> Resource {
    let value = match resource.value() {
        Value::Scalar(_) if resource.volume().is_some() => return resource.clone(),
        Value::Scalar(amount) => {
            Value::Scalar(Amount::from_thousandths(1 + number % amount.thousandths()))
        }
        Value::Ranges(ranges) => {
            let index = usize::try_from(number % 5).expect("small") % ranges.ranges().len();
            let range = ranges.ranges()[index];
            let first = range.first() + number % (range.last() - range.first() + 1);
            Value::Ranges(
                Range::new(first, range.last())
                    .expect("not backwards")
                    .into(),
            )
        }
        Value::Set(items) => {
            let index = usize::try_from(number % 5).expect("small") % items.count();
            Value::Set(ItemSet::from_iter([items.items()[index].clone()]))
        }
    };
    Resource::from_parts(ResourceParts {
        value,
        ..resource.clone().into_parts()
    })
    .expect("some of what is possible")
}
