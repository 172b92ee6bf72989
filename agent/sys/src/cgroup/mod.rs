//! Control groups, version 2: directories of files that hold, count, limit and kill processes.

mod delegation;
mod files;
mod limits;
mod pressure;
mod text;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use self::files::Files;
pub use self::limits::IoLimits;
pub use self::pressure::{Pressure, PressureFiles, Stalled};
use self::text::{is_populated, name_at, parse_processes};
use crate::mount;

/// How often processes that fork while being killed one by one are looked for again (kernels before 5.14 only).
const KILL_ROUNDS_MAX: usize = 1000;

/// One control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

/// What a control group has used of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStatistics {
    /// All of it, in microseconds.
    pub usage_us: u64,
    /// In user mode.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// How its limit held it up; absent without the `cpu` controller.
    pub throttling: Option<Throttling>,
}

/// How the limit of processor time held a control group up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which it wanted to run while a limit was set.
    pub periods: u64,
    /// Those of them in which its time was used up.
    pub throttled_periods: u64,
    /// How long it was held up, in microseconds: of all processors together.
    pub throttled_us: u64,
}

/// How often a control group came to its limits of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Memory was taken from it although it had less than is protected for it.
    pub low: u64,
    /// It was held up for having more than `memory.high`.
    pub high: u64,
    /// It wanted more than `memory.max`.
    pub max: u64,
    /// And nothing could be taken from it.
    pub oom: u64,
    /// Processes of it that were killed for want of memory, its own or the node's.
    pub oom_kill: u64,
}

/// Returns where the cgroup2 hierarchy is mounted.
pub fn find_hierarchy() -> Result<PathBuf, CgroupError> {
    let mounts = mount::mounted().map_err(|source| CgroupError::Mounts { source })?;
    // A mount of the whole hierarchy: a container runtime may have bound parts of it elsewhere.
    mounts
        .into_iter()
        .find(|mount| mount.kind == "cgroup2" && mount.root == Path::new("/"))
        .map(|mount| mount.path)
        .ok_or(CgroupError::NoHierarchy)
}

