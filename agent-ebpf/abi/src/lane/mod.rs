//! One direction of one container: what it may carry, and which of its packets go first.
//!
//! A container that is held to a rate queues. One queue would be a FIFO, in which a request waits for all that bulk flows have
//! put there before it: with 128 of them, more than a second. So each packet is sorted:
//!
//! - **sparse**, and let past all others, where its flow takes less than its fair share of the rate;
//! - **bulk** otherwise, into one of the leaves that bulk flows are spread over.
//!
//! 1. Each flow has a leaky bucket that drains at the fair share: the rate over the number of flows that were bulk in the last half
//!    second. What fits into the bucket is sparse.
//! 2. All sparse packets together may take half of the rate, and wait for a few milliseconds of each other; what is more is bulk. A
//!    flow that is new waits for less: a flood of ever new flows is bulk before it delays those that are known.
//! 3. A flow that was bulk is sparse again only when none of its packets can be queued any more, and keeps its leaf until then: no packet
//!    overtakes one of its own flow. Of TCP the socket knows; of the rest, silence for longer than packets are queued tells.
//!
//! Bulk flows that keep a queue standing are told to go slower, as CoDel (RFC 8289) does: by a mark where they heed marks. Where the sender is
//! somewhere else, and no full socket stops him, also by a drop.
//!
//! Where the wire is divided, nobody knows the rate that a container has: its own part is what others leave. There the rate is taken to be what
//! the container sent lately, but never less than its share.
//!
//! The same functions run in the kernel, for each packet, and in tests, by the million.
//!
//! Flows are kept in sets of four, one cache line each, by the hash that the kernel has of them anyway. What is wrong by
//! collision (two flows with one hash) is that both are bulk if one is. A flow that finds its set taken by others is a stranger:
//! all strangers are one flow.

mod signal;
mod sort;

#[cfg(test)]
mod laws;

/// Time is counted in units of 1,024 ns: nanoseconds shifted right by this.
pub const TICK_SHIFT: u32 = 10;

/// Ticks in a second, nearly.
pub const TICKS_PER_SECOND: u64 = 976_562;

/// The sets of flows of a lane: a power of two. With as many flows as sets, four in a thousand find no place.
pub const FLOW_SETS: u32 = 512;

/// The flows of a set.
pub const WAYS: usize = 4;

/// The most leaves that bulk flows of a lane are spread over: a power of two.
pub const LEAVES: u32 = 8;

/// The number of Weir's queues: "WE".
pub const QUEUE_MAJOR: u32 = 0x5745;

/// The class of what the agent says to its scheduler, on the wire.
pub const SESSION_CLASS: u32 = QUEUE_MAJOR << 16 | 3;

/// Returns the class of a container's sparse packets on the wire; that of its bulk is one more. The class above both is one less.
pub const fn uplink_class(slot: u32) -> u32 {
    QUEUE_MAJOR << 16 | (0x1001 + slot * 4)
}

/// What a lane is held to; written by the agent, in the `LANES` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The rate, in bytes per tick, times 65,536; zero in a lane that is not sorted.
    pub rate: u64,
    /// The part of the wire that it has when all others want theirs, as `rate` is counted; zero where the wire is not divided.
    pub share: u64,
    /// What a sparse flow may send at once, in bytes.
    pub depth: u32,
    /// The class of sparse packets; that of bulk leaf N is N + 1 more.
    pub class: u32,
    /// How many bulk leaves there are: a power of two, at most [`LEAVES`].
    pub leaves: u32,
    /// [`Lane::DROPS`].
    pub flags: u32,
}

const _: () = assert!(size_of::<Lane>() == 32);

/// What passes through a lane now; written by the programs alone, in the `LANE_STATES` map.
///
/// CPUs write it side by side without a lock. What is lost between two of them is a packet that is not counted: which leaf a packet
/// goes into is a little off, the rate is not decided here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// When it was last brought up to date, in ticks.
    pub at: u64,
    /// What is queued if all goes at the rate, in bytes.
    pub queue: u64,
    /// What of it is sparse, if half of the rate is for that; in half bytes.
    pub sparse: u64,
    /// What of it is acknowledgements without data, if an eighth of the rate is for that; in eighths of bytes.
    pub acks: u64,
    /// The half second in which flows are counted.
    pub window: u32,
    /// The flows that were bulk in it, and in the one before.
    pub active: u32,
    /// See `active`.
    pub active_before: u32,
    /// The leaf that the next bulk flow gets.
    pub leaf_next: u32,
    /// Until when what is sparse on the own link is bulk on the wire, in ticks.
    pub demoted_until: u64,
    /// When `shared` was brought up to date.
    pub shared_at: u64,
    /// What of sparse packets is queued for the wire, if half of the share is for that.
    pub shared: u64,
    /// Since when `arrived` is counted.
    pub pace_at: u64,
    /// What has arrived since then, in bytes.
    pub arrived: u64,
    /// What arrived before that, as rates are counted.
    pub pace: u64,
    /// What bulk packets were measured to wait, in ticks.
    pub delay: u32,
    /// How many signals were given since the queue stands.
    pub signals: u32,
    /// What has drained beside whole bytes, in parts of 65,536.
    pub fraction: u32,
    /// Always zero: explicit padding.
    pub reserved: u32,
    /// Since when the queue was not below its target; zero where it was.
    pub standing_since: u64,
    /// When the next signal is due, while the queue stands.
    pub signal_at: u64,
    /// All flows without a place of their own.
    pub strangers: Flow,
    /// How long all that the rate allows has come, in ticks.
    pub full: u64,
}

