//! Whether the clock is one to measure with.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::{is_clock_counted, percentile};

/// How often each thing is measured.
const ROUNDS: usize = 200;

/// How many hundredths the slowest of equal works but one in a hundred may take more than the middle one: interrupts of
/// the kernel come in between.
const SPREAD_PERCENT: i64 = 10;

/// How late a sleeper may wake up, but for one in twenty: the guest's kernel has work of its own, and one processor.
const LATE_MAX: Duration = Duration::from_micros(200);

fn work() -> u64 {
    (0..20_000_u64).fold(1, |sum, number| black_box(sum.wrapping_mul(31) ^ number))
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap()
}

#[test]
fn equal_work_takes_equal_time() {
    if !is_clock_counted("equal_work_takes_equal_time") {
        return;
    }
    let mut times: Vec<i64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            black_box(work());
            nanoseconds(begun.elapsed())
        })
        .collect();
    times.sort_unstable();
    let (middle, slow) = (percentile(&times, 50), percentile(&times, 99));
    eprintln!("equal work: {middle} ns, one in a hundred takes {slow} ns");
    assert!(
        slow * 100 <= middle * (100 + SPREAD_PERCENT),
        "{middle} {slow}"
    );
}

#[test]
fn a_sleeper_wakes_up_in_time() {
    if !is_clock_counted("a_sleeper_wakes_up_in_time") {
        return;
    }
    let nap = Duration::from_millis(2);
    let mut late: Vec<i64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            thread::sleep(nap);
            nanoseconds(begun.elapsed()) - nanoseconds(nap)
        })
        .collect();
    late.sort_unstable();
    let (middle, worst) = (percentile(&late, 50), percentile(&late, 95));
    eprintln!("a sleeper is late by {middle} ns, one in twenty by {worst} ns");
    assert!(late[0] >= 0, "{}", late[0]);
    // The kernel adds 50 µs of its own to gather what wakes up together.
    assert!(worst <= nanoseconds(LATE_MAX), "{middle} {worst}");
}
