//! Laws of sorting, held against a queue that is served as HTB serves it.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// 100 Mbit/s.
const RATE: u64 = 12_500_000;
const CLASS: u32 = 0x1_0002;

/// A lane with the queue behind it: packets that go first, and leaves that take turns.
struct Model {
    lane: Lane,
    state: LaneState,
    sets: Vec<FlowSet>,
    first: VecDeque<Queued>,
    leaves: [VecDeque<Queued>; LEAVES as usize],
    turn: usize,
    /// When the link is free again, in bytes that have passed since the beginning.
    free_at: u64,
    left: Vec<Left>,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    flow: u32,
    number: u64,
    length: u32,
    at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    flow: u32,
    number: u64,
    waited: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            lane: Lane::new(RATE, CLASS, LEAVES),
            state: LaneState::default(),
            sets: vec![FlowSet::default(); FLOW_SETS as usize],
            first: VecDeque::new(),
            leaves: Default::default(),
            turn: 0,
            free_at: 0,
            left: Vec::new(),
        }
    }

    /// Takes a packet of a flow at a time, in ticks.
    fn take(&mut self, flow: u32, number: u64, length: u32, at: u64) -> Sorted {
        self.serve(at);
        let hash = flow.wrapping_mul(0x9e37_79b1).rotate_left(13) | 1;
        let set = &mut self.sets[(hash % FLOW_SETS) as usize];
        let place = self
            .state
            .sort(&self.lane, set, hash, length, at, || InFlight::Unknown);
        let queued = Queued {
            flow,
            number,
            length,
            at,
        };
        match place.sorted {
            Sorted::Sparse => {
                assert_eq!(place.class, CLASS);
                self.first.push_back(queued);
            }
            Sorted::Demoted | Sorted::Bulk => {
                let leaf = place.class - CLASS - 1;
                assert!(leaf < LEAVES, "leaf {leaf}");
                self.leaves[leaf as usize].push_back(queued);
            }
        }
        place.sorted
    }

    /// Sends what the link carries until then.
    fn serve(&mut self, until: u64) {
        loop {
            let now = self.free_at;
            if now > until {
                return;
            }
            let Some(queued) = self.next() else {
                self.free_at = until;
                return;
            };
            self.left.push(Left {
                flow: queued.flow,
                number: queued.number,
                waited: now.max(queued.at) - queued.at,
            });
            self.free_at = now.max(queued.at) + u64::from(queued.length) * TICKS_PER_SECOND / RATE;
        }
    }

    fn next(&mut self) -> Option<Queued> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        for _ in 0..LEAVES {
            self.turn = (self.turn + 1) % LEAVES as usize;
            if let Some(queued) = self.leaves[self.turn].pop_front() {
                return Some(queued);
            }
        }
        None
    }

    fn drain(&mut self) {
        self.serve(u64::MAX / 2);
    }

    /// Returns the longest that a packet of a flow waited, in ticks.
    fn longest(&self, flow: u32) -> u64 {
        let waits = self.left.iter().filter(|left| left.flow == flow);
        waits.map(|left| left.waited).max().unwrap_or(0)
    }

    fn assert_in_order(&self) {
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for left in &self.left {
            if let Some(before) = last.insert(left.flow, left.number) {
                assert!(before < left.number, "{left:?} after {before}");
            }
        }
    }
}

const MS: u64 = TICKS_PER_SECOND / 1000;

/// Runs bulk flows, each with two packets in the queue as TCP has them, beside one that asks once a millisecond.
fn beside_bulk(flows: u32, length: u32) -> Model {
    let mut model = Model::new();
    let mut number = 0;
    for ms in 0..3000_u64 {
        let at = ms * MS;
        for flow in 1..=flows {
            let queued: usize = model
                .leaves
                .iter()
                .map(|leaf| leaf.iter().filter(|queued| queued.flow == flow).count())
                .sum();
            for _ in queued..2 {
                number += 1;
                model.take(flow, number, length, at);
            }
        }
        number += 1;
        model.take(0, number, 80, at + MS / 2);
    }
    model.drain();
    model
}

#[test]
fn who_asks_does_not_wait_for_who_pours() {
    for flows in [1, 8, 32, 128] {
        let model = beside_bulk(flows, 3028);
        model.assert_in_order();
        // A frame that is being sent is sent to its end.
        let longest = model.longest(0);
        assert!(longest <= 4 * MS, "{flows} flows: {longest} ticks");
    }
}

#[test]
fn a_flood_of_new_flows_delays_no_known_one() {
    let mut model = Model::new();
    let mut number = 0;
    // Known before the flood.
    for ms in 0..20 {
        number += 1;
        model.take(0, number, 80, ms * MS);
    }
    for ms in 20..1000_u64 {
        for flow in 0..100 {
            number += 1;
            let new = 1000 + u32::try_from(ms * 100 + flow).unwrap();
            model.take(new, number, 84 + 150, ms * MS + flow * (MS / 100));
        }
        number += 1;
        let sorted = model.take(0, number, 80, ms * MS + MS / 2);
        assert_eq!(sorted, Sorted::Sparse, "in millisecond {ms}");
    }
    model.drain();
    assert!(model.longest(0) <= 4 * MS, "{}", model.longest(0));
}

