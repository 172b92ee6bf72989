//! Containers that are held to rates, with real packets in real queues.
//!
//! What is measured is how much arrives, never how long a packet takes: that is the bench's. No queue gives more than its rate,
//! however busy the machine; so a test can say what the most is, and of the least only that it is not a fraction.

mod ceilings;
mod load;
mod wire;

use std::collections::BTreeMap;

use weir_agent::container::Bandwidth;
use weir_resources::BitRate;

use crate::lab::{Container, Lab, Place, attachment};

/// Returns what the words ask for: `max=50mbit in=10mbit min=5mbit weight=3`.
fn bandwidth(words: &str) -> Bandwidth {
    let mut bandwidth = Bandwidth::default();
    for word in words.split_whitespace() {
        let (what, amount) = word.split_once('=').unwrap();
        let rate = || Some(amount.parse::<BitRate>().unwrap());
        match what {
            "min" => bandwidth.egress_min = rate(),
            "max" => bandwidth.egress_max = rate(),
            "in" => bandwidth.ingress_max = rate(),
            "weight" => bandwidth.weight = Some(amount.parse().unwrap()),
            other => panic!("{other}"),
        }
    }
    bandwidth
}

/// Joins a container that is held to what the words say.
fn held(lab: &Lab, slot: u32, ports: &str, words: &str) -> Container {
    let mut attachment = attachment(slot, ports);
    attachment.bandwidth = bandwidth(words);
    lab.join_container(attachment)
}

/// Nothing was lost, and nothing overtook: what was sent again is what TCP sends to be sure, where the first answers took longer than the
/// handshake.
fn assert_few(retransmits: u64) {
    assert!(retransmits < 20, "{retransmits} segments were sent again");
}

/// How many packets Weir's queue at an interface had no place for.
fn dropped(place: &Place, interface: &str) -> u64 {
    classes(place, interface).values().map(|c| c.dropped).sum()
}

/// What one class of an interface has sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    bytes: u64,
    packets: u64,
    dropped: u64,
}

/// Reads the classes of Weir's queue at an interface, by number.
fn classes(place: &Place, interface: &str) -> BTreeMap<u32, Sent> {
    let text = place.command("tc", &format!("-s class show dev {interface}"));
    let mut classes = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("class htb 5745:") else {
            continue;
        };
        let minor = u32::from_str_radix(rest.split(' ').next().unwrap(), 16).unwrap();
        let counts: Vec<u64> = lines
            .next()
            .unwrap()
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        classes.insert(
            minor,
            Sent {
                bytes: counts[0],
                packets: counts[1],
                dropped: counts[2],
            },
        );
    }
    classes
}
