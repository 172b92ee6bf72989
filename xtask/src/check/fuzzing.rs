//! The list of fuzz targets is the whole list, and each is where it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Breach;
use crate::tree;

/// Where the targets are listed, those of the scheduler as well.
const LIST: &str = "agent/docs/fuzzing.md";

/// What begins a target. It is cut in two, so that this file has none.
const TARGET: (&str, &str) = ("bolero::", "check!(");

/// The folders of the crates, by what the list calls them.
const FOLDERS: &[(&str, &str)] = &[
    ("sys", "agent/sys"),
    ("executor", "agent/executor"),
    ("agent", "agent"),
    ("scheduler", "scheduler"),
    ("resources", "scheduler/resources"),
    ("protocol", "scheduler/protocol"),
    ("transport", "scheduler/transport"),
];

pub(super) fn check() -> Result<Vec<Breach>> {
    let list = fs::read_to_string(tree::root().join(LIST))
        .with_context(|| format!("cannot read {LIST}"))?;
    let mut targets = BTreeMap::new();
    for file in tree::files()? {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(tree::root().join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let count = count(&text);
        if count > 0 {
            targets.insert(shown(&file), count);
        }
    }
    Ok(judge(&list, &targets))
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

fn count(text: &str) -> usize {
    let target = format!("{}{}", TARGET.0, TARGET.1);
    text.matches(&target).count()
}

/// Returns where the list and the targets of each file differ.
fn judge(list: &str, targets: &BTreeMap<String, usize>) -> Vec<Breach> {
    let (listed, mut breaches) = read(list);
    for (file, count) in targets {
        match listed.get(file) {
            Some(None) => {}
            Some(Some(said)) if said == count => {}
            Some(Some(said)) => breaches.push(Breach(format!(
                "{file} has {count} fuzz targets, and {LIST} says {said}"
            ))),
            None => breaches.push(Breach(format!(
                "{file} has {count} fuzz targets that {LIST} does not name; say there what each reads and which law it states"
            ))),
        }
    }
    for file in listed.keys().filter(|file| !targets.contains_key(*file)) {
        breaches.push(Breach(format!(
            "{LIST} names {file}, which has no fuzz target; take it off the list"
        )));
    }
    breaches
}

/// Returns how many targets the list gives each file, or `None` where it names a file beside the table: what
/// needs root. A row of the table is: input, from, file, law; the file is a crate, a path in it, and a
/// number if it is not one.
fn read(list: &str) -> (BTreeMap<String, Option<usize>>, Vec<Breach>) {
    let mut listed: BTreeMap<String, Option<usize>> = BTreeMap::new();
    let mut breaches = Vec::new();
    let prose = list.lines().filter(|line| !line.starts_with('|'));
    let prose = prose.collect::<Vec<_>>().join(" ");
    for pair in prose.split("`").collect::<Vec<_>>().windows(3) {
        if let [name, between, folder] = pair
            && name.ends_with(".rs")
            && *between == " under "
        {
            listed.insert(format!("{folder}/{name}"), None);
        }
    }
    let rows = list.lines().skip_while(|line| !line.starts_with("| input"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    for row in rows {
        let Some((krate, path, count)) = row.split('|').nth(3).and_then(place) else {
            breaches.push(Breach(format!(
                "{LIST} has a row that names no file: {row}"
            )));
            continue;
        };
        let folder = FOLDERS.iter().find(|(name, _)| *name == krate);
        match folder {
            Some((_, folder)) => {
                let said = listed.entry(format!("{folder}/{path}")).or_insert(Some(0));
                *said = said.map(|said| said + count);
            }
            None => breaches.push(Breach(format!(
                "{LIST} names crate `{krate}`, which xtask/src/check/fuzzing.rs does not know"
            ))),
        }
    }
    (listed, breaches)
}

/// Reads ``agent `src/config/mod.rs` (2)``.
fn place(cell: &str) -> Option<(&str, &str, usize)> {
    let mut parts = cell.split('`');
    let krate = parts.next()?.trim();
    let path = parts.next()?;
    let count = match parts.next()?.trim() {
        "" => 1,
        text => text.strip_prefix('(')?.strip_suffix(')')?.parse().ok()?,
    };
    Some((krate, path, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "\
| input | from | file | law |
| --- | --- | --- | --- |
| a | b | agent `src/a.rs` (2) | c |
| a | b | protocol `src/b.rs` | c |
| a | b | agent `src/a.rs` | c |

`v.rs` under `agent/tests/network` needs root.
";

    fn said(targets: &[(&str, usize)]) -> Vec<String> {
        let targets = targets
            .iter()
            .map(|(file, count)| ((*file).to_owned(), *count));
        let breaches = judge(ROWS, &targets.collect());
        breaches.into_iter().map(|Breach(text)| text).collect()
    }

    #[test]
    fn the_list_and_the_targets_are_the_same() {
        let all = [
            ("agent/src/a.rs", 3),
            ("scheduler/protocol/src/b.rs", 1),
            ("agent/tests/network/v.rs", 3),
        ];
        assert_eq!(said(&all), Vec::<String>::new());
        let gone = said(&all[..1]);
        assert_eq!(gone.len(), 2, "{gone:?}");
        let mut more = all.to_vec();
        more[0].1 = 4;
        more.push(("agent/src/new.rs", 1));
        let more = said(&more);
        assert_eq!(more.len(), 2, "{more:?}");
    }

    #[test]
    fn a_target_is_counted_wherever_it_stands() {
        let target = format!("{}{}", TARGET.0, TARGET.1);
        assert_eq!(count(&format!("{target})\n    {target})")), 2);
        assert_eq!(count("bolero is named, and nothing is checked"), 0);
    }
}
