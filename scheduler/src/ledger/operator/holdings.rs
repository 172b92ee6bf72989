//! Reservations and volumes, with who has them at the moment.

use std::fmt;
use std::str::FromStr;

use weir_protocol::operator::{
    Holder, Listing, OperatorAnswer, Page, ReservationEntry, VolumeEntry,
};
use weir_protocol::{AgentName, wire};
use weir_resources::{Resource, Resources, Role};

use super::Answer;
use super::place::{after, with_places};
use crate::ledger::agent::Agent;
use crate::ledger::state::Ledger;

/// The place of an entry: among those of its agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    agent: AgentName,
    index: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.agent, self.index)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (agent, index) = text.split_once(' ').ok_or(())?;
        Ok(Self {
            agent: agent.parse().map_err(|_no_name| ())?,
            index: index.parse().map_err(|_no_number| ())?,
        })
    }
}

impl Ledger {
    pub(super) fn list_reservations(
        &self,
        page: &Page,
        agent: Option<&AgentName>,
        role: Option<&Role>,
    ) -> Answer {
        let entries = self.entries(agent, after(page)?, |agent| {
            let pieces = self.pieces(agent).into_iter();
            let pieces = pieces.filter_map(|(resources, holder)| {
                let kept = resources.filter(|entry| entry.volume().is_none() && is_of(entry, role));
                (!kept.is_empty()).then_some((kept, holder))
            });
            let entries = pieces.map(|(resources, holder)| ReservationEntry {
                agent: agent.id,
                agent_name: agent.info.name.clone(),
                resources,
                holder,
            });
            entries.collect()
        });
        let listing = Listing::page::<wire::ReservationEntry>(with_places(entries), page.limit);
        self.check_agent(page, agent, &listing)?;
        Ok(OperatorAnswer::Reservations(listing))
    }

    pub(super) fn list_volumes(
        &self,
        page: &Page,
        agent: Option<&AgentName>,
        role: Option<&Role>,
    ) -> Answer {
        let entries = self.entries(agent, after(page)?, |agent| {
            let pieces = self.pieces(agent).into_iter();
            let volumes = pieces.flat_map(|(resources, holder)| {
                let volumes =
                    resources.filter(|entry| entry.volume().is_some() && is_of(entry, role));
                let volumes: Vec<Resource> = volumes.iter().cloned().collect();
                volumes
                    .into_iter()
                    .map(move |volume| (volume, holder.clone()))
            });
            let entries = volumes.map(|(volume, holder)| VolumeEntry {
                agent: agent.id,
                agent_name: agent.info.name.clone(),
                volume,
                holder,
                sizes: agent.info.volume_sizes,
            });
            entries.collect()
        });
        let listing = Listing::page::<wire::VolumeEntry>(with_places(entries), page.limit);
        self.check_agent(page, agent, &listing)?;
        Ok(OperatorAnswer::Volumes(listing))
    }

    /// Goes through the entries of agents, behind a place.
    fn entries<'a, T: 'a>(
        &'a self,
        wanted: Option<&'a AgentName>,
        after: Option<Place>,
        of: impl Fn(&'a Agent) -> Vec<T> + 'a,
    ) -> impl Iterator<Item = (Place, T)> + 'a {
        let first = after.as_ref().map(|place| place.agent.clone());
        let names = self.agents.by_name.iter().filter(move |(name, _)| {
            let is_behind = first.as_ref().is_none_or(|first| *name >= first);
            is_behind && wanted.is_none_or(|wanted| *name == wanted)
        });
        let agents = names.filter_map(|(_, id)| self.agents.by_id.get(id));
        let all = agents.flat_map(move |agent| {
            let name = agent.info.name.clone();
            let entries = of(agent).into_iter().enumerate();
            entries.map(move |(index, entry)| {
                let agent = name.clone();
                (Place { agent, index }, entry)
            })
        });
        all.filter(move |(place, _)| after.as_ref().is_none_or(|after| place > after))
    }

    /// Returns what there is on an agent, with who has it.
    fn pieces(&self, agent: &Agent) -> Vec<(Resources, Holder)> {
        let offers = agent.offers.iter().filter_map(|id| self.offers.get(id));
        let offered = offers.map(|held| {
            let holder = Holder::Offered(held.framework);
            (held.offer.resources.clone(), holder)
        });
        let tasks = agent.tasks.iter().filter_map(|key| {
            let task = self.tasks.get(key).filter(|task| task.is_alive())?;
            Some((task.resources().clone(), Holder::Used(key.clone())))
        });
        let strays = agent.strays.iter();
        let strays =
            strays.map(|(key, stray)| (stray.resources.clone(), Holder::Used(key.clone())));
        // What an operation is being done with is in nobody's hands.
        let pools = self.pools(agent).map(|pool| (pool.clone(), Holder::Free));
        let free = (self.free(agent), Holder::Free);
        let held = tasks.chain(strays).chain(offered).chain(pools);
        held.chain([free]).collect()
    }
}

/// Returns whether something is reserved, and for the role that is asked for.
fn is_of(entry: &Resource, role: Option<&Role>) -> bool {
    match (entry.role(), role) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(own), Some(wanted)) => own == wanted,
    }
}
