//! Which packets go first.

#![allow(
    clippy::cast_possible_truncation,
    reason = "ticks wrap, levels and leaves are bounded, and programs in the kernel have no panic to convert with"
)]

use super::{Flow, FlowSet, InFlight, LEAVES, Lane, LaneState, Place, Sorted, WAYS};

/// How often active flows are counted: half a second, the longest that a bulk flow is between two bursts.
const WINDOW_SHIFT: u32 = 19;

/// How often what a lane carries is measured: 134 ms.
const PACE_SHIFT: u32 = 17;

/// A lane is full that carries its rate less one part in so many.
const FULL_PART: u64 = 16;

/// A flow that was silent for so long, a second, gives way to a new one.
const IDLE: u32 = 1 << 20;

/// No idleness counts for more than this, a second: it drains everything.
const IDLE_MAX: u64 = 1 << 20;

/// How long the queue of sparse packets may be for known flows, and for new ones: 3 ms and 1 ms.
const SPARSE_TICKS: u64 = 2930;

const SPARSE_TICKS_NEW: u64 = 976;

/// How long a flow is silent beyond the time that its packets are queued: 1 ms.
const SETTLE_TICKS: u32 = 976;

/// How long packets are taken to be queued for the wire at most: 100 ms.
const WIRE_TICKS: u64 = 97_656;

/// The longest packet of a flow that asks and answers. A flow of such packets only is sparse up to a 128th of the rate, however many
/// bulk flows there are.
const SMALL_BYTES: u32 = 256;

const SMALL_SHIFT: u32 = 7;

/// The part of the rate that acknowledgements without data may take beside all that: an eighth.
const ACK_SHIFT: u32 = 3;

/// How long the queue of sparse packets to the wire may be: 20 ms of half the share, and at least one frame.
const SHARED_TICKS: u64 = 19_531;

const FRAME: u32 = 1600;

/// How long a container's sparse packets are bulk on the wire once they were too many: 50 ms.
const DEMOTED_TICKS: u64 = 48_828;

impl LaneState {
    /// Sorts a packet of `length` bytes, of the flow with this hash, whose set it is. Where it matters, it asks what its socket has in flight.
    #[inline(always)]
    pub fn sort(
        &mut self,
        lane: &Lane,
        set: &mut FlowSet,
        hash: u32,
        length: u32,
        now: u64,
        in_flight: impl FnOnce() -> InFlight,
    ) -> Place {
        self.pass(lane, now);
        self.queue += length as u64;
        self.arrived += length as u64;
        // Zero is a free place.
        let tag = if hash == 0 { 1 } else { hash };
        let ticks = now as u32;
        let place = set.place(tag, ticks);
        let mut flow = if place < WAYS {
            set.flows[place]
        } else {
            self.strangers
        };
        let sorted = self.sort_flow(lane, &mut flow, length, ticks, in_flight);
        if place < WAYS {
            set.flows[place] = flow;
        } else {
            self.strangers = flow;
        }
        let class = match sorted {
            Sorted::Sparse => lane.class,
            Sorted::Demoted | Sorted::Bulk => lane.class + 1 + (flow.leaf as u32 & (LEAVES - 1)),
        };
        Place { sorted, class }
    }

    #[inline(always)]
    fn sort_flow(
        &mut self,
        lane: &Lane,
        flow: &mut Flow,
        length: u32,
        ticks: u32,
        in_flight: impl FnOnce() -> InFlight,
    ) -> Sorted {
        let length = length as u64;
        let rate = self.rate(lane);
        if length > SMALL_BYTES as u64 {
            flow.flags |= Flow::LARGE;
        }
        let share = rate / most(self.active, self.active_before, 1) as u64;
        let share = share - share / 8;
        let least = rate >> SMALL_SHIFT;
        let share = if flow.flags & Flow::LARGE == 0 && share < least {
            least
        } else {
            share
        };
        let idle = ticks.wrapping_sub(flow.seen) as u64;
        flow.seen = ticks;
        let idle = if idle > IDLE_MAX { IDLE_MAX } else { idle };
        let filled = (flow.level as u64).saturating_sub((idle * share) >> 16) + length;
        let is_known = flow.flags & Flow::KNOWN != 0;
        flow.flags |= Flow::KNOWN;

        let is_settled = flow.flags & Flow::BULK == 0
            || match in_flight() {
                InFlight::Nothing => true,
                InFlight::Something => false,
                InFlight::Unknown => self.is_silent(lane, flow, rate, ticks),
            };
        let limit = if is_known {
            SPARSE_TICKS
        } else {
            SPARSE_TICKS_NEW
        };
        let fits = filled <= lane.depth as u64;
        if is_settled && fits && self.sparse + 2 * length <= drained(rate, limit) {
            flow.flags &= !Flow::BULK;
            flow.level = filled as u16;
            self.sparse += 2 * length;
            return Sorted::Sparse;
        }
        let most = 4 * lane.depth as u64;
        let most = if most > u16::MAX as u64 {
            u16::MAX as u64
        } else {
            most
        };
        flow.level = if filled > most { most } else { filled } as u16;
        // Its first bulk packet of this half second.
        if flow.flags & Flow::BULK == 0 || flow.bulk_at >> WINDOW_SHIFT != ticks >> WINDOW_SHIFT {
            self.active += 1;
        }
        if is_settled {
            flow.leaf = (self.leaf_next & (lane.leaves - 1)) as u8;
            self.leaf_next = self.leaf_next.wrapping_add(1);
        }
        flow.flags |= Flow::BULK;
        flow.bulk_at = ticks;
        if is_settled && fits {
            Sorted::Demoted
        } else {
            Sorted::Bulk
        }
    }

