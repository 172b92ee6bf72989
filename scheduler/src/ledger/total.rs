//! What an agent has in total, and what follows when that changes.
//!
//! The total is what the agent is configured to have, what operations have made of it, its blocks of
//! ports, and what it lends. When there is less than before, offers are rescinded until the rest fits,
//! and tasks that hold what was lent are ended; both only as many as must be.
//!
//! A block of ports is a thing of the node, whoever uses it, so the blocks are parted: those that tasks
//! on lent resources may take are revocable, the others regular, and the sum is what the agent has.

use weir_protocol::{AgentId, AgentInfo, OperationOrigin, PortBlocks, RescindReason};
use weir_resources::{AddError, Amount, CheckpointError, Kind, Resource, ResourceName, Resources};

use super::agent::Agent;
use super::rest::without;
use super::state::Ledger;
use crate::allocator::AgentError;

/// One in so many of an agent's blocks is for tasks on lent resources, while it lends anything and its
/// estimate does not say how many.
const LENT_BLOCKS_SHARE: u32 = 4;

/// Says why what an agent says of its resources cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TotalError {
    #[error("`{resource}` is revocable; what is lent is said by ESTIMATE")]
    Revocable { resource: Resource },
    #[error("`{resource}` was made by an operation, and stands among what is configured")]
    Checkpointed { resource: Resource },
    #[error("`{resource}` stands among what is configured; the blocks are counted by PORT_BLOCKS")]
    PortBlocks { resource: Resource },
    #[error("the reservations and volumes of the agent do not fit what it has")]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "what the agent has cannot be together with its blocks of ports, or with what it lends"
    )]
    Together(#[from] AddError),
    #[error("the cluster cannot have what the agent has")]
    Cluster(#[from] AgentError),
}

impl TotalError {
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Revocable { .. } | Self::Checkpointed { .. } | Self::PortBlocks { .. } => {
                "configure only what the node has before any operation"
            }
            Self::Checkpoint(error) => error.remedy(),
            Self::Together(_) => "give what is lent the same names and types as what is configured",
            Self::Cluster(error) => error.remedy(),
        }
    }
}

/// What an agent has, before it is parted into regular and lent.
#[derive(Clone, Debug)]
pub(super) struct Parts<'a> {
    pub(super) info: &'a AgentInfo,
    pub(super) checkpointed: &'a Resources,
    pub(super) blocks: PortBlocks,
    pub(super) lent: &'a Resources,
    /// Blocks that tasks hold, and pools: regular ones and revocable ones.
    pub(super) held_blocks: [Amount; 2],
}

impl Parts<'_> {
    /// Returns all that the agent has.
    pub(super) fn total(&self) -> Result<Resources, TotalError> {
        for resource in &self.info.resources {
            let resource = resource.clone();
            if resource.kind() == Kind::Revocable {
                return Err(TotalError::Revocable { resource });
            }
            if resource.is_checkpointed() {
                return Err(TotalError::Checkpointed { resource });
            }
            if *resource.name() == ResourceName::PORT_BLOCKS {
                return Err(TotalError::PortBlocks { resource });
            }
        }
        let (regular, lent) = self.blocks();
        let plain = self
            .info
            .resources
            .checked_add(&blocks(regular, Kind::Regular))?;
        let plain = plain.with_checkpoint(self.checkpointed)?;
        let others = self
            .lent
            .filter(|entry| *entry.name() != ResourceName::PORT_BLOCKS);
        let lent = others.checked_add(&blocks(lent, Kind::Revocable))?;
        Ok(plain.checked_add(&lent)?)
    }

    /// Returns how many blocks are regular and how many are lent.
    fn blocks(&self) -> (Amount, Amount) {
        let all = Amount::from_thousandths(u64::from(self.blocks.total()) * 1000);
        let [regular_held, lent_held] = self.held_blocks;
        let named = self.lent.amount(ResourceName::PORT_BLOCKS.as_str());
        let wanted = if self.lent.is_empty() {
            Amount::ZERO
        } else if named.is_zero() {
            let share = self.blocks.total().div_ceil(LENT_BLOCKS_SHARE);
            Amount::from_thousandths(u64::from(share) * 1000)
        } else {
            named
        };
        // What tasks hold stays what it is until they end.
        let possible = all.checked_sub(regular_held).unwrap_or(Amount::ZERO);
        let lent = wanted.min(possible).max(lent_held);
        (all.checked_sub(lent).unwrap_or(Amount::ZERO), lent)
    }
}

