//! What is held beyond what there is, and who has to give it up.

use weir_protocol::{
    AgentEvent, AgentId, ErrorCode, Estimate, Failure, Note, OfferId, PortBlocks, RescindReason,
    TaskKey,
};
use weir_resources::Resources;

use super::agent::{Agent, Lent};
use super::refusal::chain;
use super::rest::{free, plan_giving_up};
use super::state::Ledger;
use super::task::Revoked;
use super::timers::Timer;
use super::total::TotalError;

impl Ledger {
    /// Takes what an agent estimates that it can lend, until it is renewed or its time is over.
    ///
    /// One that is older than the last is refused: it was overtaken.
    pub(super) fn handle_estimate(
        &mut self,
        id: AgentId,
        estimate: &Estimate,
    ) -> Result<(), Failure> {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return Ok(());
        };
        if let Some(last) = agent.lent.version()
            && estimate.version() <= last
        {
            return Err(Failure::new(
                ErrorCode::StaleVersion,
                format_args!(
                    "estimate of version {} came after version {last}",
                    estimate.version()
                ),
                "give each estimate of a boot a higher version than the one before",
            ));
        }
        let ends_at = self.now.elapsed.saturating_add(estimate.ttl().into());
        let lent = Lent::Estimated {
            version: estimate.version(),
            ends_at,
            resources: estimate.resources().clone(),
        };
        self.lend(id, lent).map_err(|error| failure(&error))
    }

    /// Lends what an agent has estimated no longer: it was not renewed in time.
    pub(super) fn handle_estimate_end(&mut self, id: AgentId) {
        let version = self
            .agents
            .by_id
            .get(&id)
            .and_then(|agent| agent.lent.version());
        if let Some(version) = version {
            self.lend(id, Lent::Stale { version })
                .expect("to lend nothing is always possible");
        }
    }

    /// Changes what an agent lends, or nothing if it cannot be.
    pub(super) fn lend(&mut self, id: AgentId, lent: Lent) -> Result<(), TotalError> {
        let Some(agent) = self.agents.by_id.get_mut(&id) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut agent.lent, lent);
        match self.retotal(id, RescindReason::EstimateShrank) {
            Ok(()) => {
                self.forget_estimate_end(id, &before);
                self.expect_estimate_end(id);
                Ok(())
            }
            Err(error) => {
                if let Some(agent) = self.agents.by_id.get_mut(&id) {
                    agent.lent = before;
                }
                Err(error)
            }
        }
    }

    pub(super) fn forget_estimate_end(&mut self, id: AgentId, lent: &Lent) {
        match lent {
            Lent::Estimated { ends_at, .. } => {
                self.timers.cancel(*ends_at, Timer::EstimateEnds(id));
            }
            Lent::Nothing | Lent::Stale { .. } => {}
        }
    }

    pub(super) fn expect_estimate_end(&mut self, id: AgentId) {
        match self.agents.by_id.get(&id).map(|agent| &agent.lent) {
            Some(Lent::Estimated { ends_at, .. }) => {
                self.timers.set(*ends_at, Timer::EstimateEnds(id));
            }
            Some(Lent::Nothing | Lent::Stale { .. }) | None => {}
        }
    }

    /// Takes how many blocks of ports an agent has.
    pub(super) fn handle_port_blocks(
        &mut self,
        id: AgentId,
        blocks: PortBlocks,
    ) -> Result<(), Failure> {
        let Some(agent) = self.agents.by_id.get_mut(&id) else {
            return Ok(());
        };
        if blocks.version <= agent.port_blocks.version {
            let last = agent.port_blocks.version;
            return Err(Failure::new(
                ErrorCode::StaleVersion,
                format_args!(
                    "port blocks of version {} came after version {last}",
                    blocks.version
                ),
                "give each count of a boot a higher version than the one before",
            ));
        }
        let before = std::mem::replace(&mut agent.port_blocks, blocks);
        match self.retotal(id, RescindReason::ResourcesChanged) {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some(agent) = self.agents.by_id.get_mut(&id) {
                    agent.port_blocks = before;
                }
                Err(failure(&error))
            }
        }
    }

    /// Rescinds offers of an agent until the others fit beside what tasks hold; the youngest first, and
    /// only those that hold something of which there is too little.
    pub(super) fn rescind_excess(&mut self, id: AgentId, reason: RescindReason) {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return;
        };
        let rest = free(&agent.total, self.holders(agent));
        for offer in self.plan_rescinding(agent, &rest) {
            self.rescind(offer, reason);
        }
    }

    /// Returns the offers of an agent that cannot stay if this is all there is for them.
    pub(super) fn plan_rescinding(&self, agent: &Agent, rest: &Resources) -> Vec<OfferId> {
        let offers = agent.offers.iter();
        let mut offers: Vec<_> = offers.filter_map(|id| self.offers.get(id)).collect();
        offers.sort_by_key(|held| held.number);
        let held: Vec<Resources> = offers
            .iter()
            .map(|held| held.offer.resources.clone())
            .collect();
        let giving_up = plan_giving_up(rest, &held);
        giving_up
            .into_iter()
            .map(|index| offers[index].offer.id)
            .collect()
    }

    /// Ends tasks of an agent until what is lent is enough for the others; the youngest first, and only
    /// those that hold something of which too little is lent.
    pub(super) fn revoke_excess(&mut self, id: AgentId) {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return;
        };
        let lent = agent.total.revocable();
        let (revoked, held) = self.plan_revoking(agent, &lent);
        if revoked.is_empty() {
            return;
        }
        let version = agent.lent.version().unwrap_or_default();
        let why = Note::cut(format_args!(
            "agent {} lends {} since estimate {version}, and tasks hold {}",
            agent.info.name,
            shown(&lent),
            shown(&held),
        ));
        for key in revoked {
            if let Some(task) = self.tasks.get_mut(&key) {
                task.revoked = Revoked::Yes;
            }
            let why = why.clone();
            self.tell_agent(id, AgentEvent::Revoke { task: key, why });
        }
    }

    /// Returns the tasks that cannot stay if this is all that is lent, and what all of them hold.
    fn plan_revoking(&self, agent: &Agent, lent: &Resources) -> (Vec<TaskKey>, Resources) {
        let tasks = agent.tasks.iter().filter_map(|key| {
            let task = self.tasks.get(key)?;
            let held = task.resources().revocable();
            // What is revoked already is on its way out.
            let stays = task.is_alive() && task.revoked == Revoked::No && !held.is_empty();
            stays.then_some((task.number, key, held))
        });
        let mut tasks: Vec<_> = tasks.collect();
        tasks.sort_by_key(|(number, ..)| *number);
        let held: Vec<Resources> = tasks.iter().map(|(.., held)| held.clone()).collect();
        let pools: Vec<Resources> = self.pools(agent).map(Resources::revocable).collect();
        let rest = free(lent, &pools);
        let giving_up = plan_giving_up(&rest, &held);
        let revoked = giving_up.into_iter().map(|index| tasks[index].1.clone());
        // What cannot be added up is left out: it is for people.
        let all = held.iter().fold(Resources::new(), |sum, held| {
            sum.checked_add(held).unwrap_or(sum)
        });
        (revoked.collect(), all)
    }
}

fn failure(error: &TotalError) -> Failure {
    Failure::new(ErrorCode::InvalidMessage, chain(error), error.remedy())
}

/// Returns resources as people read them; of nothing that there is nothing.
fn shown(resources: &Resources) -> String {
    if resources.is_empty() {
        "nothing".to_owned()
    } else {
        resources.to_string()
    }
}
