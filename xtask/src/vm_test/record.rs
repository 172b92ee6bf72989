//! What runs are held against, and what they leave behind.
//!
//! `ci/verified.toml` has how many instructions of each program a kernel's verifier looks at: a change that
//! makes it look at many more is one that the next kernel, or the next change, may have refused. `ci/support.md`
//! has what the last whole run on each kernel came to. Both are written by `--write` only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result};

use super::matrix::{Kernel, Matrix};
use super::own::OWN;
use crate::tree;

const VERIFIED: &str = "ci/verified.toml";
const SUPPORT: &str = "ci/support.md";

/// By how many hundredths a program may grow before it is a problem.
const MARGIN_PERCENT: u64 = 20;

/// The tables of `ci/support.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Tests of the data plane.
    Tests,
    /// The packages on a stock Debian.
    Story,
}

/// Instructions that were looked at: by kernel, by program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verified(BTreeMap<String, BTreeMap<String, u32>>);

impl Verified {
    pub(super) fn read() -> Result<Self> {
        let text = read_if_there(VERIFIED)?;
        Self::parse(&text).with_context(|| format!("cannot understand {VERIFIED}"))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(Self(toml::from_str(text)?))
    }

    /// Returns what is wrong with what a kernel's verifier said.
    pub(super) fn judge(&self, kernel: &str, found: &BTreeMap<String, u32>) -> Vec<String> {
        let remedy = "if that is meant, have --write record it";
        let known = self.0.get(kernel);
        let judged = found.iter().filter_map(|(program, now)| {
            let Some(before) = known.and_then(|known| known.get(program)) else {
                return Some(format!("{VERIFIED} knows no program `{program}` on {kernel}: {remedy}"));
            };
            let bound = u64::from(*before) * (100 + MARGIN_PERCENT) / 100;
            (u64::from(*now) > bound).then(|| {
                format!(
                    "the verifier looks at {now} instructions of `{program}`, and {before} are recorded: {remedy}"
                )
            })
        });
        judged.collect()
    }

    /// Returns whether anything is recorded of a kernel.
    pub(super) fn knows(&self, kernel: &str) -> bool {
        self.0.contains_key(kernel)
    }

    /// Takes what a kernel said in place of what was known of it.
    fn take(&mut self, kernel: &str, found: &BTreeMap<String, u32>) {
        if !found.is_empty() {
            self.0.insert(kernel.to_owned(), found.clone());
        }
    }

    fn text(&self) -> Result<String> {
        let figures = toml::to_string(&self.0)?;
        Ok(format!(
            "# How many instructions of each program the verifier of each kernel looks at, on all paths together; it gives\n\
             # up at one million. Written by `cargo xtask vm-test --write`. Without it, {MARGIN_PERCENT} % more fail the run.\n\n\
             {figures}"
        ))
    }
}

/// Writes what kernels said into the file as it is now: a run on other kernels may have written meanwhile.
pub(super) fn verified<'a>(
    said: impl Iterator<Item = (&'a str, &'a BTreeMap<String, u32>)>,
) -> Result<()> {
    let mut verified = Verified::read()?;
    for (kernel, found) in said {
        verified.take(kernel, found);
    }
    write(VERIFIED, &verified.text()?)
}

/// Returns the row of a kernel in the table of tests; the numbers are of those that passed, failed and were skipped.
pub(super) fn row_of_tests(
    kernel: &Kernel,
    (passed, failed, skipped): (usize, usize, usize),
    revision: &str,
    verdict: &str,
) -> String {
    let cells = format!("{passed} | {failed} | {skipped} | {revision}");
    Table::Tests.row(kernel, &cells, verdict)
}

/// Writes the rows of those kernels that ran into their table; the others keep theirs.
pub(super) fn support(
    matrix: &Matrix,
    table: Table,
    rows: &BTreeMap<String, String>,
) -> Result<()> {
    let before = read_if_there(SUPPORT)?;
    let text = [Table::Tests, Table::Story].map(|one| {
        let kernels = matrix.kernels.iter().map(|kernel| {
            let new = rows.get(&kernel.name).filter(|_| one == table);
            new.cloned()
                .or_else(|| one.row_of(&kernel.name, &before))
                .unwrap_or_else(|| one.row(kernel, one.never(), "not run yet"))
        });
        let own = rows.get(OWN).filter(|_| one == table).cloned();
        let own = own.or_else(|| one.row_of(OWN, &before));
        let rows: String = kernels.chain(own).collect();
        format!("{}{rows}", one.head())
    });
    write(
        SUPPORT,
        &format!(
            "# Kernels and distributions\n\n\
             What the last whole run on each kernel of [kernels.toml](kernels.toml) came to; `cargo xtask vm-test --write` writes\n\
             it. [kernels.md](kernels.md) says how a guest is judged, [deployment.md](deployment.md) what the story tells.\n\
             The row `{OWN}` is of the kernel of a machine that the guests ran on, and of all tests: `cargo xtask test --write`.\n\n\
             {}",
            text.join("\n")
        ),
    )
}