/// Returns so many blocks as a resource, or nothing of none.
fn blocks(amount: Amount, kind: Kind) -> Resources {
    let block = Resource::new(ResourceName::PORT_BLOCKS, amount);
    let block = block.and_then(|block| block.with_kind(kind));
    block.map(Resources::from).unwrap_or_default()
}

impl Ledger {
    /// Goes through what is held on an agent by tasks, by strays and in pools; offers are left out.
    pub(super) fn holders<'a>(
        &'a self,
        agent: &'a Agent,
    ) -> impl Iterator<Item = &'a Resources> + 'a {
        let tasks = agent.tasks.iter().filter_map(|key| self.tasks.get(key));
        let tasks = tasks
            .filter(|task| task.is_alive())
            .map(|task| task.resources());
        let strays = agent.strays.values().map(|stray| &stray.resources);
        tasks.chain(strays).chain(self.pools(agent))
    }

    pub(super) fn pools<'a>(
        &'a self,
        agent: &'a Agent,
    ) -> impl Iterator<Item = &'a Resources> + 'a {
        let errands = agent.errands.iter();
        errands
            .filter_map(|number| self.errands.by_number.get(number))
            .map(|errand| &errand.pool)
    }

    /// Returns the blocks of ports that are held on an agent other than by offers.
    pub(super) fn held_blocks(&self, agent: &Agent) -> [Amount; 2] {
        let mut sums = [Amount::ZERO; 2];
        for entry in self
            .holders(agent)
            .flat_map(|held| held.get(ResourceName::PORT_BLOCKS.as_str()))
        {
            let sum = match entry.kind() {
                Kind::Regular => &mut sums[0],
                Kind::Revocable => &mut sums[1],
            };
            let amount = entry.amount().unwrap_or_default();
            *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
        }
        sums
    }

    /// Changes the total of an agent to what its parts are by now. What no longer fits is rescinded for
    /// this reason, or revoked.
    pub(super) fn retotal(&mut self, id: AgentId, reason: RescindReason) -> Result<(), TotalError> {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return Ok(());
        };
        let lent = agent.lent.resources();
        let total = Parts {
            info: &agent.info,
            checkpointed: agent.checkpointed.resources(),
            blocks: agent.port_blocks,
            lent: &lent,
            held_blocks: self.held_blocks(agent),
        }
        .total()?;
        if total == agent.total {
            return Ok(());
        }
        let allocated = self.allocatable(agent, &total);
        self.allocator.update_agent(id, &allocated)?;
        if let Some(agent) = self.agents.by_id.get_mut(&id) {
            agent.total = total;
        }
        self.rescind_excess(id, reason);
        self.revoke_excess(id);
        Ok(())
    }

    /// Parts the blocks of ports anew, after something on an agent that holds some is held no longer.
    pub(super) fn settle_blocks(&mut self, id: AgentId) {
        let lends_blocks = self.agents.by_id.get(&id).is_some_and(|agent| {
            let blocks = agent.total.get(ResourceName::PORT_BLOCKS.as_str());
            blocks.iter().any(|entry| entry.kind() == Kind::Revocable)
        });
        if lends_blocks {
            self.retotal(id, RescindReason::ResourcesChanged)
                .expect("blocks are parted, and no more of them");
        }
    }

    /// Tells the allocator of an agent's total, after operators' errands have taken from it or given
    /// back.
    pub(super) fn settle_pools(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.by_id.get(&id) {
            let allocated = self.allocatable(agent, &agent.total);
            self.allocator
                .update_agent(id, &allocated)
                .expect("the total can be counted, and this is a part of it");
        }
    }

    /// Returns what of an agent's total the allocator is to hand out: what operators' errands work with
    /// is nobody's.
    pub(super) fn allocatable(&self, agent: &Agent, total: &Resources) -> Resources {
        let errands = agent.errands.iter();
        errands
            .filter_map(|number| self.errands.by_number.get(number))
            .filter(|errand| match errand.origin {
                OperationOrigin::Operator(_) => true,
                OperationOrigin::Framework(_) => false,
            })
            .fold(total.clone(), |rest, errand| without(&rest, &errand.pool))
    }
}
