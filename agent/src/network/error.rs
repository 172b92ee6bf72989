//! What can go wrong with the data plane, and what the operator can do about it.

use std::io;
use std::path::PathBuf;

use weir_sys::netlink::NetlinkError;

use super::host::HostError;
use super::namespace::NamespaceError;
use super::programs::ProgramsError;
use super::tables::TableError;
use crate::container::NetworkFault;

/// Says why the data plane could not be started or cleaned up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] pub(super) NetworkError);

/// Says what failed in the data plane.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetworkError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("cannot read or change the node's network")]
    Netlink(#[from] NetlinkError),
    #[error("cannot use cgroup `{}`", path.display())]
    Cgroup {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot find out the node's network namespace")]
    NodeNamespace(#[source] io::Error),
    #[error(
        "`network.attach = \"tcx\"` was asked for, and this kernel has no tcx (it came with 6.6); use \"auto\" or \"clsact\""
    )]
    NoTcx,
    #[error("cannot start a thread of the data plane")]
    Thread(#[source] io::Error),
    #[error("link `{name}` of container {container} is not there: something else removed it")]
    LinkGone { name: String, container: String },
    #[error("an isolated container needs an ephemeral block")]
    NoEphemeralBlock,
    #[error("the thread of the data plane is gone; the agent has to be started anew")]
    OwnerGone,
}

impl NetworkError {
    /// Returns what the operator can do.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Host(_) | Self::NodeNamespace(_) => {
                "run the agent as root, with /proc/sys writable"
            }
            Self::Programs(_) | Self::Tables(_) | Self::NoTcx => {
                "run `weir-agent doctor`, which says what is missing"
            }
            Self::Namespace(_) | Self::Netlink(_) | Self::LinkGone { .. } => {
                "try again; if it fails again, look at the kernel's log"
            }
            Self::Cgroup { .. } => "make sure that cgroup v2 is mounted and writable",
            Self::Thread(_) => "look for a limit on threads or memory",
            Self::NoEphemeralBlock => "report this as a defect of the agent",
            Self::OwnerGone => "restart the agent; containers keep running",
        }
    }
}

impl From<NetworkError> for NetworkFault {
    fn from(error: NetworkError) -> Self {
        Self {
            what: "the network of the container could not be changed".to_owned(),
            remedy: error.remedy().to_owned(),
            source: Some(Box::new(error)),
        }
    }
}
