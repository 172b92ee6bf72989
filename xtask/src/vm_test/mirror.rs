//! Fetches packages from the Debian mirror that this machine's own apt names.
//!
//! With apt, in folders of its own: its lists, its sources, an empty status. Nothing of the
//! machine's apt is changed, and nothing is installed. What came is kept by its checksum.
//!
//! What is not to be had is a [`Lack`]: the world's doing, not a fault of the tree.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::lack::{Gone, Lack};
use super::matrix::{FILE, Package};
use crate::command::{command, find, read};

/// What signs Debian's lists.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The releases of Debian by whose name its mirror is known among the sources.
const RELEASES: [&str; 8] = [
    "bookworm", "trixie", "forky", "duke", "stable", "testing", "unstable", "sid",
];

/// Packages that were fetched, and the means to fetch more.
pub(super) struct Mirror {
    below: PathBuf,
    /// Whether the lists are those of now.
    asked: Cell<bool>,
}

impl Mirror {
    /// Keeps everything below `below`.
    pub(super) fn new(below: &Path) -> Self {
        Self {
            below: below.to_owned(),
            asked: Cell::new(false),
        }
    }

    /// Returns where a package is kept.
    pub(super) fn path(&self, package: &Package) -> PathBuf {
        self.below
            .join("packages")
            .join(format!("{}.deb", package.sha256))
    }

