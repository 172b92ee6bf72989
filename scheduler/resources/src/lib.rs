//! The algebra of what a node lends.
//!
//! Pure: no I/O, no clock, no randomness. Every operation is exact: it gives the one right answer or
//! an error that says what is wrong, and never clamps, wraps or drops anything in silence.
//!
//! - [`ports`]: sets of ports, and the text they are written in.
//!
//! Nothing in the workspace stands below this crate; it depends on none of its siblings.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod ports;

pub use ports::{PortParseError, PortRange, PortRangeError, PortSet};
