//! What the kernel writes in the files of a control group.

use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::{CpuStatistics, MemoryEvents, Stalled, Throttling};
use crate::block::DeviceNumber;
use crate::mount::Mounted;

/// Reads `cgroup.events`: whether a process is in the group or below.
pub(super) fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

/// Reads `cgroup.procs`, one number a line.
///
/// The kernel writes 0 for a process that this PID namespace cannot see. That is nobody to send a signal to: kill(2)
/// would take 0 and negative numbers for whole groups, this process's own among them.
pub(super) fn parse_processes(text: &str) -> Vec<Pid> {
    text.lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .map(Pid::from_raw)
        .collect()
}

/// Returns a value of a file of `name value` lines, such as `memory.stat`.
pub(super) fn flat_value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// Reads which devices `io.max` limits, one a line with what is limited behind it.
pub(super) fn parse_limited_devices(text: &str) -> Vec<DeviceNumber> {
    text.lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect()
}

/// Reads `cpu.stat`.
pub(super) fn parse_cpu_statistics(text: &str) -> CpuStatistics {
    let value = |name: &str| flat_value(text, name).unwrap_or(0);
    CpuStatistics {
        usage_us: value("usage_usec"),
        user_us: value("user_usec"),
        system_us: value("system_usec"),
        throttling: parse_throttling(text),
    }
}

/// Reads what `cpu.stat` says beside, where the `cpu` controller acts.
fn parse_throttling(text: &str) -> Option<Throttling> {
    Some(Throttling {
        periods: flat_value(text, "nr_periods")?,
        throttled_periods: flat_value(text, "nr_throttled")?,
        throttled_us: flat_value(text, "throttled_usec")?,
    })
}

/// Reads `memory.events`.
pub(super) fn parse_memory_events(text: &str) -> Option<MemoryEvents> {
    Some(MemoryEvents {
        low: flat_value(text, "low")?,
        high: flat_value(text, "high")?,
        max: flat_value(text, "max")?,
        oom: flat_value(text, "oom")?,
        oom_kill: flat_value(text, "oom_kill")?,
    })
}

/// Reads `cpu.pressure` and its like. The line `full` came to processors with Linux 5.13.
pub(super) fn parse_pressure(text: &str) -> Option<Stalled> {
    let total = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut words = line.split_ascii_whitespace();
        words
            .find_map(|word| word.strip_prefix("total="))?
            .parse()
            .ok()
    };
    Some(Stalled {
        some_us: total("some ")?,
        full_us: total("full ")?,
    })
}

