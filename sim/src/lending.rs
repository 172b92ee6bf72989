//! What nodes lend of what is idle, and who has to give it back: estimates that grow, shrink and expire.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_agent::session::Input;
use weir_protocol::{AgentCall, Millis, TaskKey};
use weir_resources::Resources;

use crate::checker::Checker;
use crate::make;
use crate::network::Party;
use crate::world::{Event, World};

/// How long an estimate holds.
pub(crate) const ESTIMATE_TTL: Millis = Millis(30_000);

/// How long more may be used than is lent while everybody can be spoken to: the longest that a program
/// takes to end, a few writes that fail, and the way there and back.
const OVERUSE_MAX: Duration = Duration::from_secs(30);

/// How long what was decided may wait for its records before it is seen.
const HINDSIGHT: Duration = Duration::from_secs(2);

/// What is counted.
const COUNTED: [&str; 2] = ["cpus", "mem"];

/// What one node lends.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    /// What its estimator said last, and until when that holds.
    estimate: Option<(Resources, Duration)>,
    /// Since when more is used than is lent.
    overused_since: Option<Duration>,
    /// What the scheduler was told, and when.
    told: VecDeque<Told>,
    /// Tasks that were launched on what is lent.
    tasks: BTreeMap<TaskKey, Lent>,
}

#[derive(Debug)]
struct Told {
    at: Duration,
    until: Duration,
    resources: Resources,
}

#[derive(Debug)]
struct Lent {
    holds: Resources,
    /// Since when the scheduler knows that it is over.
    over_at: Option<Duration>,
    is_revoked: bool,
}

impl Lending {
    /// Returns what the node has estimated and not taken back.
    pub(crate) fn now(&self, now: Duration) -> Resources {
        match &self.estimate {
            Some((resources, until)) if *until > now => resources.clone(),
            Some(_) | None => Resources::new(),
        }
    }

    /// Forgets what was estimated: with the agent, or with the node.
    pub(crate) fn forget(&mut self) {
        self.estimate = None;
    }

    /// Begins to count anew: somebody could not be spoken to.
    pub(crate) fn excuse(&mut self) {
        self.overused_since = None;
    }

    /// Takes note that another scheduler begins, which does not know whom the one before has told to go.
    pub(crate) fn forget_revoked(&mut self) {
        for task in self.tasks.values_mut() {
            task.is_revoked = false;
        }
    }

    /// Returns the least of a resource that the scheduler has known to be lent in the time that is looked
    /// back on.
    fn least(&self, name: &str, now: Duration) -> u64 {
        let since = now.saturating_sub(HINDSIGHT);
        let mut least = u64::MAX;
        let mut known = 0;
        for told in &self.told {
            if told.at > since {
                least = least.min(known);
            }
            known = told.resources.amount(name).thousandths();
            if told.until <= now {
                known = 0;
            }
        }
        least.min(known)
    }
}

impl World {
    /// Has the estimator of a node be asked again and again.
    pub(crate) fn ask_estimator(&mut self, index: usize) {
        let delay = self.chance.millis(4_000, 10_000);
        self.after(delay, Event::Estimate { node: index });
        self.check_overuse(index);
        self.estimate(index);
    }

    /// Has the estimator of a node say something, or fail to.
    pub(crate) fn estimate(&mut self, index: usize) {
        if self.nodes[index].session.is_none() || (self.is_restless && self.chance.percent(15)) {
            return;
        }
        let before = self.nodes[index].lending.estimate.as_ref();
        let resources = match before {
            Some((before, _)) if self.is_settled || self.chance.percent(40) => before.clone(),
            Some(_) | None => self.some_estimate(),
        };
        self.note(format_args!("node {index} lends {resources}"));
        let until = self.now + Duration::from(ESTIMATE_TTL);
        self.nodes[index].lending.estimate = Some((resources.clone(), until));
        self.tell(index, Input::Estimated(resources));
    }

    fn some_estimate(&mut self) -> Resources {
        let cpus = self.chance.below(7) * 500;
        let mem = self.chance.below(5) * 128;
        if cpus == 0 || mem == 0 {
            return Resources::new();
        }
        let text = format!("cpus:{}.{:03};mem:{mem}", cpus / 1000, cpus % 1000);
        let lent = make::resources(&text).to_revocable();
        lent.expect("nothing of it is reserved")
    }

