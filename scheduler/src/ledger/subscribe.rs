//! SUBSCRIBE, and everything else that makes a framework come and go.
//!
//! 1. SUBSCRIBE without an id: a new framework, if the rules let its principal use the role.
//! 2. The connection breaks: its offers end, its tasks go on, and its time to fail over runs.
//! 3. SUBSCRIBE with its id, from wherever: it is back, and is told what it missed. While it is
//!    connected, another connection of the same principal takes over with `force` only.
//! 4. TEARDOWN, or its time is over: its tasks are ended and it may not come back.
//!
//! Whether SUBSCRIBE succeeds is decided before anything changes, so that whoever is refused has changed
//! nothing. (In Mesos the info of a refused subscriber stays.)

use weir_protocol::{
    CallId, ErrorCode, Failure, FrameworkEvent, FrameworkId, FrameworkInfo, Millis, Note,
    RescindReason,
};
use weir_resources::{Principal, Role};

use super::framework::{Framework, FrameworkPresence, Wants, kinds};
use super::input::SessionId;
use super::policy::{Act, Caller, Verdict};
use super::record::{Actor, Past, Row};
use super::refusal::Refusal;
use super::session::Conversation;
use super::state::Ledger;
use super::timers::Timer;

/// Says why a framework was not subscribed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum SubscribeError {
    #[error("this connection is subscribed as framework {id}")]
    AnotherHere { id: FrameworkId },
    #[error("framework {id} is connected elsewhere")]
    Connected { id: FrameworkId },
    #[error("framework {id} has ended: {why}")]
    Ended { id: FrameworkId, why: Note },
    #[error("framework {id} belongs to principal `{owner}`, and this is `{principal}`")]
    OtherPrincipal {
        id: FrameworkId,
        owner: Principal,
        principal: Principal,
    },
    #[error("framework {id} has role `{has}` and cannot change to `{wanted}`")]
    OtherRole {
        id: FrameworkId,
        has: Role,
        wanted: Role,
    },
    #[error("principal `{principal}` may not subscribe with role `{role}`")]
    Refused { principal: Principal, role: Role },
    #[error("there is no role `{role}`")]
    RoleUnknown { role: Role },
    #[error("there are {count} frameworks, which is the most")]
    TooMany { count: usize },
}

impl Refusal for SubscribeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::AnotherHere { .. } | Self::Connected { .. } => ErrorCode::AlreadySubscribed,
            Self::Ended { .. } => ErrorCode::FrameworkRemoved,
            Self::OtherPrincipal { .. } | Self::Refused { .. } => ErrorCode::Unauthorized,
            Self::OtherRole { .. } => ErrorCode::InvalidMessage,
            Self::RoleUnknown { .. } => ErrorCode::RoleUnknown,
            Self::TooMany { .. } => ErrorCode::LimitReached,
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::AnotherHere { .. } => "open a connection for each framework",
            Self::Connected { .. } => "set `force` to take over from the other connection",
            Self::Ended { .. } => "subscribe without an id, as a new framework",
            Self::OtherPrincipal { .. } => {
                "subscribe with the certificate of the framework's principal"
            }
            Self::OtherRole { .. } => "subscribe as a new framework: what it holds is of its role",
            Self::Refused { .. } => {
                "have the access rules of the scheduler changed, or use another role"
            }
            Self::RoleUnknown { .. } => {
                "name a role of the scheduler's configuration (`weir run --role`), or have it added to [roles] known"
            }
            Self::TooMany { .. } => "tear down frameworks that are not needed",
        }
    }
}

/// How a framework comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    /// For the first time.
    New,
    /// With an id of which the ledger knows nothing: it was lost, or gave it in another life.
    Unheard(FrameworkId),
    /// Back after it was away.
    Back(FrameworkId),
    /// Once more in the same session.
    Again(FrameworkId),
    /// From another session, which it takes the place of.
    TakingOver { id: FrameworkId, from: SessionId },
}

