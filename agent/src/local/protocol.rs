//! What is asked and answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::{
    Adjustment, ContainerError, ContainerView, Ended, Kill, LaunchRequest, PortsWanted, chain,
};
use crate::telemetry::ContainerStatistics;

/// What a command asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Run a container; answered when its program runs.
    Launch(Box<LaunchRequest>),
    /// List the containers.
    List {
        /// Those that have ended, too.
        all: bool,
    },
    /// Describe one container.
    Find {
        /// Its name or id.
        name: String,
    },
    /// Measure the running containers.
    Statistics {
        /// One of them, by name or id; all where absent.
        name: Option<String>,
    },
    /// Wait until a container has ended.
    Wait {
        /// Its name or id.
        name: String,
    },
    /// Kill a container.
    Kill {
        /// Its name or id.
        name: String,
        /// How.
        kill: Kill,
    },
    /// Change the ports of a container.
    UpdatePorts {
        /// Its name or id.
        name: String,
        /// What it owns afterwards, beside its block.
        ports: PortsWanted,
    },
    /// Change the limits of a container.
    UpdateLimits {
        /// Its name or id.
        name: String,
        /// What becomes of each.
        limits: Adjustment,
        /// Whether the kernel may kill it for holding more memory than it is left.
        may_kill: bool,
    },
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// What was asked for.
    Answer(Answer),
    /// Why not.
    Fault(Fault),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// One container.
    Container(Box<ContainerView>),
    /// All containers, oldest first.
    Containers(Vec<ContainerView>),
    /// How a container ended.
    Ended(Ended),
    /// Measurements.
    Statistics(Vec<ContainerStatistics>),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Fault {
    /// Whether the request or the node is at fault.
    pub kind: FaultKind,
    /// What it is about: a container, a file, the request itself.
    pub object: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Whether the request or the node is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing was done: the request cannot be met as it is.
    Refused,
    /// Something was tried, and undone.
    Failed,
}

impl Fault {
    pub(crate) fn of(object: impl Into<String>, error: &ContainerError) -> Self {
        let kind = match error {
            ContainerError::Refused(_) => FaultKind::Refused,
            ContainerError::Failed(_) | ContainerError::Gone => FaultKind::Failed,
        };
        Self {
            kind,
            object: object.into(),
            what: chain(error),
            remedy: error.remedy(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.remedy.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_miss::{Edit, near_miss};

    #[test]
    fn the_words_on_the_wire_stay() {
        for (request, json) in [
            (Request::List { all: true }, r#"{"list":{"all":true}}"#),
            (
                Request::Kill {
                    name: "web".to_owned(),
                    kill: Kill::AtOnce,
                },
                r#"{"kill":{"name":"web","kill":"at_once"}}"#,
            ),
            (
                Request::UpdatePorts {
                    name: "web".to_owned(),
                    ports: PortsWanted::Set("31000-31009".parse().unwrap()),
                },
                r#"{"update_ports":{"name":"web","ports":{"set":"31000-31009"}}}"#,
            ),
            (
                Request::UpdateLimits {
                    name: "web".to_owned(),
                    limits: Adjustment {
                        cpus: "0.5".parse().unwrap(),
                        memory: "none".parse().unwrap(),
                        ..Adjustment::default()
                    },
                    may_kill: false,
                },
                r#"{"update_limits":{"name":"web","limits":{"cpus":{"to":"0.5"},"memory":"lift"},"may_kill":false}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), json);
            assert_eq!(serde_json::from_str::<Request>(json).unwrap(), request);
        }
    }

    #[test]
    fn an_unknown_word_is_refused() {
        for json in [
            r#"{"list":{"all":true,"x":1}}"#,
            r#"{"lst":{}}"#,
            "{}",
            "[]",
            "1",
        ] {
            assert!(serde_json::from_str::<Request>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn any_request_that_is_read_is_written_the_same() {
        const GOLDEN: [&str; 6] = [
            r#"{"launch":{"name":"web","argv":["sh","-c","true"],"env":[["A","B"]],"working_directory":"/tmp","user":"nobody","ports":{"count":3},"network":"isolated","limits":{"cpus":"0.5","memory":"512M"},"capabilities":["KILL"]}}"#,
            r#"{"launch":{"name":"web","argv":["sh","-c","true"],"env":[["A","B"]],"working_directory":"/tmp","user":"nobody","ports":{"count":3},"network":"isolated","limits":{"cpus":"0.5","memory":"64M","memory_high":"48M","memory_low":"16M","swap":"0","pids":512,"io_weight":50,"io_max":["8:0:rbps=1M,wiops=100"]},"capabilities":["KILL"]}}"#,
            r#"{"update_ports":{"name":"web","ports":{"set":"31000-31009,31500"}}}"#,
            r#"{"update_limits":{"name":"web","limits":{"cpus":"lift","memory":{"to":"64M"}},"may_kill":true}}"#,
            r#"{"kill":{"name":"web","kill":"at_once"}}"#,
            r#"{"statistics":{"name":null}}"#,
        ];
        for json in GOLDEN {
            let request: Request = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&request).unwrap(), json);
        }
        bolero::check!()
            .with_type::<(u8, Vec<Edit>, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(which, edits, bytes)| {
                drop(serde_json::from_slice::<Request>(bytes));
                drop(serde_json::from_slice::<Response>(bytes));
                let json = near_miss(GOLDEN[usize::from(which % 6)], edits);
                if let Ok(request) = serde_json::from_str::<Request>(&json) {
                    let written = serde_json::to_string(&request).unwrap();
                    assert_eq!(serde_json::from_str::<Request>(&written).unwrap(), request);
                }
            });
    }
}
