//! What an operator is answered.

use std::num::NonZeroU32;

use prost::Message;

use super::call::Cursor;
use super::entry::{
    AgentEntry, FrameworkEntry, OfferEntry, ReservationEntry, RoleEntry, TaskEntry, VolumeEntry,
};
use crate::bounds::{LIST_BYTES_MAX, PAGE_MAX};
use crate::failure::Failure;
use crate::id::CallId;
use crate::text::Note;

/// An answer with the call that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The call, or `None` for a failure that is about no call.
    pub call: Option<CallId>,
    /// The answer.
    pub answer: OperatorAnswer,
}

/// What an operator is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAnswer {
    /// It is done, and written down.
    Done {
        /// What to know about it.
        notes: Vec<Note>,
    },
    /// It is not done.
    Failed(Failure),
    /// To LIST_AGENTS.
    Agents(Listing<AgentEntry>),
    /// To LIST_OFFERS.
    Offers(Listing<OfferEntry>),
    /// To LIST_ROLES.
    Roles(Listing<RoleEntry>),
    /// To LIST_FRAMEWORKS.
    Frameworks(Listing<FrameworkEntry>),
    /// To LIST_TASKS.
    Tasks(Listing<TaskEntry>),
    /// To LIST_RESERVATIONS.
    Reservations(Listing<ReservationEntry>),
    /// To LIST_VOLUMES.
    Volumes(Listing<VolumeEntry>),
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where to go on, or `None` when this is the end.
    pub next: Option<Cursor>,
}

impl<T> Listing<T> {
    /// Returns the first of `entries`, each given with the place after it: at most `limit`, and no
    /// more than fit a frame beside each other.
    ///
    /// Only as many entries are taken as are looked at, so a long list may be lazy.
    pub fn page<W: Message + From<T>>(
        entries: impl IntoIterator<Item = (Cursor, T)>,
        limit: Option<NonZeroU32>,
    ) -> Self
    where
        T: Clone,
    {
        let count_max = limit
            .and_then(|limit| usize::try_from(limit.get()).ok())
            .map_or(PAGE_MAX, |limit| limit.min(PAGE_MAX));
        let mut page = Self {
            entries: Vec::new(),
            next: None,
        };
        let (mut bytes, mut last) = (0, None);
        for (after, entry) in entries {
            bytes += W::from(entry.clone()).encoded_len();
            let full = page.entries.len() == count_max || bytes > LIST_BYTES_MAX;
            if full && !page.entries.is_empty() {
                page.next = last;
                break;
            }
            page.entries.push(entry);
            last = Some(after);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Weight;
    use crate::text::Line;
    use crate::wire;
    use weir_resources::{Resources, Role};

    fn role(index: usize, name_length: usize) -> (Cursor, RoleEntry) {
        let name = format!("{index}{}", "x".repeat(name_length));
        let entry = RoleEntry {
            role: Role::new(name).unwrap(),
            weight: Weight::ONE,
            frameworks: 0,
            allocated: Resources::new(),
            reserved: Resources::new(),
            dominant_share_millionths: 0,
        };
        (Cursor(Line::new(index.to_string()).unwrap()), entry)
    }

    fn page(count: usize, name_length: usize, limit: Option<u32>) -> Listing<RoleEntry> {
        let roles = (0..count).map(|index| role(index, name_length));
        Listing::page::<wire::RoleEntry>(roles, limit.and_then(NonZeroU32::new))
    }

    #[test]
    fn a_page_ends_at_its_limit_and_says_where_to_go_on() {
        let two = page(3, 1, Some(2));
        assert_eq!(two.entries.len(), 2);
        assert_eq!(two.next.unwrap().0.as_str(), "1");
        let all = page(3, 1, Some(3));
        assert_eq!((all.entries.len(), all.next), (3, None));
        let none = page(0, 1, None);
        assert_eq!((none.entries.len(), none.next), (0, None));
    }

    #[test]
    fn a_page_fits_a_frame_and_pages_lose_nothing() {
        let first = page(4000, 200, None);
        assert!(first.next.is_some() && first.entries.len() > 1000);
        let answer = Answered {
            call: None,
            answer: OperatorAnswer::Roles(first.clone()),
        };
        let mut frame = Vec::new();
        crate::encode(answer, &mut frame).unwrap();
        let last: usize = first.next.unwrap().0.as_str().parse().unwrap();
        assert_eq!(last + 1, first.entries.len());
    }
}
