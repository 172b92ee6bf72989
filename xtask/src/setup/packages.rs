//! Debian packages: what the build, the tests and the demonstration call.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use super::Outcome;
use crate::command::{command, find, read};
use crate::tree;

/// A package, and how one sees that it is there.
struct Package {
    name: &'static str,
    /// What it is for, in a few words.
    purpose: &'static str,
    /// The program, or the file, that it brings.
    brings: Brings,
    way: Way,
    /// Whether nothing can be built without it.
    essential: bool,
}

enum Brings {
    Program(&'static str),
    File(&'static str),
    /// In the folder of whatever architecture this is.
    Library(&'static str),
    /// For the Python that is found.
    PythonModule(&'static str),
}

/// How a package comes to this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// With `apt-get install`: it starts nothing.
    Install,
    /// Unpacked below `target/tools`: installed, it would start a service on this machine and at
    /// every boot, and only its program is wanted.
    Unpack,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "gcc",
        purpose: "the linker, and SQLite",
        brings: Brings::Program("cc"),
        way: Way::Install,
        essential: true,
    },
    Package {
        name: "libc6-dev",
        purpose: "what gcc links with",
        brings: Brings::File("/usr/include/stdio.h"),
        way: Way::Install,
        essential: true,
    },
    Package {
        name: "iproute2",
        purpose: "namespaces and links of tests and demonstration",
        brings: Brings::Program("ip"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "iperf3",
        purpose: "traffic",
        brings: Brings::Program("iperf3"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "python3",
        purpose: "programs that run in containers",
        brings: Brings::Program("python3"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "python3-venv",
        purpose: "an environment of Python's own (see python.rs)",
        brings: Brings::PythonModule("ensurepip"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "curl",
        purpose: "looking at a server by hand",
        brings: Brings::Program("curl"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "iputils-ping",
        purpose: "echo tests",
        brings: Brings::Program("ping"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "dnsmasq-base",
        purpose: "a resolver on loopback; brings no service",
        brings: Brings::Program("dnsmasq"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "socat",
        purpose: "sockets of every kind in tests",
        brings: Brings::Program("socat"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "lintian",
        purpose: "a look at our own packages",
        brings: Brings::Program("lintian"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "mmdebstrap",
        purpose: "the Debian in which packages are tried",
        brings: Brings::Program("mmdebstrap"),
        way: Way::Install,
        essential: false,
    },
    // nginx is linked with these two, and is unpacked without what it depends on.
    Package {
        name: "libpcre2-8-0",
        purpose: "a library of nginx",
        brings: Brings::Library("libpcre2-8.so.0"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "libssl3",
        purpose: "a library of nginx",
        brings: Brings::Library("libssl.so.3"),
        way: Way::Install,
        essential: false,
    },
    Package {
        name: "nginx",
        purpose: "a web server to run in a container",
        brings: Brings::Program("nginx"),
        way: Way::Unpack,
        essential: false,
    },
    Package {
        name: "prometheus",
        purpose: "promtool, which checks the metrics, and the server that runs the queries of alerts and dashboards",
        brings: Brings::Program("promtool"),
        way: Way::Unpack,
        essential: false,
    },
];

/// Looks, installs, and returns what came of it.
pub(super) fn steps() -> Vec<(String, Outcome)> {
    let absent: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| !package.is_there())
        .collect();
    let failure = if absent.is_empty() {
        None
    } else {
        get(&absent).err().map(|error| format!("{error:#}"))
    };
    PACKAGES
        .iter()
        .map(|package| {
            let was_absent = absent.iter().any(|absent| absent.name == package.name);
            let outcome = match (was_absent, package.is_there()) {
                (false, _) => Outcome::Present,
                (true, true) => Outcome::Installed,
                (true, false) => Outcome::Missing {
                    reason: failure.clone().unwrap_or_else(|| {
                        "it was installed, and what it should bring is not there".to_owned()
                    }),
                    essential: package.essential,
                },
            };
            (format!("{} ({})", package.name, package.purpose), outcome)
        })
        .collect()
}

impl Package {
    fn is_there(&self) -> bool {
        match self.brings {
            Brings::Program(program) => find(program).is_some(),
            Brings::File(path) => Path::new(path).exists(),
            Brings::PythonModule(module) => {
                read(command("python3").args(["-c", &format!("import {module}")])).is_ok()
            }
            Brings::Library(name) => fs::read_dir("/usr/lib").is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| entry.path().join(name).exists()))
            }),
        }
    }
}

/// Gets every package by its own way; one that fails does not keep the others away.
fn get(packages: &[&Package]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("this is not Debian (no apt-get); install it with your own package manager");
    }
    if !Uid::effective().is_root() {
        bail!("packages are installed by root; run `cargo xtask setup` as root");
    }
    // Fresh machines have no lists; old lists name files that are gone.
    apt(&["update"])?;
    let of = |way: Way| {
        let some = packages.iter().filter(move |package| package.way == way);
        some.map(|package| package.name).collect::<Vec<_>>()
    };
    let mut failures = Vec::new();
    // All at once is quicker; if that fails, one by one shows which it is.
    let install = of(Way::Install);
    if !install.is_empty() && apt_install(&install).is_err() {
        failures.extend(install.iter().filter_map(|name| apt_install(&[name]).err()));
    }
    failures.extend(
        of(Way::Unpack)
            .into_iter()
            .filter_map(|name| unpack(name).err()),
    );
    if !failures.is_empty() {
        let failures: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
        bail!(failures.join("; "));
    }
    Ok(())
}

fn apt_install(names: &[&str]) -> Result<()> {
    apt(&[&["install", "--yes", "--no-install-recommends"], names].concat())
}

/// Says which `apt-get` is run, and what it says only if it fails: that is hundreds of lines.
fn apt(words: &[&str]) -> Result<()> {
    println!("$ apt-get {}", words.join(" "));
    read(
        command("apt-get")
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .map(drop)
}

/// Downloads a package and unpacks it below `target/tools`.
fn unpack(name: &str) -> Result<()> {
    let tools = tree::tools();
    let downloads = tools.join("packages");
    fs::create_dir_all(&downloads)
        .with_context(|| format!("cannot create {}", downloads.display()))?;
    println!("$ apt-get download {name}");
    // apt gives up its rights for a download, cannot write to root's directory then, says so, and
    // does it as root.
    read(
        command("apt-get")
            .args(["download", name])
            .current_dir(&downloads),
    )?;
    let archive = newest_archive(&downloads, name)?;
    read(command("dpkg").arg("-x").arg(&archive).arg(&tools)).map(drop)
}

fn newest_archive(directory: &Path, name: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|file| file.starts_with(&format!("{name}_")) && file.ends_with(".deb"))
        })
        .max_by_key(|entry| {
            entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
        })
        .map(|entry| entry.path())
        .with_context(|| format!("apt-get downloaded no {name} into {}", directory.display()))
}
