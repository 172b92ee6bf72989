//! Resources as people and Mesos write them.

mod print;
mod reader;

pub use print::Quoted;

pub use crate::ports::Found;
