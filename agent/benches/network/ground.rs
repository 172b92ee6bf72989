//! What the benchmark stands on: places that are its own, and nothing of them left afterwards.
//!
//! Everything has a fixed name, so that a run finds what a killed one left:
//!
//! 1. The lock: one benchmark at a time, two would measure each other.
//! 2. A mount namespace of its own, with a bpffs: pins go with the last process inside, whatever
//!    ends it.
//! 3. A cgroup for this process, and one below it for the threads that stand for containers: the
//!    data plane watches the TCP sockets that are made there.
//! 4. Ctrl-C becomes an error at the next [`check_interrupt`], and errors unwind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use weir_sys::cgroup::{self, Cgroup};
use weir_sys::mount::stop_propagation;

const NAME: &str = "weir-bench";

/// The cgroup of the daemon's containers. Beside that of the benchmark, not below: the daemon
/// refuses to talk to whoever is among its containers.
pub(crate) const DAEMON_CGROUP: &str = "weir-bench-agent";

/// A killed process is gone in milliseconds unless it hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Fails if the benchmark was told to end.
pub(crate) fn check_interrupt() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

/// The places, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    cgroup_root: PathBuf,
    /// Where this process was before.
    former_cgroup: PathBuf,
    _lock: Flock<File>,
}

impl Ground {
    /// Takes away what a killed run left, and makes the places.
    ///
    /// To be called before any thread is started: they inherit the mount namespace.
    pub(crate) fn take() -> Result<Self> {
        if !Uid::effective().is_root() {
            bail!("the benchmark makes namespaces and loads programs: run it as root");
        }
        let run = Path::new("/run").join(NAME);
        fs::create_dir_all(&run).with_context(|| format!("cannot create {}", run.display()))?;
        let directory =
            File::open(&run).with_context(|| format!("cannot open {}", run.display()))?;
        let lock =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
                anyhow!(errno).context(format!("another benchmark holds {}", run.display()))
            })?;
        let cgroup_root = cgroup::find_hierarchy()?;
        let former_cgroup = former_cgroup(&cgroup_root)?;
        let ground = Self {
            cgroup_root,
            former_cgroup,
            _lock: lock,
        };
        ground.sweep()?;

        unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
        stop_propagation()?;
        watch_signals()?;
        for directory in [ground.bpffs(), ground.home()] {
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        mount(
            Some("bpf"),
            &ground.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("cannot mount a bpffs")?;

        ground.enter_cgroup()?;
        Ok(ground)
    }

    /// Returns the directory of what needs no disk.
    pub(crate) fn run(&self) -> PathBuf {
        Path::new("/run").join(NAME)
    }

    /// Returns the directory, on a disk, of what a daemon keeps.
    pub(crate) fn home(&self) -> PathBuf {
        Path::new("/var/lib").join(NAME)
    }

    /// Returns where programs can be pinned.
    pub(crate) fn bpffs(&self) -> PathBuf {
        self.run().join("bpf")
    }

    /// Returns the root of all cgroups.
    pub(crate) fn cgroup_root(&self) -> &Path {
        &self.cgroup_root
    }

    /// Returns the cgroup of the threads that stand for containers.
    pub(crate) fn container_cgroup(&self) -> PathBuf {
        self.cgroup_root.join(NAME).join("containers")
    }

    fn enter_cgroup(&self) -> Result<()> {
        let own = self.cgroup_root.join(NAME);
        let containers = self.container_cgroup();
        Cgroup::create(&own)?;
        join(&own.join("cgroup.procs"))?;
        Cgroup::create(&containers)?;
        // So that single threads can be moved there.
        fs::write(containers.join("cgroup.type"), "threaded")
            .with_context(|| format!("cannot make {} a cgroup of threads", containers.display()))
    }

    /// Kills and removes what is there. The mounts went with their namespace.
    fn sweep(&self) -> Result<()> {
        for name in [DAEMON_CGROUP, NAME] {
            let path = self.cgroup_root.join(name);
            if path.exists() {
                let group = Cgroup::open(&path)?;
                group.kill()?;
                group.wait_empty(PATIENCE)?;
                group.remove(PATIENCE)?;
            }
        }
        for directory in [self.bpffs(), self.home()] {
            if directory.exists() {
                fs::remove_dir_all(&directory)
                    .with_context(|| format!("cannot remove {}", directory.display()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let left = nix::mount::umount2(&self.bpffs(), nix::mount::MntFlags::MNT_DETACH)
            .context("cannot unmount the bpffs")
            .and_then(|()| join(&self.former_cgroup.join("cgroup.procs")))
            .and_then(|()| self.sweep())
            .and_then(|()| fs::remove_dir_all(self.run()).context("cannot remove the directory"));
        if let Err(error) = left {
            eprintln!("left behind, until the next run takes it away: {error:#}");
        }
    }
}

/// Moves this process, or this thread if it is a file of threads, into a cgroup.
pub(crate) fn join(file: &Path) -> Result<()> {
    fs::write(file, "0").with_context(|| format!("cannot join the cgroup of {}", file.display()))
}

fn former_cgroup(root: &Path) -> Result<PathBuf> {
    let groups =
        fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let path = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .context("this process is in no cgroup of version 2")?;
    Ok(root.join(path))
}

/// Has a thread wait for the signals that end a program.
///
/// By handlers, and not by blocking the signals: the daemon would inherit the mask, and could not be
/// told to end.
fn watch_signals() -> Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    let mut signals = {
        let _inside = runtime.enter();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .into_iter()
        .map(|kind| signal(kind).context("cannot handle a signal"))
        .collect::<Result<Vec<_>>>()?
    };
    let came = async move {
        let [interrupt, terminate, hangup] = signals.as_mut_slice() else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if !INTERRUPTED.swap(true, Ordering::Relaxed) {
                eprintln!("interrupted: taking everything away");
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(came))
        .context("cannot start a thread")?;
    Ok(())
}
