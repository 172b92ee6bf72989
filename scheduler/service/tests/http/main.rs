//! A real server and real clients over loopback: what is served, over TLS and without, and to whom.
#![forbid(unsafe_code)]

mod plain;
mod tls;
mod world;
