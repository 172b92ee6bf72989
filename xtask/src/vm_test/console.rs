//! What is wrong in the log of a kernel.

/// What a kernel writes when it found a fault in itself.
const FAULTS: [&str; 14] = [
    "WARNING: ",
    "BUG: ",
    "BUG at ",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "kernel stack overflow",
    "rcu_sched self-detected stall",
    "rcu_preempt self-detected stall",
    "detected stalls on CPUs",
    "soft lockup",
    "blocked for more than",
    "unregister_netdevice: waiting for",
    "Out of memory: Killed process",
];

/// How much of a log is shown of a guest that did not come to its end.
const TAIL_LINES: usize = 30;

/// Returns the lines that tell of a fault, each once.
pub(super) fn faults(log: &str) -> Vec<&str> {
    let mut faults: Vec<&str> = Vec::new();
    for line in log.lines().map(str::trim_end) {
        if FAULTS.iter().any(|fault| line.contains(fault)) && !faults.contains(&line) {
            faults.push(line);
        }
    }
    faults
}

/// Returns the end of a log.
pub(super) fn tail(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_and_the_rest_is_not() {
        let log = "[    0.000000] Linux version 6.12\r\n\
                   [    1.0] RETBleed: WARNING without a colon behind\r\n\
                   [    2.0] WARNING: CPU: 0 PID: 12 at net/core/dev.c:1 f+0x1/0x2\r\n\
                   [    2.0] BUG: kernel NULL pointer dereference, address: 0\r\n\
                   [    2.0] BUG: kernel NULL pointer dereference, address: 0\r\n";
        let found = faults(log);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("dev.c:1"));
    }

    #[test]
    fn the_tail_is_the_end() {
        let log: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(tail(&log).first(), Some(&"70"));
        assert_eq!(tail(""), Vec::<&str>::new());
    }
}
