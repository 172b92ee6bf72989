//! Stock: what is free on an agent, by who may have it.

use weir_resources::{Resources, Role};

use super::parcel::{Parcel, is_unreserved};
use super::scalars::ScalarNames;
use super::settings::Least;

/// What is free of one kind on one agent: for anyone, and for each role.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    unreserved: Parcel,
    /// In the order of the roles, none empty.
    reserved: Vec<(Role, Parcel)>,
}

impl Stock {
    pub(super) fn new(parcel: &Parcel, names: &ScalarNames) -> Self {
        let mut stock = Self::default();
        stock.put(parcel, names);
        stock
    }

    /// Returns what is kept for nobody.
    pub(super) fn unreserved(&self) -> &Parcel {
        &self.unreserved
    }

    /// Goes through the roles for which something is kept.
    pub(super) fn reserved(&self) -> impl Iterator<Item = (&Role, &Parcel)> {
        self.reserved.iter().map(|(role, parcel)| (role, parcel))
    }

    /// Returns whether something may be offered to anyone at all.
    pub(super) fn is_worth_a_look(&self, least: &Least) -> bool {
        !self.reserved.is_empty() || self.unreserved.is_enough(least)
    }

    /// Returns all that frameworks of `role` may have.
    pub(super) fn available_to(&self, role: &Role, names: &ScalarNames) -> Parcel {
        match self.position(role) {
            Ok(index) => self.unreserved.joined(&self.reserved[index].1, names),
            Err(_) => self.unreserved.clone(),
        }
    }

    /// Takes out all that frameworks of `role` may have.
    pub(super) fn take(&mut self, role: &Role) {
        self.unreserved = Parcel::default();
        if let Ok(index) = self.position(role) {
            self.reserved.remove(index);
        }
    }

    /// Puts something in.
    pub(super) fn put(&mut self, parcel: &Parcel, names: &ScalarNames) {
        let resources = parcel.resources();
        if is_unreserved(resources) {
            self.unreserved = self.unreserved.joined(parcel, names);
            return;
        }
        let unreserved = Parcel::new(resources.unreserved(), names);
        self.unreserved = self.unreserved.joined(&unreserved, names);
        for role in resources.roles() {
            let kept = Parcel::new(resources.reserved_to(role), names);
            match self.position(role) {
                Ok(index) => {
                    let parcel = &mut self.reserved[index].1;
                    *parcel = parcel.joined(&kept, names);
                }
                Err(index) => self.reserved.insert(index, (role.clone(), kept)),
            }
        }
    }

    /// Goes through all that there is.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        let reserved = self.reserved.iter().map(|(_, parcel)| parcel);
        std::iter::once(&self.unreserved).chain(reserved)
    }

    /// Returns all of it together.
    pub(super) fn resources(&self) -> Resources {
        Resources::sum(self.parcels().map(Parcel::resources))
            .expect("parts of what an agent has can be together")
    }

    fn position(&self, role: &Role) -> Result<usize, usize> {
        self.reserved.binary_search_by(|(known, _)| known.cmp(role))
    }
}
