//! Reads resources and their parts.

use std::str::FromStr;

use super::error::TextError;
use super::reader::Reader;
use crate::labels::{LabelKey, LabelValue, Labels};
use crate::name::ResourceName;
use crate::principal::Principal;
use crate::ranges::{Range, Ranges};
use crate::reservation::Reservation;
use crate::resource::{Kind, Resource, ResourceParts};
use crate::resources::Resources;
use crate::role::Role;
use crate::set::{Item, ItemSet};
use crate::value::Value;
use crate::volume::{ContainerPath, Volume, VolumeId, VolumeMode};

impl FromStr for Resources {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut reader = Reader::new(text);
        if reader.peek().is_none() {
            return Ok(Self::new());
        }
        let (mut resources, mut places) = (Vec::new(), Vec::new());
        loop {
            let place = reader.place();
            resources.push(resource(&mut reader)?);
            places.push(place);
            if !reader.take(';') {
                break;
            }
        }
        reader.end("`;` or the end")?;
        Self::collect_in_order(&resources)
            .map_err(|(index, error)| reader.refused(places[index], error))
    }
}

impl FromStr for Resource {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        whole(text, "the end", resource)
    }
}

impl FromStr for Value {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        whole(text, "the end", value)
    }
}

impl FromStr for Ranges {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        whole(text, "the end", ranges)
    }
}

impl FromStr for ItemSet {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        whole(text, "the end", items)
    }
}

/// Reads one thing, and then nothing.
fn whole<T>(
    text: &str,
    end: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, TextError>,
) -> Result<T, TextError> {
    let mut reader = Reader::new(text);
    let value = read(&mut reader)?;
    reader.end(end)?;
    Ok(value)
}

fn resource(reader: &mut Reader<'_>) -> Result<Resource, TextError> {
    let place = reader.place();
    let name = reader.word("the name of a resource", |word| ResourceName::new(word))?;
    let mut expected = "`(`, `[`, `{REV}` or `:`";
    let mut reservation = Reservation::Unreserved;
    if reader.take('(') {
        reservation = self::reservation(reader)?;
        expected = "`[`, `{REV}` or `:`";
    }
    let mut volume = None;
    if reader.take('[') {
        volume = Some(self::volume(reader)?);
        expected = "`{REV}` or `:`";
    }
    let mut kind = Kind::Regular;
    if reader.peek() == Some('{') {
        revocable(reader)?;
        kind = Kind::Revocable;
        expected = "`:`";
    }
    reader.expect(':', expected)?;
    let value = value(reader)?;
    let parts = ResourceParts {
        name,
        value,
        reservation,
        volume,
        kind,
    };
    Resource::from_parts(parts).map_err(|error| reader.refused(place, error))
}

/// Reads a reservation behind its opening parenthesis.
fn reservation(reader: &mut Reader<'_>) -> Result<Reservation, TextError> {
    let place = reader.place();
    // In quotes it would be a role of that name, which there cannot be.
    let is_nobody = reader.peek() == Some('*');
    let role = reader.word("a role", |word| Ok(word.to_owned()))?;
    if is_nobody && role == "*" && reader.take(')') {
        return Ok(Reservation::Unreserved);
    }
    let role = Role::new(role).map_err(|error| reader.refused(place, error))?;
    if reader.take(')') {
        return Ok(Reservation::Static(role));
    }
    reader.expect(',', "`,` or `)`")?;
    let principal = reader.word("a principal", |word| Principal::new(word))?;
    let labels = if reader.take(',') {
        labels(reader)?
    } else {
        Labels::none()
    };
    let closing = if labels.is_empty() {
        "`,` or `)`"
    } else {
        "`)`"
    };
    reader.expect(')', closing)?;
    Ok(Reservation::Dynamic {
        role,
        principal,
        labels,
    })
}

fn labels(reader: &mut Reader<'_>) -> Result<Labels, TextError> {
    let place = reader.place();
    reader.expect('{', "`{`")?;
    if reader.peek() == Some('}') {
        return Err(reader.unexpected("the key of a label"));
    }
    let labels = reader.list('}', "`,` or `}`", |reader| {
        let key = reader.word("the key of a label", |word| LabelKey::new(word))?;
        reader.expect('=', "`=`")?;
        let value = reader.word("the value of a label", |word| LabelValue::new(word))?;
        Ok((key, value))
    })?;
    Labels::new(labels).map_err(|error| reader.refused(place, error))
}

/// Reads a volume behind its opening bracket.
fn volume(reader: &mut Reader<'_>) -> Result<Volume, TextError> {
    let id = reader.word("the id of a volume", |word| VolumeId::new(word))?;
    reader.expect(':', "`:`")?;
    let container_path = reader.word("a path in the container", |word| ContainerPath::new(word))?;
    reader.expect(':', "`:`")?;
    let place = reader.place();
    let mode = reader.word("`rw` or `ro`", |word| Ok(word.to_owned()))?;
    let mode = match mode.as_str() {
        "rw" => VolumeMode::ReadWrite,
        "ro" => VolumeMode::ReadOnly,
        _ => return Err(reader.unexpected_at(place, "`rw` or `ro`")),
    };
    reader.expect(']', "`]`")?;
    Ok(Volume {
        id,
        container_path,
        mode,
    })
}

fn revocable(reader: &mut Reader<'_>) -> Result<(), TextError> {
    let place = reader.place();
    let is_mark =
        reader.take('{') && reader.word("`REV`", |word| Ok(word == "REV"))? && reader.take('}');
    if is_mark {
        Ok(())
    } else {
        Err(reader.unexpected_at(place, "`{REV}`"))
    }
}

fn value(reader: &mut Reader<'_>) -> Result<Value, TextError> {
    match reader.peek() {
        Some('[') => ranges(reader).map(Value::Ranges),
        Some('{') => items(reader).map(Value::Set),
        Some('0'..='9') => reader.amount().map(Value::Scalar),
        Some(_) | None => Err(reader.unexpected("an amount, `[` or `{`")),
    }
}

pub(crate) fn ranges(reader: &mut Reader<'_>) -> Result<Ranges, TextError> {
    let place = reader.place();
    reader.expect('[', "`[`")?;
    let ranges = reader.list(']', "`,` or `]`", |reader| {
        let place = reader.place();
        let first = reader.number()?;
        // One number is two here: Mesos reads `[1,5]` as 1 to 5, and nobody is to wonder which it is.
        reader.expect('-', "`-` and the last number of the range")?;
        let last = reader.number()?;
        Range::new(first, last).map_err(|error| reader.refused(place, error))
    })?;
    Ranges::disjoint(ranges).map_err(|error| reader.refused(place, error))
}

fn items(reader: &mut Reader<'_>) -> Result<ItemSet, TextError> {
    let place = reader.place();
    reader.expect('{', "`{`")?;
    let items = reader.list('}', "`,` or `}`", |reader| {
        reader.word("an item", |word| Item::new(word))
    })?;
    ItemSet::distinct(items).map_err(|error| reader.refused(place, error))
}
