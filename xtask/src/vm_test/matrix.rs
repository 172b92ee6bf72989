//! `ci/kernels.toml`: which kernels there are, what a guest is made of, and what must be found in it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::tree;

/// Where the matrix is kept.
pub(super) const FILE: &str = "ci/kernels.toml";

/// Everything that the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrix {
    /// The suites of the mirror in which packages are looked for.
    pub(super) suites: Vec<String>,
    /// What boots a guest.
    pub(super) emulator: Vec<Package>,
    /// The programs of a guest.
    pub(super) userland: Vec<Package>,
    #[serde(rename = "suite")]
    pub(super) tests: Vec<Suite>,
    /// What runs in a guest whose clock counts its instructions.
    #[serde(default)]
    pub(super) timing: Vec<Suite>,
    #[serde(rename = "kernel")]
    pub(super) kernels: Vec<Kernel>,
}

/// A Debian package, of which there is only one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: String,
}

/// One test binary, run in one way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    /// The name of the test binary, which no other crate of the workspace has one of.
    pub(super) test: String,
    pub(super) attach: Attach,
    /// Programs that it needs beside those of its crate.
    #[serde(default)]
    pub(super) programs: Vec<String>,
    /// Words of which a test has one in its name; empty for all tests.
    #[serde(default)]
    pub(super) only: Vec<String>,
    /// Likewise, for the few tests that are run on every kernel with all other tests; empty for none.
    #[serde(default)]
    pub(super) smoke: Vec<String>,
}

/// How the programs on packets are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Attach {
    /// As the kernel can do it best.
    Auto,
    /// As kernels before 6.6 need it.
    Clsact,
}

/// A kernel, and the least that is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    /// What people call it.
    pub(super) name: String,
    /// Where people get it from.
    pub(super) distribution: String,
    /// What it calls itself.
    pub(super) release: String,
    pub(super) packages: Vec<Package>,
    /// Checks of `weir-agent doctor` that must be ok.
    pub(super) found: Vec<String>,
    /// Checks that must not be: else the table of features is wrong.
    pub(super) without: Vec<String>,
    /// Tests that may be skipped, because the kernel lacks what they are about.
    pub(super) skips: Vec<String>,
}

impl Matrix {
    /// Reads the file.
    pub(super) fn read() -> Result<Self> {
        let path = tree::root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        Self::parse(&text).with_context(|| format!("cannot understand {FILE}"))
    }

    fn parse(text: &str) -> Result<Self> {
        let matrix: Self = toml::from_str(text)?;
        matrix.validate()?;
        Ok(matrix)
    }

    fn validate(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for kernel in &self.kernels {
            let name = &kernel.name;
            if !names.insert(name) {
                bail!("kernel {name} is listed twice; take one of them away");
            }
            if kernel.packages.is_empty() {
                bail!("kernel {name} has no packages; name those that bring vmlinuz and modules");
            }
            if let Some(both) = kernel.found.iter().find(|one| kernel.without.contains(one)) {
                bail!("kernel {name}: `{both}` is in `found` and in `without`; it can be in one");
            }
            if !is_plain(&kernel.release) {
                bail!("kernel {name}: `{}` is not what uname says", kernel.release);
            }
        }
        for package in self.packages() {
            let Package { name, sha256, .. } = package;
            if !is_plain(name) {
                bail!("`{name}` is not the name of a package");
            }
            if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                bail!("package {name}: `{sha256}` is not a SHA-256; it has 64 hexadecimal digits");
            }
        }
        Ok(())
    }

    /// Returns every package that it names.
    pub(super) fn packages(&self) -> impl Iterator<Item = &Package> {
        let kernels = self.kernels.iter().flat_map(|kernel| &kernel.packages);
        self.emulator.iter().chain(&self.userland).chain(kernels)
    }

    /// Leaves only the few tests that show whether a kernel takes the programs and enforces the limits.
    pub(super) fn reduce(&mut self) {
        self.tests.retain(|suite| !suite.smoke.is_empty());
        for suite in &mut self.tests {
            suite.only.clone_from(&suite.smoke);
        }
    }

    /// Returns the kernels that are asked for: the one, or all.
    pub(super) fn select(&self, wanted: Option<&str>) -> Result<Vec<&Kernel>> {
        let some: Vec<&Kernel> = self
            .kernels
            .iter()
            .filter(|kernel| wanted.is_none_or(|wanted| wanted == kernel.name))
            .collect();
        if some.is_empty() {
            let names: Vec<&str> = self.kernels.iter().map(|one| one.name.as_str()).collect();
            bail!(
                "there is no kernel {} in {FILE}; there are {}",
                wanted.unwrap_or("at all"),
                names.join(", ")
            );
        }
        Ok(some)
    }
}