/// Returns what `/proc/<pid>/cgroup` writes for processes in the group at `path`, from the mounts that there are.
///
/// A mount shows the hierarchy from some group on, which is the root of it all or not. Of mounts in each other's place
/// the last is the one that is seen.
pub(super) fn name_at(mounts: &[Mounted], path: &Path) -> Option<PathBuf> {
    let (below, mount) = mounts
        .iter()
        .filter(|mount| mount.kind == "cgroup2")
        .filter_map(|mount| Some((path.strip_prefix(&mount.path).ok()?, mount)))
        .rev()
        .min_by_key(|(below, _)| below.components().count())?;
    // Joining nothing would add a slash.
    Some(mount.root.iter().chain(below).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup2(root: &str, path: &str) -> Mounted {
        Mounted {
            root: root.into(),
            path: path.into(),
            kind: "cgroup2".to_owned(),
        }
    }

    #[test]
    fn a_group_is_named_from_the_root_of_the_hierarchy_wherever_that_is_mounted() {
        let mounts = [
            Mounted {
                kind: "tmpfs".to_owned(),
                ..cgroup2("/", "/sys/fs/cgroup")
            },
            cgroup2("/", "/sys/fs/cgroup/unified"),
            cgroup2("/slice/a", "/mnt/part"),
            cgroup2("/", "/mnt/stack"),
            cgroup2("/slice/b", "/mnt/stack"),
        ];
        let name = |path: &str| name_at(&mounts, Path::new(path));
        for (path, wanted) in [
            ("/sys/fs/cgroup/unified", "/"),
            ("/sys/fs/cgroup/unified/weir", "/weir"),
            ("/sys/fs/cgroup/unified/slice/weir/id", "/slice/weir/id"),
            ("/mnt/part", "/slice/a"),
            ("/mnt/part/weir", "/slice/a/weir"),
            ("/mnt/stack/weir", "/slice/b/weir"),
        ] {
            assert_eq!(name(path).as_deref(), Some(Path::new(wanted)), "{path}");
        }
        assert_eq!(name("/sys/fs/cgroup/unify"), None);
        assert_eq!(name("/sys/fs/cgroup"), None);
    }

    #[test]
    fn no_text_of_the_kernel_names_a_process_group() {
        const PIECES: [&str; 8] = ["\n", "0", "-", "1", "4194304", "2147483648", " ", "max"];
        bolero::check!()
            .with_type::<Vec<u8>>()
            .with_iterations(2000)
            .for_each(|choices| {
                let text: String = choices.iter().map(|b| PIECES[usize::from(b % 8)]).collect();
                let pids = parse_processes(&text);
                assert!(
                    pids.iter().all(|pid| pid.as_raw() > 0),
                    "{text:?}: {pids:?}"
                );
                // What is printed reads back.
                let printed: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
                assert_eq!(parse_processes(&printed), pids);
            });
    }

    #[test]
    fn times_read_back_from_among_any_other_lines() {
        bolero::check!()
            .with_type::<([u64; 3], String, String)>()
            .with_iterations(1000)
            .for_each(|([usage_us, user_us, system_us], before, between)| {
                parse_cpu_statistics(before);
                is_populated(between);
                // The lines of other releases are skipped, whatever they hold: names begin a line, so these do not.
                let foreign = |text: &str| format!("x{}", text.replace('\n', "\nx"));
                let text = format!(
                    "{}\nusage_usec {usage_us}\nuser_usec {user_us}\n{}\nsystem_usec {system_us}\n",
                    foreign(before),
                    foreign(between)
                );
                let expected = CpuStatistics {
                    usage_us: *usage_us,
                    user_us: *user_us,
                    system_us: *system_us,
                    throttling: None,
                };
                assert_eq!(parse_cpu_statistics(&text), expected, "{text:?}");
                // Half of what the controller says is not taken for all of it.
                let text = format!("{text}nr_periods {usage_us}\nnr_throttled {user_us}\n");
                assert_eq!(parse_cpu_statistics(&text).throttling, None, "{text:?}");
                let text = format!("{text}throttled_usec {system_us}\n");
                let expected = Throttling {
                    periods: *usage_us,
                    throttled_periods: *user_us,
                    throttled_us: *system_us,
                };
                assert_eq!(parse_cpu_statistics(&text).throttling, Some(expected));
            });
    }

    #[test]
    fn events_of_memory_read_back_and_never_half_of_them() {
        const NAMES: [&str; 5] = ["low", "high", "max", "oom", "oom_kill"];
        bolero::check!()
            .with_type::<([u64; 5], u8, String)>()
            .with_iterations(1000)
            .for_each(|(values, missing, text)| {
                parse_memory_events(text);
                let printed = |left_out: usize| -> String {
                    let lines = NAMES.iter().zip(values).enumerate();
                    lines
                        .filter(|(index, _)| *index != left_out)
                        .map(|(_, (name, value))| format!("{name} {value}\n"))
                        .chain(["oom_group_kill 3\n".to_owned()])
                        .collect()
                };
                let [low, high, max, oom, oom_kill] = *values;
                let expected = MemoryEvents {
                    low,
                    high,
                    max,
                    oom,
                    oom_kill,
                };
                assert_eq!(parse_memory_events(&printed(NAMES.len())), Some(expected));
                let left_out = usize::from(*missing) % NAMES.len();
                assert_eq!(parse_memory_events(&printed(left_out)), None);
            });
    }

    #[test]
    fn pressure_reads_back_and_never_half_of_it() {
        bolero::check!()
            .with_type::<([u64; 2], String)>()
            .with_iterations(1000)
            .for_each(|([some_us, full_us], text)| {
                parse_pressure(text);
                let some = format!("some avg10=97.30 avg60=0.76 avg300=4.57 total={some_us}\n");
                let full = format!("full avg10=0.00 avg60=0.00 avg300=0.00 total={full_us}\n");
                let expected = Stalled {
                    some_us: *some_us,
                    full_us: *full_us,
                };
                assert_eq!(parse_pressure(&format!("{some}{full}")), Some(expected));
                assert_eq!(parse_pressure(&some), None);
                assert_eq!(parse_pressure(&full), None);
            });
    }

    #[test]
    fn limited_devices_read_back_from_among_any_other_lines() {
        bolero::check!()
            .with_type::<(Vec<(u32, u32)>, String)>()
            .with_iterations(1000)
            .for_each(|(numbers, between)| {
                parse_limited_devices(between);
                let devices: Vec<DeviceNumber> = numbers
                    .iter()
                    .map(|&(major, minor)| DeviceNumber { major, minor })
                    .collect();
                // A line that begins with a letter is no device's, whatever follows.
                let foreign = format!("x{}", between.replace('\n', "\nx"));
                let text: String = devices
                    .iter()
                    .map(|device| {
                        format!("{device} rbps=2097152 wbps=max riops=max wiops=120\n{foreign}\n")
                    })
                    .collect();
                assert_eq!(parse_limited_devices(&text), devices, "{text:?}");
            });
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        assert_eq!(flat_value("anon_thp 1\nanon 2\n", "anon"), Some(2));
        assert_eq!(flat_value("anon_thp 1\n", "anon"), None);
    }
}
