//! To the wire.

use super::reason::{CallError, Failure};
use crate::invalid::Enumeration;
use crate::wire;

impl From<Failure> for wire::Failure {
    fn from(failure: Failure) -> Self {
        let Failure {
            code,
            reason,
            remedy,
        } = failure;
        Self {
            code: code.number(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

impl From<CallError> for wire::Error {
    fn from(error: CallError) -> Self {
        Self {
            call_id: error.call.map(|call| call.0.get()),
            failure: Some(error.failure.into()),
        }
    }
}
