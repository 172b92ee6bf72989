//! What must survive the scheduler: one SQLite file in the state directory.
//!
//! ```text
//!   ledger task --(StoreHandle: bounded queue of batches)--> writer thread --> scheduler.db (WAL, FULL)
//!               <--(Pending: after the commit)--------------
//! ```
//!
//! One thread owns the connection. It takes whatever waits in its queue, makes one transaction of it,
//! and answers each batch after the commit: batches that come together share one flush of the disk.
//! What is answered is durable, and batches are written in the order in which they came: whatever
//! happens to the process, what is there afterwards is what some first so many of them have made.
//!
//! 1. [`StateLock::take`]: two schedulers never share a directory.
//! 2. [`open`] checks the file, brings its tables up to date and asserts that commits are flushed. A
//!    file that is not there is made: agents and frameworks then give back what they know. One that is
//!    damaged is refused, with what to do.
//! 3. [`StoreHandle::load`] gives every row back, once, before anything is written.
//! 4. Each later batch is one call of [`StoreHandle::commit`].
//! 5. A commit that fails ends the thread: what comes after it may not be written without it.
//! 6. When the last handle is gone the thread finishes its queue and closes the file.

mod audit;
mod error;
mod image;
mod lock;
mod metrics;
mod row;
mod schema;
mod writer;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use lock::{LockError, StateLock};
pub use metrics::StoreMetrics;
pub use writer::{Pending, Records, StoreHandle, StoreOptions, StoreThread, open};
