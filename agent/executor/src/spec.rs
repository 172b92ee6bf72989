//! What the agent asks of one executor.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_sys::capability;

/// The most bytes a host name may have (`__NEW_UTS_LEN` in `linux/utsname.h`).
const HOST_NAME_BYTES_MAX: usize = 64;

/// One container: who runs what, where, and within which bounds.
///
/// It holds only what has been decided: names are looked up, ports are chosen and paths are absolute. The
/// agent writes it as JSON; an unknown field is an error, because an executor that does not know what it
/// was asked for must not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// The agent's id of the container, `WEIR_CONTAINER_ID` inside.
    pub id: String,
    /// The user's name of the container: `WEIR_CONTAINER_NAME` and the host name inside.
    pub name: String,
    /// The container's directory, where the executor finds `sandbox/` and writes `stdout`, `stderr` and
    /// `exit.json`.
    pub directory: PathBuf,
    /// The agent's state directory, which is hidden from the task but for its own sandbox.
    pub state_directory: PathBuf,
    /// The program and its arguments; a program without a slash is looked for in the task's `PATH`.
    pub argv: Vec<String>,
    /// Environment variables, over the defaults and under the `WEIR_` ones.
    pub env: Vec<(String, String)>,
    /// Where the task starts; the sandbox if absent.
    pub working_directory: Option<PathBuf>,
    /// The user the task runs as.
    pub uid: u32,
    /// The group the task runs as.
    pub gid: u32,
    /// The supplementary groups of the task.
    pub groups: Vec<u32>,
    /// The name of the user, `USER` inside.
    pub user_name: String,
    /// The capabilities granted, as in `NET_RAW`; the task has no others, whatever its user.
    pub capabilities: Vec<String>,
    /// The container's cgroup, `<cgroup2>/<parent>/<id>`, with the children `executor` and `task`.
    pub cgroup: PathBuf,
    /// Which network the task is in.
    pub network: NetworkMode,
    /// The assigned ports as text, `WEIR_PORTS` inside.
    pub ports: String,
    /// The first assigned ports one by one, `WEIR_PORT0`, `WEIR_PORT1`, … inside.
    pub first_ports: Vec<u16>,
    /// How long the task may take to end after a SIGTERM before it is killed.
    pub kill_grace_ms: u64,
    /// How large `stdout` or `stderr` may grow before it is rotated.
    pub output_bytes_max: u64,
    /// How many rotated files are kept of each.
    pub output_files: u32,
    /// How much each of the private `/tmp`, `/var/tmp`, `/run` and `/dev/shm` may hold.
    pub tmp_bytes_max: u64,
    /// The volumes of the container. Absent where there are none, so that an executor of an earlier
    /// release takes what it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
}

/// A directory that outlives the container and that it finds in its sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    /// The directory, below the agent's state directory.
    pub source: PathBuf,
    /// Where it appears: relative to the sandbox, of plain components.
    pub target: PathBuf,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// Which network a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// A network namespace of its own, which the executor gets as descriptor 5.
    Isolated,
    /// The node's.
    Host,
}

impl ContainerSpec {
    /// Returns the only directory of the state directory that the task can see.
    pub fn sandbox(&self) -> PathBuf {
        self.directory.join("sandbox")
    }

    /// Returns the cgroup of the task and its init.
    pub fn task_cgroup(&self) -> PathBuf {
        self.cgroup.join("task")
    }

    /// Returns the cgroup of the executor.
    pub fn executor_cgroup(&self) -> PathBuf {
        self.cgroup.join("executor")
    }

