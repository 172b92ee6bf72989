//! What the session counts, for metrics.

/// What a session has done since the agent was started, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether the scheduler can be spoken to.
    pub is_connected: bool,
    /// Whether it knows the agent.
    pub is_registered: bool,
    /// Registrations that were accepted.
    pub registrations: u64,
    /// Registrations that were refused.
    pub registrations_refused: u64,
    /// Tasks that hold what they were given.
    pub tasks_live: u64,
    /// Updates that were not acknowledged.
    pub updates_unacknowledged: u64,
    /// Updates that were sent for the first time on a connection.
    pub updates_sent: u64,
    /// Updates that were sent again because nobody acknowledged them in time.
    pub updates_repeated: u64,
    /// Acknowledgements of updates that are under way.
    pub acknowledgements: u64,
    /// Acknowledgements of anything else.
    pub acknowledgements_ignored: u64,
    /// Changes of the set that were made.
    pub operations_applied: u64,
    /// Changes of the set that were refused or failed.
    pub operations_failed: u64,
    /// Operations that came again and got the answer that they had got.
    pub operations_repeated: u64,
    /// Tasks that were taken.
    pub launches: u64,
    /// Tasks that were refused.
    pub launches_refused: u64,
    /// Tasks that came again.
    pub launches_repeated: u64,
    /// Tasks that were told to end because what was lent to them was wanted back.
    pub revocations: u64,
    /// Revocations of tasks that hold nothing that was lent; these are refused.
    pub revocations_refused: u64,
    /// Calls that the scheduler refused.
    pub calls_refused: u64,
    /// Writes that were refused.
    pub writes_refused: u64,
    /// The version of the set of reservations and volumes.
    pub set_version: u64,
    /// What may be lent, in thousandths of a CPU.
    pub estimate_cpus_thousandths: u64,
    /// What may be lent, in thousandths of a MiB.
    pub estimate_mem_thousandths: u64,
}
