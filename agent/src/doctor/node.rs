//! What does not concern the network's programs.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{Pid, geteuid, gettid};
use weir_sys::cgroup::Cgroup;
use weir_sys::pidfd;

use super::{Check, Feature};
use crate::config::{CgroupConfig, Config};
use crate::container::{Place, chain, read_ports_in_use};
use crate::daemon::{DATABASE_FILE, executor_path, plan_ports};
use crate::store;

/// Where sd_booted(3) looks.
const SYSTEMD: &str = "/run/systemd/system";

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![root(), kernel()];
    checks.extend(cgroups(&config.cgroup));
    checks.extend([
        pidfds(),
        executor(config),
        state_directory(&config.agent.state_directory),
        database(&config.agent.state_directory),
        ports(config),
        ports_in_use(config),
    ]);
    checks
}

fn root() -> Check {
    const ROOT: Feature = Feature::new(
        "root",
        "making namespaces and cgroups, and loading programs into the kernel",
    );
    match geteuid().as_raw() {
        0 => ROOT.ok("uid 0"),
        uid => ROOT.missing(
            format!("uid {uid}"),
            "namespaces, cgroups and programs cannot be made; other checks may be wrong: run it as root",
        ),
    }
}

/// 5.15 has what containers are made of: clone3 into a cgroup (5.7), pidfds (5.3), `cgroup.kill`
/// (5.14), recursive mount attributes (5.12), and namespace cookies at every hook (5.15).
fn kernel() -> Check {
    const KERNEL: Feature = Feature::new(
        "kernel",
        "what containers are made of, and what keeps them apart",
    );
    const LEAST: (u32, u32) = (5, 15);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match parse_release(release) {
        Some(version) if version >= LEAST => KERNEL.ok(release),
        Some(_) => KERNEL.missing(
            format!("{release}, older than {}.{}", LEAST.0, LEAST.1),
            "containers cannot be made; install a newer kernel",
        ),
        None => KERNEL.degraded(
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
    const CGROUPS: Feature = Feature::new(
        "cgroup v2",
        "holding each container's processes together: to count, limit and kill them, and to attach programs to them",
    );
    const CPU: Feature = Feature::new("cpu controller", "holding containers to their --cpus");
    const MEMORY: Feature = Feature::new(
        "memory controller",
        "holding containers to their --mem, and counting their memory",
    );
    const PIDS: Feature = Feature::new(
        "pids controller",
        "keeping a container from taking all of the node's processes",
    );
    const IO: Feature = Feature::new("io controller", "holding containers to their --io-max");
    let place = match Place::find(config) {
        Ok(place) => place,
        Err(error) => {
            return vec![CGROUPS.missing(chain(&error), "no container can be kept apart")];
        }
    };
    let root = &place.root;
    let cgroup = match Cgroup::open(root) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            let remedy = "no container can be kept apart; set [cgroup] root to where it is mounted";
            return vec![CGROUPS.missing(chain(&error), remedy)];
        }
    };
    let mut checks = vec![match cgroup.name() {
        Ok(name) if name == Path::new("/") => CGROUPS.ok(root.display().to_string()),
        Ok(name) => CGROUPS.degraded(
            format!("{} is {} of the hierarchy", root.display(), name.display()),
            "processes outside of it may bind containers' ports, and do not reach containers through 127.0.0.1; set [cgroup] root to where cgroup v2 is mounted",
        ),
        Err(error) => CGROUPS.missing(chain(&error), "containers cannot be told from the node"),
    }];
    let (from, controllers) = place.controllers().unwrap_or_default();
    // What containers lose that asked for nothing stands behind.
    for (feature, name, option, for_all) in [
        (CPU, "cpu", "--cpus", ""),
        (MEMORY, "memory", "--mem", ""),
        (
            PIDS,
            "pids",
            "--pids",
            ", and [container] pids_max holds nobody: one container can take all processes of the node",
        ),
        (IO, "io", "--io-max", ""),
    ] {
        checks.push(if controllers.iter().any(|found| found == name) {
            feature.ok("in cgroup v2")
        } else {
            let lost = if config.allow_unenforced_limits {
                format!("{option} is taken and not enforced, as the configuration allows")
            } else if from == *root {
                format!("{option} is refused; boot with the controller in cgroup v2")
            } else {
                format!("{option} is refused; Delegate=yes of its unit has systemd leave it to that cgroup")
            };
            let detail = format!("does not come down from {}", from.display());
            feature.degraded(detail, lost + for_all)
        });
    }
    let sample = Sample::find(root, &place.parent);
    if let Ok(sample) = &sample {
        checks.extend(refinements(&sample.path, &controllers));
    }
    checks.push(delegation(&place));
    checks.push(kill_file(root, sample));
    checks
}

