//! How old credentials are, for the log: who reads no metrics should hear it too.

use std::time::Duration;

use super::combine::Credentials;
use crate::moment::Moment;

/// Which part of a certificate's lifetime is its end: a fifth. Whoever renews does it before that.
const END: i64 = 5;

/// How much longer credentials can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age {
    certificate: Stage,
    lists: Stage,
}

/// How far on something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is time.
    Fresh,
    /// It should be renewed now.
    Late,
    /// Its time is over.
    Over,
}

impl Age {
    pub(super) fn of(credentials: &Credentials, now: Moment) -> Self {
        let lists = match credentials.revocations_next_update() {
            Some(at) if at < now => Stage::Over,
            Some(_) | None => Stage::Fresh,
        };
        Self {
            certificate: Stage::of(credentials.not_before(), credentials.not_after(), now),
            lists,
        }
    }

    /// Writes what has become worse since `before`.
    pub(super) fn log_since(self, before: Option<Self>, credentials: &Credentials) {
        if before.is_none_or(|before| before.certificate != self.certificate) {
            let not_after = credentials.not_after();
            match self.certificate {
                Stage::Fresh => {}
                Stage::Late => tracing::warn!(
                    %not_after,
                    "the certificate of this process ends soon; renew it"
                ),
                Stage::Over => tracing::error!(
                    %not_after,
                    "the certificate of this process has ended: new connections will be refused; renew it"
                ),
            }
        }
        if before.is_none_or(|before| before.lists != self.lists) {
            match self.lists {
                Stage::Fresh | Stage::Late => {}
                Stage::Over => tracing::error!(
                    next_update = credentials
                        .revocations_next_update()
                        .map(tracing::field::display),
                    "a revocation list should have been renewed by now; it stays in force, and this process would not start again with it"
                ),
            }
        }
    }
}

impl Stage {
    fn of(begin: Moment, end: Moment, now: Moment) -> Self {
        let lifetime_s = end.as_unix_s().saturating_sub(begin.as_unix_s());
        let last = Duration::from_secs(u64::try_from(lifetime_s / END).unwrap_or(0));
        if now > end {
            Self::Over
        } else if now > end.minus(last) {
            Self::Late
        } else {
            Self::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifth_of_a_lifetime_is_late() {
        let stage = |now| {
            Stage::of(
                Moment::from_unix_s(0),
                Moment::from_unix_s(100),
                Moment::from_unix_s(now),
            )
        };
        assert_eq!(stage(80), Stage::Fresh);
        assert_eq!(stage(81), Stage::Late);
        assert_eq!(stage(100), Stage::Late);
        assert_eq!(stage(101), Stage::Over);
    }
}
