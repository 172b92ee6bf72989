//! A framework that keeps the rules of the protocol's guide: it stores what it intends before it says it,
//! reconciles after every SUBSCRIBE, and takes what comes twice.
//!
//! What it stores outlives its process; offers end with the connection.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::{
    AgentId, CallId, Filters, FrameworkCall, FrameworkEvent, FrameworkId, Millis, NetworkMode,
    Numbered, Offer, OfferId, Operation, OperationId, OperationOutcome, TaskId, TaskQuery,
    TaskState, TaskStatus,
};
use weir_resources::{Kind, Principal, ResourceOperation, Resources};
use weir_scheduler::ledger::{Message, SessionId};

use crate::checker::Checker;
use crate::make;
use crate::mutation::Mutation;
use crate::network::{End, Frame, Party};
use crate::world::{Event, World};

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) index: usize,
    pub(crate) id: Option<FrameworkId>,
    pub(crate) connection: Option<SessionId>,
    is_subscribed: bool,
    next_call: CallId,
    subscribe_call: Option<CallId>,
    pub(crate) offers: BTreeMap<OfferId, Offer>,
    /// What was asked for, with its final answer.
    pub(crate) operations: BTreeMap<OperationId, Option<OperationOutcome>>,
    pub(crate) tasks: BTreeMap<TaskId, Belief>,
    /// The offers that each operation was to be done with.
    pub(crate) used: BTreeMap<OperationId, Vec<OfferId>>,
    asked: u64,
}

/// What a framework believes of a task.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    pub(crate) operation: OperationId,
    /// `None` until it hears something.
    pub(crate) state: Option<TaskState>,
    pub(crate) agent: Option<AgentId>,
    pub(crate) is_killed: bool,
}

/// Returns what a task holds.
fn small(kind: Kind) -> Resources {
    let regular = make::resources("cpus:0.5;mem:64");
    match kind {
        Kind::Regular => regular,
        Kind::Revocable => regular.to_revocable().expect("nothing of it is reserved"),
    }
}

impl Belief {
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_some_and(TaskState::is_terminal)
    }
}

/// Returns whether a framework takes what is lent.
pub(crate) fn takes_lent(index: usize) -> bool {
    index != 2
}

impl Framework {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            id: None,
            connection: None,
            is_subscribed: false,
            next_call: CallId::FIRST,
            subscribe_call: None,
            offers: BTreeMap::new(),
            operations: BTreeMap::new(),
            tasks: BTreeMap::new(),
            used: BTreeMap::new(),
            asked: 0,
        }
    }

    pub(crate) fn principal(&self) -> Principal {
        make::principal(&format!("f{}", self.index))
    }

    pub(crate) fn role(&self) -> String {
        format!("r{}", self.index)
    }

    /// Returns the tasks that it believes to be alive.
    pub(crate) fn alive(&self) -> Vec<TaskId> {
        let alive = self.tasks.iter().filter(|(_, belief)| !belief.is_over());
        alive.map(|(id, _)| id.clone()).collect()
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.asked += 1;
        format!("{prefix}{}-{}", self.index, self.asked)
    }
}

impl World {
    pub(crate) fn framework_connected(&mut self, index: usize, session: SessionId) {
        let own = &mut self.frameworks[index];
        own.connection = Some(session);
        own.next_call = CallId::FIRST;
        let role = own.role();
        let call = FrameworkCall::Subscribe {
            framework: make::framework_info(&format!("f{index}"), &role, takes_lent(index)),
            id: own.id,
            force: true,
        };
        own.subscribe_call = Some(own.next_call);
        self.framework_says(index, call);
    }

    pub(crate) fn framework_disconnected(&mut self, index: usize, session: SessionId) {
        let own = &mut self.frameworks[index];
        if own.connection == Some(session) {
            own.connection = None;
            own.is_subscribed = false;
            own.offers.clear();
            self.connect_later(Party::Framework(index));
        }
    }

    /// Ends the process of a framework; another takes over what it has stored.
    pub(crate) fn framework_fails_over(&mut self, index: usize) {
        let Some(session) = self.frameworks[index].connection else {
            return;
        };
        self.note(format_args!("framework {index} fails over"));
        self.report.crashes += 1;
        self.notice_gone(session, End::Peer);
        let delay = self.until_noticed(End::Scheduler);
        self.after(delay, crate::node::gone_at_scheduler(session));
    }

