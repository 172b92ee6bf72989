//! `run`: becomes the daemon.

use std::path::Path;

use weir_service::log;

use super::exit::{Exit, Failure};
use crate::config::{AgentConfig, Config};
use crate::container::chain;
use crate::daemon;

/// The most threads for calls that block: each launch and end takes one at a time, for milliseconds;
/// more than this would only wait for the CPUs.
const BLOCKING_THREADS_MAX: usize = 32;

/// The threads for everything else. The agent waits nearly all of its time, and its memory counts on
/// every node.
const WORKER_THREADS: usize = 2;

pub(super) fn run(config: &Path) -> Result<Exit, Failure> {
    let config = Config::load(config)?;
    let AgentConfig {
        log_filter,
        log_format,
        ..
    } = &config.agent;
    log::start(log_filter, *log_format, "weir-agent").map_err(|error| Failure {
        exit: Exit::Usage,
        message: format!("[agent] {error}"),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("weir-agent")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(daemon::run(config));
    // Jobs of containers that are still half-way are the next agent's; their threads end with us.
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            daemon::report(&error);
            Err(Failure::failed(chain(&error)))
        }
    }
}
