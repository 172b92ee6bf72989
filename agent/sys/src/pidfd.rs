//! Pidfds: holds on processes that never come to mean another one.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::process::{self, ProcessError, StartTime};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// Which one; real-time signals have no name, so it is a number.
        signal: i32,
        /// Whether a core dump was written.
        core_dumped: bool,
    },
}

/// Opens a pidfd for whatever process has the id now.
///
/// # Minimum kernel version
///
/// 5.3.
pub fn open(pid: Pid) -> Result<OwnedFd, PidfdError> {
    // SAFETY: pidfd_open takes integers only.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match Errno::result(descriptor) {
        Ok(descriptor) => {
            let descriptor = RawFd::try_from(descriptor).expect("descriptors are C integers");
            // SAFETY: the kernel just made this descriptor and gave it to nobody else.
            Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
        }
        Err(Errno::ESRCH) => Err(PidfdError::Gone { pid }),
        Err(errno) => Err(PidfdError::Open {
            pid,
            source: errno.into(),
        }),
    }
}

/// Opens a pidfd for the process that has the id and was started at `started`, or says that it is gone.
///
/// The start time is compared after the descriptor is open: what is then found is what the descriptor holds,
/// or both are gone.
pub fn open_verified(pid: Pid, started: StartTime) -> Result<OwnedFd, PidfdError> {
    let descriptor = open(pid)?;
    match process::start_time(pid) {
        Ok(found) if found == started => Ok(descriptor),
        Ok(_another) => Err(PidfdError::Gone { pid }),
        Err(ProcessError::Gone { .. }) => Err(PidfdError::Gone { pid }),
        Err(source) => Err(PidfdError::Verify { pid, source }),
    }
}

/// Sends a signal; `false` if the process has ended.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<bool, PidfdError> {
    // SAFETY: the call takes integers, and a null siginfo asks for the one that kill would make.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as i32,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match Errno::result(result) {
        Ok(_) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(PidfdError::Signal {
            signal,
            source: errno.into(),
        }),
    }
}

/// Waits until the process has ended, for ever if there is no timeout; `false` if the time was over before.
pub fn wait_ended(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, PidfdError> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let patience = left.map_or(PollTimeout::NONE, |left| {
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], patience) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => {
                return Err(PidfdError::Wait {
                    source: errno.into(),
                });
            }
        }
    }
}

/// Takes the status of a child that has ended; `None` if it has not, or is no child of this process.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<Status>, PidfdError> {
    match waitid(
        Id::PIDFd(pidfd.as_fd()),
        WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG,
    ) {
        Ok(status) => Ok(Status::from_wait(status)),
        Err(Errno::ECHILD) => Ok(None),
        Err(errno) => Err(PidfdError::Wait {
            source: errno.into(),
        }),
    }
}

/// Returns the process id behind a pidfd as this process's `/proc` numbers it; `None` when it has been reaped.
pub fn process_id(pidfd: BorrowedFd<'_>) -> Result<Option<Pid>, PidfdError> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))
        .map_err(|source| PidfdError::Wait { source })?;
    Ok(parse_process_id(&text))
}

/// Finds the number in the `fdinfo` of a pidfd.
fn parse_process_id(fdinfo: &str) -> Option<Pid> {
    let number = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|pid| pid.trim().parse().ok());
    // The kernel says -1 for a process that is gone and 0 for one of an unrelated namespace.
    number.filter(|pid| *pid > 0).map(Pid::from_raw)
}

impl Status {
    /// Reads the kernel's answer; `None` unless it tells an end.
    pub fn from_wait(status: WaitStatus) -> Option<Self> {
        match status {
            WaitStatus::Exited(_, code) => Some(Self::Exited { code }),
            WaitStatus::Signaled(_, signal, core_dumped) => Some(Self::Signaled {
                signal: signal as i32,
                core_dumped,
            }),
            WaitStatus::Stopped(..)
            | WaitStatus::PtraceEvent(..)
            | WaitStatus::PtraceSyscall(_)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => None,
        }
    }
}

/// Why a process cannot be held, signalled or waited for.
#[derive(Debug, thiserror::Error)]
pub enum PidfdError {
    /// The process has ended, or the id belongs to another one.
    #[error("process {pid} is gone")]
    Gone {
        /// The process.
        pid: Pid,
    },
    /// The kernel gives no descriptor.
    #[error(
        "cannot open a pidfd for process {pid}: that takes a kernel of 5.3 or later and a free descriptor"
    )]
    Open {
        /// The process.
        pid: Pid,
        /// The system's answer.
        source: io::Error,
    },
    /// It cannot be told whether it is the right process.
    #[error("cannot tell whether process {pid} is the one that was recorded")]
    Verify {
        /// The process.
        pid: Pid,
        /// Why not.
        source: ProcessError,
    },
    /// The signal is not delivered.
    #[error("cannot send {signal} to a process: does it belong to another user?")]
    Signal {
        /// Which signal.
        signal: Signal,
        /// The system's answer.
        source: io::Error,
    },
    /// The wait fails.
    #[error("cannot wait for a process")]
    Wait {
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_that_a_process_can_have_is_one() {
        bolero::check!()
            .with_type::<(String, i32)>()
            .with_iterations(2000)
            .for_each(|(text, number)| {
                for text in [
                    text.clone(),
                    format!("Pid:{text}"),
                    format!("Pid:\t-{text}"),
                ] {
                    assert!(
                        parse_process_id(&text).is_none_or(|pid| pid.as_raw() > 0),
                        "{text:?}"
                    );
                }
                let text = format!("pos:\t0\nflags:\t02000002\nPid:\t{number}\nNSpid:\t{number}\n");
                let expected = (*number > 0).then(|| Pid::from_raw(*number));
                assert_eq!(parse_process_id(&text), expected);
            });
    }

    #[test]
    fn own_process_is_found_by_its_start_time_only() {
        let me = Pid::this();
        let started = process::start_time(me).unwrap();
        let held = open_verified(me, started).unwrap();
        assert_eq!(process_id(held.as_fd()).unwrap(), Some(me));
        assert!(!wait_ended(held.as_fd(), Some(Duration::ZERO)).unwrap());
        let another = StartTime::from_ticks(started.ticks() + 1);
        assert!(matches!(
            open_verified(me, another),
            Err(PidfdError::Gone { .. })
        ));
    }

    #[test]
    fn foreign_process_is_not_reaped() {
        let init = open(Pid::from_raw(1)).unwrap();
        assert_eq!(reap(init.as_fd()).unwrap(), None);
    }
}
