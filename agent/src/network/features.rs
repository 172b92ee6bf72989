//! What this kernel can do for the data plane: found out once, at start.

use aya::programs::{SchedClassifier, TcAttachType};
use nix::sys::utsname::uname;

/// What the data plane found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// tcx links: programs on interfaces that are pinned and replaced like all others.
    pub(crate) tcx: bool,
    /// `bpf_set_retval` at socket-address hooks: a refused call gets a fitting error.
    pub(crate) set_retval: bool,
}

impl Features {
    /// Asks the kernel.
    pub(crate) fn probe() -> Self {
        let release = kernel_version().unwrap_or((0, 0));
        Self {
            // A kernel without tcx does not know the question.
            tcx: SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok(),
            // The helper came to these hooks with 6.1; the verifier refuses it before.
            set_retval: release >= (6, 1),
        }
    }
}

/// Returns the first two numbers of the kernel's release.
pub(crate) fn kernel_version() -> Option<(u32, u32)> {
    let name = uname().ok()?;
    parse_version(name.release().to_str()?)
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn the_release_of_any_distribution_is_read() {
        assert_eq!(parse_version("6.1.0-56-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_version("6.18.44-0-virt"), Some((6, 18)));
        assert_eq!(parse_version("7.3-rc1"), Some((7, 3)));
        assert_eq!(parse_version("mainline"), None);
    }
}
