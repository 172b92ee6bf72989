//! What Weir's processes say to each other.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod wire;
