//! The client: a connection that is made when it is needed.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::timeout;
use weir_protocol::operator::{
    AgentEntry, Cursor, FrameworkEntry, Listing, OfferEntry, Page, ReservationEntry, RoleEntry,
    TaskEntry, VolumeEntry, Weight,
};
use weir_protocol::{
    AgentName, Answered, CallId, Envelope as _, FrameworkId, Line, Millis, Note, Numbered,
    OperationId, OperatorAnswer, OperatorCall, TaskKey, wire,
};
use weir_resources::{ResourceOperation, Role};
use weir_transport::connect::ConnectLimits;
use weir_transport::session::SendError;
use weir_transport::{Address, Connector, CredentialWatch, PeerName, Session};

use super::error::OperatorError;
use crate::error::ConversationError;
use crate::greet::{greet, unreadable};

/// How long an answer is waited for unless something else is asked for: a change waits for its agent,
/// which may be busy with a disk.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// The most pages of one list: four million entries, more than any cluster has of anything.
const PAGES_MAX: usize = 1024;

/// Asks a scheduler for an operator.
///
/// Connects when the first call is made, and again when a connection has broken. A question that was
/// lost with an old connection is asked once more; a change never is, for it may have been done:
/// whoever asked for it is told so ([`OperatorError::may_have_happened`]) and repeats it under the
/// same [`OperationId`], which does it once.
#[derive(Debug)]
pub struct OperatorClient {
    address: Address,
    credentials: CredentialWatch,
    connector: Connector,
    software: Line,
    patience: Duration,
    live: Option<Live>,
}

/// A connection on which nothing is under way.
#[derive(Debug)]
struct Live {
    session: Session<wire::OperatorCall, wire::OperatorAnswer>,
    next: CallId,
}

/// Returns what is listed, if the answer is that list.
macro_rules! match_answer {
    ($answer:expr, $list:ident) => {
        if let OperatorAnswer::$list(listing) = $answer {
            Some(listing)
        } else {
            None
        }
    };
}

impl OperatorClient {
    /// Makes a client for the scheduler at `address`. Nothing is connected yet.
    ///
    /// `software` is what the scheduler's log calls this program.
    pub fn new(address: Address, credentials: CredentialWatch, software: Line) -> Self {
        Self {
            address,
            connector: Connector::new(credentials.clone(), ConnectLimits::default()),
            credentials,
            software,
            patience: ANSWER_PATIENCE,
            live: None,
        }
    }

    /// Waits for each answer as long as this, and no longer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns the name in the certificate, which is whose reservations this client makes.
    pub fn principal(&self) -> PeerName {
        let state = self.credentials.borrow();
        state.current.identity().name().clone()
    }

    /// Makes one call and waits for its answer, which is never [`OperatorAnswer::Failed`].
    ///
    /// Dropped half-way, the call may have been made, and its answer is lost.
    pub async fn call(&mut self, call: OperatorCall) -> Result<OperatorAnswer, OperatorError> {
        let was_live = self.live.is_some();
        match self.attempt(call.clone()).await {
            // The connection may have been dead for long, and nobody had noticed.
            Err(OperatorError::Unanswered { source, .. })
                if was_live && source.is_retryable() && is_question(&call) =>
            {
                tracing::debug!(call = call.name(), "asking again on a new connection");
                self.attempt(call).await
            }
            result => result,
        }
    }

    /// Lists the agents.
    pub async fn agents(&mut self) -> Result<Vec<AgentEntry>, OperatorError> {
        self.list(OperatorCall::ListAgents, |answer| {
            match_answer!(answer, Agents)
        })
        .await
    }

    /// Lists the offers that frameworks hold.
    pub async fn offers(&mut self) -> Result<Vec<OfferEntry>, OperatorError> {
        self.list(OperatorCall::ListOffers, |answer| {
            match_answer!(answer, Offers)
        })
        .await
    }

    /// Lists the roles.
    pub async fn roles(&mut self) -> Result<Vec<RoleEntry>, OperatorError> {
        self.list(OperatorCall::ListRoles, |answer| {
            match_answer!(answer, Roles)
        })
        .await
    }

    /// Lists the frameworks.
    pub async fn frameworks(&mut self) -> Result<Vec<FrameworkEntry>, OperatorError> {
        let ask = OperatorCall::ListFrameworks;
        self.list(ask, |answer| match_answer!(answer, Frameworks))
            .await
    }

