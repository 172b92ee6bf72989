//! The laws of resources, held against a model that knows no normal form.
#![forbid(unsafe_code)]

mod algebra;
mod model;
mod operations;
mod strategy;
mod writing;
