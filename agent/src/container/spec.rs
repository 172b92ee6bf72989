//! What was asked for, and what of it can be a container.
//!
//! ```text
//! LaunchRequest --(Launch::new: this node's users and configuration)--> Launch
//!               --(plan: what is free right now)--> Placement
//! ```
//!
//! A [`LaunchRequest`] is what came through the socket: its words are well formed, no more. A
//! [`Launch`] can run on this node; it is what the database keeps.

use std::num::NonZeroU16;
use std::path::{Component, PathBuf};

use serde::{Deserialize, Serialize};
use weir_executor::spec::{NetworkMode, VolumeMount};
use weir_resources::PortSet;

use super::error::Refusal;
use super::id::{ContainerId, ContainerName};
use super::limits::Limits;
use crate::config::ContainerConfig;

/// The most arguments and variables together: what fits a request with room to spare, and far below
/// what execve(2) takes.
const WORDS_MAX: usize = 4096;

/// The most bytes of one argument or variable: `MAX_ARG_STRLEN` of include/uapi/linux/binfmts.h,
/// less the final NUL.
const WORD_BYTES_MAX: usize = 128 * 1024 - 1;

/// What a person or program asks the agent to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRequest {
    /// The name; made from the id where it is absent.
    pub name: Option<ContainerName>,
    /// The program, by path or looked up in PATH, and its arguments.
    pub argv: Vec<String>,
    /// Variables beside those that every container has.
    pub env: Vec<(String, String)>,
    /// Where it runs; its sandbox where absent.
    pub working_directory: Option<PathBuf>,
    /// Whom it runs as, by name or number; `nobody` where absent.
    pub user: Option<String>,
    /// The ports that it owns beside its ephemeral block.
    pub ports: PortsWanted,
    /// Its own network namespace or the node's.
    pub network: NetworkMode,
    /// What it may use.
    pub limits: Limits,
    /// Capabilities, without `CAP_`.
    pub capabilities: Vec<String>,
}

/// The ports that are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortsWanted {
    /// These; possibly none.
    Set(PortSet),
    /// So many of whichever are free.
    Count(NonZeroU16),
}

impl Default for PortsWanted {
    fn default() -> Self {
        Self::Set(PortSet::default())
    }
}

/// A launch that this node could make if enough is free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// See [`LaunchRequest::name`].
    pub name: Option<ContainerName>,
    /// At least one word.
    pub argv: Vec<String>,
    /// Without `=` in the names, and no NUL anywhere.
    pub env: Vec<(String, String)>,
    /// An absolute path.
    pub working_directory: Option<PathBuf>,
    /// Whom it runs as.
    pub user: User,
    /// See [`LaunchRequest::network`].
    pub network: NetworkMode,
    /// See [`LaunchRequest::limits`].
    pub limits: Limits,
    /// Each is allowed by the configuration; sorted, once each.
    pub capabilities: Vec<String>,
    /// What a task of the scheduler has beside that; none for what was started on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskPart>,
}

/// What the container of a task has that no other has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskPart {
    /// Whose it is.
    pub name: TaskName,
    /// How long its command has between SIGTERM and SIGKILL.
    pub kill_grace_ms: u64,
    /// Its volumes.
    pub volumes: Vec<VolumeMount>,
    /// Whether it runs on what others leave idle: its CPU time is what nobody else wants.
    pub is_revocable: bool,
}

/// What a task is called, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskName {
    /// Its framework's id.
    pub framework: String,
    /// What its framework calls it.
    pub task: String,
}

/// A task that the scheduler wants to run on this node.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskLaunch {
    /// The id that its container gets.
    pub id: ContainerId,
    /// What is to run.
    pub request: LaunchRequest,
    /// What it has beside that.
    pub part: TaskPart,
}

/// A user of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name, or the number where it has none.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The first group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// Capabilities that are held against a network namespace: in a container's own they end at its
/// link, in the node's they see, forge and change everything.
const NETWORK_CAPABILITIES: &[&str] = &["NET_ADMIN", "NET_RAW"];

impl Launch {
    /// Checks what does not depend on other containers.
    ///
    /// `user` is the answer of the node's user database to [`LaunchRequest::user`].
    pub fn new(
        request: LaunchRequest,
        user: User,
        config: &ContainerConfig,
    ) -> Result<Self, Refusal> {
        let LaunchRequest {
            name,
            argv,
            env,
            working_directory,
            user: _,
            ports: _,
            network,
            limits,
            capabilities,
        } = request;
        check_words(&argv, &env)?;
        let limits = limits.checked()?;
        if let Some(directory) = &working_directory {
            let climbs = directory.components().any(|c| c == Component::ParentDir);
            if !directory.is_absolute() || climbs || holds_nul(&directory.to_string_lossy()) {
                return Err(Refusal::WorkingDirectory {
                    directory: directory.clone(),
                });
            }
        }
        let capabilities = allowed(&capabilities, &config.capabilities_allowed)?;
        if network == NetworkMode::Host
            && let Some(capability) = capabilities
                .iter()
                .find(|name| NETWORK_CAPABILITIES.contains(&name.as_str()))
        {
            return Err(Refusal::CapabilityOnHostNetwork {
                capability: capability.clone(),
            });
        }
        limits.bandwidth.check(network, &capabilities)?;
        Ok(Self {
            name,
            argv,
            env,
            working_directory,
            user,
            network,
            limits,
            capabilities,
            task: None,
        })
    }
}

