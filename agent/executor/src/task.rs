//! The task: from the clone by init to the exec of the program.
//!
//! 1. It gets its own session, output, limits and user, and loses every power that was not granted.
//! 2. It waits for the word to go, so that nothing but the exec is left to do then.
//! 3. It executes. If it cannot, it says so through a pipe that a successful exec would have closed.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::exit;

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, setsid};
use weir_executor::spec::ContainerSpec;
use weir_sys::capability::{self, Capability, CapabilityError};
use weir_sys::process::{self, ProcessError};
use weir_sys::seccomp::{self, Exceptions, SeccompError};

use crate::wire::{Report, Reports, chain};

/// Where programs are looked for unless the specification says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The task's ends of what connects it with the executor.
#[derive(Debug)]
pub(crate) struct TaskEnds {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// One byte comes when the task may begin; the close comes when it never will.
    pub(crate) go: OwnedFd,
    /// Takes [`ExecFailure`] if the exec fails; closed by a successful one.
    pub(crate) answer: OwnedFd,
}

impl TaskEnds {
    /// Returns the numbers of the descriptors.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        [&self.stdout, &self.stderr, &self.go, &self.answer]
            .into_iter()
            .map(|end| end.as_raw_fd())
    }
}

/// Which file could not be executed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecFailure {
    pub(crate) errno: i32,
    pub(crate) path: PathBuf,
}

impl ExecFailure {
    /// Returns the form that goes through the pipe.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.errno.to_ne_bytes(), self.path.as_os_str().as_bytes()].concat()
    }

    /// Reads that form; `None` for nothing, which is what a successful exec says.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (errno, path) = bytes.split_first_chunk()?;
        Some(Self {
            errno: i32::from_ne_bytes(*errno),
            path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
        })
    }
}

/// Lives the life of the task up to the exec, in the process that was cloned for it.
pub(crate) fn run(spec: &ContainerSpec, ends: &TaskEnds, reports: &Reports) -> ! {
    match become_program(spec, ends) {
        Ok(never) => match never {},
        Err(TaskError::Execute { failure }) => {
            let written = nix::unistd::write(&ends.answer, &failure.to_bytes());
            debug_assert!(
                written.is_ok(),
                "the executor holds the other end while the task lives"
            );
        }
        // The executor is gone, and init with it.
        Err(TaskError::NeverToGo) => {}
        Err(error) => {
            let _unheard = reports.send(
                &Report::Failed {
                    reason: chain(&error),
                },
                None,
            );
        }
    }
    exit(127)
}

fn become_program(spec: &ContainerSpec, ends: &TaskEnds) -> Result<Infallible, TaskError> {
    let own = |source| TaskError::Process { source };
    let system = |what| {
        move |errno: Errno| TaskError::System {
            what,
            source: errno.into(),
        }
    };
    setsid().map_err(system("lead a session"))?;
    process::leave_session_keyring().map_err(own)?;
    process::drop_memory_shield().map_err(own)?;
    umask(Mode::from_bits_truncate(0o022));
    // The container's own, on a read-only mount: through the node's, user 0 could change the node's /dev/null.
    let null = File::open("/dev/null").map_err(|source| TaskError::System {
        what: "open /dev/null",
        source,
    })?;
    dup2_stdin(&null).map_err(system("connect its input"))?;
    dup2_stdout(&ends.stdout).map_err(system("connect its output"))?;
    dup2_stderr(&ends.stderr).map_err(system("connect its output"))?;

    let mut kept = Vec::with_capacity(spec.capabilities.len());
    for name in &spec.capabilities {
        kept.push(capability::parse(name).map_err(|source| TaskError::Powers { source })?);
    }
    capability::become_user_with(spec.uid, spec.gid, &spec.groups, &kept)
        .map_err(|source| TaskError::Powers { source })?;
    process::set_no_new_privileges().map_err(own)?;
    // Who was granted the right to mount needs no user namespace to do so.
    if !kept.contains(&Capability::CAP_SYS_ADMIN) {
        let exceptions = Exceptions {
            bpf: kept.contains(&Capability::CAP_BPF),
        };
        seccomp::refuse_uncovered(exceptions).map_err(|source| TaskError::Filter { source })?;
    }

    // As the user: what the user may not enter is no place to start in.
    let directory = spec
        .working_directory
        .clone()
        .unwrap_or_else(|| spec.sandbox());
    chdir(&directory).map_err(|errno| TaskError::WorkingDirectory {
        path: directory.clone(),
        source: errno.into(),
    })?;
    let environment = environment(spec);
    let program = Program::new(spec, &environment)?;
    process::close_all_on_exec().map_err(own)?;
    process::reset_signals().map_err(own)?;

    let mut word = [0];
    if nix::unistd::read(&ends.go, &mut word) != Ok(1) {
        return Err(TaskError::NeverToGo);
    }
    Err(TaskError::Execute {
        failure: program.execute(),
    })
}

