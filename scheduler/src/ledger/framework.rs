//! Frameworks, as the ledger knows them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_protocol::operator::FrameworkState;
use weir_protocol::{
    FrameworkCapability, FrameworkId, FrameworkInfo, OfferId, OperationId, TaskId, TaskOwner,
    UnixMs,
};
use weir_resources::{Labels, Principal};

use super::input::SessionId;
use super::record::{EndedFramework, ErrandNumber, FrameworkRow, Past};
use crate::allocator::Kinds;

/// A framework that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    pub(super) info: FrameworkInfo,
    pub(super) principal: Principal,
    pub(super) subscribed: UnixMs,
    pub(super) past: Past,
    pub(super) presence: FrameworkPresence,
    pub(super) offers: BTreeSet<OfferId>,
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) errands: BTreeSet<ErrandNumber>,
    /// Operations that were answered while it was away: it is told when it is back.
    pub(super) untold: VecDeque<OperationId>,
}

/// Whether a framework is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameworkPresence {
    Connected {
        session: SessionId,
        wants: Wants,
        /// When something was last said to it.
        said_at: Duration,
        /// When it is next looked at whether something is to be said.
        heartbeat_at: Duration,
    },
    /// It has until then to come back.
    Away { gone_at: Duration },
}

/// Whether a framework wants offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Offers,
    /// Not until REVIVE.
    Nothing,
}

/// The frameworks, and those that have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Frameworks {
    pub(super) by_id: BTreeMap<FrameworkId, Framework>,
    pub(super) ended: BTreeMap<FrameworkId, EndedFramework>,
    /// The ids of `ended`, the earliest first.
    pub(super) ended_order: VecDeque<FrameworkId>,
}

impl Framework {
    /// Returns the session in which it is, if it is connected.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.presence {
            FrameworkPresence::Connected { session, .. } => Some(session),
            FrameworkPresence::Away { .. } => None,
        }
    }

    /// Returns whether nobody is there to acknowledge what its tasks do, and nobody will be.
    pub(super) fn is_unattended(&self) -> bool {
        self.info.unattended && self.session().is_none()
    }

    /// Returns whether it has left its tasks alone, and they and all its operations are over.
    pub(super) fn is_left_over(&self) -> bool {
        self.is_unattended() && self.tasks.is_empty() && self.errands.is_empty()
    }

    /// Returns its state as operators see it.
    pub(super) fn state(&self) -> FrameworkState {
        match (self.presence, self.past) {
            (
                FrameworkPresence::Connected {
                    wants: Wants::Offers,
                    ..
                },
                _,
            ) => FrameworkState::Connected,
            (
                FrameworkPresence::Connected {
                    wants: Wants::Nothing,
                    ..
                },
                _,
            ) => FrameworkState::Suppressed,
            (FrameworkPresence::Away { .. }, Past::Known | Past::Unknown) => {
                FrameworkState::Disconnected
            }
            (FrameworkPresence::Away { .. }, Past::FromTasks) => FrameworkState::Recovered,
        }
    }

    /// Returns whose its tasks are, as agents are told.
    pub(super) fn owner(&self) -> TaskOwner {
        TaskOwner {
            framework: self.id,
            framework_name: self.info.name.clone(),
            principal: self.principal.clone(),
            role: self.info.role.clone(),
            failover_timeout: self.info.failover_timeout,
            unattended: self.info.unattended,
        }
    }

    /// Returns the framework as it is written down.
    pub(super) fn row(&self) -> FrameworkRow {
        FrameworkRow {
            id: self.id,
            info: self.info.clone(),
            principal: self.principal.clone(),
            subscribed: self.subscribed,
            past: self.past,
        }
    }
}

impl Frameworks {
    /// Remembers that a framework has ended; returns the one that is forgotten for it.
    pub(super) fn remember(&mut self, ended: EndedFramework, most: usize) -> Option<FrameworkId> {
        let id = ended.id;
        if self.ended.insert(id, ended).is_none() {
            self.ended_order.push_back(id);
        }
        if self.ended_order.len() <= most {
            return None;
        }
        let forgotten = self.ended_order.pop_front()?;
        self.ended.remove(&forgotten);
        Some(forgotten)
    }
}

/// Returns which kinds of resources a framework takes.
pub(super) fn kinds(info: &FrameworkInfo) -> Kinds {
    if info
        .capabilities
        .contains(&FrameworkCapability::RevocableResources)
    {
        Kinds::WithRevocable
    } else {
        Kinds::Regular
    }
}

/// Returns what a task says of its framework.
pub(super) fn info_from_task(owner: &TaskOwner) -> FrameworkInfo {
    FrameworkInfo {
        name: owner.framework_name.clone(),
        role: owner.role.clone(),
        user: None,
        failover_timeout: owner.failover_timeout,
        unattended: owner.unattended,
        capabilities: BTreeSet::new(),
        labels: Labels::none(),
        weburl: None,
    }
}
