//! What an operator can choose.

use std::time::Duration;

use weir_resources::Amount;

/// What an operator can choose of how resources are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Below how much unreserved resources are kept back until there is more.
    pub least: Least,
    /// For how long a refusal keeps resources from a framework at least.
    ///
    /// What is freed is offered at once, so a framework that declines for no time at all would be
    /// offered the same again as fast as it can decline, and those behind it never. Mesos has the same
    /// bound in its `allocation_interval`, to which it was made to stretch filters.
    pub refusal_min: Duration,
}

/// The least that is worth an offer: either amount will do.
///
/// It is for what anyone may have. What is reserved is offered however little it is, volumes included:
/// only frameworks of one role can use it, and nothing that others free makes it more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// Processors, in cores.
    pub cpus: Amount,
    /// Memory in MiB.
    pub mem: Amount,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            least: Least::default(),
            // Mesos' `allocation_interval`.
            refusal_min: Duration::from_secs(1),
        }
    }
}

impl Default for Least {
    /// Mesos' amounts: a hundredth of a processor, or 32 MiB.
    fn default() -> Self {
        Self {
            cpus: Amount::from_thousandths(10),
            mem: Amount::from_thousandths(32_000),
        }
    }
}
