//! What is wrong in the log of a kernel.

/// What a kernel writes when it found a fault in itself.
const FAULTS: [&str; 18] = [
    "WARNING: ",
    "BUG: ",
    "BUG at ",
    "Oops",
    // Before 6.10 without the word above.
    "invalid opcode: ",
    "divide error: ",
    "UBSAN: ",
    "Kernel panic",
    "general protection fault",
    "kernel stack overflow",
    "rcu_sched self-detected stall",
    "rcu_preempt self-detected stall",
    "detected stalls on CPUs",
    "detected expedited stalls on CPUs",
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

    /// What 6.12 wrote when somebody wrote `c` to /proc/sysrq-trigger.
    const PANIC: &str = "\
[    2.678849] acpi PNP0A03:00: fail to add MMCONFIG information, can't access extended configuration space under this bridge
[    5.756315] amd_pstate: the _CPC object is not present in SBIOS or ACPI disabled
[   13.266419] Invalid ELF header magic: != ELF
[   13.439779] sysrq: Trigger a crash
[   13.440266] Kernel panic - not syncing: sysrq triggered crash
[   13.441758] CPU: 1 UID: 0 PID: 1 Comm: init Not tainted 6.12.107+deb13-cloud-amd64 #1  Debian 6.12.107-1
[   13.442195] Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3-debian-1.16.3-2~bpo12+1 04/01/2014
[   13.442661] Call Trace:
[   13.443613]  <TASK>
[   13.443847]  dump_stack_lvl+0x5d/0x80
[   13.444296]  panic+0x118/0x2db
[   13.444454]  ? _printk+0x6c/0x87
";

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
    fn of_a_kernel_that_gave_up_it_is_told_why() {
        let found = faults(PANIC);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("Kernel panic - not syncing: sysrq triggered crash"));
    }

    #[test]
    fn the_tail_is_the_end() {
        let log: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(tail(&log).first(), Some(&"70"));
        assert_eq!(tail(""), Vec::<&str>::new());
    }
}
