//! Asks the container task to do things, from anywhere in the agent.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::lchown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use weir_executor::record::Outcome;
use weir_resources::PortSet;

use super::adjustment::Adjustment;
use super::error::{ContainerError, Refusal, StepError};
use super::execute::{blocking, chain};
use super::id::ContainerId;
use super::sockets::read_ports_in_use;
use super::spec::{Launch, LaunchRequest, PortsWanted, TaskLaunch, TaskPart, User};
use super::view::{ContainerView, Listing};
use crate::config::ContainerConfig;
use crate::ports::UnixMs;

/// The most requests that wait: each is decided in microseconds, so a full queue means a stuck task,
/// and callers should feel it.
pub(super) const QUEUE_MAX: usize = 256;

/// Whom a container runs as that asks for nobody in particular.
const DEFAULT_USER: &str = "nobody";

pub(super) type Reply<T> = oneshot::Sender<Result<T, ContainerError>>;

pub(super) enum Request {
    Launch {
        id: ContainerId,
        launch: Box<Launch>,
        wanted: PortsWanted,
        ports_in_use: PortSet,
        reply: Reply<ContainerView>,
    },
    UpdatePorts {
        name: String,
        wanted: PortsWanted,
        ports_in_use: PortSet,
        reply: Reply<ContainerView>,
    },
    UpdateLimits {
        name: String,
        adjustment: Adjustment,
        may_kill: bool,
        reply: Reply<ContainerView>,
    },
    Kill {
        name: String,
        kill: Kill,
        reply: Reply<()>,
    },
    Wait {
        name: String,
        reply: Reply<Ended>,
    },
    Release {
        id: ContainerId,
    },
    CountBlocks {
        ports_in_use: PortSet,
        reply: oneshot::Sender<BlockCount>,
    },
    Turn {
        reply: oneshot::Sender<()>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// How a container is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kill {
    /// SIGTERM to its task; SIGKILL to all that is left after the grace.
    Gracefully,
    /// The same, with so many milliseconds of grace instead of its own.
    Within {
        /// How many.
        grace_ms: u64,
    },
    /// SIGKILL to all of it.
    AtOnce,
}

/// How many blocks of ephemeral ports there are for tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCount {
    /// Those that nobody has, resting or not.
    pub free: u32,
    /// Those that tasks have.
    pub held: u32,
}

/// How a container ended, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub ended_at: UnixMs,
}

/// Asks the container task to do things.
#[derive(Clone, Debug)]
pub struct ContainerHandle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) listing: watch::Receiver<Listing>,
    pub(super) config: ContainerConfig,
    /// How many containers were killed at their memory limit, since the agent was started.
    pub(super) out_of_memory: Arc<AtomicU64>,
}

