//! Everything at once, by chance: whatever happens in whatever order, nothing is lost, made, done twice
//! or left without an answer.
//!
//! After every step the world asserts conservation and that the disk holds what the ledger is. In the end
//! everybody comes back, and everybody agrees ([`agreement`]).

mod agreement;
mod moves;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use weir_protocol::{
    AgentCall, Estimate, FrameworkCall, FrameworkEvent, Millis, Offer, OfferId, Operation,
    OperationOutcome, OperatorCall, TaskKey, TaskState,
};
use weir_resources::{ResourceOperation, Resources};
use weir_scheduler::ledger::{Permissive, Settings};

use self::moves::{Move, Wish, a_move};
use self::wishes::{dynamic, some_reserved};
use super::make;
use super::node::Node;
use super::world::{Fw, NodeNumber, World};

const NODES: usize = 3;
const FRAMEWORKS: usize = 3;

/// What is remembered of a framework, to be checked against what it is told.
#[derive(Default)]
struct Memory {
    /// Operations, with how often somebody asked about each.
    operations: BTreeMap<String, (Operation, u32)>,
    /// Final answers.
    answers: BTreeMap<String, Vec<OperationOutcome>>,
    tasks: BTreeSet<TaskKey>,
}

struct Chance {
    world: World,
    memories: Vec<Memory>,
    count: u64,
    estimates: u64,
}