/// A cgroup to look into: where containers are or will be, or one that is made to look and taken away.
///
/// The root of the hierarchy lacks files that every other cgroup has, whatever the kernel.
struct Sample {
    path: PathBuf,
    made: bool,
}

impl Sample {
    fn find(root: &Path, parent: &Path) -> io::Result<Self> {
        let below = |path: &&Path| path.starts_with(root) && *path != root;
        let there = parent
            .ancestors()
            .take_while(below)
            .find(|path| path.exists());
        if let Some(path) = there {
            let path = path.to_owned();
            return Ok(Self { path, made: false });
        }
        let path = root.join(format!("weir-doctor-{}", gettid()));
        fs::create_dir(&path)?;
        Ok(Self { path, made: true })
    }

    /// Leaves the hierarchy as it was.
    fn close(self) -> io::Result<()> {
        if self.made {
            fs::remove_dir(&self.path)?;
        }
        Ok(())
    }
}

/// Says what of the memory and io controllers this kernel has. There is nothing to say where neither acts.
fn refinements(sample: &Path, controllers: &[String]) -> Vec<Check> {
    const SWAP: Feature = Feature::new(
        "swap by cgroup",
        "making --mem a limit of all memory, whether in RAM or swapped out",
    );
    const WEIGHTS: Feature = Feature::new(
        "weights of disks",
        "dividing disks by --io-weight, and leaving revocable tasks the rest",
    );
    let Ok(cgroup) = Cgroup::open(sample) else {
        return vec![];
    };
    // A controller may be there for the agent to pass on, and not act where it is looked.
    let acts =
        |name, file| controllers.iter().any(|found| found == name) && sample.join(file).exists();
    let mut checks = vec![];
    if acts("memory", "memory.max") {
        checks.push(if cgroup.limits_swap() {
            SWAP.ok("memory.swap.max")
        } else {
            SWAP.degraded(
                "no memory.swap.max: the kernel has no swap, or does not count it",
                "--swap cannot be enforced; if there is swap, what a container with --mem has in it is not limited",
            )
        });
    }
    if acts("io", "io.max") {
        checks.push(if cgroup.weighs_io() {
            WEIGHTS.ok("offered; they count on a disk whose scheduler is BFQ, or for which iocost is on")
        } else {
            WEIGHTS.degraded(
                "neither io.weight nor io.bfq.weight",
                "--io-weight cannot be enforced, and revocable tasks use disks as all do; `modprobe bfq` and restart the agent",
            )
        });
    }
    checks
}

/// Says where containers' cgroups are, and whether systemd leaves them alone there.
fn delegation(place: &Place) -> Check {
    const PARENT: Feature = Feature::new(
        "containers' cgroup",
        "having a part of the hierarchy that nobody else divides",
    );
    let parent = place.parent.display();
    match &place.delegated {
        Some(delegated) => PARENT.ok(format!(
            "{parent}, in {} which systemd delegates",
            delegated.display()
        )),
        None if Path::new(SYSTEMD).exists() => PARENT.degraded(
            format!("{parent}, which systemd takes for its own"),
            "it may move containers or undo limits when its units change; start weir-containers.service, or have [cgroup] parent \
             in a cgroup of a unit with Delegate=yes",
        ),
        None => PARENT.ok(parent.to_string()),
    }
}

fn kill_file(root: &Path, sample: io::Result<Sample>) -> Check {
    const KILL: Feature = Feature::new(
        "cgroup.kill",
        "ending all processes of a container at one stroke, also while they fork",
    );
    const LOST: &str = "containers are killed process by process, which takes longer";
    let found = sample.and_then(|sample| {
        let found = sample.path.join("cgroup.kill").exists();
        sample.close().map(|()| found)
    });
    match found {
        Ok(true) => KILL.ok("there"),
        Ok(false) => KILL.degraded("not there; it came with 5.14", LOST),
        Err(error) => KILL.degraded(
            format!(
                "cannot make a cgroup in {} to look: {error}",
                root.display()
            ),
            "it is not known; run it as root, where cgroups may be made",
        ),
    }
}

