//! When to connect again.

use std::time::Duration;

/// Says how long to wait before the next attempt.
///
/// Each wait is drawn from the upper half of a span that doubles from `first` to `max`: ten thousand
/// agents that lost a scheduler at once come back spread out, and none of them at once or never.
///
/// Pure: the randomness is an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    span: Duration,
}

impl Backoff {
    /// Starts with `first` and never waits longer than `max`, or than `first` if that is longer.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max: max.max(first),
            span: first,
        }
    }

    /// Returns how long to wait now, and makes the next wait longer.
    ///
    /// `random` is evenly distributed over all its values.
    pub fn next_delay(&mut self, random: u64) -> Duration {
        let half = self.span / 2;
        let delay = half + share(self.span - half, random);
        self.span = self.span.saturating_mul(2).min(self.max);
        delay
    }

    /// Starts over: the last attempt led to a conversation.
    pub fn reset(&mut self) {
        self.span = self.first;
    }
}

/// Returns the part of `span` that `random` is of all its values.
fn share(span: Duration, random: u64) -> Duration {
    // The product is below `span * 2^64`, so what is shifted out leaves at most `span`.
    let nanos = (span.as_nanos().min(u128::from(u64::MAX)) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let longest: Vec<u128> = (0..5)
            .map(|_| backoff.next_delay(u64::MAX).as_millis())
            .collect();
        assert_eq!(longest, [999, 1999, 3999, 4999, 4999]);
        backoff.reset();
        assert_eq!(backoff.next_delay(0), Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn a_wait_is_always_in_the_upper_half_of_its_span(
            first_ms in 0_u64..100_000,
            max_ms in 0_u64..10_000_000,
            random in prop::collection::vec(any::<u64>(), 1..40),
        ) {
            let first = Duration::from_millis(first_ms);
            let max = Duration::from_millis(max_ms).max(first);
            let mut backoff = Backoff::new(first, max);
            let mut span = first;
            for random in random {
                let delay = backoff.next_delay(random);
                prop_assert!(delay >= span / 2 && delay <= span, "{:?} of {:?}", delay, span);
                span = (span * 2).min(max);
            }
        }
    }
}
