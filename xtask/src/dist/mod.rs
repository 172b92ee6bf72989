//! `cargo xtask dist`: the Debian packages.
//!
//! The same sources are to give the same bytes, whoever builds them and wherever: paths of the machine
//! are kept out of the programs, and the time in the packages is that of the newest change in their
//! changelogs.

mod changelog;
mod licences;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, command, read, run};
use crate::{setup, tree};

/// A package, by the crate that says what is in it (`[package.metadata.deb]`).
struct Package {
    /// Its name, and the crate's.
    name: &'static str,
    /// The folder of the crate.
    folder: &'static str,
    /// The crates whose code is in it.
    crates: &'static [&'static str],
    /// Its programs that print manual pages of their own.
    programs: &'static [Program],
}

struct Program {
    name: &'static str,
    completes: bool,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "weir-agent",
        folder: "agent",
        crates: &["weir-agent", "weir-executor", "agent-ebpf"],
        programs: &[Program {
            name: "weir-agent",
            completes: true,
        }],
    },
    Package {
        name: "weir-scheduler",
        folder: "scheduler",
        crates: &["weir-scheduler"],
        programs: &[
            Program {
                name: "weir-scheduler",
                completes: false,
            },
            Program {
                name: "weir",
                completes: true,
            },
        ],
    },
];

/// Beside the packages: the revision of the tree that they are of.
const REVISION: &str = "revision.txt";

/// Packages that are there.
pub(crate) struct Packages {
    pub(crate) files: Vec<PathBuf>,
    /// The tree that they are of, as [`tree::revision`] tells it.
    pub(crate) revision: String,
}

/// Builds the packages and has lintian look at them.
pub(crate) fn run_all() -> Result<()> {
    let packages = packages()?.files;
    let mut lintian = command("lintian");
    // Errors and warnings fail; what is overridden has its reason in dist/debian.
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0"]);
    run(lintian.args(&packages))?;
    for package in &packages {
        let sum = read(command("sha256sum").arg(package))?;
        println!("{}", sum.trim());
    }
    Ok(())
}

/// Builds the packages, and returns where they are.
pub(crate) fn packages() -> Result<Packages> {
    setup::run_for_build()?;
    setup::run_for_packages()?;
    // While cargo builds, somebody may go on working.
    let revision = tree::revision();
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let told = directory.join(REVISION);
    // Packages of two trees have none.
    match fs::remove_file(&told) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.with_context(|| format!("cannot remove {}", told.display()))?,
    }
    let flags = Flags::of_this_machine()?;
    run(flags.set(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "weir-agent",
        "--package",
        "weir-executor",
        "--package",
        "weir-scheduler",
        "--bins",
    ])))?;
    let packed = PACKAGES.iter().map(|package| package.pack(&flags));
    let files = packed.collect::<Result<_>>()?;
    fs::write(&told, format!("{revision}\n"))
        .with_context(|| format!("cannot write {}", told.display()))?;
    Ok(Packages { files, revision })
}

/// Returns the packages that somebody has built, with the versions that the changelogs have now.
pub(crate) fn found(directory: &Path) -> Result<Packages> {
    let mut files = Vec::new();
    for package in PACKAGES {
        let text = package.changelog()?;
        let path = directory.join(package.file(changelog::newest(&text)?.version)?);
        if !path.is_file() {
            bail!(
                "there is no {}; `cargo xtask dist` makes it",
                path.display()
            );
        }
        files.push(path);
    }
    let told = directory.join(REVISION);
    let revision = fs::read_to_string(&told)
        .with_context(|| format!("cannot read {}, which says of which tree the packages are; `cargo xtask dist` writes it", told.display()))?
        .trim()
        .to_owned();
    Ok(Packages { files, revision })
}

/// Returns where the packages are put.
fn directory() -> PathBuf {
    tree::target().join("dist")
}

