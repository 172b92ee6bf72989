//! Writes resources as they are read.

use std::fmt::{self, Write as _};

use crate::reservation::Reservation;
use crate::resource::{Kind, Resource};
use crate::resources::Resources;

/// Returns whether a character can stand in a word without quotes.
pub(super) fn is_bare(character: char) -> bool {
    !character.is_whitespace()
        && !character.is_control()
        && !matches!(
            character,
            '(' | ')' | '[' | ']' | '{' | '}' | ':' | ';' | ',' | '=' | '"' | '\\'
        )
}

/// Writes a word as it stands in a text: as it is, or in quotes if it would not read back.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        if !word.is_empty() && word.chars().all(is_bare) {
            return f.write_str(word);
        }
        fmt::Display::fmt(&InQuotes(word), f)
    }
}

/// Writes a word in quotes, whether it would read back without or not.
#[derive(Clone, Copy, Debug)]
pub struct InQuotes<'a>(pub &'a str);

impl fmt::Display for InQuotes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(character)?;
        }
        f.write_char('"')
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().as_str())?;
        match self.reservation() {
            Reservation::Unreserved => {}
            Reservation::Static(role) => write!(f, "({})", Quoted(role.as_str()))?,
            Reservation::Dynamic {
                role,
                principal,
                labels,
            } => {
                let (role, principal) = (Quoted(role.as_str()), Quoted(principal.as_str()));
                write!(f, "({role}, {principal}")?;
                if !labels.is_empty() {
                    write!(f, ", {labels}")?;
                }
                f.write_char(')')?;
            }
        }
        if let Some(volume) = self.volume() {
            let (id, path) = (
                Quoted(volume.id.as_str()),
                Quoted(volume.container_path.as_str()),
            );
            write!(f, "[{id}:{path}:{}]", volume.mode)?;
        }
        match self.kind() {
            Kind::Regular => {}
            Kind::Revocable => f.write_str("{REV}")?,
        }
        write!(f, ":{}", self.value())
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, resource) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fmt::Display::fmt(resource, f)?;
        }
        Ok(())
    }
}
