//! What `run` does next: a state machine that takes events and gives steps.
//!
//! ```text
//!              offer fits                operation finished, or an update
//!   Asking ────────────────► Launching ────────────────────────────────► Following ──► the end
//!     ▲                          │
//!     └── it never began, again ─┘
//! ```
//!
//! 1. *Asking*: what does not fit is given back for a while. With `--revocable` regular and revocable
//!    offers of one agent are kept for a moment, for a task needs both.
//! 2. *Launching*: the ACCEPT is on its way. What is left of the offers goes back, and no more are
//!    wanted. If the task certainly never began (the offer was taken back meanwhile), it is asked for
//!    again, under other ids.
//! 3. *Following*: whatever the connection does, the task is asked after when it is back.
//!
//! Pure: the time is an argument, and counts from when the command began.

mod step;

use std::collections::BTreeMap;
use std::time::Duration;

use weir_client::{Event, framework::acknowledgement};
use weir_protocol::bounds::OFFER_IDS_MAX;
use weir_protocol::{
    Action, AgentId, AgentName, CallId, ErrorCode, Failure, Filters, FrameworkCall, FrameworkId,
    Millis, Offer, OfferId, Operation, OperationId, OperationOutcome, Reason, Source, TaskId,
    TaskKey, TaskQuery, TaskSpec, TaskState, TaskStatus,
};
use weir_resources::{Kind, Resources};

pub(crate) use step::{End, Order, Step};

/// For how long the offers that are left over are not made again: longer than most tasks ask.
const LEFT_OVER: Filters = Filters {
    refuse: Millis(3_600_000),
};

/// How long an offer waits for its other half, of the same agent and the other kind: both are made in
/// one round of the allocator.
const HALVES_APART: Duration = Duration::from_secs(2);

/// How often a launch is tried that does not even begin.
const ATTEMPTS_MAX: u32 = 16;

/// About how many agents it is said what they lack: more would scroll away anyhow.
const TOLD_MAX: usize = 16;

/// The state machine.
#[derive(Debug)]
pub(crate) struct Plan {
    order: Order,
    /// What the ids begin with.
    base: TaskId,
    attempt: u32,
    framework: Option<FrameworkId>,
    subscribed: bool,
    phase: Phase,
    kill: Kill,
    held: BTreeMap<OfferId, Held>,
    /// What was said of whom.
    told: BTreeMap<AgentName, String>,
    lacking: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Asking,
    Launching {
        agent: AgentId,
        name: AgentName,
        /// The ACCEPT, once it has a number.
        call: Option<CallId>,
    },
    Following {
        agent: AgentId,
        name: AgentName,
        state: Option<TaskState>,
    },
    Over,
}

/// An offer that waits for its other half.
#[derive(Debug)]
struct Held {
    offer: Offer,
    until: Duration,
}

/// How much it is wished that the task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    No,
    Gracefully,
    AtOnce,
}

impl Plan {
    /// Begins. `base` must be new: the ids of task and operation are made of it.
    pub(crate) fn new(order: Order, base: TaskId) -> Self {
        Self {
            order,
            base,
            attempt: 1,
            framework: None,
            subscribed: false,
            phase: Phase::Asking,
            kill: Kill::No,
            held: BTreeMap::new(),
            told: BTreeMap::new(),
            lacking: None,
        }
    }

    /// Returns the framework, once it has an id.
    pub(crate) fn framework(&self) -> Option<FrameworkId> {
        self.framework
    }