impl Table {
    /// Returns the row of a kernel; `cells` are those between its name and what came of it.
    pub(super) fn row(self, kernel: &Kernel, cells: &str, verdict: &str) -> String {
        let Kernel {
            name,
            distribution,
            release,
            found,
            ..
        } = kernel;
        let attach = if found.iter().any(|one| one == "tcx") {
            "tcx, clsact"
        } else {
            "clsact"
        };
        let own = match self {
            Self::Tests => format!("{distribution} | {release} | {attach}"),
            Self::Story => distribution.clone(),
        };
        let mut row = String::new();
        writeln!(row, "| {name} | {own} | {cells} | {verdict} |")
            .expect("a string takes all that is written");
        row
    }

    const fn never(self) -> &'static str {
        match self {
            Self::Tests => "- | - | - | -",
            Self::Story => "- | -",
        }
    }

    const fn head(self) -> &'static str {
        match self {
            Self::Tests => {
                "## The tests of the data plane, of containers and of their limits\n\n\
                 | kernel | distribution | release | attached by | passed | failed | skipped | revision | verdict |\n\
                 |---|---|---|---|---|---|---|---|---|\n"
            }
            Self::Story => {
                "## The packages, from installation to purge\n\n\
                 | kernel | distribution | steps passed | revision | verdict |\n\
                 |---|---|---|---|---|\n"
            }
        }
    }

    /// Finds the row of a kernel in a text that was written before.
    fn row_of(self, kernel: &str, text: &str) -> Option<String> {
        let (_, rows) = text.split_once(self.head())?;
        let begin = format!("| {kernel} |");
        let row = rows
            .lines()
            .take_while(|line| line.starts_with('|'))
            .find(|line| line.starts_with(&begin))?;
        Some(format!("{row}\n"))
    }
}

fn read_if_there(file: &str) -> Result<String> {
    match fs::read_to_string(tree::root().join(file)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("cannot read {file}")),
    }
}

fn write(file: &str, text: &str) -> Result<()> {
    fs::write(tree::root().join(file), text).with_context(|| format!("cannot write {file}"))
}

#[cfg(test)]
mod tests {
    use super::super::matrix::FILE;
    use super::super::own;
    use super::*;

    fn found(figures: &[(&str, u32)]) -> BTreeMap<String, u32> {
        let figures = figures.iter();
        figures
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn growth_beyond_the_margin_is_a_problem() {
        let mut verified = Verified::default();
        verified.take("6.1", &found(&[("bind4", 100), ("uplink_in", 1000)]));
        let judge = |figures: &[(&str, u32)]| verified.judge("6.1", &found(figures));
        assert_eq!(
            judge(&[("bind4", 120), ("uplink_in", 10)]),
            Vec::<String>::new()
        );
        assert_eq!(judge(&[]), Vec::<String>::new());
        assert!(judge(&[("bind4", 121)])[0].contains("121 instructions of `bind4`, and 100"));
        assert!(judge(&[("bind6", 1)])[0].contains("no program `bind6` on 6.1"));
        assert!(verified.judge("6.12", &found(&[("bind4", 1)]))[0].contains("on 6.12"));
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let mut verified = Verified::default();
        verified.take("6.12", &found(&[("bind4", 100)]));
        verified.take("6.1", &found(&[("bind4", 90)]));
        verified.take("6.1", &BTreeMap::new());
        let text = verified.text().unwrap();
        assert!(text.contains("[\"6.1\"]\nbind4 = 90"), "{text}");
        assert_eq!(Verified::parse(&text).unwrap(), verified);
    }

    #[test]
    fn the_kept_figures_are_of_kernels_that_there_are() {
        let matrix = Matrix::read().unwrap();
        for kernel in Verified::read().unwrap().0.keys() {
            assert!(
                matrix.select(Some(kernel)).is_ok() || own::is_own(kernel),
                "{VERIFIED}: {kernel} is not in {FILE}"
            );
        }
    }

    #[test]
    fn the_kept_table_has_each_kernel_once_and_as_it_is_written() {
        let matrix = Matrix::read().unwrap();
        let text = read_if_there(SUPPORT).unwrap();
        assert!(
            Table::Tests.row_of(OWN, &text).is_some(),
            "{SUPPORT} has no row of a machine's own kernel: run `cargo xtask test --write`"
        );
        for table in [Table::Tests, Table::Story] {
            for kernel in &matrix.kernels {
                let row = table.row_of(&kernel.name, &text).unwrap_or_else(|| {
                    panic!(
                        "{SUPPORT} has no row of {}: run `cargo xtask vm-test --write`",
                        kernel.name
                    )
                });
                // The first cells say what kernels.toml says.
                let new = table.row(kernel, "", "");
                assert!(
                    row.starts_with(new.trim_end().trim_end_matches(['|', ' '])),
                    "{row}{new}"
                );
            }
        }
    }

    #[test]
    fn a_row_stays_until_its_kernel_runs_again() {
        let matrix = Matrix::read().unwrap();
        let kernel = &matrix.kernels[0];
        let row = Table::Story.row(kernel, "25 | abc", "ok");
        let text = format!("{}{}{row}\n", Table::Tests.head(), Table::Story.head());
        assert_eq!(Table::Story.row_of(&kernel.name, &text), Some(row));
        assert_eq!(Table::Tests.row_of(&kernel.name, &text), None);
    }
}