    /// Fetches those of `packages` that are not there, and checks every checksum.
    pub(super) fn fetch(&self, suites: &[String], packages: &[&Package]) -> Result<()> {
        let absent: Vec<&Package> = packages
            .iter()
            .copied()
            .filter(|package| !self.path(package).exists())
            .collect();
        if absent.is_empty() {
            return Ok(());
        }
        if find("apt-get").is_none() {
            bail!(Lack::Apt);
        }
        let downloads = self.below.join("downloads");
        for directory in [
            "downloads",
            "packages",
            "lists/partial",
            "cache/archives/partial",
        ] {
            let path = self.below.join(directory);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        self.write_sources(suites)?;
        println!("vm-test: fetching {} packages", absent.len());
        if !self.asked.get() {
            // Else what could not be fetched is a warning, and old lists are used.
            let strict = ["-o", "APT::Update::Error-Mode=any", "update"];
            read(self.apt("apt-get").args(strict)).map_err(silent)?;
            self.asked.set(true);
        }
        self.look_for(&absent)?;
        let names = absent
            .iter()
            .map(|package| format!("{}={}", package.name, package.version));
        read(
            self.apt("apt-get")
                .arg("download")
                .args(names)
                .current_dir(&downloads),
        )
        .map_err(silent)?;
        self.keep(&downloads)?;
        for package in absent {
            if !self.path(package).exists() {
                bail!(
                    "package {} {} has not the checksum that {FILE} says; \
                     somebody changed one of the two",
                    package.name,
                    package.version
                );
            }
        }
        Ok(())
    }

    /// Fails if the mirror's lists lack one of the packages, and names them all.
    fn look_for(&self, packages: &[&Package]) -> Result<()> {
        let mut gone = Vec::new();
        for package in packages {
            let listed = read(self.apt("apt-cache").args(["madison", &package.name]))?;
            let versions = versions(&listed);
            if !versions.contains(&package.version.as_str()) {
                gone.push(Gone::new(package, &versions)?);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        bail!(Lack::Gone(gone))
    }

    /// Returns the address of the mirror.
    pub(super) fn address(&self) -> Result<String> {
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
        let targets = read(command("apt-get").args(["indextargets", "--format", format]))?;
        debian(&targets)
            .map(str::to_owned)
            .ok_or_else(|| Lack::Mirror.into())
    }

    fn write_sources(&self, suites: &[String]) -> Result<()> {
        let address = self.address()?;
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb {signed}{address} {suite} main\n"))
            .collect();
        let write = |name: &str, content: &str| {
            let path = self.below.join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
        };
        write("status", "")?;
        write("sources.list", &sources)
    }

    /// Returns a program of apt that knows only our folders.
    fn apt(&self, program: &str) -> Command {
        let mut apt = command(program);
        let at = |name: &str| self.below.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::Status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".to_owned(),
            // Else it gives up its rights, and cannot write where we are.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        apt
    }

    /// Gives every download the name of its checksum.
    fn keep(&self, downloads: &Path) -> Result<()> {
        let show = || format!("cannot keep what is in {}", downloads.display());
        for entry in fs::read_dir(downloads).with_context(show)? {
            let path = entry.with_context(show)?.path();
            let sum = checksum(&path)?;
            let kept = self.below.join("packages").join(format!("{sum}.deb"));
            fs::rename(&path, kept).with_context(show)?;
        }
        Ok(())
    }

    /// Unpacks a package below `target`, without running anything of it.
    pub(super) fn unpack(&self, package: &Package, target: &Path) -> Result<()> {
        read(
            command("dpkg-deb")
                .arg("-x")
                .arg(self.path(package))
                .arg(target),
        )
        .map(drop)
        .with_context(|| format!("cannot unpack {}", package.name))
    }
}

/// Takes what apt complained of as the mirror's silence: it was asked for what its lists have.
fn silent(complaint: anyhow::Error) -> anyhow::Error {
    let complaint = format!("{complaint:#}");
    // It says the same of every list that it asked for.
    let first = complaint.lines().find_map(|line| line.split_once("E: "));
    let said = first.map_or(complaint.as_str(), |(_, said)| said);
    Lack::Silent(said.to_owned()).into()
}

/// Reads the versions of a package from what `apt-cache madison` says: name, version, source.
fn versions(listed: &str) -> Vec<&str> {
    let mut versions: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .collect();
    versions.dedup();
    versions
}

/// Returns the SHA-256 of a file.
fn checksum(path: &Path) -> Result<String> {
    let line = read(command("sha256sum").arg("--").arg(path))?;
    // A backslash in front says that something in the file's name is escaped.
    let sum = line.trim_start_matches('\\').split_whitespace().next();
    sum.map(str::to_owned)
        .with_context(|| format!("sha256sum said nothing of {}", path.display()))
}

/// Returns the address of the first source that is Debian's main archive.
fn debian(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (address, release, component) = (words.next()?, words.next()?, words.next()?);
        (RELEASES.contains(&release) && component == "main").then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_machines_own() {
        let targets = "https://tools.example/apt nodistro main\n\
                       http://mirror.example/debian-security/ bookworm-security main\n\
                       http://mirror.example/debian/ bookworm main\n\
                       http://other.example/debian/ trixie main\n";
        assert_eq!(debian(targets), Some("http://mirror.example/debian/"));
        assert_eq!(debian("https://tools.example/apt nodistro main"), None);
    }

    #[test]
    fn what_the_mirror_has_is_read_from_its_lists() {
        let listed = "   libc6 | 2.41-12 | http://mirror.example/debian trixie/main amd64 Packages\n\
                      \x20    libc6 | 2.36-9+deb12u14 | http://mirror.example/debian bookworm/main amd64 Packages\n";
        assert_eq!(versions(listed), ["2.41-12", "2.36-9+deb12u14"]);
        assert_eq!(versions(""), Vec::<&str>::new());
    }

    #[test]
    fn of_a_silent_mirror_one_line_is_told() {
        let complaint =
            anyhow::anyhow!("`apt-get update` ended with 100: E: no way to a\nE: no way to b");
        let error = silent(complaint);
        assert!(error.is::<Lack>());
        assert!(
            error.to_string().ends_with("no packages: no way to a"),
            "{error}"
        );
    }

    #[test]
    fn a_checksum_is_that_of_the_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(checksum(&path).unwrap(), empty);
    }
}
