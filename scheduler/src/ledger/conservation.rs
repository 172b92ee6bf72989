//! What must always hold.
//!
//! - *Nothing is lost and nothing made.* On every agent, of every resource, for every role, of both
//!   kinds: what there is, is what is free, what is offered, what tasks hold and what errands work with.
//!   Where more is held than there is, for an agent has shrunk, nothing of that is free.
//! - The allocator knows of the same: what is free is free there, and what a framework holds it holds there.
//! - Whatever is in two books is the same in both.
//! - Nobody who is away is offered anything, and nothing of an agent that is away or drained is offered.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::{FrameworkId, TaskKey};
use weir_resources::{Kind, Resources};

use super::agent::Agent;
use super::errand::Errand;
use super::record::Standing;
use super::rest::free;
use super::state::Ledger;

/// Up to so many agents, offers and tasks everything is asserted after every step of a debug build;
/// beyond, one agent at a time, for the whole would take longer than the step.
const SMALL: usize = 256;

const KINDS: [Kind; 2] = [Kind::Regular, Kind::Revocable];

impl Ledger {
    /// Asserts in debug builds that what must always hold does.
    pub(super) fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        if self.agents.by_id.len() + self.offers.len() + self.tasks.len() <= SMALL {
            self.assert_everything();
            return;
        }
        let turn = usize::try_from(self.next_number).unwrap_or(0) % self.agents.by_id.len().max(1);
        if let Some(agent) = self.agents.by_id.values().nth(turn) {
            self.assert_conserved(agent);
        }
    }

    pub(super) fn assert_everything(&self) {
        self.assert_offers();
        self.assert_tasks();
        self.assert_errands();
        for (name, id) in &self.agents.by_name {
            let agent = self.agents.by_id.get(id);
            assert_eq!(agent.map(|agent| &agent.info.name), Some(name));
        }
        assert_eq!(self.agents.by_name.len(), self.agents.by_id.len());
        for agent in self.agents.by_id.values() {
            self.assert_conserved(agent);
        }
    }

    /// Asserts the law of conservation on one agent, and that the allocator says the same.
    fn assert_conserved(&self, agent: &Agent) {
        let name = &agent.info.name;
        let offered = agent.offers.iter().filter_map(|id| self.offers.get(id));
        let offered = offered.map(|held| &held.offer.resources);
        let held: Vec<&Resources> = self.holders(agent).chain(offered).collect();
        for kind in KINDS {
            let total = of_kind(&agent.total, kind);
            let held: Vec<Resources> = held.iter().map(|held| of_kind(held, kind)).collect();
            let free_here = free(&total, &held);
            let free_there = self.allocator.free(agent.id, kind).unwrap_or_default();
            match Resources::sum(&held) {
                // Something is held twice: a task from before a restart has ended, and its agent has
                // not come to say so. Nothing more is given out until it has.
                Err(_) => assert!(free_there.is_empty(), "what is free on agent {name}"),
                Ok(all) => {
                    assert_eq!(free_here, free_there, "what is free on agent {name}");
                    let sum = all.checked_add(&free_there);
                    assert!(
                        !total.contains(&all) || sum.as_ref() == Ok(&total),
                        "agent {name} has {total}, and what is free and held is {sum:?}",
                    );
                }
            }
        }
        for (framework, held) in self.held_by_framework(agent) {
            for kind in KINDS {
                let here = of_kind(&held, kind);
                let there = self.allocator.held(agent.id, framework, kind);
                assert_eq!(here, there, "what framework {framework} holds on {name}");
            }
        }
    }

    /// Returns what is free on an agent, of both kinds.
    pub(super) fn free(&self, agent: &Agent) -> Resources {
        let free = KINDS.map(|kind| self.allocator.free(agent.id, kind).unwrap_or_default());
        Resources::sum(&free).expect("what is free can be together")
    }

    fn held_by_framework(&self, agent: &Agent) -> BTreeMap<FrameworkId, Resources> {
        let offers = agent.offers.iter().filter_map(|id| self.offers.get(id));
        let offers = offers.map(|held| (held.framework, &held.offer.resources));
        let tasks = agent.tasks.iter().filter_map(|key| self.tasks.get(key));
        let tasks = tasks
            .filter(|task| task.is_alive())
            .map(|task| (task.owner.framework, task.resources()));
        let strays = agent
            .strays
            .iter()
            .map(|(key, stray)| (key.framework, &stray.resources));
        let errands = agent
            .errands
            .iter()
            .filter_map(|number| self.errands.by_number.get(number));
        let pools = errands.filter_map(|errand| Some((errand.framework()?, &errand.pool)));
        let mut all: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
        for (framework, resources) in offers.chain(tasks).chain(strays).chain(pools) {
            let held = all.entry(framework).or_default();
            *held = held
                .checked_add(resources)
                .expect("what one holds on one agent can be together");
        }
        all
    }

    fn assert_offers(&self) {
        let mut of_agents = BTreeSet::new();
        for agent in self.agents.by_id.values() {
            let takes_offers = match agent.standing {
                Standing::Open => agent.session().is_some(),
                Standing::Draining { .. } => false,
            };
            assert!(
                takes_offers || agent.offers.is_empty(),
                "nothing of agent {} is offered",
                agent.info.name
            );
            for id in &agent.offers {
                assert_eq!(self.offers[id].offer.agent, agent.id);
                of_agents.insert(*id);
            }
        }
        let mut of_frameworks = BTreeSet::new();
        for framework in self.frameworks.by_id.values() {
            let is_there = framework.session().is_some();
            assert!(is_there || framework.offers.is_empty());
            for id in &framework.offers {
                assert_eq!(self.offers[id].framework, framework.id);
                of_frameworks.insert(*id);
            }
        }
        let all: BTreeSet<_> = self.offers.keys().copied().collect();
        assert_eq!(all, of_agents);
        assert_eq!(all, of_frameworks);
    }

    fn assert_tasks(&self) {
        for (key, task) in &self.tasks {
            assert_eq!(*key, task.key());
            assert!(self.agents.by_id[&task.agent].tasks.contains(key));
            let framework = &self.frameworks.by_id[&key.framework];
            assert!(framework.tasks.contains(&key.task));
            assert!(
                !self.errands.tasks.contains_key(key),
                "task {key} is launched once"
            );
        }
        let on_agents: usize = self
            .agents
            .by_id
            .values()
            .map(|agent| agent.tasks.len())
            .sum();
        assert_eq!(on_agents, self.tasks.len());
        let frameworks = self.frameworks.by_id.values();
        let of_frameworks: usize = frameworks.map(|framework| framework.tasks.len()).sum();
        assert_eq!(of_frameworks, self.tasks.len());
    }

    fn assert_errands(&self) {
        let mut tasks: BTreeSet<TaskKey> = BTreeSet::new();
        for (number, errand) in &self.errands.by_number {
            assert_eq!(*number, errand.number);
            assert!(errand.change().is_some(), "it waits for an agent");
            let agent = &self.agents.by_id[&errand.agent];
            assert!(agent.errands.contains(number));
            if let Some(framework) = errand.framework() {
                let own = self.frameworks.by_id.get(&framework);
                let is_own = own.is_none_or(|own| own.errands.contains(number));
                assert!(is_own, "errand {number:?} is known to its framework");
                tasks.extend(errand.tasks().map(|task| TaskKey {
                    framework,
                    task: task.id.clone(),
                }));
            }
            for step in &errand.steps {
                let key = errand.key(&step.operation.id);
                assert_eq!(self.errands.operations.get(&key), Some(number));
                assert!(self.answers.get(&key).is_none(), "{key} has one answer");
            }
        }
        let known: BTreeSet<TaskKey> = self.errands.tasks.keys().cloned().collect();
        assert_eq!(tasks, known);
        let errands = self.errands.by_number.values();
        let operations: usize = errands.map(|errand: &Errand| errand.steps.len()).sum();
        assert_eq!(operations, self.errands.operations.len());
        let on_agents: usize = self
            .agents
            .by_id
            .values()
            .map(|agent| agent.errands.len())
            .sum();
        assert_eq!(on_agents, self.errands.by_number.len());
    }
}

fn of_kind(resources: &Resources, kind: Kind) -> Resources {
    match kind {
        Kind::Regular => resources.regular(),
        Kind::Revocable => resources.revocable(),
    }
}
