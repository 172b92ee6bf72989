//! Reads JSON from left to right.
//!
//! Only what resources are made of: objects, arrays, texts and plain numbers, whose nesting the
//! caller determines. So nothing recurses, and nothing is built that is not wanted.

use super::error::{JsonError, JsonFault};
use crate::amount::{Amount, AmountFault};
use crate::ports::Found;
use crate::text::{number, shortened};
use crate::word::escaped;

/// A place in a text: a byte that begins a character, or the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

/// A text, and how far it is read. Whitespace is skipped after every token.
pub(super) struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Self { text, place: 0 };
        reader.skip_whitespace();
        reader
    }

    /// Returns where the next token begins.
    pub(super) const fn place(&self) -> Place {
        Place(self.place)
    }

    /// Reads nothing.
    pub(super) fn end(&self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    /// Reads an array, one element at a time.
    pub(super) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, JsonError>,
    ) -> Result<Vec<T>, JsonError> {
        self.expect('[', "`[`")?;
        let mut elements = Vec::new();
        if self.take(']') {
            return Ok(elements);
        }
        loop {
            elements.push(element(self)?);
            if !self.take(',') {
                self.expect(']', "`,` or `]`")?;
                return Ok(elements);
            }
        }
    }

    /// Reads an object: `member` is given each key, the place where it stands, and the reader in
    /// front of its value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str, Place) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect('{', "`{`")?;
        if self.take('}') {
            return Ok(());
        }
        loop {
            let place = self.place();
            if self.peek() != Some('"') {
                return Err(self.unexpected("a key in quotes"));
            }
            let key = self.text()?;
            self.expect(':', "`:`")?;
            member(self, &key, place)?;
            if !self.take(',') {
                return self.expect('}', "`,` or `}`");
            }
        }
    }

    /// Reads a text.
    pub(super) fn text(&mut self) -> Result<String, JsonError> {
        if self.peek() != Some('"') {
            return Err(self.unexpected("a text in quotes"));
        }
        self.place += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest
                .find(|character: char| matches!(character, '"' | '\\' | '\0'..='\u{1f}'))
                .unwrap_or(rest.len());
            text.push_str(&rest[..plain]);
            self.place += plain;
            match self.peek() {
                Some('"') => {
                    self.place += 1;
                    self.skip_whitespace();
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some(_) | None => return Err(self.unexpected("a closing `\"`")),
            }
        }
    }

    /// Reads an escape: a backslash and what it makes special.
    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.place();
        let bad = |reader: &Self| reader.fault(start, JsonFault::Escape);
        let mut next = self.rest().chars().skip(1);
        let character = match next.next() {
            Some('"') => '"',
            Some('\\') => '\\',
            Some('/') => '/',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let high = self.hexadecimal(2).ok_or_else(|| bad(self))?;
                if let Some(character) = char::from_u32(u32::from(high)) {
                    self.place += 6;
                    return Ok(character);
                }
                // Half of a pair: the other must follow.
                let pair = self.rest().get(6..8) == Some("\\u");
                let low = self.hexadecimal(8).filter(|_| pair);
                let low = low.ok_or_else(|| bad(self))?;
                let character = char::decode_utf16([high, low])
                    .next()
                    .and_then(Result::ok)
                    .ok_or_else(|| bad(self))?;
                self.place += 12;
                return Ok(character);
            }
            Some(_) | None => return Err(bad(self)),
        };
        self.place += 2;
        Ok(character)
    }

    /// Returns the number of four hexadecimal digits so many bytes from here.
    fn hexadecimal(&self, from: usize) -> Option<u16> {
        let digits = self.rest().get(from..from + 4)?;
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| all)
    }

    /// Reads an amount.
    pub(super) fn amount(&mut self) -> Result<Amount, JsonError> {
        let start = self.place;
        match Amount::read(self.rest()) {
            Ok((amount, length)) => {
                self.place += length;
                self.skip_whitespace();
                Ok(amount)
            }
            Err(error) => {
                // What is before the fault is ASCII: a character is a byte.
                let place = Place(start + error.position - 1);
                let fault = match error.fault {
                    AmountFault::Unexpected { expected, found } => {
                        JsonFault::Unexpected { expected, found }
                    }
                    fault @ (AmountFault::LeadingZero
                    | AmountFault::TooFine
                    | AmountFault::TooLarge) => JsonFault::Refused(fault.into()),
                };
                Err(self.fault(place, fault))
            }
        }
    }

    /// Reads a whole number.
    pub(super) fn number(&mut self) -> Result<u64, JsonError> {
        let place = self.place();
        let rest = self.rest();
        let length = rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(rest.len());
        if length == 0 {
            return Err(self.unexpected("a whole number"));
        }
        let number = number(&rest[..length]).map_err(|refusal| self.fault(place, refusal))?;
        self.place += length;
        self.skip_whitespace();
        Ok(number)
    }

    /// Returns that there is a fault at a place.
    pub(super) fn fault(&self, place: Place, fault: impl Into<JsonFault>) -> JsonError {
        // Only errors ask, so nothing is counted before.
        let before = &self.text[..place.0];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        JsonError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            fault: fault.into(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.place += wanted.len_utf8();
            self.skip_whitespace();
        }
        found
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), JsonError> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn unexpected(&self, expected: &'static str) -> JsonError {
        let found = Found::at(self.text, self.place);
        self.fault(self.place(), JsonFault::Unexpected { expected, found })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    fn skip_whitespace(&mut self) {
        let rest = self.rest();
        let blank = |character| matches!(character, ' ' | '\t' | '\n' | '\r');
        self.place += rest.len() - rest.trim_start_matches(blank).len();
    }
}

/// Returns a text as it is shown in an error.
pub(super) fn shown(text: &str) -> String {
    shortened(&escaped(text))
}
