//! Decides how rates are held: pure, from what is asked for and what the wire carries.

use std::collections::BTreeMap;

use weir_abi::{Container, LEAVES, Lane, QUEUE_MAJOR, uplink_class};
use weir_resources::BitRate;

use super::htb::{Bound, Class};
use crate::container::{Bandwidth, ShareWeight};
use crate::network::tables::Way;

/// The class of what goes first in a container's own queue; its bulk leaves follow.
const FIRST_CLASS: u16 = 2;

/// The classes of an uplink that are not containers'.
pub(crate) const TOP: u16 = 1;
const NODE: u16 = 2;
/// What the agent sends to its scheduler: that of [`weir_abi::SESSION_CLASS`].
const SESSION_LEAF: u16 = 3;
/// What is nobody's.
pub(crate) const NODE_LEAF: u16 = 4;

/// The least rate that a class can be assured: HTB takes no zero.
const RATE_MIN: u64 = 1000;

/// The largest frame that a socket hands over at once, and the smallest that is worth it.
const FRAME_MAX: u64 = 65_536;

/// How long the rate is busy with one frame: more would be felt by who shares it.
const FRAME_MS: u64 = 4;

/// One part in so many of each share is not assured but borrowed. On a node with a thousand containers one that comes changes the classes of
/// as many others, at a tenth of a millisecond each.
pub(crate) const MARGIN: u64 = 25;

/// What the node weighs among containers.
const NODE_WEIGHT: u64 = 100;

/// What one unit of weight sends each time that it is its turn, at least: one frame of usual size and its header.
const QUANTUM_MIN: u64 = 1600;
/// And at most: ten such units are one large frame.
const QUANTUM_MAX: u64 = 8000;
/// How long the wire is busy with it in between, in microseconds.
const QUANTUM_US: u64 = 12;

/// The wire, where it is known what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) rate: BitRate,
    pub(crate) node_min: BitRate,
}

/// What all containers together hold of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// The sum of the minima, in bytes per second.
    minima: u64,
    weights: u64,
}

impl Held {
    pub(crate) fn of<'a>(all: impl IntoIterator<Item = &'a Bandwidth>) -> Self {
        all.into_iter()
            .fold(Self::default(), |sum, bandwidth| Self {
                minima: sum.minima + bandwidth.egress_min.map_or(0, BitRate::bytes),
                weights: sum.weights + weight(bandwidth),
            })
    }
}

impl Wire {
    /// Returns what the minima of all containers may be together.
    pub(crate) fn for_containers(&self) -> BitRate {
        let left = self.rate.amount().checked_sub(self.node_min.amount());
        left.and_then(BitRate::from_amount)
            .expect("the node keeps less than there is")
    }

    /// Returns what a container has of the wire while all others want theirs, in bytes per second.
    fn share(&self, bandwidth: &Bandwidth, held: &Held) -> u64 {
        let min = bandwidth.egress_min.map_or(0, BitRate::bytes);
        let rest = self
            .rate
            .bytes()
            .saturating_sub(self.node_min.bytes())
            .saturating_sub(held.minima);
        let part = u128::from(rest) * u128::from(weight(bandwidth))
            / u128::from(held.weights.max(weight(bandwidth)));
        min + u64::try_from(part).unwrap_or(rest)
    }

    /// Returns the classes that every uplink has.
    pub(crate) fn classes(&self) -> Vec<Class> {
        let (rate, min) = (self.rate.bytes(), self.node_min.bytes());
        let inner = |minor, parent, rate| Class {
            minor,
            parent,
            rate,
            ceiling: self.rate.bytes(),
            priority: 0,
            quantum: 0,
            leaf: None,
        };
        let leaf = |minor, priority| Class {
            minor,
            parent: NODE,
            rate: (min / 2).max(RATE_MIN),
            ceiling: rate,
            priority,
            quantum: self.quantum(NODE_WEIGHT),
            leaf: Some(Bound::Packets),
        };
        vec![
            inner(TOP, 0, rate),
            inner(NODE, TOP, min.max(RATE_MIN)),
            leaf(SESSION_LEAF, 0),
            leaf(NODE_LEAF, 1),
        ]
    }

    /// Returns what a container is assured, in bytes per second: its share, and not only its minimum. HTB divides what is assured exactly, and
    /// what is borrowed nearly.
    ///
    /// Less a part, so that a container that comes or goes changes only those whose share it changes by as much: the sum stays below the
    /// whole.
    pub(crate) fn assured(&self, bandwidth: &Bandwidth, held: &Held) -> u64 {
        let min = bandwidth.egress_min.map_or(0, BitRate::bytes);
        let share = self.share(bandwidth, held);
        (share - share / MARGIN).max(min).max(RATE_MIN)
    }

