//! The kernel of this machine, which counts as one more: what `cargo xtask test` ran on it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use super::matrix::{Kernel, Matrix};
use super::record::{self, Table, Verified};

/// What it is called where others have their name.
pub(super) const OWN: &str = "own";

/// Returns what is wrong with what the verifier of this machine's kernel said, if anything is recorded of that release.
pub(crate) fn judge(found: &BTreeMap<String, u32>) -> Result<Vec<String>> {
    let release = release()?;
    let key = key(&release);
    let verified = Verified::read()?;
    if verified.knows(&key) {
        return Ok(verified.judge(&key, found));
    }
    if !found.is_empty() {
        println!(
            "what the verifier of {release} looked at is held against nothing: no figures of that kernel are recorded; \
             `cargo xtask test --write` records them"
        );
    }
    Ok(vec![])
}

/// Keeps what came of all tests: how many passed, failed and were skipped, and what the verifier said.
pub(crate) fn record(
    numbers: (usize, usize, usize),
    found: &BTreeMap<String, u32>,
    revision: &str,
    verdict: &str,
) -> Result<()> {
    let release = release()?;
    record::verified([(key(&release).as_str(), found)].into_iter())?;
    let kernel = Kernel {
        name: OWN.to_owned(),
        distribution: "-".to_owned(),
        release,
        packages: vec![],
        // Of the two ways of attaching, one is each kernel's best.
        found: vec!["tcx".to_owned()],
        without: vec![],
        skips: vec![],
    };
    let row = record::row_of_tests(&kernel, numbers, revision, verdict);
    let rows = BTreeMap::from([(OWN.to_owned(), row)]);
    record::support(&Matrix::read()?, Table::Tests, &rows)
}

/// Returns whether figures of this name are of a machine's own kernel.
#[cfg(test)]
pub(super) fn is_own(key: &str) -> bool {
    key.starts_with("own ")
}

fn key(release: &str) -> String {
    format!("{OWN} {release}")
}

fn release() -> Result<String> {
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(RELEASE).with_context(|| format!("cannot read {RELEASE}"))?;
    Ok(release.trim().to_owned())
}
