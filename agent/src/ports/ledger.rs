//! Who owns which ports now, and what a request would get.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use weir_resources::{PortRange, PortSet};

use super::grant::{Change, Grant, LedgerError};
use super::pools::{Pools, unprivileged};
use super::quarantine::{Freed, Quarantine, UnixMs};
use super::refusal::{BlockCensus, PortCensus, Refusal};
use super::request::{Assigned, Ephemeral, PortRequest};

/// Who owns which ports, and which rest between two owners.
///
/// `O` is how a container is called; it is shown as it prints. Invariants, which `laws` holds under
/// random histories: no port has two owners, and none is owned and in quarantine.
#[derive(Clone, Debug)]
pub struct Ledger<O> {
    pools: Pools,
    grants: BTreeMap<O, Grant>,
    quarantine: Quarantine,
}

impl<O: Clone + Ord + fmt::Display> Ledger<O> {
    /// Returns a ledger in which nothing is owned.
    pub fn new(pools: Pools, quarantine: Duration) -> Self {
        Self {
            pools,
            grants: BTreeMap::new(),
            quarantine: Quarantine::new(quarantine),
        }
    }

    /// Lets ports rest that were freed before the agent was started.
    ///
    /// What containers own is told with [`Self::take`], before or after this.
    pub fn restore_quarantine(&mut self, freed: impl IntoIterator<Item = Freed>, now: UnixMs) {
        let owned = self.owned();
        for Freed { ports, released_at } in freed {
            let ports = ports.subtract(&owned);
            self.quarantine.add(ports, released_at);
        }
        self.quarantine.settle(now);
    }

    /// Returns the ports that rest, to be stored.
    pub fn quarantine(&mut self, now: UnixMs) -> &[Freed] {
        self.quarantine.settle(now);
        self.quarantine.freed()
    }

    /// Returns how long a freed port rests.
    pub fn quarantine_period(&self) -> Duration {
        self.quarantine.period()
    }

    /// Returns the pools that plans are made from.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Returns every container's ports.
    pub fn grants(&self) -> impl Iterator<Item = (&O, &Grant)> {
        self.grants.iter()
    }

    /// Returns the ports of one container.
    pub fn grant(&self, owner: &O) -> Option<&Grant> {
        self.grants.get(owner)
    }

    /// Returns the container that owns `port`.
    pub fn owner_of(&self, port: u16) -> Option<&O> {
        self.grants
            .iter()
            .find(|(_, grant)| {
                grant.ports.contains(port)
                    || grant.ephemeral.is_some_and(|block| block.contains(port))
            })
            .map(|(owner, _)| owner)
    }

    /// Returns every port that some container owns.
    pub fn owned(&self) -> PortSet {
        self.grants
            .values()
            .flat_map(|grant| grant.ports.ranges().iter().copied().chain(grant.ephemeral))
            .collect()
    }

    /// Returns what a new container gets, or why it gets nothing.
    ///
    /// `in_use` is what processes of the node have open, whether they listen or are connected. The
    /// only thing that changes is that quarantine which is over is forgotten: nothing is owned
    /// before [`Self::take`].
    pub fn plan(
        &mut self,
        request: &PortRequest,
        in_use: &PortSet,
        now: UnixMs,
    ) -> Result<Grant, Refusal> {
        let ports = self.plan_assigned(&request.assigned, &PortSet::new(), in_use, now)?;
        let ephemeral = match request.ephemeral {
            Ephemeral::Block => Some(self.plan_block(in_use, now)?),
            Ephemeral::None => None,
        };
        Ok(Grant { ports, ephemeral })
    }

    /// Returns what becomes of the assigned ports of a running container, or why nothing may.
    ///
    /// A count is how many it has afterwards: it keeps its lowest ports and gains or loses others.
    /// What it has already is never refused, though the node sees it in use.
    pub fn plan_update(
        &mut self,
        owner: &O,
        assigned: &Assigned,
        in_use: &PortSet,
        now: UnixMs,
    ) -> Result<Change, Refusal> {
        let held = match self.grants.get(owner) {
            Some(grant) => grant.ports.clone(),
            None => {
                return Err(Refusal::Unknown {
                    owner: owner.to_string(),
                });
            }
        };
        let ports = self.plan_assigned(assigned, &held, in_use, now)?;
        Ok(Change {
            added: ports.subtract(&held),
            removed: held.subtract(&ports),
            ports,
        })
    }