    /// Returns when [`Plan::handle_tick`] wants to be called, if no event comes before.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let deadline = match self.phase {
            Phase::Asking => self.order.deadline,
            Phase::Launching { .. } | Phase::Following { .. } | Phase::Over => None,
        };
        let held = self.held.values().map(|held| held.until).min();
        deadline.into_iter().chain(held).min()
    }

    /// Takes note of the number of a call that was made.
    pub(crate) fn handle_called(&mut self, made: &FrameworkCall, id: CallId) {
        if let (FrameworkCall::Accept { .. }, Phase::Launching { call, .. }) =
            (made, &mut self.phase)
        {
            *call = Some(id);
        }
    }

    pub(crate) fn handle_event(&mut self, now: Duration, event: Event) -> Vec<Step> {
        if matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        match event {
            Event::Subscribed { id, again, .. } => self.handle_subscribed(id, again),
            Event::Disconnected { error, retry_in } => {
                let first = self.framework.is_none() && self.order.deadline.is_none();
                self.subscribed = false;
                self.held.clear();
                if first {
                    return self.end(End::Unreachable(error));
                }
                vec![Step::Say(format!(
                    "{}; trying again in {} s",
                    super::super::exit::chain(&error),
                    retry_in.as_secs_f32().ceil()
                ))]
            }
            Event::NotYet { failure, retry_in } => {
                let first = self.framework.is_none() && self.order.deadline.is_none();
                self.subscribed = false;
                self.held.clear();
                if first {
                    return self.end(End::NotTaken(failure));
                }
                let retry_in = retry_in.as_secs_f32().ceil();
                vec![Step::Say(format!(
                    "{failure}; trying again in {retry_in} s"
                ))]
            }
            Event::Offers(offers) => self.handle_offers(now, offers),
            Event::Rescinded { offer, .. } => {
                self.held.remove(&offer);
                Vec::new()
            }
            Event::Update(status) => self.handle_update(status),
            Event::Operation { id, outcome } => self.handle_outcome(&id, outcome),
            Event::AgentLost { id, name, reason } => match &self.phase {
                Phase::Launching { agent, .. } | Phase::Following { agent, .. } if *agent == id => {
                    vec![Step::Say(format!("agent {name} is lost: {reason}"))]
                }
                Phase::Launching { .. } | Phase::Following { .. } | Phase::Asking | Phase::Over => {
                    Vec::new()
                }
            },
            Event::Refused { call, failure } => self.handle_refused(call, failure),
        }
    }

    /// Somebody wants it to end.
    pub(crate) fn handle_interrupt(&mut self) -> Vec<Step> {
        let agent = match &self.phase {
            Phase::Over => return Vec::new(),
            Phase::Asking => return self.end(End::Interrupted),
            Phase::Launching { agent, .. } | Phase::Following { agent, .. } => *agent,
        };
        let task = self.task_id();
        let again = self.kill != Kill::No;
        self.kill = if again {
            Kill::AtOnce
        } else {
            Kill::Gracefully
        };
        match (self.subscribed, again) {
            (true, _) => {
                let how = if again { "at once" } else { "(again: at once)" };
                let mut steps = vec![Step::Say(format!("killing {task} {how}"))];
                steps.extend(self.kill_call(agent));
                steps
            }
            (false, false) => vec![Step::Say(format!(
                "{task} is killed when the scheduler is back (again: leave it)"
            ))],
            (false, true) => self.end(End::Abandoned { task }),
        }
    }

    /// Time has passed.
    pub(crate) fn handle_tick(&mut self, now: Duration) -> Vec<Step> {
        let asking = matches!(self.phase, Phase::Asking);
        if asking && self.order.deadline.is_some_and(|deadline| deadline <= now) {
            let lacking = self.lacking.take();
            return self.end(End::NoOffer { lacking });
        }
        let overdue = |held: &Held| held.until <= now;
        let offers: Vec<OfferId> = self
            .held
            .iter()
            .filter(|(_, held)| overdue(held))
            .map(|(id, _)| *id)
            .collect();
        self.held.retain(|_, held| !overdue(held));
        decline(offers, Filters::default())
    }

    fn handle_subscribed(&mut self, id: FrameworkId, again: bool) -> Vec<Step> {
        self.framework = Some(id);
        self.subscribed = true;
        let (agent, operation) = match &self.phase {
            Phase::Over => return Vec::new(),
            Phase::Asking => {
                let wanted = self.order.wanted.describe();
                return vec![Step::Say(format!("waiting for an offer of {wanted}"))];
            }
            Phase::Launching { agent, .. } => (*agent, Some(self.operation_id())),
            Phase::Following { agent, .. } => (*agent, None),
        };
        let mut steps = Vec::new();
        if again {
            let task = self.task_id();
            steps.push(Step::Say(format!(
                "the scheduler is back; asking after {task}"
            )));
        }
        // To subscribe is to want offers again.
        steps.push(Step::Call(FrameworkCall::Suppress));
        steps.push(Step::Call(FrameworkCall::Reconcile {
            tasks: vec![self.query(agent)],
            operations: operation.into_iter().collect(),
        }));
        steps.extend(self.kill_call(agent));
        steps
    }

    fn handle_offers(&mut self, now: Duration, offers: Vec<Offer>) -> Vec<Step> {
        if !matches!(self.phase, Phase::Asking) {
            let ids = offers.iter().map(|offer| offer.id).collect();
            return decline(ids, LEFT_OVER);
        }
        for offer in offers {
            let until = now + HALVES_APART;
            self.held.insert(offer.id, Held { offer, until });
        }
        if let Some(accepted) = self.find_fit() {
            return self.launch(accepted);
        }
        let mut steps = self.tell_what_is_lacking();
        match self.order.wanted.kind {
            Kind::Regular => {
                let ids = std::mem::take(&mut self.held).into_keys().collect();
                steps.extend(decline(ids, Filters::default()));
            }
            // The other half may be on its way.
            Kind::Revocable => {}
        }
        steps
    }

    /// Returns the offers of each agent, by its name.
    fn by_agent(&self) -> BTreeMap<AgentName, Vec<&Offer>> {
        let mut agents: BTreeMap<AgentName, Vec<&Offer>> = BTreeMap::new();
        for held in self.held.values() {
            let name = held.offer.agent_name.clone();
            agents.entry(name).or_default().push(&held.offer);
        }
        agents
    }

    /// Finds one offer with room for the task, or all of one agent that have it together.
    fn find_fit(&self) -> Option<Accepted> {
        let wanted = &self.order.wanted;
        let alone = self.held.values().find_map(|Held { offer, .. }| {
            let resources = wanted.fit(&offer.resources).ok()?;
            Some(Accepted::new(&[offer], resources))
        });
        alone.or_else(|| {
            self.by_agent().into_values().find_map(|offers| {
                let together = Resources::sum(offers.iter().map(|offer| &offer.resources)).ok()?;
                let resources = wanted.fit(&together).ok()?;
                Some(Accepted::new(&offers, resources))
            })
        })
    }

    fn launch(&mut self, accepted: Accepted) -> Vec<Step> {
        let Accepted {
            offers,
            agent,
            name,
            resources,
        } = accepted;
        for offer in &offers {
            self.held.remove(offer);
        }
        let rest = std::mem::take(&mut self.held).into_keys().collect();
        let task = TaskSpec {
            id: self.task_id(),
            resources,
            ..self.order.task.clone()
        };
        let mut steps = vec![
            Step::Say(format!("launching {} on agent {name}", task.id)),
            Step::Call(FrameworkCall::Accept {
                offers,
                operations: vec![Operation {
                    id: self.operation_id(),
                    action: Action::Launch(vec![task]),
                }],
                filters: LEFT_OVER,
            }),
        ];
        steps.extend(decline(rest, LEFT_OVER));
        steps.push(Step::Call(FrameworkCall::Suppress));
        self.phase = Phase::Launching {
            agent,
            name,
            call: None,
        };
        steps
    }

    /// Says what agents lack, once each.
    fn tell_what_is_lacking(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut found = Vec::new();
        for (name, offers) in self.by_agent() {
            let together = Resources::sum(offers.iter().map(|offer| &offer.resources));
            if let Some(Err(misfit)) = together.ok().map(|all| self.order.wanted.fit(&all)) {
                found.push((name, misfit.to_string()));
            }
        }
        for (name, misfit) in found {
            let text = format!("agent {name} {misfit}");
            self.lacking = Some(text.clone());
            let news = self.told.get(&name).is_none_or(|told| *told != misfit);
            if news && (self.told.len() < TOLD_MAX || self.told.contains_key(&name)) {
                self.told.insert(name, misfit);
                steps.push(Step::Say(text));
            }
        }
        steps
    }

    fn handle_update(&mut self, status: TaskStatus) -> Vec<Step> {
        let mut steps: Vec<Step> = acknowledgement(&status)
            .map(Step::Call)
            .into_iter()
            .collect();
        if status.task != self.task_id() {
            return steps;
        }
        let (agent, name, before) = match &self.phase {
            Phase::Asking | Phase::Over => return steps,
            Phase::Launching { agent, name, .. } => {
                if never_began(&status) {
                    let why = status.reason.map_or("", Reason::as_str);
                    steps.extend(self.ask_again(Failure::new(
                        ErrorCode::InvalidOffers,
                        format_args!("{} was not launched on agent {name}: {why}", status.task),
                        "try again; the cluster changes too fast for this task",
                    )));
                    return steps;
                }
                // The scheduler may just not have heard of it: the operation says.
                if is_reconciled_loss(&status) {
                    return steps;
                }
                (*agent, name.clone(), None)
            }
            Phase::Following { agent, name, state } => (*agent, name.clone(), *state),
        };
        if status.state.is_terminal() {
            steps.extend(self.end(End::Ended(status)));
            return steps;
        }
        let state = status.state;
        self.phase = Phase::Following {
            agent,
            name: name.clone(),
            state: Some(state),
        };
        if before != Some(state) {
            let word = match state {
                TaskState::Staging => "is on its way to",
                TaskState::Starting => "starts on",
                TaskState::Running => "runs on",
                TaskState::Killing => "is being killed on",
                TaskState::Finished
                | TaskState::Failed
                | TaskState::Killed
                | TaskState::Lost
                | TaskState::Error => "has ended on",
            };
            steps.push(Step::Say(format!("{} {word} agent {name}", status.task)));
        }
        if let (true, TaskState::Running, Some(framework), Kill::No) =
            (self.order.detach, state, self.framework, self.kill)
        {
            steps.extend(self.end(End::Detached {
                task: TaskKey {
                    framework,
                    task: status.task,
                },
                agent: status.agent,
            }));
        }
        steps
    }

    fn handle_outcome(&mut self, id: &OperationId, outcome: OperationOutcome) -> Vec<Step> {
        let Phase::Launching { agent, name, .. } = &self.phase else {
            return Vec::new();
        };
        if *id != self.operation_id() {
            return Vec::new();
        }
        let (agent, name) = (*agent, name.clone());
        match outcome {
            OperationOutcome::Accepted => Vec::new(),
            OperationOutcome::Finished { notes } => {
                self.phase = Phase::Following {
                    agent,
                    name,
                    state: None,
                };
                notes
                    .into_iter()
                    .map(|note| Step::Say(note.to_string()))
                    .collect()
            }
            OperationOutcome::Failed(failure) => self.ask_again(failure),
        }
    }

    fn handle_refused(&mut self, refused: CallId, failure: Failure) -> Vec<Step> {
        match &self.phase {
            Phase::Launching { call, .. } if *call == Some(refused) => self.ask_again(failure),
            Phase::Launching { .. } | Phase::Following { .. } | Phase::Asking | Phase::Over => {
                vec![Step::Say(format!("{failure}; {}", failure.remedy))]
            }
        }
    }

    /// The task certainly never began: asks for resources again, if that can help.
    fn ask_again(&mut self, failure: Failure) -> Vec<Step> {
        if self.kill != Kill::No {
            return self.end(End::Interrupted);
        }
        if !may_pass(failure.code) || self.attempt == ATTEMPTS_MAX {
            return self.end(End::Refused(failure));
        }
        self.attempt += 1;
        self.phase = Phase::Asking;
        vec![
            Step::Say(format!("{failure}; asking again")),
            Step::Call(FrameworkCall::Revive),
        ]
    }

    fn end(&mut self, end: End) -> Vec<Step> {
        self.phase = Phase::Over;
        vec![Step::End(end)]
    }

    fn task_id(&self) -> TaskId {
        match self.attempt {
            1 => self.base.clone(),
            attempt => TaskId::new(format!("{}.{attempt}", self.base))
                .expect("a name, a random part and a number are short enough"),
        }
    }

    fn operation_id(&self) -> OperationId {
        OperationId::new(format!("launch:{}", self.task_id()))
            .expect("a task id of this command leaves room for a word")
    }

    fn query(&self, agent: AgentId) -> TaskQuery {
        TaskQuery {
            task: self.task_id(),
            agent: Some(agent),
        }
    }

    /// Returns the KILL that is wished for, if any is.
    fn kill_call(&self, agent: AgentId) -> Option<Step> {
        let grace = match self.kill {
            Kill::No => return None,
            Kill::Gracefully => None,
            Kill::AtOnce => Some(Millis(0)),
        };
        Some(Step::Call(FrameworkCall::Kill {
            task: self.task_id(),
            agent: Some(agent),
            grace,
        }))
    }
}

