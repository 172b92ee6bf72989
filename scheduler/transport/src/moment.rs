//! Points in time, for people.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::time::ASN1Time;

/// A point in time that is written like `2026-11-22T20:15:00Z`.
///
/// Certificates count whole seconds, and so does this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// Returns the second that `time` is in.
    pub fn from_system(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()),
            Err(before) => i64::try_from(before.duration().as_secs()).map(|seconds| -seconds),
        };
        Self(seconds.unwrap_or(i64::MAX))
    }

    /// Returns the moment that is `seconds` after 1970.
    pub fn from_unix_s(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Returns how many seconds after 1970 it is.
    pub fn as_unix_s(self) -> i64 {
        self.0
    }

    /// Returns the moment `after` later.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(after.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the moment `before` earlier.
    #[must_use]
    pub fn minus(self, before: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(before.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    pub(crate) fn from_asn1(time: ASN1Time) -> Self {
        Self(time.timestamp())
    }

    /// Returns the moment as the calendar has it, if the calendar goes that far.
    pub(crate) fn to_asn1(self) -> Option<ASN1Time> {
        ASN1Time::from_timestamp(self.0).ok()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = self.to_asn1() else {
            return write!(formatter, "{} s after 1970", self.0);
        };
        let time = time.to_datetime();
        write!(
            formatter,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_the_calendar_has_it() {
        assert_eq!(
            Moment::from_unix_s(1_795_378_500).to_string(),
            "2026-11-22T20:15:00Z"
        );
        assert_eq!(Moment::from_unix_s(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Moment::from_unix_s(-1).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn a_moment_beyond_the_calendar_is_still_written() {
        assert_eq!(
            Moment::from_unix_s(i64::MAX).to_string(),
            format!("{} s after 1970", i64::MAX)
        );
    }
}
