//! Refusals: which frameworks do not want what one agent has, and until when.
//!
//! A framework that declines leaves a filter: it refuses the resources that it was offered, and any
//! part of them, of that agent and kind until a deadline. Should more become available than it
//! refused, it is asked again.
//!
//! With a thousand frameworks that all decline an agent has a thousand filters. Three things keep them
//! cheap:
//!
//! - Frameworks mostly refuse the same resources, so whether what is available is among them is asked
//!   once for each [set](Refusals::sets) of resources.
//! - The answer for all frameworks is kept as bits ([`View`]) for as long as the same is available.
//! - That a framework wants to be asked again (REVIVE) is one number at the framework. Its filters are
//!   older than that, and go when next someone looks.

use weir_resources::Resources;

use super::members::Members;

/// The most filters that one framework can have for one agent and kind.
///
/// A framework is asked again only when there is something that it did not refuse, so a second filter
/// needs other resources to be free. With more than a few of them the agent changes faster than the
/// filters lapse, and the oldest says nothing of what the framework wants.
pub(super) const FILTERS_MAX: usize = 8;

/// For how many amounts of what is available the answers are kept: what anyone may have and what a role
/// may have, with and without the other.
const VIEWS_MAX: usize = 4;

/// For how many resources back a set is looked for before it is written down once more.
const SETS_LOOKED_AT: usize = 8;

/// A point in time: nanoseconds since an origin that the caller chose.
pub(super) type Nanos = u64;

/// Numbers acts by which frameworks forget what they refused.
pub(super) type Era = u64;

/// Which frameworks refuse what of one kind on one agent.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    filters: Vec<Filter>,
    /// The resources that filters are about, some of them more than once.
    sets: Vec<Resources>,
    /// Whoever has a filter here.
    holders: Members,
    views: Vec<View>,
    /// When the first filter lapses.
    earliest: Option<Nanos>,
    /// Filters of frameworks that forgot until then are gone.
    settled: Era,
}

#[derive(Clone, Copy, Debug)]
struct Filter {
    deadline: Nanos,
    /// When it was made. It counts as long as its framework has not forgotten since.
    era: Era,
    framework: u32,
    /// The index of what it refuses.
    set: u32,
}

/// Who refuses a certain collection of resources.
#[derive(Clone, Debug)]
struct View {
    available: Resources,
    /// Whether it is part of what filters are about, by their indices.
    covered: Vec<bool>,
    refusers: Members,
}

impl Refusals {
    pub(super) const fn new() -> Self {
        Self {
            filters: Vec::new(),
            sets: Vec::new(),
            holders: Members::new(),
            views: Vec::new(),
            earliest: None,
            settled: 0,
        }
    }

    /// Returns when the first filter lapses.
    pub(super) fn earliest(&self) -> Option<Nanos> {
        self.earliest
    }

    /// Writes down that `framework` refuses `refused` until `deadline`, once [settled](Self::settle).
    ///
    /// A filter that refuses no more than this, and for no longer, is replaced.
    pub(super) fn add(&mut self, framework: u32, refused: &Resources, deadline: Nanos, era: Era) {
        if self.holders.contains(framework) && !self.make_room(framework, refused, deadline) {
            return;
        }
        let set = self.set_of(refused);
        self.filters.push(Filter {
            deadline,
            era,
            framework,
            set: u32::try_from(set).expect("sets are fewer than filters, which fit into memory"),
        });
        self.holders.insert(framework);
        for view in &mut self.views {
            if view.covered[set] {
                view.refusers.insert(framework);
            }
        }
        self.earliest = Some(
            self.earliest
                .map_or(deadline, |earliest| earliest.min(deadline)),
        );
    }

    /// Forgets the filters that have lapsed, and those that `is_forgotten` says their framework forgot.
    ///
    /// `era` is that of the last act of forgetting.
    pub(super) fn settle(&mut self, now: Nanos, era: Era, is_forgotten: impl Fn(u32, Era) -> bool) {
        let lapsed = self.earliest.is_some_and(|earliest| earliest <= now);
        if !lapsed && self.settled == era {
            return;
        }
        self.settled = era;
        let before = self.filters.len();
        self.filters
            .retain(|filter| filter.deadline > now && !is_forgotten(filter.framework, filter.era));
        if self.filters.len() != before {
            self.recount();
        }
    }

    /// Returns who refuses what is `available`; only of filters that were [settled](Self::settle).
    pub(super) fn refusers(&mut self, available: &Resources) -> &Members {
        let known = self
            .views
            .iter()
            .position(|view| view.available == *available);
        let index = known.unwrap_or_else(|| {
            self.views.truncate(VIEWS_MAX - 1);
            self.views
                .push(View::new(available.clone(), &self.sets, &self.filters));
            self.views.len() - 1
        });
        // The last is the one that was of no use for the longest time.
        self.views[..=index].rotate_right(1);
        &self.views[0].refusers
    }

