//! The file tree that a container sees.
//!
//! 1. `observe`: what of the node's own tree matters.
//! 2. `plan`: pure; which steps turn a copy of the node's tree into the container's.
//! 3. `execute`: one step, one effect, in the mount namespace of the container.
//!
//! The tree is the node's, read-only, without setuid and devices; what speaks for the node or the kernel is
//! replaced: `/proc`, `/sys`, `/dev`, `/run`, `/tmp`, `/var/tmp` and the agent's state directory. The only
//! places that can be written are the sandbox, the private temporary directories and `/dev/shm`.

mod execute;
mod observe;
mod plan;

pub(crate) use execute::{ExecuteError, execute};
pub(crate) use observe::{ObserveError, observe};
pub(crate) use plan::plan;