    /// Returns whether a flow was silent for longer than its last packet can be queued.
    #[inline(always)]
    fn is_silent(&self, lane: &Lane, flow: &Flow, rate: u64, ticks: u32) -> bool {
        let queued = self.waiting(lane, rate);
        let queued = if lane.share == 0 {
            queued
        } else {
            queued + WIRE_TICKS
        };
        ticks.wrapping_sub(flow.bulk_at) as u64 > 2 * queued + SETTLE_TICKS as u64
    }

    /// Returns how long a bulk packet waits in the lane's own queue, in ticks: what was measured, or what comes of the rate.
    #[inline(always)]
    pub(super) const fn waiting(&self, lane: &Lane, rate: u64) -> u64 {
        let measured = self.delay as u64;
        if lane.share != 0 {
            return measured;
        }
        let reckoned = (self.queue << 16) / rate;
        if reckoned > measured {
            reckoned
        } else {
            measured
        }
    }

    /// Returns the rate that the lane has now; never zero.
    #[inline(always)]
    pub(super) const fn rate(&self, lane: &Lane) -> u64 {
        if lane.share == 0 {
            // The compiler would else ask what a division by zero does, and programs cannot panic.
            return if lane.rate == 0 { 1 } else { lane.rate };
        }
        let pace = self.pace + self.pace / 4;
        let pace = if pace < lane.share { lane.share } else { pace };
        let pace = if pace > lane.rate { lane.rate } else { pace };
        if pace == 0 { 1 } else { pace }
    }

    /// Takes back a packet that was dropped and not queued.
    #[inline(always)]
    pub fn forget(&mut self, length: u32) {
        self.queue = self.queue.saturating_sub(length as u64);
    }

    /// Returns whether an acknowledgement without data, which was bulk, may go first all the same: nothing depends on the
    /// order of such packets.
    #[inline(always)]
    pub fn admit_ack(&mut self, lane: &Lane, length: u32) -> bool {
        let length = (length as u64) << ACK_SHIFT;
        if self.acks + length > drained(self.rate(lane), SPARSE_TICKS) {
            return false;
        }
        self.acks += length;
        true
    }

    /// Returns whether a packet to the wire goes past the bulk there as well: it does unless its container's sparse packets together are more
    /// than half of its share, so that they never take what others were promised.
    ///
    /// Once they were, all is bulk until the queue that came of it is gone: nothing overtakes.
    #[inline(always)]
    pub fn share(&mut self, lane: &Lane, length: u32, is_bulk: bool, now: u64) -> bool {
        if is_bulk {
            return false;
        }
        let ticks = now.saturating_sub(self.shared_at);
        if ticks != 0 {
            self.shared_at = now;
            let ticks = if ticks > IDLE_MAX { IDLE_MAX } else { ticks };
            let gone = (ticks * lane.share) >> 17;
            self.shared = self.shared.saturating_sub(gone);
        }
        let most = ((SHARED_TICKS * lane.share) >> 17) + FRAME as u64;
        if self.shared + length as u64 > most {
            self.demoted_until = now + DEMOTED_TICKS;
            return false;
        }
        if now < self.demoted_until {
            return false;
        }
        self.shared += length as u64;
        true
    }

    /// Lets the time pass.
    #[inline(always)]
    fn pass(&mut self, lane: &Lane, now: u64) {
        let ticks = now.saturating_sub(self.at);
        if ticks != 0 {
            self.at = now;
            let ticks = if ticks > IDLE_MAX { IDLE_MAX } else { ticks };
            let gone = ticks * self.rate(lane) + self.fraction as u64;
            self.fraction = gone as u32 & 0xffff;
            let gone = gone >> 16;
            self.queue = self.queue.saturating_sub(gone);
            self.sparse = self.sparse.saturating_sub(gone);
            self.acks = self.acks.saturating_sub(gone);
        }
        let since = now.saturating_sub(self.pace_at);
        if since >> PACE_SHIFT != 0 {
            self.pace = (self.arrived << 16) / since;
            if self.pace >= lane.rate - lane.rate / FULL_PART {
                self.full += since;
            }
            self.arrived = 0;
            self.pace_at = now;
        }
        let window = (now as u32) >> WINDOW_SHIFT;
        if window != self.window {
            self.active_before = if window == self.window.wrapping_add(1) {
                self.active
            } else {
                0
            };
            self.active = 0;
            self.window = window;
        }
    }
}

#[inline(always)]
const fn most(one: u32, other: u32, least: u32) -> u32 {
    let most = if one > other { one } else { other };
    if most < least { least } else { most }
}

/// What drains at a rate in so many ticks, in bytes.
#[inline(always)]
const fn drained(rate: u64, ticks: u64) -> u64 {
    (ticks * rate) >> 16
}

impl FlowSet {
    /// Returns the place of a flow: its own, a free one, or that of a flow that was silent for long; [`WAYS`] if there is none. Of flows
    /// that are known none gives way earlier: no flood of new flows makes a known one unknown.
    #[inline(always)]
    fn place(&mut self, tag: u32, ticks: u32) -> usize {
        let mut index = 0;
        while index < WAYS {
            if self.flows[index].tag == tag {
                return index;
            }
            index += 1;
        }
        index = 0;
        while index < WAYS {
            let flow = &self.flows[index];
            let idle = ticks.wrapping_sub(flow.seen);
            let is_new = flow.flags & Flow::KNOWN == 0;
            if flow.tag == 0 || idle > IDLE || (is_new && idle > SETTLE_TICKS) {
                self.flows[index] = Flow {
                    tag,
                    seen: ticks,
                    bulk_at: 0,
                    level: 0,
                    leaf: 0,
                    flags: 0,
                };
                return index;
            }
            index += 1;
        }
        WAYS
    }
}
