//! Starting a program: the one way in which Weir makes a process of another program.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::pipe2;

use crate::clone::{CloneError, Process, Side, clone3};

/// Copies of inherited descriptors are put here and above first, so that none is in another's way.
const DESCRIPTOR_FLOOR: RawFd = 64;

/// A program to start, and all that it inherits.
#[derive(Debug)]
pub struct Program<'a> {
    /// The file to execute.
    pub path: CString,
    /// Its arguments, the first being its own name.
    pub arguments: Vec<CString>,
    /// Its whole environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// Which descriptor it gets under which number; all others must be close-on-exec, as they are in Rust.
    pub descriptors: Vec<(BorrowedFd<'a>, RawFd)>,
    /// The cgroup it starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it leads a session of its own.
    pub new_session: bool,
}

impl Program<'_> {
    /// Starts the program, with no signal blocked or handled; returns when it executes.
    pub fn spawn(self) -> Result<Process, ProgramError> {
        let named = |source: io::Error| ProgramError::Prepare {
            path: self.path.clone(),
            source,
        };
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        let mut copies: Vec<(OwnedFd, RawFd)> = Vec::with_capacity(self.descriptors.len());
        for (descriptor, number) in &self.descriptors {
            if *number >= DESCRIPTOR_FLOOR {
                return Err(ProgramError::Number {
                    path: self.path.clone(),
                    number: *number,
                });
            }
            let copy = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(DESCRIPTOR_FLOOR))
                .map_err(|e| named(e.into()))?;
            // SAFETY: fcntl just made this descriptor and gave it to nobody else.
            let copy = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(copy) };
            copies.push((copy, *number));
        }
        let (answer, child_answer) = pipe2(OFlag::O_CLOEXEC).map_err(|e| named(e.into()))?;

        // No handler of this process may run in the child before the exec: signals wait, and CLEAR_SIGHAND has
        // taken the handlers away when the child lets them in.
        let mut before = SigSet::empty();
        pthread_sigmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut before),
        )
        .expect("a full set is a valid mask");
        // SAFETY: the child makes only the async-signal-safe calls in `execute` and never returns.
        let side = unsafe { clone3(CloneFlags::empty(), self.cgroup) };
        if matches!(side, Ok(Side::Child)) {
            // SAFETY: the pointers are NUL-terminated arrays of strings that `self` keeps alive; this is the child.
            unsafe {
                execute(
                    &self.path,
                    &arguments,
                    &environment,
                    &copies,
                    self.new_session,
                    child_answer.into_raw_fd(),
                )
            }
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)
            .expect("the mask was in force before");
        drop(child_answer);

        let process = match side {
            Ok(Side::Parent(process)) => process,
            Ok(Side::Child) => unreachable!("the child executes or exits"),
            Err(source) => {
                return Err(ProgramError::Clone {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        let mut errno = [0; 4];
        match File::from(answer).read_exact(&mut errno) {
            // Closed by the exec itself.
            Err(_closed) => Ok(process),
            Ok(()) => {
                // It has exited or is about to; nobody else knows that it ever was.
                let _status = nix::sys::wait::waitpid(process.pid, None);
                Err(ProgramError::Execute {
                    path: self.path.clone(),
                    source: io::Error::from_raw_os_error(i32::from_ne_bytes(errno)),
                })
            }
        }
    }
}

/// Becomes the program, or says on `answer` why not and exits.
///
/// # Safety
///
/// To be called in a child that shares nothing with its parent; `arguments` and `environment` end in null
/// and point to strings.
unsafe fn execute(
    path: &CStr,
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
    copies: &[(OwnedFd, RawFd)],
    new_session: bool,
    answer: RawFd,
) -> ! {
    // SAFETY: all of these are async-signal-safe, take integers or memory that lives until the exec, and the set
    // is initialised by sigemptyset before it is used.
    unsafe {
        let mut failed = new_session && libc::setsid() == -1;
        for (copy, number) in copies {
            failed = failed || libc::dup2(copy.as_raw_fd(), *number) == -1;
        }
        let mut none = std::mem::MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        failed = failed
            || libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) == -1;
        if !failed {
            libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        }
        let errno = Errno::last_raw().to_ne_bytes();
        libc::write(answer, errno.as_ptr().cast(), errno.len());
        libc::_exit(127)
    }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// What it should inherit cannot be prepared.
    #[error("cannot prepare to start {path:?}: are descriptors or memory short?")]
    Prepare {
        /// The program.
        path: CString,
        /// The system's answer.
        source: io::Error,
    },
    /// The number for a descriptor is in the range that the start itself uses.
    #[error(
        "{path:?} was to inherit a descriptor as {number}: numbers below {DESCRIPTOR_FLOOR} can be given"
    )]
    Number {
        /// The program.
        path: CString,
        /// The number asked for.
        number: RawFd,
    },
    /// There is no process for it.
    #[error("cannot make a process for {path:?}")]
    Clone {
        /// The program.
        path: CString,
        /// Why not.
        source: CloneError,
    },
    /// The process could not become the program.
    #[error("cannot execute {path:?}: is it installed and executable?")]
    Execute {
        /// The program.
        path: CString,
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::pidfd;

    fn shell<'a>(script: &str, descriptors: Vec<(BorrowedFd<'a>, RawFd)>) -> Program<'a> {
        Program {
            path: c"/bin/sh".into(),
            arguments: vec![c"sh".into(), c"-c".into(), CString::new(script).unwrap()],
            environment: vec![c"ANSWER=42".into()],
            descriptors,
            cgroup: None,
            new_session: true,
        }
    }

    #[test]
    fn program_inherits_what_it_is_given_and_its_exit_is_seen() {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let process = shell("echo $ANSWER >&5; exit 3", vec![(write.as_fd(), 5)])
            .spawn()
            .unwrap();
        drop(write);
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "42\n");
        pidfd::wait_ended(process.pidfd.as_fd(), None).unwrap();
        assert_eq!(
            pidfd::reap(process.pidfd.as_fd()).unwrap(),
            Some(pidfd::Status::Exited { code: 3 })
        );
    }

    #[test]
    fn crossed_descriptors_do_not_overwrite_each_other() {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (other_read, other_write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let crossed = vec![
            (write.as_fd(), other_write.as_raw_fd()),
            (other_write.as_fd(), write.as_raw_fd()),
        ];
        let script = format!(
            "echo one >&{}; echo two >&{}",
            other_write.as_raw_fd(),
            write.as_raw_fd()
        );
        // A shell's redirection takes one digit; the test's own descriptors may have more in a large run.
        if crossed.iter().all(|(_, number)| *number < 10) {
            let process = shell(&script, crossed).spawn().unwrap();
            drop((write, other_write));
            let mut text = String::new();
            File::from(read).read_to_string(&mut text).unwrap();
            File::from(other_read).read_to_string(&mut text).unwrap();
            assert_eq!(text, "one\ntwo\n");
            pidfd::wait_ended(process.pidfd.as_fd(), None).unwrap();
            pidfd::reap(process.pidfd.as_fd()).unwrap();
        }
    }

    #[test]
    fn missing_program_is_an_error_with_its_path() {
        let mut program = shell("", vec![]);
        program.path = c"/nonexistent/program".into();
        let error = program.spawn().unwrap_err();
        assert!(
            matches!(&error, ProgramError::Execute { source, .. } if source.kind() == io::ErrorKind::NotFound)
        );
        assert!(
            error.to_string().contains("/nonexistent/program"),
            "{error}"
        );
    }
}
