//! How many lines strangers may write into the log.

use std::time::Duration;

/// The most lines in one [`PERIOD`]: enough to see what goes on, and no way to fill a disk.
const LINES_MAX: u32 = 20;

/// Over which time lines are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// Decides whether one more line is written.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    period: Option<Duration>,
    lines: u32,
    withheld: u64,
}

impl Pace {
    /// Returns how many lines were withheld before this one if it is to be written.
    ///
    /// `now` is a time since any fixed point.
    pub(crate) fn admit(&mut self, now: Duration) -> Option<u64> {
        let begins = match self.period {
            None => true,
            Some(began) => now.saturating_sub(began) >= PERIOD,
        };
        if begins {
            self.period = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_MAX {
            self.withheld += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_few_lines_and_says_how_many_it_did_not() {
        let mut pace = Pace::default();
        let second = Duration::from_secs(1);
        let written = (0..1000).filter(|_| pace.admit(second).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(pace.admit(second * 10), None);
        assert_eq!(pace.admit(second * 11), Some(981));
        assert_eq!(pace.admit(second * 11), Some(0));
    }
}
