//! What the allocator does, case by case.

mod life;
mod order;
mod refusal;
mod share_out;

use std::time::Duration;

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{Kind, Resources, Role};

use super::{AgentStanding, Allocator, Kinds, Settings};

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(3_600);

/// An allocator whose agents and frameworks are called by numbers and resources by their text.
struct World {
    allocator: Allocator,
    now: Duration,
}

/// Who got what where.
type Granted = (u32, u32, String);

impl World {
    fn new() -> Self {
        Self {
            allocator: Allocator::new(Settings::default(), 0),
            now: Duration::from_secs(100),
        }
    }

    /// Returns a world with frameworks of the roles, numbered from 1, and no agent.
    fn with_frameworks(roles: &[&str]) -> Self {
        let mut world = Self::new();
        for (number, role) in (1..).zip(roles) {
            world.add_framework(number, role, Kinds::Regular);
        }
        world
    }

    fn add_framework(&mut self, number: u32, role: &str, kinds: Kinds) {
        self.allocator
            .add_framework(framework(number), &role_of(role), kinds)
            .expect("it is new");
    }

    fn add_agent(&mut self, number: u32, total: &str) {
        self.allocator
            .add_agent(agent(number), &resources(total), &[], AgentStanding::Active)
            .expect("it is new");
    }

    fn update_agent(&mut self, number: u32, total: &str) {
        self.allocator
            .update_agent(agent(number), &resources(total))
            .expect("it is there");
    }

    fn recover(&mut self, (on, of, what): (u32, u32, &str)) {
        self.allocator
            .recover(agent(on), framework(of), &resources(what))
            .expect("it is held");
        self.allocator.assert_consistent();
    }

    fn decline(&mut self, (on, of, what): (u32, u32, &str), refused_for: Duration) {
        self.allocator
            .decline(
                agent(on),
                framework(of),
                &resources(what),
                refused_for,
                self.now,
            )
            .expect("it is held");
        self.allocator.assert_consistent();
    }

    /// Returns all that is granted now, as agent, framework and resources.
    fn poll(&mut self) -> Vec<Granted> {
        let mut granted = Vec::new();
        loop {
            for grant in self.allocator.poll_grants(self.now, 2) {
                granted.push((
                    number(grant.agent.bits()),
                    number(grant.framework.bits()),
                    grant.resources.to_string(),
                ));
            }
            self.allocator.assert_consistent();
            let due = self.allocator.next_deadline();
            if !self.allocator.is_pending() && due.is_none_or(|due| due > self.now) {
                return granted;
            }
        }
    }

    /// Returns the frameworks that are granted something now, in order.
    fn poll_frameworks(&mut self) -> Vec<u32> {
        let granted = self.poll();
        granted
            .into_iter()
            .map(|(_, framework, _)| framework)
            .collect()
    }

    fn free(&self, on: u32, kind: Kind) -> String {
        let free = self.allocator.free(agent(on), kind);
        free.expect("it is there").to_string()
    }
}

fn agent(number: u32) -> AgentId {
    AgentId::from_bits(u128::from(number))
}

fn framework(number: u32) -> FrameworkId {
    FrameworkId::from_bits(u128::from(number))
}

fn number(bits: u128) -> u32 {
    u32::try_from(bits).expect("a small number")
}

fn role_of(name: &str) -> Role {
    Role::new(name).expect("a role")
}

fn resources(text: &str) -> Resources {
    text.parse().expect("resources")
}

fn grant(on: u32, to: u32, what: &str) -> Granted {
    (on, to, resources(what).to_string())
}