#[test]
fn a_lane_is_full_while_all_comes_that_it_may_carry() {
    let lane = Lane::new(RATE, CLASS, LEAVES);
    let (mut state, mut set) = (LaneState::default(), FlowSet::default());
    let mut send = |from_ms: u64, part: u64| {
        let length = u32::try_from(RATE / 1000 / part).unwrap();
        for ms in from_ms..from_ms + 4000 {
            state.sort(&lane, &mut set, 7, length, ms * MS, || InFlight::Unknown);
        }
        state.full
    };
    // The first measurement covers all the time before.
    let none = send(10_000, 2);
    assert_eq!(none, 0);
    let whole = send(14_000, 1);
    assert!((3700 * MS..=4000 * MS).contains(&whole), "{whole}");
    let after = send(18_000, 2);
    assert!(after - whole <= 200 * MS, "{after} after {whole}");
}

#[test]
fn acknowledgements_have_a_part_of_the_rate_and_no_more() {
    let lane = Lane::new(RATE, CLASS, LEAVES);
    let mut state = LaneState::default();
    let mut set = FlowSet::default();
    let mut admitted = 0;
    let count = 100_000;
    for index in 0..count {
        // Ten times the rate.
        let at = index * 66 * TICKS_PER_SECOND / RATE / 10;
        state.sort(&lane, &mut set, 7, 66, at, || InFlight::Unknown);
        admitted += u64::from(state.admit_ack(&lane, 66));
    }
    // An eighth of a tenth, and what may come at once.
    assert!(admitted <= count / 80 + 100, "{admitted} of {count}");
    assert!(admitted >= count / 100, "{admitted} of {count}");
}

#[test]
fn a_standing_queue_gives_signals_that_come_sooner_and_sooner() {
    let lane = Lane::new(RATE, CLASS, LEAVES);
    let mut state = LaneState {
        delay: 40 * u32::try_from(MS).unwrap(),
        ..LaneState::default()
    };
    let signals: Vec<u64> = (1..3000)
        .map(|ms| ms * MS)
        .filter(|at| state.is_signal(&lane, *at))
        .collect();
    let gaps: Vec<u64> = signals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(signals[0] >= 100 * MS);
    assert!(
        gaps.windows(2).all(|pair| pair[1] <= pair[0] + 2 * MS),
        "{gaps:?}"
    );
    assert!(gaps.last().unwrap() * 3 < gaps[0], "{gaps:?}");
    // One that is short is left alone.
    state.delay = 0;
    assert!((3000..4000).all(|ms| !state.is_signal(&lane, ms * MS)));
}

#[test]
fn on_the_wire_sparse_packets_take_half_of_the_share_at_most() {
    let lane = Lane::new(RATE, CLASS, LEAVES).sharing(RATE / 10);
    let mut state = LaneState::default();
    let mut first = 0;
    for index in 0..100_000_u64 {
        let at = index * 80 * TICKS_PER_SECOND / RATE;
        first += u64::from(state.share(&lane, 80, false, at)) * 80;
    }
    let seconds = 100_000 * 80 / RATE + 1;
    assert!(first <= seconds * RATE / 20 + 40_000, "{first}");
    // Within its half all goes first.
    let mut state = LaneState::default();
    for index in 0..10_000_u64 {
        let at = index * 80 * TICKS_PER_SECOND / (RATE / 25);
        assert!(state.share(&lane, 80, false, at));
    }
    assert!(!state.share(&lane, 80, true, u64::MAX / 2), "bulk is bulk");
}

fn packets() -> impl Strategy<Value = Vec<(u32, u32, u64)>> {
    let flow = 0..24_u32;
    let length = prop_oneof![60..200_u32, Just(1514_u32), Just(3028_u32)];
    let gap = prop_oneof![0..50_u64, 0..2000_u64, 0..400_000_u64];
    proptest::collection::vec((flow, length, gap), 1..600)
}

proptest! {
    #[test]
    fn no_packet_overtakes_one_of_its_own_flow(packets in packets()) {
        let mut model = Model::new();
        let mut at = 0;
        for (number, (flow, length, gap)) in packets.into_iter().enumerate() {
            at += gap;
            model.take(flow, number as u64, length, at);
        }
        model.drain();
        model.assert_in_order();
    }

    #[test]
    fn no_numbers_take_it_down(
        rate in any::<u64>(),
        share in any::<u64>(),
        lengths in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u64>()), 1..64),
    ) {
        let bound = 1 << 44;
        let lane = Lane::new(rate % bound, CLASS, LEAVES).sharing(share % bound);
        let (mut state, mut set) = (LaneState::default(), FlowSet::default());
        for (hash, length, now) in lengths {
            let (length, now) = (length % 70_000, now >> 10);
            let place = state.sort(&lane, &mut set, hash, length, now, || InFlight::Unknown);
            prop_assert!((CLASS..=CLASS + LEAVES).contains(&place.class));
            state.admit_ack(&lane, length);
            state.is_signal(&lane, now);
            state.share(&lane, length, false, now);
            state.forget(length);
        }
    }
}

#[test]
fn every_delay_has_a_bucket() {
    for units in 0..=DELAY_MASK {
        let bucket = delay_bucket(units);
        assert!((bucket as usize) < DELAY_BUCKETS);
        let seconds = f64::from(units) * f64::from(1_u32 << (DELAY_SHIFT + TICK_SHIFT)) / 1e9;
        assert!(seconds < delay_bucket_upper_s(bucket), "{units}");
        assert!(
            bucket == 0 || seconds >= delay_bucket_upper_s(bucket - 1),
            "{units}"
        );
    }
}
