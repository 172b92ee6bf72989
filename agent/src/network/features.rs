//! What this kernel can do for the data plane: found out once, at start, by trying.

use aya::programs::{ProgramType, SchedClassifier, TcAttachType};
use aya::sys::{BpfHelper, is_helper_supported};

use super::bandwidth;

/// What the data plane found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// tcx links: programs on interfaces that are pinned and replaced like all others.
    pub(crate) tcx: bool,
    /// `bpf_set_retval` at socket-address hooks: a refused call gets a fitting error.
    pub(crate) set_retval: bool,
    /// Queues with classes (HTB), by which rates are held; or why there are none.
    pub(crate) queues: Result<(), String>,
}

impl Features {
    /// Asks the kernel.
    pub(crate) fn probe() -> Self {
        // A program for connect(2) that calls the helper is shown to the verifier. bind(2) and
        // sendmsg(2) got it in the same change of the kernel, 6.1; some distributions have it
        // earlier, so the release says nothing.
        let set_retval =
            is_helper_supported(ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_set_retval);
        Self {
            // A kernel without tcx does not know the question.
            tcx: SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok(),
            set_retval: set_retval.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot ask for bpf_set_retval; refused calls fail with EPERM");
                false
            }),
            queues: bandwidth::try_queue(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_has_is_not_found() {
        // A helper of packets at a hook of sockets: asked in the same way, the answer is no.
        let packets = BpfHelper::BPF_FUNC_redirect_peer;
        let found = is_helper_supported(ProgramType::CgroupSockAddr, packets);
        assert!(!found.expect("this test loads programs: run it as root"));
        assert!(Features::probe().set_retval, "this kernel has it");
    }
}
