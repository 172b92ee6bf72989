//! Inputs for the fuzz targets: texts that are almost what is accepted.
//!
//! Random bytes are hardly ever JSON, and would meet the first check of a parser and no other.

/// Where a piece is put, how many characters go for it, and which it is.
pub(crate) type Edit = (u16, u8, u8);

/// More would leave nothing of the text.
const EDITS_MAX: usize = 4;

const PIECES: [&str; 20] = [
    "",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "4294967295",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "/../",
    "é",
    "\n",
];

/// Returns `text` with some pieces of it replaced.
pub(crate) fn near_miss(text: &str, edits: &[Edit]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (at, cut, piece) in edits.iter().take(EDITS_MAX) {
        let at = usize::from(*at) % (characters.len() + 1);
        let end = (at + usize::from(cut % 4)).min(characters.len());
        let piece = PIECES[usize::from(*piece) % PIECES.len()];
        characters.splice(at..end, piece.chars());
    }
    characters.into_iter().collect()
}
