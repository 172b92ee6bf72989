//! Which steps turn a copy of the node's file tree into a container's.

use std::path::{Path, PathBuf};

use weir_executor::spec::ContainerSpec;
use weir_sys::mount::Mounted;

/// File systems through which the kernel, or the node's user space, is steered: no container has them, wherever
/// the node has mounted them.
const CONTROL_FILE_SYSTEMS: [&str; 18] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// What `/proc` tells about the whole node that a container has no business to know.
const MASKED_IN_PROC: [&str; 7] = [
    "acpi",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
];

/// The same for `/sys`.
const MASKED_IN_SYS: [&str; 2] = ["/sys/firmware", "/sys/devices/virtual/powercap"];

/// What matters of the node's own tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// All mounts.
    pub(crate) mounts: Vec<Mounted>,
    /// What `/proc` has besides processes.
    pub(crate) kernel_entries: Vec<KernelEntry>,
    /// Where a container gets a directory of its own: real paths, none below another.
    pub(crate) private: Vec<PathBuf>,
    /// The resolver configuration, if it is in one of those.
    pub(crate) resolver: Option<Resolver>,
}

/// One entry of `/proc` that is not a process.
#[derive(Clone, Debug)]
pub(crate) struct KernelEntry {
    pub(crate) name: String,
    pub(crate) directory: bool,
}

/// The file that says which name servers to ask.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
}

/// What to do to the tree, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Takes a hold on the sandbox while the node's tree is still there.
    HoldSandbox { path: PathBuf },
    /// The same for a volume; those that are held are attached in the same order.
    HoldVolume { source: PathBuf, read_only: bool },
    /// Makes a read-only copy of everything, attaches it at `over`, and makes it the root, less what is mounted at and
    /// below the paths `without`.
    ChangeRoot {
        over: PathBuf,
        without: Vec<PathBuf>,
    },
    /// Mounts the `/proc` of the container's PID namespace.
    MountProc,
    /// Mounts the `/sys` of the container's network namespace, read-only.
    MountSys,
    /// Mounts a `/dev` of the usual nodes, with `/dev/pts` and a `/dev/shm` of `shm_bytes`.
    MountDevices { shm_bytes: u64 },
    /// Mounts an empty directory in memory.
    MountEmpty {
        path: PathBuf,
        mode: u32,
        bytes: u64,
    },
    /// Makes `path`, and all below, unwritable.
    MakeReadOnly { path: PathBuf },
    /// Lets `path` look like an empty file or directory.
    Mask { path: PathBuf, directory: bool },
    /// Writes a file, with the directories above it.
    WriteFile { path: PathBuf, content: Vec<u8> },
    /// Covers the state directory with an empty one in which the sandbox, writable, is all there is.
    HideState { path: PathBuf, sandbox: PathBuf },
    /// Mounts the volume that was held first, and is not attached yet, into the sandbox. What is missing of the path
    /// is made and given to the task's user.
    AttachVolume {
        sandbox: PathBuf,
        target: PathBuf,
        uid: u32,
        gid: u32,
    },
}