    /// Makes room for one more filter, or returns that there is no need for it.
    fn make_room(&mut self, framework: u32, refused: &Resources, deadline: Nanos) -> bool {
        let own = |filter: &Filter| filter.framework == framework;
        let sets = &self.sets;
        let set = |filter: &Filter| &sets[filter.set as usize];
        if self.filters.iter().any(|filter| {
            own(filter) && filter.deadline >= deadline && set(filter).contains(refused)
        }) {
            return false;
        }
        let before = self.filters.len();
        let mut filters = std::mem::take(&mut self.filters);
        filters.retain(|filter| {
            !own(filter) || filter.deadline > deadline || !refused.contains(set(filter))
        });
        if filters.iter().filter(|filter| own(filter)).count() >= FILTERS_MAX {
            let first = (0..filters.len())
                .filter(|&index| own(&filters[index]))
                .min_by_key(|&index| filters[index].deadline);
            if let Some(first) = first {
                filters.swap_remove(first);
            }
        }
        self.filters = filters;
        if self.filters.len() != before {
            self.recount();
        }
        true
    }

    /// Finds out again what is known of the filters as a whole.
    fn recount(&mut self) {
        self.earliest = self.filters.iter().map(|filter| filter.deadline).min();
        self.holders.clear();
        let mut used = vec![false; self.sets.len()];
        for filter in &self.filters {
            self.holders.insert(filter.framework);
            used[filter.set as usize] = true;
        }
        if used.contains(&false) {
            self.drop_sets(&used);
        }
        for view in &mut self.views {
            view.refuse(&self.filters);
        }
    }

    fn drop_sets(&mut self, used: &[bool]) {
        let mut kept = 0_u32;
        let renumbered: Vec<u32> = used
            .iter()
            .map(|&is_used| {
                let number = kept;
                kept += u32::from(is_used);
                number
            })
            .collect();
        for filter in &mut self.filters {
            filter.set = renumbered[filter.set as usize];
        }
        keep(&mut self.sets, used);
        for view in &mut self.views {
            keep(&mut view.covered, used);
        }
    }

    /// Returns the index of a set that is equal to `refused`.
    fn set_of(&mut self, refused: &Resources) -> usize {
        let mut recent = self.sets.iter().enumerate().rev().take(SETS_LOOKED_AT);
        if let Some((index, _)) = recent.find(|(_, set)| *set == refused) {
            return index;
        }
        self.sets.push(refused.clone());
        for view in &mut self.views {
            view.covered.push(refused.contains(&view.available));
        }
        self.sets.len() - 1
    }
}

impl View {
    fn new(available: Resources, sets: &[Resources], filters: &[Filter]) -> Self {
        let mut view = Self {
            covered: sets.iter().map(|set| set.contains(&available)).collect(),
            available,
            refusers: Members::new(),
        };
        view.refuse(filters);
        view
    }

    /// Finds out again who refuses.
    fn refuse(&mut self, filters: &[Filter]) {
        self.refusers.clear();
        for filter in filters {
            if self.covered[filter.set as usize] {
                self.refusers.insert(filter.framework);
            }
        }
    }
}

/// Keeps the things that are used, in their order.
fn keep<T>(things: &mut Vec<T>, used: &[bool]) {
    let mut used = used.iter().copied();
    things.retain(|_| used.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Resources {
        text.parse().expect("resources")
    }

    #[test]
    fn of_too_many_filters_the_first_to_lapse_makes_room() {
        let mut refusals = Refusals::new();
        let sets: Vec<Resources> = (0..=FILTERS_MAX)
            .map(|number| resources(&format!("cpus:{};mem:{}", number + 1, 100 - number)))
            .collect();
        for (deadline, set) in (10..).zip(&sets) {
            refusals.add(7, set, deadline, 0);
            refusals.add(8, &sets[0], 5, 0);
        }
        assert!(!refusals.refusers(&sets[0]).contains(7));
        for set in &sets[1..] {
            assert!(refusals.refusers(set).contains(7));
        }
        assert!(
            refusals.refusers(&sets[0]).contains(8),
            "each has room of its own"
        );
        assert_eq!(refusals.earliest(), Some(5));
    }

    #[test]
    fn sets_and_answers_follow_filters_that_come_and_go() {
        let (one, two) = (resources("cpus:1"), resources("cpus:2"));
        let mut refusals = Refusals::new();
        refusals.add(1, &one, 10, 0);
        assert!(refusals.refusers(&one).contains(1));
        assert!(!refusals.refusers(&two).contains(1));
        refusals.add(2, &two, 20, 0);
        assert!(refusals.refusers(&one).contains(2) && refusals.refusers(&two).contains(2));
        refusals.settle(10, 0, |_, _| false);
        assert!(!refusals.refusers(&one).contains(1));
        assert!(refusals.refusers(&two).contains(2));
        assert_eq!((refusals.sets.len(), refusals.earliest()), (1, Some(20)));
        // It forgets, and refuses less.
        refusals.settle(11, 1, |framework, era| framework == 2 && era < 1);
        refusals.add(2, &one, 30, 1);
        assert!(refusals.refusers(&one).contains(2));
        assert!(!refusals.refusers(&two).contains(2));
    }
}
