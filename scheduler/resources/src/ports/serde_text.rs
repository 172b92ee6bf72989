//! Sets and ranges in JSON and TOML are the text that people write.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::parse::PortParseError;
use super::range::PortRange;
use super::set::PortSet;

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: "ports such as \"31000-31009,31500\"",
            value: PhantomData,
        })
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: "a range of ports such as \"31000-31009\"",
            value: PhantomData,
        })
    }
}

/// Reads a value from its text without copying the text.
struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err = PortParseError>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_its_text() {
        let set: PortSet = "31000-31009,31500".parse().unwrap();
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#""31000-31009,31500""#);
        assert_eq!(serde_json::from_str::<PortSet>(&json).unwrap(), set);
    }

    #[test]
    fn bad_text_names_the_position() {
        let error = serde_json::from_str::<PortSet>(r#""80,x""#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("expected a port at position 4, found `x`"),
            "{error}"
        );
    }

    #[test]
    fn a_number_is_not_a_set() {
        let error = serde_json::from_str::<PortSet>("80").unwrap_err();
        assert!(error.to_string().contains("31000-31009,31500"), "{error}");
    }
}
