//! Percentiles of round-trip times, over about the last minute.
//!
//! The kernel keeps one histogram per container that only grows. What happened lately is the
//! difference to an older reading, so each reading is kept for a while, and only where somebody
//! reads at all.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use weir_abi::{RttHistogram, bucket_upper_us};

use super::statistics::RttPercentiles;

/// The window that percentiles are about, if it is read often enough.
const WINDOW: Duration = Duration::from_secs(60);

/// The least distance between two readings that are kept: seven of them span the window.
const STEP: Duration = Duration::from_secs(10);

/// Earlier readings of one container's histogram.
#[derive(Debug, Default)]
pub(crate) struct RttWindow {
    /// Oldest first; at most one is older than the window.
    readings: VecDeque<(Instant, RttHistogram)>,
}

impl RttWindow {
    /// Returns the percentiles of what was measured since the oldest reading that is at most a
    /// window old, or since ever at the first reading; nothing where nothing was measured.
    pub(crate) fn percentiles(
        &mut self,
        reading: RttHistogram,
        now: Instant,
    ) -> Option<RttPercentiles> {
        // The newest reading that is older than the window is where the window begins.
        while self
            .readings
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        {
            self.readings.pop_front();
        }
        let recent = match self.readings.front() {
            Some((_, before)) => since(&reading, before),
            None => reading,
        };
        if self
            .readings
            .back()
            .is_none_or(|(at, _)| now.duration_since(*at) >= STEP)
        {
            self.readings.push_back((now, reading));
        }
        percentiles(&recent)
    }
}

fn since(now: &RttHistogram, before: &RttHistogram) -> RttHistogram {
    let mut difference = *now;
    for (count, earlier) in difference.buckets.iter_mut().zip(&before.buckets) {
        // A slot that was reset in between counts from zero.
        *count = count.saturating_sub(*earlier);
    }
    difference.sum_us = now.sum_us.saturating_sub(before.sum_us);
    difference
}

/// Returns the upper ends of the buckets that hold the percentiles: at most a quarter too high.
pub(crate) fn percentiles(histogram: &RttHistogram) -> Option<RttPercentiles> {
    let samples: u64 = histogram.buckets.iter().sum();
    if samples == 0 {
        return None;
    }
    let at = |percent: u64| {
        // The nearest rank, counted from one.
        let rank = (samples * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = histogram.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let bucket = bucket.expect("the ranks end with the samples");
        bucket_upper_us(u32::try_from(bucket).expect("there are a hundred buckets"))
    };
    Some(RttPercentiles {
        p50_us: at(50),
        p90_us: at(90),
        p95_us: at(95),
        p99_us: at(99),
        samples,
    })
}

#[cfg(test)]
mod tests {
    use weir_abi::bucket_of;

    use super::*;

    fn histogram(samples: &[(u32, u64)]) -> RttHistogram {
        let mut histogram = RttHistogram::default();
        for (us, count) in samples {
            histogram.buckets[bucket_of(*us) as usize] += count;
            histogram.sum_us += u64::from(*us) * count;
        }
        histogram
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times = percentiles(&histogram(&[(1, 50), (2, 40), (3, 9), (1000, 1)])).unwrap();
        assert_eq!(
            (times.p50_us, times.p90_us, times.p95_us, times.p99_us),
            (1, 2, 3, 3)
        );
        assert_eq!(times.samples, 100);
        let one = percentiles(&histogram(&[(3, 1)])).unwrap();
        assert_eq!((one.p50_us, one.p99_us), (3, 3));
        assert_eq!(percentiles(&RttHistogram::default()), None);
    }

    #[test]
    fn what_is_older_than_a_minute_does_not_count() {
        let mut window = RttWindow::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut total = vec![(1, 1000)];
        assert_eq!(
            window.percentiles(histogram(&total), begin).unwrap().p99_us,
            1
        );
        total.push((3, 10));
        assert_eq!(
            window
                .percentiles(histogram(&total), after(30))
                .unwrap()
                .p50_us,
            3
        );
        // Nothing new since the reading a minute ago.
        assert_eq!(window.percentiles(histogram(&total), after(90)), None);
    }

    #[test]
    fn readings_are_few_however_often_it_is_read() {
        let mut window = RttWindow::default();
        let begin = Instant::now();
        for tenths in 0..10_000 {
            let now = begin + Duration::from_millis(100 * tenths);
            window.percentiles(RttHistogram::default(), now);
        }
        assert!(window.readings.len() <= 8, "{}", window.readings.len());
    }
}