impl Cgroup {
    /// Makes the group, and those above it that are missing; fine if it is there already.
    pub fn create(path: &Path) -> Result<Self, CgroupError> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|source| failed(path, "create", source))?;
        Self::open(path)
    }

    /// Takes a group that exists.
    pub fn open(path: &Path) -> Result<Self, CgroupError> {
        let group = Self {
            path: path.to_path_buf(),
        };
        // Every cgroup2 directory has this file, nothing else has.
        match fs::metadata(path.join("cgroup.procs")) {
            Ok(_) => Ok(group),
            Err(source) => Err(failed(path, "open", source)),
        }
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its name as `/proc/<pid>/cgroup` writes it: the path from the root of the hierarchy.
    pub fn name(&self) -> Result<PathBuf, CgroupError> {
        let path = fs::canonicalize(&self.path).map_err(|source| self.failed("find", source))?;
        let mounts = mount::mounted().map_err(|source| CgroupError::Mounts { source })?;
        name_at(&mounts, &path).ok_or(CgroupError::NoHierarchy)
    }

    /// Makes the group `name` below this one; fine if it is there already.
    pub fn create_child(&self, name: &str) -> Result<Self, CgroupError> {
        Self::create(&self.path.join(name))
    }

    /// Returns the groups right below this one.
    pub fn children(&self) -> Result<Vec<Self>, CgroupError> {
        let entries = fs::read_dir(&self.path).map_err(|source| self.failed("list", source))?;
        let mut children = vec![];
        for entry in entries {
            let entry = entry.map_err(|source| self.failed("list", source))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                children.push(Self { path: entry.path() });
            }
        }
        Ok(children)
    }

    /// Returns a descriptor of its directory, for clone3 and for attaching programs.
    pub fn directory(&self) -> Result<OwnedFd, CgroupError> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(&self.path)
            .map_err(|source| self.failed("open", source))?;
        Ok(file.into())
    }

    /// Returns the number by which the kernel's programs know it.
    pub fn id(&self) -> Result<u64, CgroupError> {
        fs::metadata(&self.path)
            .map(|metadata| metadata.ino())
            .map_err(|source| self.failed("identify", source))
    }

    /// Returns the processes in it, without those in groups below.
    pub fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        Ok(parse_processes(&self.read("cgroup.procs")?))
    }

    /// Takes a process in; fine if it has ended meanwhile.
    pub fn take_in(&self, process: Pid) -> Result<(), CgroupError> {
        match self.write("cgroup.procs", &process.to_string()) {
            Err(CgroupError::Failed { source, .. })
                if source.raw_os_error() == Some(libc::ESRCH) =>
            {
                Ok(())
            }
            written => written,
        }
    }

    /// Returns whether a process is in it or below.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        Ok(is_populated(&self.read("cgroup.events")?))
    }

    /// Waits until no process is in it or below; `false` if the time was over before.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool, CgroupError> {
        let mut events = File::open(self.path.join("cgroup.events"))
            .map_err(|source| self.failed("watch", source))?;
        let deadline = Instant::now() + timeout;
        loop {
            // Read before the wait: the read is what arms the notification.
            let mut text = String::new();
            events
                .rewind()
                .and_then(|()| events.read_to_string(&mut text))
                .map_err(|source| self.failed("watch", source))?;
            if !is_populated(&text) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left =
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.failed("watch", errno.into())),
            }
        }
    }

    /// Sends SIGKILL to every process in it and below; they end a moment later.
    ///
    /// # Minimum kernel version
    ///
    /// 5.14 (`cgroup.kill`); before, processes are killed one by one until none is found.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self.write("cgroup.kill", "1") {
            Err(CgroupError::Failed { source, .. })
                if source.kind() == io::ErrorKind::NotFound && self.path.exists() =>
            {
                self.kill_one_by_one()
            }
            answer => answer,
        }
    }

    /// A process may fork between the reading and the kill, so it is read again until none is left.
    fn kill_one_by_one(&self) -> Result<(), CgroupError> {
        for _ in 0..KILL_ROUNDS_MAX {
            for child in self.children()? {
                child.kill_one_by_one()?;
            }
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                match kill(pid, Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(self.failed("kill", errno.into())),
                }
            }
            // Killed processes stay listed until they are gone.
            self.wait_empty(Duration::from_millis(10))?;
        }
        Err(self.failed("kill", Errno::EBUSY.into()))
    }

    /// Takes the group and those below it away, waiting for the last process to leave.
    ///
    /// Fine if it is gone already. Kill first: a group whose processes live on is not removed.
    pub fn remove(&self, timeout: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.remove_now() {
                Ok(()) => return Ok(()),
                Err(CgroupError::Failed { source, .. })
                    if source.kind() == io::ErrorKind::ResourceBusy =>
                {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.wait_empty(left)? {
                        let processes = self.processes().unwrap_or_default();
                        return Err(CgroupError::Busy {
                            path: self.path.clone(),
                            processes,
                            timeout_ms: timeout.as_millis(),
                        });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn remove_now(&self) -> Result<(), CgroupError> {
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                // Busy by groups below or by processes; the second attempt tells.
                for child in self.children()? {
                    child.remove_now()?;
                }
                fs::remove_dir(&self.path).map_err(|source| self.failed("remove", source))
            }
            Err(source) => Err(self.failed("remove", source)),
        }
    }

    /// Returns the controllers that can act here.
    pub fn controllers(&self) -> Result<Vec<String>, CgroupError> {
        Ok(self
            .read("cgroup.controllers")?
            .split_whitespace()
            .map(str::to_owned)
            .collect())
    }

    /// Lets the named controllers act in the groups below this one.
    pub fn enable_controllers(&self, names: &[&str]) -> Result<(), CgroupError> {
        let available = self.controllers()?;
        for name in names {
            self.require(name, &available)?;
        }
        let request: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
        self.write("cgroup.subtree_control", &request.join(" "))
    }

    /// Returns the controllers that act in the groups below this one.
    pub fn passed_on(&self) -> Result<Vec<String>, CgroupError> {
        Ok(self
            .read("cgroup.subtree_control")?
            .split_whitespace()
            .map(str::to_owned)
            .collect())
    }

    /// Ends what [`Self::enable_controllers`] began. The kernel refuses it while a group below passes
    /// the controller on.
    pub fn disable_controllers(&self, names: &[&str]) -> Result<(), CgroupError> {
        let request: Vec<String> = names.iter().map(|name| format!("-{name}")).collect();
        self.write("cgroup.subtree_control", &request.join(" "))
    }

    fn require(&self, controller: &str, available: &[String]) -> Result<(), CgroupError> {
        if available.iter().any(|name| name == controller) {
            return Ok(());
        }
        Err(CgroupError::NotAvailable {
            path: self.path.clone(),
            controller: controller.to_owned(),
            available: if available.is_empty() {
                "none".to_owned()
            } else {
                available.join(", ")
            },
        })
    }

    fn read(&self, file: &str) -> Result<String, CgroupError> {
        let path = self.path.join(file);
        fs::read_to_string(&path).map_err(|source| failed(&path, "read", source))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), CgroupError> {
        let path = self.path.join(file);
        let attempt = || {
            OpenOptions::new()
                .write(true)
                .open(&path)?
                .write_all(text.as_bytes())
        };
        attempt().map_err(|source| failed(&path, "write", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> CgroupError {
        failed(&self.path, action, source)
    }
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> CgroupError {
    CgroupError::Failed {
        path: path.to_path_buf(),
        action,
        source,
    }
}

/// Why a control group cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The table of mounts cannot be read.
    #[error("cannot look for the cgroup2 hierarchy")]
    Mounts {
        /// Why not.
        source: mount::MountError,
    },
    /// The node has none.
    #[error(
        "no cgroup2 hierarchy is mounted: mount one (`mount -t cgroup2 none /sys/fs/cgroup`) or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NoHierarchy,
    /// A file or directory of it fails.
    #[error(
        "cannot {action} cgroup `{path}`: is it in a cgroup2 hierarchy that this process may change?"
    )]
    Failed {
        /// The directory or file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel or the groups above do not offer the controller.
    #[error(
        "cgroup `{path}` has no {controller} controller (it has: {available}): enable it above, or take it from cgroup version 1"
    )]
    NotAvailable {
        /// The group.
        path: PathBuf,
        /// What is missing.
        controller: String,
        /// What is there.
        available: String,
    },
    /// Processes live on in it.
    #[error(
        "cgroup `{path}` still had processes after {timeout_ms} ms ({processes:?}): kill them first"
    )]
    Busy {
        /// The group.
        path: PathBuf,
        /// Those right in it.
        processes: Vec<Pid>,
        /// How long was waited.
        timeout_ms: u128,
    },
}

