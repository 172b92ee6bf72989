//! Numbers that were measured, and what can be said of them.

use std::fmt;

/// Measurements of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the value below which a part of all lies, by nearest rank; NaN where there is none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a length is between zero and the length"
        )]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// Returns the middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns how many times as large as another's these are: the median over the rounds, each of
    /// which is compared with itself. A machine that is slower for some rounds is so for both.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        let quotients = self.0.iter().zip(&other.0).map(|(one, other)| one / other);
        quotients.collect::<Self>().median()
    }

    /// Returns the largest.
    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Extend<f64> for Samples {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        self.0.extend(values);
    }
}

/// The median, and the quartiles in brackets. The precision is that of the format.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let (low, median, high) = (self.quantile(0.25), self.median(), self.quantile(0.75));
        write!(f, "{median:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}
