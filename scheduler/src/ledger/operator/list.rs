//! Agents, offers, roles, frameworks and tasks, as operators see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use weir_protocol::operator::{
    AgentEntry, FrameworkEntry, FrameworkState, Listing, OfferEntry, OperatorAnswer, Page,
    RoleEntry, Weight as Shown,
};
use weir_protocol::{
    AgentName, Failure, FrameworkId, OfferId, OperatorCall, TaskId, TaskKey, wire,
};
use weir_resources::{Amount, Resource, ResourceName, Resources, Role};

use super::change::unknown_agent;
use super::control::unknown_framework;
use super::place::{after, with_places};
use super::{Answer, Asked};
use crate::allocator::Weight;
use crate::ledger::agent::Agent;
use crate::ledger::framework::Framework;
use crate::ledger::offer::HeldOffer;
use crate::ledger::policy::Act;
use crate::ledger::state::Ledger;

/// The place of a task in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TaskPlace(TaskKey);

impl fmt::Display for TaskPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for TaskPlace {
    type Err = weir_protocol::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Neither id has a slash in it.
        let (framework, task) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self(TaskKey {
            framework: framework.parse()?,
            task: task.parse()?,
        }))
    }
}

impl Ledger {
    pub(super) fn list(&mut self, asked: Asked<'_>, call: OperatorCall) -> Answer {
        self.allow(asked, Act::List, Act::List)?;
        match call {
            OperatorCall::ListAgents(page) => self.list_agents(&page),
            OperatorCall::ListOffers(page) => self.list_offers(&page),
            OperatorCall::ListRoles(page) => self.list_roles(&page),
            OperatorCall::ListFrameworks(page) => self.list_frameworks(&page),
            OperatorCall::ListTasks {
                page,
                framework,
                agent,
                ended,
            } => self.list_tasks(&page, framework, agent.as_ref(), ended),
            OperatorCall::ListReservations { page, agent, role } => {
                self.list_reservations(&page, agent.as_ref(), role.as_ref())
            }
            OperatorCall::ListVolumes { page, agent, role } => {
                self.list_volumes(&page, agent.as_ref(), role.as_ref())
            }
            // What changes something is not listed here.
            OperatorCall::Change { .. }
            | OperatorCall::SetWeight { .. }
            | OperatorCall::DrainAgent { .. }
            | OperatorCall::RemoveAgent { .. }
            | OperatorCall::KillTask { .. }
            | OperatorCall::TeardownFramework { .. } => {
                Ok(OperatorAnswer::Done { notes: Vec::new() })
            }
        }
    }