    fn framework_says(&mut self, index: usize, call: FrameworkCall) {
        let own = &mut self.frameworks[index];
        let Some(session) = own.connection else {
            return;
        };
        let id = own.next_call;
        own.next_call = id.next();
        self.note(format_args!("framework {index} says {}", call.name()));
        let call = Numbered { id, call };
        self.send(session, End::Scheduler, Frame::Framework(call));
    }

    pub(crate) fn peer_hears(&mut self, party: Party, session: SessionId, message: Message) {
        match (party, message) {
            (Party::Agent(node), Message::Agent(event)) => {
                if self.nodes[node].connection == Some(session) {
                    self.tell(node, weir_agent::session::Input::Heard(event));
                }
            }
            (Party::Framework(index), Message::Framework(event)) => {
                if self.frameworks[index].connection == Some(session) {
                    self.framework_hears(index, event);
                }
            }
            (Party::Operator, Message::Operator(answered)) => self.operator_hears(&answered),
            (party, message) => {
                self.violate(Checker::Owners, format_args!("{party:?} hears {message:?}"));
            }
        }
    }

    fn framework_hears(&mut self, index: usize, event: FrameworkEvent) {
        let own = &mut self.frameworks[index];
        match event {
            FrameworkEvent::Subscribed { id, .. } => {
                own.id = Some(id);
                own.is_subscribed = true;
                self.reconcile(index);
            }
            FrameworkEvent::Offers(offers) => {
                for offer in offers {
                    own.offers.insert(offer.id, offer);
                }
            }
            FrameworkEvent::Rescind { offer, .. } => {
                own.offers.remove(&offer);
            }
            FrameworkEvent::Update(status) => self.hear_update(index, &status),
            FrameworkEvent::Operation { id, outcome } => self.hear_answer(index, &id, outcome),
            FrameworkEvent::Error(error) => {
                let is_subscribe = error.call == own.subscribe_call;
                self.note(format_args!(
                    "framework {index} is refused: {}",
                    error.failure.reason
                ));
                if let Some(session) = self.frameworks[index].connection
                    && is_subscribe
                {
                    self.hang_up(session);
                }
            }
            FrameworkEvent::AgentLost { .. } | FrameworkEvent::Heartbeat => {}
        }
    }

    /// Asks for all that may have been missed.
    pub(crate) fn reconcile(&mut self, index: usize) {
        let own = &self.frameworks[index];
        let queries = own.tasks.iter().filter(|(_, belief)| !belief.is_over());
        let tasks: Vec<TaskQuery> = queries
            .map(|(id, belief)| TaskQuery {
                task: id.clone(),
                agent: belief.agent,
            })
            .collect();
        let open = own.operations.iter().filter(|(_, answer)| answer.is_none());
        let operations: Vec<OperationId> = open.map(|(id, _)| id.clone()).collect();
        let killed = own
            .tasks
            .iter()
            .filter(|(_, belief)| !belief.is_over() && belief.is_killed);
        let killed: Vec<TaskId> = killed.map(|(id, _)| id.clone()).collect();
        if !own.is_subscribed {
            return;
        }
        if !tasks.is_empty() || !operations.is_empty() {
            self.framework_says(index, FrameworkCall::Reconcile { tasks, operations });
        }
        if self.has_lost {
            // Also what is not over by whoever knows, and was said to be.
            let (tasks, operations) = (Vec::new(), Vec::new());
            self.framework_says(index, FrameworkCall::Reconcile { tasks, operations });
        }
        for task in killed {
            self.framework_kills(index, task);
        }
    }

