//! Who is at the other end of the socket: the node's root, or nobody.
//!
//! A container runs programs that may be uid 0, and it must never reach the agent that holds it. Its
//! mount namespace has no socket to connect to; should it get hold of one all the same, its cgroup
//! and its PID namespace betray it, and it can change neither.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use weir_sys::pidfd;

/// Says why a peer is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerRefusal {
    /// Not root.
    #[error("only root may ask, and this is uid {uid}")]
    NotRoot { uid: u32 },
    /// Inside a container of this agent.
    #[error("process {pid} is inside a container (cgroup {cgroup})")]
    InContainer { pid: i32, cgroup: String },
    /// Inside a container of somebody else.
    #[error("process {pid} is in another PID namespace than the agent")]
    OtherPidNamespace { pid: i32 },
    /// Gone, or of a namespace that this one cannot see.
    #[error("it cannot be told which process asks")]
    Unknown,
    /// Not to be told apart.
    #[error("it cannot be told where process {pid} is")]
    Unreadable {
        pid: i32,
        #[source]
        source: io::Error,
    },
}

/// What peers are measured against.
#[derive(Clone, Debug)]
pub(crate) struct Doorkeeper {
    /// The cgroup of containers as `/proc/<pid>/cgroup` writes it: from the root of the hierarchy.
    containers: String,
    /// The agent's own PID namespace.
    pid_namespace: PathBuf,
}

impl Doorkeeper {
    /// Takes the agent's own namespace, and the name of the cgroup that containers are in.
    pub(crate) fn new(containers: &Path) -> io::Result<Self> {
        Ok(Self {
            containers: containers.to_string_lossy().into_owned(),
            pid_namespace: fs::read_link("/proc/self/ns/pid")?,
        })
    }

    /// Refuses everyone but root outside of containers.
    pub(crate) fn check(&self, socket: &impl AsFd) -> Result<(), PeerRefusal> {
        let unknown = |_errno: Errno| PeerRefusal::Unknown;
        let credentials = getsockopt(socket, PeerCredentials).map_err(unknown)?;
        if credentials.uid() != 0 {
            return Err(PeerRefusal::NotRoot {
                uid: credentials.uid(),
            });
        }
        // Linux 6.5: the pid then stays the peer's for as long as this is held. Before, a peer that
        // is gone could have left its pid to another process; it would have to be uid 0 to connect.
        let held = match getsockopt(socket, PeerPidfd) {
            Ok(held) => Some(held),
            Err(Errno::ENOPROTOOPT) => None,
            // The peer has been reaped.
            Err(_) => return Err(PeerRefusal::Unknown),
        };
        let pid = match &held {
            Some(held) => pidfd::process_id(held.as_fd())
                .ok()
                .flatten()
                .map(nix::unistd::Pid::as_raw),
            None => Some(credentials.pid()).filter(|pid| *pid > 0),
        };
        let pid = pid.ok_or(PeerRefusal::Unknown)?;
        self.check_process(Path::new("/proc"), pid)?;
        // What was read was the peer's only if it is still there.
        let gone = held.is_some_and(|held| !matches!(pidfd::process_id(held.as_fd()), Ok(Some(_))));
        if gone {
            Err(PeerRefusal::Unknown)
        } else {
            Ok(())
        }
    }

    fn check_process(&self, proc: &Path, pid: i32) -> Result<(), PeerRefusal> {
        let unreadable = |source| PeerRefusal::Unreadable { pid, source };
        let process = proc.join(pid.to_string());
        let cgroups = fs::read_to_string(process.join("cgroup")).map_err(unreadable)?;
        if let Some(cgroup) = self.container_of(&cgroups) {
            return Err(PeerRefusal::InContainer {
                pid,
                cgroup: cgroup.to_owned(),
            });
        }
        let namespace = fs::read_link(process.join("ns/pid")).map_err(unreadable)?;
        if namespace == self.pid_namespace {
            Ok(())
        } else {
            Err(PeerRefusal::OtherPidNamespace { pid })
        }
    }

