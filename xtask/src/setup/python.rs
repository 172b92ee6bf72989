//! Python's environment for the tests that speak to the scheduler in Python.
//!
//! It lies below `target/`, and holds exactly what `requirements.txt` names, by hash. Beside it lies a copy
//! of that file: when the two differ, the environment is made anew.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::command::{command, read};
use crate::tree;

/// What it holds.
const REQUIREMENTS: &str = "scheduler/tests/foreign/requirements.txt";

/// The copy, in the environment. It is written last, so an installation that broke off is begun again.
const INSTALLED: &str = "installed.txt";

/// Looks, installs, and returns what came of it.
pub(super) fn step() -> (String, Outcome) {
    let outcome = match make(&tree::root().join(REQUIREMENTS), &tree::python()) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Missing {
            reason: format!("{error:#}"),
            essential: false,
        },
    };
    let name = "Python with aioquic and protobuf (a foreign client)";
    (name.to_owned(), outcome)
}

fn make(requirements: &Path, environment: &Path) -> Result<Outcome> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let installed = environment.join(INSTALLED);
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) {
        return Ok(Outcome::Present);
    }
    println!("$ python3 -m venv --clear {}", environment.display());
    read(
        command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment),
    )?;
    println!("$ pip install --require-hashes -r {REQUIREMENTS}");
    read(
        command(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--require-hashes", "--only-binary=:all:", "-r"])
            .arg(requirements),
    )?;
    fs::write(&installed, wanted)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(Outcome::Installed)
}