impl Ledger {
    /// Subscribes whoever asks, or tells them why not.
    pub(super) fn handle_subscribe(
        &mut self,
        session: SessionId,
        call: CallId,
        info: FrameworkInfo,
        id: Option<FrameworkId>,
        force: bool,
    ) {
        let Some(Conversation::Framework {
            principal,
            subscribed,
        }) = self
            .sessions
            .get(&session)
            .map(|session| &session.conversation)
        else {
            return;
        };
        let (principal, subscribed) = (principal.clone(), *subscribed);
        match self.plan_subscription(&principal, subscribed, &info, id, force) {
            Ok(coming) => self.subscribe(session, principal, info, coming),
            Err(error) => {
                let failure = error.failure();
                let who = Actor::Framework { id, principal };
                let what = format_args!("subscribe `{}` with role `{}`", info.name, info.role);
                self.audit(who, what, Some(&failure));
                self.refuse_framework(session, call, failure);
            }
        }
    }

    fn plan_subscription(
        &self,
        principal: &Principal,
        subscribed: Option<FrameworkId>,
        info: &FrameworkInfo,
        id: Option<FrameworkId>,
        force: bool,
    ) -> Result<Coming, SubscribeError> {
        if let Some(own) = subscribed
            && id != Some(own)
        {
            return Err(SubscribeError::AnotherHere { id: own });
        }
        let role = &info.role;
        match self
            .policy
            .judge(Caller::Framework(principal), Act::Subscribe(role))
        {
            Verdict::Allowed => {}
            Verdict::Refused => {
                return Err(SubscribeError::Refused {
                    principal: principal.clone(),
                    role: role.clone(),
                });
            }
            Verdict::RoleUnknown => return Err(SubscribeError::RoleUnknown { role: role.clone() }),
        }
        let room = || match self.frameworks.by_id.len() {
            count if count >= self.settings.bounds.frameworks => {
                Err(SubscribeError::TooMany { count })
            }
            _ => Ok(()),
        };
        let Some(id) = id else {
            room()?;
            return Ok(Coming::New);
        };
        if let Some(ended) = self.frameworks.ended.get(&id) {
            let why = ended.why.clone();
            return Err(SubscribeError::Ended { id, why });
        }
        let Some(known) = self.frameworks.by_id.get(&id) else {
            room()?;
            return Ok(Coming::Unheard(id));
        };
        if known.principal != *principal {
            return Err(SubscribeError::OtherPrincipal {
                id,
                owner: known.principal.clone(),
                principal: principal.clone(),
            });
        }
        if known.info.role != *role {
            return Err(SubscribeError::OtherRole {
                id,
                has: known.info.role.clone(),
                wanted: role.clone(),
            });
        }
        match known.session() {
            None => Ok(Coming::Back(id)),
            Some(_) if subscribed == Some(id) => Ok(Coming::Again(id)),
            Some(from) if force => Ok(Coming::TakingOver { id, from }),
            Some(_) => Err(SubscribeError::Connected { id }),
        }
    }

    fn subscribe(
        &mut self,
        session: SessionId,
        principal: Principal,
        info: FrameworkInfo,
        coming: Coming,
    ) {
        let id = match coming {
            Coming::New => {
                let id = self.new_framework_id();
                self.add_framework(id, principal, info, Past::Known);
                id
            }
            Coming::Unheard(id) => {
                self.add_framework(id, principal, info, Past::Unknown);
                id
            }
            Coming::Back(id) => {
                self.update_framework(id, info);
                id
            }
            Coming::Again(id) => {
                self.end_offers_of(id, Some(RescindReason::Resubscribed));
                self.update_framework(id, info);
                id
            }
            Coming::TakingOver { id, from } => {
                let failure = Failure::new(
                    ErrorCode::FrameworkFailedOver,
                    format_args!("another connection has taken over framework {id}"),
                    "end this one; to take it back, subscribe with `force`",
                );
                self.end_conversation(from, failure);
                self.end_offers_of(id, None);
                self.update_framework(id, info);
                id
            }
        };
        self.connect_framework(id, session);
    }

