//! A work bench: a container task over its own state directory and cgroup, and the fake network.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Barrier;
use tokio::time::Instant;
use weir_agent::config::{CgroupConfig, ContainerConfig};
use weir_agent::container::{
    Attachment, Bandwidth, CgroupTree, ContainerHandle, ContainerId, ContainerNetwork,
    ContainerTask, ContainerView, LaunchRequest, Limits, LiveAttachment, NetworkCapacity,
    NetworkFault, PortsWanted, Prepared, Settings, Slot,
};
use weir_agent::ports::{BlockSize, Pools};
use weir_agent::store::{self, StoreThread};
use weir_executor::spec::NetworkMode;
use weir_resources::{PortRange, PortSet};
use weir_sys::cgroup::{Cgroup, find_hierarchy};

/// Every wait in these tests ends here: far beyond what a loaded machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long freed ports rest on the bench: longer than any test.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(600);

/// A network that keeps a list.
#[derive(Debug, Default)]
pub(crate) struct FakeNetwork {
    pub(crate) attached: Mutex<BTreeMap<Slot, Attachment>>,
    /// What the next calls of `attach` answer; they succeed when it is empty.
    pub(crate) attach_faults: Mutex<VecDeque<&'static str>>,
    /// Likewise for `update_ports`.
    pub(crate) update_faults: Mutex<VecDeque<&'static str>>,
    /// Likewise for `detach`.
    pub(crate) detach_faults: Mutex<VecDeque<&'static str>>,
    /// Where all launches meet before one goes on.
    pub(crate) meeting: Option<Barrier>,
    pub(crate) recovered: Mutex<Vec<LiveAttachment>>,
    pub(crate) stopped: AtomicU32,
}

fn next_fault(faults: &Mutex<VecDeque<&'static str>>) -> Result<(), NetworkFault> {
    let fault = faults.lock().unwrap().pop_front();
    match fault {
        None => Ok(()),
        Some(what) => Err(NetworkFault {
            what: what.to_owned(),
            remedy: "try something else".to_owned(),
            source: None,
        }),
    }
}

impl ContainerNetwork for FakeNetwork {
    type Made = ();

    async fn prepare(
        &self,
        _container: &ContainerId,
        _slot: Slot,
        mode: NetworkMode,
        _ephemeral: Option<PortRange>,
    ) -> Result<Prepared<()>, NetworkFault> {
        let netns = match mode {
            NetworkMode::Isolated => {
                let made = tokio::task::spawn_blocking(|| weir_sys::netns::create(|| ())).await;
                Some(made.unwrap().unwrap().0)
            }
            NetworkMode::Host => None,
        };
        Ok(Prepared { netns, made: () })
    }

    async fn attach(&self, attachment: Attachment, _made: ()) -> Result<(), NetworkFault> {
        if let Some(meeting) = &self.meeting {
            meeting.wait().await;
        }
        next_fault(&self.attach_faults)?;
        self.attached
            .lock()
            .unwrap()
            .insert(attachment.slot, attachment);
        Ok(())
    }

    async fn update_ports(&self, slot: Slot, ports: &PortSet) -> Result<(), NetworkFault> {
        next_fault(&self.update_faults)?;
        self.attached.lock().unwrap().get_mut(&slot).unwrap().ports = ports.clone();
        Ok(())
    }

    async fn update_bandwidth(
        &self,
        _slot: Slot,
        _bandwidth: &Bandwidth,
    ) -> Result<(), NetworkFault> {
        Ok(())
    }

    fn capacity(&self) -> NetworkCapacity {
        let missing = "this network is a fake";
        NetworkCapacity {
            egress_min: Err(missing.to_owned()),
            egress_max: Err(missing.to_owned()),
            ingress_max: Err(missing.to_owned()),
        }
    }

    async fn detach(&self, slot: Slot) -> Result<(), NetworkFault> {
        next_fault(&self.detach_faults)?;
        self.attached.lock().unwrap().remove(&slot);
        Ok(())
    }

    async fn recover(&self, live: Vec<LiveAttachment>) -> Result<(), NetworkFault> {
        let by_slot = live
            .iter()
            .map(|live| (live.attachment.slot, live.attachment.clone()));
        *self.attached.lock().unwrap() = by_slot.collect();
        *self.recovered.lock().unwrap() = live;
        Ok(())
    }

