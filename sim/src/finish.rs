//! In the end nothing breaks any more, everybody comes back, and everybody agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_agent::session::VolumeName;
use weir_protocol::operator::{AgentEntry, AgentState, OfferEntry, OperatorAnswer, Page};
use weir_protocol::{CallId, Numbered, OfferId, OperatorCall, TaskKey};
use weir_resources::{Amount, Resources};
use weir_scheduler::ledger::{Input, Message, Outgoing, Peer, SessionId};

use crate::checker::Checker;
use crate::make;
use crate::world::World;

/// The longest that it takes until all is quiet: an agent may have to be given up, the answer of a framework may
/// wait for that, and updates are repeated with growing pauses.
const QUIET: Duration = Duration::from_secs(400);

impl World {
    pub(crate) fn finish(&mut self) {
        self.mend();
        self.run_until(self.now + QUIET / 2);
        for index in 0..self.frameworks.len() {
            self.framework_revives(index);
        }
        self.run_until(self.now + QUIET / 4);
        self.is_settled = true;
        self.run_until(self.now + QUIET / 4);
        if self.violation.is_some() {
            return;
        }
        if let Some(ledger) = &self.scheduler.ledger {
            ledger.assert_consistent();
        }
        let Some((agents, offers)) = self.look() else {
            return self.violate(Checker::Idle, "the scheduler does not answer");
        };
        self.check_answers();
        self.check_updates();
        self.check_conserved(&agents);
        self.check_tasks();
        self.check_agents(&agents);
        self.check_offers(&offers);
        self.check_idle(&agents);
        self.check_lent();
    }

    /// Asks the ledger what there is, without a network between.
    fn look(&mut self) -> Option<(Vec<AgentEntry>, Vec<OfferEntry>)> {
        let agents = self.ask(OperatorCall::ListAgents(Page::default()))?;
        let offers = self.ask(OperatorCall::ListOffers(Page::default()))?;
        if let (OperatorAnswer::Agents(agents), OperatorAnswer::Offers(offers)) = (agents, offers) {
            Some((agents.entries, offers.entries))
        } else {
            None
        }
    }

    fn ask(&mut self, call: OperatorCall) -> Option<OperatorAnswer> {
        let now = self.moment();
        let ledger = self.scheduler.ledger.as_mut()?;
        let session = SessionId(u64::MAX);
        ledger.handle(
            now,
            Input::Opened {
                session,
                peer: Peer::Operator(make::principal("looker")),
                software: make::line("simulation"),
            },
        );
        let id = CallId::FIRST;
        let call = Numbered { id, call };
        ledger.handle(now, Input::Operator { session, call });
        let mut answer = None;
        loop {
            while let Some(outgoing) = ledger.poll_outgoing() {
                if let Outgoing::Send {
                    message: Message::Operator(answered),
                    ..
                } = outgoing
                {
                    answer = Some(answered.answer);
                }
            }
            let Some(batch) = ledger.poll_batch() else {
                break;
            };
            ledger.handle_written(batch.written());
        }
        ledger.handle(now, Input::Closed { session });
        answer
    }

    fn check_answers(&mut self) {
        let open = self.frameworks.iter().flat_map(|own| &own.operations);
        let open: Vec<String> = open
            .filter(|(_, answer)| answer.is_none())
            .map(|(id, _)| id.to_string())
            .collect();
        if !open.is_empty() {
            self.violate(Checker::Answers, format_args!("no answer to {open:?}"));
        }
        if !self.operator.waiting.is_empty() {
            self.violate(Checker::Answers, "the operator waits for an answer");
        }
    }

    fn check_tasks(&mut self) {
        let mut believed: BTreeSet<TaskKey> = BTreeSet::new();
        let mut undead: BTreeSet<TaskKey> = BTreeSet::new();
        for own in &self.frameworks {
            let Some(framework) = own.id else { continue };
            for (task, belief) in own.tasks.iter().filter(|(_, belief)| !belief.is_over()) {
                let key = TaskKey {
                    framework,
                    task: task.clone(),
                };
                if belief.is_killed {
                    undead.insert(key.clone());
                }
                believed.insert(key);
            }
        }
        let running = self.nodes.iter().flat_map(crate::node::Node::running);
        let running: BTreeSet<TaskKey> = running.map(|own| own.task.clone()).collect();
        if !undead.is_empty() {
            self.violate(
                Checker::Kills,
                format_args!("killed and not over: {undead:?}"),
            );
        }
        let lost: Vec<_> = believed.difference(&running).collect();
        if !lost.is_empty() {
            self.violate(
                Checker::NothingLost,
                format_args!("believed to be alive, and nothing runs: {lost:?}"),
            );
        }
        let strays: Vec<_> = running.difference(&believed).collect();
        if !strays.is_empty() {
            self.violate(
                Checker::NothingLost,
                format_args!("runs, and nobody believes so: {strays:?}"),
            );
        }
    }

