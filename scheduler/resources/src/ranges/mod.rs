//! Sets of whole numbers, kept as ranges.
//!
//! As ports are, but of any `u64`: a [`Range`] is never empty, both its ends are included, and
//! [`Ranges`] are always in their normal form, so two are equal exactly when they hold the same
//! numbers.

mod range;
mod set;

pub use range::{Range, RangeError};
pub use set::{NotPorts, Ranges, RangesOverlap};
