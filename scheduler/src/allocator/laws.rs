//! The allocator grants what Mesos' text says, after any history.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{
    Amount, Kind, Principal, Range, Ranges, Reservation, Resource, ResourceName, ResourceParts,
    Resources, Role, Value, Volume,
};

use super::agent::AgentStanding;
use super::kinds::{KINDS, Kinds};
use super::reference::Reference;
use super::settings::Settings;
use super::state::{Allocator, nanos};
use super::weight::Weight;

/// Something that happens. Numbers are taken modulo how many there are.
#[derive(Clone, Debug)]
enum Event {
    AddAgent(u32, Resources),
    UpdateAgent(Index, Resources),
    RemoveAgent(Index),
    /// It registers again, with what is held there.
    ReturnAgent(Index),
    StandAgent(Index, AgentStanding),
    AddFramework(u32, Role, Kinds),
    UpdateFramework(Index, Role, Kinds),
    RemoveFramework(Index),
    Activate(Index),
    Deactivate(Index),
    Suppress(Index),
    Revive(Index),
    Weigh(Role, Weight),
    Recover(Index, Portion),
    Decline(Index, Portion, Duration),
    Claim(Index, u32, Portion),
    Reserve(Index),
    Pass(Duration),
    Poll(usize),
}

/// How much of a holding.
#[derive(Clone, Copy, Debug)]
enum Portion {
    All,
    Regular,
    /// Half of each amount, rounded down.
    Half,
}

/// The allocator, and what it is compared with.
struct Pair {
    real: Allocator,
    reference: Reference,
    now: Duration,
}

impl Pair {
    fn new() -> Self {
        let settings = Settings::default();
        Self {
            real: Allocator::new(settings, 1),
            reference: Reference::new(settings),
            now: Duration::from_secs(1),
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::AddAgent(agent, total) => {
                let agent = agent_id(*agent);
                let is_new = !self.reference.agents.contains_key(&agent);
                let added = self
                    .real
                    .add_agent(agent, total, &[], AgentStanding::Active);
                assert_eq!(added.is_ok(), is_new);
                if is_new {
                    self.reference.add_agent(agent, total, &[]);
                }
            }
            Event::UpdateAgent(index, total) => {
                if let Some(agent) = self.agent(index) {
                    self.real.update_agent(agent, total).expect("it is there");
                    let known = self.reference.agents.get_mut(&agent);
                    known.expect("it is there").total = total.clone();
                }
            }
            Event::RemoveAgent(index) => {
                if let Some(agent) = self.agent(index) {
                    self.real.remove_agent(agent).expect("it is there");
                    self.reference.remove_agent(agent);
                }
            }
            Event::ReturnAgent(index) => {
                if let Some(agent) = self.agent(index) {
                    let known = self.reference.agents[&agent].clone();
                    let held: Vec<_> = known.held.into_iter().collect();
                    self.real.remove_agent(agent).expect("it is there");
                    self.reference.remove_agent(agent);
                    self.real
                        .add_agent(agent, &known.total, &held, AgentStanding::Active)
                        .expect("it was removed");
                    self.reference.add_agent(agent, &known.total, &held);
                }
            }
            Event::StandAgent(index, standing) => {
                if let Some(agent) = self.agent(index) {
                    self.real
                        .set_agent_standing(agent, *standing)
                        .expect("it is there");
                    let known = self.reference.agents.get_mut(&agent);
                    known.expect("it is there").standing = *standing;
                }
            }
            Event::AddFramework(framework, role, kinds) => {
                let framework = framework_id(*framework);
                let is_new = !self.reference.frameworks.contains_key(&framework);
                let added = self.real.add_framework(framework, role, *kinds);
                assert_eq!(added.is_ok(), is_new);
                if is_new {
                    self.reference.add_framework(framework, role, *kinds);
                }
            }
            Event::UpdateFramework(index, role, kinds) => {
                if let Some(framework) = self.framework(index) {
                    self.real
                        .update_framework(framework, role, *kinds)
                        .expect("it is there");
                    self.reference.update_framework(framework, role, *kinds);
                }
            }
            Event::RemoveFramework(index) => {
                if let Some(framework) = self.framework(index) {
                    self.real.remove_framework(framework).expect("it is there");
                    self.reference.remove_framework(framework);
                }
            }
            Event::Activate(index) => {
                if let Some(framework) = self.framework(index) {
                    self.real
                        .activate_framework(framework)
                        .expect("it is there");
                    self.reference.activate(framework);
                }
            }
            Event::Deactivate(index) => {
                if let Some(framework) = self.framework(index) {
                    self.real
                        .deactivate_framework(framework)
                        .expect("it is there");
                    self.reference.deactivate(framework);
                }
            }
            Event::Suppress(index) => {
                if let Some(framework) = self.framework(index) {
                    self.real.suppress(framework).expect("it is there");
                    self.reference.suppress(framework);
                }
            }
            Event::Revive(index) => {
                if let Some(framework) = self.framework(index) {
                    self.real.revive(framework).expect("it is there");
                    self.reference.revive(framework);
                }
            }
            Event::Weigh(role, weight) => {
                self.real.set_weight(role, *weight);
                self.reference.set_weight(role, *weight);
            }
            Event::Recover(index, portion) => {
                if let Some((agent, framework, held)) = self.holding(index) {
                    let part = portion.of(&held);
                    self.real
                        .recover(agent, framework, &part)
                        .expect("it is held");
                    self.reference.recover(agent, framework, &part);
                }
            }
            Event::Decline(index, portion, refused_for) => {
                if let Some((agent, framework, held)) = self.holding(index) {
                    let part = portion.of(&held);
                    self.real
                        .decline(agent, framework, &part, *refused_for, self.now)
                        .expect("it is held");
                    self.reference
                        .decline(agent, framework, &part, *refused_for, self.now);
                }
            }
            Event::Claim(index, framework, portion) => {
                if let Some(agent) = self.agent(index) {
                    let framework = framework_id(*framework);
                    let part = portion.of(&self.reference.agents[&agent].free(Kind::Regular));
                    self.real
                        .claim(agent, framework, &part)
                        .expect("it is free");
                    if !part.is_empty() {
                        self.reference.claim(agent, framework, &part);
                    }
                }
            }
            Event::Reserve(index) => self.reserve(index),
            Event::Pass(time) => self.now += *time,
            Event::Poll(agents) => self.poll(*agents),
        }
        self.real.assert_consistent();
    }

