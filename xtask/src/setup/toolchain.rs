//! The Rust toolchain of `rust-toolchain.toml`, and the linker of the programs.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Outcome;
use crate::command::{cargo, command, find, read, run};
use crate::tree;

/// The linker that LLVM bitcode for the kernel goes through. It carries an LLVM of its own, which
/// must know the bitcode of our rustc: the two versions are chosen together.
const BPF_LINKER_VERSION: &str = "0.10.3";

/// What makes Debian packages of Cargo's.
const CARGO_DEB_VERSION: &str = "3.8.0";

/// `rust-toolchain.toml`.
#[derive(Deserialize)]
struct ToolchainFile {
    toolchain: Toolchain,
}

#[derive(Deserialize)]
struct Toolchain {
    channel: String,
    components: Vec<String>,
    profile: String,
}

/// Looks, installs, and returns what came of it.
pub(super) fn steps() -> Result<Vec<(String, Outcome)>> {
    let path = tree::root().join("rust-toolchain.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let ToolchainFile { toolchain } =
        toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
    let name = format!(
        "Rust {} with {}",
        toolchain.channel,
        toolchain.components.join(", ")
    );
    Ok(vec![
        (name, rust(&toolchain)),
        (
            format!("bpf-linker {BPF_LINKER_VERSION}"),
            program("bpf-linker", BPF_LINKER_VERSION),
        ),
    ])
}

/// The same for what only packages need.
pub(super) fn packaging() -> (String, Outcome) {
    (
        format!("cargo-deb {CARGO_DEB_VERSION}"),
        program("cargo-deb", CARGO_DEB_VERSION),
    )
}

fn rust(toolchain: &Toolchain) -> Outcome {
    if find("rustup").is_none() {
        return missing("there is no rustup; install it as https://rustup.rs says".to_owned());
    }
    let installed = read(command("rustup").args([
        "component",
        "list",
        "--installed",
        "--toolchain",
        &toolchain.channel,
    ]));
    let complete = installed.is_ok_and(|installed| {
        toolchain.components.iter().all(|component| {
            installed
                .lines()
                // rust-src has no target in its name, the others have.
                .any(|line| line == component || line.starts_with(&format!("{component}-")))
        })
    });
    if complete {
        return Outcome::Present;
    }
    // By name: without one it is content with whatever toolchain runs this, and looks at no component.
    let mut install = command("rustup");
    install.args(["toolchain", "install", &toolchain.channel]);
    install.args(["--profile", &toolchain.profile, "--no-self-update"]);
    for component in &toolchain.components {
        install.args(["--component", component]);
    }
    match run(&mut install) {
        Ok(()) => Outcome::Installed,
        Err(error) => missing(format!("{error:#}")),
    }
}

/// Looks for a program of cargo's at this version, and installs it.
fn program(name: &str, version: &str) -> Outcome {
    let found = read(command(name).arg("--version"));
    if found.is_ok_and(|found| found.split_whitespace().last() == Some(version)) {
        return Outcome::Present;
    }
    let install = run(cargo().args(["install", name, "--version", version, "--locked", "--force"]));
    match install {
        Ok(()) => Outcome::Installed,
        Err(error) => missing(format!("{error:#}")),
    }
}

fn missing(reason: String) -> Outcome {
    Outcome::Missing {
        reason,
        essential: true,
    }
}
