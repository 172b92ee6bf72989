//! Containers from launch to end: the real executor, cgroups and database, with a network that
//! does what the test says.
//!
//! Needs root and cgroup v2.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a test builds what it runs")]

mod bench;
mod life;
mod restart;
