//! The top of the tree: `ls` is the architecture.

use std::fs;

use anyhow::{Context as _, Result};

use super::Breach;
use crate::tree;

/// What stands at the top: the folders, and the files that Cargo, rustup and a licence need there.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agent",
    "agent-ebpf",
    "ci",
    "rust-toolchain.toml",
    "scheduler",
    "sim",
    "xtask",
];

/// Names that say nothing of what is inside, and so refuse nothing.
const DRAWERS: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

pub(super) fn check() -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    let root = tree::root();
    let entries = fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", root.display()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let built = entry.path() == tree::target() || name == "target";
        if !name.starts_with('.') && !built && !TOP.contains(&name.as_ref()) {
            breaches.push(Breach(format!(
                "{name} stands at the top of the tree, where only {} do; \
                 put it into the folder of what it belongs to",
                TOP.join(", ")
            )));
        }
    }
    for name in TOP {
        if !root.join(name).exists() {
            breaches.push(Breach(format!("{name} is missing at the top of the tree")));
        }
    }
    for file in tree::files()? {
        let drawer = file
            .iter()
            .filter_map(|part| part.to_str())
            .map(|part| part.strip_suffix(".rs").unwrap_or(part))
            .find(|part| DRAWERS.contains(part));
        if let Some(drawer) = drawer {
            breaches.push(Breach(format!(
                "{} is a drawer called {drawer}; name it by what is inside",
                file.display()
            )));
        }
    }
    Ok(breaches)
}