    /// Returns the classes of a container on every uplink.
    pub(crate) fn classes_of(&self, slot: u32, bandwidth: &Bandwidth, assured: u64) -> Vec<Class> {
        let first = minor(uplink_class(slot));
        let whole = self.rate.bytes();
        let ceiling = bandwidth
            .egress_max
            .map_or(whole, |max| max.bytes().min(whole));
        let rate = assured.min(ceiling);
        let leaf = |minor, priority| Class {
            minor,
            parent: first - 1,
            rate: (rate / 2).max(RATE_MIN / 2),
            ceiling,
            priority,
            quantum: self.quantum(weight(bandwidth)),
            leaf: Some(Bound::Packets),
        };
        vec![
            Class {
                minor: first - 1,
                parent: TOP,
                rate,
                ceiling,
                priority: 0,
                quantum: 0,
                leaf: None,
            },
            leaf(first, 0),
            leaf(first + 1, 1),
        ]
    }

    fn quantum(&self, weight: u64) -> u32 {
        let unit = (self.rate.bytes() * QUANTUM_US / 1_000_000).clamp(QUANTUM_MIN, QUANTUM_MAX);
        u32::try_from(unit * weight).expect("weights are small")
    }
}

/// Returns the numbers of a container's classes on every uplink, the innermost first.
pub(crate) fn minors_of(slot: u32) -> [u16; 3] {
    let first = minor(uplink_class(slot));
    [first + 1, first, first - 1]
}

/// Whose a class of an uplink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The agent's own session.
    Session,
    /// Nobody's: the node's.
    Node,
    /// All that a container sends, by slot.
    Container(u32),
    /// What of it goes first.
    First(u32),
    /// What of it waits.
    Bulk(u32),
}

/// Returns whose a class of an uplink is; nothing of those that only have others below.
pub(crate) fn whose(number: u16) -> Option<Whose> {
    match number {
        SESSION_LEAF => return Some(Whose::Session),
        NODE_LEAF => return Some(Whose::Node),
        _ => {}
    }
    let first_of_all = minor(uplink_class(0)) - 1;
    let beyond = u32::from(number.checked_sub(first_of_all)?);
    let each = uplink_class(1) - uplink_class(0);
    let slot = beyond / each;
    match beyond % each {
        0 => Some(Whose::Container(slot)),
        1 => Some(Whose::First(slot)),
        2 => Some(Whose::Bulk(slot)),
        _ => None,
    }
}

fn weight(bandwidth: &Bandwidth) -> u64 {
    u64::from(bandwidth.weight.unwrap_or(ShareWeight::DEFAULT).get())
}

fn minor(class: u32) -> u16 {
    u16::try_from(class & 0xffff).expect("sixteen bits are kept")
}

/// How one container is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold {
    /// What it sends, sorted.
    pub(crate) egress: Lane,
    /// What it receives, sorted.
    pub(crate) ingress: Lane,
    /// The rate of the queue on its own end, if it has one.
    pub(crate) egress_max: Option<BitRate>,
    /// The rate of the queue on the host's end, if it has one.
    pub(crate) ingress_max: Option<BitRate>,
    /// See [`Container::held`].
    pub(crate) flags: u32,
    /// The largest frame that its sockets may hand over.
    pub(crate) frame_max: u32,
}

/// Returns how a container is held beside others. `was_held` is what is in force, see [`Container::held`].
///
/// What was held once stays sorted and queued, without a limit: with the queue would go what waits in it, and without the leaves its order.
pub(crate) fn hold(bandwidth: &Bandwidth, wire: Option<&Wire>, held: &Held, was_held: u32) -> Hold {
    let unlimited = |flag| (was_held & flag != 0).then_some(BitRate::MAX);
    let class = QUEUE_MAJOR << 16 | u32::from(FIRST_CLASS);
    let lane = |rate: BitRate| Lane::new(rate.bytes(), class, LEAVES);
    let mut hold = Hold {
        egress_max: bandwidth
            .egress_max
            .or_else(|| unlimited(Container::EGRESS)),
        ingress_max: bandwidth
            .ingress_max
            .or_else(|| unlimited(Container::INGRESS)),
        frame_max: frame_max(bandwidth, wire),
        ..Hold::default()
    };
    let of_wire = wire.map(|wire| wire.rate);
    if let Some(rate) = bandwidth.egress_max.or(of_wire).or(hold.egress_max) {
        hold.egress = lane(rate);
        hold.flags |= Container::EGRESS;
    }
    if let Some(wire) = wire {
        hold.egress = hold.egress.sharing(wire.share(bandwidth, held));
        hold.flags |= Container::SHARED;
    }
    if let Some(rate) = hold.ingress_max {
        hold.ingress = Lane {
            flags: Lane::DROPS,
            ..lane(rate)
        };
        hold.flags |= Container::INGRESS;
    }
    hold
}

