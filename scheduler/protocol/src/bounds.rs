//! How much of anything a message may hold.
//!
//! What goes beyond is refused with an error that names the field, what it holds and the bound. The
//! bounds are chosen so that whatever one side may say fits a frame when the other passes it on: an
//! offer, a launch, a set of reservations.

/// The longest frame, without the four bytes of its length: what a peer can make the other hold in
/// memory before anything is known of it.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Up to here lists are packed into one frame; the rest goes into the next. Half of a frame: the
/// longest single entry always fits.
pub const LIST_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// The longest list of resources in bytes of the wire. An offer is what a node has by itself
/// ([`OWN_BYTES_MAX`]), what operations made of it ([`SET_BYTES_MAX`]), and as many ranges as 65,535
/// ports can be cut into ([`PARTS_MAX`] of ten bytes each); with the node's attributes it fits a frame.
pub const RESOURCES_BYTES_MAX: usize = FRAME_BYTES_MAX / 8 * 5;

/// The most entries in a list of resources: [`OWN_MAX`] and [`SET_MAX`] together.
pub const RESOURCES_MAX: usize = 4096;

/// The longest list of what a node has by itself, in bytes of the wire.
pub const OWN_BYTES_MAX: usize = FRAME_BYTES_MAX / 16;

/// The most entries in a list of what a node has by itself.
pub const OWN_MAX: usize = RESOURCES_MAX / 2;

/// The longest set of reservations and volumes in bytes of the wire.
pub const SET_BYTES_MAX: usize = FRAME_BYTES_MAX / 8;

/// The most entries in a set of reservations and volumes.
pub const SET_MAX: usize = RESOURCES_MAX / 2;

/// The longest estimate in bytes of the wire.
pub const ESTIMATE_BYTES_MAX: usize = FRAME_BYTES_MAX / 16;

/// The longest description of a task in bytes of the wire: with its owner it fits a frame.
pub const TASK_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// The most offers that one ACCEPT or DECLINE names: those of one agent are a handful, and a
/// framework that declines everything does so in portions.
pub const OFFER_IDS_MAX: usize = 1024;

/// The most offers in one frame; a framework that is offered more gets several.
pub const OFFERS_MAX: usize = 4096;

/// The most operations of one ACCEPT: they are checked and written down as one.
pub const OPERATIONS_MAX: usize = 256;

/// The most tasks of one LAUNCH: as many as a node has containers.
pub const TASKS_PER_LAUNCH_MAX: usize = 1024;

/// The most tasks, and the most operations, that one RECONCILE asks for.
pub const RECONCILE_MAX: usize = 4096;

/// The most ranges, or items, of one value: every second of 65,535 ports.
pub const PARTS_MAX: usize = 32_768;

/// The most addresses of a node.
pub const ADDRESSES_MAX: usize = 64;

/// The most attributes of a node.
pub const ATTRIBUTES_MAX: usize = 64;

/// The longest list of attributes in bytes of the wire: beside resources it fits an offer.
pub const ATTRIBUTES_BYTES_MAX: usize = FRAME_BYTES_MAX / 16;

/// The most capabilities that a hello or a framework names.
pub const CAPABILITIES_MAX: usize = 64;

/// The most arguments of a command, and the most variables: what fits a request with room to spare,
/// and far below what execve(2) takes.
pub const WORDS_MAX: usize = 4096;

/// The longest argument or variable in bytes: `MAX_ARG_STRLEN` of include/uapi/linux/binfmts.h, less
/// the final NUL.
pub const WORD_BYTES_MAX: usize = 128 * 1024 - 1;

/// The longest path in bytes: `PATH_MAX` of include/uapi/linux/limits.h, less the final NUL.
pub const PATH_BYTES_MAX: usize = 4095;

/// The longest id in bytes that a peer may choose.
pub const ID_BYTES_MAX: usize = 128;

/// The longest name in bytes, of an agent or of anything that people name.
pub const LINE_BYTES_MAX: usize = 255;

/// The longest address of a page in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// The longest text for people in bytes: a reason, a remedy, a message.
pub const NOTE_BYTES_MAX: usize = 4096;

/// The most notes in one answer.
pub const NOTES_MAX: usize = 64;

/// The longest time to refuse, to fail over or to end a task: a year. Longer is a unit mistaken.
pub const DURATION_MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

/// The most ephemeral blocks that an agent can have: 65,536 ports in the smallest blocks of 16.
pub const PORT_BLOCKS_MAX: u32 = 4096;

/// The most tasks in one TASKS call of a registration.
pub const TASKS_PER_CALL_MAX: usize = 4096;

/// The most bytes of the tasks of a registration, in all the calls that it takes: as many tasks as an
/// agent may have, of 1 KiB each.
pub const REGISTRATION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most tasks of one agent: each has a slot of its data plane, and those that have ended stay
/// until their updates are acknowledged.
pub const TASKS_PER_AGENT_MAX: u32 = 65_536;

/// The latest point in time, the end of the year 9999: later is a unit mistaken.
pub const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// The highest number that anything is counted up to: what a database keeps in one column.
pub const COUNT_MAX: u64 = i64::MAX.unsigned_abs();

/// The most entries in one page of a listing.
pub const PAGE_MAX: usize = 4096;

/// The longest place in a list in bytes.
pub const CURSOR_BYTES_MAX: usize = 1024;