/// Returns the environment of the task: defaults, then what was asked for, then what Weir alone decides.
fn environment(spec: &ContainerSpec) -> Vec<(String, String)> {
    let sandbox = spec.sandbox().to_string_lossy().into_owned();
    let mut variables = vec![
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("HOME".to_owned(), sandbox.clone()),
        ("USER".to_owned(), spec.user_name.clone()),
    ];
    let mut ours = vec![
        ("WEIR_CONTAINER_ID".to_owned(), spec.id.clone()),
        ("WEIR_CONTAINER_NAME".to_owned(), spec.name.clone()),
        ("WEIR_SANDBOX".to_owned(), sandbox),
        ("WEIR_PORTS".to_owned(), spec.ports.clone()),
    ];
    ours.extend(
        spec.first_ports
            .iter()
            .enumerate()
            .map(|(index, port)| (format!("WEIR_PORT{index}"), port.to_string())),
    );
    for (name, value) in spec.env.iter().cloned().chain(ours) {
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => variables.push((name, value)),
        }
    }
    variables
}

/// All that the exec needs, made ready beforehand.
struct Program {
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    fn new(spec: &ContainerSpec, environment: &[(String, String)]) -> Result<Self, TaskError> {
        let string = |text: &str| CString::new(text).map_err(|source| TaskError::Nul { source });
        let name = spec.argv.first().map_or("", String::as_str);
        let path = environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(DEFAULT_PATH, |(_, path)| path);
        Ok(Self {
            candidates: candidates(name, path)
                .iter()
                .map(|path| string(path))
                .collect::<Result<_, _>>()?,
            arguments: spec
                .argv
                .iter()
                .map(|argument| string(argument))
                .collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| string(&format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Executes the first candidate that can be; returns only to tell why none could.
    fn execute(&self) -> ExecFailure {
        let mut failure = None;
        for candidate in &self.candidates {
            // An execve that returns has failed.
            let Err(errno) = execve(candidate, &self.arguments, &self.environment);
            let reason = ExecFailure {
                errno: errno as i32,
                path: path(candidate),
            };
            if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
                // Not here: perhaps in the next directory.
                failure.get_or_insert(reason);
            } else if errno == Errno::EACCES {
                // That something was there but closed outweighs that nothing was there.
                failure = Some(reason);
            } else {
                return reason;
            }
        }
        failure.unwrap_or(ExecFailure {
            errno: Errno::ENOENT as i32,
            path: PathBuf::new(),
        })
    }
}

/// Returns the files that `name` may mean.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') || name.is_empty() {
        return vec![name.to_owned()];
    }
    // An empty element would mean the working directory, which is nobody's intention.
    path.split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| format!("{directory}/{name}"))
        .collect()
}

fn path(text: &CStr) -> PathBuf {
    Path::new(std::ffi::OsStr::from_bytes(text.to_bytes())).to_path_buf()
}

/// Why there is no task.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error("the task cannot be what it must be")]
    Process { source: ProcessError },
    #[error("the task cannot {what}")]
    System {
        what: &'static str,
        source: io::Error,
    },
    #[error("the task cannot have exactly the powers that were granted")]
    Powers { source: CapabilityError },
    #[error("the task cannot be refused what it must not do")]
    Filter { source: SeccompError },
    #[error(
        "the task's user cannot enter the working directory `{path}`: does it exist in the container?"
    )]
    WorkingDirectory { path: PathBuf, source: io::Error },
    #[error("an argument or variable of the task has a NUL byte")]
    Nul { source: std::ffi::NulError },
    #[error("the executor was gone before the task could begin")]
    NeverToGo,
    #[error("cannot execute `{}`", failure.path.display())]
    Execute { failure: ExecFailure },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_survives_the_pipe_and_silence_is_success() {
        let failure = ExecFailure {
            errno: 13,
            path: "/srv/été".into(),
        };
        assert_eq!(ExecFailure::from_bytes(&failure.to_bytes()), Some(failure));
        assert_eq!(ExecFailure::from_bytes(b""), None);
    }

    #[test]
    fn bare_names_are_searched_and_paths_are_not() {
        assert_eq!(candidates("sh", "/a:/b"), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates("sh", "/a::/b:"), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates("./sh", "/a:/b"), ["./sh"]);
        assert_eq!(candidates("", "/a"), [""]);
    }

    #[test]
    fn program_that_is_there_but_closed_outweighs_one_that_is_missing() {
        let program = |candidates: &[&str]| Program {
            candidates: candidates
                .iter()
                .map(|path| CString::new(*path).unwrap())
                .collect(),
            arguments: vec![],
            environment: vec![],
        };
        let failure = program(&["/nonexistent/a", "/etc/passwd", "/nonexistent/b"]).execute();
        assert_eq!(
            failure,
            ExecFailure {
                errno: Errno::EACCES as i32,
                path: "/etc/passwd".into()
            }
        );
        let failure = program(&["/nonexistent/a", "/nonexistent/b"]).execute();
        assert_eq!(
            failure,
            ExecFailure {
                errno: Errno::ENOENT as i32,
                path: "/nonexistent/a".into()
            }
        );
    }

    #[test]
    fn any_failure_survives_the_pipe_and_any_bytes_are_one_or_none() {
        bolero::check!()
            .with_type::<(Vec<u8>, i32)>()
            .with_iterations(1000)
            .for_each(|(bytes, errno)| {
                match ExecFailure::from_bytes(bytes) {
                    Some(failure) => assert_eq!(failure.to_bytes(), *bytes),
                    None => assert!(bytes.len() < 4),
                }
                let failure = ExecFailure {
                    errno: *errno,
                    path: Path::new(std::ffi::OsStr::from_bytes(bytes)).to_path_buf(),
                };
                assert_eq!(ExecFailure::from_bytes(&failure.to_bytes()), Some(failure));
            });
    }
}