    fn check_updates(&mut self) {
        let waiting = self.nodes.iter().filter_map(|node| {
            let figures = node.session.as_ref()?.figures();
            (figures.updates_unacknowledged > 0).then_some(node.index)
        });
        let waiting: Vec<usize> = waiting.collect();
        if !waiting.is_empty() {
            let what = format!("updates are not acknowledged on nodes {waiting:?}");
            self.violate(Checker::Updates, what);
        }
    }

    /// Checks that no more is offered of a node than its containers leave.
    fn check_conserved(&mut self, agents: &[AgentEntry]) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let name = node.agent_name();
            let Some(entry) = agents.iter().find(|entry| entry.agent.name == name) else {
                continue;
            };
            let parts: Vec<Resources> = node.running().map(|own| own.holds.clone()).collect();
            let given = Resources::sum(parts.iter().chain([&entry.offered])).unwrap_or_default();
            let has = crate::node::has().checked_add(&node.lending.now(self.now));
            let has = has.unwrap_or_default();
            let kinds = [
                (given.regular(), has.regular()),
                (given.revocable(), has.revocable()),
            ];
            let resources = ["cpus", "mem", "disk"].into_iter();
            for (resource, (given, has)) in
                resources.flat_map(|name| kinds.clone().map(|kinds| (name, kinds)))
            {
                let (given, has) = (given.amount(resource), has.amount(resource));
                if given > has {
                    let what =
                        format!("{given} {resource} of {name} are given out, and it has {has}");
                    self.violate(Checker::Conservation, what);
                }
            }
        }
    }

    fn check_agents(&mut self, agents: &[AgentEntry]) {
        let entries: BTreeMap<_, _> = agents
            .iter()
            .map(|entry| (entry.agent.name.clone(), entry))
            .collect();
        let mut wrong = Vec::new();
        for node in &self.nodes {
            let name = node.agent_name();
            let (Some(entry), Some(session)) = (entries.get(&name), &node.session) else {
                wrong.push(format!("agent {name} is not there"));
                continue;
            };
            let set = session.set();
            if entry.set_version != set.version() || entry.total.checkpointed() != *set.resources()
            {
                wrong.push(format!(
                    "agent {name} has set {} of {}, and the scheduler {} of {}",
                    set.version(),
                    set.resources(),
                    entry.set_version,
                    entry.total.checkpointed(),
                ));
            }
            let volumes = set.resources().volumes();
            let volumes = volumes.iter().filter_map(|entry| {
                let (role, volume) = (entry.role()?.clone(), entry.volume()?);
                let id = volume.id.clone();
                Some(VolumeName { role, id })
            });
            let volumes: BTreeSet<VolumeName> = volumes.collect();
            if volumes != node.volumes && !node.has_lost {
                wrong.push(format!(
                    "agent {name} has the volumes {volumes:?}, and directories {:?}",
                    node.volumes
                ));
            }
            let held: Vec<Resources> = node.running().map(|own| own.holds.clone()).collect();
            let held = Resources::sum(&held).unwrap_or_default();
            if entry.used != held {
                wrong.push(format!(
                    "tasks hold {held} of agent {name}, and {} by the scheduler",
                    entry.used
                ));
            }
        }
        if agents.len() != self.nodes.len() {
            wrong.push(format!("the scheduler has {} agents", agents.len()));
        }
        for what in wrong {
            self.violate(Checker::Agreement, what);
        }
    }

    fn check_offers(&mut self, offers: &[OfferEntry]) {
        for index in 0..self.frameworks.len() {
            let own = &self.frameworks[index];
            let there = offers
                .iter()
                .filter(|entry| Some(entry.framework) == own.id);
            let there: BTreeSet<OfferId> = there.map(|entry| entry.offer.id).collect();
            let here: BTreeSet<OfferId> = own.offers.keys().copied().collect();
            if there != here {
                let what = format!("framework {index} holds {here:?}, the scheduler has {there:?}");
                self.violate(Checker::Offers, what);
            }
        }
    }

    fn check_idle(&mut self, agents: &[AgentEntry]) {
        for entry in agents {
            let name = &entry.agent.name;
            if entry.state != AgentState::Connected {
                self.violate(Checker::Idle, format_args!("{name} is {:?}", entry.state));
            }
            let total = entry.total.checked_add(&entry.revocable);
            let free = total.unwrap_or_default().checked_sub(&entry.used);
            let free = free.and_then(|free| free.checked_sub(&entry.offered));
            match free {
                Err(shortfall) => self.violate(
                    Checker::Conservation,
                    format_args!("more of {name} is given out than it has: {shortfall}"),
                ),
                Ok(free) => {
                    // What is smaller is kept back until there is more.
                    let is_worth_it = [free.regular(), free.revocable()].iter().any(|free| {
                        free.amount("cpus") >= Amount::from_thousandths(10)
                            || free.amount("mem") >= Amount::from_thousandths(32_000)
                    });
                    if is_worth_it {
                        let what = format!("{free} of {name} is idle, and offered to nobody");
                        self.violate(Checker::Idle, what);
                    }
                }
            }
        }
    }
}
