//! What each container gets, measured while one watches.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::screen::{Frame, is_terminal};
use crate::interrupt::Interrupt;
use crate::node::{Node, Statistics, Traffic, Usage};

/// How often a terminal shows new numbers.
const TICK: Duration = Duration::from_secs(1);

/// What all containers had used at one moment.
struct Sample {
    at: Instant,
    statistics: Statistics,
}

impl Sample {
    fn take(node: Node) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            statistics: node.statistics()?,
        })
    }
}

/// Shows for `time` what each container gets in every second, or in a file what each got in all.
pub(super) fn show(node: Node, interrupt: &Interrupt, time: Duration) -> Result<()> {
    let mut before = Sample::take(node)?;
    let end = before.at + time;
    let tick = if is_terminal() { TICK } else { time };
    let mut frame = Frame::default();
    while Instant::now() < end {
        interrupt.pause(tick)?;
        let after = Sample::take(node)?;
        frame.draw(&table(&before, &after));
        before = after;
    }
    Ok(())
}

fn table(before: &Sample, after: &Sample) -> String {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let mut text = format!(
        "  {:<12} {:<12} {:>6} {:>8} {:>10} {:>11} {:>6} {:>8}\n",
        "CONTAINER", "PORTS", "CPU", "MEMORY", "IN Mbit/s", "OUT Mbit/s", "TCP", "RTT"
    );
    for usage in after.statistics.all() {
        // A container that is new had nothing.
        let earlier = before.statistics.of(&usage.name);
        let rate = |count: fn(&Usage) -> u64| {
            let earlier = earlier.map_or(0, count);
            per_second(count(usage).saturating_sub(earlier), seconds)
        };
        let bits = |count: fn(&Traffic) -> u64| {
            let earlier = earlier.map_or(0, |earlier| count(&earlier.traffic()));
            let bytes = count(&usage.traffic()).saturating_sub(earlier);
            per_second(bytes, seconds) * 8.0 / 1e6
        };
        let network = usage.network.as_ref();
        let connections = network.and_then(|network| network.tcp_active);
        let round_trip = network.and_then(|network| network.tcp_rtt.as_ref());
        writeln!(
            text,
            "  {:<12} {:<12} {:>5.0}% {:>4.1} MiB {:>10.1} {:>11.1} {:>6} {:>8}",
            usage.name,
            or_dash(Some(&usage.ports).filter(|ports| !ports.is_empty())),
            rate(Usage::cpu_us) / 1e4,
            mebibytes(usage.memory_bytes),
            bits(|traffic| traffic.rx_bytes),
            bits(|traffic| traffic.tx_bytes),
            or_dash(connections),
            or_dash(round_trip.map(|times| format!("{} us", times.p50_us))),
        )
        .expect("a String takes whatever is written");
    }
    text
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate that people read has three digits"
)]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(0.001)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what people read has three digits"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