    /// Refuses a list of what is on one agent if there is nothing in it because there is no such agent.
    ///
    /// Ended tasks are remembered for longer than where they were.
    pub(super) fn check_agent<T>(
        &self,
        page: &Page,
        agent: Option<&AgentName>,
        listing: &Listing<T>,
    ) -> Result<(), Failure> {
        match agent {
            Some(name)
                if page.after.is_none()
                    && listing.entries.is_empty()
                    && self.agents.named(name).is_none() =>
            {
                Err(unknown_agent(name))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn list_agents(&self, page: &Page) -> Answer {
        let names = behind(&self.agents.by_name, after::<AgentName>(page)?);
        let entries = names.filter_map(|(name, id)| {
            let agent = self.agents.by_id.get(id)?;
            Some((name.clone(), self.agent_entry(agent)))
        });
        let listing = Listing::page::<wire::AgentEntry>(with_places(entries), page.limit);
        Ok(OperatorAnswer::Agents(listing))
    }

    fn agent_entry(&self, agent: &Agent) -> AgentEntry {
        let offers = agent.offers.iter().filter_map(|id| self.offers.get(id));
        let tasks = agent.tasks.iter().filter_map(|key| self.tasks.get(key));
        let alive = tasks.filter(|task| task.is_alive());
        let strays = agent.strays.values().map(|stray| &stray.resources);
        let used = alive.clone().map(|task| task.resources()).chain(strays);
        AgentEntry {
            id: agent.id,
            agent: agent.info.clone(),
            state: agent.state(),
            software: agent.software.clone(),
            registered: agent.registered,
            set_version: agent.checkpointed.version(),
            total: agent.total.regular(),
            used: together(used),
            offered: together(offers.map(|held| &held.offer.resources)),
            revocable: agent.total.revocable(),
            tasks: count(alive.count() + agent.strays.len()),
        }
    }

    fn list_offers(&self, page: &Page) -> Answer {
        let offers = behind(&self.offers, after::<OfferId>(page)?);
        let entries = offers.filter_map(|(id, held)| Some((*id, self.offer_entry(held)?)));
        let listing = Listing::page::<wire::OfferEntry>(with_places(entries), page.limit);
        Ok(OperatorAnswer::Offers(listing))
    }

    fn offer_entry(&self, held: &HeldOffer) -> Option<OfferEntry> {
        let framework = self.frameworks.by_id.get(&held.framework)?;
        Some(OfferEntry {
            offer: held.offer.clone(),
            framework: framework.id,
            framework_name: framework.info.name.clone(),
            role: framework.info.role.clone(),
            offered: held.offered,
        })
    }

    fn list_roles(&self, page: &Page) -> Answer {
        let from = after::<Role>(page)?;
        let mut roles: BTreeSet<&Role> = self.weights.keys().collect();
        roles.extend(self.settings.weights.keys());
        roles.extend(self.frameworks.by_id.values().map(|known| &known.info.role));
        let reserved: Vec<&Resource> = self
            .agents
            .by_id
            .values()
            .flat_map(|agent| agent.total.iter())
            .filter(|entry| entry.role().is_some())
            .collect();
        roles.extend(reserved.iter().filter_map(|entry| entry.role()));
        let cluster = scalars(
            self.agents
                .by_id
                .values()
                .flat_map(|agent| agent.total.iter()),
        );
        let entries = roles
            .into_iter()
            .filter(|role| from.as_ref().is_none_or(|from| *role > from))
            .map(|role| (role.clone(), self.role_entry(role, &reserved, &cluster)));
        let listing = Listing::page::<wire::RoleEntry>(with_places(entries), page.limit);
        Ok(OperatorAnswer::Roles(listing))
    }

    fn role_entry(&self, role: &Role, reserved: &[&Resource], cluster: &Scalars) -> RoleEntry {
        let members = self.frameworks.by_id.values();
        let members: Vec<&Framework> = members.filter(|known| known.info.role == *role).collect();
        let allocated = members.iter().flat_map(|member| self.allocated_to(member));
        let allocated = scalars(allocated.flat_map(Resources::iter));
        let weight = self
            .weights
            .get(role)
            .or_else(|| self.settings.weights.get(role));
        let weight = weight.copied().unwrap_or(Weight::ONE);
        let own = reserved.iter().filter(|entry| entry.role() == Some(role));
        RoleEntry {
            role: role.clone(),
            weight: Shown::new(weight.into()).unwrap_or(Shown::ONE),
            frameworks: count(members.len()),
            dominant_share_millionths: dominant_share(&allocated, cluster),
            allocated: allocated.resources(),
            reserved: scalars(own.copied()).resources(),
        }
    }

    /// Goes through what a framework holds and is offered.
    fn allocated_to<'a>(
        &'a self,
        framework: &'a Framework,
    ) -> impl Iterator<Item = &'a Resources> + 'a {
        self.used_by(framework).chain(self.offered_to(framework))
    }

    fn used_by<'a>(&'a self, framework: &'a Framework) -> impl Iterator<Item = &'a Resources> + 'a {
        let tasks = framework.tasks.iter().filter_map(|task| {
            let key = TaskKey {
                framework: framework.id,
                task: TaskId::clone(task),
            };
            self.tasks.get(&key)
        });
        let tasks = tasks.filter(|task| task.is_alive());
        let errands = framework.errands.iter();
        let errands = errands.filter_map(|number| self.errands.by_number.get(number));
        tasks
            .map(|task| task.resources())
            .chain(errands.map(|errand| &errand.pool))
    }

    fn offered_to<'a>(
        &'a self,
        framework: &'a Framework,
    ) -> impl Iterator<Item = &'a Resources> + 'a {
        let offers = framework.offers.iter();
        offers
            .filter_map(|id| self.offers.get(id))
            .map(|held| &held.offer.resources)
    }

    fn list_frameworks(&self, page: &Page) -> Answer {
        let from = after::<FrameworkId>(page)?;
        let known = self.frameworks.by_id.keys();
        let mut ids: BTreeSet<FrameworkId> = known.copied().collect();
        ids.extend(self.frameworks.ended.keys());
        let ids = ids
            .into_iter()
            .filter(|id| from.is_none_or(|from| *id > from));
        let entries = ids.filter_map(|id| Some((id, self.framework_entry(id)?)));
        let listing = Listing::page::<wire::FrameworkEntry>(with_places(entries), page.limit);
        Ok(OperatorAnswer::Frameworks(listing))
    }

