//! What a framework's author links.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
