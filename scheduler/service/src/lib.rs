//! What a daemon of Weir is to the machine that runs it: a service with a log, that can be watched.
//!
//! - [`http`]: where monitoring reads what is measured, plainly on this machine and over TLS from others.
//! - [`log`]: where the log goes, and in which shape. Under systemd that is the journal, with a field for each value.
//! - [`notice`]: what the service manager is told: ready, reloading, stopping, all is well, and how things are in words.
//!
//! Both daemons use it; what they are a service *of* is none of its business. Nothing here is needed to run by hand:
//! without a journal the log goes to stderr, and without a service manager there is nobody to tell.

#![forbid(unsafe_code)]

pub mod http;
mod journal;
pub mod log;
pub mod notice;
