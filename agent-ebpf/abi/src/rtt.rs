//! A log-linear histogram of TCP round-trip times.

/// Linear steps within one power of two: the relative error of a bucket is below 1/4.
const STEPS: u32 = 4;

/// The number of buckets: exact below 4 µs, then four per power of two up to 2^26 µs (67 s).
pub const RTT_BUCKETS: usize = 100;

/// The last bucket.
const LAST: u32 = 99;
const _: () = assert!(LAST as usize == RTT_BUCKETS - 1);

/// Smoothed round-trip times of one container's TCP connections, one sample per acknowledged
/// round trip; per CPU, in the `RTTS` map under the container's slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RttHistogram {
    /// Samples per bucket; the last also holds what is longer.
    pub buckets: [u64; RTT_BUCKETS],
    /// The sum of all samples in microseconds.
    pub sum_us: u64,
}

const _: () = assert!(size_of::<RttHistogram>() == 8 * (RTT_BUCKETS + 1));

impl Default for RttHistogram {
    fn default() -> Self {
        Self {
            buckets: [0; RTT_BUCKETS],
            sum_us: 0,
        }
    }
}

impl RttHistogram {
    /// Adds what another CPU counted.
    pub fn merge(&mut self, other: &Self) {
        for (sum, n) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += n;
        }
        self.sum_us += other.sum_us;
    }
}

/// Returns the bucket of a round-trip time in microseconds.
#[inline(always)]
pub const fn bucket_of(us: u32) -> u32 {
    if us < STEPS {
        return us;
    }
    // us lies in [2^e, 2^(e+1)); the two bits below the highest choose the step.
    let exponent = 31 - us.leading_zeros();
    let step = (us >> (exponent - 2)) & (STEPS - 1);
    let bucket = (exponent - 1) * STEPS + step;
    if bucket < LAST { bucket } else { LAST }
}

/// Returns the largest round-trip time of a bucket in microseconds.
pub const fn bucket_upper_us(bucket: u32) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let exponent = bucket / STEPS + 1;
    let step = (bucket % STEPS) as u64;
    let width = 1_u64 << (exponent - 2);
    (1_u64 << exponent) + (step + 1) * width - 1
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only u64 (size asserted above), every bit pattern is valid.
unsafe impl aya::Pod for RttHistogram {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket() {
        for us in (0..100_000)
            .chain((0..26).map(|e| (1 << e) - 1))
            .chain((0..26).map(|e| 1 << e))
        {
            let bucket = bucket_of(us);
            assert!(
                u64::from(us) <= bucket_upper_us(bucket),
                "{us} above bucket {bucket}"
            );
            if bucket > 0 {
                assert!(
                    u64::from(us) > bucket_upper_us(bucket - 1),
                    "{us} below bucket {bucket}"
                );
            }
        }
    }

    #[test]
    fn the_longest_time_has_a_bucket() {
        assert_eq!(bucket_of(u32::MAX), LAST);
    }
}
