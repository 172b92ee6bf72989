//! Which tests a machine is excused from, and why.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{cgroup, tree, vm_test};

/// Where the excuses are kept.
const FILE: &str = "ci/expected-skips.toml";

/// `ci/expected-skips.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedSkips {
    #[serde(default)]
    skip: Vec<ExpectedSkip>,
}

/// Tests that cannot run where something is not there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSkip {
    /// The name of the test; `*` stands for any text.
    test: String,
    /// What is lost by that.
    reason: String,
    /// What must be missing for the excuse to count: where it is there the test must run.
    missing: Missing,
}

/// What a machine may lack, found out by looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Missing {
    /// The CPU controller of cgroup v2.
    CpuController,
    /// The memory controller of cgroup v2.
    MemoryController,
    /// The io controller of cgroup v2.
    IoController,
    /// The pids controller of cgroup v2.
    PidsController,
    /// tcx, which came with Linux 6.6.
    Tcx,
    /// The kernel's packet filter.
    Nftables,
    /// systemd as the first process.
    Systemd,
    /// Python with what `scheduler/tests/foreign/requirements.txt` names; setup could not get it.
    PythonEnvironment,
    /// What a guest of `ci/kernels.toml` is made of: Debian's mirror did not answer, or has other versions by now; or the
    /// machine is not one that guests run on.
    Guests,
    /// A clock that counts instructions, so that other work does not disturb what is measured: guests of `cargo xtask
    /// vm-test --timing` have it, and are told so.
    CountedClock,
}

impl ExpectedSkips {
    /// Reads the excuses; none are as good as an empty list.
    pub(super) fn read() -> Result<Self> {
        let path = tree::root().join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("cannot understand {FILE}"))
    }

    /// Returns why `test` may be skipped on this machine, if it may.
    pub(super) fn excuse(&self, test: &str) -> Option<&str> {
        self.skip
            .iter()
            .find(|skip| matches(&skip.test, test) && skip.missing.is_missing())
            .map(|skip| skip.reason.as_str())
    }
}

impl Missing {
    fn is_missing(self) -> bool {
        match self {
            Self::CpuController => !has_controller("cpu"),
            Self::MemoryController => !has_controller("memory"),
            Self::IoController => !has_controller("io"),
            Self::PidsController => !has_controller("pids"),
            Self::Tcx => kernel_version().is_some_and(|version| version < (6, 6)),
            Self::Nftables => !Path::new("/proc/sys/net/netfilter").exists(),
            Self::Systemd => !Path::new("/run/systemd/system").exists(),
            Self::Guests => vm_test::lacks_guests(),
            Self::CountedClock => !fs::read_to_string("/proc/cmdline")
                .is_ok_and(|line| line.contains("weir.clock=counted")),
            Self::PythonEnvironment => !tree::python().join("installed.txt").exists(),
        }
    }
}

fn has_controller(name: &str) -> bool {
    cgroup::root()
        .and_then(|root| fs::read_to_string(root.join("cgroup.controllers")).ok())
        .is_some_and(|controllers| controllers.split_ascii_whitespace().any(|one| one == name))
}

fn kernel_version() -> Option<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Returns whether `name` is what `pattern` says, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|index| rest.is_char_boundary(*index))
                .any(|index| matches(after, &rest[index..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*limit*", "memory_limit_is_enforced", true),
            ("*limit", "memory_limit_is_enforced", false),
            ("memory*enforced", "memory_limit_is_enforced", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_shipped_excuses_can_be_read() {
        let skips = ExpectedSkips::read().unwrap();
        assert!(skips.skip.iter().all(|skip| !skip.reason.is_empty()));
    }
}
