//! How data is shown to people.

use weir_executor::record::Outcome;
use weir_executor::spec::NetworkMode;

use super::table::Table;
use crate::container::{Bandwidth, ContainerView, State};
use crate::doctor::{Report, Status};
use crate::ports::UnixMs;
use crate::telemetry::{ContainerStatistics, MemorySource};

/// The longest command in a table: the end of a longer one is in `--json`.
const COMMAND_CHARS_MAX: usize = 40;

/// Shows containers as `ps` does.
pub(super) fn containers(views: &[ContainerView], now: UnixMs) -> String {
    let mut table = Table::new([
        "NAME", "ID", "STATE", "NETWORK", "PORTS", "USER", "LIMITS", "TASK", "COMMAND",
    ]);
    for view in views {
        table.push([
            view.name.to_string(),
            view.id.to_string(),
            state(&view.state, now),
            network(view.network).to_owned(),
            or_dash(view.ports.to_string()),
            view.user.clone(),
            limits(&view.limits, view.unenforced),
            or_dash(view.task.as_ref().map_or_else(String::new, |task| {
                format!("{}/{}", task.framework, task.task)
            })),
            command(&view.argv),
        ]);
    }
    table.render()
}

/// Shows statistics as `stats` does.
pub(super) fn statistics(statistics: &[ContainerStatistics]) -> String {
    let mut table = Table::new([
        "NAME",
        "CPU",
        "MEMORY",
        "PROCS",
        "RECEIVED",
        "SENT",
        "DROPPED",
        "REFUSED",
        "TCP",
        "RTT P50/P99",
        "LIMITS",
    ]);
    for container in statistics {
        let network = container.network.as_ref();
        let traffic = network.map(|network| &network.traffic);
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let cpu_us = container.cpu_user_us + container.cpu_system_us;
        let memory = match container.memory_source {
            MemorySource::Cgroup => bytes(container.memory_bytes),
            MemorySource::Processes => format!("{} anon", bytes(container.memory_bytes)),
        };
        let drops = traffic.map(|traffic| traffic.rx_drops.total() + traffic.tx_drops.total());
        table.push([
            container.name.to_string(),
            format!("{}.{:02}s", cpu_us / 1_000_000, cpu_us % 1_000_000 / 10_000),
            memory,
            container.processes.to_string(),
            text(traffic.map(|traffic| bytes(traffic.rx_bytes))),
            text(traffic.map(|traffic| bytes(traffic.tx_bytes))),
            text(drops.map(|drops| drops.to_string())),
            text(network.map(|network| network.binds_refused.to_string())),
            text(
                network
                    .and_then(|network| network.tcp_active)
                    .map(|count| count.to_string()),
            ),
            text(
                network
                    .and_then(|network| network.tcp_rtt)
                    .map(|rtt| format!("{}/{}", duration_us(rtt.p50_us), duration_us(rtt.p99_us))),
            ),
            limits(&container.limits, container.unenforced),
        ]);
    }
    table.render()
}

/// Shows what `doctor` found.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let mut lines = check.detail.lines();
        let first = lines.next().unwrap_or_default();
        text.push_str(&format!("{:8}  {}: {first}\n", check.status, check.name));
        for line in lines {
            text.push_str(&format!("          {line}\n"));
        }
        text.push_str(&format!("          for: {}\n", check.purpose));
        if !check.lost.is_empty() {
            text.push_str(&format!("          lost: {}\n", check.lost));
        }
    }
    let degraded = report
        .checks
        .iter()
        .filter(|check| check.status == Status::Degraded)
        .count();
    let missing = report
        .checks
        .iter()
        .filter(|check| check.status == Status::Missing)
        .count();
    text.push_str(&match (missing, degraded) {
        (0, 0) => "this node is ready\n".to_owned(),
        (0, degraded) => format!("this node is ready, {degraded} things degraded\n"),
        (missing, _) => format!("this node is NOT ready: {missing} things missing\n"),
    });
    text
}

/// Says how a task ended.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited {code}"),
        Outcome::Signaled {
            signal,
            core_dumped: false,
        } => format!("killed by signal {signal}"),
        Outcome::Signaled {
            signal,
            core_dumped: true,
        } => {
            format!("killed by signal {signal}, core dumped")
        }
        Outcome::OutOfMemory => "killed at its memory limit".to_owned(),
        Outcome::KilledAfterGrace { grace_ms } => format!("killed after {grace_ms} ms of grace"),
        Outcome::ExecFailed { path, what, .. } => format!("not executed: {path}: {what}"),
        Outcome::SetupFailed { reason } => format!("not set up: {reason}"),
        Outcome::Aborted { reason } => format!("aborted: {reason}"),
        Outcome::Lost { reason } => format!("lost: {reason}"),
    }
}

fn state(state: &State, now: UnixMs) -> String {
    match state {
        State::Starting => "starting".to_owned(),
        State::Running { started_at, .. } => format!("running for {}", age(*started_at, now)),
        State::Ending { .. } => "ending".to_owned(),
        State::Ended {
            ended_at,
            outcome: how,
            ..
        } => {
            format!("{}, {} ago", outcome(how), age(*ended_at, now))
        }
    }
}