    /// Reserves the unreserved part of a holding, or unreserves the reserved.
    fn reserve(&mut self, index: &Index) {
        let Some((agent, framework, held)) = self.holding(index) else {
            return;
        };
        let Some(known) = self.reference.frameworks.get(&framework) else {
            return;
        };
        let regular = held.regular();
        let dynamic = regular.filter(|entry| entry.reservation().is_dynamic());
        let (taken, given) = if dynamic.is_empty() {
            let taken = regular.unreserved();
            let given = taken.iter().map(|entry| {
                let reservation = dynamic_for(&known.role);
                entry.with_reservation(reservation).expect("it is regular")
            });
            let given = Resources::collect(given).expect("another reservation");
            (taken, given)
        } else {
            let given = dynamic.strip_reservations();
            (dynamic, given)
        };
        if self.reference.agents[&agent].total.contains(&taken) {
            self.real
                .convert(agent, framework, &taken, &given)
                .expect("it is held and there");
            self.reference.convert(agent, framework, &taken, &given);
        }
    }

    /// Looks at so many agents, and compares what is granted on each.
    fn poll(&mut self, agents: usize) {
        let now = nanos(self.now);
        self.real.wake(now, agents);
        for _ in 0..agents {
            let mut grants = Vec::new();
            let Some(agent) = self.real.visit_next(now, &mut grants) else {
                break;
            };
            assert_eq!(grants, self.reference.allocate(agent, self.now));
        }
    }

    /// Polls until nothing is pending, and sees to it that nothing was overlooked.
    fn settle(&mut self) {
        let is_due = |real: &Allocator, now| real.next_deadline().is_some_and(|due| due <= now);
        while self.real.is_pending() || is_due(&self.real, self.now) {
            self.poll(3);
        }
        let agents: Vec<AgentId> = self.reference.agents.keys().copied().collect();
        for agent in agents {
            assert_eq!(self.reference.clone().allocate(agent, self.now), []);
            for kind in KINDS {
                let free = self.real.free(agent, kind).expect("it is there");
                assert_eq!(free, self.reference.agents[&agent].free(kind));
            }
        }
    }