    /// Writes down that `owner` has what a plan, or the store after a restart, says it has.
    ///
    /// Only ownership is checked: a container that was granted its ports under an older
    /// configuration keeps them, whatever the pools are now.
    pub fn take(&mut self, owner: O, grant: Grant) -> Result<(), LedgerError> {
        if let Some(held) = self.grants.get(&owner) {
            return Err(LedgerError::AlreadyOwns {
                owner: owner.to_string(),
                ports: held.all(),
            });
        }
        let all = grant.all();
        self.refuse_taken(&owner, &all)?;
        self.quarantine.remove(&all);
        self.grants.insert(owner, grant);
        Ok(())
    }

    /// Writes down a planned change; what the container loses rests from `now`.
    pub fn replace(&mut self, owner: &O, change: &Change, now: UnixMs) -> Result<(), LedgerError> {
        self.refuse_taken(owner, &change.ports)?;
        let Some(grant) = self.grants.get_mut(owner) else {
            return Err(LedgerError::Unknown {
                owner: owner.to_string(),
            });
        };
        let removed = grant.ports.subtract(&change.ports);
        grant.ports = change.ports.clone();
        self.quarantine.remove(&change.ports);
        self.quarantine.add(removed, now);
        Ok(())
    }

    /// Frees everything of a container that has run; it rests from `now`.
    ///
    /// Returns what it had, or `None` if it had nothing.
    pub fn release(&mut self, owner: &O, now: UnixMs) -> Option<Grant> {
        let grant = self.grants.remove(owner)?;
        self.quarantine.add(grant.all(), now);
        Some(grant)
    }

    /// Frees everything of a container of which nothing ever ran.
    ///
    /// No packet left from its ports, so they need no rest, and a launch that fails again and again
    /// does not empty the pool.
    pub fn give_back(&mut self, owner: &O) -> Option<Grant> {
        self.grants.remove(owner)
    }

    fn plan_assigned(
        &mut self,
        assigned: &Assigned,
        held: &PortSet,
        in_use: &PortSet,
        now: UnixMs,
    ) -> Result<PortSet, Refusal> {
        self.quarantine.settle(now);
        match assigned {
            Assigned::None => Ok(PortSet::new()),
            Assigned::Explicit(ports) => {
                self.refuse_unavailable(&ports.subtract(held), in_use, now)?;
                Ok(ports.clone())
            }
            Assigned::Count(count) => {
                let count = u32::from(count.get());
                match count.checked_sub(held.count()) {
                    Some(0) | None => Ok(lowest(held, count)),
                    Some(more) => Ok(held.union(&self.choose(more, held.count(), in_use)?)),
                }
            }
        }
    }

    /// Refuses the first kind of trouble that a user can do something about, the lasting ones first.
    fn refuse_unavailable(
        &self,
        ports: &PortSet,
        in_use: &PortSet,
        now: UnixMs,
    ) -> Result<(), Refusal> {
        let outside = ports.subtract(self.pools.assigned());
        if !outside.is_empty() {
            return Err(Refusal::OutsidePool {
                ports: outside,
                pool: self.pools.assigned().clone(),
            });
        }
        if let Some((owner, ports)) = self.holder(ports) {
            return Err(Refusal::Owned {
                ports,
                owner: owner.to_string(),
            });
        }
        let used = ports.intersect(in_use);
        if !used.is_empty() {
            return Err(Refusal::InUse { ports: used });
        }
        match self.quarantine.longest(ports, now) {
            Some(resting) => Err(Refusal::Quarantined {
                ports: resting.ports,
                freed_ago: resting.since,
                free_in: resting.remaining,
            }),
            None => Ok(()),
        }
    }

