//! Principals: who reserved, created or asked.

use std::sync::Arc;

use super::word::{Rules, WORD_BYTES_MAX, WordError, is_visible_or_space, word};

/// The name by which a peer is known and which rules of access speak of.
///
/// Whitespace and control characters are refused; the rest is for whoever issues certificates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    const RULES: Rules = Rules {
        what: "a principal",
        bytes_max: WORD_BYTES_MAX,
        allows: |character| is_visible_or_space(character) && !character.is_whitespace(),
        begins: |_| true,
        rule: "a principal has no whitespace or invisible character",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)
    }
}

word!(Principal over Arc<str>);
