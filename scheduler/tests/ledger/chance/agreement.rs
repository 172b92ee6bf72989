//! In the end: everybody comes back, and everybody agrees.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::operator::{OperatorAnswer, Page};
use weir_protocol::{FrameworkCall, OperatorCall, TaskKey, TaskQuery};
use weir_resources::ResourceName;

use super::{Chance, FRAMEWORKS, NODES};
use crate::world::{Fw, NodeNumber};

impl Chance {
    /// Brings everybody back, and checks that all agree.
    pub(super) fn finish(mut self) {
        self.world.notice_dead();
        for round in 0..8 {
            for number in 0..NODES {
                let number = NodeNumber(number);
                if self.world.places[number.0].session.is_none() {
                    self.register(number);
                }
            }
            for index in 0..FRAMEWORKS {
                self.subscribe(Fw(index));
            }
            while self.world.act_all() {}
            for index in 0..FRAMEWORKS {
                self.acknowledge(Fw(index));
            }
            while self.world.act_all() {}
            // What was lost with the connections comes again.
            for number in 0..NODES {
                let number = NodeNumber(number);
                let calls = self.world.node(number).open_updates();
                self.world.node_says(number, calls);
            }
            // In the end also whoever knows nothing of the past is sure.
            self.world.advance_secs(if round == 4 { 601 } else { 1 });
            self.listen();
        }
        self.assert_agents_agree();
        self.assert_tasks_agree();
        self.assert_operations_are_answered();
    }

    /// Asserts that the ledger has of every agent what the agent has.
    fn assert_agents_agree(&mut self) {
        let answer = self
            .world
            .ask("ops", OperatorCall::ListAgents(Page::default()));
        let Some(OperatorAnswer::Agents(agents)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(agents.entries.len(), NODES);
        for entry in agents.entries {
            let mut nodes = self.world.places.iter().map(|place| &place.node);
            let node = nodes
                .find(|node| node.id == Some(entry.id))
                .expect("a node for every agent");
            let has = entry
                .total
                .filter(|own| *own.name() != ResourceName::PORT_BLOCKS);
            assert_eq!(has, node.total());
            assert_eq!(entry.set_version, node.set.version());
            let blocks = entry.total.amount("port_blocks").whole()
                + entry.revocable.amount("port_blocks").whole();
            // Tasks may hold more than there are by now.
            let total = u64::from(node.blocks.total());
            let held = entry.used.amount("port_blocks").whole();
            assert!(
                blocks == total || held > total,
                "{blocks} of {total} blocks, of which {held} are held"
            );
        }
    }

    /// Asserts that every task runs once or not at all, and that its framework is told so.
    fn assert_tasks_agree(&mut self) {
        let mut starts: BTreeMap<TaskKey, u32> = BTreeMap::new();
        let mut alive: BTreeSet<TaskKey> = BTreeSet::new();
        for place in &self.world.places {
            for (key, count) in &place.node.starts {
                *starts.entry(key.clone()).or_default() += count;
            }
            alive.extend(place.node.alive().cloned());
        }
        for (key, count) in &starts {
            assert_eq!(*count, 1, "task {key} is run once");
        }
        for index in 0..FRAMEWORKS {
            let fw = Fw(index);
            let tasks: Vec<TaskKey> = self.memories[index].tasks.iter().cloned().collect();
            let id = self.world.id(fw);
            for key in tasks.into_iter().filter(|key| key.framework == id) {
                self.world.heard(fw);
                let query = TaskQuery {
                    task: key.task.clone(),
                    agent: None,
                };
                let call = FrameworkCall::Reconcile {
                    tasks: vec![query],
                    operations: vec![],
                };
                self.world.say(fw, call);
                let told = self.world.updates(fw);
                assert_eq!(told.len(), 1, "task {key} is known to be somewhere or lost");
                assert_eq!(
                    !told[0].state.is_terminal(),
                    alive.contains(&key),
                    "task {key} is {}, and on its node {}",
                    told[0].state,
                    alive.contains(&key)
                );
            }
        }
        let known: BTreeSet<_> = (0..FRAMEWORKS)
            .map(|index| self.world.id(Fw(index)))
            .collect();
        let is_owned = alive.iter().all(|key| known.contains(&key.framework));
        assert!(is_owned, "nothing runs for a framework that has ended");
    }

    fn assert_operations_are_answered(&mut self) {
        for index in 0..FRAMEWORKS {
            self.reconcile(Fw(index));
        }
        self.listen();
        for memory in &self.memories {
            for id in memory.operations.keys() {
                assert!(memory.answers.contains_key(id), "{id} is answered");
            }
        }
    }
}