/// Returns the capabilities in their normal form, sorted and once each, if all are allowed.
fn allowed(asked: &[String], allowed: &[String]) -> Result<Vec<String>, Refusal> {
    let parse = |name: &String| {
        weir_sys::capability::parse(name)
            .map_err(|_unknown| Refusal::UnknownCapability { name: name.clone() })
    };
    let allowed_set = allowed.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut names = Vec::new();
    for name in asked {
        let capability = parse(name)?;
        if !allowed_set.contains(&capability) {
            return Err(Refusal::CapabilityNotAllowed {
                capability: name.clone(),
                allowed: allowed.to_owned(),
            });
        }
        names.push(weir_sys::capability::name(capability));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn check_words(argv: &[String], env: &[(String, String)]) -> Result<(), Refusal> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(Refusal::NoProgram);
    }
    let words = argv.len() + env.len();
    if words > WORDS_MAX {
        return Err(Refusal::TooManyWords {
            words,
            words_max: WORDS_MAX,
        });
    }
    for (name, _) in env {
        if name.is_empty() || name.contains('=') {
            return Err(Refusal::VariableName { name: name.clone() });
        }
    }
    let pairs = env.iter().flat_map(|(name, value)| [name, value]);
    for word in argv.iter().chain(pairs) {
        if holds_nul(word) {
            return Err(Refusal::NulInWord {
                word: word.replace('\0', "\\0"),
            });
        }
        if word.len() > WORD_BYTES_MAX {
            return Err(Refusal::WordTooLong {
                bytes: word.len(),
                bytes_max: WORD_BYTES_MAX,
            });
        }
    }
    Ok(())
}

fn holds_nul(word: &str) -> bool {
    word.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> LaunchRequest {
        LaunchRequest {
            name: None,
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            working_directory: None,
            user: None,
            ports: PortsWanted::default(),
            network: NetworkMode::Isolated,
            limits: Limits::default(),
            capabilities: Vec::new(),
        }
    }

    fn launch(change: impl FnOnce(&mut LaunchRequest)) -> Result<Launch, Refusal> {
        let mut request = request();
        change(&mut request);
        Launch::new(request, user(), &ContainerConfig::default())
    }

    fn user() -> User {
        User {
            name: "nobody".to_owned(),
            uid: 65534,
            gid: 65534,
            groups: vec![65534],
        }
    }

    #[test]
    fn an_empty_command_is_refused() {
        assert!(matches!(
            launch(|r| r.argv.clear()),
            Err(Refusal::NoProgram)
        ));
        assert!(matches!(
            launch(|r| r.argv[0].clear()),
            Err(Refusal::NoProgram)
        ));
    }

    #[test]
    fn words_that_the_kernel_would_cut_are_refused() {
        assert!(matches!(
            launch(|r| r.argv.push("a\0b".to_owned())),
            Err(Refusal::NulInWord { .. })
        ));
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        assert!(matches!(
            launch(|r| r.argv.push(long)),
            Err(Refusal::WordTooLong { .. })
        ));
        let many = vec!["x".to_owned(); WORDS_MAX];
        assert!(matches!(
            launch(|r| r.argv.extend(many)),
            Err(Refusal::TooManyWords { .. })
        ));
    }

    #[test]
    fn a_variable_has_a_name() {
        let with = |name: &str| launch(|r| r.env.push((name.to_owned(), "x".to_owned())));
        assert!(matches!(with(""), Err(Refusal::VariableName { .. })));
        assert!(matches!(with("A=B"), Err(Refusal::VariableName { .. })));
        assert!(with("A").is_ok());
    }

    #[test]
    fn a_working_directory_is_absolute_and_does_not_climb() {
        for directory in ["x", "", "/tmp/../root"] {
            assert!(
                matches!(
                    launch(|r| r.working_directory = Some(directory.into())),
                    Err(Refusal::WorkingDirectory { .. })
                ),
                "{directory}"
            );
        }
    }

    #[test]
    fn a_capability_must_be_allowed() {
        let refused = launch(|r| r.capabilities.push("SYS_ADMIN".to_owned())).unwrap_err();
        assert!(refused.to_string().contains("SYS_ADMIN"), "{refused}");
        let twice = launch(|r| {
            r.capabilities = vec!["SETUID".to_owned(), "KILL".to_owned(), "KILL".to_owned()]
        });
        assert_eq!(twice.unwrap().capabilities, ["KILL", "SETUID"]);
        let written_out = launch(|r| r.capabilities = vec!["cap_setuid".to_owned()]);
        assert_eq!(written_out.unwrap().capabilities, ["SETUID"]);
        let unknown = launch(|r| r.capabilities.push("FLY".to_owned())).unwrap_err();
        assert!(matches!(unknown, Refusal::UnknownCapability { .. }));
    }

    #[test]
    fn network_capabilities_need_a_network_of_their_own() {
        let config = ContainerConfig {
            capabilities_allowed: vec!["NET_RAW".to_owned()],
            ..ContainerConfig::default()
        };
        let with = |network| {
            let request = LaunchRequest {
                network,
                capabilities: vec!["NET_RAW".to_owned()],
                ..request()
            };
            Launch::new(request, user(), &config)
        };
        assert!(with(NetworkMode::Isolated).is_ok());
        assert!(matches!(
            with(NetworkMode::Host),
            Err(Refusal::CapabilityOnHostNetwork { .. })
        ));
    }

    #[test]
    fn a_request_with_an_unknown_field_is_refused() {
        let mut json = serde_json::to_value(request()).unwrap();
        json["privileged"] = true.into();
        assert!(serde_json::from_value::<LaunchRequest>(json).is_err());
    }
}
