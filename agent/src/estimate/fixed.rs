//! `fixed`: always the same is lent, as Mesos' module `FixedResourceEstimator` does.
//!
//! Mesos takes what is lent already off its answer, and its agent puts it on again; here the answer is
//! the sum to begin with.

use std::error::Error;

use weir_resources::Resources;

use super::{Estimator, NodeUse};

/// Lends what it is told to.
#[derive(Clone, Debug)]
pub struct Fixed {
    lend: Resources,
}

impl Fixed {
    /// Returns an estimator that always lends `lend`, all of it revocable.
    pub fn new(lend: Resources) -> Self {
        Self { lend }
    }
}

impl Estimator for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn estimate(&mut self, _node: &NodeUse) -> Result<Resources, Box<dyn Error + Send + Sync>> {
        Ok(self.lend.clone())
    }
}