    /// Returns the cgroup of a process, from its `/proc/<pid>/cgroup`, if it is a container's.
    fn container_of<'a>(&self, cgroups: &'a str) -> Option<&'a str> {
        // The line of cgroup v2 is the one without controllers.
        let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let below = cgroup.strip_prefix(&self.containers)?;
        (below.is_empty() || below.starts_with('/')).then_some(cgroup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doorkeeper() -> Doorkeeper {
        Doorkeeper::new(Path::new("/weir")).unwrap()
    }

    #[test]
    fn a_process_below_the_parent_is_in_a_container() {
        let keeper = doorkeeper();
        for inside in [
            "0::/weir/abc/task\n",
            "1:cpu:/\n0::/weir\n",
            "0::/weir/abc/task (deleted)\n",
        ] {
            assert!(keeper.container_of(inside).is_some(), "{inside}");
        }
        for outside in [
            "0::/\n",
            "0::/weirdo/x\n",
            "1:cpu:/weir/abc\n0::/system.slice\n",
            "",
        ] {
            assert_eq!(keeper.container_of(outside), None, "{outside}");
        }
    }

    #[test]
    fn this_process_is_not_in_a_container() {
        let pid = nix::unistd::getpid().as_raw();
        doorkeeper().check_process(Path::new("/proc"), pid).unwrap();
    }

    #[test]
    fn another_pid_namespace_is_refused() {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("7");
        fs::create_dir_all(process.join("ns")).unwrap();
        fs::write(process.join("cgroup"), "0::/\n").unwrap();
        std::os::unix::fs::symlink("pid:[1]", process.join("ns/pid")).unwrap();
        let refusal = doorkeeper().check_process(proc.path(), 7).unwrap_err();
        assert!(
            matches!(refusal, PeerRefusal::OtherPidNamespace { pid: 7 }),
            "{refusal}"
        );
        let refusal = doorkeeper().check_process(proc.path(), 8).unwrap_err();
        assert!(
            matches!(refusal, PeerRefusal::Unreadable { pid: 8, .. }),
            "{refusal}"
        );
    }

    #[test]
    fn both_ends_of_a_pair_are_this_process_and_served_if_it_is_root() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let checked = doorkeeper().check(&socket);
        if nix::unistd::geteuid().is_root() {
            checked.unwrap();
        } else {
            assert!(matches!(checked, Err(PeerRefusal::NotRoot { .. })));
        }
    }

    #[test]
    fn whatever_else_is_in_the_file_a_container_is_told_from_its_neighbours() {
        bolero::check!()
            .with_type::<(String, String)>()
            .with_iterations(1000)
            .for_each(|(text, name)| {
                let keeper = doorkeeper();
                keeper.container_of(text);
                // The kernel refuses line feeds in names of cgroups; lines of version 1 have numbers from 1.
                let plain = |text: &str| text.replace(['\n', '\r'], "");
                let (before, name) = (plain(text), plain(name));
                let file = |cgroup: &str| format!("1:{before}:/\n0::{cgroup}\n");
                let inside = format!("/weir/{name}");
                assert_eq!(keeper.container_of(&file(&inside)), Some(inside.as_str()));
                let outside = format!("/weirdo/{name}");
                assert_eq!(keeper.container_of(&file(&outside)), None);
            });
    }

    #[test]
    fn a_parent_below_others_is_told_by_its_whole_name() {
        let keeper = Doorkeeper::new(Path::new("/system.slice/a/weir")).unwrap();
        let inside = "0::/system.slice/a/weir/id/task\n";
        assert!(keeper.container_of(inside).is_some());
        for outside in ["0::/weir/id/task\n", "0::/system.slice/a\n"] {
            assert_eq!(keeper.container_of(outside), None, "{outside}");
        }
    }
}
