//! Containers: what was asked for, what runs, how it ends.
//!
//! ```text
//!  local socket ──(ContainerHandle)──▶ container task ──▶ jobs: launch, update, watch + end, forget
//!                                      │ books, states      │ one per container and step of its life
//!  telemetry, ps ◀──(watch: Listing)───┘                    ▼
//!                                             store · cgroups · network · weir-executor
//! ```
//!
//! One task owns who has which name, slot and ports. It decides (`plan`, pure) and never waits; what
//! takes time is a job of one container, so that launches of different containers run side by side.
//!
//! The life of a container, each step of which may be the agent's last ([`CRASH_POINTS`]):
//!
//! 1. It is planned: name, slot, ports and block are taken in the books.
//! 2. Its row is committed, as *starting*. From now on it is known, whatever happens.
//! 3. Its directory and its cgroups are made, its limits set; beside that, its namespace and link.
//! 4. It is attached to the network: tables, programs. Most of that is waiting for the kernel.
//! 5. Beside that its executor is started, makes init and mounts, says *ready* and waits; and the row
//!    says *running* and who the executor is.
//! 6. When both are done, the executor is told to *go*. If the agent dies before that, the executor
//!    undoes its part by itself.
//! 7. The task runs, whether or not there is an agent. Its ports and limits may be changed: on record first, then in the
//!    kernel.
//! 8. The executor records the end and exits. The agent reads the record, detaches the container,
//!    removes its cgroup and commits *ended*; its ports rest.
//! 9. It stays listed, with its output, until enough others have ended after it.
//!
//! A launch that fails between 2 and 6 goes to 8 at once. An agent that starts looks at rows and
//! kernel and goes on from wherever its predecessor was (`recovery`).

mod adjustment;
mod adopt;
mod bandwidth;
mod cgroups;
mod crash;
mod diag;
mod ending;
mod enforce;
mod entry;
mod error;
mod execute;
mod facilities;
mod handle;
mod hierarchy;
mod id;
mod io_limit;
mod kill;
mod launch;
mod limits;
mod place;
mod plan;
mod recovery;
mod sockets;
mod spec;
mod task;
mod update;
mod view;

pub use adjustment::{Adjustment, Setting};
pub use bandwidth::{Bandwidth, NotAWeight, ShareWeight};
pub use cgroups::{CgroupTree, Controller, Lacking};
pub use crash::{CRASH_POINTS, CRASH_VARIABLE};
pub use error::{ContainerError, RecoveryError, Refusal, StepError};
pub use facilities::{
    Attachment, ContainerNetwork, LiveAttachment, NetworkCapacity, NetworkFault, Prepared,
};
pub use handle::{BlockCount, ContainerHandle, Ended, Kill};
pub use hierarchy::{HierarchyChanges, HierarchyError};
pub use id::{ContainerId, ContainerName, NotAName, NotASlot, NotAnId, Slot};
pub use io_limit::{IoDevice, IoLimit, IoWeight, NotAnIoLimit};
pub use limits::{Limits, MemoryBytes, MilliCpus, NotAnAmount, ProcessCount, SwapBytes};
pub use spec::{Launch, LaunchRequest, PortsWanted, TaskLaunch, TaskName, TaskPart, User};
pub use task::{ContainerTask, Settings};
pub use view::{ContainerView, Listing, State};

pub(crate) use diag::{TcpUse, tcp_use};
pub(crate) use execute::{blocking, chain, now};
pub(crate) use place::Place;
pub(crate) use plan::task_cgroup;
pub(crate) use sockets::read_ports_in_use;
