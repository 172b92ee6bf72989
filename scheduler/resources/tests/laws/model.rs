//! What a collection means: so many thousandths, and these single things.

use std::collections::{BTreeMap, BTreeSet};

use weir_resources::{Kind, Reservation, Resource, Value, Volume};

/// For whom something is, and whether it can be taken back.
pub(crate) type Owner = (String, Kind, Reservation);

/// A thing that is there once: a number, an item, or a volume of a size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Number(u64),
    Item(String),
    Volume(String, u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) thousandths: BTreeMap<Owner, u128>,
    pub(crate) things: BTreeSet<(Owner, Thing)>,
}

impl Model {
    /// Returns what resources mean, or `None` if no node can have them.
    pub(crate) fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Option<Self> {
        let resources: Vec<&Resource> = resources.into_iter().collect();
        let mut model = Self::default();
        for resource in &resources {
            let owner = (
                resource.name().to_string(),
                resource.kind(),
                resource.reservation().clone(),
            );
            for thing in things(resource) {
                if !model.things.insert((owner.clone(), thing)) {
                    return None;
                }
            }
            if let (Some(amount), None) = (resource.amount(), resource.volume()) {
                *model.thousandths.entry(owner).or_default() += u128::from(amount.thousandths());
            }
        }
        possible(&resources).then_some(model)
    }

    /// Returns whether all of `other` is here.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let enough = |(owner, wanted)| self.thousandths.get(owner) >= Some(wanted);
        other.thousandths.iter().all(enough) && other.things.is_subset(&self.things)
    }

    /// Returns what is left without `other`, all of which is here.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for (owner, wanted) in &other.thousandths {
            let own = rest.thousandths.get_mut(owner).expect("contained");
            *own -= wanted;
            if *own == 0 {
                rest.thousandths.remove(owner);
            }
        }
        rest.things.retain(|thing| !other.things.contains(thing));
        rest
    }
}

fn things(resource: &Resource) -> Vec<Thing> {
    match (resource.value(), resource.volume()) {
        (Value::Scalar(size), Some(Volume { id, .. })) => {
            vec![Thing::Volume(id.to_string(), size.thousandths())]
        }
        (Value::Scalar(_), None) => Vec::new(),
        (Value::Ranges(ranges), _) => ranges
            .ranges()
            .iter()
            .flat_map(|range| range.first()..=range.last())
            .map(Thing::Number)
            .collect(),
        (Value::Set(items), _) => items
            .items()
            .iter()
            .map(|item| Thing::Item(item.to_string()))
            .collect(),
    }
}

/// Returns whether one node can have all of it.
fn possible(resources: &[&Resource]) -> bool {
    let mut types = BTreeMap::new();
    let mut sums = BTreeMap::<String, u128>::new();
    let mut seen = BTreeSet::new();
    let mut volumes = BTreeSet::new();
    for resource in resources {
        let name = resource.name().to_string();
        let value_type = resource.value().value_type();
        if *types.entry(name.clone()).or_insert(value_type) != value_type {
            return false;
        }
        if let Some(amount) = resource.amount() {
            *sums.entry(name.clone()).or_default() += u128::from(amount.thousandths());
        }
        if let Some(volume) = resource.volume() {
            if !volumes.insert((resource.role().cloned(), volume.id.clone())) {
                return false;
            }
        } else {
            for thing in things(resource) {
                if !seen.insert((name.clone(), resource.kind(), thing)) {
                    return false;
                }
            }
        }
    }
    sums.values().all(|sum| *sum <= u128::from(u64::MAX))
}
