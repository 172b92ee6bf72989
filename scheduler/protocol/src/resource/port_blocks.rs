//! Blocks of ephemeral ports, which every isolated task needs one of.

/// How many blocks the scheduler may give out, and how many it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortBlocks {
    /// Grows with every change of this boot.
    pub version: u64,
    /// Those that nobody holds.
    pub free: u32,
    /// Those that the scheduler's tasks hold.
    pub held: u32,
}

impl PortBlocks {
    /// Returns how many the scheduler may give out in all.
    ///
    /// It does not change when a task starts or ends, so it is right whatever is on its way.
    pub const fn total(self) -> u32 {
        self.free.saturating_add(self.held)
    }
}
