//! What a framework says of itself.

use std::collections::BTreeSet;

use weir_resources::{Labels, Role};

use crate::bounds::URL_BYTES_MAX;
use crate::text::Line;
use crate::time::Millis;

/// What a framework says of itself. Its principal is in its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkInfo {
    /// What people call it; need not be unique.
    pub name: Line,
    /// Whose reservations it may use and whose share it draws on.
    pub role: Role,
    /// Whom its tasks run as unless they say otherwise.
    pub user: Option<Line>,
    /// How long its tasks outlive its connection.
    pub failover_timeout: Millis,
    /// Whether it leaves its tasks alone: while it is away the scheduler acknowledges their updates, and
    /// ends it when it has none left.
    pub unattended: bool,
    /// What it can do beyond the least.
    pub capabilities: BTreeSet<FrameworkCapability>,
    /// What it wants others to see.
    pub labels: Labels,
    /// Where people find its pages.
    pub weburl: Option<Line<URL_BYTES_MAX>>,
}

/// What a framework can do beyond the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameworkCapability {
    /// It is offered revocable resources as well.
    RevocableResources,
}
