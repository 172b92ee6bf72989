//! The commands that look at the node themselves: `doctor`, `cleanup`, `check-config`.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use weir_sys::cgroup::Cgroup;

use super::exit::{Exit, Failure};
use super::follow::say;
use super::remote::{print_json, print_text};
use super::show;
use crate::config::Config;
use crate::container::{cgroup_root, chain};
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
    let root = cgroup_root(&config.cgroup).map_err(failed)?;
    let parent = root.join(&config.cgroup.parent);
    if !parent.exists() {
        return Ok(());
    }
    let cgroup = Cgroup::open(&parent).map_err(failed)?;
    if cgroup.is_populated().map_err(failed)? {
        if !kill_containers {
            return Err(Failure::refused(
                "containers still run; end them, or give --kill-containers to have them killed",
            ));
        }
        cgroup.kill().map_err(failed)?;
    }
    cgroup.remove(KILL_PATIENCE).map_err(failed)
}

/// What follows from a configuration.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    valid: bool,
    /// How many containers with a network of their own the pools hold.
    containers: usize,
}

pub(super) fn check_config(path: &Path, json: bool) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    let containers = config.network.checked_pools().blocks().count();
    if json {
        return print_json(&Checked {
            file: path,
            valid: true,
            containers,
        });
    }
    print_text(&format!(
        "{} is valid; its ports make room for {containers} isolated containers\n",
        path.display()
    ))
}