    fn agent(&self, index: &Index) -> Option<AgentId> {
        let agents: Vec<AgentId> = self.reference.agents.keys().copied().collect();
        (!agents.is_empty()).then(|| *index.get(&agents))
    }

    fn framework(&self, index: &Index) -> Option<FrameworkId> {
        let frameworks: Vec<FrameworkId> = self.reference.frameworks.keys().copied().collect();
        (!frameworks.is_empty()).then(|| *index.get(&frameworks))
    }

    fn holding(&self, index: &Index) -> Option<(AgentId, FrameworkId, Resources)> {
        let holdings: Vec<_> = self
            .reference
            .agents
            .iter()
            .flat_map(|(agent, known)| known.held.iter().map(|(id, held)| (*agent, *id, held)))
            .collect();
        if holdings.is_empty() {
            return None;
        }
        let (agent, framework, held) = *index.get(&holdings);
        Some((agent, framework, held.clone()))
    }
}

impl Portion {
    fn of(self, resources: &Resources) -> Resources {
        match self {
            Self::All => resources.clone(),
            Self::Regular => resources.regular(),
            Self::Half => {
                let halves = resources.iter().filter_map(|entry| {
                    let value = match entry.value() {
                        Value::Scalar(amount) if entry.volume().is_none() => {
                            Value::Scalar(Amount::from_thousandths(amount.thousandths() / 2))
                        }
                        whole @ (Value::Scalar(_) | Value::Ranges(_) | Value::Set(_)) => {
                            whole.clone()
                        }
                    };
                    let parts = entry.clone().into_parts();
                    Resource::from_parts(ResourceParts { value, ..parts }).ok()
                });
                Resources::collect(halves).expect("a part")
            }
        }
    }
}

fn agent_id(number: u32) -> AgentId {
    AgentId::from_bits(u128::from(number))
}

fn framework_id(number: u32) -> FrameworkId {
    FrameworkId::from_bits(u128::from(number))
}

