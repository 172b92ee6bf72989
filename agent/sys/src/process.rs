//! Processes as `/proc` and `prctl` show them: identity across restarts, and what one gives up.

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::Pid;

/// When a process was started, in clock ticks since boot: with the pid and the boot id, its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StartTime(u64);

impl StartTime {
    /// Takes a value that [`ticks`](Self::ticks) gave.
    pub fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Returns the ticks since boot.
    pub fn ticks(self) -> u64 {
        self.0
    }
}

/// Returns when the process was started.
pub fn start_time(pid: Pid) -> Result<StartTime, ProcessError> {
    let path = format!("/proc/{pid}/stat");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // ESRCH is what reading says when the process ends between open and read.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            return Err(ProcessError::Gone { pid });
        }
        Err(source) => return Err(ProcessError::Read { path, source }),
    };
    parse_start_time(&text).ok_or(ProcessError::Parse { path, text })
}

/// Returns the id that the kernel chose for this boot.
pub fn boot_id() -> Result<String, ProcessError> {
    let path = "/proc/sys/kernel/random/boot_id";
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(ProcessError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Finds field 22 of `/proc/<pid>/stat`; the command, field 2, may hold blanks and parentheses.
fn parse_start_time(stat: &str) -> Option<StartTime> {
    let (_, after_command) = stat.rsplit_once(')')?;
    let ticks = after_command.split_ascii_whitespace().nth(22 - 3)?;
    Some(StartTime(ticks.parse().ok()?))
}

/// Keeps every later exec of this process and its children from gaining privileges. There is no way back.
pub fn set_no_new_privileges() -> Result<(), ProcessError> {
    prctl::set_no_new_privs()
        .map_err(|errno| ProcessError::control("give up gaining privileges", errno))
}

/// Makes this process untouchable for others of its user: no ptrace, no look into its `/proc` directory.
///
/// Children made by fork are so, too; an exec ends it.
pub fn set_not_dumpable() -> Result<(), ProcessError> {
    prctl::set_dumpable(false).map_err(|errno| ProcessError::control("become non-dumpable", errno))
}

/// Has the kernel send SIGKILL when the thread that made this process ends.
///
/// A change of user or group takes it back. A parent that is gone already sends nothing: look for it afterwards.
pub fn die_with_parent() -> Result<(), ProcessError> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| ProcessError::control("die with the parent", errno))
}

/// Names this process in listings; the kernel keeps 15 bytes.
pub fn set_name(name: &CStr) -> Result<(), ProcessError> {
    prctl::set_name(name).map_err(|errno| ProcessError::control("take a name", errno))
}

/// Leaves the session keyring, which is shared with whoever started this process, for a new and empty one.
///
/// Does nothing on a kernel without keyrings.
pub fn leave_session_keyring() -> Result<(), ProcessError> {
    /// `KEYCTL_JOIN_SESSION_KEYRING` in `linux/keyctl.h`.
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name may be null, which asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(ProcessError::control("leave the session keyring", errno)),
    }
}

/// Takes back every signal disposition, the ignored ones as well, and unblocks all signals.
///
/// To be called right before an exec: it takes from the C library the two signals that it uses between threads.
pub fn reset_signals() -> Result<(), ProcessError> {
    /// The kernel's `struct sigaction` is four words or fewer; all zero is the default disposition.
    const DEFAULT: [u64; 4] = [0; 4];
    /// The kernel's `sigset_t`.
    const SET_BYTES: usize = 8;
    for number in 1..=64 {
        if number == libc::SIGKILL || number == libc::SIGSTOP {
            continue;
        }
        let old = std::ptr::null_mut::<u64>();
        // SAFETY: the kernel reads at most the four words; the default disposition runs no code of this process. The C
        // library is passed by because it refuses to touch the signals it has for itself.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                DEFAULT.as_ptr(),
                old,
                SET_BYTES,
            )
        };
        Errno::result(result).map_err(|errno| ProcessError::control("reset its signals", errno))?;
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| ProcessError::control("unblock its signals", errno))
}

/// Takes over a descriptor that this process was started with, and makes it close-on-exec.
///
/// Each can be taken once; the numbers 0 to 2 stay with the standard library.
pub fn inherited_descriptor(number: RawFd) -> Result<OwnedFd, ProcessError> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    if !(3..64).contains(&number)
        || TAKEN.fetch_or(1 << number, Ordering::Relaxed) & (1 << number) != 0
    {
        return Err(ProcessError::Descriptor {
            number,
            source: Errno::EINVAL.into(),
        });
    }
    // SAFETY: asking about a number touches no memory; if it is open, it is so for the rest of this borrow, as
    // nothing in this process owns it yet.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|errno| {
        ProcessError::Descriptor {
            number,
            source: errno.into(),
        }
    })?;
    // SAFETY: it is open, was given to this process at its start, and the flag above gives it out only once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor but the standard ones and those in `keep`.