    /// Checks that no more is used for long than is lent, while all can be told.
    pub(crate) fn check_overuse(&mut self, index: usize) {
        let now = self.now;
        let is_cut_off = self.network.is_cut_off(Party::Agent(index), now);
        let node = &mut self.nodes[index];
        let is_connected = node.connection.is_some_and(|session| {
            let connection = self.network.connections.get(&session);
            connection.is_some_and(|own| !own.is_dead && own.peer_open && own.scheduler_open)
        });
        let is_reachable = is_connected
            && !is_cut_off
            && self.scheduler.ledger.is_some()
            && node
                .session
                .as_ref()
                .is_some_and(|own| own.figures().is_registered);
        let parts: Vec<Resources> = node.running().map(|own| own.holds.revocable()).collect();
        let used = Resources::sum(&parts).unwrap_or_default();
        let lent = node.lending.now(now);
        let is_over = COUNTED
            .iter()
            .any(|name| used.amount(name) > lent.amount(name));
        if !is_reachable || !is_over {
            node.lending.overused_since = None;
            return;
        }
        let since = *node.lending.overused_since.get_or_insert(now);
        if now - since > OVERUSE_MAX {
            let what =
                format!("node {index} lends {lent} and {used} of it is used, since {since:?}");
            self.violate(Checker::Lending, what);
        }
    }

    /// Checks that nothing lent is used that is not there, at the end.
    pub(crate) fn check_lent(&mut self) {
        for index in 0..self.nodes.len() {
            self.nodes[index].lending.overused_since = None;
            self.check_overuse(index);
            if self.nodes[index].lending.overused_since.is_some() {
                let what = format!("more is used of node {index} than it lends, in the end");
                self.violate(Checker::Lending, what);
            }
        }
    }

    /// Sees what the scheduler hears of a node.
    pub(crate) fn witness_lending(&mut self, index: usize, call: &AgentCall) {
        let now = self.now;
        let lending = &mut self.nodes[index].lending;
        match call {
            AgentCall::Register(registration) => {
                let estimate = registration.estimate.as_ref();
                let until = estimate.map_or(now, |own| now + Duration::from(own.ttl()));
                let resources = estimate.map(|own| own.resources().clone());
                lending.told.push_back(Told {
                    at: now,
                    until,
                    resources: resources.unwrap_or_default(),
                });
            }
            AgentCall::Estimate(estimate) => lending.told.push_back(Told {
                at: now,
                until: now + Duration::from(estimate.ttl()),
                resources: estimate.resources().clone(),
            }),
            AgentCall::StatusUpdate {
                framework,
                status,
                latest,
            } => {
                let key = TaskKey {
                    framework: *framework,
                    task: status.task.clone(),
                };
                if let Some(task) = lending.tasks.get_mut(&key)
                    && (latest.is_terminal() || status.state.is_terminal())
                {
                    task.over_at.get_or_insert(now);
                }
            }
            AgentCall::Tasks(tasks) => {
                for named in tasks.iter().filter(|task| task.status.state.is_terminal()) {
                    if let Some(task) = lending.tasks.get_mut(&named.key()) {
                        task.over_at.get_or_insert(now);
                    }
                }
            }
            AgentCall::OperationStatus { .. }
            | AgentCall::PortBlocks(_)
            | AgentCall::Unregister => {}
        }
        while lending.told.len() > 64 {
            lending.told.pop_front();
        }
    }

    /// Sees that a task is launched on what a node lends.
    pub(crate) fn witness_lent(&mut self, index: usize, key: TaskKey, holds: &Resources) {
        let holds = holds.revocable();
        if holds.is_empty() {
            return;
        }
        let lent = Lent {
            holds,
            over_at: None,
            is_revoked: false,
        };
        self.nodes[index].lending.tasks.entry(key).or_insert(lent);
    }

    /// Checks that a task which is revoked could not stay beside those that do.
    pub(crate) fn witness_revoke(&mut self, index: usize, key: &TaskKey) {
        let now = self.now;
        self.note(format_args!("the ledger says REVOKE {key} to node {index}"));
        let lending = &mut self.nodes[index].lending;
        let Some(task) = lending.tasks.get_mut(key) else {
            let what = format!("task {key} is revoked, and holds nothing that is lent");
            return self.violate(Checker::Lending, what);
        };
        if std::mem::replace(&mut task.is_revoked, true) {
            // It is told again.
            return;
        }
        let since = now.saturating_sub(HINDSIGHT);
        let stays = lending.tasks.iter().filter(|(own, task)| {
            let is_there = task.over_at.is_none_or(|at| at > since);
            *own == key || (is_there && !task.is_revoked)
        });
        let stays: BTreeSet<&TaskKey> = stays.map(|(own, _)| own).collect();
        let fits = COUNTED.iter().all(|name| {
            let amounts = stays
                .iter()
                .map(|own| lending.tasks[*own].holds.amount(name));
            let held: u64 = amounts.map(weir_resources::Amount::thousandths).sum();
            held <= lending.least(name, now)
        });
        if fits {
            let what = format!("task {key} of node {index} is revoked, and all would have fit");
            self.violate(Checker::Lending, what);
        }
    }
}