    /// Lists tasks: of one framework, on one agent, or all; with those that have ended, or without.
    pub async fn tasks(
        &mut self,
        framework: Option<FrameworkId>,
        agent: Option<AgentName>,
        ended: bool,
    ) -> Result<Vec<TaskEntry>, OperatorError> {
        let ask = |page| OperatorCall::ListTasks {
            page,
            framework,
            agent: agent.clone(),
            ended,
        };
        self.list(ask, |answer| match_answer!(answer, Tasks)).await
    }

    /// Lists what is reserved: on one agent or all, for one role or all.
    pub async fn reservations(
        &mut self,
        agent: Option<AgentName>,
        role: Option<Role>,
    ) -> Result<Vec<ReservationEntry>, OperatorError> {
        let ask = |page| OperatorCall::ListReservations {
            page,
            agent: agent.clone(),
            role: role.clone(),
        };
        self.list(ask, |answer| match_answer!(answer, Reservations))
            .await
    }

    /// Lists volumes: on one agent or all, of one role or all.
    pub async fn volumes(
        &mut self,
        agent: Option<AgentName>,
        role: Option<Role>,
    ) -> Result<Vec<VolumeEntry>, OperatorError> {
        let ask = |page| OperatorCall::ListVolumes {
            page,
            agent: agent.clone(),
            role: role.clone(),
        };
        self.list(ask, |answer| match_answer!(answer, Volumes))
            .await
    }

    /// Reserves, unreserves, creates or destroys, and waits until the agent has written it down.
    ///
    /// Returns what to know about it. Under the same `operation` the same change is done once.
    pub async fn change(
        &mut self,
        operation: OperationId,
        agent: AgentName,
        change: ResourceOperation,
    ) -> Result<Vec<Note>, OperatorError> {
        self.done(OperatorCall::Change {
            operation,
            agent,
            change,
        })
        .await
    }

    /// Sets how much of the cluster a role is due.
    pub async fn set_weight(
        &mut self,
        role: Role,
        weight: Weight,
    ) -> Result<Vec<Note>, OperatorError> {
        self.done(OperatorCall::SetWeight { role, weight }).await
    }

    /// Begins to end the tasks of an agent, and sends it away.
    pub async fn drain_agent(
        &mut self,
        agent: AgentName,
        grace_max: Option<Millis>,
    ) -> Result<Vec<Note>, OperatorError> {
        self.done(OperatorCall::DrainAgent { agent, grace_max })
            .await
    }

    /// Gives an agent up, with its tasks.
    pub async fn remove_agent(&mut self, agent: AgentName) -> Result<Vec<Note>, OperatorError> {
        self.done(OperatorCall::RemoveAgent { agent }).await
    }

    /// Begins to end a task.
    pub async fn kill_task(
        &mut self,
        task: TaskKey,
        grace: Option<Millis>,
    ) -> Result<Vec<Note>, OperatorError> {
        self.done(OperatorCall::KillTask { task, grace }).await
    }

    /// Ends a framework with its tasks.
    pub async fn teardown_framework(
        &mut self,
        framework: FrameworkId,
    ) -> Result<Vec<Note>, OperatorError> {
        self.done(OperatorCall::TeardownFramework { framework })
            .await
    }

    /// Says good-bye. A client that is dropped instead leaves the scheduler to notice.
    pub async fn close(mut self) {
        if let Some(live) = self.live.take()
            && let Err(error) = live.session.finish().await
        {
            tracing::debug!(%error, "the connection was gone before it was closed");
        }
        self.connector.settle().await;
    }

    /// Makes a call that is answered by DONE.
    async fn done(&mut self, call: OperatorCall) -> Result<Vec<Note>, OperatorError> {
        let name = call.name();
        match self.call(call).await? {
            OperatorAnswer::Done { notes } => Ok(notes),
            OperatorAnswer::Failed(_)
            | OperatorAnswer::Agents(_)
            | OperatorAnswer::Offers(_)
            | OperatorAnswer::Roles(_)
            | OperatorAnswer::Frameworks(_)
            | OperatorAnswer::Tasks(_)
            | OperatorAnswer::Reservations(_)
            | OperatorAnswer::Volumes(_) => Err(OperatorError::Mismatch { call: name }),
        }
    }