/// Offers of one agent that have room, and what is taken of them.
struct Accepted {
    offers: Vec<OfferId>,
    agent: AgentId,
    name: AgentName,
    resources: Resources,
}

impl Accepted {
    /// Takes at least one offer, all of one agent.
    fn new(offers: &[&Offer], resources: Resources) -> Self {
        let first = offers.first().expect("what fits was offered");
        Self {
            offers: offers.iter().map(|offer| offer.id).collect(),
            agent: first.agent,
            name: first.agent_name.clone(),
            resources,
        }
    }
}

/// Returns the calls that give offers back: as many as the bound of one call asks for.
fn decline(offers: Vec<OfferId>, filters: Filters) -> Vec<Step> {
    offers
        .chunks(OFFER_IDS_MAX)
        .map(|offers| {
            let offers = offers.to_vec();
            Step::Call(FrameworkCall::Decline { offers, filters })
        })
        .collect()
}

/// Returns whether the scheduler says that the task was never sent to its agent.
fn never_began(status: &TaskStatus) -> bool {
    let before_the_launch = matches!(
        status.reason,
        Some(
            Reason::InvalidOffers
                | Reason::AgentDisconnected
                | Reason::AgentDraining
                | Reason::ResourcesUnknown
        )
    );
    status.state == TaskState::Lost && status.source == Source::Scheduler && before_the_launch
}

/// Returns whether this is an answer that knows nothing of the task.
fn is_reconciled_loss(status: &TaskStatus) -> bool {
    status.state == TaskState::Lost && status.reason == Some(Reason::Reconciliation)
}

/// Returns whether a launch that failed so may go well with another offer.
fn may_pass(code: ErrorCode) -> bool {
    // Offers and agents come and go; what is unknown was never heard of, and nothing was done.
    let other_offer = matches!(
        code,
        ErrorCode::InvalidOffers
            | ErrorCode::AgentDraining
            | ErrorCode::AgentRemoved
            | ErrorCode::AgentUnknown
            | ErrorCode::OperationUnknown
    );
    other_offer || code.is_retryable()
}

#[cfg(test)]
mod tests;
