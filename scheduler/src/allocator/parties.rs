//! The parties: frameworks and their roles, what they hold, and whose turn it is.
//!
//! Two levels. Roles are in the order of what they hold of unreserved resources against what the
//! cluster has, divided by their weights; the frameworks of a role in the order of all that they hold
//! against all that the role holds. Only frameworks that take part are in the order: those that are
//! connected and have not said that they want nothing.

use std::collections::{BTreeMap, HashMap};

use weir_protocol::FrameworkId;
use weir_resources::{Kind, Role};

use super::kinds::{KINDS, Kinds, PerKind};
use super::lot::Lot;
use super::members::Members;
use super::parcel::Parcel;
use super::refusals::Era;
use super::scalars::{Amounts, Totals};
use super::slab::Slab;
use super::sorter::{Rank, Search, Seat, Sorter};
use super::weight::Weight;

/// So few candidates are compared without a look at the order first.
const FEW: usize = 32;

/// Frameworks and roles.
#[derive(Clone, Debug)]
pub(super) struct Parties {
    frameworks: Slab<Framework>,
    numbers: HashMap<FrameworkId, u32>,
    roles: Slab<RoleParty>,
    role_numbers: HashMap<Role, u32>,
    weights: BTreeMap<Role, Weight>,
    /// Roles, against what the cluster has.
    order: Sorter<Role>,
    /// The frameworks that take part and may be offered resources of a kind.
    wanting: PerKind<Members>,
    era: Era,
}

/// What is known of a framework.
#[derive(Clone, Debug)]
struct Framework {
    id: FrameworkId,
    /// All that it holds.
    held: Amounts,
    /// The part of `held` that is kept for nobody.
    unreserved: Amounts,
    /// In how many lots it holds something.
    lots: usize,
    /// Filters that are older than this it has forgotten.
    forgot: Era,
    membership: Membership,
}

/// Whether a framework belongs to a role.
#[derive(Clone, Debug)]
enum Membership {
    /// It holds something and is not known, or no longer.
    Stranger,
    Member {
        role: u32,
        /// In the sorter of the role.
        seat: Seat,
        kinds: Kinds,
        standing: Standing,
    },
}

/// What a framework has to do with offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It gets them.
    Active,
    /// It is there, and wants none.
    Suppressed,
    /// It is not there.
    Inactive,
}

/// A role that has frameworks.
#[derive(Clone, Debug)]
struct RoleParty {
    role: Role,
    /// In the order of roles.
    seat: Seat,
    /// Its frameworks, against what all of them hold.
    sorter: Sorter<FrameworkId>,
    /// Those of them that take part.
    present: Members,
    /// How many frameworks it has.
    frameworks: usize,
}

impl Parties {
    pub(super) fn new() -> Self {
        Self {
            frameworks: Slab::new(),
            numbers: HashMap::new(),
            roles: Slab::new(),
            role_numbers: HashMap::new(),
            weights: BTreeMap::new(),
            order: Sorter::new(),
            wanting: PerKind::default(),
            era: 0,
        }
    }

    /// Returns the number of a framework that is a member of a role.
    pub(super) fn member(&self, id: FrameworkId) -> Option<u32> {
        let number = self.number(id)?;
        match self.frameworks[number].membership {
            Membership::Member { .. } => Some(number),
            Membership::Stranger => None,
        }
    }

    /// Returns the number of a framework that is a member, or holds something.
    pub(super) fn number(&self, id: FrameworkId) -> Option<u32> {
        self.numbers.get(&id).copied()
    }

    /// Returns the number of a framework, known or not.
    pub(super) fn number_or_stranger(&mut self, id: FrameworkId) -> u32 {
        if let Some(number) = self.number(id) {
            return number;
        }
        let number = self.frameworks.insert(Framework {
            id,
            held: Amounts::default(),
            unreserved: Amounts::default(),
            lots: 0,
            // Whoever had the number before forgot its filters when it was removed, and that is past.
            forgot: self.era,
            membership: Membership::Stranger,
        });
        self.numbers.insert(id, number);
        number
    }

    pub(super) fn id(&self, framework: u32) -> FrameworkId {
        self.frameworks[framework].id
    }