fn dynamic_for(role: &Role) -> Reservation {
    Reservation::Dynamic {
        role: role.clone(),
        principal: Principal::new("ops").expect("a principal"),
        labels: weir_resources::Labels::default(),
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(|name| Role::new(name).expect("a role"))
}

fn kinds() -> impl Strategy<Value = Kinds> {
    prop::sample::select(vec![Kinds::Regular, Kinds::WithRevocable])
}

fn weight() -> impl Strategy<Value = Weight> {
    prop::sample::select(vec![500, 1_000, 2_000, 3_000])
        .prop_map(|thousandths| Weight::from_thousandths(thousandths).expect("a weight"))
}

/// Returns what agents may have: a few amounts, so that shares are often equal, some of it reserved,
/// lent, a volume, or crumbs.
fn total() -> impl Strategy<Value = Resources> {
    let scalar = |name: ResourceName, thousandths: u64| ResourceParts {
        name,
        value: Amount::from_thousandths(thousandths).into(),
        reservation: Reservation::Unreserved,
        volume: None,
        kind: Kind::Regular,
    };
    let amount = || prop::sample::select(vec![0, 5, 1_000, 2_000, 4_000]);
    (
        (amount(), amount(), amount()),
        (amount(), role()),
        (amount(), role(), any::<bool>()),
        amount(),
        prop::option::of(1_u64..4),
    )
        .prop_map(
            move |((cpus, mem, gpus), (kept, owner), (disk, keeper, is_volume), lent, ports)| {
                let volume = is_volume.then(|| Volume {
                    id: "data".parse().expect("an id"),
                    container_path: "data".parse().expect("a path"),
                    mode: weir_resources::VolumeMode::ReadWrite,
                });
                let mut parts = vec![
                    scalar(ResourceName::CPUS, cpus),
                    scalar(ResourceName::MEM, mem * 64),
                    scalar(ResourceName::new("gpus").expect("a name"), gpus),
                    ResourceParts {
                        reservation: Reservation::Static(owner),
                        ..scalar(ResourceName::CPUS, kept)
                    },
                    ResourceParts {
                        reservation: Reservation::Static(keeper),
                        volume,
                        ..scalar(ResourceName::DISK, disk)
                    },
                    ResourceParts {
                        kind: Kind::Revocable,
                        ..scalar(ResourceName::CPUS, lent)
                    },
                ];
                if let Some(ports) = ports {
                    let range = Range::new(31_000, 31_000 + ports).expect("in order");
                    parts.push(ResourceParts {
                        value: Ranges::from(range).into(),
                        ..scalar(ResourceName::PORTS, 1)
                    });
                }
                let entries = parts
                    .into_iter()
                    .filter_map(|parts| Resource::from_parts(parts).ok());
                Resources::collect(entries).expect("each is there once")
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    let index = || any::<Index>();
    let standing = prop::sample::select(vec![AgentStanding::Active, AgentStanding::Inactive]);
    let portion = || prop::sample::select(vec![Portion::All, Portion::Regular, Portion::Half]);
    let refused_for = prop::sample::select(vec![0, 500, 1_000, 2_500, 10_000, u64::MAX / 4_000]);
    prop_oneof![
        6 => (0..5_u32, total()).prop_map(|(agent, total)| Event::AddAgent(agent, total)),
        2 => (index(), total()).prop_map(|(agent, total)| Event::UpdateAgent(agent, total)),
        1 => index().prop_map(Event::RemoveAgent),
        1 => index().prop_map(Event::ReturnAgent),
        1 => (index(), standing).prop_map(|(agent, to)| Event::StandAgent(agent, to)),
        4 => (0..6_u32, role(), kinds()).prop_map(|(id, role, kinds)| Event::AddFramework(id, role, kinds)),
        1 => (index(), role(), kinds()).prop_map(|(id, role, kinds)| Event::UpdateFramework(id, role, kinds)),
        1 => index().prop_map(Event::RemoveFramework),
        1 => index().prop_map(Event::Activate),
        1 => index().prop_map(Event::Deactivate),
        1 => index().prop_map(Event::Suppress),
        1 => index().prop_map(Event::Revive),
        1 => (role(), weight()).prop_map(|(role, weight)| Event::Weigh(role, weight)),
        6 => (index(), portion()).prop_map(|(holding, part)| Event::Recover(holding, part)),
        12 => (index(), portion(), refused_for).prop_map(|(holding, part, millis)| {
            Event::Decline(holding, part, Duration::from_millis(millis))
        }),
        1 => (index(), 0..8_u32, portion()).prop_map(|(agent, id, part)| Event::Claim(agent, id, part)),
        2 => index().prop_map(Event::Reserve),
        3 => (0..3_000_u64).prop_map(|millis| Event::Pass(Duration::from_millis(millis))),
        12 => (1..4_usize).prop_map(Event::Poll),
    ]
}

/// Histories are long, and everything is counted again after every event: fewer of them are tried than
/// of other laws, unless PROPTEST_CASES asks for more.
fn histories(part: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.div_ceil(part),
        ..config
    }
}

proptest! {
    #![proptest_config(histories(3))]

    #[test]
    fn grants_are_those_of_mesos_after_any_history(events in prop::collection::vec(event(), 1..120)) {
        let mut pair = Pair::new();
        for event in &events {
            pair.happen(event);
        }
        pair.settle();
    }

    #[test]
    fn nothing_is_overlooked_after_any_event(events in prop::collection::vec(event(), 1..40)) {
        let mut pair = Pair::new();
        for event in &events {
            pair.happen(event);
            pair.settle();
        }
    }

}

proptest! {
    #![proptest_config(histories(10))]

    /// More frameworks than are compared one by one.
    #[test]
    fn grants_are_those_of_mesos_among_many(
        members in prop::collection::vec((role(), kinds()), 40..80),
        totals in prop::collection::vec(total(), 5),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut pair = Pair::new();
        for (number, (role, kinds)) in (100..).zip(members) {
            pair.happen(&Event::AddFramework(number, role, kinds));
        }
        for (number, total) in (0..).zip(totals) {
            pair.happen(&Event::AddAgent(number, total));
        }
        for event in &events {
            pair.happen(event);
        }
        pair.settle();
    }
}
