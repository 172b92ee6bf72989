//! Collections of resources, and their algebra.
//!
//! [`Resources`] is what one agent has, or any part of it: an offer, what a task holds, the
//! checkpointed set. It is always in its one normal form, so what has the same content is equal and
//! prints the same, in whatever order it was put together:
//!
//! - Resources of one name, kind and reservation are one entry; a volume is an entry of its own.
//! - Entries are in order, and none is empty.
//!
//! And it is always something that a node can have:
//!
//! - A name has one type.
//! - All amounts of a name together can be counted.
//! - No number or item of a name is there twice, whoever it is reserved for (but a revocable one may
//!   be there beside the regular one that it is lent from).
//! - A role has no two volumes of one id: they would be one directory.
//!
//! So [`Resources::checked_add`] can fail, and says why; Mesos unites what overlaps, and loses it. To
//! sum over agents, sum amounts ([`Resources::scalars`]): the ports of two agents overlap and mean
//! nothing together.

mod add;
mod checkpoint;
mod collection;
mod filter;
mod subtract;

pub use add::AddError;
pub use checkpoint::CheckpointError;
pub use collection::Resources;
pub use filter::LendError;
pub use subtract::{Held, Shortfall};
