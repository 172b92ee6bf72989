//! The messages as they are on the wire, made from the schema.
//!
//! Nothing here is checked: a string may be empty, an enum may have a number that nobody knows.
//! Whoever decides anything converts to the types beside this module first.

#![allow(missing_docs, reason = "documented in the schema that this is made of")]
#![allow(
    clippy::large_enum_variant,
    reason = "generated: they live for as long as a conversion takes"
)]

include!(concat!(env!("OUT_DIR"), "/weir.v1.rs"));