    fn hear_update(&mut self, index: usize, status: &TaskStatus) {
        self.note(format_args!(
            "framework {index} hears that {} is {} ({:?})",
            status.task, status.state, status.reason
        ));
        let own = &mut self.frameworks[index];
        let Some(belief) = own.tasks.get_mut(&status.task) else {
            let what = format!("framework {index} hears of task {}", status.task);
            return self.violate(Checker::Owners, what);
        };
        // An end is an end: what comes after was said before, or by somebody who has lost it.
        let is_undead = belief.is_over() && !status.state.is_terminal();
        if !belief.is_over() {
            belief.state = Some(status.state);
            belief.agent = status.agent.or(belief.agent);
        }
        if let (Some(agent), Some(update)) = (status.agent, status.update) {
            let task = status.task.clone();
            let call = FrameworkCall::Acknowledge {
                agent,
                task,
                update,
            };
            self.framework_says(index, call);
        }
        if is_undead && self.has_lost {
            let call = FrameworkCall::Kill {
                task: status.task.clone(),
                agent: status.agent,
                grace: None,
            };
            self.framework_says(index, call);
        }
    }

    fn hear_answer(&mut self, index: usize, id: &OperationId, outcome: OperationOutcome) {
        self.note(format_args!(
            "framework {index} hears of operation {id}: {}",
            match &outcome {
                OperationOutcome::Accepted => "accepted".to_owned(),
                OperationOutcome::Finished { .. } => "finished".to_owned(),
                OperationOutcome::Failed(failure) => format!("failed, {}", failure.reason),
            }
        ));
        let Some(answer) = self.frameworks[index].operations.get_mut(id) else {
            let what = format!("framework {index} hears of operation {id}");
            return self.violate(Checker::Answers, what);
        };
        if !outcome.is_final() {
            return;
        }
        match answer {
            None => *answer = Some(outcome),
            Some(before) if *before == outcome => {}
            Some(before) => {
                let what = format!("operation {id} has two answers: {before:?}, {outcome:?}");
                self.violate(Checker::Answers, what);
            }
        }
    }

    pub(crate) fn framework_acts(&mut self, index: usize) {
        let delay = self.chance.millis(300, 3_000);
        self.after(delay, Event::FrameworkActs(index));
        if !self.frameworks[index].is_subscribed {
            return;
        }
        if !self.is_restless {
            // A patient one: what it has heard nothing of it asks for again.
            if self.chance.percent(10) {
                self.reconcile(index);
            }
            return;
        }
        let chance = &mut self.chance;
        let own = &self.frameworks[index];
        let offer = chance.pick(own.offers.values().cloned());
        let task = chance.pick(own.alive());
        match (chance.below(20), offer, task) {
            (0..10, Some(offer), _) => self.framework_accepts(index, &offer),
            (10..13, Some(offer), _) => self.framework_declines(index, &offer),
            (13..16, _, Some(task)) => self.framework_kills(index, task),
            (16, ..) => self.framework_says(index, FrameworkCall::Revive),
            (17, ..) if self.chance.percent(20) => {
                self.framework_says(index, FrameworkCall::Suppress);
            }
            (18, ..) => self.reconcile(index),
            (19, ..) => self.framework_steals(index),
            _ => {}
        }
    }

    pub(crate) fn framework_revives(&mut self, index: usize) {
        if self.frameworks[index].is_subscribed {
            self.framework_says(index, FrameworkCall::Revive);
        }
    }

    fn framework_kills(&mut self, index: usize, task: TaskId) {
        if let Some(belief) = self.frameworks[index].tasks.get_mut(&task) {
            belief.is_killed = true;
            let call = FrameworkCall::Kill {
                task,
                agent: None,
                grace: None,
            };
            self.framework_says(index, call);
        }
    }

    fn framework_declines(&mut self, index: usize, offer: &Offer) {
        self.frameworks[index].offers.remove(&offer.id);
        let refuse = Millis(self.chance.bits() % 5_000);
        let call = FrameworkCall::Decline {
            offers: vec![offer.id],
            filters: Filters { refuse },
        };
        self.framework_says(index, call);
    }

    /// Uses an offer that is another's; it is to be refused.
    fn framework_steals(&mut self, index: usize) {
        let others = self.frameworks.iter().filter(|own| own.index != index);
        let others: Vec<Offer> = others
            .flat_map(|own| own.offers.values().cloned())
            .collect();
        if let Some(offer) = self.chance.pick(others) {
            self.framework_accepts(index, &offer);
        }
    }

