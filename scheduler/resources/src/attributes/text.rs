//! Reads and writes attributes.

use std::fmt;
use std::str::FromStr;

use super::attribute::{
    Attribute, AttributeError, AttributeName, AttributeText, AttributeValue, Attributes,
};
use crate::text::{InQuotes, Quoted, Reader, TextError, ranges};

impl FromStr for Attributes {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut reader = Reader::new(text);
        if reader.peek().is_none() {
            return Ok(Self::default());
        }
        let mut attributes = Vec::new();
        loop {
            let place = reader.place();
            attributes.push((attribute(&mut reader)?, place));
            if !reader.take(';') {
                break;
            }
        }
        reader.end("`;` or the end")?;

        attributes.sort_by(|(one, before), (next, after)| {
            one.name().cmp(next.name()).then(before.cmp(after))
        });
        for pair in attributes.windows(2) {
            let ((one, _), (next, place)) = (&pair[0], &pair[1]);
            if one.name() == next.name() {
                let name = next.name().clone();
                return Err(reader.refused(*place, AttributeError::Twice { name }));
            }
        }
        let attributes = attributes.into_iter().map(|(attribute, _)| attribute);
        Self::new(attributes).map_err(|error| reader.refused(reader.place(), error))
    }
}

fn attribute(reader: &mut Reader<'_>) -> Result<Attribute, TextError> {
    let place = reader.place();
    let name = reader.word("the name of an attribute", |word| AttributeName::new(word))?;
    reader.expect(':', "`:`")?;
    let value = match reader.peek() {
        Some('[') => AttributeValue::Ranges(ranges(reader)?),
        Some(_) if is_amount(reader.bare()) => AttributeValue::Scalar(reader.amount()?),
        Some(_) | None => AttributeValue::Text(
            reader.word("an amount, `[` or a text", |word| AttributeText::new(word))?,
        ),
    };
    Attribute::new(name, value).map_err(|error| reader.refused(place, error))
}

/// Returns whether a word without quotes is an amount, or meant to be one.
fn is_amount(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit())
        && word
            .chars()
            .all(|character| character.is_ascii_digit() || character == '.')
        && word.matches('.').count() <= 1
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(amount) => fmt::Display::fmt(amount, f),
            Self::Ranges(ranges) => fmt::Display::fmt(ranges, f),
            Self::Text(text) if is_amount(text.as_str()) => {
                fmt::Display::fmt(&InQuotes(text.as_str()), f)
            }
            Self::Text(text) => fmt::Display::fmt(&Quoted(text.as_str()), f),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name(), self.value())
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fmt::Display::fmt(attribute, f)?;
        }
        Ok(())
    }
}
