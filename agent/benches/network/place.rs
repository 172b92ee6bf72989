//! Network namespaces, and what is done inside of them.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use weir_sys::netns;

use crate::ground;

/// A network namespace. It lives as long as this, and the sockets that were made inside.
#[derive(Debug)]
pub(crate) struct Place {
    netns: OwnedFd,
    /// The cgroup that whatever is done here is done in.
    cgroup: Option<PathBuf>,
}

impl Place {
    /// Makes one in which loopback is up.
    ///
    /// Without IPv6, which sends messages on its own account; [`Self::with_ipv6`] keeps it.
    pub(crate) fn new() -> Result<Self> {
        let place = Self::with_ipv6()?;
        for which in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
            place.run(|| match fs::write(&path, "1") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            })??;
        }
        Ok(place)
    }

    /// Makes one in which loopback is up.
    pub(crate) fn with_ipv6() -> Result<Self> {
        let (netns, ()) = netns::create(|| ()).context("cannot make a network namespace")?;
        let place = Self {
            netns,
            cgroup: None,
        };
        place.ip("link set lo up")?;
        Ok(place)
    }

    /// Takes the namespace of a container, whose work is done in a cgroup of threads.
    pub(crate) fn of_container(netns: OwnedFd, cgroup: PathBuf) -> Self {
        Self {
            netns,
            cgroup: Some(cgroup),
        }
    }

    /// Runs a closure inside, in a thread of its own.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        netns::enter(self.netns.as_fd(), || {
            if let Some(cgroup) = &self.cgroup {
                ground::join(&cgroup.join("cgroup.threads"))?;
            }
            Ok(work())
        })
        .context("cannot enter a network namespace")?
    }

    /// Runs `ip` with these words.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
        self.command("ip", words, "").map(drop)
    }

    /// Runs a command with these words and this input, and returns what it wrote.
    pub(crate) fn command(&self, program: &str, words: &str, input: &str) -> Result<String> {
        let started = self.run(|| {
            Command::new(program)
                .args(words.split_whitespace())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        })?;
        let mut child = started
            .with_context(|| format!("cannot run {program}, which `cargo xtask setup` installs"))?;
        // Its own complaint says more than a pipe that it closed.
        drop(
            child
                .stdin
                .take()
                .map(|mut stdin| stdin.write_all(input.as_bytes())),
        );
        let output = child
            .wait_with_output()
            .with_context(|| format!("cannot wait for {program}"))?;
        if !output.status.success() {
            bail!(
                "{program} {words}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a file of `/proc/sys` as this namespace has it.
    pub(crate) fn write_setting(&self, path: &str, value: &str) -> Result<()> {
        self.run(|| fs::write(format!("/proc/sys/{path}"), value))?
            .with_context(|| format!("cannot set {path} to {value}"))
    }

    /// Joins this place to another by a pair of interfaces, both up. `more` are words for this end
    /// of the pair, `other_more` for the other.
    pub(crate) fn join(
        &self,
        (name, more): (&str, &str),
        other: &Self,
        (other_name, other_more): (&str, &str),
    ) -> Result<()> {
        let path = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            other.netns.as_raw_fd()
        );
        self.ip(&format!(
            "link add {name} {more} type veth peer name {other_name} {other_more} netns {path}"
        ))?;
        self.ip(&format!("link set {name} up"))?;
        other.ip(&format!("link set {other_name} up"))
    }

    /// Returns the hardware address of an interface.
    pub(crate) fn hardware_address(&self, name: &str) -> Result<String> {
        let line = self.command("ip", &format!("-oneline link show dev {name}"), "")?;
        let mut words = line.split_whitespace();
        words
            .find(|word| *word == "link/ether")
            .and_then(|_| words.next())
            .map(str::to_owned)
            .with_context(|| format!("{name} has no hardware address"))
    }
}