const _: () = assert!(size_of::<LaneState>() == 152);

/// One flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The hash; zero in a place that is free.
    pub tag: u32,
    /// When its last packet came, in ticks; they wrap after an hour.
    pub seen: u32,
    /// When its last bulk packet came.
    pub bulk_at: u32,
    /// What is in its bucket, in bytes.
    pub level: u16,
    /// The leaf of its bulk packets.
    pub leaf: u8,
    /// [`Flow::KNOWN`], [`Flow::LARGE`], [`Flow::BULK`].
    pub flags: u8,
}

const _: () = assert!(size_of::<Flow>() == 16);

impl Flow {
    /// More than one packet of it was seen.
    pub const KNOWN: u8 = 1;
    /// A packet longer than 256 bytes was seen.
    pub const LARGE: u8 = 2;
    /// `bulk_at` is a time.
    pub const BULK: u8 = 4;
}

/// Four flows: a cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSet {
    /// The flows.
    pub flows: [Flow; WAYS],
}

const _: () = assert!(size_of::<FlowSet>() == 64);

/// Whether a socket has sent something that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum InFlight {
    /// There is no such socket here.
    Unknown = 0,
    /// It has not: nothing of it is queued.
    Nothing = 1,
    /// It has.
    Something = 2,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Sorted {
    /// Past the bulk.
    Sparse = 0,
    /// It would be sparse, were there not too much that is.
    Demoted = 1,
    /// Behind others of its leaf.
    Bulk = 2,
}

/// A packet that was sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub sorted: Sorted,
    /// The class of its leaf.
    pub class: u32,
}

impl Lane {
    /// Senders are out of reach of backpressure: what they do not heed is dropped.
    pub const DROPS: u32 = 1;

    /// Returns a lane of so many bytes per second. `class` is that of sparse packets.
    pub const fn new(bytes_per_second: u64, class: u32, leaves: u32) -> Self {
        // A packet of full size fits at any rate; beyond that, what the rate carries in two thirds of a millisecond.
        let burst = bytes_per_second / 1536;
        let depth = if burst < 6144 {
            6144
        } else if burst > 32_768 {
            32_768
        } else {
            burst
        };
        let rate = (bytes_per_second << 16) / TICKS_PER_SECOND;
        Self {
            rate: if rate == 0 { 1 } else { rate },
            share: 0,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "between two numbers that fit"
            )]
            depth: depth as u32,
            class,
            leaves,
            flags: 0,
        }
    }

    /// Returns it with a part of the wire, in bytes per second.
    #[must_use]
    pub const fn sharing(mut self, bytes_per_second: u64) -> Self {
        let share = (bytes_per_second << 16) / TICKS_PER_SECOND;
        self.share = if share == 0 { 1 } else { share };
        self
    }

    /// Returns whether packets are sorted here.
    #[inline(always)]
    pub const fn is_sorted(&self) -> bool {
        self.rate != 0
    }
}

/// What passed through a lane; in the `LANE_COUNTERS` map, added to by all CPUs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounters {
    /// Packets that went first, a GSO frame as one; see [`Sorted`].
    pub sparse_packets: u64,
    /// Their bytes.
    pub sparse_bytes: u64,
    /// Packets that would have gone first.
    pub demoted_packets: u64,
    /// Packets that queued, those included.
    pub bulk_packets: u64,
    /// Their bytes.
    pub bulk_bytes: u64,
    /// Packets that were marked as having met congestion.
    pub marked_packets: u64,
    /// Packets that were dropped here, because nobody heeds marks or nobody sent slower.
    pub dropped_packets: u64,
    /// What packets waited, in ticks, all together.
    pub delay_ticks: u64,
    /// Packets by what they waited; see [`delay_bucket`].
    pub delays: [u64; DELAY_BUCKETS],
}

const _: () = assert!(size_of::<LaneCounters>() == 8 * (8 + DELAY_BUCKETS));

/// The buckets of delays: below 33 µs, and then up to each power of two of that.
pub const DELAY_BUCKETS: usize = 16;

/// Delays are measured in so many ticks, as a power of two: 33 µs.
pub const DELAY_SHIFT: u32 = 5;

/// The time that a packet carries beside what it was sorted to: 15 bits of it, one second.
pub const DELAY_MASK: u32 = 0x7fff;

/// Returns the bucket of a delay, in units of 2^[`DELAY_SHIFT`] ticks.
#[inline(always)]
pub const fn delay_bucket(units: u32) -> u32 {
    32 - units.leading_zeros()
}

/// Returns the delay in seconds that a bucket ends below; the last has no end.
pub fn delay_bucket_upper_s(bucket: u32) -> f64 {
    f64::from(1_u32 << bucket) * f64::from(1_u32 << (DELAY_SHIFT + TICK_SHIFT)) / 1e9
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (size asserted above), every bit pattern is valid.
unsafe impl aya::Pod for Lane {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for LaneState {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for FlowSet {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for LaneCounters {}
