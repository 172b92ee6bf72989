//! `weir-agent`: the daemon of a node and its command line, in one program.
//!
//! 1. What was typed is read; a mistake ends here, with exit code 64.
//! 2. `run` becomes the daemon: it reads the configuration, starts to log, and serves until SIGTERM or
//!    SIGINT ([`weir_agent::daemon`]).
//! 3. `doctor`, `cleanup` and `check-config` look at the node themselves.
//! 4. All others ask the daemon through its socket and print the answer.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 refused, 64 usage or
//! configuration; `exec` that stays attached ends with its task's code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_agent::cli::main(std::env::args_os())
}