    /// Makes a framework a member of a role, that holds what it held before.
    pub(super) fn join(&mut self, framework: u32, role: &Role, kinds: Kinds, standing: Standing) {
        self.leave(framework);
        let number = self.role_or_new(role);
        let party = &mut self.roles[number];
        party.frameworks += 1;
        let member = &mut self.frameworks[framework];
        let seat = party.sorter.insert(framework, member.id, Weight::ONE);
        party.sorter.totals_mut().add(&member.held);
        // As in Mesos, what a framework has already is one allocation on each agent.
        let allocations = u64::try_from(member.lots).unwrap_or(u64::MAX);
        party.sorter.hold(seat, &member.held, allocations);
        self.order.hold(party.seat, &member.unreserved, allocations);
        member.membership = Membership::Member {
            role: number,
            seat,
            kinds,
            standing: Standing::Inactive,
        };
        self.set_standing(framework, standing);
    }

    /// Takes a framework out of its role, if it has one. It goes on to hold what it holds.
    pub(super) fn leave(&mut self, framework: u32) {
        self.set_standing(framework, Standing::Inactive);
        let member = &mut self.frameworks[framework];
        let Membership::Member { role, seat, .. } = member.membership else {
            return;
        };
        member.membership = Membership::Stranger;
        let party = &mut self.roles[role];
        party.sorter.remove(seat);
        party.sorter.totals_mut().subtract(&member.held);
        party.frameworks -= 1;
        self.order.release(party.seat, &member.unreserved);
        if party.frameworks == 0 {
            let party_seat = party.seat;
            self.order.remove(party_seat);
            if let Some(party) = self.roles.remove(role) {
                self.role_numbers.remove(&party.role);
            }
        }
    }

    /// Forgets a framework that is no member and holds nothing.
    pub(super) fn drop_if_gone(&mut self, framework: u32) {
        let is_gone = match self.frameworks[framework].membership {
            Membership::Member { .. } => false,
            Membership::Stranger => self.frameworks[framework].lots == 0,
        };
        if is_gone && let Some(framework) = self.frameworks.remove(framework) {
            self.numbers.remove(&framework.id);
        }
    }

    /// Returns what a member has to do with offers.
    pub(super) fn standing(&self, framework: u32) -> Option<Standing> {
        match self.frameworks[framework].membership {
            Membership::Stranger => None,
            Membership::Member { standing, .. } => Some(standing),
        }
    }

    /// Changes what a member has to do with offers; of others nothing is to be changed.
    pub(super) fn set_standing(&mut self, framework: u32, to: Standing) {
        let Membership::Member {
            role,
            seat,
            kinds,
            standing,
        } = &mut self.frameworks[framework].membership
        else {
            return;
        };
        *standing = to;
        let is_present = match to {
            Standing::Active => true,
            Standing::Suppressed | Standing::Inactive => false,
        };
        let (role, seat, kinds) = (*role, *seat, *kinds);
        for kind in KINDS {
            let wants = is_present && kinds.include(kind);
            self.wanting[kind].set(framework, wants);
        }
        let party = &mut self.roles[role];
        party.sorter.set_present(seat, is_present);
        party.present.set(framework, is_present);
        let is_role_present = !party.present.is_empty();
        self.order.set_present(party.seat, is_role_present);
    }

    /// Changes which kinds a member may be offered.
    pub(super) fn set_kinds(&mut self, framework: u32, to: Kinds) {
        if let Membership::Member {
            kinds, standing, ..
        } = &mut self.frameworks[framework].membership
        {
            *kinds = to;
            let standing = *standing;
            self.set_standing(framework, standing);
        }
    }

    /// Has a framework forget all that it refused.
    pub(super) fn forget(&mut self, framework: u32) {
        self.era += 1;
        self.frameworks[framework].forgot = self.era;
    }

    /// Returns the number of the last act of forgetting.
    pub(super) fn era(&self) -> Era {
        self.era
    }

    /// Returns whether a framework has forgotten what it refused in an era.
    pub(super) fn has_forgotten(&self, framework: u32, era: Era) -> bool {
        self.frameworks
            .get(framework)
            .is_none_or(|framework| era < framework.forgot)
    }

    pub(super) fn set_weight(&mut self, role: &Role, weight: Weight) {
        if weight == Weight::ONE {
            self.weights.remove(role);
        } else {
            self.weights.insert(role.clone(), weight);
        }
        if let Some(number) = self.role_numbers.get(role) {
            self.order.set_weight(self.roles[*number].seat, weight);
        }
    }