/// A frame is sent as a whole, whatever the rate and whoever waits, and counted by who divides the wire as one: small ones are fair,
/// large ones cost less.
fn frame_max(bandwidth: &Bandwidth, wire: Option<&Wire>) -> u32 {
    let by_rate = bandwidth
        .egress_max
        .map_or(FRAME_MAX, |max| max.bytes() * FRAME_MS / 1000);
    let by_turn = wire.map_or(FRAME_MAX, |wire| u64::from(wire.quantum(weight(bandwidth))));
    let frame = by_rate.min(by_turn).clamp(QUANTUM_MIN, FRAME_MAX);
    u32::try_from(frame).expect("it was clamped")
}

/// Returns the classes of the queue of one lane.
pub(crate) fn lane_classes(way: Way, rate: BitRate, frame_max: u32) -> Vec<Class> {
    let bytes = rate.bytes();
    let bound = match way {
        Way::Out => Bound::Packets,
        Way::In => Bound::Bytes(received_max(bytes)),
    };
    let leaf = |minor, priority, part: u64| Class {
        minor,
        parent: TOP,
        rate: (bytes / part).max(RATE_MIN / 2),
        ceiling: bytes,
        priority,
        quantum: frame_max,
        leaf: Some(bound),
    };
    let leaves = u16::try_from(LEAVES).expect("they are few");
    let bulk = (0..leaves).map(|index| leaf(FIRST_CLASS + 1 + index, 1, 2 * u64::from(LEAVES)));
    let top = Class {
        minor: TOP,
        parent: 0,
        rate: bytes,
        ceiling: bytes,
        priority: 0,
        quantum: 0,
        leaf: None,
    };
    [top, leaf(FIRST_CLASS, 0, 2)]
        .into_iter()
        .chain(bulk)
        .collect()
}

