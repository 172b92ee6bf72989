//! Attributes: what is known of a node and cannot be used up.
//!
//! ```text
//! attributes = ( attribute ( ";" attribute )* )?
//! attribute  = name ":" ( amount | ranges | word )
//! ```
//!
//! Amounts, ranges, words and quotes are those of the [text of resources](crate::text):
//! `rack:r7; cores:16; reserved_vlans:[100-120]; os:"Debian 12"`. Digits with at most one point are an
//! amount, and in quotes a text; `6.1.0` is a text. An amount may be 0 here, for it is not there to be
//! used.
//!
//! Each name once, in any order. What Mesos aborts on, a set, a bad value or a missing colon, is an
//! error that says where.

mod attribute;
mod text;

pub use attribute::{
    Attribute, AttributeError, AttributeName, AttributeText, AttributeValue, Attributes,
};
