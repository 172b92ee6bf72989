//! The commands that look at the node themselves: `doctor`, `cleanup`, `check-config`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use weir_sys::cgroup::{Cgroup, CgroupError};
use weir_transport::{Credentials, PeerKind};

use super::exit::{Exit, Failure};
use super::follow::say;
use super::remote::{print_json, print_text};
use super::show;
use crate::capacity::{Found, capacity};
use crate::config::Config;
use crate::container::{HierarchyChanges, Place, chain};
use crate::daemon::{DaemonError, StateLock};
use crate::{doctor, network};

/// How long killed containers may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn doctor(config: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let config = Config::load_or_default(config)?;
    let report = doctor::examine(&config);
    let exit = if report.ready {
        Exit::Done
    } else {
        Exit::Failed
    };
    if json {
        print_json(&report)?;
    } else {
        print_text(&show::report(&report))?;
    }
    Ok(exit)
}

pub(super) fn cleanup(config: Option<&Path>, kill_containers: bool) -> Result<Exit, Failure> {
    let config = Config::load_or_default(config)?;
    let state_directory = &config.agent.state_directory;
    // Held until the end, so that no agent starts half-way.
    let _lock = match StateLock::take(state_directory) {
        Ok(lock) => lock,
        Err(error @ DaemonError::Running { .. }) => {
            return Err(Failure::refused(chain(&error)));
        }
        Err(error) => return Err(Failure::failed(chain(&error))),
    };
    remove_cgroups(&config, kill_containers)?;
    network::clean_up(state_directory, &config.network.pin_directory)
        .map_err(|error| Failure::failed(chain(&error)))?;
    say("the node is as it was before the first agent");
    Ok(Exit::Done)
}

fn remove_cgroups(config: &Config, kill_containers: bool) -> Result<(), Failure> {
    let failed = |error| Failure::failed(chain(&error));
    let parent = Place::find(&config.cgroup).map_err(failed)?.parent;
    if parent.exists() {
        let cgroup = Cgroup::open(&parent).map_err(failed)?;
        if cgroup.is_populated().map_err(failed)? {
            if !kill_containers {
                return Err(Failure::refused(
                    "containers still run; end them, or give --kill-containers to have them killed",
                ));
            }
            kill_all(&cgroup).map_err(failed)?;
        }
        for container in cgroup.children().map_err(failed)? {
            container.remove(KILL_PATIENCE).map_err(failed)?;
        }
    }
    HierarchyChanges::open(&config.agent.state_directory)
        .and_then(|mut changes| changes.give_back())
        .map_err(|error| Failure::failed(chain(&error)))
}

/// Kills what runs in containers, and then their executors if they do not end by themselves: alive
/// they record how their containers ended, for the next agent to tell.
fn kill_all(parent: &Cgroup) -> Result<(), CgroupError> {
    for container in parent.children()? {
        let task = container.path().join("task");
        if task.exists() {
            Cgroup::open(&task)?.kill()?;
        }
    }
    if !parent.wait_empty(KILL_PATIENCE)? {
        parent.kill()?;
        parent.wait_empty(KILL_PATIENCE)?;
    }
    Ok(())
}

/// What follows from a configuration.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    valid: bool,
    /// How many containers with a network of their own fit into the pools beside the agent itself.
    containers: usize,
    /// What this node lends to its scheduler; nothing without one.
    lends: Option<String>,
}

pub(super) fn check_config(path: &Path, json: bool) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    if let Some(warning) = warn_of_scraping(&config) {
        say(&format!("weir-agent: {warning}"));
    }
    let own = config.http.ports();
    let pools = config.network.checked_pools();
    let containers = pools
        .blocks()
        .filter(|block| own.is_disjoint_from_range(*block))
        .count();
    let lends = lends(&config)?;
    if json {
        return print_json(&Checked {
            file: path,
            valid: true,
            containers,
            lends,
        });
    }
    let lends = lends.map_or_else(String::new, |lends| format!("; this node lends {lends}"));
    print_text(&format!(
        "{} is valid; its ports make room for {containers} isolated containers{lends}\n",
        path.display()
    ))
}

/// Says why nobody else can read the metrics yet, if others than this machine are to.
///
/// No more than a warning: the agent starts, and waits for what it needs.
fn warn_of_scraping(config: &Config) -> Option<String> {
    let address = config.http.listen.filter(|_| config.http.needs_tls())?;
    let files = config.scheduler.files();
    let problem = match Credentials::load(&files, &[PeerKind::Agent], SystemTime::now()) {
        Ok(credentials) => {
            let error = credentials.check_serves().err()?;
            format!("{error}; {}", error.remedy())
        }
        Err(error) => format!("{}; {}", chain(&error), error.remedy()),
    };
    Some(format!(
        "nobody can scrape {address} yet, which is not loopback and so is served over TLS, with the certificate of [scheduler]: {problem}; or listen on 127.0.0.1"
    ))
}

/// Returns what this node lends to its scheduler, if it has one.
fn lends(config: &Config) -> Result<Option<String>, Failure> {
    if config.scheduler.addresses.is_empty() {
        return Ok(None);
    }
    let found = Found::look(config).map_err(|error| Failure::failed(chain(&error)))?;
    let lends = capacity(config, &found).map_err(|error| Failure {
        exit: Exit::Usage,
        message: format!("{}; {}", chain(&error), error.remedy()),
    })?;
    Ok(Some(lends.to_string()))
}