impl Chance {
    fn new() -> Self {
        let mut settings = Settings::new(make::line("s1"));
        settings.offer_timeout = Some(Duration::from_secs(20));
        let mut world = World::with(settings, Arc::new(Permissive));
        for (principal, role, lent) in [
            ("f1", "web", false),
            ("f2", "web", true),
            ("f3", "db", true),
        ] {
            let info = make::framework_info(principal, role);
            let mut info = if lent { make::opted_in(info) } else { info };
            // One of them leaves its tasks alone.
            info.unattended = role == "db";
            world.framework_as(principal, info);
        }
        let kept = make::kept("cpus:1;disk:100", "db");
        for number in 0..NODES {
            let ports = format!("ports:[{}-{}]", 31_000 + number, 31_009 + number);
            let has = make::resources(&format!("cpus:6;mem:4096;disk:1000;{ports}"));
            let name = format!("n{number}");
            let node = Node::new(&name, &make::and(&has, &kept), number as u128 + 1);
            world.add(node.with_blocks(5));
        }
        world.prompt = false;
        Self {
            world,
            memories: (0..FRAMEWORKS).map(|_| Memory::default()).collect(),
            count: 0,
            estimates: 0,
        }
    }

    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}{}", self.count)
    }

    fn is_subscribed(&self, fw: Fw) -> bool {
        let own = &self.world.frameworks[fw.0];
        own.session.is_some() && own.id.is_some()
    }

    fn step(&mut self, next: Move) {
        match next {
            Move::Accept {
                fw,
                offers,
                operations,
                refuse_ms,
            } => self.accept(Fw(fw), &offers, &operations, refuse_ms),
            Move::AcceptAnothers { fw, offer } => self.accept_anothers(Fw(fw), offer),
            Move::Repeat { fw, operation } => self.repeat(Fw(fw), operation),
            Move::Decline {
                fw,
                offer,
                refuse_ms,
            } => {
                let fw = Fw(fw);
                if let Some(offer) = nth(&self.world.offers(fw), offer) {
                    self.world.decline(fw, &[offer.id], refuse_ms);
                }
            }
            Move::Kill { fw, task } => {
                let keys: Vec<TaskKey> = self.memories[fw].tasks.iter().cloned().collect();
                if let Some(key) = nth(&keys, task) {
                    let call = FrameworkCall::Kill {
                        task: key.task,
                        agent: None,
                        grace: None,
                    };
                    self.say(Fw(fw), call);
                }
            }
            Move::Acknowledge(fw) => self.acknowledge(Fw(fw)),
            Move::Reconcile(fw) => self.reconcile(Fw(fw)),
            Move::Revive(fw) => self.say(Fw(fw), FrameworkCall::Revive),
            Move::Suppress(fw) => self.say(Fw(fw), FrameworkCall::Suppress),
            Move::CutFramework(fw) => self.world.cut_framework(Fw(fw)),
            Move::Subscribe(fw) => self.subscribe(Fw(fw)),
            Move::TakeOver(fw) => self.take_over(Fw(fw)),
            Move::Teardown(fw) => self.say(Fw(fw), FrameworkCall::Teardown),
            Move::Act(node) => {
                self.world.act(NodeNumber(node));
            }
            Move::ActAll => {
                self.world.act_all();
            }
            Move::CutNode(node) => self.world.cut(NodeNumber(node)),
            Move::Register(node) => self.register(NodeNumber(node)),
            Move::End { node, task, failed } => self.end(NodeNumber(node), task, failed),
            Move::Fail(node) => self.world.node_mut(NodeNumber(node)).fails_next = true,
            Move::Lend { node, cpus } => self.lend(NodeNumber(node), cpus),
            Move::Blocks { node, count } => self.count_blocks(NodeNumber(node), count),
            Move::Operate { node, wish } => self.operate(NodeNumber(node), &wish),
            Move::KillByOperator { fw, task } => {
                let keys: Vec<TaskKey> = self.memories[fw].tasks.iter().cloned().collect();
                if let Some(task) = nth(&keys, task) {
                    let grace = None;
                    self.world
                        .ask("ops", OperatorCall::KillTask { task, grace });
                }
            }
            Move::TeardownByOperator(fw) => {
                if let Some(framework) = self.world.frameworks[fw].id {
                    let call = OperatorCall::TeardownFramework { framework };
                    self.world.ask("ops", call);
                }
            }
            Move::Drain(node) => {
                let agent = self.world.node(NodeNumber(node)).info.name.clone();
                let grace_max = None;
                self.world
                    .ask("ops", OperatorCall::DrainAgent { agent, grace_max });
            }
            Move::Remove(node) => {
                let agent = self.world.node(NodeNumber(node)).info.name.clone();
                self.world.ask("ops", OperatorCall::RemoveAgent { agent });
            }
            Move::Advance(seconds) => {
                if seconds > 5 {
                    self.world.notice_dead();
                }
                self.world.advance_secs(seconds);
            }
            Move::Restart => self.world.restart(),
            Move::CrashBeforeWriting(fw) => self.crash(Fw(fw)),
            Move::LoseDatabase => {
                self.world.lose_database();
                for memory in &mut self.memories {
                    // What was answered is forgotten with it.
                    memory.operations.clear();
                    memory.answers.clear();
                }
            }
        }
        self.listen();
    }

    /// Remembers what frameworks were told, and checks it.
    fn listen(&mut self) {
        for index in 0..FRAMEWORKS {
            let own = &mut self.world.frameworks[index];
            let events: Vec<FrameworkEvent> = own.events.iter().cloned().collect();
            own.events
                .retain(|event| matches!(event, FrameworkEvent::Update(_)));
            let memory = &mut self.memories[index];
            for event in events {
                let FrameworkEvent::Operation { id, outcome } = event else {
                    continue;
                };
                if !outcome.is_final() {
                    continue;
                }
                let id = id.to_string();
                let Some((_, asked)) = memory.operations.get(&id) else {
                    // Lost with the database, or another life of the framework.
                    continue;
                };
                let answers = memory.answers.entry(id.clone()).or_default();
                answers.push(outcome);
                assert!(
                    answers.iter().all(|answer| *answer == answers[0]),
                    "{id} has one answer: {answers:?}"
                );
                let told = u32::try_from(answers.len()).expect("few answers");
                assert!(told <= *asked, "{id} is answered once: {answers:?}");
            }
        }
    }

    fn say(&mut self, fw: Fw, call: FrameworkCall) {
        if self.is_subscribed(fw) {
            self.world.say(fw, call);
        }
    }

    fn accept(&mut self, fw: Fw, offers: &[usize], wishes: &[Wish], refuse_ms: u64) {
        if !self.is_subscribed(fw) {
            return;
        }
        let held = self.world.offers(fw);
        let Some(first) = offers.first().and_then(|index| nth(&held, *index)) else {
            return;
        };
        let mut chosen: BTreeMap<OfferId, Offer> = BTreeMap::new();
        for offer in offers.iter().filter_map(|index| nth(&held, *index)) {
            if offer.agent == first.agent {
                chosen.insert(offer.id, offer);
            }
        }
        let parts: Vec<Resources> = chosen
            .values()
            .map(|offer| offer.resources.clone())
            .collect();
        let pool = Resources::sum(&parts).expect("offers of one agent");
        let operations = self.fulfil(fw, &pool, wishes);
        let memory = &mut self.memories[fw.0];
        for operation in &operations {
            let id = operation.id.to_string();
            memory.operations.insert(id, (operation.clone(), 1));
        }
        let ids: Vec<OfferId> = chosen.keys().copied().collect();
        for id in &ids {
            self.world.frameworks[fw.0].offers.remove(id);
        }
        let call = FrameworkCall::Accept {
            offers: ids,
            operations,
            filters: make::refuse(refuse_ms),
        };
        self.world.say(fw, call);
    }

    /// Uses an offer of somebody else, who keeps it.
    fn accept_anothers(&mut self, fw: Fw, offer: usize) {
        let other = Fw((fw.0 + 1) % FRAMEWORKS);
        let held = self.world.offers(other);
        let Some(stolen) = nth(&held, offer) else {
            return;
        };
        if !self.is_subscribed(fw) {
            return;
        }
        let operations = self.fulfil(fw, &stolen.resources, &[Wish::LaunchAll]);
        let memory = &mut self.memories[fw.0];
        for operation in &operations {
            let id = operation.id.to_string();
            memory.operations.insert(id, (operation.clone(), 1));
        }
        let calls = [
            FrameworkCall::Accept {
                offers: vec![stolen.id],
                operations,
                filters: make::refuse(0),
            },
            FrameworkCall::Decline {
                offers: vec![stolen.id],
                filters: make::refuse(60_000),
            },
        ];
        for call in calls {
            self.world.say(fw, call);
            let after = self.world.offers(other);
            let is_kept = held.iter().all(|offer| after.contains(offer));
            assert!(is_kept, "no offer is used by another than its owner");
        }
    }

    /// Asks for an operation once more, as somebody who has not heard the answer.
    fn repeat(&mut self, fw: Fw, operation: usize) {
        let memory = &self.memories[fw.0];
        let known: Vec<String> = memory.operations.keys().cloned().collect();
        let (Some(id), true) = (nth(&known, operation), self.is_subscribed(fw)) else {
            return;
        };
        let offers = self.world.offers(fw);
        let ids: Vec<OfferId> = offers.first().map(|offer| offer.id).into_iter().collect();
        for id in &ids {
            self.world.frameworks[fw.0].offers.remove(id);
        }
        let Some((operation, asked)) = self.memories[fw.0].operations.get_mut(&id) else {
            return;
        };
        *asked += 1;
        let call = FrameworkCall::Accept {
            offers: ids,
            operations: vec![operation.clone()],
            filters: make::refuse(0),
        };
        self.world.say(fw, call);
    }

    fn acknowledge(&mut self, fw: Fw) {
        if !self.is_subscribed(fw) {
            self.world.frameworks[fw.0].events.clear();
            return;
        }
        let updates = self.world.updates(fw);
        for status in updates {
            if let (Some(update), Some(agent), true) =
                (status.update, status.agent, self.is_subscribed(fw))
            {
                let task = status.task;
                self.world.say(
                    fw,
                    FrameworkCall::Acknowledge {
                        agent,
                        task,
                        update,
                    },
                );
            }
        }
    }

    fn reconcile(&mut self, fw: Fw) {
        if !self.is_subscribed(fw) {
            return;
        }
        let memory = &mut self.memories[fw.0];
        let mut operations = Vec::new();
        for (id, (_, asked)) in &mut memory.operations {
            *asked += 1;
            operations.push(make::operation_id(id));
        }
        // Whatever is not known any more, for the framework has ended since, is no answer.
        let call = FrameworkCall::Reconcile {
            tasks: vec![],
            operations,
        };
        self.world.say(fw, call);
    }

    fn subscribe(&mut self, fw: Fw) {
        if self.world.frameworks[fw.0].session.is_some() {
            return;
        }
        self.world.subscribe(fw);
        if self.world.frameworks[fw.0].session.is_none() || !self.has_subscribed(fw) {
            // It has ended: it begins anew.
            self.world.cut_framework(fw);
            self.world.frameworks[fw.0].id = None;
            self.memories[fw.0] = Memory::default();
            self.world.subscribe(fw);
        }
    }

    fn has_subscribed(&self, fw: Fw) -> bool {
        let events = &self.world.frameworks[fw.0].events;
        let last = events.iter().rev().find(|event| {
            matches!(
                event,
                FrameworkEvent::Subscribed { .. } | FrameworkEvent::Error(_)
            )
        });
        matches!(last, Some(FrameworkEvent::Subscribed { .. }))
    }

    fn take_over(&mut self, fw: Fw) {
        if !self.is_subscribed(fw) {
            return;
        }
        self.world.connect(fw);
        let own = &self.world.frameworks[fw.0];
        let call = FrameworkCall::Subscribe {
            framework: own.info.clone(),
            id: own.id,
            force: true,
        };
        self.world.say(fw, call);
    }

    fn register(&mut self, node: NodeNumber) {
        self.world.register(node);
    }

    fn end(&mut self, node: NodeNumber, task: usize, failed: bool) {
        let alive: Vec<TaskKey> = self.world.node(node).alive().cloned().collect();
        let Some(key) = nth(&alive, task) else {
            return;
        };
        let state = if failed {
            TaskState::Failed
        } else {
            TaskState::Finished
        };
        let call = self.world.node_mut(node).end(&key, state, None);
        self.world.node_says(node, call.into_iter().collect());
    }

    fn lend(&mut self, node: NodeNumber, cpus: u64) {
        self.estimates += 1;
        let lent = if cpus == 0 {
            Resources::new()
        } else {
            make::revocable(&format!("cpus:{cpus};mem:{}", cpus * 100))
        };
        let estimate = Estimate::new(self.estimates, Millis(60_000), lent).expect("an estimate");
        self.world.node_mut(node).estimate = Some(estimate.clone());
        self.world
            .node_says(node, vec![AgentCall::Estimate(estimate)]);
    }

    /// Something of the node takes blocks of ports, or gives them back.
    fn count_blocks(&mut self, node: NodeNumber, count: u32) {
        let own = &mut self.world.node_mut(node).blocks;
        own.version += 1;
        own.free = count;
        let blocks = *own;
        self.world
            .node_says(node, vec![AgentCall::PortBlocks(blocks)]);
    }

    fn operate(&mut self, node: NodeNumber, wish: &Wish) {
        let set = self.world.node(node).set.resources().clone();
        let change = match wish {
            Wish::Launch { .. } | Wish::LaunchAll => {
                ResourceOperation::Reserve(some_reserved(1, 10, "db", "ops"))
            }
            Wish::Reserve { cpus, disk } => {
                ResourceOperation::Reserve(some_reserved(*cpus, *disk, "db", "ops"))
            }
            Wish::Unreserve => ResourceOperation::Unreserve(dynamic(&set)),
            Wish::Create { id, size } => {
                ResourceOperation::Create(make::volume(&format!("v{id}"), *size, "db", "ops"))
            }
            Wish::Destroy => ResourceOperation::Destroy(set.volumes()),
        };
        let operation = make::operation_id(&self.fresh("c"));
        let agent = self.world.node(node).info.name.clone();
        let call = OperatorCall::Change {
            operation,
            agent,
            change,
        };
        self.world.ask("ops", call);
    }

    /// Kills the scheduler after it has handled an ACCEPT and before it has written anything of it.
    fn crash(&mut self, fw: Fw) {
        let offers = self.world.offers(fw);
        if let (Some(offer), true) = (offers.first(), self.is_subscribed(fw)) {
            let pool = offer.resources.clone();
            let wishes = [
                Wish::Reserve { cpus: 1, disk: 10 },
                Wish::Launch {
                    tasks: 1,
                    cpus: 1,
                    isolated: false,
                },
            ];
            let operations = self.fulfil(fw, &pool, &wishes);
            let call = FrameworkCall::Accept {
                offers: vec![offer.id],
                operations,
                filters: make::refuse(0),
            };
            self.world.say_unwritten(fw, call);
        }
        self.world.restart();
    }
}

fn nth<T: Clone>(all: &[T], index: usize) -> Option<T> {
    let index = index.checked_rem(all.len())?;
    all.get(index).cloned()
}

/// How many cases there are unless `PROPTEST_CASES` says otherwise: so many take some seconds.
const CASES: u32 = 64;

fn config() -> ProptestConfig {
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if chosen { default.cases } else { CASES },
        max_shrink_iters: 10_000,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_nothing_is_lost_made_done_twice_or_left_without_an_answer(
        moves in vec(a_move(), 1..120)
    ) {
        let mut chance = Chance::new();
        for next in moves {
            chance.step(next);
        }
        chance.finish();
    }
}
