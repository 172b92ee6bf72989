//! Roles: for whom resources are reserved.

use std::sync::Arc;

use super::word::{Rules, WORD_BYTES_MAX, WordError, is_visible_or_space, word};

/// The name of a role: never empty, `*`, `.` or `..`, without a leading `-`, and without slash,
/// backslash, whitespace or control characters.
///
/// Mesos' rules, less its hierarchy: a slash is refused. `*` is how Mesos writes *no* role, which
/// here is the absence of one. A role is a component of the path to its volumes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(Arc<str>);

impl Role {
    const RULES: Rules = Rules {
        what: "a role",
        bytes_max: WORD_BYTES_MAX,
        allows: |character| {
            is_visible_or_space(character)
                && !character.is_whitespace()
                && !matches!(character, '/' | '\\')
        },
        begins: |character| character != '-',
        rule: "a role has no slash, backslash, whitespace or invisible character and no leading `-`",
    };

    fn check(text: &str) -> Result<(), WordError> {
        if text == "*" {
            return Err(WordError::Taken {
                what: Self::RULES.what,
                text: text.to_owned(),
                meaning: "it means that nobody has reserved it",
            });
        }
        Self::RULES.check(text)?;
        Self::RULES.check_component(text)
    }
}

word!(Role over Arc<str>);
