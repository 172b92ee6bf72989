//! What is text for people is the same text in JSON and TOML.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::attributes::Attributes;
use super::ranges::Ranges;
use super::resource::Resource;
use super::resources::Resources;
use super::set::ItemSet;

/// Reads a value from its text; `expected` says what stands there, with its article.
pub(crate) fn deserialize<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text {
        expected,
        value: PhantomData,
    })
}

/// Reads a value from its text without copying the text.
struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as text", self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Makes a type its text in JSON and TOML.
macro_rules! as_text {
    ($name:ty, $expected:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize(deserializer, $expected)
            }
        }
    };
}

as_text!(Ranges, "ranges such as \"[1-5, 7-7]\"");
as_text!(ItemSet, "a set such as \"{a, b}\"");
as_text!(Resource, "a resource such as \"cpus:4\"");
as_text!(Resources, "resources such as \"cpus:4; mem:1024\"");
as_text!(Attributes, "attributes such as \"rack:r7; cores:16\"");
