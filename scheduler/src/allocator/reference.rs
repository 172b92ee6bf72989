//! The allocator of Mesos, word for word and as slow: what the real one is compared with.
//!
//! Nothing is kept that can be found out: what is free, who holds how much and whose turn it is are
//! added up and sorted again for every look at an agent.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{Kind, Resource, ResourceParts, Resources, Role, Value};

use super::agent::{AgentStanding, of_kind};
use super::grant::Grant;
use super::kinds::{KINDS, Kinds};
use super::settings::Settings;
use super::weight::Weight;

#[derive(Clone, Debug)]
pub(super) struct Reference {
    settings: Settings,
    pub(super) agents: BTreeMap<AgentId, RefAgent>,
    pub(super) frameworks: BTreeMap<FrameworkId, RefFramework>,
    weights: BTreeMap<Role, Weight>,
    role_allocations: BTreeMap<Role, u64>,
    filters: Vec<Filter>,
}

#[derive(Clone, Debug)]
pub(super) struct RefAgent {
    pub(super) total: Resources,
    pub(super) standing: AgentStanding,
    pub(super) held: BTreeMap<FrameworkId, Resources>,
}

#[derive(Clone, Debug)]
pub(super) struct RefFramework {
    pub(super) role: Role,
    kinds: Kinds,
    is_connected: bool,
    is_suppressed: bool,
    allocations: u64,
}

#[derive(Clone, Debug)]
struct Filter {
    framework: FrameworkId,
    agent: AgentId,
    kind: Kind,
    refused: Resources,
    until: Duration,
}

/// The greatest of some fractions.
#[derive(Clone, Copy, Debug)]
struct Fraction {
    top: u128,
    bottom: u128,
}