/// Returns the steps that make the tree of the container.
pub(crate) fn plan(spec: &ContainerSpec, node: &Node) -> Vec<Step> {
    let mut steps = vec![Step::HoldSandbox {
        path: spec.sandbox(),
    }];
    steps.extend(spec.volumes.iter().map(|volume| Step::HoldVolume {
        source: volume.source.clone(),
        read_only: volume.read_only,
    }));
    // Any directory serves; this one exists. The copy is taken before it is covered.
    steps.push(Step::ChangeRoot {
        over: spec.directory.clone(),
        without: unwanted(node),
    });
    // Devices first, for /dev/null is what masks files.
    steps.push(Step::MountDevices {
        shm_bytes: spec.tmp_bytes_max,
    });
    steps.push(Step::MountProc);
    steps.push(Step::MountSys);
    for entry in &node.kernel_entries {
        let path = Path::new("/proc").join(&entry.name);
        if MASKED_IN_PROC.contains(&entry.name.as_str()) {
            steps.push(Step::Mask {
                path,
                directory: entry.directory,
            });
        } else {
            // By rule and not by list: /proc/sys, irq, bus, fs, sysrq-trigger, dynamic_debug, mtrr and whatever the
            // next kernel brings; many of them ask for user 0 only, and for no capability. Those that nobody can write
            // to as well: their owner, user 0, could change their modes, and does so for the whole node.
            steps.push(Step::MakeReadOnly { path });
        }
    }
    steps.extend(MASKED_IN_SYS.map(|path| Step::Mask {
        path: path.into(),
        directory: true,
    }));

    for path in &node.private {
        // /run is the system's, the others are everyone's.
        let mode = if path.ends_with("run") { 0o755 } else { 0o1777 };
        steps.push(Step::MountEmpty {
            path: path.clone(),
            mode,
            bytes: spec.tmp_bytes_max,
        });
    }
    if let Some(resolver) = &node.resolver {
        steps.push(Step::WriteFile {
            path: resolver.path.clone(),
            content: resolver.content.clone(),
        });
    }
    // After the private directories: the state directory may be in one of them.
    steps.push(Step::HideState {
        path: spec.state_directory.clone(),
        sandbox: spec.sandbox(),
    });
    steps.extend(spec.volumes.iter().map(|volume| Step::AttachVolume {
        sandbox: spec.sandbox(),
        target: volume.target.clone(),
        uid: spec.uid,
        gid: spec.gid,
    }));
    steps
}

/// Returns what is mounted where the container has something else, or steers the kernel.
///
/// Taken away rather than only covered: what is not there cannot be uncovered, and pins nothing of the node.
fn unwanted(node: &Node) -> Vec<PathBuf> {
    let is_replaced = |path: &Path| {
        ["/proc", "/sys", "/dev"]
            .iter()
            .any(|replaced| path.starts_with(replaced))
            || node.private.iter().any(|private| path.starts_with(private))
    };
    let mut unwanted: Vec<PathBuf> = vec![];
    for mount in &node.mounts {
        let steers = CONTROL_FILE_SYSTEMS.contains(&mount.kind.as_str());
        // What is below another goes with it.
        let goes_anyway = unwanted
            .iter()
            .any(|earlier| mount.path.starts_with(earlier));
        if (steers || is_replaced(&mount.path)) && !goes_anyway {
            unwanted.push(mount.path.clone());
        }
    }
    unwanted
}

#[cfg(test)]
mod tests {
    use weir_executor::spec::{NetworkMode, VolumeMount};

    use super::*;

    fn spec(state_directory: &str) -> ContainerSpec {
        ContainerSpec {
            id: "i".into(),
            name: "n".into(),
            directory: format!("{state_directory}/containers/i").into(),
            state_directory: state_directory.into(),
            argv: vec!["true".into()],
            env: vec![],
            working_directory: None,
            uid: 0,
            gid: 0,
            groups: vec![],
            user_name: "root".into(),
            capabilities: vec![],
            cgroup: "/sys/fs/cgroup/weir/i".into(),
            network: NetworkMode::Isolated,
            ports: String::new(),
            first_ports: vec![],
            kill_grace_ms: 0,
            output_bytes_max: 1,
            output_files: 0,
            tmp_bytes_max: 4096,
            volumes: vec![],
        }
    }

    fn mounted(path: &str, kind: &str) -> Mounted {
        Mounted {
            root: "/".into(),
            path: path.into(),
            kind: kind.into(),
        }
    }

    fn node() -> Node {
        Node {
            mounts: vec![
                mounted("/", "ext4"),
                mounted("/sys", "sysfs"),
                mounted("/sys/fs/bpf", "bpf"),
                mounted("/srv/pins", "bpf"),
                mounted("/home", "ext4"),
                mounted("/run/netns/one", "nsfs"),
                mounted("/tmp/disk", "ext4"),
            ],
            kernel_entries: vec![
                KernelEntry {
                    name: "cpuinfo".into(),
                    directory: false,
                },
                KernelEntry {
                    name: "kcore".into(),
                    directory: false,
                },
                KernelEntry {
                    name: "sys".into(),
                    directory: true,
                },
                KernelEntry {
                    name: "sysrq-trigger".into(),
                    directory: false,
                },
            ],
            private: vec!["/run".into(), "/tmp".into()],
            resolver: Some(Resolver {
                path: "/run/resolver/stub.conf".into(),
                content: b"nameserver 127.0.0.53".into(),
            }),
        }
    }

