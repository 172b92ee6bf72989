//! The node's kernel, seen from user space: every system call and every user-side `unsafe` of Weir.
//!
//! One module for each thing the kernel has a word for. They decide nothing: what should happen is worked out
//! elsewhere, without the kernel, and done here. Each error names the object, the cause and what to try.

#![warn(missing_docs)]

pub mod block;
pub mod bpf;
pub mod capability;
pub mod cgroup;
pub mod clone;
pub mod directory;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod pidfd;
pub mod process;
pub mod program;
pub mod readiness;
pub mod seccomp;
pub mod socket;
pub mod user;
