//! Frameworks of the world: what they say, and what they hear.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::{
    CallId, FrameworkCall, FrameworkEvent, FrameworkId, FrameworkInfo, Numbered, Offer, OfferId,
    Operation, OperationOutcome, TaskKey, TaskStatus,
};
use weir_resources::Resources;
use weir_scheduler::ledger::{Input, Peer};

use super::{Framework, Fw, World};
use crate::make;

impl World {
    /// Adds a framework and has it subscribe.
    pub(crate) fn framework(&mut self, principal: &'static str, role: &str) -> Fw {
        self.framework_as(principal, make::framework_info(principal, role))
    }

    pub(crate) fn framework_as(&mut self, principal: &'static str, info: FrameworkInfo) -> Fw {
        self.frameworks.push(Framework {
            principal,
            info,
            id: None,
            session: None,
            offers: BTreeMap::new(),
            events: VecDeque::new(),
            next_call: CallId::FIRST,
        });
        let fw = Fw(self.frameworks.len() - 1);
        self.subscribe(fw);
        fw
    }

    /// Has a framework connect and subscribe, with its id if it has one.
    pub(crate) fn subscribe(&mut self, fw: Fw) {
        self.connect(fw);
        let own = &self.frameworks[fw.0];
        let call = FrameworkCall::Subscribe {
            framework: own.info.clone(),
            id: own.id,
            force: false,
        };
        self.say(fw, call);
    }

    pub(crate) fn connect(&mut self, fw: Fw) {
        let principal = make::principal(self.frameworks[fw.0].principal);
        let session = self.open(Peer::Framework(principal));
        let own = &mut self.frameworks[fw.0];
        let before = own.session.replace(session);
        own.offers.clear();
        self.stale.extend(before);
    }

    pub(crate) fn say(&mut self, fw: Fw, call: FrameworkCall) {
        let own = &mut self.frameworks[fw.0];
        let session = own.session.expect("it is connected");
        let id = own.next_call;
        own.next_call = id.next();
        let call = Numbered { id, call };
        self.input(Input::Framework { session, call });
    }

    /// Says something, and has the ledger handle it and write nothing: what it leads to is lost unless
    /// the ledger goes on.
    pub(crate) fn say_unwritten(&mut self, fw: Fw, call: FrameworkCall) {
        let own = &mut self.frameworks[fw.0];
        let session = own.session.expect("it is connected");
        let id = own.next_call;
        own.next_call = id.next();
        let call = Numbered { id, call };
        self.ledger
            .handle(self.now, Input::Framework { session, call });
    }

    /// Breaks the connection of a framework.
    pub(crate) fn cut_framework(&mut self, fw: Fw) {
        let own = &mut self.frameworks[fw.0];
        own.offers.clear();
        if let Some(session) = own.session.take() {
            self.input(Input::Closed { session });
        }
    }

    pub(crate) fn id(&self, fw: Fw) -> FrameworkId {
        self.frameworks[fw.0].id.expect("it is subscribed")
    }

    pub(crate) fn key(&self, fw: Fw, task: &str) -> TaskKey {
        TaskKey {
            framework: self.id(fw),
            task: make::task_id(task),
        }
    }

    /// Returns the offers that a framework holds, by what it was told.
    pub(crate) fn offers(&self, fw: Fw) -> Vec<Offer> {
        self.frameworks[fw.0].offers.values().cloned().collect()
    }

    /// Returns the one offer that a framework holds.
    pub(crate) fn offer(&self, fw: Fw) -> Offer {
        match self.offers(fw).as_slice() {
            [offer] => offer.clone(),
            offers => panic!("one offer, not {offers:?}"),
        }
    }

    /// Returns all that a framework is offered of an agent.
    pub(crate) fn offered(&self, fw: Fw) -> Resources {
        let offers = self.offers(fw);
        Resources::sum(offers.iter().map(|offer| &offer.resources)).expect("of one agent")
    }

    pub(crate) fn accept(&mut self, fw: Fw, offers: &[OfferId], operations: Vec<Operation>) {
        let own = &mut self.frameworks[fw.0];
        for offer in offers {
            own.offers.remove(offer);
        }
        self.say(
            fw,
            FrameworkCall::Accept {
                offers: offers.to_vec(),
                operations,
                filters: make::refuse(0),
            },
        );
    }

    pub(crate) fn decline(&mut self, fw: Fw, offers: &[OfferId], refuse_ms: u64) {
        let own = &mut self.frameworks[fw.0];
        for offer in offers {
            own.offers.remove(offer);
        }
        self.say(
            fw,
            FrameworkCall::Decline {
                offers: offers.to_vec(),
                filters: make::refuse(refuse_ms),
            },
        );
    }

    /// Launches one task with what it holds out of the one offer there is.
    pub(crate) fn run(&mut self, fw: Fw, id: &str, held: &str) {
        let offer = self.offer(fw).id;
        let task = make::task(id, &make::resources(held));
        self.accept(
            fw,
            &[offer],
            vec![make::launch(&format!("launch-{id}"), vec![task])],
        );
    }

    /// Returns what a framework was told since somebody last looked.
    pub(crate) fn heard(&mut self, fw: Fw) -> Vec<FrameworkEvent> {
        self.frameworks[fw.0].events.drain(..).collect()
    }

    /// Returns the updates among what a framework was told, and forgets the rest.
    pub(crate) fn updates(&mut self, fw: Fw) -> Vec<TaskStatus> {
        let heard = self.heard(fw).into_iter();
        let updates = heard.filter_map(|event| match event {
            FrameworkEvent::Update(status) => Some(status),
            _ => None,
        });
        updates.collect()
    }

    /// Returns the answers to operations among what a framework was told, and forgets the rest.
    pub(crate) fn outcomes(&mut self, fw: Fw) -> Vec<(String, OperationOutcome)> {
        let heard = self.heard(fw).into_iter();
        let outcomes = heard.filter_map(|event| match event {
            FrameworkEvent::Operation { id, outcome } => Some((id.to_string(), outcome)),
            _ => None,
        });
        outcomes.collect()
    }

    /// Acknowledges every update that a framework was told.
    pub(crate) fn acknowledge_all(&mut self, fw: Fw) -> Vec<TaskStatus> {
        let mut all = Vec::new();
        loop {
            let updates = self.updates(fw);
            if updates.is_empty() {
                return all;
            }
            for status in updates {
                if let (Some(update), Some(agent)) = (status.update, status.agent) {
                    let task = status.task.clone();
                    self.say(
                        fw,
                        FrameworkCall::Acknowledge {
                            agent,
                            task,
                            update,
                        },
                    );
                }
                all.push(status);
            }
        }
    }
}

impl Framework {
    pub(super) fn hear(&mut self, event: FrameworkEvent) {
        match &event {
            FrameworkEvent::Subscribed { id, .. } => self.id = Some(*id),
            FrameworkEvent::Offers(offers) => {
                for offer in offers {
                    let before = self.offers.insert(offer.id, offer.clone());
                    assert!(before.is_none(), "an offer is made once");
                }
            }
            FrameworkEvent::Rescind { offer, .. } => {
                self.offers.remove(offer);
            }
            FrameworkEvent::Update(_)
            | FrameworkEvent::Operation { .. }
            | FrameworkEvent::AgentLost { .. }
            | FrameworkEvent::Error(_)
            | FrameworkEvent::Heartbeat => {}
        }
        self.events.push_back(event);
    }
}