    /// Checks what can be checked without looking at the node.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.argv.is_empty() {
            return Err(SpecError::NoProgram {
                id: self.id.clone(),
            });
        }
        let words = [&self.id, &self.name, &self.user_name, &self.ports];
        let variables = self.env.iter().flat_map(|(name, value)| [name, value]);
        let texts = self.argv.iter().chain(words).chain(variables);
        let paths = [&self.directory, &self.state_directory, &self.cgroup];
        let paths = paths.into_iter().chain(&self.working_directory);
        let texts = texts.map(|text| text.as_bytes());
        for text in texts.chain(paths.clone().map(|path| path.as_os_str().as_bytes())) {
            if CString::new(text).is_err() {
                return Err(SpecError::NulByte {
                    id: self.id.clone(),
                    text: String::from_utf8_lossy(text).into_owned(),
                });
            }
        }
        for (name, _) in &self.env {
            if name.is_empty() || name.contains('=') {
                return Err(SpecError::VariableName {
                    id: self.id.clone(),
                    name: name.clone(),
                });
            }
        }
        if self.name.is_empty() || self.name.len() > HOST_NAME_BYTES_MAX {
            return Err(SpecError::HostName {
                id: self.id.clone(),
                name: self.name.clone(),
                bytes: self.name.len(),
            });
        }
        for path in paths {
            if !path.is_absolute() {
                return Err(SpecError::RelativePath {
                    id: self.id.clone(),
                    path: path.clone(),
                });
            }
        }
        // A path that climbs is below its beginning in letters only.
        let climbs = self
            .directory
            .components()
            .any(|c| c == Component::ParentDir);
        if climbs
            || !self.directory.starts_with(&self.state_directory)
            || self.state_directory == Path::new("/")
        {
            return Err(SpecError::OutsideOfState {
                id: self.id.clone(),
                directory: self.directory.clone(),
                state_directory: self.state_directory.clone(),
            });
        }
        self.validate_volumes()?;
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return Err(SpecError::NoUser {
                id: self.id.clone(),
            });
        }
        for name in &self.capabilities {
            if capability::parse(name).is_err() {
                return Err(SpecError::Capability {
                    id: self.id.clone(),
                    name: name.clone(),
                });
            }
        }
        if self.output_bytes_max == 0 {
            return Err(SpecError::NoOutput {
                id: self.id.clone(),
            });
        }
        Ok(())
    }

    fn validate_volumes(&self) -> Result<(), SpecError> {
        for volume in &self.volumes {
            let VolumeMount { source, target, .. } = volume;
            let path = |path: &PathBuf| SpecError::VolumePath {
                id: self.id.clone(),
                path: path.clone(),
            };
            let is_terminable = |path: &Path| CString::new(path.as_os_str().as_bytes()).is_ok();
            let climbs = source.components().any(|c| c == Component::ParentDir);
            // Nothing else of the node is ever made writable.
            let is_below = source.starts_with(&self.state_directory)
                && *source != self.state_directory
                && !climbs;
            if !is_below || !is_terminable(source) {
                return Err(path(source));
            }
            let is_plain = |component| matches!(component, Component::Normal(_));
            let is_inside = target.components().all(is_plain) && !target.as_os_str().is_empty();
            if !is_inside || !is_terminable(target) {
                return Err(path(target));
            }
        }
        for (index, volume) in self.volumes.iter().enumerate() {
            let others = self.volumes.iter().enumerate();
            let above = others
                .filter(|(other, _)| *other != index)
                .find(|(_, other)| volume.target.starts_with(&other.target));
            // One in the other would need a directory in what is somebody's data.
            if let Some((_, above)) = above {
                return Err(SpecError::VolumesOverlap {
                    id: self.id.clone(),
                    inner: volume.target.clone(),
                    outer: above.target.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Why a specification asks for something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There is nothing to run.
    #[error("container {id} names no program: give at least one argument")]
    NoProgram {
        /// The container.
        id: String,
    },
    /// The kernel ends strings at NUL.
    #[error(
        "container {id} has a NUL byte in {text:?}: the kernel could not take it as an argument or variable"
    )]
    NulByte {
        /// The container.
        id: String,
        /// The text with the byte in it.
        text: String,
    },
    /// A variable that no program could read.
    #[error("container {id} has a variable named {name:?}: a name is not empty and has no `=`")]
    VariableName {
        /// The container.
        id: String,
        /// The name given.
        name: String,
    },
    /// A name that cannot be the host name of the container.
    #[error(
        "container {id} is named {name:?}, which has {bytes} bytes: between 1 and {HOST_NAME_BYTES_MAX} make a host name"
    )]
    HostName {
        /// The container.
        id: String,
        /// The name given.
        name: String,
        /// How long it is.
        bytes: usize,
    },
    /// A path that would depend on who reads it.
    #[error("container {id} has the relative path `{path}`: give it from the root")]
    RelativePath {
        /// The container.
        id: String,
        /// The path given.
        path: PathBuf,
    },
    /// A container directory that hiding the state directory would not hide.
    #[error(
        "container {id} has its directory `{directory}` outside of the state directory `{state_directory}`, or that is the root: put it below"
    )]
    OutsideOfState {
        /// The container.
        id: String,
        /// The container's directory.
        directory: PathBuf,
        /// The agent's.
        state_directory: PathBuf,
    },
    /// The number that setresuid(2) and fchown(2) take for "no change": the task would stay root.
    #[error(
        "container {id} is to run as the user or group {max}, which the kernel takes for nobody: give another",
        max = u32::MAX
    )]
    NoUser {
        /// The container.
        id: String,
    },
    /// A capability that this version does not know.
    #[error(
        "container {id} asks for the capability {name:?}, which does not exist: names are as in `NET_RAW`"
    )]
    Capability {
        /// The container.
        id: String,
        /// The name given.
        name: String,
    },
    /// A volume that would come from, or go to, somewhere else.
    #[error(
        "container {id} has a volume with the path `{path}`: volumes come from below the state directory and go below the sandbox"
    )]
    VolumePath {
        /// The container.
        id: String,
        /// The path given.
        path: PathBuf,
    },
    /// A volume at or in another.
    #[error(
        "container {id} has a volume at `{inner}`, where the volume at `{outer}` is: give each a place of its own"
    )]
    VolumesOverlap {
        /// The container.
        id: String,
        /// The one.
        inner: PathBuf,
        /// The other, at the same place or above.
        outer: PathBuf,
    },
    /// Output files that may hold nothing.
    #[error("container {id} allows 0 bytes of output: allow at least one byte for each file")]
    NoOutput {
        /// The container.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_miss::{Edit, near_miss};

    fn spec() -> ContainerSpec {
        ContainerSpec {
            id: "abcdefghijkl".into(),
            name: "web".into(),
            directory: "/var/lib/weir/containers/abcdefghijkl".into(),
            state_directory: "/var/lib/weir".into(),
            argv: vec!["/usr/sbin/nginx".into(), "-g".into(), "daemon off;".into()],
            env: vec![("LANG".into(), "C.UTF-8".into())],
            working_directory: None,
            uid: 33,
            gid: 33,
            groups: vec![4],
            user_name: "www-data".into(),
            capabilities: vec!["NET_BIND_SERVICE".into()],
            cgroup: "/sys/fs/cgroup/weir/abcdefghijkl".into(),
            network: NetworkMode::Isolated,
            ports: "31000-31001".into(),
            first_ports: vec![31000, 31001],
            kill_grace_ms: 5000,
            output_bytes_max: 10_485_760,
            output_files: 2,
            tmp_bytes_max: 67_108_864,
            volumes: vec![],
        }
    }

    /// An executor of the last release must read what the agent of this one writes: change with care.
    const GOLDEN: &str = r#"{"id":"abcdefghijkl","name":"web","directory":"/var/lib/weir/containers/abcdefghijkl","state_directory":"/var/lib/weir","argv":["/usr/sbin/nginx","-g","daemon off;"],"env":[["LANG","C.UTF-8"]],"working_directory":null,"uid":33,"gid":33,"groups":[4],"user_name":"www-data","capabilities":["NET_BIND_SERVICE"],"cgroup":"/sys/fs/cgroup/weir/abcdefghijkl","network":"isolated","ports":"31000-31001","first_ports":[31000,31001],"kill_grace_ms":5000,"output_bytes_max":10485760,"output_files":2,"tmp_bytes_max":67108864}"#;

    #[test]
    fn json_form_is_golden() {
        assert_eq!(serde_json::to_string(&spec()).unwrap(), GOLDEN);
        assert_eq!(
            serde_json::from_str::<ContainerSpec>(GOLDEN).unwrap(),
            spec()
        );
    }

    fn with_volumes() -> ContainerSpec {
        let volume = |id: &str, target: &str, read_only| VolumeMount {
            source: Path::new("/var/lib/weir/volumes/roles/db").join(id),
            target: target.into(),
            read_only,
        };
        ContainerSpec {
            volumes: vec![
                volume("pgdata", "var/data", false),
                volume("certs", "certs", true),
            ],
            ..spec()
        }
    }

    const GOLDEN_VOLUMES: &str = r#","volumes":[{"source":"/var/lib/weir/volumes/roles/db/pgdata","target":"var/data","read_only":false},{"source":"/var/lib/weir/volumes/roles/db/certs","target":"certs","read_only":true}]}"#;

    #[test]
    fn json_form_of_volumes_is_golden() {
        let golden = GOLDEN.strip_suffix('}').unwrap().to_owned() + GOLDEN_VOLUMES;
        assert_eq!(serde_json::to_string(&with_volumes()).unwrap(), golden);
        let read = serde_json::from_str::<ContainerSpec>(&golden).unwrap();
        assert_eq!(read, with_volumes());
        read.validate().unwrap();
    }

    #[test]
    fn a_volume_comes_from_the_state_directory_and_stays_in_the_sandbox() {
        for (source, target) in [
            ("/etc", "data"),
            ("/var/lib/weir", "data"),
            ("/var/lib/weir/../../etc", "data"),
            ("/var/lib/weir/v", "/data"),
            ("/var/lib/weir/v", "../data"),
            ("/var/lib/weir/v", "a/../../data"),
            ("/var/lib/weir/v", "./data"),
            ("/var/lib/weir/v", ""),
            ("/var/lib/weir/v", "a\0"),
            ("var/lib/weir/v", "data"),
        ] {
            let mut spec = with_volumes();
            spec.volumes[0].source = source.into();
            spec.volumes[0].target = target.into();
            let error = spec.validate().unwrap_err();
            assert!(
                matches!(error, SpecError::VolumePath { .. }),
                "{source} {target}"
            );
        }
        for target in ["certs", "certs/below"] {
            let mut spec = with_volumes();
            spec.volumes[0].target = target.into();
            let error = spec.validate().unwrap_err();
            assert!(
                matches!(error, SpecError::VolumesOverlap { .. }),
                "{target}"
            );
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = GOLDEN.replace("\"name\":", "\"privileged\":true,\"name\":");
        let error = serde_json::from_str::<ContainerSpec>(&text).unwrap_err();
        assert!(error.to_string().contains("privileged"), "{error}");
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_name() {
        let mut broken = vec![];
        let mut with = |change: fn(&mut ContainerSpec)| {
            let mut changed = spec();
            change(&mut changed);
            broken.push(changed.validate().unwrap_err().to_string());
        };
        with(|spec| spec.argv.clear());
        with(|spec| spec.argv.push("a\0b".into()));
        with(|spec| spec.env.push(("A=B".into(), String::new())));
        with(|spec| spec.name = "n".repeat(65));
        with(|spec| spec.cgroup = "weir".into());
        with(|spec| spec.directory = "/srv/elsewhere".into());
        with(|spec| spec.directory = "/var/lib/weir/../elsewhere".into());
        with(|spec| spec.working_directory = Some("/srv/\0".into()));
        with(|spec| spec.uid = u32::MAX);
        with(|spec| spec.capabilities.push("FLY".into()));
        with(|spec| spec.output_bytes_max = 0);
        for (message, named) in broken.iter().zip([
            "program",
            "NUL",
            "A=B",
            "65 bytes",
            "`weir`",
            "/srv/elsewhere",
            "weir/../elsewhere",
            "NUL",
            "4294967295",
            "FLY",
            "0 bytes",
        ]) {
            assert!(message.contains(named), "{message} does not say {named}");
        }
        spec().validate().unwrap();
    }

    /// What the executor relies on in a specification that it has accepted.
    fn assert_possible(spec: &ContainerSpec) {
        let ContainerSpec { env, argv, .. } = spec;
        assert!(!argv.is_empty());
        let string = |bytes: &[u8]| CString::new(bytes).unwrap();
        for (name, value) in env {
            string(format!("{name}={value}").as_bytes());
            assert!(!name.is_empty() && !name.contains('='));
        }
        for word in argv.iter().chain([&spec.id, &spec.name, &spec.ports]) {
            string(word.as_bytes());
        }
        for path in [&spec.sandbox(), &spec.cgroup, &spec.state_directory] {
            string(path.as_os_str().as_bytes());
            assert!(path.is_absolute());
        }
        let below = spec.directory.strip_prefix(&spec.state_directory).unwrap();
        let plain = |component| matches!(component, Component::Normal(_));
        assert!(below.components().all(plain), "{}", below.display());
        assert_ne!(spec.uid, u32::MAX);
        assert_ne!(spec.gid, u32::MAX);
    }

    #[test]
    fn what_is_read_reads_back_and_what_is_valid_can_be_run() {
        bolero::check!()
            .with_type::<(Vec<Edit>, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(edits, bytes)| {
                drop(serde_json::from_slice::<ContainerSpec>(bytes));
                let text = near_miss(GOLDEN, edits);
                let Ok(read) = serde_json::from_str::<ContainerSpec>(&text) else {
                    return;
                };
                let printed = serde_json::to_string(&read).unwrap();
                assert_eq!(
                    serde_json::from_str::<ContainerSpec>(&printed).unwrap(),
                    read
                );
                match read.validate() {
                    Ok(()) => assert_possible(&read),
                    Err(error) => assert!(error.to_string().contains(&read.id), "{error}"),
                }
            });
    }

    #[test]
    fn whatever_texts_are_valid_can_be_run() {
        const PATHS: [&str; 8] = [
            "/var/lib/weir",
            "/var/lib/weir/c",
            "/var/lib/weir/../c",
            "/",
            "weir",
            "/var/lib/weirdo",
            "",
            "/a\0",
        ];
        bolero::check!()
            .with_type::<(u8, String, [u8; 4], [u32; 2])>()
            .with_iterations(2000)
            .for_each(|(which, text, paths, [uid, gid])| {
                let mut spec = spec();
                let path = |index: usize| PathBuf::from(PATHS[usize::from(paths[index] % 8)]);
                match which % 10 {
                    0 => spec.argv = vec![text.clone()],
                    1 => spec.env = vec![(text.clone(), text.clone())],
                    2 => spec.env = vec![("A".into(), text.clone())],
                    3 => spec.name = text.clone(),
                    4 => spec.id = text.clone(),
                    5 => spec.ports = text.clone(),
                    6 => spec.working_directory = Some(text.into()),
                    7 => (spec.uid, spec.gid) = (u32::MAX - uid % 2, u32::MAX - gid % 2),
                    8 => spec.cgroup = text.into(),
                    _ => {
                        spec.directory = path(0);
                        spec.state_directory = path(1);
                        spec.cgroup = path(2);
                        spec.working_directory = Some(path(3));
                    }
                }
                if spec.validate().is_ok() {
                    assert_possible(&spec);
                }
            });
    }
}