impl Reference {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            weights: BTreeMap::new(),
            role_allocations: BTreeMap::new(),
            filters: Vec::new(),
        }
    }

    pub(super) fn add_agent(
        &mut self,
        agent: AgentId,
        total: &Resources,
        held: &[(FrameworkId, Resources)],
    ) {
        for (framework, resources) in held {
            let kinds = KINDS
                .iter()
                .filter(|kind| !of_kind(resources, **kind).is_empty());
            self.count(*framework, kinds.count());
        }
        let held = held.iter().cloned().collect();
        let standing = AgentStanding::Active;
        self.agents.insert(
            agent,
            RefAgent {
                total: total.clone(),
                standing,
                held,
            },
        );
    }

    pub(super) fn remove_agent(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.filters.retain(|filter| filter.agent != agent);
    }

    pub(super) fn add_framework(&mut self, framework: FrameworkId, role: &Role, kinds: Kinds) {
        self.join(framework, role, kinds, true, false);
    }

    fn join(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        kinds: Kinds,
        is_connected: bool,
        is_suppressed: bool,
    ) {
        self.frameworks.insert(
            framework,
            RefFramework {
                role: role.clone(),
                kinds,
                is_connected,
                is_suppressed,
                allocations: 0,
            },
        );
        let lots = self
            .agents
            .values()
            .filter_map(|agent| agent.held.get(&framework))
            .flat_map(|held| KINDS.map(|kind| !of_kind(held, kind).is_empty()))
            .filter(|is_held| *is_held);
        self.count(framework, lots.count());
    }

    pub(super) fn update_framework(&mut self, framework: FrameworkId, role: &Role, kinds: Kinds) {
        let known = self.frameworks.get_mut(&framework).expect("it is there");
        known.kinds = kinds;
        if known.role != *role {
            let (is_connected, is_suppressed) = (known.is_connected, known.is_suppressed);
            self.leave(framework);
            self.join(framework, role, kinds, is_connected, is_suppressed);
        }
    }

    pub(super) fn remove_framework(&mut self, framework: FrameworkId) {
        self.leave(framework);
        self.forget(framework);
    }

    fn leave(&mut self, framework: FrameworkId) {
        let gone = self.frameworks.remove(&framework).expect("it is there");
        if self
            .frameworks
            .values()
            .all(|other| other.role != gone.role)
        {
            self.role_allocations.remove(&gone.role);
        }
    }

    pub(super) fn activate(&mut self, framework: FrameworkId) {
        let framework = self.frameworks.get_mut(&framework).expect("it is there");
        framework.is_connected = true;
        framework.is_suppressed = false;
    }

    pub(super) fn deactivate(&mut self, framework: FrameworkId) {
        self.forget(framework);
        let framework = self.frameworks.get_mut(&framework).expect("it is there");
        framework.is_connected = false;
    }

    pub(super) fn suppress(&mut self, framework: FrameworkId) {
        let framework = self.frameworks.get_mut(&framework).expect("it is there");
        framework.is_suppressed = true;
    }

    pub(super) fn revive(&mut self, framework: FrameworkId) {
        self.forget(framework);
        let framework = self.frameworks.get_mut(&framework).expect("it is there");
        framework.is_suppressed = false;
    }

    fn forget(&mut self, framework: FrameworkId) {
        self.filters.retain(|filter| filter.framework != framework);
    }

    pub(super) fn set_weight(&mut self, role: &Role, weight: Weight) {
        self.weights.insert(role.clone(), weight);
    }

    pub(super) fn recover(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        resources: &Resources,
    ) {
        let held = &mut self.agents.get_mut(&agent).expect("it is there").held;
        let rest = held[&framework].checked_sub(resources).expect("it is held");
        held.insert(framework, rest);
        held.retain(|_, held| !held.is_empty());
    }

    pub(super) fn decline(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        resources: &Resources,
        refused_for: Duration,
        now: Duration,
    ) {
        self.recover(agent, framework, resources);
        let is_connected = self
            .frameworks
            .get(&framework)
            .is_some_and(|framework| framework.is_connected);
        if !is_connected {
            return;
        }
        for kind in KINDS {
            let refused = of_kind(resources, kind);
            if !refused.is_empty() {
                self.filters.push(Filter {
                    framework,
                    agent,
                    kind,
                    refused,
                    until: now + refused_for.max(self.settings.refusal_min),
                });
            }
        }
    }

    pub(super) fn claim(&mut self, agent: AgentId, framework: FrameworkId, resources: &Resources) {
        let held = &mut self.agents.get_mut(&agent).expect("it is there").held;
        let own = held.entry(framework).or_default();
        *own = own.checked_add(resources).expect("it can be together");
    }

    pub(super) fn convert(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        taken: &Resources,
        given: &Resources,
    ) {
        let agent = self.agents.get_mut(&agent).expect("it is there");
        let own = agent.held.get_mut(&framework).expect("it holds something");
        for resources in [own, &mut agent.total] {
            *resources = resources
                .checked_sub(taken)
                .expect("it is there")
                .checked_add(given)
                .expect("it can be together");
        }
    }

    /// Allocates what is free on one agent.
    pub(super) fn allocate(&mut self, agent: AgentId, now: Duration) -> Vec<Grant> {
        let mut grants = Vec::new();
        match self.agents[&agent].standing {
            AgentStanding::Active => {}
            AgentStanding::Inactive => return grants,
        }
        for kind in KINDS {
            let mut available = self.agents[&agent].free(kind);
            for role in self.sorted_roles() {
                for framework in self.sorted_frameworks(&role) {
                    let resources = available.available_to(&role);
                    if !self.frameworks[&framework].kinds.include(kind)
                        || !self.is_allocatable(&resources)
                        || self.is_filtered(framework, agent, kind, &resources, now)
                    {
                        continue;
                    }
                    available = available.checked_sub(&resources).expect("it is a part");
                    self.claim(agent, framework, &resources);
                    self.count(framework, 1);
                    grants.push(Grant {
                        framework,
                        agent,
                        kind,
                        resources,
                    });
                }
            }
        }
        grants
    }

    fn is_allocatable(&self, resources: &Resources) -> bool {
        let least = self.settings.least;
        resources.iter().any(|resource| resource.role().is_some())
            || !resources.is_empty()
                && (resources.amount("cpus") >= least.cpus || resources.amount("mem") >= least.mem)
    }

    fn is_filtered(
        &self,
        framework: FrameworkId,
        agent: AgentId,
        kind: Kind,
        resources: &Resources,
        now: Duration,
    ) -> bool {
        self.filters.iter().any(|filter| {
            filter.framework == framework
                && filter.agent == agent
                && filter.kind == kind
                && filter.until > now
                && filter.refused.contains(resources)
        })
    }

    fn count(&mut self, framework: FrameworkId, allocations: usize) {
        if let Some(framework) = self.frameworks.get_mut(&framework) {
            let allocations = u64::try_from(allocations).expect("few");
            framework.allocations += allocations;
            *self
                .role_allocations
                .entry(framework.role.clone())
                .or_default() += allocations;
        }
    }

    /// Returns the roles in DRF order: of what they hold unreserved against the cluster's total.
    fn sorted_roles(&self) -> Vec<Role> {
        let mut cluster = BTreeMap::new();
        for agent in self.agents.values() {
            add(&mut cluster, &agent.rest());
            for held in agent.held.values() {
                add(&mut cluster, held);
            }
        }
        let names: BTreeSet<&Role> = self.frameworks.values().map(|known| &known.role).collect();
        let mut roles: Vec<_> = names
            .into_iter()
            .map(|role| {
                let mut held = BTreeMap::new();
                for (framework, known) in &self.frameworks {
                    if known.role == *role {
                        for resources in self.held_by(*framework) {
                            add(&mut held, &resources.unreserved());
                        }
                    }
                }
                let weight = self.weights.get(role).copied().unwrap_or_default();
                let allocations = self.role_allocations.get(role).copied().unwrap_or(0);
                (
                    Fraction::dominant(&held, &cluster, weight),
                    allocations,
                    role,
                )
            })
            .collect();
        roles.sort();
        roles.into_iter().map(|(_, _, role)| role.clone()).collect()
    }

    /// Returns the frameworks of a role that want something in DRF order: of all that they hold
    /// against all that the role holds.
    fn sorted_frameworks(&self, role: &Role) -> Vec<FrameworkId> {
        let members = || {
            self.frameworks
                .iter()
                .filter(|(_, known)| known.role == *role)
        };
        let mut all = BTreeMap::new();
        for (framework, _) in members() {
            for resources in self.held_by(*framework) {
                add(&mut all, resources);
            }
        }
        let mut frameworks: Vec<_> = members()
            .filter(|(_, known)| known.is_connected && !known.is_suppressed)
            .map(|(framework, known)| {
                let mut held = BTreeMap::new();
                for resources in self.held_by(*framework) {
                    add(&mut held, resources);
                }
                let share = Fraction::dominant(&held, &all, Weight::ONE);
                (share, known.allocations, *framework)
            })
            .collect();
        frameworks.sort();
        frameworks
            .into_iter()
            .map(|(_, _, framework)| framework)
            .collect()
    }

    fn held_by(&self, framework: FrameworkId) -> impl Iterator<Item = &Resources> {
        let agents = self.agents.values();
        agents.filter_map(move |agent| agent.held.get(&framework))
    }
}

