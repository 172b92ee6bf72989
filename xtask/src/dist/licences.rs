//! What the crates that are linked into a package's programs want to be said of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::command::{cargo, read};

/// How the files begin that licences and notices are in, in upper case.
const BEGINNINGS: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

/// What `cargo metadata` says, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Crate {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    /// Where it comes from; `None` for a crate of this tree.
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `None` for what the crate itself links with; else `dev` or `build`.
    kind: Option<String>,
}

/// Returns the text about every crate of others that is in the programs of these crates of ours: its name, its licence, and
/// the words that come with it. A text that several have is there once.
pub(super) fn notices(ours: &[&str]) -> Result<String> {
    let json = read(cargo().args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("cargo metadata writes what is not expected")?;
    let linked = linked(&metadata, ours)?;
    let mut heads = String::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in linked {
        let title = format!("{} {}", one.name, one.version);
        let licence = one
            .license
            .as_deref()
            .with_context(|| format!("crate {title} names no licence; it cannot be passed on"))?;
        writeln!(
            heads,
            "{title}: {licence}{}",
            one.repository
                .as_ref()
                .map_or_else(String::new, |at| format!(" ({at})"))
        )?;
        let directory = one
            .manifest_path
            .parent()
            .with_context(|| format!("crate {title} is nowhere"))?;
        for text in read_texts(directory)? {
            texts.entry(text).or_default().push(title.clone());
        }
    }
    let mut whole = format!(
        "These crates of others are linked into the programs of this package. Behind the list is what comes with them.\n\n{heads}"
    );
    for (text, titles) in texts {
        write!(
            whole,
            "\n{}\n{}:\n\n{text}\n",
            "-".repeat(80),
            titles.join(", ")
        )?;
    }
    Ok(whole)
}

/// Returns the crates of others that these of ours are linked with, by name and version.
fn linked<'a>(metadata: &'a Metadata, ours: &[&str]) -> Result<Vec<&'a Crate>> {
    let by_id: BTreeMap<&str, &Crate> = metadata
        .packages
        .iter()
        .map(|one| (one.id.as_str(), one))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let mut open = Vec::new();
    for name in ours {
        let Some(found) = metadata
            .packages
            .iter()
            .find(|one| one.name == *name && one.source.is_none())
        else {
            bail!("there is no crate {name} in this tree");
        };
        open.push(found.id.as_str());
    }
    let mut seen: BTreeSet<&str> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        let node = nodes
            .get(id)
            .with_context(|| format!("cargo resolved no {id}"))?;
        for dependency in &node.deps {
            let is_linked = dependency.dep_kinds.iter().any(|one| one.kind.is_none());
            if is_linked && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    let mut linked: Vec<&Crate> = seen
        .into_iter()
        .filter_map(|id| by_id.get(id).copied())
        .filter(|one| one.source.is_some())
        .collect();
    linked.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(linked)
}

/// Returns the licences and notices that a crate has beside its manifest, in the order of their names.
fn read_texts(directory: &Path) -> Result<Vec<String>> {
    let show = || format!("cannot read {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(show)? {
        let entry = entry.with_context(show)?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_text = BEGINNINGS.iter().any(|start| name.starts_with(start));
        // Some have a directory of them.
        if is_text && entry.path().is_file() {
            paths.push(entry.path());
        } else if is_text || name == "LICENSES" {
            let below = fs::read_dir(entry.path()).with_context(show)?;
            for file in below {
                paths.push(file.with_context(show)?.path());
            }
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let bytes =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            // The same words, however their lines end.
            let text = String::from_utf8_lossy(&bytes).replace('\r', "");
            Ok(text.trim_matches('\n').to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_named_and_what_only_tests_need_is_not() {
        let text = notices(&["weir-executor"]).unwrap();
        let (list, words) = text.split_once("----").unwrap();
        assert!(list.contains("\nnix 0."), "{list}");
        assert!(!list.contains("weir-"), "{list}");
        assert!(!list.contains("\ntempfile "), "{list}");
        assert!(words.contains("Permission is hereby granted"));
        // Once, for all that have it word for word.
        let once = words.matches("Apache License\n").count();
        assert!((1..20).contains(&once), "{once}");
    }

    #[test]
    fn a_crate_that_is_not_there_is_named() {
        let error = notices(&["weir-nothing"]).unwrap_err().to_string();
        assert!(error.contains("no crate weir-nothing"), "{error}");
    }
}