    fn framework_entry(&self, id: FrameworkId) -> Option<FrameworkEntry> {
        let Some(known) = self.frameworks.by_id.get(&id) else {
            let ended = self.frameworks.ended.get(&id)?;
            return Some(FrameworkEntry {
                id,
                framework: ended.info.clone(),
                principal: ended.principal.clone(),
                state: FrameworkState::Completed,
                subscribed: ended.subscribed,
                used: Resources::new(),
                offered: Resources::new(),
                tasks: 0,
                offers: 0,
            });
        };
        let used = scalars(self.used_by(known).flat_map(Resources::iter));
        let offered = scalars(self.offered_to(known).flat_map(Resources::iter));
        Some(FrameworkEntry {
            id,
            framework: known.info.clone(),
            principal: known.principal.clone(),
            state: known.state(),
            subscribed: known.subscribed,
            used: used.resources(),
            offered: offered.resources(),
            tasks: count(known.tasks.len()),
            offers: count(known.offers.len()),
        })
    }

    fn list_tasks(
        &self,
        page: &Page,
        framework: Option<FrameworkId>,
        agent: Option<&AgentName>,
        with_ended: bool,
    ) -> Answer {
        if let Some(id) = framework
            && !self.frameworks.by_id.contains_key(&id)
            && !self.frameworks.ended.contains_key(&id)
        {
            return Err(unknown_framework(id));
        }
        let from = after::<TaskPlace>(page)?.map(|TaskPlace(key)| key);
        let known = behind(&self.tasks, from.clone()).map(|(key, _)| key);
        let mut keys: BTreeSet<&TaskKey> = known.collect();
        if with_ended {
            keys.extend(behind(&self.ended_tasks.by_key, from).map(|(key, _)| key));
        }
        let entries = keys
            .into_iter()
            .filter(|key| framework.is_none_or(|wanted| key.framework == wanted))
            .filter_map(|key| {
                let entry = match self.tasks.get(key) {
                    Some(task) if with_ended || task.is_alive() => self.task_entry(task),
                    Some(_) => return None,
                    None => self.ended_tasks.by_key.get(key)?.entry.clone(),
                };
                let here = entry.agent.as_ref().map(|(_, name)| name);
                let is_wanted = agent.is_none_or(|wanted| here == Some(wanted));
                is_wanted.then(|| (TaskPlace(key.clone()), entry))
            });
        let listing = Listing::page::<wire::TaskEntry>(with_places(entries), page.limit);
        self.check_agent(page, agent, &listing)?;
        Ok(OperatorAnswer::Tasks(listing))
    }
}

/// Goes through what is in a map behind a key.
fn behind<K: Ord, V>(map: &BTreeMap<K, V>, after: Option<K>) -> impl Iterator<Item = (&K, &V)> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    map.range((from, Bound::Unbounded))
}

/// Returns parts of one agent as one, without what cannot be counted with the others: an agent that has
/// shrunk may hold the like.
fn together<'a>(parts: impl Iterator<Item = &'a Resources>) -> Resources {
    parts.fold(Resources::new(), |sum, part| {
        sum.checked_add(part).unwrap_or(sum)
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Amounts of several agents, by name.
#[derive(Clone, Debug, Default)]
struct Scalars(BTreeMap<ResourceName, Amount>);

fn scalars<'a>(entries: impl Iterator<Item = &'a Resource>) -> Scalars {
    let mut sums = Scalars::default();
    for entry in entries {
        let Some(amount) = entry.amount() else {
            continue;
        };
        let sum = sums.0.entry(entry.name().clone()).or_default();
        // The allocator refuses what the cluster cannot count.
        *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
    }
    sums
}

impl Scalars {
    fn resources(self) -> Resources {
        let entries = self.0.into_iter();
        let entries = entries.filter_map(|(name, amount)| Resource::new(name, amount).ok());
        Resources::collect(entries).expect("each name is there once")
    }
}

/// Returns the largest share of the cluster in millionths.
fn dominant_share(held: &Scalars, cluster: &Scalars) -> u32 {
    let shares = held.0.iter().map(|(name, amount)| {
        let all = cluster.0.get(name).copied().unwrap_or_default();
        let part = u128::from(amount.thousandths()) * 1_000_000;
        let share = part.checked_div(u128::from(all.thousandths()));
        u32::try_from(share.unwrap_or(0)).unwrap_or(u32::MAX)
    });
    shares.max().unwrap_or(0)
}
