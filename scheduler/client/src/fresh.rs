//! Ids that nobody has used before.
//!
//! An id is a prefix that people recognise and 64 random bits. Ids have to be new among those of one
//! framework or one operator, which makes that far more than enough.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use weir_protocol::{IdError, OperationId, TaskId};

/// The letters of the random part: those of the ids that Weir makes.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The bits of one letter.
const LETTER_BITS: u32 = 5;

/// Returns a task id that begins with `prefix`.
pub fn task_id(prefix: &str) -> Result<TaskId, IdError> {
    TaskId::new(format!("{prefix}.{}", word(random())))
}

/// Returns an operation id that begins with `prefix`.
///
/// Keep it until the operation is answered: the same operation under the same id is done once, however
/// often it is sent.
pub fn operation_id(prefix: &str) -> Result<OperationId, IdError> {
    OperationId::new(format!("{prefix}.{}", word(random())))
}

/// Returns a random number. Good for ids and for spreading things out, not for secrets.
pub(crate) fn random() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // The keys of the hasher are random, and differ for every thread and every call.
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    RandomState::new().hash_one((call, std::process::id(), SystemTime::now()))
}

/// Returns the number in letters.
fn word(number: u64) -> String {
    (0..u64::BITS.div_ceil(LETTER_BITS))
        .map(|place| {
            let five = (number >> (place * LETTER_BITS)) & 31;
            let index = usize::try_from(five).expect("five bits fit anywhere");
            char::from(ALPHABET[index])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_new_each_time_and_begin_with_what_people_recognise() {
        let ids: BTreeSet<TaskId> = (0..10_000).map(|_| task_id("web").unwrap()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.as_str().starts_with("web.")));
    }

    #[test]
    fn different_numbers_are_different_words() {
        let words = [0, 1, 31, 32, u64::MAX, u64::MAX - 1, 1 << 63].map(word);
        assert_eq!(BTreeSet::from(words.clone()).len(), words.len());
        assert!(words.iter().all(|word| word.len() == 13));
    }

    #[test]
    fn a_prefix_that_no_id_can_have_is_refused() {
        assert!(task_id("a b").is_err());
        assert!(operation_id(&"x".repeat(128)).is_err());
    }
}