    /// Asks for page after page.
    async fn list<T>(
        &mut self,
        ask: impl Fn(Page) -> OperatorCall,
        read: impl Fn(OperatorAnswer) -> Option<Listing<T>>,
    ) -> Result<Vec<T>, OperatorError> {
        let mut entries = Vec::new();
        let mut after: Option<Cursor> = None;
        let mut name = "";
        for _page in 0..PAGES_MAX {
            let call = ask(Page {
                after: after.clone(),
                limit: None::<NonZeroU32>,
            });
            name = call.name();
            let answer = self.call(call).await?;
            let listing = read(answer).ok_or(OperatorError::Mismatch { call: name })?;
            entries.extend(listing.entries);
            match listing.next {
                None => return Ok(entries),
                // A list that goes in circles has no end.
                next if next == after => break,
                next => after = next,
            }
        }
        Err(OperatorError::Mismatch { call: name })
    }

    /// Makes a call once.
    async fn attempt(&mut self, call: OperatorCall) -> Result<OperatorAnswer, OperatorError> {
        let name = call.name();
        // Taken: if this is dropped half-way, so is the connection with its answer to nobody.
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self
                .connect()
                .await
                .map_err(|source| OperatorError::NotSent { call: name, source })?,
        };
        let id = live.next;
        live.next = id.next();
        let exchange = self.exchange(&mut live, Numbered { id, call });
        let answered = match timeout(self.patience, exchange).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(
                source @ ConversationError::Send {
                    source: SendError::TooLarge(_),
                    ..
                },
            )) => {
                self.live = Some(live);
                return Err(OperatorError::NotSent { call: name, source });
            }
            Ok(Err(source)) => return Err(OperatorError::Unanswered { call: name, source }),
            Err(_elapsed) => {
                return Err(OperatorError::Slow {
                    call: name,
                    patience: self.patience,
                });
            }
        };
        match answered {
            Answered {
                call: Some(answered),
                answer,
            } if answered == id => {
                self.live = Some(live);
                if let OperatorAnswer::Failed(failure) = answer {
                    Err(OperatorError::Failed {
                        call: name,
                        failure,
                    })
                } else {
                    Ok(answer)
                }
            }
            // About no call: the conversation is over, and this is why.
            Answered {
                call: None,
                answer: OperatorAnswer::Failed(failure),
            } => Err(OperatorError::Failed {
                call: name,
                failure,
            }),
            Answered { .. } => Err(OperatorError::Mismatch { call: name }),
        }
    }

    async fn connect(&self) -> Result<Live, ConversationError> {
        let (session, welcome) = greet(&self.connector, &self.address, &self.software).await?;
        tracing::debug!(
            scheduler = %welcome.scheduler,
            address = %self.address,
            version = welcome.version,
            "connected"
        );
        Ok(Live {
            session,
            next: CallId::FIRST,
        })
    }

    async fn exchange(
        &self,
        live: &mut Live,
        call: Numbered<OperatorCall>,
    ) -> Result<Answered, ConversationError> {
        let address = || self.address.clone();
        // What a scheduler says before it closes counts for more than that nothing can be sent.
        let sent = live.session.send(&call.into_wire()).await;
        if let Err(source @ SendError::TooLarge(_)) = sent {
            return Err(ConversationError::Send {
                address: address(),
                source,
            });
        }
        match (live.session.receive().await, sent) {
            (Ok(Some(answer)), _) => {
                Answered::from_wire(answer).map_err(|refusal| unreadable(&self.address, &refusal))
            }
            (_, Err(source)) => Err(ConversationError::Send {
                address: address(),
                source,
            }),
            (Ok(None), Ok(())) => Err(ConversationError::Ended { address: address() }),
            (Err(source), Ok(())) => Err(ConversationError::Receive {
                address: address(),
                source,
            }),
        }
    }
}

/// Returns whether a call changes nothing, so that it may be made twice.
const fn is_question(call: &OperatorCall) -> bool {
    match call {
        OperatorCall::ListAgents(_)
        | OperatorCall::ListOffers(_)
        | OperatorCall::ListRoles(_)
        | OperatorCall::ListFrameworks(_)
        | OperatorCall::ListTasks { .. }
        | OperatorCall::ListReservations { .. }
        | OperatorCall::ListVolumes { .. } => true,
        OperatorCall::Change { .. }
        | OperatorCall::SetWeight { .. }
        | OperatorCall::DrainAgent { .. }
        | OperatorCall::RemoveAgent { .. }
        | OperatorCall::KillTask { .. }
        | OperatorCall::TeardownFramework { .. } => false,
    }
}
