//! What the allocator costs: `cargo bench -p weir-scheduler --bench allocator`.
//!
//! In the shape of Mesos' own benchmarks (`DeclineOffers`, `AddAndUpdateSlave`), with what an
//! event-driven allocator adds: how long one event takes. Each measurement is a line of JSON with a
//! name, a value and a unit. In the order in which they are made:
//!
//! - `declining`: every framework declines every offer for good, while all other agents are on offer.
//! - `refused`: an agent that all frameworks but one refuse is freed.
//! - `revive`: a framework wants everything again, of which all others want nothing.
//! - `freed`: a task ends on one of many agents that are in use, and what it had is granted.
//! - `behind`: the same, and nine frameworks of ten hold nothing and refuse everything, so that they
//!   are the first in the order and to be passed over.
//! - `added`, `updated`, `removed`: agents come, change and go.
//!
//! An event's time is that of telling it to the allocator and of the poll that follows. Times are by the
//! clock, and whatever else runs on the machine is in them; a rate is given by the time on a processor,
//! too.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Parser;
use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{
    Amount, Kind, Range, Ranges, Reservation, Resource, ResourceName, ResourceParts, Resources,
    Role,
};
use weir_scheduler::allocator::{AgentStanding, Allocator, Grant, Kinds, Settings};

/// Longer than anything takes here.
const FOR_GOOD: Duration = Duration::from_secs(365 * 24 * 3600);

/// How many agents are looked at in a poll: as many as the scheduler looks at between two messages.
const AGENTS_MAX: usize = 16;

/// Measures what the allocator costs
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many agents there are
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    agents: u32,
    /// How many frameworks there are
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    frameworks: u32,
    /// Among how many roles they are divided
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    roles: u32,
    /// How many different sorts of agents there are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    shapes: u32,
    /// Keep a part of each agent for one of the roles
    #[arg(long)]
    reserved: bool,
    /// How many offers are declined at most; all that there can be are agents times frameworks
    #[arg(long, default_value_t = 2_000_000)]
    offers: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    declining(&arguments);
    if !arguments.reserved {
        refused_and_revived(&arguments);
    }
    freed(&arguments, 1, "freed");
    freed(&arguments, 10, "behind");
    coming_and_going(&arguments);
}

/// Declines offers for good until nobody is left to be offered anything, or for as long as asked.
fn declining(arguments: &Arguments) {
    let mut cluster = Cluster::new(arguments);
    cluster.add_frameworks();
    cluster.add_agents();
    let mut offers: VecDeque<Grant> = cluster.poll_all().into();
    let mut times = Times::new();
    let mut granted = offers.len();
    let (began, began_on_cpu) = (Instant::now(), on_cpu());
    while let Some(offer) = offers.pop_front() {
        if times.len() >= arguments.offers {
            break;
        }
        let grants = times.take(|| cluster.decline(&offer));
        granted += grants.len();
        offers.extend(grants);
    }
    let seconds = began.elapsed().as_secs_f64();
    let declined = times.len() as f64;
    tell("declining_offers", declined, "offers");
    tell("declining_rate", declined / seconds, "offers/s");
    if let (Some(began), Some(ended)) = (began_on_cpu, on_cpu()) {
        let seconds = ended.saturating_sub(began).as_secs_f64();
        tell("declining_rate_on_cpu", declined / seconds, "offers/s");
    }
    assert!(granted >= times.len(), "what is declined was granted");
    times.tell("declining");
    cluster.check();
}

/// Frees agents that all frameworks but one refuse, and then has the others revive one by one.
fn refused_and_revived(arguments: &Arguments) {
    let mut cluster = Cluster::new(arguments);
    cluster.add_frameworks();
    // Enough agents to measure, and not so many that all filters fill the memory.
    let agents = arguments.agents.min(1_000);
    cluster.add_agents_up_to(agents);
    let mut offers = cluster.poll_all();
    // Until each agent is held by the only framework that has not refused it.
    for _ in 1..arguments.frameworks {
        let mut next = Vec::with_capacity(offers.len());
        for offer in &offers {
            next.extend(cluster.decline(offer));
        }
        next.extend(cluster.poll_all());
        offers = next;
    }
    let mut freed = Times::new();
    for offer in offers.iter().cycle().take(10 * offers.len().min(1_000)) {
        let grants = freed.take(|| cluster.recover(offer, &offer.resources));
        assert_eq!(grants.len(), 1, "the one that has not refused gets it");
    }
    freed.tell("refused");
    for offer in &offers {
        cluster.decline(offer);
    }
    assert!(cluster.poll_all().is_empty(), "all frameworks refuse all");

    let mut calls = Times::new();
    let mut sweeps = Times::new();
    for framework in 0..arguments.frameworks.min(20) {
        let framework = framework_id(framework);
        let began = Instant::now();
        let mut grants = calls.take(|| {
            cluster.allocator.revive(framework).expect("it is there");
            cluster.poll()
        });
        while cluster.allocator.is_pending() {
            grants.extend(calls.take(|| cluster.poll()));
        }
        sweeps.push(began.elapsed());
        assert_eq!(grants.len(), agents as usize, "it gets all");
        for grant in &grants {
            cluster.decline(grant);
        }
    }
    calls.tell("revive_call");
    sweeps.tell("revive_all_agents");
    cluster.check();
}

