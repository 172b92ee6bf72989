//! What each container gets, measured while one watches.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Ending;
use crate::interrupt::Interrupt;
use crate::node::{Container, Node, Statistics, Traffic};

/// Prints a table every `tick` for as long as `shown`, or until Ctrl-C.
pub(super) fn show(
    node: Node,
    interrupt: &Interrupt,
    shown: Duration,
    tick: Duration,
) -> Result<Ending> {
    let end = Instant::now() + shown;
    let mut before = (Instant::now(), node.statistics()?);
    while Instant::now() < end {
        if interrupt.wait(tick) {
            return Ok(Ending::Interrupted);
        }
        let after = (Instant::now(), node.statistics()?);
        let seconds = after.0.duration_since(before.0).as_secs_f64();
        print(&node.containers()?, &before.1, &after.1, seconds);
        before = after;
    }
    Ok(Ending::Shown)
}

fn print(containers: &[Container], before: &Statistics, after: &Statistics, seconds: f64) {
    println!(
        "\n{:<12} {:<13} {:<13} {:>11} {:>11} {:>9} {:>9} {:>7}",
        "CONTAINER",
        "PORTS",
        "EPHEMERAL",
        "IN Mbit/s",
        "OUT Mbit/s",
        "IN pkt/s",
        "OUT pkt/s",
        "REFUSED"
    );
    for usage in after.all() {
        let listed = containers
            .iter()
            .find(|container| container.name == usage.name);
        let ports = listed.map_or("", |container| container.ports.as_str());
        let ephemeral = listed.and_then(|container| container.ephemeral.as_deref());
        let rate = |count: fn(&Traffic) -> u64| {
            let earlier = before
                .of(&usage.name)
                .map_or(0, |earlier| count(&earlier.traffic()));
            per_second(count(&usage.traffic()).saturating_sub(earlier), seconds)
        };
        println!(
            "{:<12} {:<13} {:<13} {:>11.1} {:>11.1} {:>9.0} {:>9.0} {:>7}",
            usage.name,
            ports,
            ephemeral.unwrap_or(""),
            megabits(rate(|traffic| traffic.rx_bytes)),
            megabits(rate(|traffic| traffic.tx_bytes)),
            rate(|traffic| traffic.rx_packets),
            rate(|traffic| traffic.tx_packets),
            usage.refusals(),
        );
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate that people read has three digits"
)]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(0.001)
}

fn megabits(bytes: f64) -> f64 {
    bytes * 8.0 / 1e6
}