    pub(super) fn weight(&self, role: &Role) -> Weight {
        self.weights.get(role).copied().unwrap_or_default()
    }

    /// Returns what the cluster has.
    pub(super) fn cluster(&self) -> &Totals {
        self.order.totals()
    }

    /// Returns what the cluster has, to be changed.
    pub(super) fn cluster_mut(&mut self) -> &mut Totals {
        self.order.totals_mut()
    }

    /// Writes down that a framework holds something more, in one lot.
    pub(super) fn hold(&mut self, framework: u32, parcel: &Parcel, allocations: u64) {
        let holder = &mut self.frameworks[framework];
        holder.held.add(parcel.amounts());
        holder.unreserved.add(parcel.unreserved_amounts());
        if let Membership::Member { role, seat, .. } = holder.membership {
            let party = &mut self.roles[role];
            party.sorter.totals_mut().add(parcel.amounts());
            party.sorter.hold(seat, parcel.amounts(), allocations);
            self.order
                .hold(party.seat, parcel.unreserved_amounts(), allocations);
        }
    }

    /// Writes down that a framework holds something no longer.
    pub(super) fn release(&mut self, framework: u32, parcel: &Parcel) {
        let holder = &mut self.frameworks[framework];
        holder.held.subtract(parcel.amounts());
        holder.unreserved.subtract(parcel.unreserved_amounts());
        if let Membership::Member { role, seat, .. } = holder.membership {
            let party = &mut self.roles[role];
            party.sorter.totals_mut().subtract(parcel.amounts());
            party.sorter.release(seat, parcel.amounts());
            self.order.release(party.seat, parcel.unreserved_amounts());
        }
    }

    /// Writes down in how many lots a framework holds something.
    pub(super) fn count_lots(&mut self, framework: u32, change: impl FnOnce(usize) -> usize) {
        let lots = &mut self.frameworks[framework].lots;
        *lots = change(*lots);
    }

    /// Returns the frameworks that take part and may be offered resources of a kind.
    pub(super) fn wanting(&self, kind: Kind) -> &Members {
        &self.wanting[kind]
    }

    /// Returns the frameworks of a role that take part, or `None` if it has no frameworks.
    pub(super) fn present_in(&self, role: &Role) -> Option<&Members> {
        let number = self.role_numbers.get(role)?;
        Some(&self.roles[*number].present)
    }

    /// Returns the role of a member.
    pub(super) fn role(&self, framework: u32) -> Option<&Role> {
        self.party(framework).map(|party| &party.role)
    }

    /// Returns whose turn it is among the candidates, all of whom take part.
    ///
    /// The order is walked through until a candidate is met. That is soon if many are candidates, and
    /// if few are, comparing these few is faster; and so it is if all that are met first are none, as
    /// those are who hold nothing because they refuse everything.
    pub(super) fn first(&mut self, candidates: &Members) -> Option<u32> {
        let role = self.first_role(candidates)?;
        let party = &mut self.roles[role];
        let count = party.present.count_shared(candidates);
        if count > FEW {
            let search = party
                .sorter
                .first(count, |framework| candidates.contains(framework));
            match search {
                Search::Found(framework) => return Some(framework),
                Search::Nobody => return None,
                Search::GaveUp => {}
            }
        }
        let party = &self.roles[role];
        party
            .present
            .iter_shared(candidates)
            .min_by_key(|framework| self.rank(*framework))
    }

    /// Returns the first of the roles of the candidates.
    fn first_role(&mut self, candidates: &Members) -> Option<u32> {
        let count = candidates.count();
        if count > FEW {
            let roles = &self.roles;
            let search = self
                .order
                .first(count, |role| roles[role].present.meets(candidates));
            match search {
                Search::Found(role) => return Some(role),
                Search::Nobody => return None,
                Search::GaveUp => {}
            }
        }
        candidates
            .iter()
            .filter_map(|candidate| match self.frameworks[candidate].membership {
                Membership::Member { role, .. } => Some(role),
                Membership::Stranger => None,
            })
            // Most are of the same few roles.
            .reduce(|first, role| {
                if role != first && self.role_rank(role) < self.role_rank(first) {
                    role
                } else {
                    first
                }
            })
    }

