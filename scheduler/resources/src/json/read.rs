//! Reads resources.

use super::error::{JsonError, JsonFault};
use super::reader::{Place, Reader, shown};
use crate::amount::Amount;
use crate::labels::{LabelKey, LabelValue, Labels};
use crate::name::ResourceName;
use crate::principal::Principal;
use crate::ranges::{Range, Ranges};
use crate::reservation::Reservation;
use crate::resource::{Kind, Resource, ResourceParts};
use crate::resources::Resources;
use crate::role::Role;
use crate::set::{Item, ItemSet};
use crate::text::Refusal;
use crate::value::{Value, ValueType};
use crate::volume::{ContainerPath, Volume, VolumeId, VolumeMode};
use crate::word::WordError;

impl Resources {
    /// Returns the resources that are written as an array of objects.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text);
        let mut places = Vec::new();
        let resources = reader.array(|reader| {
            places.push(reader.place());
            resource(reader)
        })?;
        reader.end()?;
        Self::collect_in_order(&resources)
            .map_err(|(index, error)| reader.fault(places[index], Refusal::from(error)))
    }
}

/// The value of a key, and where the key stands.
struct Member<T> {
    value: T,
    place: Place,
}

/// Reads the value of a key that may stand once.
fn once<'a, T>(
    member: &mut Option<Member<T>>,
    reader: &mut Reader<'a>,
    key: &'static str,
    place: Place,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, JsonError>,
) -> Result<(), JsonError> {
    if member.is_some() {
        return Err(reader.fault(place, JsonFault::KeyTwice { key }));
    }
    let value = read(reader)?;
    *member = Some(Member { value, place });
    Ok(())
}

/// Returns the value of a key that must be in the object that begins at `place`.
fn required<T>(
    member: Option<Member<T>>,
    reader: &Reader<'_>,
    key: &'static str,
    place: Place,
) -> Result<T, JsonError> {
    match member {
        Some(member) => Ok(member.value),
        None => Err(reader.fault(place, JsonFault::KeyMissing { key })),
    }
}

/// Refuses a key that contradicts another.
fn absent<T>(
    member: Option<&Member<T>>,
    reader: &Reader<'_>,
    key: &'static str,
    beside: &'static str,
) -> Result<(), JsonError> {
    match member {
        None => Ok(()),
        Some(member) => Err(reader.fault(member.place, JsonFault::KeyBeside { key, beside })),
    }
}

fn unknown(reader: &Reader<'_>, key: &str, place: Place, known: &'static str) -> JsonError {
    let key = shown(key);
    reader.fault(place, JsonFault::UnknownKey { key, known })
}

/// Reads a word.
fn word<T>(
    reader: &mut Reader<'_>,
    make: impl FnOnce(&str) -> Result<T, WordError>,
) -> Result<T, JsonError> {
    let place = reader.place();
    let text = reader.text()?;
    make(&text).map_err(|error| reader.fault(place, Refusal::from(error)))
}

/// Reads one of a few texts.
fn choice<T: Copy>(
    reader: &mut Reader<'_>,
    choices: &[(&str, T)],
    known: &'static str,
) -> Result<T, JsonError> {
    let place = reader.place();
    let text = reader.text()?;
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let found = shown(&text);
            Err(reader.fault(place, JsonFault::UnknownText { found, known }))
        }
    }
}

/// Reads an object of one key, which must be there.
fn wrapped<'a, T>(
    reader: &mut Reader<'a>,
    key: &'static str,
    known: &'static str,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    let start = reader.place();
    let mut value = None;
    reader.object(|reader, found, place| {
        if found == key {
            once(&mut value, reader, key, place, &mut read)
        } else {
            Err(unknown(reader, found, place, known))
        }
    })?;
    required(value, reader, key, start)
}

