//! `none`: nothing is lent.

use std::error::Error;

use weir_resources::Resources;

use super::{Estimator, NodeUse};

/// Lends nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Estimator for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn estimate(&mut self, _node: &NodeUse) -> Result<Resources, Box<dyn Error + Send + Sync>> {
        Ok(Resources::new())
    }
}
