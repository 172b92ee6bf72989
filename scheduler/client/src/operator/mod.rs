//! What an operator's program asks: one call, one answer.

mod client;
mod error;

pub use client::OperatorClient;
pub use error::OperatorError;
