//! What may stand in a file of this repository, and how long it may be.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Breach;
use crate::tree;

/// The most lines of a Rust file that need no reason: what one reader takes in at a sitting.
const LINES_MAX: usize = 600;

/// The files that are longer, with the reason of each.
const LONG_FILES: &str = "ci/long-files.toml";

/// Words that belong to one machine or one moment, and what to write. Each is cut in two here, so
/// that this file may hold it.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "/wo",
        "rk/",
        "no path of one machine: write it relative to the repository",
    ),
    (
        "/ro",
        "ot/",
        "no path of one machine: write it relative to the repository",
    ),
    (
        "/ho",
        "me/",
        "no path of one machine: write it relative to the repository",
    ),
    ("TO", "DO", "no note to oneself: do it, or open an issue"),
    ("FIX", "ME", "no note to oneself: do it, or open an issue"),
];

/// `ci/long-files.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongFiles {
    #[serde(default)]
    file: Vec<LongFile>,
}

/// A file that may be long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongFile {
    path: String,
    reason: String,
}

pub(super) fn check() -> Result<Vec<Breach>> {
    let long_files = read_long_files()?;
    let mut breaches = Vec::new();
    let mut long = Vec::new();
    for file in tree::files()? {
        let path = tree::root().join(&file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", file.display()))?;
        // Pictures and recorded bytes say nothing.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        breaches.extend(forbidden(&file, &text));
        if is_rust(&file) && text.lines().count() > LINES_MAX {
            long.push((file.display().to_string(), text.lines().count()));
        }
    }
    for (path, lines) in &long {
        if !long_files.iter().any(|known| known.path == *path) {
            breaches.push(Breach(format!(
                "{path} has {lines} lines, more than {LINES_MAX}; divide it, \
                 or say in {LONG_FILES} why it is better whole"
            )));
        }
    }
    for known in &long_files {
        if !long.iter().any(|(path, _)| *path == known.path) {
            breaches.push(Breach(format!(
                "{LONG_FILES} names {}, which is not longer than {LINES_MAX} lines; \
                 take it off the list",
                known.path
            )));
        }
        if known.reason.trim().is_empty() {
            breaches.push(Breach(format!(
                "{LONG_FILES} gives no reason for {}",
                known.path
            )));
        }
    }
    breaches.extend(foreign_registry()?);
    Ok(breaches)
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

fn forbidden(file: &Path, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (first, second, instead) in FORBIDDEN {
            let word = format!("{first}{second}");
            if line.contains(&word) {
                breaches.push(Breach(format!(
                    "{}:{}: `{word}`: {instead}",
                    file.display(),
                    index + 1
                )));
            }
        }
    }
    breaches
}

/// Returns whether the lock file names another place than everybody's for some crate.
fn foreign_registry() -> Result<Vec<Breach>> {
    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let lock =
        fs::read_to_string(tree::root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    Ok(lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .filter(|source| source.trim_matches('"') != REGISTRY)
        .map(|source| {
            Breach(format!(
                "Cargo.lock takes a crate from {source}; everybody must be able to build: \
                 use a published version"
            ))
        })
        .collect())
}

fn read_long_files() -> Result<Vec<LongFile>> {
    let path = tree::root().join(LONG_FILES);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {LONG_FILES}"))?;
    let LongFiles { file } =
        toml::from_str(&text).with_context(|| format!("cannot understand {LONG_FILES}"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_word_is_named_with_its_line() {
        let (first, second, _) = FORBIDDEN[0];
        let text = format!("fine\nsee {first}{second}main\n");
        let breaches = forbidden(Path::new("README.md"), &text);
        assert_eq!(breaches.len(), 1);
        assert!(
            breaches[0].0.starts_with("README.md:2: "),
            "{}",
            breaches[0].0
        );
    }
}
