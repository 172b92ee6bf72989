//! What must hold: one name for each law, so that a mutation can say by which it is caught.

use std::fmt;

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// The ledger's own assertions, after every step: what there is, is free, offered, used or worked with.
    Conservation,
    /// A task runs in at most one container, ever.
    RunsOnce,
    /// What a framework believes to be alive is what runs, and nothing else runs.
    NothingLost,
    /// An operation has one final answer, the same however often it is told, and every operation has one in
    /// the end.
    Answers,
    /// What an agent is told to run was asked for by its framework, with offers that were its own.
    Owners,
    /// What is told is on a disk.
    Durability,
    /// The offers that a framework holds are those that the scheduler has for it.
    Offers,
    /// A task that its framework killed is over in the end.
    Kills,
    /// Every update is acknowledged in the end.
    Updates,
    /// The scheduler has of every agent what the agent has.
    Agreement,
    /// What is said is heard, also as bytes of the schema.
    Wire,
    /// No more of what is lent is used than is lent, for longer than it takes to end a task; only what must
    /// is revoked; and only who asked for it is offered any.
    Lending,
    /// No accepted launch fails for want of a block of ports.
    Blocks,
    /// Everybody is back in the end, and all that is idle is offered.
    Idle,
}

/// A law that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub checker: Checker,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.checker, self.what)
    }
}
