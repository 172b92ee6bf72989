//! The algebra of what a node lends.
//!
//! Pure: no I/O, no clock, no randomness, no floating point. Every operation is exact: it gives the
//! one right answer or an error that says what is wrong, and never clamps, wraps or drops anything in
//! silence.
//!
//! - [`amount`], [`bit_rate`], [`ranges`], [`set`], [`value`]: how much there is of something, or which.
//! - [`name`], [`role`], [`principal`], [`labels`]: what things and people are called.
//! - [`reservation`], [`volume`], [`resource`]: so much of something, kept for someone.
//! - [`resources`]: what a node has, or a part of it, and its algebra.
//! - [`operation`]: RESERVE, UNRESERVE, CREATE, DESTROY.
//! - [`text`], [`json`]: how all of it is written.
//! - [`attributes`]: what is known of a node and cannot be used up.
//! - [`ports`]: sets of ports, and the text they are written in.
//!
//! Nothing in the workspace stands below this crate; it depends on none of its siblings.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod serde_text;
mod word;

pub mod amount;
pub mod bit_rate;
pub mod ranges;
pub mod set;
pub mod value;

pub mod labels;
pub mod name;
pub mod principal;
pub mod role;

pub mod reservation;
pub mod resource;
pub mod volume;

pub mod operation;
pub mod resources;

pub mod attributes;
pub mod json;
pub mod text;

pub mod ports;

pub use amount::{Amount, AmountError, AmountFault};
pub use attributes::{
    Attribute, AttributeError, AttributeName, AttributeText, AttributeValue, Attributes,
};
pub use bit_rate::{BitRate, BitRateError};
pub use json::JsonError;
pub use labels::{LabelKey, LabelValue, Labels, LabelsError};
pub use name::ResourceName;
pub use operation::{OperationError, OperationKind, ResourceOperation};
pub use ports::{PortParseError, PortRange, PortRangeError, PortSet};
pub use principal::Principal;
pub use ranges::{Range, RangeError, Ranges, RangesOverlap};
pub use reservation::Reservation;
pub use resource::{Kind, Resource, ResourceError, ResourceParts};
pub use resources::{AddError, CheckpointError, Held, LendError, Resources, Shortfall};
pub use role::Role;
pub use set::{Item, ItemSet, ItemTwice};
pub use text::TextError;
pub use value::{Value, ValueConflict, ValueType};
pub use volume::{ContainerPath, Volume, VolumeId, VolumeMode};
pub use word::WordError;