impl ContainerHandle {
    /// Returns whether the task lives.
    pub fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Waits until the task has done what was asked before; `false` if it is gone. A task that hangs
    /// never says anything.
    pub async fn turns(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Turn { reply }).await.is_ok() && answer.await.is_ok()
    }

    /// Returns all containers as they are now.
    pub fn list(&self) -> Listing {
        self.listing.borrow().clone()
    }

    /// Returns the container that a person means by `name`: the one that lives, by name or id; else
    /// the last that ended.
    pub fn find(&self, name: &str) -> Result<ContainerView, ContainerError> {
        let listing = self.list();
        let means =
            |view: &&Arc<ContainerView>| view.name.as_str() == name || view.id.as_str() == name;
        let live = listing
            .iter()
            .filter(|view| view.state.is_live())
            .find(means);
        live.or_else(|| listing.iter().rev().find(means))
            .map(|view| ContainerView::clone(view))
            .ok_or_else(|| {
                Refusal::NoSuchContainer {
                    name: name.to_owned(),
                }
                .into()
            })
    }

    /// Runs a container, and returns when its program runs.
    pub async fn launch(&self, request: LaunchRequest) -> Result<ContainerView, ContainerError> {
        let config = self.config.clone();
        let wanted = request.ports.clone();
        let prepared = blocking(move || {
            let user = look_up(request.user.as_deref())?;
            let launch = Launch::new(request, user, &config)?;
            Ok::<_, Refusal>((random_id(), Box::new(launch), ports_in_use()))
        });
        let (id, launch, ports_in_use) = prepared.await?;
        self.ask(|reply| Request::Launch {
            id,
            launch,
            wanted,
            ports_in_use,
            reply,
        })
        .await
    }

    /// Runs a container for a task of the scheduler, and returns when its program runs.
    ///
    /// Its ports may have been another's a moment ago: the scheduler has them from whoever gave them
    /// back. It stays listed until it is [released](Self::release), however many end after it.
    pub async fn launch_task(&self, task: TaskLaunch) -> Result<ContainerView, ContainerError> {
        let TaskLaunch { id, request, part } = task;
        let config = self.config.clone();
        let wanted = request.ports.clone();
        let prepared = blocking(move || {
            let user = look_up(request.user.as_deref())?;
            give_volumes(&part, &user)?;
            let launch = Launch {
                task: Some(part),
                ..Launch::new(request, user, &config)?
            };
            Ok::<_, ContainerError>((Box::new(launch), ports_in_use()))
        });
        let (launch, ports_in_use) = prepared.await?;
        self.ask(|reply| Request::Launch {
            id,
            launch,
            wanted,
            ports_in_use,
            reply,
        })
        .await
    }

    /// Lets the container of a task be forgotten in its turn, when it has ended.
    pub async fn release(&self, id: ContainerId) {
        // Without the task there is nothing that could forget it; the next agent releases it again.
        drop(self.requests.send(Request::Release { id }).await);
    }

    /// Returns how many blocks of ephemeral ports there are for tasks; nothing if the task is gone.
    pub async fn count_blocks(&self) -> Option<BlockCount> {
        let ports_in_use = blocking(ports_in_use).await;
        let (reply, answer) = oneshot::channel();
        let request = Request::CountBlocks {
            ports_in_use,
            reply,
        };
        self.requests.send(request).await.ok()?;
        answer.await.ok()
    }

    /// Returns how many containers were killed at their memory limit, since the agent was started.
    pub fn out_of_memory(&self) -> u64 {
        self.out_of_memory.load(Ordering::Relaxed)
    }

    /// Returns the containers as they change.
    pub fn watch(&self) -> watch::Receiver<Listing> {
        self.listing.clone()
    }

    /// Gives a running container other ports.
    pub async fn update_ports(
        &self,
        name: String,
        wanted: PortsWanted,
    ) -> Result<ContainerView, ContainerError> {
        let ports_in_use = blocking(ports_in_use).await;
        self.ask(|reply| Request::UpdatePorts {
            name,
            wanted,
            ports_in_use,
            reply,
        })
        .await
    }

    /// Gives a running container other limits.
    ///
    /// It is refused if the container holds more memory than it would be left, unless it `may_kill` it.
    pub async fn update_limits(
        &self,
        name: String,
        adjustment: Adjustment,
        may_kill: bool,
    ) -> Result<ContainerView, ContainerError> {
        self.ask(|reply| Request::UpdateLimits {
            name,
            adjustment,
            may_kill,
            reply,
        })
        .await
    }

    /// Kills a container, and returns when it has been told; see [`Self::wait`] for its end.
    pub async fn kill(&self, name: String, kill: Kill) -> Result<(), ContainerError> {
        self.ask(|reply| Request::Kill { name, kill, reply }).await
    }

    /// Waits until a container has ended.
    pub async fn wait(&self, name: String) -> Result<Ended, ContainerError> {
        self.ask(|reply| Request::Wait { name, reply }).await
    }

    /// Finishes what is under way, and ends the task; containers go on.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.requests.send(Request::Stop { reply }).await.is_ok() {
            // An error means that the task is gone, which is what was asked for.
            drop(stopped.await);
        }
    }

    /// Returns a handle to a task that never answers; it counts as alive until the second is dropped.
    #[cfg(test)]
    pub(crate) fn without_task() -> (Self, impl Drop + use<>) {
        struct Task(#[expect(dead_code, reason = "held")] mpsc::Receiver<Request>);
        impl Drop for Task {
            fn drop(&mut self) {}
        }
        let (requests, received) = mpsc::channel(QUEUE_MAX);
        let (_, listing) = watch::channel(Listing::default());
        (
            Self {
                requests,
                listing,
                config: ContainerConfig::default(),
                out_of_memory: Arc::default(),
            },
            Task(received),
        )
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ContainerError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(request(reply))
            .await
            .map_err(|_gone| ContainerError::Gone)?;
        answer.await.map_err(|_gone| ContainerError::Gone)?
    }
}

fn look_up(user: Option<&str>) -> Result<User, Refusal> {
    let text = user.unwrap_or(DEFAULT_USER);
    let unknown = |reason: String| Refusal::User {
        user: text.to_owned(),
        reason,
    };
    let found = weir_sys::user::look_up(text).map_err(|error| unknown(chain(&error)))?;
    if found.uid == u32::MAX || found.gid == u32::MAX {
        // setuid(2) and chown(2) take it for "no change".
        return Err(unknown("4294967295 is not a user to the kernel".to_owned()));
    }
    Ok(User {
        name: found.name,
        uid: found.uid,
        gid: found.gid,
        groups: found.groups,
    })
}

/// Gives the volumes that a task may write to its user: the directory itself, and nothing in it.
///
/// What is in a volume belongs to whoever wrote it. Mesos gives all of it to the user of the last task,
/// each time, which takes as long as there are files and loses who owned them.
fn give_volumes(part: &TaskPart, user: &User) -> Result<(), StepError> {
    for volume in part.volumes.iter().filter(|volume| !volume.read_only) {
        // No link leads to another directory: nobody but root can change what is above a volume.
        lchown(&volume.source, Some(user.uid), Some(user.gid)).map_err(|source| {
            StepError::File {
                what: "give to its user",
                path: volume.source.clone(),
                source,
            }
        })?;
    }
    Ok(())
}

/// What cannot be read is not known to be in use: the container's own bind would then say so.
fn ports_in_use() -> PortSet {
    read_ports_in_use().unwrap_or_else(|error| {
        tracing::warn!(%error, "the node's open ports cannot be read");
        PortSet::new()
    })
}

fn random_id() -> ContainerId {
    let random = || -> io::Result<u64> {
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    ContainerId::from_random(random().expect("every Linux node has /dev/urandom"))
}
