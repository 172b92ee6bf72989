//! What must be true of the source before any of it is run.

mod crates;
mod fuzzing;
mod layout;
mod manifests;
mod sources;

use anyhow::{Result, bail};

use crate::{command, setup};

/// A rule that is broken: where, which, and what to do.
struct Breach(String);

/// Gets what is needed for it, and holds everything.
pub(crate) fn run() -> Result<()> {
    setup::run_for_build()?;
    hold()
}

/// Holds the rules, the format and the lints, the quick ones first.
pub(crate) fn hold() -> Result<()> {
    hold_rules()?;
    format()?;
    lint()
}

/// Holds every rule, and names each breach rather than the first.
fn hold_rules() -> Result<()> {
    let mut breaches = Vec::new();
    breaches.extend(crates::check()?);
    breaches.extend(manifests::check()?);
    breaches.extend(layout::check()?);
    breaches.extend(sources::check()?);
    breaches.extend(fuzzing::check()?);
    for Breach(text) in &breaches {
        println!("  {text}");
    }
    if !breaches.is_empty() {
        bail!("check: {} rules are broken, named above", breaches.len());
    }
    println!("check: crates, manifests, layout, sources and fuzz targets are as they should be");
    Ok(())
}

fn format() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))
}

fn lint() -> Result<()> {
    command::run(command::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))
}