/// What is received may wait for a quarter of a second in each leaf: who sends it is somewhere else, and knows only of what is lost.
fn received_max(bytes_per_second: u64) -> u32 {
    let bytes = (bytes_per_second / 4).max(4 * FRAME_MAX);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What a lane's queue takes that the program has not sorted, as it does before the program is there.
pub(crate) const LANE_DEFAULT: u16 = FIRST_CLASS + 1;

/// Everything that one container has asked for, by slot.
pub(crate) type Asked = BTreeMap<u32, Bandwidth>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use weir_abi::SLOTS_MAX;

    use super::*;

    fn wire() -> Wire {
        Wire {
            rate: "100mbit".parse().unwrap(),
            node_min: "10mbit".parse().unwrap(),
        }
    }

    fn wants(min: &str, weight: u16) -> Bandwidth {
        Bandwidth {
            egress_min: min.parse().ok(),
            weight: ShareWeight::new(weight),
            ..Bandwidth::default()
        }
    }

    #[test]
    fn each_has_its_minimum_and_by_weight_of_the_rest() {
        let all = [wants("10mbit", 1), wants("20mbit", 2), wants("30mbit", 3)];
        let held = Held::of(&all);
        let shares = all.map(|one| wire().share(&one, &held) * 8 / 1_000_000);
        assert_eq!(shares, [15, 30, 45]);
        // Whoever is alone has all but what the node keeps.
        let alone = Held::of(&all[..1]);
        assert_eq!(wire().share(&all[0], &alone) * 8, 90_000_000);
    }

    #[test]
    fn no_two_classes_have_one_number() {
        let mut minors: BTreeSet<u16> = wire().classes().iter().map(|class| class.minor).collect();
        let own = minors.len();
        for slot in 0..SLOTS_MAX {
            let classes = wire().classes_of(slot, &Bandwidth::default(), RATE_MIN);
            let of_slot: BTreeSet<u16> = classes.iter().map(|class| class.minor).collect();
            assert_eq!(of_slot, minors_of(slot).into_iter().collect());
            let owners = minors_of(slot).map(whose);
            let expected = [
                Whose::Bulk(slot),
                Whose::First(slot),
                Whose::Container(slot),
            ];
            assert_eq!(owners, expected.map(Some));
            minors.extend(of_slot);
        }
        assert_eq!(minors.len(), own + 3 * SLOTS_MAX as usize);
        let own = [TOP, NODE, SESSION_LEAF, NODE_LEAF].map(whose);
        assert_eq!(own, [None, None, Some(Whose::Session), Some(Whose::Node)]);
        // The queues of leaves are numbered by them, with the highest bit set.
        assert!(minors.iter().all(|minor| *minor < 0x8000));
    }

    #[test]
    fn who_is_not_limited_has_no_queue_and_who_was_keeps_it() {
        let nobody = Held::default();
        let none = Bandwidth::default();
        assert_eq!(
            hold(&none, None, &nobody, 0),
            Hold {
                frame_max: 65_536,
                ..Hold::default()
            }
        );
        let was = hold(&none, None, &nobody, Container::EGRESS | Container::INGRESS);
        assert_eq!(was.egress_max, Some(BitRate::MAX));
        assert_eq!(was.ingress_max, Some(BitRate::MAX));
        assert!(was.egress.is_sorted() && was.ingress.is_sorted());
        let shared = hold(&none, Some(&wire()), &Held::of([&none]), 0);
        assert_eq!(shared.flags, Container::EGRESS | Container::SHARED);
        assert_eq!(shared.egress_max, None, "the wire is its only limit");
    }

    #[test]
    fn frames_are_as_long_as_the_rate_has_time_for() {
        let frame = |max: &str, weight| {
            let bandwidth = Bandwidth {
                egress_max: max.parse().ok(),
                ..wants("", weight)
            };
            frame_max(&bandwidth, Some(&wire()))
        };
        assert_eq!(frame("1mbit", 10), 1600, "one packet, whatever the rate");
        assert_eq!(frame("20mbit", 10), 10_000);
        assert_eq!(frame("10gbit", 10), 16_000, "as long as its turn");
        assert_eq!(frame("10gbit", 1000), 65_536, "the kernel's own");
    }

    fn bandwidths() -> impl Strategy<Value = Vec<Bandwidth>> {
        let one = (
            0..3000_u64,
            1..=1000_u16,
            proptest::option::of(1..200_000_u64),
        );
        let one = one.prop_map(|(min, weight, max)| Bandwidth {
            egress_min: BitRate::from_kilobits(min),
            egress_max: max.and_then(|max| BitRate::from_kilobits(max.max(min))),
            ingress_max: None,
            weight: ShareWeight::new(weight),
        });
        proptest::collection::vec(one, 1..30)
    }

    proptest! {
        #[test]
        fn what_is_assured_is_there(all in bandwidths()) {
            // Thirty minima of 3 Mbit/s at most are the 90 that there are.
            let held = Held::of(&all);
            let assured: Vec<u64> = all.iter().map(|one| wire().assured(one, &held)).collect();
            let least = all.len() as u64 * RATE_MIN;
            let sum: u64 = assured.iter().sum();
            prop_assert!(sum <= wire().for_containers().bytes() + least, "{sum}");
            for (slot, (one, assured)) in (0..).zip(all.iter().zip(assured)) {
                prop_assert!(assured >= one.egress_min.map_or(0, BitRate::bytes));
                let classes = wire().classes_of(slot, one, assured);
                let (own, leaves) = classes.split_first().unwrap();
                prop_assert!(leaves.iter().map(|leaf| leaf.rate).sum::<u64>() <= own.rate.max(RATE_MIN));
                for class in &classes {
                    prop_assert!(class.rate > 0 && class.rate <= class.ceiling.max(RATE_MIN));
                }
            }
        }

        #[test]
        fn a_lane_is_no_faster_than_its_ceiling(kilobits in 1..=10_000_000_000_u64) {
            let rate = BitRate::from_kilobits(kilobits).unwrap();
            let classes = lane_classes(Way::Out, rate, 1600);
            let (top, leaves) = classes.split_first().unwrap();
            prop_assert_eq!(top.rate, rate.bytes());
            prop_assert_eq!(leaves.len(), 1 + LEAVES as usize);
            for leaf in leaves {
                prop_assert_eq!(leaf.parent, top.minor);
                prop_assert_eq!(leaf.ceiling, top.rate);
            }
        }
    }
}
