//! Agents of the world: they come, register, and are cut off.

use std::collections::VecDeque;

use weir_protocol::{AgentId, CallId, registration_calls};
use weir_scheduler::ledger::{Input, Peer};

use super::{NodeNumber, Place, World};
use crate::make;
use crate::node::Node;

impl World {
    /// Adds an agent and has it register.
    pub(crate) fn agent(&mut self, name: &str, has: &str) -> NodeNumber {
        self.add(Node::new(
            name,
            &make::resources(has),
            self.places.len() as u128 + 1,
        ))
    }

    pub(crate) fn add(&mut self, node: Node) -> NodeNumber {
        self.places.push(Place {
            node,
            session: None,
            inbox: VecDeque::new(),
            next_call: CallId::FIRST,
        });
        let number = NodeNumber(self.places.len() - 1);
        self.register(number);
        number
    }

    /// Has an agent connect and register.
    pub(crate) fn register(&mut self, number: NodeNumber) {
        let name = self.node(number).info.name.clone();
        let session = self.open(Peer::Agent(name));
        let place = &mut self.places[number.0];
        let before = place.session.replace(session);
        self.stale.extend(before);
        place.inbox.clear();
        let (registration, tasks) = place.node.registration();
        self.node_says(number, registration_calls(registration, tasks));
        self.settle();
    }

    /// Breaks the connection of an agent; what it was told and has not done is lost.
    pub(crate) fn cut(&mut self, number: NodeNumber) {
        let place = &mut self.places[number.0];
        place.inbox.clear();
        if let Some(session) = place.session.take() {
            self.input(Input::Closed { session });
        }
    }

    /// Tells the ledger of connections that are dead, as their time-outs do.
    pub(crate) fn notice_dead(&mut self) {
        for session in std::mem::take(&mut self.stale) {
            self.input(Input::Closed { session });
        }
    }

    pub(crate) fn node(&self, number: NodeNumber) -> &Node {
        &self.places[number.0].node
    }

    pub(crate) fn node_mut(&mut self, number: NodeNumber) -> &mut Node {
        &mut self.places[number.0].node
    }

    pub(crate) fn agent_id(&self, number: NodeNumber) -> AgentId {
        self.node(number).id.expect("it has registered")
    }
}