    /// Chooses `count` free ports: the shortest run that is long enough, for ranges are easier to
    /// write into a firewall than lists; else the lowest.
    ///
    /// They come beside `held` others, which counts only in what is said of a refusal.
    fn choose(&self, count: u32, held: u32, in_use: &PortSet) -> Result<PortSet, Refusal> {
        let pool = self.pools.assigned().intersect(&unprivileged());
        let owned = self.owned();
        let resting = self.quarantine.ports();
        let free = pool.subtract(&owned).subtract(in_use).subtract(&resting);
        if free.count() < count {
            let not_owned = pool.subtract(&owned);
            return Err(Refusal::TooFew {
                asked: u16::try_from(count + held).unwrap_or(u16::MAX),
                held,
                census: PortCensus {
                    holds: pool.count(),
                    taken: pool.count() - not_owned.count(),
                    in_use: not_owned.intersect(in_use).count(),
                    quarantined: not_owned.subtract(in_use).intersect(&resting).count(),
                    free: free.count(),
                    pool,
                },
            });
        }
        let run = free
            .ranges()
            .iter()
            .filter(|range| range.count() >= count)
            .min_by_key(|range| range.count());
        Ok(match run {
            Some(run) => lowest(&PortSet::from(*run), count),
            None => lowest(&free, count),
        })
    }

    /// Chooses the highest block of which every port is free.
    fn plan_block(&mut self, in_use: &PortSet, now: UnixMs) -> Result<PortRange, Refusal> {
        self.quarantine.settle(now);
        let owned = self.owned();
        let resting = self.quarantine.ports();
        let mut census = BlockCensus {
            pool: self.pools.ephemeral().clone(),
            block: self.pools.block().ports(),
            holds: 0,
            taken: 0,
            in_use: 0,
            quarantined: 0,
            free_in: None,
        };
        for block in self.pools.blocks() {
            census.holds += 1;
            if !owned.is_disjoint_from_range(block) {
                census.taken += 1;
            } else if !in_use.is_disjoint_from_range(block) {
                census.in_use += 1;
            } else if !resting.is_disjoint_from_range(block) {
                census.quarantined += 1;
                let free_in = self.quarantine.free_in(block, now);
                census.free_in = Some(census.free_in.map_or(free_in, |least| least.min(free_in)));
            } else {
                return Ok(block);
            }
        }
        Err(Refusal::NoBlock(census))
    }

    /// Returns a container that owns some of `ports`, and which.
    fn holder(&self, ports: &PortSet) -> Option<(&O, PortSet)> {
        self.grants.iter().find_map(|(owner, grant)| {
            let common = grant.all().intersect(ports);
            (!common.is_empty()).then_some((owner, common))
        })
    }

