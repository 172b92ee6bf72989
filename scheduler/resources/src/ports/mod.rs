//! Sets of TCP and UDP ports.
//!
//! A [`PortRange`] is never empty and a [`PortSet`] is always in its normal form, so two sets are
//! equal exactly when they hold the same ports, and the text of a set is unique. Port 0 is not a
//! port: the kernel reads it as "any", so neither type can hold it. Both ends of a range are
//! inclusive, and nothing wraps at 65535.

mod parse;
mod range;
mod serde_text;
mod set;

pub use parse::{Found, PortParseError};
pub use range::{PORT_MAX, PORT_MIN, PortRange, PortRangeError};
pub use set::PortSet;