impl CgroupError {
    /// Returns whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Processes end, and what holds the file system up may pass.
            Self::Busy { .. } | Self::Failed { .. } | Self::Mounts { .. } => true,
            // Only a change of the node's set-up helps.
            Self::NoHierarchy | Self::NotAvailable { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::block::DeviceNumber;
    use crate::directory::Directory;
    use crate::program::Program;

    /// A group for one test, gone with it.
    pub(super) struct Scratch(pub(super) Cgroup);

    impl Scratch {
        pub(super) fn new(name: &str) -> Self {
            assert!(
                nix::unistd::geteuid().is_root(),
                "this test makes control groups: run it as root"
            );
            let path = find_hierarchy()
                .unwrap()
                .join(format!("weir-sys-test-{}-{name}", std::process::id()));
            Self(Cgroup::create(&path).unwrap())
        }

        pub(super) fn start(&self, script: &str) -> crate::clone::Process {
            let directory = self.0.directory().unwrap();
            Program {
                path: c"/bin/sh".into(),
                arguments: vec![c"sh".into(), c"-c".into(), CString::new(script).unwrap()],
                environment: vec![c"PATH=/usr/bin:/bin".into()],
                descriptors: vec![],
                cgroup: Some(directory.as_fd()),
                new_session: true,
            }
            .spawn()
            .unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.remove(Duration::from_secs(5)).unwrap();
        }
    }

    #[test]
    fn process_starts_inside_and_is_killed_with_the_group() {
        let scratch = Scratch::new("kill");
        let process = scratch.start("sleep 1000 & wait");
        assert!(scratch.0.processes().unwrap().contains(&process.pid));
        assert!(scratch.0.is_populated().unwrap());
        let told = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap();
        let line = format!("0::{}", scratch.0.name().unwrap().display());
        assert!(told.lines().any(|found| found == line), "{line} in {told}");
        assert!(!scratch.0.wait_empty(Duration::ZERO).unwrap());
        scratch.0.kill().unwrap();
        assert!(scratch.0.wait_empty(Duration::from_secs(5)).unwrap());
        let status = crate::pidfd::reap(process.pidfd.as_fd()).unwrap();
        assert_eq!(
            status,
            Some(crate::pidfd::Status::Signaled {
                signal: 9,
                core_dumped: false
            })
        );
    }

    #[test]
    fn killing_one_by_one_reaches_groups_below() {
        let scratch = Scratch::new("one-by-one");
        let below = Scratch(scratch.0.create_child("below").unwrap());
        let process = below.start("sleep 1000 & wait");
        scratch.0.kill_one_by_one().unwrap();
        assert!(scratch.0.wait_empty(Duration::from_secs(5)).unwrap());
        crate::pidfd::reap(process.pidfd.as_fd()).unwrap();
    }

    #[test]
    fn occupied_group_is_not_removed_and_an_empty_one_is_with_all_below() {
        let scratch = Scratch::new("remove");
        let process = scratch.start("sleep 1000");
        let error = scratch.0.remove(Duration::from_millis(1)).unwrap_err();
        assert!(
            matches!(&error, CgroupError::Busy { processes, .. } if processes.contains(&process.pid)),
            "{error}"
        );
        scratch.0.kill().unwrap();
        crate::pidfd::wait_ended(process.pidfd.as_fd(), None).unwrap();
        crate::pidfd::reap(process.pidfd.as_fd()).unwrap();
        scratch
            .0
            .create_child("a")
            .unwrap()
            .create_child("b")
            .unwrap();
        scratch.0.remove(Duration::from_secs(5)).unwrap();
        assert!(!scratch.0.path().exists());
        scratch.0.remove(Duration::ZERO).unwrap();
        Cgroup::create(scratch.0.path()).unwrap();
    }

    #[test]
    fn used_processor_time_and_identity_are_told() {
        let scratch = Scratch::new("statistics");
        let process = scratch.start("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
        crate::pidfd::wait_ended(process.pidfd.as_fd(), None).unwrap();
        crate::pidfd::reap(process.pidfd.as_fd()).unwrap();
        assert!(
            Files::new(
                &mut Directory::open(Path::new("/")).unwrap(),
                scratch.0.path()
            )
            .cpu_statistics()
            .unwrap()
            .usage_us
                > 0
        );
        assert!(scratch.0.id().unwrap() > 1);
    }

    #[test]
    fn missing_controller_is_named() {
        let scratch = Scratch::new("controllers");
        // Nothing is enabled for a fresh group below a fresh group.
        let below = scratch.0.create_child("below").unwrap();
        for refused in [
            below.set_memory_limit(Some(1 << 20)),
            below.set_cpu_weight(50),
            below.set_cpu_limit(Some(500)),
            below.set_memory_high(None),
            below.set_memory_low(0),
            below.set_swap_limit(Some(0)),
            below.set_pids_limit(Some(5)),
            below.set_io_weight(50),
            below.set_io_limits(DeviceNumber { major: 8, minor: 0 }, &IoLimits::default()),
        ] {
            assert!(
                matches!(refused, Err(CgroupError::NotAvailable { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(below.forks_refused().unwrap(), None);
        assert_eq!(below.memory_low().unwrap(), None);
        assert_eq!(below.io_limited().unwrap(), []);
        assert!(!below.limits_swap() && !below.weighs_io());
        let refused = below.enable_controllers(&["memory"]).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("no memory controller (it has: "),
            "{refused}"
        );
        assert_eq!(
            Files::new(&mut Directory::open(below.path()).unwrap(), Path::new("."))
                .memory_bytes()
                .unwrap(),
            None
        );
    }

    #[test]
    fn directory_that_is_no_group_is_refused() {
        let error = Cgroup::open(Path::new("/tmp")).unwrap_err();
        assert!(error.to_string().contains("/tmp"), "{error}");
    }
}
