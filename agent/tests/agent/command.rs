//! The command line as its user runs it, and what it answers.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use weir_agent::container::{ContainerView, State};
use weir_executor::record::Outcome;

use crate::node::{DEADLINE, NODE_V4, Node, address, eventually, hear, programs};

/// How a command ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let status = output.status;
        Self {
            code: status
                .code()
                .unwrap_or_else(|| -status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns what went to stdout, of a command that did what it was asked.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Checks that it was refused, and returns what was said of it.
    pub(crate) fn refused(self) -> String {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.stdout, "", "talk goes to stderr");
        self.stderr
    }
}

impl Node {
    /// Returns a command of `weir-agent` that speaks to this node's daemon.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(programs().join("weir-agent"));
        command
            .arg("--socket")
            .arg(self.socket())
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of `weir-agent`.
    pub(crate) fn weir(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        Said::of(&self.on_node(|| command.output()).unwrap())
    }

    /// Runs a command that reads the configuration itself: `doctor`, `cleanup`, `check-config`.
    pub(crate) fn weir_here(&self, words: &[&str]) -> Said {
        let config = self.config().display().to_string();
        self.weir(&[words, &["--config", &config]].concat())
    }

    /// Runs a container to its end, and returns what it and the command said.
    pub(crate) fn exec(&self, options: &[&str], argv: &[&str]) -> Said {
        self.weir(&[&["exec"], options, &["--"], argv].concat())
    }

    /// Starts a container that goes on.
    pub(crate) fn start_container(&self, options: &[&str], argv: &[&str]) -> ContainerView {
        let json = self
            .exec(&[options, &["--detach", "--json"]].concat(), argv)
            .ok();
        serde_json::from_str(&json).unwrap()
    }

    /// Starts a container that says its name to whoever connects to one of its ports.
    pub(crate) fn start_server(&self, name: &str, port: u16) -> ContainerView {
        // A number below 1024 alone would be a count.
        let ports = format!("{port}-{port}");
        let view = self.start_container(&["--name", name, "--ports", &ports], &server(port));
        self.wait_serving(name, port);
        view
    }

    /// Waits until a server of [`Self::start_server`] answers the wire.
    pub(crate) fn wait_serving(&self, name: &str, port: u16) {
        eventually(&format!("{name} serves on {port}"), || {
            self.serves(name, port).then_some(())
        });
    }

    /// Returns whether a server of [`Self::start_server`] answers the wire.
    pub(crate) fn serves(&self, name: &str, port: u16) -> bool {
        let said = self.on_wire(|| hear(address(NODE_V4, port)));
        said.is_ok_and(|said| said.trim() == name)
    }

    /// Returns the containers that have not ended, or all of them.
    pub(crate) fn containers(&self, all: bool) -> Vec<ContainerView> {
        let words: &[&str] = if all {
            &["ps", "--json", "--all"]
        } else {
            &["ps", "--json"]
        };
        serde_json::from_str(&self.weir(words).ok()).unwrap()
    }

    /// Returns the last container of this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<ContainerView> {
        self.containers(true)
            .into_iter()
            .rfind(|view| view.name.as_str() == name)
    }

    /// Waits until the last container of this name has ended, and returns how.
    pub(crate) fn wait_ended(&self, name: &str) -> Outcome {
        eventually(&format!("{name} has ended"), || {
            match self.find(name)?.state {
                State::Ended { outcome, .. } => Some(outcome),
                State::Starting | State::Running { .. } | State::Ending { .. } => None,
            }
        })
    }

    /// Kills all containers, and waits until they have ended.
    pub(crate) fn kill_all(&self) {
        for view in self.containers(false) {
            // It may have ended by itself in between.
            let said = self.weir(&["kill", "--signal", "KILL", view.id.as_str()]);
            assert!(matches!(said.code, 0 | 2), "{said:?}");
        }
        eventually("all containers have ended", || {
            self.containers(false).is_empty().then_some(())
        });
    }

    /// Waits until a container has written this to its stdout.
    pub(crate) fn wait_output(&self, view: &ContainerView, text: &str) {
        let path = view.directory.join("stdout");
        eventually(&format!("{} has written {text:?}", view.name), || {
            std::fs::read_to_string(&path)
                .is_ok_and(|all| all.contains(text))
                .then_some(())
        });
    }
}

/// The command of a server that says its name to whoever connects, on IPv4 and IPv6.
pub(crate) fn server(port: u16) -> [&'static str; 3] {
    // It lives as long as the tests.
    let script = format!(
        "exec socat TCP6-LISTEN:{port},ipv6only=0,reuseaddr,fork SYSTEM:'echo $WEIR_CONTAINER_NAME'"
    );
    ["sh", "-c", script.leak()]
}

/// Waits until a file is there.
pub(crate) fn wait_file(path: &Path) {
    eventually(&format!("{} is there", path.display()), || {
        path.exists().then_some(())
    });
}

/// Returns whether a view is of a container that runs.
pub(crate) fn is_running(view: &ContainerView) -> bool {
    matches!(view.state, State::Running { .. })
}

/// Returns the executor's and the init's process ids of a running container.
pub(crate) fn pids(view: &ContainerView) -> (i32, i32) {
    match view.state {
        State::Running {
            executor_pid,
            init_pid,
            ..
        } => (executor_pid.cast_signed(), init_pid.cast_signed()),
        State::Starting | State::Ending { .. } | State::Ended { .. } => {
            panic!("{} does not run: {:?}", view.name, view.state)
        }
    }
}

/// Waits for a child, and returns what it said.
pub(crate) fn wait_for(mut child: std::process::Child) -> Said {
    let end = std::time::Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > end {
            drop(child.kill());
            panic!("it does not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Said::of(&child.wait_with_output().unwrap())
}