    fn new_framework_id(&mut self) -> FrameworkId {
        loop {
            let id = self.ids.framework();
            let Self { frameworks, .. } = self;
            // Only whoever starts twice with one seed could meet an id again.
            if !frameworks.by_id.contains_key(&id) && !frameworks.ended.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds a framework that is away until something else is said.
    pub(super) fn add_framework(
        &mut self,
        id: FrameworkId,
        principal: Principal,
        info: FrameworkInfo,
        past: Past,
    ) {
        self.allocator
            .add_framework(id, &info.role, kinds(&info))
            .expect("the allocator has the frameworks of the ledger");
        self.allocator
            .deactivate_framework(id)
            .expect("it was added");
        let gone_at = self.framework_gone_at(info.failover_timeout, self.settings.framework_return);
        let framework = Framework {
            id,
            info,
            principal,
            subscribed: self.now.unix,
            past,
            presence: FrameworkPresence::Away { gone_at },
            offers: Default::default(),
            tasks: Default::default(),
            errands: Default::default(),
            untold: Default::default(),
        };
        self.timers.set(gone_at, Timer::FrameworkGone(id));
        self.put(Row::Framework(framework.row()));
        self.frameworks.by_id.insert(id, framework);
    }

    fn update_framework(&mut self, id: FrameworkId, info: FrameworkInfo) {
        let Some(framework) = self.frameworks.by_id.get_mut(&id) else {
            return;
        };
        self.allocator
            .update_framework(id, &info.role, kinds(&info))
            .expect("the allocator has the frameworks of the ledger");
        framework.info = info;
        framework.subscribed = self.now.unix;
        framework.past = match framework.past {
            // It has now said of itself what its tasks could not.
            Past::Unknown | Past::FromTasks => Past::Unknown,
            Past::Known => Past::Known,
        };
        let row = Row::Framework(framework.row());
        self.put(row);
    }

    fn connect_framework(&mut self, id: FrameworkId, session: SessionId) {
        let Some(framework) = self.frameworks.by_id.get_mut(&id) else {
            return;
        };
        match framework.presence {
            FrameworkPresence::Away { gone_at } => {
                self.timers.cancel(gone_at, Timer::FrameworkGone(id));
            }
            FrameworkPresence::Connected { heartbeat_at, .. } => {
                self.timers.cancel(heartbeat_at, Timer::Heartbeat(id));
            }
        }
        let said_at = self.now.elapsed;
        let heartbeat_at = said_at.saturating_add(self.settings.heartbeat);
        framework.presence = FrameworkPresence::Connected {
            session,
            wants: Wants::Offers,
            said_at,
            heartbeat_at,
        };
        self.timers.set(heartbeat_at, Timer::Heartbeat(id));
        let untold = std::mem::take(&mut framework.untold);
        if let Some(Conversation::Framework { subscribed, .. }) = self
            .sessions
            .get_mut(&session)
            .map(|session| &mut session.conversation)
        {
            *subscribed = Some(id);
        }
        self.allocator
            .activate_framework(id)
            .expect("the allocator has the frameworks of the ledger");
        self.tell_framework(
            id,
            FrameworkEvent::Subscribed {
                id,
                scheduler: self.settings.scheduler.clone(),
                heartbeat_interval: Millis(
                    u64::try_from(self.settings.heartbeat.as_millis()).unwrap_or(u64::MAX),
                ),
            },
        );
        for operation in untold {
            self.tell_answer_again(id, operation);
        }
        self.repeat_updates(id);
    }

    /// Says that there is nothing to say, if nothing was said for a while.
    pub(super) fn handle_heartbeat(&mut self, id: FrameworkId) {
        let interval = self.settings.heartbeat;
        let now = self.now.elapsed;
        let Some(framework) = self.frameworks.by_id.get_mut(&id) else {
            return;
        };
        let FrameworkPresence::Connected {
            said_at,
            heartbeat_at,
            ..
        } = &mut framework.presence
        else {
            return;
        };
        let due = said_at.saturating_add(interval);
        let is_due = due <= now;
        *heartbeat_at = if is_due {
            now.saturating_add(interval)
        } else {
            due
        };
        self.timers.set(*heartbeat_at, Timer::Heartbeat(id));
        if is_due {
            self.tell_framework(id, FrameworkEvent::Heartbeat);
        }
    }
}