fn resource(reader: &mut Reader<'_>) -> Result<Resource, JsonError> {
    const KNOWN: &str = "`name`, `type`, `scalar`, `ranges`, `set`, `role`, `reservation`, \
                         `reservations`, `disk` and `revocable`";
    let start = reader.place();
    let (mut name, mut value_type, mut revocable, mut volume) = (None, None, None, None);
    let (mut scalar, mut ranges, mut set) = (None, None, None);
    let (mut role, mut reservation, mut reservations) = (None, None, None);
    reader.object(|reader, key, place| match key {
        "name" => once(&mut name, reader, "name", place, |reader| {
            word(reader, |text| ResourceName::new(text))
        }),
        "type" => once(&mut value_type, reader, "type", place, value_type_of),
        "scalar" => once(&mut scalar, reader, "scalar", place, scalar_of),
        "ranges" => once(&mut ranges, reader, "ranges", place, ranges_of),
        "set" => once(&mut set, reader, "set", place, set_of),
        "role" => once(&mut role, reader, "role", place, role_of),
        "reservation" => once(
            &mut reservation,
            reader,
            "reservation",
            place,
            older_reservation,
        ),
        "reservations" => once(
            &mut reservations,
            reader,
            "reservations",
            place,
            reservations_of,
        ),
        "disk" => once(&mut volume, reader, "disk", place, volume_of),
        "revocable" => once(&mut revocable, reader, "revocable", place, nothing_of),
        _ => Err(unknown(reader, key, place, KNOWN)),
    })?;

    let name = required(name, reader, "name", start)?;
    let value = match required(value_type, reader, "type", start)? {
        ValueType::Scalar => {
            absent(ranges.as_ref(), reader, "ranges", "type SCALAR")?;
            absent(set.as_ref(), reader, "set", "type SCALAR")?;
            Value::Scalar(required(scalar, reader, "scalar", start)?)
        }
        ValueType::Ranges => {
            absent(scalar.as_ref(), reader, "scalar", "type RANGES")?;
            absent(set.as_ref(), reader, "set", "type RANGES")?;
            Value::Ranges(required(ranges, reader, "ranges", start)?)
        }
        ValueType::Set => {
            absent(scalar.as_ref(), reader, "scalar", "type SET")?;
            absent(ranges.as_ref(), reader, "ranges", "type SET")?;
            Value::Set(required(set, reader, "set", start)?)
        }
    };
    let reservation = match reservations {
        Some(reservations) => {
            absent(role.as_ref(), reader, "role", "`reservations`")?;
            absent(
                reservation.as_ref(),
                reader,
                "reservation",
                "`reservations`",
            )?;
            reservations.value
        }
        None => match (role.and_then(|role| role.value), reservation) {
            (None, None) => Reservation::Unreserved,
            (Some(role), None) => Reservation::Static(role),
            (Some(role), Some(reservation)) => {
                let (principal, labels) = reservation.value;
                Reservation::Dynamic {
                    role,
                    principal,
                    labels,
                }
            }
            (None, Some(reservation)) => {
                let (key, beside) = ("reservation", "no `role`, or role `*`");
                let fault = JsonFault::KeyBeside { key, beside };
                return Err(reader.fault(reservation.place, fault));
            }
        },
    };
    let parts = ResourceParts {
        name,
        value,
        reservation,
        volume: volume.map(|volume| volume.value),
        kind: if revocable.is_some() {
            Kind::Revocable
        } else {
            Kind::Regular
        },
    };
    Resource::from_parts(parts).map_err(|error| reader.fault(start, Refusal::from(error)))
}

fn value_type_of(reader: &mut Reader<'_>) -> Result<ValueType, JsonError> {
    let types = [
        ("SCALAR", ValueType::Scalar),
        ("RANGES", ValueType::Ranges),
        ("SET", ValueType::Set),
    ];
    choice(reader, &types, "SCALAR, RANGES or SET")
}

fn scalar_of(reader: &mut Reader<'_>) -> Result<Amount, JsonError> {
    wrapped(reader, "value", "`value`", Reader::amount)
}

fn ranges_of(reader: &mut Reader<'_>) -> Result<Ranges, JsonError> {
    let place = reader.place();
    let ranges = wrapped(reader, "range", "`range`", |reader| reader.array(range))?;
    Ranges::disjoint(ranges).map_err(|error| reader.fault(place, Refusal::from(error)))
}

fn range(reader: &mut Reader<'_>) -> Result<Range, JsonError> {
    let start = reader.place();
    let (mut begin, mut end) = (None, None);
    reader.object(|reader, key, place| match key {
        "begin" => once(&mut begin, reader, "begin", place, Reader::number),
        "end" => once(&mut end, reader, "end", place, Reader::number),
        _ => Err(unknown(reader, key, place, "`begin` and `end`")),
    })?;
    let begin = required(begin, reader, "begin", start)?;
    let end = required(end, reader, "end", start)?;
    Range::new(begin, end).map_err(|error| reader.fault(start, Refusal::from(error)))
}

fn set_of(reader: &mut Reader<'_>) -> Result<ItemSet, JsonError> {
    let place = reader.place();
    let items = wrapped(reader, "item", "`item`", |reader| {
        reader.array(|reader| word(reader, |text| Item::new(text)))
    })?;
    ItemSet::distinct(items).map_err(|error| reader.fault(place, Refusal::from(error)))
}

/// Reads a role, or `*`, which is none.
fn role_of(reader: &mut Reader<'_>) -> Result<Option<Role>, JsonError> {
    word(reader, |text| match text {
        "*" => Ok(None),
        _ => Role::new(text).map(Some),
    })
}

fn older_reservation(reader: &mut Reader<'_>) -> Result<(Principal, Labels), JsonError> {
    let start = reader.place();
    let (mut principal, mut labels) = (None, None);
    reader.object(|reader, key, place| match key {
        "principal" => once(&mut principal, reader, "principal", place, principal_of),
        "labels" => once(&mut labels, reader, "labels", place, labels_of),
        _ => Err(unknown(reader, key, place, "`principal` and `labels`")),
    })?;
    let principal = required(principal, reader, "principal", start)?;
    let labels = labels.map_or_else(Labels::none, |labels| labels.value);
    Ok((principal, labels))
}