impl RefAgent {
    /// Returns what is free of a kind: nothing, if no agent could have that and what is held.
    pub(super) fn free(&self, kind: Kind) -> Resources {
        let rest = of_kind(&self.rest(), kind);
        let held = self.held.values().map(|held| of_kind(held, kind));
        let all: Vec<Resources> = held.chain([rest.clone()]).collect();
        match Resources::sum(&all) {
            Ok(_) => rest,
            Err(_) => Resources::default(),
        }
    }

    /// Returns the total less all that is held, of which some may not be in the total.
    fn rest(&self) -> Resources {
        let entries = self.total.iter().filter_map(|entry| {
            let mut held = self.held.values().flat_map(Resources::iter);
            let rest = held.try_fold(entry.value().clone(), |rest, held| {
                if held.name() == entry.name()
                    && held.kind() == entry.kind()
                    && held.reservation() == entry.reservation()
                    && held.volume() == entry.volume()
                {
                    // A volume is held as a whole, whatever became of its size.
                    let is_plain = entry.volume().is_none();
                    is_plain.then(|| rest_of(rest, held.value())).flatten()
                } else {
                    Some(rest)
                }
            });
            let parts = entry.clone().into_parts();
            let rest = ResourceParts {
                value: rest?,
                ..parts
            };
            Resource::from_parts(rest).ok()
        });
        Resources::collect(entries).expect("a part of the total")
    }
}

fn rest_of(own: Value, taken: &Value) -> Option<Value> {
    match (own, taken) {
        (Value::Scalar(own), Value::Scalar(taken)) => own.checked_sub(*taken).map(Value::Scalar),
        (Value::Ranges(own), Value::Ranges(taken)) => Some(Value::Ranges(own.subtract(taken))),
        (Value::Set(own), Value::Set(taken)) => Some(Value::Set(own.subtract(taken))),
        (own @ (Value::Scalar(_) | Value::Ranges(_) | Value::Set(_)), _) => Some(own),
    }
}

fn add(sum: &mut BTreeMap<String, u128>, resources: &Resources) {
    for (name, amount) in resources.scalars() {
        *sum.entry(name.to_string()).or_default() += u128::from(amount.thousandths());
    }
}

impl Fraction {
    fn dominant(
        held: &BTreeMap<String, u128>,
        total: &BTreeMap<String, u128>,
        weight: Weight,
    ) -> Self {
        let none = Self { top: 0, bottom: 1 };
        let shares = held.iter().map(|(name, held)| Self {
            top: *held,
            bottom: total[name] * u128::from(weight.thousandths()),
        });
        shares.max().unwrap_or(none)
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.top * other.bottom).cmp(&(other.top * self.bottom))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fraction {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Fraction {}
