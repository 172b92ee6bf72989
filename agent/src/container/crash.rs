//! Places where a test can kill the agent.
//!
//! A container begins and ends in steps, and the agent may be killed between any two. Each of those
//! places has a name; a debug build that finds it in `WEIR_CRASH_AT` dies there, by SIGKILL, as the
//! OOM killer would have it. A release build has no such places.

/// The environment variable that names the place to die at.
pub const CRASH_VARIABLE: &str = "WEIR_CRASH_AT";

/// Every place, in the order in which a container passes them.
pub const CRASH_POINTS: &[&str] = &[
    "launch-before-row",
    "launch-after-row",
    "launch-after-directory",
    "launch-after-cgroup",
    "launch-after-namespace",
    "launch-after-network",
    "launch-after-spawn",
    "launch-after-ready",
    "launch-after-running",
    "launch-after-go",
    "launch-after-started",
    "update-after-row",
    "update-after-network",
    "limits-after-reclaim",
    "limits-after-row",
    "limits-after-kernel",
    "kill-before-signal",
    "kill-after-signal",
    "end-before-record",
    "end-after-record",
    "end-after-detach",
    "end-after-cgroup",
    "end-after-row",
    "forget-after-directory",
    "forget-after-row",
];

/// Dies if a test asked for a death at `place`.
#[cfg(debug_assertions)]
pub(crate) fn crash_point(place: &'static str) {
    use std::sync::OnceLock;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpid;

    static WANTED: OnceLock<Option<String>> = OnceLock::new();

    debug_assert!(CRASH_POINTS.contains(&place), "{place} is not listed");
    let wanted = WANTED.get_or_init(|| std::env::var(CRASH_VARIABLE).ok());
    if wanted.as_deref() == Some(place) {
        // Not abort: no handler, no core and no destructor may run.
        let killed = kill(getpid(), Signal::SIGKILL);
        unreachable!("a process can always kill itself, but: {killed:?}");
    }
}

/// Does nothing: this is a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn crash_point(_place: &'static str) {}