    async fn stop_if_unused(&self) -> Result<(), NetworkFault> {
        self.stopped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What outlives an agent: its directory, its cgroup, its network.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) parent: String,
    pub(crate) network: Arc<FakeNetwork>,
    pub(crate) config: ContainerConfig,
    pub(crate) allow_unenforced: bool,
}

/// What an agent holds.
pub(crate) struct Agent {
    pub(crate) containers: ContainerHandle,
    task: ContainerTask,
    thread: StoreThread,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_network(FakeNetwork::default())
    }

    pub(crate) fn with_network(network: FakeNetwork) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make containers: run them as root"
        );
        build_executor();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self {
            directory: tempfile::tempdir().unwrap(),
            parent: format!("weir-test-{}-{number}", std::process::id()),
            network: Arc::new(network),
            config: ContainerConfig::default(),
            allow_unenforced: false,
        }
    }

    pub(crate) fn cgroup_parent(&self) -> PathBuf {
        find_hierarchy().unwrap().join(&self.parent)
    }

    /// Starts an agent, as after a restart if there was one before.
    pub(crate) async fn start(&self) -> Agent {
        let path = self.directory.path().join("agent.db");
        let (store, thread) = store::open(&path).unwrap();
        let config = CgroupConfig {
            root: None,
            parent: Some(self.parent.clone()),
            allow_unenforced_limits: self.allow_unenforced,
        };
        let cgroups = CgroupTree::prepare(&config, self.directory.path()).unwrap();
        let ports = |text: &str| text.parse().unwrap();
        let settings = Settings {
            config: self.config.clone(),
            cgroups,
            state_directory: self.directory.path().to_owned(),
            executor: executor_path(),
            pools: Pools::new(
                ports("31000-31999"),
                ports("61440-65535"),
                BlockSize::new(128).unwrap(),
            )
            .unwrap(),
            quarantine: QUARANTINE,
        };
        let network = Arc::clone(&self.network);
        let (containers, task) = ContainerTask::spawn(settings, store, network)
            .await
            .unwrap();
        Agent {
            containers,
            task,
            thread,
        }
    }

    /// Returns the names of the cgroups of containers.
    pub(crate) fn cgroups(&self) -> Vec<String> {
        let children = Cgroup::open(&self.cgroup_parent())
            .unwrap()
            .children()
            .unwrap();
        let name = |cgroup: &Cgroup| {
            cgroup
                .path()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        };
        children.iter().map(name).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Ok(parent) = Cgroup::open(&self.cgroup_parent()) {
            drop(parent.kill());
            drop(parent.remove(DEADLINE));
        }
    }
}

impl Agent {
    /// Ends the agent as a kill would: nothing is finished, nothing is told.
    pub(crate) async fn vanish(self) {
        let Self {
            containers,
            mut task,
            thread,
        } = self;
        drop(containers);
        task.ended().await;
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap();
    }

    /// Waits until a container is as it should be.
    pub(crate) async fn wait_for(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&ContainerView) -> bool,
    ) -> ContainerView {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let view = self.containers.find(name);
            match view {
                Ok(view) if is_so(&view) => return view,
                other => assert!(Instant::now() < deadline, "not {what}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Returns a request for a container on the node's network, which needs no namespace of a network.
pub(crate) fn request(name: &str, argv: &[&str]) -> LaunchRequest {
    LaunchRequest {
        name: (!name.is_empty()).then(|| name.parse().unwrap()),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        working_directory: None,
        user: None,
        ports: PortsWanted::default(),
        network: NetworkMode::Host,
        limits: Limits::default(),
        capabilities: Vec::new(),
    }
}

pub(crate) fn shell(name: &str, script: &str) -> LaunchRequest {
    request(name, &["/bin/sh", "-c", script])
}

/// Tests and programs are built into one directory.
fn executor_path() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("weir-executor")
}

/// The executor is another package's program, which building this test does not build.
fn build_executor() {
    static ONCE: Once = Once::new();
    // Somebody built everything elsewhere, and there is no cargo here.
    if env::var_os("WEIR_TEST_BUILT").is_some() {
        return;
    }
    ONCE.call_once(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "weir-executor",
            "--bin",
            "weir-executor",
        ]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(
            build.status().unwrap().success(),
            "weir-executor does not build"
        );
    });
}
