//! What can be wrong with a text.

use super::Found;
use crate::amount::AmountFault;
use crate::attributes::AttributeError;
use crate::labels::LabelsError;
use crate::ranges::{RangeError, RangesOverlap};
use crate::resource::ResourceError;
use crate::resources::AddError;
use crate::set::ItemTwice;
use crate::word::WordError;

/// Says what is wrong with a text, where, and what to write instead.
///
/// Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Something stands where something else must.
    #[error("expected {expected} at position {position}, found {found}")]
    Unexpected {
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: Found,
        /// Where.
        position: usize,
    },
    /// The text can be read, but what it says cannot be.
    #[error("at position {position}: {reason}")]
    Refused {
        /// Where what it says begins.
        position: usize,
        /// Why it cannot be.
        reason: Refusal,
    },
}

impl TextError {
    /// Returns where it is: characters from 1, and one more than there are if the text ends too
    /// early.
    pub const fn position(&self) -> usize {
        match self {
            Self::Unexpected { position, .. } | Self::Refused { position, .. } => *position,
        }
    }
}

/// Says why what was read cannot be, in whichever form it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A number of a range that is too large.
    #[error("number `{digits}` is too large; the largest is {max}", max = u64::MAX)]
    TooLarge {
        /// The number as it was written, shortened if it is very long.
        digits: String,
    },
    /// A number of a range that some would read as octal.
    #[error("number `{digits}` has a leading zero; write it without")]
    LeadingZero {
        /// The number as it was written, shortened if it is very long.
        digits: String,
    },
    /// An amount that is not exact.
    #[error(transparent)]
    Amount(#[from] AmountFault),
    /// A name, role, id or the like that cannot be one.
    #[error(transparent)]
    Word(#[from] WordError),
    /// Ends that make no range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Ranges that overlap.
    #[error(transparent)]
    Overlap(#[from] RangesOverlap),
    /// An item that is there twice.
    #[error(transparent)]
    Item(#[from] ItemTwice),
    /// Labels that cannot be together.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// A resource that cannot be.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// An attribute that cannot be, or not beside the others.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// Resources that cannot be together.
    #[error(transparent)]
    Together(#[from] AddError),
}

/// Returns `digits`, cut where nobody needs to read on: the text may be hostile and long.
pub(crate) fn shortened(digits: &str) -> String {
    const SHOWN: usize = 24;
    match digits.get(..SHOWN) {
        Some(start) if digits.len() > SHOWN => format!("{start}…"),
        Some(_) | None => digits.to_owned(),
    }
}