    fn refuse_taken(&self, owner: &O, ports: &PortSet) -> Result<(), LedgerError> {
        for (holder, grant) in &self.grants {
            // Its own block is another's to an update, too: the port would be counted twice.
            let held = if holder == owner {
                grant.ephemeral.into_iter().collect()
            } else {
                grant.all()
            };
            let common = held.intersect(ports);
            if !common.is_empty() {
                return Err(LedgerError::Taken {
                    owner: owner.to_string(),
                    ports: common,
                    holder: holder.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// Returns the `count` lowest of `ports`, or all if there are fewer.
fn lowest(ports: &PortSet, count: u32) -> PortSet {
    let mut wanted = count;
    let mut ranges = Vec::new();
    for range in ports.ranges() {
        let Some(last_wanted) = wanted.checked_sub(1) else {
            break;
        };
        let last = u32::from(range.first())
            .saturating_add(last_wanted)
            .min(u32::from(range.last()));
        // Not above the range's own last port, so it fits.
        let last = u16::try_from(last).unwrap_or(u16::MAX);
        if let Ok(part) = PortRange::new(range.first(), last) {
            wanted -= part.count();
            ranges.push(part);
        }
    }
    ranges.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::super::pools::BlockSize;
    use super::super::quarantine::QUARANTINE;
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    fn ledger(assigned: &str, ephemeral: &str) -> Ledger<&'static str> {
        let block = BlockSize::new(1024).unwrap();
        let pools = Pools::new(ports(assigned), ports(ephemeral), block).unwrap();
        Ledger::new(pools, QUARANTINE)
    }

    fn explicit(text: &str) -> PortRequest {
        PortRequest {
            assigned: Assigned::Explicit(ports(text)),
            ephemeral: Ephemeral::Block,
        }
    }

    fn count(ports: u16) -> PortRequest {
        PortRequest {
            assigned: Assigned::Count(NonZeroU16::new(ports).unwrap()),
            ephemeral: Ephemeral::None,
        }
    }

    fn start(ledger: &mut Ledger<&'static str>, owner: &'static str, request: &PortRequest) {
        let grant = ledger.plan(request, &PortSet::new(), NOW).unwrap();
        ledger.take(owner, grant).unwrap();
    }

    fn refusal(ledger: &mut Ledger<&'static str>, request: &PortRequest, at: UnixMs) -> String {
        ledger
            .plan(request, &PortSet::new(), at)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_container_gets_its_ports_and_the_highest_block() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        start(&mut ledger, "web", &explicit("31000-31009,31500"));
        let grant = ledger.grant(&"web").unwrap();
        assert_eq!(grant.ports, ports("31000-31009,31500"));
        assert_eq!(grant.ephemeral.unwrap().to_string(), "64512-65535");
        assert_eq!(ledger.owner_of(31500), Some(&"web"));
        assert_eq!(ledger.owner_of(65535), Some(&"web"));
        assert_eq!(ledger.owner_of(31501), None);
    }

    #[test]
    fn privileged_ports_are_given_by_number_and_never_by_count() {
        let mut ledger = ledger("80,443,31000-31001", "61440-65535");
        start(&mut ledger, "web", &explicit("80"));
        assert_eq!(
            refusal(&mut ledger, &count(3), NOW),
            "asked for 3 ports, 2 are free: the agent's 31000-31001 hold 2, 0 taken; \
             ask for fewer, end a container, or widen `container_ports`"
        );
    }

    #[test]
    fn a_count_gets_the_shortest_run_that_is_long_enough() {
        let mut ledger = ledger("31000-31999,32100-32104,32200-32209", "61440-65535");
        start(&mut ledger, "a", &count(5));
        assert_eq!(ledger.grant(&"a").unwrap().ports, ports("32100-32104"));
        start(&mut ledger, "b", &count(5));
        assert_eq!(ledger.grant(&"b").unwrap().ports, ports("32200-32204"));
        start(&mut ledger, "c", &count(1003));
        assert_eq!(
            ledger.grant(&"c").unwrap().ports,
            ports("31000-31999,32205-32207")
        );
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_the_reason() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        start(&mut ledger, "web", &explicit("31000-31009"));
        assert_eq!(
            refusal(&mut ledger, &explicit("31005-31015"), NOW),
            "ports 31005-31009 are owned by container web; ask for others, or end it"
        );
        assert_eq!(
            refusal(&mut ledger, &explicit("30999"), NOW),
            "port 30999 is outside the agent's 31000-31999; ask for ports within it, \
             or widen `container_ports`"
        );
        assert_eq!(
            ledger.plan(&explicit("31100"), &ports("31100"), NOW),
            Err(Refusal::InUse {
                ports: ports("31100")
            })
        );
        ledger.release(&"web", NOW).unwrap();
        assert_eq!(
            refusal(
                &mut ledger,
                &explicit("31005-31015"),
                UnixMs(NOW.0 + 12_400)
            ),
            "ports 31005-31009 were freed 12 s ago, free again in 48 s; ask for others, or wait"
        );
        let later = UnixMs(NOW.0 + 60_000);
        assert!(
            ledger
                .plan(&explicit("31005-31015"), &PortSet::new(), later)
                .is_ok()
        );
    }

    #[test]
    fn blocks_run_out_with_the_numbers_named() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        for owner in ["a", "b", "c"] {
            start(&mut ledger, owner, &explicit(""));
        }
        ledger.release(&"a", NOW).unwrap();
        assert_eq!(
            ledger
                .plan(&explicit(""), &ports("61440"), UnixMs(NOW.0 + 1))
                .unwrap_err()
                .to_string(),
            "no ephemeral block is free: the pool 61440-65535 holds 4 blocks of 1024: 2 \
             taken, 1 with a port in use on the node, 1 freed a moment ago (the first is free \
             again in 60 s); end a container, widen `ephemeral_ports` or lower `ephemeral_block`"
        );
    }

    #[test]
    fn a_block_with_a_port_in_use_is_skipped() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        let grant = ledger.plan(&explicit(""), &ports("65535"), NOW).unwrap();
        assert_eq!(grant.ephemeral.unwrap().to_string(), "63488-64511");
    }

    #[test]
    fn an_update_frees_what_it_takes_away_and_keeps_the_rest() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        start(&mut ledger, "web", &explicit("31000-31009"));
        let wanted = Assigned::Explicit(ports("31005-31014"));
        // The node of a container without a namespace sees its ports in use.
        let change = ledger
            .plan_update(&"web", &wanted, &ports("31005"), NOW)
            .unwrap();
        assert_eq!(change.added, ports("31010-31014"));
        assert_eq!(change.removed, ports("31000-31004"));
        ledger.replace(&"web", &change, NOW).unwrap();
        assert_eq!(ledger.grant(&"web").unwrap().ports, ports("31005-31014"));
        assert_eq!(ledger.quarantine(NOW)[0].ports, ports("31000-31004"));
    }

    #[test]
    fn an_update_to_a_count_keeps_the_lowest_ports() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        start(&mut ledger, "web", &explicit("31000,31010,31020"));
        let mut ports_after = |wanted: u16| {
            let assigned = Assigned::Count(NonZeroU16::new(wanted).unwrap());
            let plan = ledger.plan_update(&"web", &assigned, &PortSet::new(), NOW);
            plan.unwrap().ports.to_string()
        };
        assert_eq!(ports_after(2), "31000,31010");
        assert_eq!(ports_after(3), "31000,31010,31020");
        assert_eq!(ports_after(5), "31000-31002,31010,31020");
    }

    #[test]
    fn what_never_ran_needs_no_rest() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        start(&mut ledger, "web", &explicit("31000"));
        ledger.give_back(&"web").unwrap();
        start(&mut ledger, "again", &explicit("31000"));
    }

