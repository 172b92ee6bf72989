//! Places in lists: where a page begins, and where the next does.

use std::fmt::Display;
use std::str::FromStr;

use weir_protocol::operator::{Cursor, Page};
use weir_protocol::{ErrorCode, Failure, Line};

/// Returns the place behind which a page begins.
pub(super) fn after<K: FromStr>(page: &Page) -> Result<Option<K>, Failure> {
    let Some(Cursor(text)) = &page.after else {
        return Ok(None);
    };
    let key = text.as_str().parse().map_err(|_unreadable| {
        Failure::new(
            ErrorCode::InvalidMessage,
            format_args!("`{text}` is no place in this list"),
            "give what the answer before called next, or begin without",
        )
    })?;
    Ok(Some(key))
}

/// Gives each entry its place, as whoever asks for more names it.
pub(super) fn with_places<K: Display, T>(
    entries: impl Iterator<Item = (K, T)>,
) -> impl Iterator<Item = (Cursor, T)> {
    entries.map(|(place, entry)| {
        let place = Line::new(place.to_string()).expect("a name, or an id with a number");
        (Cursor(place), entry)
    })
}
