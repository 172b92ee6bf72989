//! The order in which the clients of one level are served: roles, or the frameworks of a role.
//!
//! A client's dominant share is what it holds of some scalar against the total of that scalar. What
//! one client holds changes one share; but a total changes all of them, and the order among them, for
//! each is against the total of another scalar. To sort again whenever a total changes is what makes
//! an allocator slow. So clients are kept in the order of the shares that they had when they were
//! last all *measured*, against the totals of then:
//!
//! 1. Since then, no share has become smaller than by the [`Drift`]: the least factor by which a total
//!    has divided it. If all totals grew alike the factor is the same for all, and the order the same.
//! 2. [`Sorter::first`] goes through the clients in the old order and compares exact shares, until
//!    what it has found is before all that those to come can be. When nothing has drifted apart,
//!    that is at the next client.
//! 3. When it has looked at more clients in vain than there are, all are measured again.
//!
//! So the order is exact, and whom to serve costs a logarithm, and now and then a sort for which many
//! cheap answers have been given. Only those who take part are in the order: others cost nothing.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::scalars::{Amounts, Totals};
use super::share::{Drift, Share};
use super::slab::Slab;
use super::weight::Weight;

/// Below so many looks in vain sorting again would cost more than it saves.
const VAIN_MIN: usize = 16;

/// The clients of one level and their order.
#[derive(Clone, Debug)]
pub(super) struct Sorter<N> {
    totals: Totals,
    clients: Slab<Client<N>>,
    /// Those who take part.
    order: BTreeSet<Place<N>>,
    /// The totals against which the shares in `order` were measured.
    measured: Totals,
    /// How many clients were looked at in vain since then.
    vain: usize,
}

/// A client's number in its sorter.
pub(super) type Seat = u32;

#[derive(Clone, Debug)]
struct Client<N> {
    /// What the owner of the sorter calls it.
    tag: u32,
    name: N,
    weight: Weight,
    held: Amounts,
    /// How often it was given something.
    allocations: u64,
    part: Part,
}

/// Whether a client takes part.
#[derive(Clone, Copy, Debug)]
enum Part {
    Absent,
    /// In the order, with the share that was measured.
    Present(Share),
}

/// Where a client stands in the order. Its name makes it one of a kind.
#[derive(Clone, Debug)]
struct Place<N> {
    measured: Share,
    allocations: u64,
    name: N,
    seat: Seat,
    tag: u32,
}

/// What became of looking for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// The client of this tag is the first.
    Found(u32),
    /// None is accepted.
    Nobody,
    /// There may be one far behind.
    GaveUp,
}

/// How clients compare: by dominant share, then by the number of allocations, then by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a, N> {
    pub(super) share: Share,
    pub(super) allocations: u64,
    pub(super) name: &'a N,
}

impl<N: Clone + Ord> Sorter<N> {
    pub(super) fn new() -> Self {
        Self {
            totals: Totals::default(),
            clients: Slab::new(),
            order: BTreeSet::new(),
            measured: Totals::default(),
            vain: 0,
        }
    }

    /// Returns the totals that shares are against.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns the totals, to be changed: in the order nothing needs to be.
    pub(super) fn totals_mut(&mut self) -> &mut Totals {
        &mut self.totals
    }

    /// Seats a client that holds nothing and takes no part.
    pub(super) fn insert(&mut self, tag: u32, name: N, weight: Weight) -> Seat {
        self.clients.insert(Client {
            tag,
            name,
            weight,
            held: Amounts::default(),
            allocations: 0,
            part: Part::Absent,
        })
    }

    /// Removes a client with all that it holds, and returns how often it was given something.
    pub(super) fn remove(&mut self, seat: Seat) -> u64 {
        self.set_present(seat, false);
        self.clients
            .remove(seat)
            .map_or(0, |client| client.allocations)
    }

    /// Lets a client take part, or not. What it holds and its allocations stay either way.
    pub(super) fn set_present(&mut self, seat: Seat, is_present: bool) {
        self.change(seat, |client| {
            client.part = if is_present {
                // Measured by `change`.
                Part::Present(Share::ZERO)
            } else {
                Part::Absent
            };
        });
    }

    pub(super) fn is_present(&self, seat: Seat) -> bool {
        match self.clients[seat].part {
            Part::Present(_) => true,
            Part::Absent => false,
        }
    }

    pub(super) fn set_weight(&mut self, seat: Seat, weight: Weight) {
        self.change(seat, |client| client.weight = weight);
    }

