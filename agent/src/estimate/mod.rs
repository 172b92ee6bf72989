//! What of the node's idle resources may be lent: the estimators.
//!
//! ```text
//!   session shell ──(every [estimate] interval_ms)──▶ Estimator ──▶ revocable resources ──▶ AgentSession
//! ```
//!
//! An estimator answers one question: how much may be lent in all, what is lent already included. The
//! session gives the answer a version and a time to live, and says it to the scheduler when it changes
//! and before it expires; an agent that stops to answer stops lending. (In Mesos the last answer stays
//! until the agent is removed.)
//!
//! Here are the two that do not measure: [`Nothing`] and [`Fixed`].

mod fixed;
mod nothing;

use std::error::Error;

use weir_resources::Resources;

use crate::config::{EstimateConfig, EstimatorKind};

pub use fixed::Fixed;
pub use nothing::Nothing;

/// What an estimator is told of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeUse {
    /// All that the node has.
    pub total: Resources,
    /// What its tasks hold, of its own and of what is lent.
    pub held: Resources,
}

/// Says how much of what is idle may be lent.
pub trait Estimator: Send {
    /// Returns the name in the configuration.
    fn name(&self) -> &'static str;

    /// Returns all that may be lent, each entry revocable. May block: it is called where that holds up
    /// nobody.
    ///
    /// After an error what was said last holds until it expires.
    fn estimate(&mut self, node: &NodeUse) -> Result<Resources, Box<dyn Error + Send + Sync>>;
}

/// Returns the estimator that is configured.
pub fn estimator(config: &EstimateConfig) -> Box<dyn Estimator> {
    match config.estimator {
        EstimatorKind::None => Box::new(Nothing),
        EstimatorKind::Fixed => Box::new(Fixed::new(config.checked_lend())),
    }
}

#[cfg(test)]
mod tests {
    use weir_resources::Kind;

    use super::*;

    #[test]
    fn the_configuration_chooses_who_says_how_much() {
        let mut none = estimator(&EstimateConfig::default());
        assert_eq!(none.name(), "none");
        assert!(none.estimate(&NodeUse::default()).unwrap().is_empty());
        let config = EstimateConfig {
            estimator: EstimatorKind::Fixed,
            lend: "cpus:2;mem:64".to_owned(),
            ..EstimateConfig::default()
        };
        let mut fixed = estimator(&config);
        assert_eq!(fixed.name(), "fixed");
        // Also when some of it is lent already: it is the sum that is said.
        for held in ["", "cpus{REV}:1"] {
            let node = NodeUse {
                total: "cpus:4".parse().unwrap(),
                held: held.parse().unwrap(),
            };
            let lent = fixed.estimate(&node).unwrap();
            assert_eq!(lent, "cpus{REV}:2;mem{REV}:64".parse().unwrap());
            assert!(lent.iter().all(|entry| entry.kind() == Kind::Revocable));
        }
    }
}
