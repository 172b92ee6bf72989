//! Programs that are run, with their failures named.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::tree;

/// Returns a command for `program`, looked for where Weir's tools are.
#[expect(
    clippy::disallowed_methods,
    reason = "running other programs is what this one is for; every command begins here"
)]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).current_dir(tree::root());
    command
}

/// Returns the `cargo` that runs this program.
pub(crate) fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Shows `command`, runs it in the foreground, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", text(command));
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", text(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", text(command));
    }
    Ok(())
}

/// Runs `command` silently and returns what it wrote; what it complained of is part of the error.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` ended with {}: {}",
            text(command),
            output.status,
            complaint.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Shows `command`, runs it in the foreground, and returns what it wrote to its output.
pub(crate) fn captured(command: &mut Command) -> Result<String> {
    println!("$ {}", text(command));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", text(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", text(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` silently and returns how it ended and what it wrote.
///
/// In a process group of its own: a Ctrl-C in the terminal is for us, and what was begun by then is
/// finished or taken back, not broken off.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command
        .process_group(0)
        .output()
        .with_context(|| format!("cannot run `{}`", text(command)))
}

/// Returns where `program` is, if it is anywhere on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Returns the directories in which programs are looked for.
///
/// Those of the caller first; then cargo's own, where `bpf-linker` is put, those of the
/// administrator, which `su` leaves out, and what `setup` unpacked.
fn search_path() -> OsString {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let given = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&given)
        .chain(cargo_home.map(|home| home.join("bin")))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(["usr/bin", "usr/sbin"].map(|directory| tree::tools().join(directory)));
    env::join_paths(directories).unwrap_or(given)
}

/// Returns the command as one would type it.
fn text(command: &Command) -> String {
    let mut text = Path::new(command.get_program())
        .file_name()
        .unwrap_or_else(|| command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain =
            |character: char| character.is_alphanumeric() || "-_=/.:,@+".contains(character);
        let written = if !argument.is_empty() && argument.chars().all(plain) {
            write!(text, " {argument}")
        } else {
            write!(text, " '{argument}'")
        };
        written.expect("a String takes whatever is written");
    }
    text
}