/// Ends tasks one by one on agents that are in use by every `users`th framework; the others refuse all.
fn freed(arguments: &Arguments, users: u128, name: &str) {
    let mut cluster = Cluster::new(arguments);
    cluster.add_frameworks();
    let agents = if users == 1 {
        arguments.agents
    } else {
        arguments.agents.min(1_000)
    };
    cluster.add_agents_up_to(agents);
    let mut tasks = VecDeque::new();
    let task = quantities(1, 1_024);
    let mut grants: VecDeque<Grant> = cluster.poll_all().into();
    while let Some(grant) = grants.pop_front() {
        if !grant.framework.bits().is_multiple_of(users) {
            grants.extend(cluster.decline(&grant));
            continue;
        }
        let mut rest = grant.resources.clone();
        while let Ok(less) = rest.checked_sub(&task) {
            tasks.push_back((grant.agent, grant.framework));
            rest = less;
        }
        grants.extend(cluster.decline(&Grant {
            resources: rest,
            ..grant
        }));
    }
    let mut times = Times::new();
    for _ in 0..arguments.offers.min(500_000) {
        let Some((agent, framework)) = tasks.pop_front() else {
            break;
        };
        let grants = times.take(|| {
            let allocator = &mut cluster.allocator;
            allocator
                .recover(agent, framework, &task)
                .expect("the task had it");
            cluster.poll()
        });
        // Whoever gets it has refused the rest that was there before.
        for grant in grants {
            let rest = grant.resources.checked_sub(&task).expect("room for a task");
            tasks.push_back((grant.agent, grant.framework));
            cluster.decline(&Grant {
                resources: rest,
                ..grant
            });
        }
    }
    times.tell(name);
    cluster.check();
}

/// Adds agents, changes what they have, and removes them.
fn coming_and_going(arguments: &Arguments) {
    let mut cluster = Cluster::new(arguments);
    cluster.add_frameworks();
    let mut offers = Vec::new();
    let mut added = Times::new();
    for agent in 0..arguments.agents {
        offers.extend(added.take(|| {
            cluster.add_agent(agent);
            cluster.poll()
        }));
    }
    added.tell("added");
    let mut updated = Times::new();
    for agent in 0..arguments.agents {
        let total = cluster
            .total(agent)
            .checked_add(&lent(2))
            .expect("regular and revocable are apart");
        offers.extend(updated.take(|| {
            cluster
                .allocator
                .update_agent(agent_id(agent), &total)
                .expect("it is there");
            cluster.poll()
        }));
    }
    updated.tell("updated");
    cluster.check();
    let mut removed = Times::new();
    for agent in 0..arguments.agents {
        removed.take(|| {
            cluster
                .allocator
                .remove_agent(agent_id(agent))
                .expect("it is there");
            cluster.poll()
        });
    }
    removed.tell("removed");
    assert!(
        offers.len() >= arguments.agents as usize,
        "every agent was offered"
    );
    cluster.check();
}

/// An allocator and what it is told of.
struct Cluster {
    allocator: Allocator,
    arguments: Arguments,
    now: Duration,
}

impl Cluster {
    fn new(arguments: &Arguments) -> Self {
        Self {
            allocator: Allocator::new(Settings::default(), 0),
            arguments: arguments.clone(),
            now: Duration::from_secs(1),
        }
    }

    fn add_frameworks(&mut self) {
        for framework in 0..self.arguments.frameworks {
            let role = role(framework % self.arguments.roles);
            // Every other one has opted in.
            let kinds = match framework % 2 {
                0 => Kinds::WithRevocable,
                _ => Kinds::Regular,
            };
            self.allocator
                .add_framework(framework_id(framework), &role, kinds)
                .expect("it is new");
        }
    }

    fn add_agents(&mut self) {
        self.add_agents_up_to(self.arguments.agents);
    }

    fn add_agents_up_to(&mut self, agents: u32) {
        for agent in 0..agents {
            self.add_agent(agent);
        }
    }