/// Reads the reservations of one resource, of which there may be one.
fn reservations_of(reader: &mut Reader<'_>) -> Result<Reservation, JsonError> {
    let place = reader.place();
    let mut reservations = reader.array(reservation_of)?;
    match reservations.len() {
        0 | 1 => Ok(reservations.pop().unwrap_or_default()),
        count => Err(reader.fault(place, JsonFault::Refined { count })),
    }
}

/// The two kinds of reservation, as JSON names them.
#[derive(Clone, Copy)]
enum ReservationType {
    Static,
    Dynamic,
}

fn reservation_of(reader: &mut Reader<'_>) -> Result<Reservation, JsonError> {
    const KNOWN: &str = "`type`, `role`, `principal` and `labels`";
    let types = [
        ("STATIC", ReservationType::Static),
        ("DYNAMIC", ReservationType::Dynamic),
    ];
    let start = reader.place();
    let (mut reservation_type, mut role) = (None, None);
    let (mut principal, mut labels) = (None, None);
    reader.object(|reader, key, place| match key {
        "type" => once(&mut reservation_type, reader, "type", place, |reader| {
            choice(reader, &types, "STATIC or DYNAMIC")
        }),
        "role" => once(&mut role, reader, "role", place, |reader| {
            word(reader, |text| Role::new(text))
        }),
        "principal" => once(&mut principal, reader, "principal", place, principal_of),
        "labels" => once(&mut labels, reader, "labels", place, labels_of),
        _ => Err(unknown(reader, key, place, KNOWN)),
    })?;
    let reservation_type = required(reservation_type, reader, "type", start)?;
    let role = required(role, reader, "role", start)?;
    match reservation_type {
        ReservationType::Static => {
            absent(principal.as_ref(), reader, "principal", "type STATIC")?;
            absent(labels.as_ref(), reader, "labels", "type STATIC")?;
            Ok(Reservation::Static(role))
        }
        ReservationType::Dynamic => Ok(Reservation::Dynamic {
            role,
            principal: required(principal, reader, "principal", start)?,
            labels: labels.map_or_else(Labels::none, |labels| labels.value),
        }),
    }
}

fn principal_of(reader: &mut Reader<'_>) -> Result<Principal, JsonError> {
    word(reader, |text| Principal::new(text))
}

fn labels_of(reader: &mut Reader<'_>) -> Result<Labels, JsonError> {
    let place = reader.place();
    let labels = wrapped(reader, "labels", "`labels`", |reader| reader.array(label))?;
    Labels::new(labels).map_err(|error| reader.fault(place, Refusal::from(error)))
}

fn label(reader: &mut Reader<'_>) -> Result<(LabelKey, LabelValue), JsonError> {
    let start = reader.place();
    let (mut label_key, mut value) = (None, None);
    reader.object(|reader, key, place| match key {
        "key" => once(&mut label_key, reader, "key", place, |reader| {
            word(reader, |text| LabelKey::new(text))
        }),
        "value" => once(&mut value, reader, "value", place, |reader| {
            word(reader, |text| LabelValue::new(text))
        }),
        _ => Err(unknown(reader, key, place, "`key` and `value`")),
    })?;
    let label_key = required(label_key, reader, "key", start)?;
    let value = required(value, reader, "value", start)?;
    Ok((label_key, value))
}

fn volume_of(reader: &mut Reader<'_>) -> Result<Volume, JsonError> {
    let start = reader.place();
    let (mut persistence, mut volume) = (None, None);
    reader.object(|reader, key, place| match key {
        "persistence" => once(&mut persistence, reader, "persistence", place, |reader| {
            wrapped(reader, "id", "`id`", |reader| {
                word(reader, |text| VolumeId::new(text))
            })
        }),
        "volume" => once(&mut volume, reader, "volume", place, use_of),
        _ => Err(unknown(reader, key, place, "`persistence` and `volume`")),
    })?;
    let id = required(persistence, reader, "persistence", start)?;
    let (container_path, mode) = required(volume, reader, "volume", start)?;
    Ok(Volume {
        id,
        container_path,
        mode,
    })
}

/// Reads how a container uses a volume.
fn use_of(reader: &mut Reader<'_>) -> Result<(ContainerPath, VolumeMode), JsonError> {
    let modes = [("RW", VolumeMode::ReadWrite), ("RO", VolumeMode::ReadOnly)];
    let start = reader.place();
    let (mut container_path, mut mode) = (None, None);
    reader.object(|reader, key, place| match key {
        "container_path" => once(
            &mut container_path,
            reader,
            "container_path",
            place,
            |reader| word(reader, |text| ContainerPath::new(text)),
        ),
        "mode" => once(&mut mode, reader, "mode", place, |reader| {
            choice(reader, &modes, "RW or RO")
        }),
        _ => Err(unknown(reader, key, place, "`container_path` and `mode`")),
    })?;
    let container_path = required(container_path, reader, "container_path", start)?;
    let mode = required(mode, reader, "mode", start)?;
    Ok((container_path, mode))
}

/// Reads an object without keys.
fn nothing_of(reader: &mut Reader<'_>) -> Result<(), JsonError> {
    reader.object(|reader, key, place| Err(unknown(reader, key, place, "none")))
}
