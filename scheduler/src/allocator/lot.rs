//! Lots: all resources of one kind on one agent, free and held.
//!
//! What is free is what there is, less what is held. There can be less than is held, for an estimate
//! shrinks while tasks run on what was lent: then nothing is free of that resource until enough was
//! given back, and what is held beyond the total is there all the same, and counts. And what is held
//! can contradict what there is, for an agent can come back with ports of another role that are still
//! in use: then nothing at all is free until that was given back.

use std::collections::BTreeMap;

use weir_resources::{Resource, ResourceParts, Resources, Role, Shortfall, Value};

use super::parcel::Parcel;
use super::scalars::{Amounts, ScalarNames, Uncountable};
use super::stock::Stock;

/// All resources of one kind on one agent.
#[derive(Clone, Debug)]
pub(super) struct Lot {
    total: Resources,
    free: Stock,
    /// By framework.
    held: BTreeMap<u32, Parcel>,
    balance: Balance,
    /// What is free and what is held, added up.
    counted: Amounts,
}

/// How what is held compares to what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Balance {
    /// What is free and what is held are the total.
    Even,
    /// Something is held that is not part of the total, any more or yet.
    Overdrawn,
    /// No agent could have both what should be free and what is held.
    Contradictory,
}

impl Lot {
    /// Returns a lot of which frameworks hold parts, or the scalar of which that is more than can be
    /// counted.
    pub(super) fn new(
        total: Resources,
        held: BTreeMap<u32, Parcel>,
        names: &ScalarNames,
    ) -> Result<Self, Uncountable> {
        let mut lot = Self {
            total,
            free: Stock::default(),
            held,
            balance: Balance::Even,
            counted: Amounts::default(),
        };
        lot.settle(names)?;
        lot.check();
        Ok(lot)
    }

    pub(super) fn total(&self) -> &Resources {
        &self.total
    }

    pub(super) fn free(&self) -> &Stock {
        &self.free
    }

    /// Goes through the frameworks that hold something.
    pub(super) fn held(&self) -> impl Iterator<Item = (u32, &Parcel)> {
        self.held
            .iter()
            .map(|(&framework, parcel)| (framework, parcel))
    }

    /// Returns what `framework` holds, if it holds anything.
    pub(super) fn held_by(&self, framework: u32) -> Option<&Parcel> {
        self.held.get(&framework)
    }

    /// Returns how much of each scalar there is here, free and held.
    pub(super) fn counted(&self) -> &Amounts {
        &self.counted
    }

    /// Returns the lot with another total.
    pub(super) fn with_total(
        &self,
        total: Resources,
        names: &ScalarNames,
    ) -> Result<Self, Uncountable> {
        Self::new(total, self.held.clone(), names)
    }

    /// Returns the lot with another total, of which `framework` holds `held`.
    pub(super) fn with_held(
        &self,
        total: Resources,
        framework: u32,
        held: Parcel,
        names: &ScalarNames,
    ) -> Result<Self, Uncountable> {
        let mut all = self.held.clone();
        if held.is_empty() {
            all.remove(&framework);
        } else {
            all.insert(framework, held);
        }
        Self::new(total, all, names)
    }

    /// Gives `framework` all that its role may have, which is `granted`.
    pub(super) fn grant(
        &mut self,
        framework: u32,
        role: &Role,
        granted: &Parcel,
        names: &ScalarNames,
    ) {
        self.free.take(role);
        let held = match self.held.get(&framework) {
            Some(held) => held.joined(granted, names),
            None => granted.clone(),
        };
        self.set_held(framework, held);
        self.check();
    }

    /// Returns `resources` as part of what `framework` holds, with the rest, or what of it is not held.
    pub(super) fn split_held(
        &self,
        framework: Option<u32>,
        resources: &Resources,
        names: &ScalarNames,
    ) -> Result<(Parcel, Parcel), Shortfall> {
        let nothing = Parcel::default();
        let held = framework.and_then(|framework| self.held.get(&framework));
        let held = held.unwrap_or(&nothing);
        if held.resources() == resources {
            return Ok((held.clone(), nothing));
        }
        let rest = held.resources().checked_sub(resources)?;
        Ok((
            Parcel::new(resources.clone(), names),
            Parcel::new(rest, names),
        ))
    }

