//! What the agent says of its node: found out once, when it starts.

use std::net::IpAddr;

use nix::errno::Errno;
use nix::unistd::gethostname;
use weir_protocol::bounds::ADDRESSES_MAX;
use weir_protocol::{BootId, Line, Millis};
use weir_sys::netlink::NetlinkError;
use weir_sys::process::{self, ProcessError};

use super::machine::Profile;
use crate::capacity::{CapacityError, Found, FoundError, capacity};
use crate::config::Config;
use crate::network;

/// Says why nothing can be said of the node.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// What it has.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// What it lends.
    #[error("{}; {}", .0, .0.remedy())]
    Capacity(#[from] CapacityError),
    /// Its addresses.
    #[error("cannot find out the node's addresses")]
    Addresses(#[source] NetlinkError),
    /// Its name.
    #[error("cannot find out the node's name")]
    NoHostname(#[source] Errno),
    /// A name that cannot be said.
    #[error(
        "the node's name {name:?} cannot be told the scheduler: {reason}; set another with hostnamectl"
    )]
    Hostname {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Its boot.
    #[error("cannot find out which boot of the node this is")]
    Boot(#[source] ProcessError),
    /// A boot that is called what no boot is.
    #[error("the kernel calls this boot {id:?}: {reason}")]
    BootId {
        /// The name.
        id: String,
        /// Why not.
        reason: String,
    },
}

impl Profile {
    /// Finds out what there is to say.
    pub fn of_node(config: &Config) -> Result<Self, ProfileError> {
        let found = Found::look(config)?;
        let resources = capacity(config, &found)?;
        let hostname = gethostname().map_err(ProfileError::NoHostname)?;
        let hostname = hostname.to_string_lossy().into_owned();
        let boot = process::boot_id().map_err(ProfileError::Boot)?;
        // Those that containers have as well: what a task serves on is reached at any of them.
        let addresses =
            network::usable_addresses(&config.network.uplinks).map_err(ProfileError::Addresses)?;
        let addresses: Vec<IpAddr> = addresses.into_iter().take(ADDRESSES_MAX).collect();
        tracing::info!(node = %found, lends = %resources, "what the node lends");
        Ok(Self {
            hostname: Line::new(&hostname).map_err(|error| ProfileError::Hostname {
                name: hostname,
                reason: error.to_string(),
            })?,
            addresses: addresses.into(),
            attributes: config.attributes.checked(),
            resources,
            boot: BootId::new(&boot).map_err(|error| ProfileError::BootId {
                id: boot,
                reason: error.to_string(),
            })?,
            estimate_ttl: Millis(config.estimate.ttl_ms),
        })
    }
}