    fn position(steps: &[Step], wanted: &Step) -> usize {
        steps
            .iter()
            .position(|step| step == wanted)
            .unwrap_or_else(|| panic!("{wanted:?} is not in {steps:?}"))
    }

    #[test]
    fn sandbox_is_held_before_the_root_goes_and_placed_last() {
        let steps = plan(&spec("/var/lib/weir"), &node());
        let sandbox = PathBuf::from("/var/lib/weir/containers/i/sandbox");
        assert_eq!(
            steps.first(),
            Some(&Step::HoldSandbox {
                path: sandbox.clone()
            })
        );
        assert_eq!(
            steps.last(),
            Some(&Step::HideState {
                path: "/var/lib/weir".into(),
                sandbox
            })
        );
    }

    #[test]
    fn volumes_are_held_before_the_root_goes_and_attached_when_the_sandbox_is_there() {
        let volume = |name: &str, read_only| VolumeMount {
            source: Path::new("/var/lib/weir/volumes").join(name),
            target: Path::new("in").join(name),
            read_only,
        };
        let spec = ContainerSpec {
            volumes: vec![volume("a", false), volume("b", true)],
            ..spec("/var/lib/weir")
        };
        let steps = plan(&spec, &node());
        let held = |name: &str, read_only| Step::HoldVolume {
            source: Path::new("/var/lib/weir/volumes").join(name),
            read_only,
        };
        assert_eq!(steps[1..3], [held("a", false), held("b", true)]);
        assert!(matches!(steps[3], Step::ChangeRoot { .. }));
        let attached = |name: &str| Step::AttachVolume {
            sandbox: "/var/lib/weir/containers/i/sandbox".into(),
            target: Path::new("in").join(name),
            uid: 0,
            gid: 0,
        };
        assert_eq!(steps[steps.len() - 2..], [attached("a"), attached("b")]);
        assert!(matches!(steps[steps.len() - 3], Step::HideState { .. }));
    }

    #[test]
    fn control_file_systems_and_what_is_replaced_go_and_nothing_else_does() {
        let steps = plan(&spec("/var/lib/weir"), &node());
        // /sys/fs/bpf goes with /sys.
        let without = ["/sys", "/srv/pins", "/run/netns/one", "/tmp/disk"]
            .map(PathBuf::from)
            .into();
        let over = "/var/lib/weir/containers/i".into();
        position(&steps, &Step::ChangeRoot { over, without });
    }

    #[test]
    fn what_tells_about_the_node_is_read_only_and_secrets_are_masked() {
        let steps = plan(&spec("/var/lib/weir"), &node());
        position(
            &steps,
            &Step::MakeReadOnly {
                path: "/proc/sys".into(),
            },
        );
        position(
            &steps,
            &Step::MakeReadOnly {
                path: "/proc/sysrq-trigger".into(),
            },
        );
        let masked = position(
            &steps,
            &Step::Mask {
                path: "/proc/kcore".into(),
                directory: false,
            },
        );
        assert!(masked > position(&steps, &Step::MountProc));
        assert!(masked > position(&steps, &Step::MountDevices { shm_bytes: 4096 }));
        position(
            &steps,
            &Step::MakeReadOnly {
                path: "/proc/cpuinfo".into(),
            },
        );
    }

    #[test]
    fn state_directory_in_a_private_directory_is_made_after_it() {
        let steps = plan(&spec("/tmp/state"), &node());
        let private = position(
            &steps,
            &Step::MountEmpty {
                path: "/tmp".into(),
                mode: 0o1777,
                bytes: 4096,
            },
        );
        assert!(private < steps.len() - 1);
    }

    #[test]
    fn resolver_configuration_is_written_into_the_private_run() {
        let steps = plan(&spec("/var/lib/weir"), &node());
        let written = position(
            &steps,
            &Step::WriteFile {
                path: "/run/resolver/stub.conf".into(),
                content: b"nameserver 127.0.0.53".into(),
            },
        );
        assert!(
            written
                > position(
                    &steps,
                    &Step::MountEmpty {
                        path: "/run".into(),
                        mode: 0o755,
                        bytes: 4096
                    }
                )
        );
    }
}
