//! Tells the owner that the node's network changed.
//!
//! What changed does not matter: the owner looks at everything and compares. So a burst of events
//! is one look, and events that were lost cost nothing.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::error;
use weir_sys::netlink::{NetlinkEvents, News};
use weir_sys::readiness::readable;

use super::error::NetworkError;
use super::namespace::is_container_link;
use super::observe::read_link;
use super::owner::Request;
use super::shared::Shared;

/// How long a burst of changes is let run before the owner looks: a DHCP renewal or a link that
/// comes up is a dozen events within a few milliseconds.
const BURST: Duration = Duration::from_millis(20);

/// How often a look that failed is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// A subscription to the node's changes.
pub(super) struct Watch {
    events: NetlinkEvents,
}

impl Watch {
    /// Subscribes, in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, NetworkError> {
        Ok(Self {
            events: NetlinkEvents::open()?,
        })
    }

    /// Starts telling the owner, until it is gone.
    pub(super) fn spawn(self, owner: mpsc::WeakSender<Request>, shared: Arc<Shared>) {
        tokio::spawn(async move {
            if let Err(error) = self.run(owner, shared).await {
                // Without news the containers keep the addresses that they have.
                error!(
                    error = &error as &dyn std::error::Error,
                    "changes of the node's network are no longer followed; restart the agent"
                );
            }
        });
    }

    async fn run(
        mut self,
        owner: mpsc::WeakSender<Request>,
        shared: Arc<Shared>,
    ) -> Result<(), NetworkError> {
        let socket = |source| {
            NetworkError::Netlink(weir_sys::netlink::NetlinkError::Socket {
                what: "wait for",
                source,
            })
        };
        let readiness = readable(self.events.as_fd()).map_err(socket)?;
        loop {
            let news = tokio::select! {
                ready = readiness.readable() => {
                    let mut ready = ready.map_err(socket)?;
                    let news = self.events.read()?;
                    ready.clear_ready();
                    concerns_node(&news)
                }
                () = tokio::time::sleep(RETRY), if shared.is_behind() => true,
            };
            let heard = Instant::now();
            if !news {
                continue;
            }
            tokio::time::sleep(BURST).await;
            let Some(owner) = owner.upgrade() else {
                return Ok(());
            };
            if owner.send(Request::NodeChanged { heard }).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Returns whether there is anything but the coming and going of containers' links.
fn concerns_node(news: &News) -> bool {
    match news {
        News::Lost => true,
        News::Changed(messages) => messages.iter().any(|message| {
            let is_link = matches!(
                message,
                RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)
            );
            !is_link || read_link(message).is_none_or(|link| !is_container_link(&link.name))
        }),
    }
}
