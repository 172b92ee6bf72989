//! What a machine may lack to boot guests at all: the world's doing, and not a fault of the tree.
//!
//! `cargo xtask vm-test` fails for it as for anything else. `cargo xtask test` skips the guests that it concerns, by name:
//! a tree is not worse because Debian released a kernel.

use std::error::Error;
use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};
use nix::unistd::Uid;

use super::matrix::{FILE, Matrix, Package};
use super::mirror::Mirror;
use crate::command::{command, find, read};
use crate::tree;

/// Why there can be no guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Whoever runs this is not root.
    Root,
    /// The processor is of another kind than the kernels.
    Processor,
    /// The C library of the machine is newer than that of the guests.
    Library { here: String, there: String },
    /// There is no apt.
    Apt,
    /// The machine's apt knows no mirror of Debian.
    Mirror,
    /// The mirror did not answer, or not with what its lists promise.
    Silent(String),
    /// The mirror has other versions by now.
    Gone(Vec<Gone>),
}

/// A package that a mirror no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    package: Package,
    /// Where the file names it.
    line: usize,
    /// The versions that there are.
    now: Vec<String>,
}

impl Gone {
    /// Tells of a package, and of the versions that there are in its place.
    pub(super) fn new(package: &Package, now: &[&str]) -> Result<Self> {
        let path = tree::root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        Ok(Self {
            package: package.clone(),
            line: line_of(&text, package),
            now: now.iter().map(|version| (*version).to_owned()).collect(),
        })
    }
}

/// Returns the line on which the text names a package.
fn line_of(text: &str, package: &Package) -> usize {
    let before = text
        .lines()
        .take_while(|line| !line.contains(&package.sha256));
    before.count() + 1
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str(
                "images are made by root (they are looked into with chroot); run it as root",
            ),
            Self::Processor => {
                f.write_str("the kernels are built for x86_64, and this machine is another")
            }
            Self::Library { here, there } => write!(
                f,
                "the tests are built with the C library {here} of this machine, and a guest has {there}; \
                 name that of this machine's Debian in `userland` of {FILE}"
            ),
            Self::Apt => write!(
                f,
                "the packages of {FILE} come from Debian by apt-get, which is not on this machine"
            ),
            Self::Mirror => {
                f.write_str("this machine's apt names no mirror of Debian; add one to its sources")
            }
            Self::Silent(complaint) => {
                write!(f, "Debian's mirror gives no packages: {complaint}")
            }
            Self::Gone(gone) => {
                f.write_str("the mirror no longer has ")?;
                for (index, one) in gone.iter().enumerate() {
                    let between = if index == 0 { "" } else { "; " };
                    write!(f, "{between}{one}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, line, now } = self;
        let Package { name, version, .. } = package;
        write!(f, "{name} {version}: ")?;
        match now.as_slice() {
            [] => write!(
                f,
                "no version of it is left, so name its successor at {FILE}:{line}"
            ),
            [_, ..] => write!(f, "write {} at {FILE}:{line}", now.join(" or ")),
        }
    }
}

impl Error for Lack {}

/// Fails if this machine can boot no guest, whatever it fetches.
pub(super) fn machine(matrix: &Matrix) -> Result<()> {
    if !Uid::effective().is_root() {
        return Err(Lack::Root.into());
    }
    if std::env::consts::ARCH != "x86_64" {
        return Err(Lack::Processor.into());
    }
    if find("apt-get").is_none() {
        return Err(Lack::Apt.into());
    }
    let here = read(command("getconf").arg("GNU_LIBC_VERSION"))?;
    library(&here, matrix)
}

/// Fails if what was built with the C library that is `here` cannot run with that of a guest.
fn library(here: &str, matrix: &Matrix) -> Result<()> {
    let Some(there) = matrix.userland.iter().find(|one| one.name == "libc6") else {
        return Ok(());
    };
    let (Some(mine), Some(theirs)) = (numbers(here), numbers(&there.version)) else {
        return Ok(());
    };
    if mine > theirs {
        return Err(Lack::Library {
            here: here.trim().to_owned(),
            there: there.version.clone(),
        }
        .into());
    }
    Ok(())
}

/// Returns the first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version
        .split(|character: char| !character.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns whether a guest of the matrix cannot be made here: something is wrong with the machine, or a package was not
/// to be had when it was asked for.
pub(crate) fn lacks_guests() -> bool {
    let Ok(matrix) = Matrix::read() else {
        return false;
    };
    if let Err(error) = machine(&matrix) {
        return error.is::<Lack>();
    }
    let mirror = Mirror::new(&super::below());
    matrix
        .packages()
        .any(|package| !mirror.path(package).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: "12".repeat(32),
        }
    }

    #[test]
    fn a_package_that_is_gone_is_told_with_the_line_to_change() {
        let matrix = Matrix::read().unwrap();
        let kernel = matrix.kernels[0].packages[0].clone();
        let text = fs::read_to_string(tree::root().join(FILE)).unwrap();
        let line = line_of(&text, &kernel);
        let named = text.lines().nth(line - 1).unwrap();
        assert!(
            named.contains(&kernel.name) && named.contains(&kernel.version),
            "{named}"
        );
        let gone = Gone::new(&kernel, &["9.9-1", "9.9-2"]).unwrap();
        let lack = Lack::Gone(vec![gone, Gone::new(&kernel, &[]).unwrap()]).to_string();
        let end = format!("write 9.9-1 or 9.9-2 at ci/kernels.toml:{line}");
        assert!(lack.contains(&end), "{lack}");
        assert!(lack.contains("name its successor at"), "{lack}");
    }

    #[test]
    fn a_newer_library_than_the_guests_is_a_lack() {
        let mut matrix = Matrix::read().unwrap();
        matrix.userland = vec![package("libc6", "2.36-9+deb12u14")];
        library("glibc 2.36\n", &matrix).unwrap();
        library("glibc 2.31\n", &matrix).unwrap();
        library("musl\n", &matrix).unwrap();
        let error = library("glibc 2.41\n", &matrix).unwrap_err();
        assert!(error.is::<Lack>());
        assert!(error.to_string().contains("glibc 2.41"), "{error}");
    }
}
