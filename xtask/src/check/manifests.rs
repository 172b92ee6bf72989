//! What stands in a crate's `Cargo.toml`: versions and lints are the workspace's, for all alike.

use std::fs;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::Breach;
use crate::tree;

/// The tables that name dependencies.
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check() -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree::files()? {
        // The one at the top is the workspace's own.
        if file.file_name().is_none_or(|name| name != "Cargo.toml") || file.iter().count() == 1 {
            continue;
        }
        let name = file.display().to_string();
        let text = fs::read_to_string(tree::root().join(&file))
            .with_context(|| format!("cannot read {name}"))?;
        let manifest: Table = text
            .parse()
            .with_context(|| format!("cannot understand {name}"))?;
        breaches.extend(judge(&name, &manifest));
    }
    Ok(breaches)
}

fn judge(name: &str, manifest: &Table) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if !is_the_workspaces(manifest.get("lints")) {
        breaches.push(Breach(format!(
            "{name} has no `[lints] workspace = true`; the lints are one table for all"
        )));
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let places = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table)
        .chain([manifest]);
    for place in places {
        let tables = DEPENDENCIES
            .iter()
            .filter_map(|table| place.get(*table)?.as_table());
        for (dependency, how) in tables.flatten() {
            if !is_the_workspaces(Some(how)) {
                breaches.push(Breach(format!(
                    "{name} chooses {dependency} itself; name it in [workspace.dependencies] and \
                     write `{dependency} = {{ workspace = true }}`"
                )));
            }
        }
    }
    breaches
}

fn is_the_workspaces(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_lints_are_the_workspaces() {
        let breaches = |text: &str| {
            let manifest = text.parse().unwrap();
            judge("a/Cargo.toml", &manifest)
                .into_iter()
                .map(|Breach(text)| text)
                .collect::<Vec<_>>()
        };
        let good = "[lints]\nworkspace = true\n[dependencies]\nnix = { workspace = true }\n\
                    libc.workspace = true\n";
        assert_eq!(breaches(good), Vec::<String>::new());
        assert_eq!(breaches("").len(), 1);
        for table in [
            "dependencies",
            "dev-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            let text = format!("{good}[{table}.serde]\nversion = \"1\"\n");
            // The first table is there already, and is gone on with.
            let said = breaches(&text);
            assert!(said.len() == 1 && said[0].contains("serde"), "{said:?}");
        }
    }
}
