//! Resources as JSON, in the form of Mesos' current messages.
//!
//! ```json
//! [
//!   {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
//!   {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 5}]}, "revocable": {}},
//!   {"name": "zones", "type": "SET", "set": {"item": ["a", "b"]},
//!    "reservations": [{"type": "STATIC", "role": "db"}]},
//!   {"name": "disk", "type": "SCALAR", "scalar": {"value": 10240},
//!    "reservations": [{"type": "DYNAMIC", "role": "db", "principal": "alice",
//!                      "labels": {"labels": [{"key": "why", "value": "migration"}]}}],
//!    "disk": {"persistence": {"id": "pgdata"}, "volume": {"container_path": "data", "mode": "RW"}}}
//! ]
//! ```
//!
//! Read is also the older form of a reservation: `"role"` alone for a static one, with
//! `"reservation": {"principal": …, "labels": …}` for a dynamic one; role `*` is no role. Amounts are
//! read digit by digit and stay exact, which is why this is a reader of its own: others make floating
//! point of a number with a fraction.
//!
//! Strict: keys that are unknown, there twice or missing are errors, as is everything that is one in
//! the [text](crate::text). Every error says line and column. What is written is one line, and reads
//! back as the same value.

mod error;
mod read;
mod reader;
mod write;

pub use error::{JsonError, JsonFault};
