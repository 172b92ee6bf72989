//! `[resources]` and `[attributes]`: what the node lends to the scheduler, and what there is to know of it.

use serde::Deserialize;
use weir_resources::{Attributes, Resources};

/// What the node lends.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourcesConfig {
    /// Resources in Mesos' text, static reservations by role.
    pub lend: String,
    /// Whether those of `cpus`, `mem`, `disk` and `ports` that are not named are found out.
    pub detect: bool,
}

impl ResourcesConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["lend", "detect"];

    /// Returns what is named.
    pub(crate) fn checked_lend(&self) -> Resources {
        self.lend
            .parse()
            .expect("a configuration is only handed out when its resources are")
    }
}

impl Default for ResourcesConfig {
    fn default() -> Self {
        Self {
            lend: String::new(),
            detect: true,
        }
    }
}

/// What there is to know of the node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributesConfig {
    /// Attributes in Mesos' text.
    pub text: String,
}

impl AttributesConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["text"];

    /// Returns the attributes.
    pub(crate) fn checked(&self) -> Attributes {
        self.text
            .parse()
            .expect("a configuration is only handed out when its attributes are")
    }
}