    #[test]
    fn the_quarantine_survives_a_restart() {
        let mut before = ledger("31000-31999", "61440-65535");
        start(&mut before, "web", &explicit("31000"));
        before.release(&"web", NOW).unwrap();
        let stored = serde_json::to_string(before.quarantine(NOW)).unwrap();
        assert_eq!(
            stored,
            r#"[{"ports":"31000,64512-65535","released_at":1700000000000}]"#
        );

        let mut after = ledger("31000-31999", "61440-65535");
        let restored: Vec<Freed> = serde_json::from_str(&stored).unwrap();
        let restart = UnixMs(NOW.0 + 30_000);
        after.restore_quarantine(restored, restart);
        assert_eq!(
            refusal(&mut after, &explicit("31000"), restart),
            "port 31000 was freed 30 s ago, free again in 30 s; ask for others, or wait"
        );
    }

    #[test]
    fn a_container_keeps_its_ports_when_the_pools_move_away() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        let old = Grant {
            ports: ports("8080"),
            ephemeral: Some("61184-61695".parse().unwrap()),
        };
        ledger.take("old", old).unwrap();
        for _ in ["a", "b", "c"] {
            let grant = ledger.plan(&explicit(""), &PortSet::new(), NOW).unwrap();
            let block = grant.ephemeral.unwrap();
            assert_ne!(block.to_string(), "61440-62463");
        }
    }

    #[test]
    fn the_ledger_refuses_two_owners_of_a_port() {
        let mut ledger = ledger("31000-31999", "61440-65535");
        start(&mut ledger, "web", &explicit("31000-31009"));
        let grant = Grant {
            ports: ports("31009"),
            ephemeral: None,
        };
        assert_eq!(
            ledger.take("other", grant.clone()).unwrap_err().to_string(),
            "container other cannot have ports 31009: container web has them"
        );
        assert!(matches!(
            ledger.take("web", grant),
            Err(LedgerError::AlreadyOwns { .. })
        ));
        assert!(matches!(
            ledger.plan_update(&"none", &Assigned::None, &PortSet::new(), NOW),
            Err(Refusal::Unknown { .. })
        ));
    }
}
