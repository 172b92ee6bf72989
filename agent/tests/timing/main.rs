//! What is about time, on a clock that other work on the machine does not disturb.
//!
//! On a real machine the time of a packet is that of everything else that ran meanwhile, so no bound holds that is worth a
//! test. `cargo xtask vm-test --timing` runs these in a guest whose clock counts its own instructions, and says so on the
//! kernel's command line; elsewhere they are skipped. A packet leaves `fq` there 40 µs after its time, and one
//! in a hundred 8 µs later than that.
//!
//! The first test is about the clock itself: where it fails, the others say nothing.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests start programs, as a user would"
)]

mod departure;
mod steadiness;

/// What the kernel is booted with where the clock counts instructions.
const COUNTED: &str = "weir.clock=counted";

/// Returns whether time can be measured here, and says for the test that it cannot.
fn is_clock_counted(test: &str) -> bool {
    let counted = std::fs::read_to_string("/proc/cmdline")
        .is_ok_and(|line| line.split_whitespace().any(|word| word == COUNTED));
    if !counted {
        eprintln!("weir-skip: {test}: the clock of this machine goes on while others work");
    }
    counted
}

/// Returns the value below which these many hundredths of the others are.
fn percentile(sorted: &[i64], percent: usize) -> i64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