    fn framework_accepts(&mut self, index: usize, offer: &Offer) {
        let role = self.frameworks[index].role();
        let by = format!("f{index}");
        let mut operations: Vec<Operation> = Vec::new();
        let mut tasks: Vec<(TaskId, OperationId)> = Vec::new();
        for _ in 0..=self.chance.below(2) {
            let kind = match offer.kind {
                Kind::Regular => self.chance.below(12),
                Kind::Revocable => 0,
            };
            let network = match self.chance.percent(30) {
                true => NetworkMode::Isolated,
                false => NetworkMode::Host,
            };
            let own = &mut self.frameworks[index];
            let reserved = make::reserved("disk:50", &role, &by);
            let volume = make::volume("v1", 50, &role, &by);
            let dynamic = offer
                .resources
                .filter(|entry| entry.reservation().is_dynamic() && entry.volume().is_none());
            let operation = match kind {
                0..8 => {
                    let spec = make::task(&own.fresh("t"), &small(offer.kind), network);
                    let task = spec.id.clone();
                    let operation = make::launch(&own.fresh("l"), vec![spec]);
                    tasks.push((task, operation.id.clone()));
                    operation
                }
                8 => make::change(&own.fresh("c"), ResourceOperation::Create(volume)),
                9 if !offer.resources.volumes().is_empty() => {
                    let volumes = offer.resources.volumes();
                    make::change(&own.fresh("d"), ResourceOperation::Destroy(volumes))
                }
                10 if !dynamic.is_empty() => {
                    make::change(&own.fresh("u"), ResourceOperation::Unreserve(dynamic))
                }
                _ => make::change(&own.fresh("r"), ResourceOperation::Reserve(reserved)),
            };
            operations.push(operation);
        }
        // Stored before it is said.
        let own = &mut self.frameworks[index];
        own.offers.remove(&offer.id);
        for operation in &operations {
            own.operations.insert(operation.id.clone(), None);
            own.used.insert(operation.id.clone(), vec![offer.id]);
        }
        for (task, operation) in tasks {
            let belief = Belief {
                operation,
                state: None,
                agent: None,
                is_killed: false,
            };
            own.tasks.insert(task, belief);
        }
        let refuse = Millis(self.chance.bits() % 3_000);
        let call = FrameworkCall::Accept {
            offers: vec![offer.id],
            operations,
            filters: Filters { refuse },
        };
        self.framework_says(index, call);
    }

    /// Changes what a framework says, if the wiring is to do that.
    pub(crate) fn mutate_framework_call(
        &self,
        session: SessionId,
        call: Numbered<FrameworkCall>,
    ) -> (SessionId, Numbered<FrameworkCall>) {
        let Numbered { id, call } = call;
        match (call, self.plan.mutation) {
            (call @ FrameworkCall::Accept { .. }, Some(Mutation::DropOwnerCheck)) => {
                let FrameworkCall::Accept { offers, .. } = &call else {
                    return (session, Numbered { id, call });
                };
                let used: BTreeSet<&OfferId> = offers.iter().collect();
                let owner = self.frameworks.iter().find(|own| {
                    own.offers.keys().any(|offer| used.contains(offer)) && own.is_subscribed
                });
                let session = owner.and_then(|own| own.connection).unwrap_or(session);
                (session, Numbered { id, call })
            }
            (
                FrameworkCall::Accept {
                    offers,
                    mut operations,
                    filters,
                },
                Some(Mutation::ReuseOperationId),
            ) => {
                let own = self
                    .frameworks
                    .iter()
                    .find(|own| own.connection == Some(session));
                let used = own.and_then(|own| {
                    let mut answered = own.operations.iter().filter(|(_, answer)| answer.is_some());
                    answered.next().map(|(id, _)| id.clone())
                });
                if let (Some(used), Some(first)) = (used, operations.first_mut()) {
                    first.id = used;
                }
                let call = FrameworkCall::Accept {
                    offers,
                    operations,
                    filters,
                };
                (session, Numbered { id, call })
            }
            (FrameworkCall::Revive, Some(Mutation::SuppressAll)) => {
                let call = FrameworkCall::Suppress;
                (session, Numbered { id, call })
            }
            (FrameworkCall::Reconcile { tasks, .. }, Some(Mutation::LoseAnswer)) => {
                let call = FrameworkCall::Reconcile {
                    tasks,
                    operations: Vec::new(),
                };
                (session, Numbered { id, call })
            }
            (call, _) => (session, Numbered { id, call }),
        }
    }
}
