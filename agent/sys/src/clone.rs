//! `clone3`: processes that begin life in the namespaces and the cgroup they belong in.
//!
//! Starting in a cgroup spares the migration: a write to `cgroup.procs` waits for a grace period of the kernel's
//! locks, milliseconds on a busy node, and between fork and write the child would be accounted elsewhere.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

// `linux/sched.h`; libc has some of them as `c_int`, which they do not fit.
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process that was just made.
#[derive(Debug)]
pub struct Process {
    /// Its id, as its parent's namespace numbers it.
    pub pid: Pid,
    /// A hold on it that cannot come to mean another process.
    pub pidfd: OwnedFd,
}

/// In which process [`clone_process`] returned.
#[derive(Debug)]
pub enum Side {
    /// In the one that called.
    Parent(Process),
    /// In the new one.
    Child,
}

/// Splits the calling process in two, the new one in the `namespaces` and the `cgroup` given.
///
/// Handled signals are back at their defaults in the child. Only for a process of one thread: the other
/// threads' locks would be held for ever in the child.
///
/// # Minimum kernel version
///
/// 5.7 (`CLONE_INTO_CGROUP`).
pub fn clone_process(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Side, CloneError> {
    let threads = thread_count().map_err(|source| CloneError::Threads { source })?;
    if threads != 1 {
        return Err(CloneError::Threaded { threads });
    }
    // SAFETY: this is the only thread, so the child finds every lock and invariant as a plain return would.
    unsafe { clone3(namespaces, cgroup) }
}

/// Issues the system call.
///
/// # Safety
///
/// In a process of several threads the child may only make async-signal-safe calls until it execs or exits.
pub(crate) unsafe fn clone3(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Side, CloneError> {
    let mut pidfd: RawFd = -1;
    // SAFETY: the structure is plain integers, for which zero is valid and means "not asked for".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags =
        u64::from(namespaces.bits().cast_unsigned()) | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: the structure and the pidfd it points to live across the call; without CLONE_VM and a stack the
    // child returns here on its own copy of this stack, as from fork.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match Errno::result(result) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) => Ok(Side::Parent(Process {
            pid: Pid::from_raw(i32::try_from(pid).expect("the kernel's pids are below 2^22")),
            // SAFETY: the kernel just made this descriptor and gave it to nobody else.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
        Err(errno) => Err(CloneError::Clone {
            namespaces,
            source: errno.into(),
        }),
    }
}

/// Returns how many threads the calling process has.
fn thread_count() -> io::Result<u64> {
    // One entry for each thread besides `.` and `..`; a stat is cheaper than a listing.
    Ok(std::fs::metadata("/proc/self/task")?
        .nlink()
        .saturating_sub(2))
}

/// Why there is no new process.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// It cannot be told whether it would be safe.
    #[error("cannot count the threads of this process: is /proc mounted?")]
    Threads {
        /// The system's answer.
        source: io::Error,
    },
    /// It would not be safe.
    #[error("a process of {threads} threads cannot be split in two: start a program instead")]
    Threaded {
        /// How many.
        threads: u64,
    },
    /// The kernel refuses.
    #[error(
        "cannot make a process in new namespaces ({namespaces:?}): that takes root, a kernel of 5.7 or later, and a cgroup2 that accepts processes"
    )]
    Clone {
        /// What was asked for.
        namespaces: CloneFlags,
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_threads_is_not_split() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv().ok());
        let answer = clone_process(CloneFlags::empty(), None);
        assert!(
            matches!(answer, Err(CloneError::Threaded { threads: 2.. })),
            "{answer:?}"
        );
        drop(stop);
        thread.join().unwrap();
    }
}
