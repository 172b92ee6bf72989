//! Faults that the product does not have: each is made in the wiring between the state machines, and must
//! be caught by a checker. A checker that no mutation can make fail checks nothing.

use crate::checker::Checker;

/// Something that the wiring does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The scheduler's disk says that a batch is written, and writes nothing.
    SkipSchedulerWrite,
    /// The scheduler's disk says so before it writes.
    AnswerBeforeDurable,
    /// An agent's disk says that a change is written, and writes nothing.
    SkipAgentWrite,
    /// Whoever uses another's offer is taken for its owner.
    DropOwnerCheck,
    /// A framework's operation gets the id of one before.
    ReuseOperationId,
    /// RESCIND is never delivered.
    ForgetRescind,
    /// Updates of ends are never delivered.
    ForgetUpdate,
    /// A container is made twice.
    LaunchTwice,
    /// KILL is never delivered to an agent.
    LoseKill,
    /// An agent that registers again shows the set that it had at first.
    OldSetVersion,
    /// An acknowledgement is delivered to no agent.
    LoseAcknowledgement,
    /// The answer to an operation is never delivered, nor is RECONCILE answered.
    LoseAnswer,
    /// What an agent is told to launch never comes to a container.
    LoseLaunch,
    /// A registration says that an agent has tasks of its own no more.
    ForgetTasks,
    /// A registration says that an agent has twice as much as it has.
    Inflate,
    /// REVIVE is delivered as SUPPRESS.
    SuppressAll,
    /// A bit of every frame is flipped.
    Garble,
    /// A node that restarts loses the directories of its volumes.
    WipeVolumes,
    /// REVOKE is never delivered to an agent.
    LoseRevoke,
    /// A registration says that nothing is lent, and some estimates are never delivered.
    UnderstateEstimate,
    /// An agent says that it has more blocks of ports than it has.
    InventBlocks,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::SkipSchedulerWrite,
        Self::AnswerBeforeDurable,
        Self::SkipAgentWrite,
        Self::DropOwnerCheck,
        Self::ReuseOperationId,
        Self::ForgetRescind,
        Self::ForgetUpdate,
        Self::LaunchTwice,
        Self::LoseKill,
        Self::OldSetVersion,
        Self::LoseAcknowledgement,
        Self::LoseAnswer,
        Self::LoseLaunch,
        Self::ForgetTasks,
        Self::Inflate,
        Self::SuppressAll,
        Self::Garble,
        Self::WipeVolumes,
        Self::LoseRevoke,
        Self::UnderstateEstimate,
        Self::InventBlocks,
    ];

    /// Returns the checkers that may catch it first.
    pub const fn caught_by(self) -> &'static [Checker] {
        match self {
            Self::SkipSchedulerWrite | Self::AnswerBeforeDurable | Self::SkipAgentWrite => {
                &[Checker::Durability]
            }
            Self::DropOwnerCheck => &[Checker::Owners],
            Self::ReuseOperationId | Self::LoseAnswer => &[Checker::Answers],
            Self::ForgetRescind => &[Checker::Offers],
            Self::ForgetUpdate | Self::LoseAcknowledgement => &[Checker::Updates],
            Self::LaunchTwice => &[Checker::RunsOnce],
            Self::LoseKill => &[Checker::Kills],
            Self::OldSetVersion => &[Checker::Agreement],
            Self::LoseLaunch => &[Checker::NothingLost],
            Self::ForgetTasks => &[Checker::NothingLost, Checker::Conservation],
            Self::Inflate => &[Checker::Conservation],
            Self::SuppressAll => &[Checker::Idle],
            Self::Garble => &[Checker::Wire],
            Self::WipeVolumes => &[Checker::Agreement],
            Self::LoseRevoke | Self::UnderstateEstimate => &[Checker::Lending],
            Self::InventBlocks => &[Checker::Blocks],
        }
    }
}