    /// Gives a client something, which counts as `allocations` of them.
    pub(super) fn hold(&mut self, seat: Seat, amounts: &Amounts, allocations: u64) {
        self.change(seat, |client| {
            client.held.add(amounts);
            client.allocations += allocations;
        });
    }

    /// Takes something of what a client holds.
    pub(super) fn release(&mut self, seat: Seat, amounts: &Amounts) {
        self.change(seat, |client| client.held.subtract(amounts));
    }

    pub(super) fn held(&self, seat: Seat) -> &Amounts {
        &self.clients[seat].held
    }

    /// Returns how a client compares to the others now.
    pub(super) fn rank(&self, seat: Seat) -> Rank<'_, N> {
        let client = &self.clients[seat];
        Rank {
            share: client.held.share(&self.totals, client.weight),
            allocations: client.allocations,
            name: &client.name,
        }
    }

    /// Looks for the first in the order of those who take part and are accepted, by their tags.
    ///
    /// Gives up when `refused_max` have been refused and none accepted.
    pub(super) fn first(
        &mut self,
        refused_max: usize,
        mut accepts: impl FnMut(u32) -> bool,
    ) -> Search {
        if self.vain > self.order.len().max(VAIN_MIN) {
            self.measure();
        }
        let drift = Drift::between(self.measured.as_slice(), self.totals.as_slice());
        let mut found: Option<(Rank<'_, N>, u32)> = None;
        let mut refused = 0;
        let mut vain = 0;
        for place in &self.order {
            if let Some((rank, _)) = &found {
                if place.compare_after(drift, rank) == Ordering::Greater {
                    break;
                }
                vain += 1;
            }
            if accepts(place.tag) {
                let rank = self.rank(place.seat);
                if found.as_ref().is_none_or(|(first, _)| rank < *first) {
                    found = Some((rank, place.tag));
                }
            } else if found.is_none() {
                refused += 1;
                if refused > refused_max {
                    return Search::GaveUp;
                }
            }
        }
        let search = match found {
            Some((_, tag)) => Search::Found(tag),
            None => Search::Nobody,
        };
        self.vain += vain;
        search
    }

    /// Asserts that exactly those who take part are in the order, and that the totals are these.
    pub(super) fn assert_consistent(&self, totals: &Totals) {
        assert!(self.totals.is_same(totals), "{:?}, {totals:?}", self.totals);
        let places: BTreeSet<Place<N>> = self
            .clients
            .iter()
            .filter_map(|(seat, client)| client.place(seat))
            .collect();
        assert!(self.order.iter().eq(places.iter()), "the order is whole");
        for place in &places {
            let client = &self.clients[place.seat];
            let measured = client.held.share(&self.measured, client.weight);
            assert_eq!(place.measured, measured);
        }
    }

    /// Changes a client, and with it its place.
    fn change(&mut self, seat: Seat, change: impl FnOnce(&mut Client<N>)) {
        let client = &mut self.clients[seat];
        if let Some(place) = client.place(seat) {
            self.order.remove(&place);
        }
        change(client);
        if let Part::Present(share) = &mut client.part {
            *share = client.held.share(&self.measured, client.weight);
        }
        if let Some(place) = client.place(seat) {
            self.order.insert(place);
        }
    }

    /// Measures all shares against the totals of now.
    fn measure(&mut self) {
        self.vain = 0;
        self.measured.clone_from(&self.totals);
        let mut places = Vec::with_capacity(self.order.len());
        for place in std::mem::take(&mut self.order) {
            let client = &mut self.clients[place.seat];
            let measured = client.held.share(&self.measured, client.weight);
            client.part = Part::Present(measured);
            places.push(Place { measured, ..place });
        }
        self.order = places.into_iter().collect();
    }
}

impl<N: Clone> Client<N> {
    fn place(&self, seat: Seat) -> Option<Place<N>> {
        match self.part {
            Part::Absent => None,
            Part::Present(measured) => Some(Place {
                measured,
                allocations: self.allocations,
                name: self.name.clone(),
                seat,
                tag: self.tag,
            }),
        }
    }
}

impl<N: Ord> Place<N> {
    /// Compares the first rank that the client at this place can have with another.
    fn compare_after(&self, drift: Drift, rank: &Rank<'_, N>) -> Ordering {
        self.measured
            .compare_after(drift, &rank.share)
            .then_with(|| self.allocations.cmp(&rank.allocations))
            .then_with(|| self.name.cmp(rank.name))
    }
}

