//! Waiting in tokio for a descriptor to become readable.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns something to wait on until `descriptor` is readable.
///
/// It holds a duplicate, which is ready when the original is. Has to be called inside a runtime.
pub fn readable(descriptor: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = descriptor.try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` stays open and stays the same descriptor as long as it lives, and the
    // `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(duplicate, Interest::READABLE) }.map_err(Into::into)
}
