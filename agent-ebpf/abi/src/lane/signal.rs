//! When bulk flows are told to go slower: CoDel, RFC 8289.

use super::{Lane, LaneState};

/// What CoDel lets a queue be, and for how long: 10 ms, 100 ms. Twice what is usual: a bulk flow has two packets in it by design.
const TARGET_TICKS: u64 = 9766;
const INTERVAL_TICKS: u64 = 97_656;
/// The most signals that make the next one come sooner: 70 in a second. Flows that send no less than they do anyway need not lose more.
const SIGNALS_MAX: u32 = 63;

impl LaneState {
    /// Returns whether a bulk packet is one by which its sender is told to go slower.
    #[inline(always)]
    pub fn is_signal(&mut self, lane: &Lane, now: u64) -> bool {
        let rate = self.rate(lane);
        if self.waiting(lane, rate) < TARGET_TICKS {
            self.standing_since = 0;
            return false;
        }
        if self.standing_since == 0 {
            self.standing_since = now;
            // A queue that stands again soon after it was cut needs as many signals as it took then.
            let since = now.saturating_sub(self.signal_at);
            self.signals = if self.signals > 2 && since < 8 * INTERVAL_TICKS {
                self.signals - 2
            } else {
                0
            };
            self.signal_at = now + INTERVAL_TICKS;
            return false;
        }
        if now < self.signal_at {
            return false;
        }
        if self.signals < SIGNALS_MAX {
            self.signals += 1;
        }
        self.signal_at += INTERVAL_TICKS / root(self.signals);
        true
    }
}

/// Returns the square root of a number below 64, and at least one.
#[inline(always)]
const fn root(number: u32) -> u64 {
    let mut root = 0;
    let mut bit = 4;
    while bit > 0 {
        let tried = root | bit;
        if tried * tried <= number {
            root = tried;
        }
        bit >>= 1;
    }
    if root == 0 { 1 } else { root as u64 }
}