impl<N: Ord> Ord for Place<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.measured
            .cmp(&other.measured)
            .then_with(|| self.allocations.cmp(&other.allocations))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl<N: Ord> PartialOrd for Place<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: Ord> PartialEq for Place<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N: Ord> Eq for Place<N> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_resources::Resources;

    use super::super::scalars::ScalarNames;
    use super::*;

    /// Returns so much of three scalars; a small number of what can be, so that shares are often equal.
    fn amounts() -> impl Strategy<Value = Amounts> {
        prop::array::uniform3(prop::sample::select(vec![0_u64, 1, 1, 2, 3, 60])).prop_map(|parts| {
            let named = ["cpus", "mem", "disk"].into_iter().zip(parts);
            let text: Vec<String> = named
                .filter(|(_, part)| *part > 0)
                .map(|(name, part)| format!("{name}:{part}"))
                .collect();
            let resources: Resources = text.join(";").parse().expect("resources");
            let mut names = ScalarNames::new();
            names.admit(&resources).expect("three names");
            names.amounts(resources.scalars())
        })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Hold(prop::sample::Index, Amounts),
        Release(prop::sample::Index),
        Present(prop::sample::Index, bool),
        Weigh(prop::sample::Index, u32),
        Grow(Amounts),
        Ask(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = || any::<prop::sample::Index>();
        prop_oneof![
            4 => (index(), amounts()).prop_map(|(client, more)| Step::Hold(client, more)),
            2 => index().prop_map(Step::Release),
            1 => (index(), any::<bool>()).prop_map(|(client, to)| Step::Present(client, to)),
            1 => (index(), 1..4_u32).prop_map(|(client, weight)| Step::Weigh(client, weight)),
            2 => amounts().prop_map(Step::Grow),
            8 => (1..5_u32).prop_map(Step::Ask),
        ]
    }

    proptest! {
        /// Whatever happened to shares and totals, the first is the first of all when sorted.
        #[test]
        fn the_first_is_the_first_of_a_sorted_list(
            clients in 1..40_u32,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut sorter = Sorter::new();
            let seats: Vec<Seat> = (0..clients)
                .map(|tag| {
                    let seat = sorter.insert(tag, clients - tag, Weight::ONE);
                    sorter.set_present(seat, true);
                    seat
                })
                .collect();
            for step in steps {
                match step {
                    Step::Hold(client, more) => {
                        sorter.totals_mut().add(&more);
                        sorter.hold(*client.get(&seats), &more, 1);
                    }
                    Step::Release(client) => {
                        let held = sorter.held(*client.get(&seats)).clone();
                        sorter.totals_mut().subtract(&held);
                        sorter.release(*client.get(&seats), &held);
                    }
                    Step::Present(client, to) => sorter.set_present(*client.get(&seats), to),
                    Step::Weigh(client, weight) => {
                        let weight = Weight::from_thousandths(weight).expect("a weight");
                        sorter.set_weight(*client.get(&seats), weight);
                    }
                    Step::Grow(more) => sorter.totals_mut().add(&more),
                    Step::Ask(divisor) => {
                        let accepts = |tag: u32| tag.is_multiple_of(divisor);
                        let sorted = seats
                            .iter()
                            .zip(0..)
                            .filter(|(seat, tag)| accepts(*tag) && sorter.is_present(**seat))
                            .min_by_key(|(seat, _)| sorter.rank(**seat))
                            .map_or(Search::Nobody, |(_, tag)| Search::Found(tag));
                        prop_assert_eq!(sorter.first(usize::MAX, accepts), sorted);
                        let hasty = sorter.first(1, accepts);
                        prop_assert!(hasty == sorted || hasty == Search::GaveUp);
                    }
                }
                let totals = sorter.totals().clone();
                sorter.assert_consistent(&totals);
            }
        }
    }

    #[test]
    fn nothing_is_looked_at_in_vain_while_totals_grow_alike() {
        let mut names = ScalarNames::new();
        let unit: Resources = "cpus:1;mem:64".parse().expect("resources");
        names.admit(&unit).expect("two names");
        let unit = names.amounts(unit.scalars());
        let mut sorter = Sorter::new();
        for tag in 0..1_000 {
            let seat = sorter.insert(tag, tag, Weight::ONE);
            sorter.set_present(seat, true);
            sorter.totals_mut().add(&unit);
            sorter.hold(seat, &unit, 1);
        }
        sorter.measure();
        let mut asked = 0;
        for _ in 0..1_000 {
            let first = sorter.first(0, |_| {
                asked += 1;
                true
            });
            let Search::Found(first) = first else {
                panic!("all are there");
            };
            sorter.totals_mut().add(&unit);
            // Seats are given in the order of the tags.
            sorter.hold(first, &unit, 1);
        }
        assert_eq!((asked, sorter.vain), (1_000, 0));
    }
}