    /// Takes back from `framework` what was [split](Self::split_held) off what it holds.
    pub(super) fn take_back(
        &mut self,
        framework: u32,
        returned: &Parcel,
        rest: Parcel,
        names: &ScalarNames,
    ) {
        self.set_held(framework, rest);
        match self.balance {
            Balance::Even => self.free.put(returned, names),
            // It may be gone from the total, and nobody's.
            Balance::Overdrawn | Balance::Contradictory => {
                self.settle(names)
                    .expect("what is given back adds no more to what is free");
            }
        }
        self.check();
    }

    fn set_held(&mut self, framework: u32, held: Parcel) {
        if held.is_empty() {
            self.held.remove(&framework);
        } else {
            self.held.insert(framework, held);
        }
    }

    /// Finds out again what is free, or of what there is more than can be counted.
    fn settle(&mut self, names: &ScalarNames) -> Result<(), Uncountable> {
        let (free, balance) = self.rest();
        let free = Parcel::new(free, names);
        self.counted = free.amounts().clone();
        for parcel in self.held.values() {
            self.counted.checked_add(parcel.amounts())?;
        }
        self.balance = balance;
        self.free = match balance {
            Balance::Even | Balance::Overdrawn => Stock::new(&free, names),
            // It counts: it will be free.
            Balance::Contradictory => Stock::default(),
        };
        Ok(())
    }

    /// Returns the total without what is held.
    fn rest(&self) -> (Resources, Balance) {
        let mut free = self.total.clone();
        let mut balance = Balance::Even;
        for parcel in self.held.values() {
            free = match free.checked_sub(parcel.resources()) {
                Ok(rest) => rest,
                Err(_) => {
                    balance = Balance::Overdrawn;
                    less(&free, parcel.resources())
                }
            };
        }
        match balance {
            Balance::Overdrawn => {
                let held = self.held.values().map(Parcel::resources);
                match Resources::sum(held.chain(std::iter::once(&free))) {
                    Ok(_) => (free, balance),
                    Err(_) => (free, Balance::Contradictory),
                }
            }
            Balance::Even | Balance::Contradictory => (free, balance),
        }
    }

    /// Asserts in debug builds that nothing was lost and nothing made.
    fn check(&self) {
        if cfg!(debug_assertions) {
            self.assert_consistent();
        }
    }

    /// Asserts the law of conservation: what is free and what is held is the total.
    pub(super) fn assert_consistent(&self) {
        let (rest, balance) = self.rest();
        assert_eq!(self.balance, balance);
        match self.balance {
            Balance::Even => {
                let held = self.held.values().map(Parcel::resources);
                let all = Resources::sum(held.chain(std::iter::once(&self.free.resources())));
                assert_eq!(all.as_ref(), Ok(&self.total), "free and held is the total");
            }
            Balance::Overdrawn => assert_eq!(self.free.resources(), rest),
            Balance::Contradictory => assert!(self.free.resources().is_empty()),
        }
    }
}

/// Returns what of `total` is not in `taken`, of which some may never have been in `total`.
fn less(total: &Resources, taken: &Resources) -> Resources {
    let rest = total.iter().filter_map(|own| {
        let same = taken.get(own.name().as_str()).iter().find(|taken| {
            taken.kind() == own.kind()
                && taken.volume() == own.volume()
                && taken.reservation() == own.reservation()
        });
        match same {
            None => Some(own.clone()),
            Some(taken) => rest_of(own, taken),
        }
    });
    Resources::collect(rest).expect("a part of what an agent has is in order")
}

fn rest_of(own: &Resource, taken: &Resource) -> Option<Resource> {
    let value = match (own.value(), taken.value()) {
        // A volume is held as a whole.
        (Value::Scalar(_), Value::Scalar(_)) if own.volume().is_some() => return None,
        (Value::Scalar(own), Value::Scalar(taken)) => Value::Scalar(own.checked_sub(*taken)?),
        (Value::Ranges(own), Value::Ranges(taken)) => Value::Ranges(own.subtract(taken)),
        (Value::Set(own), Value::Set(taken)) => Value::Set(own.subtract(taken)),
        // The agent made something else of the name: what is held has no part in it.
        (Value::Scalar(_) | Value::Ranges(_) | Value::Set(_), _) => return Some(own.clone()),
    };
    // None if nothing is left of it.
    Resource::from_parts(ResourceParts {
        value,
        ..own.clone().into_parts()
    })
    .ok()
}
