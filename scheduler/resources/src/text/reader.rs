//! Reads a text from left to right, one token at a time.

use std::borrow::Cow;

use super::Found;
use super::error::{Refusal, TextError, shortened};
use super::print::is_bare;
use crate::amount::{Amount, AmountFault};
use crate::word::WordError;

impl Found {
    /// Returns what stands at a byte of a text; the byte begins a character or is the end.
    pub(crate) fn at(text: &str, byte: usize) -> Self {
        text.get(byte..)
            .and_then(|rest| rest.chars().next())
            .map_or(Self::End, Self::Character)
    }
}

/// A place in a text: a byte that begins a character, or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(usize);

/// A text, and how far it is read. Spaces are skipped after every token.
pub(crate) struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut reader = Self { text, place: 0 };
        reader.skip_spaces();
        reader
    }

    /// Returns where the next token begins.
    pub(crate) const fn place(&self) -> Place {
        Place(self.place)
    }

    /// Returns the next character, which is no space.
    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Reads `wanted` if it comes next.
    pub(crate) fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance(wanted.len_utf8());
        }
        found
    }

    /// Reads `wanted`, which is what `expected` names last.
    pub(crate) fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), TextError> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    /// Reads nothing, which is what `expected` names last.
    pub(crate) fn end(&self, expected: &'static str) -> Result<(), TextError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected(expected)),
        }
    }

    /// Reads things with commas between them up to `closing`, which `expected` names.
    pub(crate) fn list<T>(
        &mut self,
        closing: char,
        expected: &'static str,
        mut one: impl FnMut(&mut Self) -> Result<T, TextError>,
    ) -> Result<Vec<T>, TextError> {
        let mut all = Vec::new();
        if self.take(closing) {
            return Ok(all);
        }
        loop {
            all.push(one(self)?);
            if !self.take(',') {
                self.expect(closing, expected)?;
                return Ok(all);
            }
        }
    }

    /// Reads a word as it stands or in quotes; `expected` says what it names.
    pub(crate) fn word<T>(
        &mut self,
        expected: &'static str,
        make: impl FnOnce(&str) -> Result<T, WordError>,
    ) -> Result<T, TextError> {
        let place = self.place();
        let word = if self.peek() == Some('"') {
            self.quoted()?
        } else {
            let word = self.bare();
            if word.is_empty() {
                return Err(self.unexpected(expected));
            }
            self.advance(word.len());
            Cow::Borrowed(word)
        };
        make(&word).map_err(|error| self.refused(place, error))
    }

    /// Returns the word without quotes that comes next; empty if there is none.
    pub(crate) fn bare(&self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .find(|character| !is_bare(character))
            .unwrap_or(rest.len());
        &rest[..length]
    }

    /// Reads a word in quotes.
    fn quoted(&mut self) -> Result<Cow<'a, str>, TextError> {
        let start = self.place + 1;
        let rest = &self.text[start..];
        let mut word = String::new();
        let mut escaped = false;
        for (index, character) in rest.char_indices() {
            match (escaped, character) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    self.place = start + index;
                    self.advance(1);
                    return Ok(Cow::Owned(word));
                }
                (true, '"' | '\\') | (false, _) => {
                    word.push(character);
                    escaped = false;
                }
                (true, _) => {
                    self.place = start + index;
                    return Err(self.unexpected(r#"`"` or `\` after `\`"#));
                }
            }
        }
        self.place = self.text.len();
        Err(self.unexpected("a closing `\"`"))
    }

    /// Reads an amount.
    pub(crate) fn amount(&mut self) -> Result<Amount, TextError> {
        let (amount, length) = Amount::read(self.rest()).map_err(|error| {
            // What is before the fault is ASCII: a character is a byte.
            let position = self.position(self.place()) - 1 + error.position;
            match error.fault {
                AmountFault::Unexpected { expected, found } => TextError::Unexpected {
                    expected,
                    found,
                    position,
                },
                AmountFault::LeadingZero | AmountFault::TooFine | AmountFault::TooLarge => {
                    TextError::Refused {
                        position,
                        reason: error.fault.into(),
                    }
                }
            }
        })?;
        self.advance(length);
        Ok(amount)
    }

    /// Reads a number of a range.
    pub(crate) fn number(&mut self) -> Result<u64, TextError> {
        let rest = self.rest();
        let length = rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(rest.len());
        if length == 0 {
            return Err(self.unexpected("a number"));
        }
        let number =
            number(&rest[..length]).map_err(|reason| self.refused(self.place(), reason))?;
        self.advance(length);
        Ok(number)
    }

    /// Returns that what was read at `place` cannot be.
    pub(crate) fn refused(&self, place: Place, reason: impl Into<Refusal>) -> TextError {
        TextError::Refused {
            position: self.position(place),
            reason: reason.into(),
        }
    }

    /// Returns that something else stands here than `expected`.
    pub(crate) fn unexpected(&self, expected: &'static str) -> TextError {
        self.unexpected_at(self.place(), expected)
    }

    /// Returns that something else stands at `place` than `expected`.
    pub(crate) fn unexpected_at(&self, place: Place, expected: &'static str) -> TextError {
        TextError::Unexpected {
            expected,
            found: Found::at(self.text, place.0),
            position: self.position(place),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    fn advance(&mut self, bytes: usize) {
        self.place += bytes;
        self.skip_spaces();
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.place += rest.len() - rest.trim_start_matches(' ').len();
    }

    /// Returns the position that people count: only errors ask, so nothing is counted before.
    fn position(&self, place: Place) -> usize {
        self.text[..place.0].chars().count() + 1
    }
}

/// Returns the number that `digits` are: digits only, and not none.
pub(crate) fn number(digits: &str) -> Result<u64, Refusal> {
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(Refusal::LeadingZero {
            digits: shortened(digits),
        });
    }
    digits.parse().map_err(|_too_large| Refusal::TooLarge {
        digits: shortened(digits),
    })
}
