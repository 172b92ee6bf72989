//! The socket through which the commands speak to the daemon.
//!
//! ```text
//!  weir-agent ps ──▶ [length u32 BE][JSON request]  ──▶ /run/weir/agent.sock ──▶ container task
//!                ◀── [length u32 BE][JSON response] ◀──
//! ```
//!
//! The socket belongs to root, and only root is served; a root inside a container is told from the
//! node's by its cgroup and its PID namespace, and refused. One connection carries any number of
//! requests, one after the other. Whatever bytes arrive, the answer is a response or a [`Fault`].

mod client;
mod frame;
mod peer;
mod protocol;
mod server;

pub use client::{Client, ClientError};
pub use frame::{FRAME_BYTES_MAX, FrameError};
pub use protocol::{Answer, Fault, FaultKind, Request, Response};
pub use server::{LocalServer, ServeError, Served};