///
/// To be called by a process that was just cloned and will only end by exec or exit: owners of the closed
/// descriptors must never be dropped.
///
/// # Minimum kernel version
///
/// 5.9 (`close_range`).
pub fn close_inherited(keep: &[RawFd]) -> Result<(), ProcessError> {
    for (first, last) in gaps(keep) {
        close_range(first, last, 0)?;
    }
    Ok(())
}

/// Makes every descriptor but the standard ones close when this process execs.
///
/// # Minimum kernel version
///
/// 5.11.
pub fn close_all_on_exec() -> Result<(), ProcessError> {
    close_range(3, RawFd::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Returns the ranges of descriptors above the standard ones that are not in `keep`.
fn gaps(keep: &[RawFd]) -> Vec<(RawFd, RawFd)> {
    let mut kept: Vec<RawFd> = keep.iter().copied().filter(|number| *number > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    let mut gaps = vec![];
    for number in kept {
        if number > first {
            gaps.push((first, number - 1));
        }
        first = number + 1;
    }
    gaps.push((first, RawFd::MAX));
    gaps
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> Result<(), ProcessError> {
    // SAFETY: the call takes integers. That owners of closed descriptors are not dropped is the documented
    // condition of the callers, which are processes about to exec or exit.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(errno) => Err(ProcessError::control(
            "close the descriptors it inherited",
            errno,
        )),
    }
}

/// Takes back a preference over others that was inherited when memory runs out.
///
/// A daemon may be shielded from the kernel's out-of-memory killer; what it starts must not be.
pub fn drop_memory_shield() -> Result<(), ProcessError> {
    let path = "/proc/self/oom_score_adj";
    let attempt = || -> io::Result<()> {
        if std::fs::read_to_string(path)?.trim_start().starts_with('-') {
            std::fs::write(path, "0")?;
        }
        Ok(())
    };
    attempt().map_err(|source| ProcessError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Why something about a process cannot be known or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The process has ended.
    #[error("process {pid} is gone")]
    Gone {
        /// The process.
        pid: Pid,
    },
    /// A file of `/proc` fails.
    #[error("cannot use `{path}`: is /proc mounted and open to this user?")]
    Read {
        /// The file.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of `/proc` says something unheard of.
    #[error("`{path}` has no start time in {text:?}")]
    Parse {
        /// The file.
        path: String,
        /// What it says.
        text: String,
    },
    /// The kernel refuses a change.
    #[error(
        "this process cannot {action}: is the kernel older than 5.11, or a security module in the way?"
    )]
    Control {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A descriptor was not inherited.
    #[error(
        "descriptor {number} was not handed to this process: it is meant to be started by weir-agent"
    )]
    Descriptor {
        /// Its number.
        number: RawFd,
        /// The system's answer.
        source: io::Error,
    },
}

impl ProcessError {
    fn control(action: &'static str, errno: Errno) -> Self {
        Self::Control {
            action,
            source: errno.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_any_command() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for command in ["(sh)", "(a b)", "(evil) S 9 9)", "(((()"] {
            let stat = format!("12 {command} {fields}");
            assert_eq!(parse_start_time(&stat), Some(StartTime(4711)), "{stat}");
        }
        assert_eq!(parse_start_time("12 (sh) S 1 2"), None);
        assert_eq!(parse_start_time(""), None);
    }

    #[test]
    fn no_command_hides_the_start_time() {
        bolero::check!()
            .with_type::<(String, u64)>()
            .with_iterations(2000)
            .for_each(|(command, ticks)| {
                parse_start_time(command);
                // A process names itself; prctl(2) keeps 15 bytes, and any text must do.
                let stat = format!(
                    "12 ({command}) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 {ticks} 20 21\n"
                );
                assert_eq!(parse_start_time(&stat), Some(StartTime(*ticks)), "{stat:?}");
            });
    }

    #[test]
    fn own_start_time_stays_and_a_missing_process_is_gone() {
        let first = start_time(Pid::this()).unwrap();
        assert_eq!(start_time(Pid::this()).unwrap(), first);
        assert!(matches!(
            start_time(Pid::from_raw(i32::MAX)),
            Err(ProcessError::Gone { .. })
        ));
    }

    #[test]
    fn boot_id_is_one_line() {
        let id = boot_id().unwrap();
        assert_eq!(id.len(), 36, "{id}");
    }

    #[test]
    fn gaps_leave_out_exactly_what_is_kept() {
        assert_eq!(gaps(&[]), [(3, RawFd::MAX)]);
        assert_eq!(gaps(&[7, 3, 0, 8]), [(4, 6), (9, RawFd::MAX)]);
    }

    #[test]
    fn descriptor_that_was_not_inherited_is_refused() {
        assert!(inherited_descriptor(1).is_err());
        assert!(inherited_descriptor(63).is_err());
    }
}