    fn role_rank(&self, role: u32) -> Rank<'_, Role> {
        self.order.rank(self.roles[role].seat)
    }

    /// Returns how a framework compares to others of its role.
    fn rank(&self, framework: u32) -> Option<Rank<'_, FrameworkId>> {
        match self.frameworks[framework].membership {
            Membership::Stranger => None,
            Membership::Member { role, seat, .. } => Some(self.roles[role].sorter.rank(seat)),
        }
    }

    fn party(&self, framework: u32) -> Option<&RoleParty> {
        match self.frameworks[framework].membership {
            Membership::Stranger => None,
            Membership::Member { role, .. } => Some(&self.roles[role]),
        }
    }

    fn role_or_new(&mut self, role: &Role) -> u32 {
        if let Some(number) = self.role_numbers.get(role) {
            return *number;
        }
        let weight = self.weight(role);
        let number = self.roles.insert(RoleParty {
            role: role.clone(),
            seat: Seat::MAX,
            sorter: Sorter::new(),
            present: Members::new(),
            frameworks: 0,
        });
        let seat = self.order.insert(number, role.clone(), weight);
        self.roles[number].seat = seat;
        self.role_numbers.insert(role.clone(), number);
        number
    }
}

/// What lots say of the parties, added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    /// What each framework holds, the part that is kept for nobody, and in how many lots.
    holdings: BTreeMap<u32, (Amounts, Amounts, usize)>,
    counted: Totals,
}

impl Census {
    pub(super) fn add_lot(&mut self, lot: &Lot) {
        self.counted.add(lot.counted());
        for (framework, parcel) in lot.held() {
            let (held, unreserved, lots) = self.holdings.entry(framework).or_default();
            held.add(parcel.amounts());
            unreserved.add(parcel.unreserved_amounts());
            *lots += 1;
        }
    }
}

impl Parties {
    /// Asserts that what is written down here is what lots say, and in order.
    pub(super) fn assert_consistent(&self, census: &Census) {
        self.order.assert_consistent(&census.counted);
        let mut by_role: BTreeMap<u32, (Totals, Amounts, usize, Members)> = BTreeMap::new();
        for (number, framework) in self.frameworks.iter() {
            assert_eq!(self.number(framework.id), Some(number));
            let known = (
                framework.held.clone(),
                framework.unreserved.clone(),
                framework.lots,
            );
            let counted = census.holdings.get(&number).cloned().unwrap_or_default();
            assert_eq!(known, counted, "framework {}", framework.id);
            let Membership::Member {
                role,
                seat,
                kinds,
                standing,
            } = framework.membership
            else {
                assert!(framework.lots > 0, "a stranger holds something");
                continue;
            };
            let is_present = standing == Standing::Active;
            for kind in KINDS {
                let wants = is_present && kinds.include(kind);
                assert_eq!(self.wanting[kind].contains(number), wants);
            }
            let sorter = &self.roles[role].sorter;
            assert_eq!(sorter.held(seat), &framework.held);
            assert_eq!(sorter.is_present(seat), is_present);
            let (totals, unreserved, frameworks, present) = by_role.entry(role).or_default();
            totals.add(&framework.held);
            unreserved.add(&framework.unreserved);
            *frameworks += 1;
            present.set(number, is_present);
        }
        assert_eq!(census.holdings.len(), self.holders());
        assert_eq!(self.numbers.len(), self.frameworks.iter().count());
        for (number, party) in self.roles.iter() {
            assert_eq!(self.role_numbers.get(&party.role), Some(&number));
            let (totals, unreserved, frameworks, present) =
                by_role.remove(&number).expect("a role has frameworks");
            party.sorter.assert_consistent(&totals);
            assert_eq!(self.order.held(party.seat), &unreserved);
            assert_eq!(self.order.is_present(party.seat), !present.is_empty());
            assert_eq!(party.frameworks, frameworks);
            assert!(party.present.iter().eq(present.iter()));
        }
        assert_eq!(self.role_numbers.len(), self.roles.iter().count());
    }

    fn holders(&self) -> usize {
        let frameworks = self.frameworks.iter();
        frameworks
            .filter(|(_, framework)| framework.lots > 0)
            .count()
    }
}
