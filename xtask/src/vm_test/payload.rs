//! What is run in a guest: the test binaries that the host runs, too, and the script that calls them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::archive::Archive;
use super::matrix::{Attach, Suite};
use crate::command::{captured, cargo, command, read};

pub(super) const INIT: &str = include_str!("init.sh");

/// What the first process says to xtask begins so.
pub(super) const MARK: &str = "weir-vm: ";

/// A program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    name: String,
    path: PathBuf,
    source: PathBuf,
    /// Where a test expects to be run.
    directory: PathBuf,
    is_test: bool,
}

/// One line of what cargo writes.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the programs that the suites need: with an integration test cargo builds the programs of its
/// package, too.
pub(super) fn build(suites: &[Suite]) -> Result<Vec<Program>> {
    let tests: BTreeSet<&str> = suites.iter().map(|suite| suite.test.as_str()).collect();
    let others = suites.iter().flat_map(|suite| &suite.programs);
    let others: BTreeSet<&str> = others.map(String::as_str).collect();
    let mut build = cargo();
    // Of the whole workspace, as `cargo xtask test` builds it: crates have the same features then, and are not built again.
    build.args(["build", "--locked", "--workspace"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    for name in others {
        build.args(["--bin", name]);
    }
    for name in tests {
        build.args(["--test", name]);
    }
    programs(&captured(&mut build)?)
}

/// Reads from cargo's messages which programs there are.
fn programs(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cannot understand cargo")?;
        let (Some(path), Some(target)) = (message.executable, message.target) else {
            continue;
        };
        if message.reason != "compiler-artifact" {
            continue;
        }
        let directory = message.manifest_path.as_deref().and_then(Path::parent);
        programs.push(Program {
            name: target.name,
            path,
            source: target.src_path,
            directory: directory.unwrap_or_else(|| Path::new("/")).to_owned(),
            is_test: message.profile.is_some_and(|profile| profile.test),
        });
    }
    Ok(programs)
}

/// Writes the script that runs the suites, and says what came of them.
fn job(suites: &[Suite], programs: &[Program], filter: Option<&str>) -> Result<String> {
    let mut job = String::new();
    if let Some(agent) = programs
        .iter()
        .find(|one| !one.is_test && one.name == "weir-agent")
    {
        let agent = quote(&agent.path.display().to_string());
        writeln!(
            job,
            "echo \"{MARK}doctor $({agent} doctor --json | tr -d '\\n')\""
        )?;
    }
    for suite in suites {
        let mut found = programs
            .iter()
            .filter(|one| one.is_test && one.name == suite.test);
        let (Some(program), None) = (found.next(), found.next()) else {
            bail!(
                "the workspace has not one test `{}` but none or several; look for it below `tests` of its crate",
                suite.test
            );
        };
        let path = quote(&program.path.display().to_string());
        let source = quote(&program.source.display().to_string());
        let attach = match suite.attach {
            Attach::Auto => "",
            Attach::Clsact => "WEIR_TEST_ATTACH=clsact ",
        };
        // Whoever asks for a test gets it, if it can run there or not.
        let words = filter.map_or_else(|| suite.only.clone(), |filter| vec![filter.to_owned()]);
        let filter: String = words
            .iter()
            .map(|word| format!(" {}", quote(word)))
            .collect();
        writeln!(
            job,
            "echo '{MARK}suite '{label}\n\
             echo '     Running '{source}' ('{path}')'\n\
             cd {directory} && {attach}WEIR_TEST_BUILT=1 RUST_BACKTRACE=1 {path} --show-output{filter}\n\
             echo \"{MARK}exit $?\"",
            label = quote(suite.label()),
            directory = quote(&program.directory.display().to_string()),
        )?;
    }
    Ok(job)
}

/// Writes the archive with programs and script to `path`; `work` is for what is made meanwhile.
pub(super) fn pack(
    path: &Path,
    work: &Path,
    suites: &[Suite],
    programs: &[Program],
    filter: Option<&str>,
) -> Result<()> {
    let mut archive = Archive::create(path)?;
    archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
    archive.directory(Path::new("/weir"))?;
    let job = job(suites, programs, filter)?;
    archive.file(Path::new("/weir/job"), 0o644, job.as_bytes())?;
    let mut packed: Vec<&Path> = Vec::new();
    for program in programs {
        if packed.contains(&program.path.as_path()) {
            continue;
        }
        packed.push(&program.path);
        archive.directories(&program.directory)?;
        // Tests look for examples beside their sources.
        let tests = program.directory.join("tests");
        if program.is_test && tests.is_dir() {
            archive.directory(&tests)?;
            archive.tree(&tests, &tests)?;
        }
        archive.directories(program.path.parent().unwrap_or_else(|| Path::new("/")))?;
        // At the path that it has here: tests know each other's programs by it.
        let slim = work.join("stripped");
        read(command("strip").arg("-o").arg(&slim).arg(&program.path))?;
        let content = fs::read(&slim).with_context(|| format!("cannot read {}", slim.display()))?;
        archive.file(&program.path, 0o755, &content)?;
    }
    archive.finish().map(drop)
}

/// Returns `word` as one word of the shell, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"   Compiling a
{"reason":"compiler-artifact","manifest_path":"/r/agent/Cargo.toml","target":{"name":"weir_agent","src_path":"/r/agent/src/lib.rs"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/r/agent/Cargo.toml","target":{"name":"network","src_path":"/r/agent/tests/network/main.rs"},"profile":{"test":true},"executable":"/t/deps/network-12"}
{"reason":"compiler-artifact","manifest_path":"/r/agent/Cargo.toml","target":{"name":"weir-agent","src_path":"/r/agent/src/main.rs"},"profile":{"test":false},"executable":"/t/weir-agent"}
{"reason":"build-finished","success":true}
"#;

    fn suite(test: &str) -> Suite {
        Suite {
            test: test.to_owned(),
            attach: Attach::Clsact,
            programs: Vec::new(),
            only: Vec::new(),
            smoke: Vec::new(),
        }
    }

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let programs = programs(MESSAGES).unwrap();
        let names: Vec<_> = programs
            .iter()
            .map(|one| (one.name.as_str(), one.is_test))
            .collect();
        assert_eq!(names, [("network", true), ("weir-agent", false)]);
        assert_eq!(programs[0].directory, Path::new("/r/agent"));
    }

    #[test]
    fn the_script_runs_every_suite_with_the_filter() {
        let programs = programs(MESSAGES).unwrap();
        let job = job(&[suite("network")], &programs, Some("it's")).unwrap();
        assert!(job.contains("WEIR_TEST_ATTACH=clsact"), "{job}");
        assert!(
            job.contains("'/t/deps/network-12' --show-output 'it'\\''s'\n"),
            "{job}"
        );
        assert!(job.contains("'/t/weir-agent' doctor --json"), "{job}");
    }

    #[test]
    fn a_suite_that_was_not_built_is_named() {
        let error = job(&[suite("other")], &[], None).unwrap_err().to_string();
        assert!(error.contains("not one test `other`"), "{error}");
    }
}
