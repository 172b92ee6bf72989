//! How anything is refused: a code for programs, a reason and a remedy for people.

mod code;
mod read;
mod reason;
mod write;

pub use code::ErrorCode;
pub use reason::{CallError, Failure};

pub(crate) use read::call_id;
