//! What does not concern the network's programs.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{Pid, geteuid};
use weir_sys::cgroup::Cgroup;
use weir_sys::pidfd;

use super::Check;
use crate::config::{CgroupConfig, Config};
use crate::container::{cgroup_root, chain, read_ports_in_use};
use crate::daemon::{executor_path, plan_ports};

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![root(), kernel()];
    checks.extend(cgroups(&config.cgroup));
    checks.extend([
        pidfds(),
        executor(config),
        state_directory(&config.agent.state_directory),
        ports(config),
        ports_in_use(config),
    ]);
    checks
}

fn root() -> Check {
    match geteuid().as_raw() {
        0 => Check::ok("root", "uid 0"),
        uid => Check::missing(
            "root",
            format!("uid {uid}"),
            "namespaces, cgroups and programs cannot be made; other checks may be wrong: run it as root",
        ),
    }
}

/// 5.15 has what containers are made of: clone3 into a cgroup (5.7), pidfds (5.3), `cgroup.kill`
/// (5.14), recursive mount attributes (5.12), and namespace cookies at every hook (5.15).
fn kernel() -> Check {
    const NAME: &str = "kernel";
    const LEAST: (u32, u32) = (5, 15);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match parse_release(release) {
        Some(version) if version >= LEAST => Check::ok(NAME, release),
        Some(_) => Check::missing(
            NAME,
            format!("{release}, older than {}.{}", LEAST.0, LEAST.1),
            "containers cannot be made; install a newer kernel",
        ),
        None => Check::degraded(
            NAME,
            format!("`{release}` is not a version"),
            "nothing is known of it",
        ),
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn cgroups(config: &CgroupConfig) -> Vec<Check> {
    const NAME: &str = "cgroup v2";
    let root = match cgroup_root(config) {
        Ok(root) => root,
        Err(error) => {
            return vec![Check::missing(
                NAME,
                chain(&error),
                "no container can be kept apart",
            )];
        }
    };
    let cgroup = match Cgroup::open(&root) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            let remedy = "no container can be kept apart; set [cgroup] root to where it is mounted";
            return vec![Check::missing(NAME, chain(&error), remedy)];
        }
    };
    let mut checks = vec![Check::ok(NAME, root.display().to_string())];
    let controllers = cgroup.controllers().unwrap_or_default();
    for (name, option) in [("cpu", "--cpus"), ("memory", "--mem")] {
        let label = if name == "cpu" {
            "cpu controller"
        } else {
            "memory controller"
        };
        checks.push(if controllers.iter().any(|found| found == name) {
            Check::ok(label, "in cgroup v2")
        } else {
            let lost = if config.allow_unenforced_limits {
                format!("{option} is taken and not enforced, as the configuration allows")
            } else {
                format!("{option} is refused; boot with the controller in cgroup v2")
            };
            Check::degraded(label, "not in cgroup v2", lost)
        });
    }
    checks.push(kill_file(&cgroup));
    checks
}

/// The root has no `cgroup.kill`: every other cgroup has.
fn kill_file(root: &Cgroup) -> Check {
    const NAME: &str = "cgroup.kill";
    let child = root
        .children()
        .ok()
        .and_then(|children| children.into_iter().next());
    match child {
        Some(child) if child.path().join("cgroup.kill").exists() => Check::ok(NAME, "there"),
        Some(_) => Check::degraded(
            NAME,
            "not there (Linux 5.14)",
            "containers are killed process by process, which takes longer",
        ),
        None => Check::ok(NAME, "no cgroup to look into yet; it comes with Linux 5.14"),
    }
}

fn pidfds() -> Check {
    const NAME: &str = "pidfd";
    let held = pidfd::open(Pid::this());
    match held.and_then(|held| pidfd::wait_ended(held.as_fd(), Some(Duration::ZERO))) {
        Ok(_) => Check::ok(NAME, "there"),
        Err(error) => Check::missing(NAME, chain(&error), "containers cannot be supervised"),
    }
}

fn executor(config: &Config) -> Check {
    match executor_path(config) {
        Ok(path) => Check::ok("executor", path.display().to_string()),
        Err(error) => Check::missing("executor", error.to_string(), "no container can be started"),
    }
}

fn state_directory(path: &Path) -> Check {
    const NAME: &str = "state directory";
    // The nearest that is there: the agent makes the rest.
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    let there = there.unwrap_or_else(|| Path::new("/"));
    match statfs(there) {
        Ok(found) if found.filesystem_type() == TMPFS_MAGIC => Check::degraded(
            NAME,
            format!("{} is in memory", path.display()),
            "a reboot loses what is known of containers; use a disk",
        ),
        Ok(found) => {
            let free = found.blocks_available() * u64::try_from(found.block_size()).unwrap_or(0);
            Check::ok(NAME, format!("{}, {} MiB free", path.display(), free >> 20))
        }
        Err(errno) => Check::missing(
            NAME,
            format!("{}: {errno}", path.display()),
            "nothing can be kept; set [agent] state_directory",
        ),
    }
}

fn ports(config: &Config) -> Check {
    match plan_ports(&config.network) {
        Ok(plan) => Check::ok("port plan", plan.to_string().trim_end().to_owned()),
        Err(error) => Check::missing("port plan", chain(&error), "no container can get ports"),
    }
}

pub(super) fn ports_in_use(config: &Config) -> Check {
    const NAME: &str = "ports in use";
    let pools = config.network.checked_pools();
    match read_ports_in_use() {
        Ok(in_use) => {
            let common = in_use.intersect(&pools.lent());
            if common.is_empty() {
                return Check::ok(NAME, "none of the pools'");
            }
            let blocks = pools
                .blocks()
                .filter(|block| !common.is_disjoint_from_range(*block));
            Check::degraded(
                NAME,
                format!("processes of the node use {common}"),
                format!(
                    "these ports, and {} ephemeral blocks around them, are not given to containers \
                     while they are in use",
                    blocks.count()
                ),
            )
        }
        Err(error) => Check::degraded(
            NAME,
            error.to_string(),
            "a container may be given a port in use",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Report, Status};

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(parse_release("6.18.44-fc"), Some((6, 18)));
        assert_eq!(parse_release("5.4"), Some((5, 4)));
        assert_eq!(parse_release("linux"), None);
        assert!((5, 14) > parse_release("5.4.0").unwrap());
    }

    #[test]
    fn any_release_is_a_version_or_none() {
        bolero::check!()
            .with_type::<(String, u32, u32)>()
            .with_iterations(1000)
            .for_each(|(text, major, minor)| {
                parse_release(text);
                for suffix in ["", ".7", "-rc1", "-generic", ".0+"] {
                    let release = format!("{major}.{minor}{suffix}");
                    assert_eq!(parse_release(&release), Some((*major, *minor)));
                }
            });
    }

    #[test]
    fn one_missing_thing_makes_a_node_unready() {
        let ok = || Check::ok("a", "");
        assert!(Report::new(vec![ok(), Check::degraded("b", "", "")]).ready);
        assert!(!Report::new(vec![ok(), Check::missing("b", "", "")]).ready);
    }

    #[test]
    fn every_check_that_is_not_ok_says_what_is_lost() {
        for check in checks(&Config::default()) {
            assert_eq!(
                check.lost.is_empty(),
                check.status == Status::Ok,
                "{check:?}"
            );
        }
    }
}
