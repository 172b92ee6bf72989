//! Who owns which ports now, and what a request would get.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use weir_resources::{PortRange, PortSet};

use super::grant::{Change, Grant, LedgerError};
use super::pools::{Pools, unprivileged};
use super::quarantine::{Freed, Quarantine, UnixMs};
use super::refusal::{BlockCensus, PortCensus, Refusal};
use super::request::{Assigned, Ephemeral, PortRequest, Quarantined};

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
        let rest = request.quarantined;
        let ports = self.plan_assigned(&request.assigned, &PortSet::new(), in_use, rest, now)?;
        let ephemeral = match request.ephemeral {
            Ephemeral::Block => Some(self.plan_block(in_use, rest, now)?),
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
        let rest = Quarantined::Refused;
        let ports = self.plan_assigned(assigned, &held, in_use, rest, now)?;
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
        quarantined: Quarantined,
        now: UnixMs,
    ) -> Result<PortSet, Refusal> {
        self.quarantine.settle(now);
        match assigned {
            Assigned::None => Ok(PortSet::new()),
            Assigned::Explicit(ports) => {
                self.refuse_unavailable(&ports.subtract(held), in_use, quarantined, now)?;
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
        quarantined: Quarantined,
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
            Some(_) if quarantined == Quarantined::Taken => Ok(()),
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

    /// Chooses the highest block of which every port is free; where none is and it may, the one that has
    /// rested longest.
    fn plan_block(
        &mut self,
        in_use: &PortSet,
        quarantined: Quarantined,
        now: UnixMs,
    ) -> Result<PortRange, Refusal> {
        let mut rested: Option<(Duration, PortRange)> = None;
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
                if rested.is_none_or(|(least, _)| free_in < least) {
                    rested = Some((free_in, block));
                }
            } else {
                return Ok(block);
            }
        }
        match (rested, quarantined) {
            (Some((_, block)), Quarantined::Taken) => Ok(block),
            (Some(_) | None, Quarantined::Refused) | (None, Quarantined::Taken) => {
                Err(Refusal::NoBlock(census))
            }
        }
    }

    /// Returns how many blocks a request that takes what rests could have, one after the other.
    pub fn blocks_free(&self, in_use: &PortSet) -> u32 {
        let taken = self.owned().union(in_use);
        let free = self
            .pools
            .blocks()
            .filter(|block| taken.is_disjoint_from_range(*block));
        u32::try_from(free.count()).unwrap_or(u32::MAX)
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
mod tests;
