//! What building and testing need, and how to get it.
//!
//! Every step looks first and installs only what is missing, so it can be run at any time. Nothing
//! is started, enabled or mounted: packages that bring a service are unpacked below `target/` and
//! not installed.

mod packages;
mod python;
mod toolchain;

use anyhow::{Result, bail};

/// What one step found or did.
pub(crate) enum Outcome {
    /// It was there.
    Present,
    /// It is there now.
    Installed,
    /// It is not there; the reason says what to do.
    Missing {
        /// What failed, in words.
        reason: String,
        /// Whether nothing can be built without it; else some tests are skipped.
        essential: bool,
    },
}

/// Whether what is there already is listed, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    All,
    News,
}

/// Installs what is missing, and fails if anything still is.
pub(crate) fn run() -> Result<()> {
    let missing = install(Report::All)?;
    if missing > 0 {
        bail!("{missing} of the things above could not be installed");
    }
    Ok(())
}

/// Installs what is missing; fails only if nothing could be built.
///
/// What else could not be installed has been said, and is said again by the tests that miss it.
pub(crate) fn run_for_build() -> Result<()> {
    install(Report::News).map(drop)
}

/// Installs what only the Debian packages need, and fails without it.
pub(crate) fn run_for_packages() -> Result<()> {
    report(vec![toolchain::packaging()], Report::News).map(drop)
}

fn install(wanted: Report) -> Result<usize> {
    let mut steps = toolchain::steps()?;
    steps.extend(packages::steps());
    // Made with what the packages bring.
    steps.push(python::step());
    report(steps, wanted)
}

/// Says what came of the steps, and returns how many failed; fails if one did that is essential.
fn report(steps: Vec<(String, Outcome)>, wanted: Report) -> Result<usize> {
    let mut missing = 0;
    let mut stopping = None;
    let there = steps
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Present))
        .count();
    println!("setup: {there} of {} things were there", steps.len());
    for (name, outcome) in steps {
        match outcome {
            Outcome::Present if wanted == Report::News => {}
            Outcome::Present => println!("  {name}: there"),
            Outcome::Installed => println!("  {name}: installed"),
            Outcome::Missing { reason, essential } => {
                println!("  {name}: MISSING: {reason}");
                missing += 1;
                if essential {
                    stopping.get_or_insert_with(|| format!("{name} is missing: {reason}"));
                }
            }
        }
    }
    match stopping {
        Some(reason) => bail!(reason),
        None => Ok(missing),
    }
}