impl Suite {
    /// Returns what is told in front of its tests.
    pub(super) fn label(&self) -> &'static str {
        match self.attach {
            Attach::Auto => "",
            Attach::Clsact => "clsact: ",
        }
    }
}

/// Returns whether a word can be part of a path and of a script as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with(['-', '.'])
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744";

    fn text(kernel: &str) -> String {
        format!(
            "suites = []\nemulator = []\nuserland = []\nsuite = []\n[[kernel]]\nname = \"a\"\ndistribution = \"b\"\nskips = []\n{kernel}"
        )
    }

    #[test]
    fn the_shipped_matrix_can_be_read() {
        let matrix = Matrix::read().unwrap();
        assert_eq!(matrix.select(None).unwrap().len(), matrix.kernels.len());
        assert_eq!(matrix.select(Some("6.1")).unwrap().len(), 1);
        let error = matrix.select(Some("2.4")).unwrap_err().to_string();
        assert!(error.contains("there are 6.1"), "{error}");
    }

    #[test]
    fn what_is_wrong_in_the_matrix_is_named() {
        let package =
            format!("packages = [{{ name = \"a\", version = \"1\", sha256 = \"{SUM}\" }}]");
        let good = format!("release = \"6.1\"\n{package}\nfound = []\nwithout = []");
        Matrix::parse(&text(&good)).unwrap();
        for (from, to, complaint) in [
            ("found = []", "found = []\nfond = []", "unknown field"),
            (SUM, "12", "not a SHA-256"),
            (&package, "packages = []", "has no packages"),
            (
                "found = []\nwithout = []",
                "found = [\"x\"]\nwithout = [\"x\"]",
                "in `found` and in",
            ),
            ("\"6.1\"", "\"../6.1\"", "not what uname says"),
        ] {
            let error = Matrix::parse(&text(&good.replace(from, to))).unwrap_err();
            assert!(format!("{error:#}").contains(complaint), "{error:#}");
        }
    }

    #[test]
    fn the_smoke_tests_are_of_every_way_of_attaching() {
        let mut matrix = Matrix::read().unwrap();
        matrix.reduce();
        for attach in [Attach::Auto, Attach::Clsact] {
            let suite = matrix
                .tests
                .iter()
                .find(|suite| suite.test == "network" && suite.attach == attach);
            let verified = "the_verifier_says_how_much_it_looked_at".to_owned();
            assert!(
                suite.is_some_and(|suite| suite.only.contains(&verified)),
                "{FILE}: the programs must be loaded {attach:?} in `smoke`"
            );
        }
    }

    fn version(text: &str) -> (u32, u32) {
        let (major, minor) = text.split_once('.').unwrap();
        (major.parse().unwrap(), minor.parse().unwrap())
    }

    /// What the programs' own document says of kernels is what each of them is held against.
    #[test]
    fn the_table_of_features_and_the_kernels_agree() {
        let document = fs::read_to_string(tree::root().join("agent-ebpf/ARCHITECTURE.md")).unwrap();
        let (_, table) = document.split_once("checks of `doctor`").unwrap();
        let matrix = Matrix::read().unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let mut seen = 0;
        let mut told = BTreeSet::new();
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            told.extend(cells[2].split(", "));
            let since = version(cells[3]);
            for (check, kernel) in cells[2]
                .split(", ")
                .flat_map(|check| matrix.kernels.iter().map(move |kernel| (check, kernel)))
            {
                let (wanted, list) = if version(&kernel.name) >= since {
                    (&kernel.found, "found")
                } else {
                    (&kernel.without, "without")
                };
                assert!(
                    wanted.iter().any(|one| one == check),
                    "{FILE}: `{check}` must be in `{list}` of {}, or its row is wrong: {row}",
                    kernel.name
                );
                seen += 1;
            }
        }
        assert!(seen >= 7 * matrix.kernels.len(), "{seen}");
        for kernel in &matrix.kernels {
            for check in kernel.found.iter().chain(&kernel.without) {
                assert!(
                    told.contains(check.as_str()),
                    "{FILE}: `{check}` of {} is in no row of agent-ebpf/ARCHITECTURE.md: say there since when it is and what replaces it",
                    kernel.name
                );
            }
        }
    }
}
