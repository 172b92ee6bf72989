//! What peers can rely on: the bytes, the schema, the bounds and the errors of version 1.

#![forbid(unsafe_code)]

mod arbitrary;
mod samples;

mod document;
mod fuzz;
mod golden;
mod laws;
mod refusals;
mod registration;
mod schema;
mod tolerance;