impl Package {
    fn changelog(&self) -> Result<String> {
        let path = self.changelog_path();
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn changelog_path(&self) -> PathBuf {
        tree::root().join(self.folder).join("dist/debian/changelog")
    }

    /// Returns the name of the file of a version.
    fn file(&self, version: &str) -> Result<String> {
        let architecture = read(command("dpkg").arg("--print-architecture"))?;
        Ok(format!(
            "{}_{version}_{}.deb",
            self.name,
            architecture.trim()
        ))
    }

    fn pack(&self, flags: &Flags) -> Result<PathBuf> {
        let (path, text) = (self.changelog_path(), self.changelog()?);
        let newest = changelog::newest(&text).with_context(|| format!("in {}", path.display()))?;
        let version = env!("CARGO_PKG_VERSION");
        let is_ours = newest.package == self.name
            && newest
                .version
                .rsplit_once('-')
                .is_some_and(|(upstream, _)| upstream == version);
        if !is_ours {
            bail!(
                "{} begins with {} {}, and this is {} {version}; write down what is new in it",
                path.display(),
                newest.package,
                newest.version,
                self.name
            );
        }
        self.describe()?;
        let seconds = read(command("date").args(["--utc", "--date", newest.date, "+%s"]))?;
        let output = directory().join(self.file(newest.version)?);
        let mut pack = cargo();
        pack.args(["deb", "--no-build", "--locked", "--strip"])
            .args(["--package", self.name, "--deb-version", newest.version])
            .arg("--output")
            .arg(&output)
            .env("SOURCE_DATE_EPOCH", seconds.trim());
        run(flags.set(&mut pack))?;
        Ok(output)
    }

    /// Has the programs write their manual pages and completions, and collects what is to be said of crates of others, where the
    /// crate's list of files looks for them.
    fn describe(&self) -> Result<()> {
        let release = tree::target().join("release");
        let described = release.join("described").join(self.name);
        let pages = described.join("man");
        if described.exists() {
            fs::remove_dir_all(&described)
                .with_context(|| format!("cannot empty {}", described.display()))?;
        }
        fs::create_dir_all(&pages).with_context(|| format!("cannot make {}", pages.display()))?;
        for Program { name, completes } in self.programs {
            let program = release.join(name);
            read(command(&program).arg("manual").arg(&pages))?;
            if *completes {
                for (shell, file) in [
                    ("bash", format!("{name}.bash")),
                    ("zsh", format!("_{name}")),
                    ("fish", format!("{name}.fish")),
                ] {
                    let script = read(command(&program).args(["completions", shell]))?;
                    let path = described.join(file);
                    fs::write(&path, script)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
            }
        }
        let changes = described.join("changelog");
        let source = tree::root().join(self.folder).join("CHANGELOG.md");
        fs::copy(&source, &changes).with_context(|| format!("cannot copy {}", source.display()))?;
        let notices = described.join("third-party.txt");
        fs::write(&notices, licences::notices(self.crates)?)
            .with_context(|| format!("cannot write {}", notices.display()))?;
        // Without names and times, which would differ.
        let mut gzip = command("gzip");
        gzip.args(["--recursive", "-9", "--no-name"]);
        read(gzip.arg(&pages).arg(&changes).arg(&notices))?;
        Ok(())
    }
}

/// What keeps this machine's paths out of the programs.
struct Flags {
    rust: String,
    c: String,
}

impl Flags {
    fn of_this_machine() -> Result<Self> {
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
            .context("there is neither CARGO_HOME nor HOME; set one")?;
        let standard_library = read(command("rustc").args(["--print", "sysroot"]))?;
        let target = tree::target();
        let mapped = [
            // Of several that fit the last counts.
            (Path::new(standard_library.trim()), "/rust"),
            (home.as_path(), "/cargo"),
            (tree::root(), "/weir"),
            (target.as_path(), "/weir/target"),
        ];
        // Separated as cargo wants it, for paths with spaces.
        let rust: Vec<String> = mapped
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
            .collect();
        let c: Vec<String> = mapped
            .iter()
            .map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()))
            .collect();
        Ok(Self {
            rust: rust.join("\u{1f}"),
            c: c.join(" "),
        })
    }

    fn set<'a>(&self, command: &'a mut std::process::Command) -> &'a mut std::process::Command {
        command
            .env("CARGO_ENCODED_RUSTFLAGS", &self.rust)
            .env("CFLAGS", &self.c)
    }
}
