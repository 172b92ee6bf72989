//! Persistent volumes: directories that outlive the tasks that use them.
//!
//! ```text
//!  session ──(VolumeHandle)──▶ volume task ──▶ <state>/volumes/roles/<role>/<id>
//!                                         ├──▶ <state>/volumes/removing/<role>/<id>
//!                                         └──▶ <state>/volumes/removed/<number>
//! ```
//!
//! The session says which volumes there are; this folder makes the directories agree. The life of one:
//!
//! 1. CREATE is recorded as begun. An empty directory is made and flushed to the disk. Then the set with
//!    the volume is recorded, and answered.
//! 2. A task has it: the directory itself is given to the task's user, what is in it is not, for that
//!    belongs to whoever wrote it. The executor mounts it into the sandbox. One task at a time has a
//!    volume: the scheduler's ledger and the session see to that.
//! 3. DESTROY is recorded as begun. The directory is moved aside, from where it could still be moved
//!    back. Then the set without the volume is recorded, and answered; then what was moved aside is
//!    deleted, for as long as that takes, and by the next agent if this one does not live to see it.
//!
//! After a crash between any two of these the session asks again for what was begun, and all of it may
//! have been done already.
//!
//! A directory that holds something and belongs to no volume makes CREATE fail: Mesos gives the new
//! volume what the old one of its name left.
//!
//! Sizes are counted by the scheduler and held by nobody: whoever lists volumes says so.

mod error;
mod execute;
mod plan;
mod task;

pub use error::VolumeError;
pub use execute::VolumePlaces;
pub use task::VolumeHandle;