pub(super) fn limits(limits: &crate::container::Limits, unenforced: bool) -> String {
    // Destructured so that a new limit is a compile error here.
    let crate::container::Limits {
        cpus,
        memory,
        memory_high,
        memory_low,
        swap,
        pids,
        io_weight,
        io_max,
        bandwidth,
    } = limits;
    let mut parts = Vec::new();
    if let Some(cpus) = cpus {
        parts.push(format!("{cpus} cpus"));
    }
    if let Some(memory) = memory {
        parts.push(memory.to_string());
    }
    if let Some(high) = memory_high {
        parts.push(format!("high {high}"));
    }
    if let Some(low) = memory_low {
        parts.push(format!("low {low}"));
    }
    // None is what a limit of memory means.
    if let Some(swap) = swap.filter(|swap| swap.bytes() > 0) {
        parts.push(format!("swap {swap}"));
    }
    if let Some(pids) = pids {
        parts.push(format!("{pids} pids"));
    }
    if let Some(weight) = io_weight {
        parts.push(format!("io weight {weight}"));
    }
    parts.extend(io_max.iter().map(|limit| format!("io {limit}")));
    parts.extend(rates(bandwidth));
    if unenforced {
        parts.push("unenforced".to_owned());
    }
    or_dash(parts.join(" "))
}

fn rates(bandwidth: &Bandwidth) -> Vec<String> {
    // Destructured so that a new limit is a compile error here.
    let Bandwidth {
        egress_min,
        egress_max,
        ingress_max,
        weight,
    } = bandwidth;
    let egress = match (egress_min, egress_max) {
        (None, None) => None,
        (Some(min), None) => Some(format!("egress {min}..")),
        (None, Some(max)) => Some(format!("egress ..{max}")),
        (Some(min), Some(max)) => Some(format!("egress {min}..{max}")),
    };
    let ingress = ingress_max.map(|max| format!("ingress ..{max}"));
    let weight = weight.map(|weight| format!("weight {weight}"));
    [egress, ingress, weight].into_iter().flatten().collect()
}

fn network(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Isolated => "isolated",
        NetworkMode::Host => "host",
    }
}

fn command(argv: &[String]) -> String {
    let words = argv.join(" ");
    if words.chars().count() <= COMMAND_CHARS_MAX {
        return words;
    }
    words
        .chars()
        .take(COMMAND_CHARS_MAX - 1)
        .chain(['…'])
        .collect()
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// Returns the time between two moments in its largest unit.
fn age(since: UnixMs, now: UnixMs) -> String {
    let seconds = now.0.saturating_sub(since.0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn bytes(count: u64) -> String {
    let mut unit = 0;
    while count >> (10 * unit) >= 10 * 1024 && unit < 4 {
        unit += 1;
    }
    format!(
        "{}{}",
        count >> (10 * unit),
        ["B", "K", "M", "G", "T"][unit]
    )
}

fn duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}.{}ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(bytes(0), "0B");
        assert_eq!(bytes(10_239), "10239B");
        assert_eq!(bytes(10_240), "10K");
        assert_eq!(bytes(u64::MAX), "16777215T");
        assert_eq!(duration_us(999), "999us");
        assert_eq!(duration_us(1_250), "1.2ms");
        assert_eq!(age(UnixMs(0), UnixMs(61_000)), "1m");
        assert_eq!(age(UnixMs(5), UnixMs(0)), "0s");
    }

    #[test]
    fn every_limit_is_shown_in_few_words() {
        let all = crate::container::Limits {
            cpus: "2".parse().ok(),
            memory: "64M".parse().ok(),
            memory_high: "48M".parse().ok(),
            memory_low: "16M".parse().ok(),
            swap: "0".parse().ok(),
            pids: "512".parse().ok(),
            io_weight: "50".parse().ok(),
            io_max: vec!["8:0:rbps=1M".parse().unwrap()],
            bandwidth: Bandwidth {
                egress_min: "50mbit".parse().ok(),
                egress_max: "200mbit".parse().ok(),
                ingress_max: "1gbit".parse().ok(),
                weight: "30".parse().ok(),
            },
        };
        assert_eq!(
            limits(&all, false),
            "2 cpus 64M high 48M low 16M 512 pids io weight 50 io 8:0:rbps=1M egress 50mbit..200mbit ingress ..1gbit weight 30"
        );
    }

    #[test]
    fn an_unenforced_limit_says_so() {
        let asked = crate::container::Limits {
            cpus: Some("0.5".parse().unwrap()),
            memory: Some("64M".parse().unwrap()),
            ..crate::container::Limits::default()
        };
        assert_eq!(limits(&asked, true), "0.5 cpus 64M unenforced");
        assert_eq!(limits(&crate::container::Limits::default(), false), "-");
    }

    #[test]
    fn a_report_ends_with_its_sum() {
        use crate::doctor::Feature;
        const ROOT: Feature = Feature::new("root", "making namespaces");
        const CPU: Feature = Feature::new("cpu controller", "holding containers to --cpus");
        let text = report(&Report::new(vec![
            ROOT.ok("uid 0"),
            CPU.degraded("not in cgroup v2", "--cpus is refused"),
        ]));
        assert_eq!(
            text,
            "ok        root: uid 0\n          \
             for: making namespaces\n\
             degraded  cpu controller: not in cgroup v2\n          \
             for: holding containers to --cpus\n          \
             lost: --cpus is refused\n\
             this node is ready, 1 things degraded\n"
        );
    }
}
