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

/// `rust-toolchain.toml`.
#[derive(Deserialize)]
struct ToolchainFile {
    toolchain: Toolchain,
}

#[derive(Deserialize)]
struct Toolchain {
    channel: String,
    components: Vec<String>,
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
        (format!("bpf-linker {BPF_LINKER_VERSION}"), bpf_linker()),
    ])
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
    // Without a name it installs what rust-toolchain.toml says.
    match run(command("rustup").args(["toolchain", "install", "--no-self-update"])) {
        Ok(()) => Outcome::Installed,
        Err(error) => missing(format!("{error:#}")),
    }
}

fn bpf_linker() -> Outcome {
    let found = read(command("bpf-linker").arg("--version"));
    if found.is_ok_and(|version| version.trim().ends_with(&format!(" {BPF_LINKER_VERSION}"))) {
        return Outcome::Present;
    }
    let install = run(cargo().args([
        "install",
        "bpf-linker",
        "--version",
        BPF_LINKER_VERSION,
        "--locked",
        "--force",
    ]));
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