fn pidfds() -> Check {
    const PIDFD: Feature = Feature::new(
        "pidfd",
        "knowing a process for certain, whatever became of its number",
    );
    let held = pidfd::open(Pid::this());
    match held.and_then(|held| pidfd::wait_ended(held.as_fd(), Some(Duration::ZERO))) {
        Ok(_) => PIDFD.ok("there"),
        Err(error) => PIDFD.missing(chain(&error), "containers cannot be supervised"),
    }
}

fn executor(config: &Config) -> Check {
    const EXECUTOR: Feature = Feature::new(
        "executor",
        "being the parent of each container, which outlives the agent",
    );
    match executor_path(config) {
        Ok(path) => EXECUTOR.ok(path.display().to_string()),
        Err(error) => EXECUTOR.missing(error.to_string(), "no container can be started"),
    }
}

fn state_directory(path: &Path) -> Check {
    const STATE: Feature = Feature::new(
        "state directory",
        "keeping what is known of containers, their sandboxes and their output",
    );
    // The nearest that is there: the agent makes the rest.
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    let there = there.unwrap_or_else(|| Path::new("/"));
    match statfs(there) {
        Ok(found) if found.filesystem_type() == TMPFS_MAGIC => STATE.degraded(
            format!("{} is in memory", path.display()),
            "a reboot loses what is known of containers; use a disk",
        ),
        Ok(found) => {
            let free = found.blocks_available() * u64::try_from(found.block_size()).unwrap_or(0);
            STATE.ok(format!("{}, {} MiB free", path.display(), free >> 20))
        }
        Err(errno) => STATE.missing(
            format!("{}: {errno}", path.display()),
            "nothing can be kept; set [agent] state_directory",
        ),
    }
}

fn database(directory: &Path) -> Check {
    const DATABASE: Feature = Feature::new(
        "database",
        "remembering containers, reservations and volumes",
    );
    let path = directory.join(DATABASE_FILE);
    match store::examine(&path) {
        Ok(()) if path.exists() => DATABASE.ok(path.display().to_string()),
        Ok(()) => DATABASE.ok(format!("{} will be made", path.display())),
        Err(error) => DATABASE.missing(chain(&error), "the agent does not start"),
    }
}

fn ports(config: &Config) -> Check {
    const PLAN: Feature = Feature::new(
        "port plan",
        "dividing the node's ports between its containers and itself",
    );
    match plan_ports(config) {
        Ok(plan) => PLAN.ok(plan.to_string()),
        Err(error) => PLAN.missing(chain(&error), "no container can get ports"),
    }
}

pub(super) fn ports_in_use(config: &Config) -> Check {
    const IN_USE: Feature = Feature::new(
        "ports in use",
        "keeping from containers what the node itself listens on or connects from",
    );
    let pools = config.network.checked_pools();
    match read_ports_in_use() {
        Ok(in_use) => {
            let common = in_use.intersect(&pools.lent());
            if common.is_empty() {
                return IN_USE.ok("none of the pools'");
            }
            let blocks = pools
                .blocks()
                .filter(|block| !common.is_disjoint_from_range(*block));
            IN_USE.degraded(
                format!("processes of the node use {common}"),
                format!(
                    "these ports, and {} of the ephemeral blocks, are not given to containers \
                     while they are in use",
                    blocks.count()
                ),
            )
        }
        Err(error) => IN_USE.degraded(error.to_string(), "a container may be given a port in use"),
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
        const THING: Feature = Feature::new("a", "is of use");
        let ok = || THING.ok("");
        assert!(Report::new(vec![ok(), THING.degraded("", "")]).ready);
        assert!(!Report::new(vec![ok(), THING.missing("", "")]).ready);
    }

    #[test]
    fn cgroups_are_looked_into_and_left_as_they_were() {
        let root = Place::find(&CgroupConfig::default())
            .expect("this test needs cgroup v2")
            .root;
        let look = |root: &Path, parent: &Path| kill_file(root, Sample::find(root, parent));
        let check = look(&root, &root.join("weir-of-nobody/containers"));
        assert_eq!(check.status, Status::Ok, "as root on 5.14: {check:?}");
        assert_eq!(check.detail, "there");
        assert!(!root.join(format!("weir-doctor-{}", gettid())).exists());

        // A directory that is no cgroup has none, wherever it is looked for.
        let plain = tempfile::tempdir().unwrap();
        let check = look(plain.path(), &plain.path().join("weir"));
        assert_eq!(check.status, Status::Degraded, "{check:?}");
        assert!(fs::read_dir(plain.path()).unwrap().next().is_none());
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