    fn add_agent(&mut self, agent: u32) {
        let total = self.total(agent);
        self.allocator
            .add_agent(agent_id(agent), &total, &[], AgentStanding::Active)
            .expect("it is new");
    }

    /// Returns what an agent has: as Mesos' benchmarks give it, in as many sorts as asked for.
    fn total(&self, agent: u32) -> Resources {
        let shape = u64::from(agent % self.arguments.shapes);
        let ports = Range::new(31_000, 32_000).expect("in order");
        let ports = Ranges::from(ports);
        let mut total = quantities(24 + 8 * shape, 4_096 + 16_384 * (shape * 7 % 5))
            .checked_add(&quantity(ResourceName::DISK, 4_096))
            .and_then(|sum| sum.checked_add(&quantity(ResourceName::PORT_BLOCKS, 32)))
            .expect("other names");
        let ports = Resource::new(ResourceName::PORTS, ports).expect("some ports");
        total = total
            .checked_add(&Resources::from(ports))
            .expect("another name");
        if self.arguments.reserved {
            let role = role(agent % self.arguments.roles);
            let kept = quantities(4, 512);
            let kept = kept.iter().map(|resource| {
                let reservation = Reservation::Static(role.clone());
                resource.with_reservation(reservation).expect("regular")
            });
            let kept = Resources::collect(kept).expect("other names");
            total = total.checked_add(&kept).expect("kept apart");
        }
        total
    }

    fn poll(&mut self) -> Vec<Grant> {
        self.allocator.poll_grants(self.now, AGENTS_MAX)
    }

    fn poll_all(&mut self) -> Vec<Grant> {
        let mut grants = self.poll();
        while self.allocator.is_pending() {
            grants.extend(self.poll());
        }
        grants
    }

    fn decline(&mut self, offer: &Grant) -> Vec<Grant> {
        self.allocator
            .decline(
                offer.agent,
                offer.framework,
                &offer.resources,
                FOR_GOOD,
                self.now,
            )
            .expect("it was granted");
        self.poll()
    }

    fn recover(&mut self, offer: &Grant, resources: &Resources) -> Vec<Grant> {
        self.allocator
            .recover(offer.agent, offer.framework, resources)
            .expect("it was granted");
        self.poll()
    }

    /// Sees to it that what was measured was right.
    fn check(&self) {
        self.allocator.assert_consistent();
    }
}

/// How long events took.
struct Times {
    nanos: Vec<u64>,
}

impl Times {
    fn new() -> Self {
        Self { nanos: Vec::new() }
    }

    fn len(&self) -> usize {
        self.nanos.len()
    }

    fn take<T>(&mut self, event: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = event();
        self.push(began.elapsed());
        result
    }

    fn push(&mut self, time: Duration) {
        self.nanos
            .push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    fn tell(mut self, name: &str) {
        self.nanos.sort_unstable();
        for (part, label) in [(500, "p50"), (990, "p99"), (999, "p99.9"), (1_000, "max")] {
            let index = (self.nanos.len() * part / 1_000).min(self.nanos.len().saturating_sub(1));
            let nanos = self.nanos.get(index).copied().unwrap_or(0);
            tell(&format!("{name}_{label}"), nanos as f64 / 1e3, "µs");
        }
    }
}

/// Returns how long this thread has been on a processor, if the kernel counts it.
fn on_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn tell(name: &str, value: f64, unit: &str) {
    let line = serde_json::json!({ "name": name, "value": value, "unit": unit });
    println!("{line}");
}

fn quantities(cpus: u64, mem: u64) -> Resources {
    quantity(ResourceName::CPUS, cpus)
        .checked_add(&quantity(ResourceName::MEM, mem))
        .expect("other names")
}

fn quantity(name: ResourceName, whole: u64) -> Resources {
    let amount = Amount::from_whole(whole).expect("little");
    Resources::from(Resource::new(name, amount).expect("not nothing"))
}

/// Returns processors that are lent.
fn lent(cpus: u64) -> Resources {
    let amount = Amount::from_whole(cpus).expect("little");
    let parts = ResourceParts {
        kind: Kind::Revocable,
        ..Resource::new(ResourceName::CPUS, amount)
            .expect("not nothing")
            .into_parts()
    };
    Resources::from(Resource::from_parts(parts).expect("unreserved"))
}

fn role(number: u32) -> Role {
    Role::new(format!("role-{number}")).expect("a role")
}

fn agent_id(number: u32) -> AgentId {
    AgentId::from_bits(u128::from(number))
}

fn framework_id(number: u32) -> FrameworkId {
    FrameworkId::from_bits(u128::from(number))
}
