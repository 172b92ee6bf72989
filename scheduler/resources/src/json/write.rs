//! Writes resources.

use std::fmt::{self, Write as _};

use crate::labels::Labels;
use crate::reservation::Reservation;
use crate::resource::{Kind, Resource};
use crate::resources::Resources;
use crate::value::Value;
use crate::volume::{Volume, VolumeMode};

impl Resources {
    /// Returns the resources as an array of objects, in one line.
    pub fn to_json(&self) -> String {
        Json(self).to_string()
    }
}

/// Something as JSON.
struct Json<T>(T);

/// Writes things with commas between them.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    mut one: impl FnMut(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        one(f, item)?;
    }
    Ok(())
}

impl fmt::Display for Json<&Resources> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        list(f, self.0, |f, resource| write!(f, "{}", Json(resource)))?;
        f.write_char(']')
    }
}

impl fmt::Display for Json<&Resource> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.0;
        write!(f, r#"{{"name":{},"#, Json(resource.name().as_str()))?;
        write!(f, "{}", Json(resource.value()))?;
        write!(f, "{}", Json(resource.reservation()))?;
        if let Some(volume) = resource.volume() {
            write!(f, "{}", Json(volume))?;
        }
        match resource.kind() {
            Kind::Regular => {}
            Kind::Revocable => f.write_str(r#","revocable":{}"#)?,
        }
        f.write_char('}')
    }
}

impl fmt::Display for Json<&Value> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Scalar(amount) => {
                write!(f, r#""type":"SCALAR","scalar":{{"value":{amount}}}"#)
            }
            Value::Ranges(ranges) => {
                f.write_str(r#""type":"RANGES","ranges":{"range":["#)?;
                list(f, ranges.ranges(), |f, range| {
                    let (begin, end) = (range.first(), range.last());
                    write!(f, r#"{{"begin":{begin},"end":{end}}}"#)
                })?;
                f.write_str("]}")
            }
            Value::Set(items) => {
                f.write_str(r#""type":"SET","set":{"item":["#)?;
                list(f, items.items(), |f, item| {
                    write!(f, "{}", Json(item.as_str()))
                })?;
                f.write_str("]}")
            }
        }
    }
}

impl fmt::Display for Json<&Reservation> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reservation::Unreserved => Ok(()),
            Reservation::Static(role) => {
                let role = Json(role.as_str());
                write!(f, r#","reservations":[{{"type":"STATIC","role":{role}}}]"#)
            }
            Reservation::Dynamic {
                role,
                principal,
                labels,
            } => {
                let (role, principal) = (Json(role.as_str()), Json(principal.as_str()));
                let labels = Json(labels);
                write!(
                    f,
                    r#","reservations":[{{"type":"DYNAMIC","role":{role},"principal":{principal}{labels}}}]"#
                )
            }
        }
    }
}

impl fmt::Display for Json<&Labels> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(r#","labels":{"labels":["#)?;
        list(f, self.0.as_slice(), |f, (key, value)| {
            let (key, value) = (Json(key.as_str()), Json(value.as_str()));
            write!(f, r#"{{"key":{key},"value":{value}}}"#)
        })?;
        f.write_str("]}")
    }
}

impl fmt::Display for Json<&Volume> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, path) = (
            Json(self.0.id.as_str()),
            Json(self.0.container_path.as_str()),
        );
        let mode = match self.0.mode {
            VolumeMode::ReadWrite => "RW",
            VolumeMode::ReadOnly => "RO",
        };
        write!(
            f,
            r#","disk":{{"persistence":{{"id":{id}}},"volume":{{"container_path":{path},"mode":"{mode}"}}}}"#
        )
    }
}

impl fmt::Display for Json<&str> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}
