//! What systemd leaves to others of the hierarchy that it takes for its own.

use rustix::fs::getxattr;
use rustix::io::Errno;

use super::{Cgroup, CgroupError};

/// How systemd marks what it delegates: the first before systemd 251, the second as well since then.
const DELEGATED: [&str; 2] = ["trusted.delegate", "user.delegate"];

impl Cgroup {
    /// Returns whether systemd leaves this group, and all below, to somebody else: it says so in an
    /// extended attribute (systemd's CGROUP_DELEGATION.md).
    pub fn is_delegated(&self) -> Result<bool, CgroupError> {
        for name in DELEGATED {
            let mut value = [0; 1];
            match getxattr(&self.path, name, &mut value) {
                Ok(1) if value == *b"1" => return Ok(true),
                Ok(_) => {}
                // The trusted one is for root to see; the other, for everyone, came with Linux 5.7.
                Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP | Errno::RANGE) => {}
                Err(errno) => return Err(self.failed("read attributes of", errno.into())),
            }
        }
        Ok(false)
    }
}
