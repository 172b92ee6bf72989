//! Every test that fits one machine, and an honest account of those that did not run.
//!
//! 1. `setup` and `check`: what fails there fails in seconds.
//! 2. One build of everything, with the profile that the tests use.
//! 3. The tests, package by package, while the output goes through [`account`].
//! 4. The closing summary: what failed, what was skipped and why, and one plain line of numbers.
//!
//! A test that cannot run here returns after it wrote a line `weir-skip: <test>: <what is missing>`
//! to standard error. To libtest it has passed; to the summary it is skipped. In continuous
//! integration a skip fails unless `ci/expected-skips.toml` excuses it on this machine.

mod account;
mod skips;

use std::env;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use self::account::Account;
use self::skips::ExpectedSkips;
use crate::command::{self, cargo};
use crate::{check, setup};

/// How tests are run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose name contains this; leaves out setup and check
    #[arg(long)]
    filter: Option<String>,
    /// Run only the tests of this package, or of these; leaves out setup and check
    #[arg(long)]
    package: Vec<String>,
    /// Run only tests that need neither root nor namespaces; leaves out setup and check
    #[arg(long)]
    unit: bool,
    /// Fail if a test is skipped that ci/expected-skips.toml does not excuse; the default where CI=true
    #[arg(long)]
    no_skips: bool,
}

impl Arguments {
    /// Returns what continuous integration asks for.
    pub(crate) fn ci() -> Self {
        Self {
            no_skips: true,
            ..Self::default()
        }
    }

    fn forbids_skips(&self) -> bool {
        self.no_skips || env::var_os("CI").is_some_and(|value| value == "true")
    }

    fn starts_programs(&self) -> bool {
        !self.unit
            && (self.package.is_empty() || self.package.iter().any(|name| name == "weir-agent"))
    }

    /// Returns what each `cargo test` is told to run.
    fn selections(&self) -> Vec<Vec<String>> {
        let packages: Vec<String> = match self.package.as_slice() {
            [] => vec!["--workspace".to_owned()],
            names => names
                .iter()
                .map(|name| format!("--package={name}"))
                .collect(),
        };
        if !self.unit {
            return vec![packages];
        }
        let modules = packages
            .into_iter()
            .chain(["--lib", "--bins"].map(str::to_owned));
        let mut selections = vec![modules.collect()];
        // The one crate whose tests beside the source need nothing of the machine.
        if self.package.is_empty() || self.package.iter().any(|name| name == "weir-resources") {
            selections.push(
                ["--package=weir-resources", "--test=*"]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
        selections
    }

    fn is_whole(&self) -> bool {
        self.filter.is_none() && self.package.is_empty() && !self.unit
    }
}

/// Runs the tests, prints the summary, and fails if anything in it is wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let expected = ExpectedSkips::read()?;
    if !arguments.unit && !Uid::effective().is_root() {
        bail!(
            "the tests make namespaces and load programs into the kernel: run them as root, \
             or `cargo xtask test --unit` without"
        );
    }
    if arguments.is_whole() {
        setup::run_for_build()?;
        check::run()?;
    }

    if arguments.starts_programs() {
        // Tests of the agent start the executor; `cargo test` builds only programs of its own
        // package.
        command::run(cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    }
    let mut account = Account::default();
    let mut unaccounted = Vec::new();
    for selection in arguments.selections() {
        unaccounted.extend(observe(cargo_test(arguments, &selection), &mut account)?);
    }
    summarise(&account, &unaccounted, &expected, arguments)
}

fn cargo_test(arguments: &Arguments, selection: &[String]) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--locked", "--no-fail-fast"])
        .args(selection)
        .arg("--")
        // Else libtest swallows what a passing test prints, its reason for a skip included.
        .arg("--show-output")
        .args(&arguments.filter);
    command
}

/// Runs one `cargo test`, passes its output on, and keeps the account.
///
/// Returns what went wrong if it failed for a reason that no test stands for.
fn observe(mut command: Command, account: &mut Account) -> Result<Option<String>> {
    let failed_before = account.failed().len();
    // One pipe for both streams: cargo says on one which binary runs, libtest on the other what
    // came of it, and only together are they in order.
    let (output, input) = io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(input.try_clone().context("cannot copy a descriptor")?)
        .stderr(input)
        .spawn()
        .context("cannot run cargo test")?;
    // It holds our copies of the pipe's end, and as long as it does the pipe has no end.
    drop(command);
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read from cargo test")?;
        // What a test prints need not be text.
        let line = String::from_utf8_lossy(&line);
        if account.read(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    let explained = account.failed().len() > failed_before;
    Ok((!status.success() && !explained)
        .then(|| format!("cargo test ended with {status}, and no test says why: see above")))
}

/// Prints the end of the story and decides whether it is a good one.
fn summarise(
    account: &Account,
    unaccounted: &[String],
    expected: &ExpectedSkips,
    arguments: &Arguments,
) -> Result<()> {
    println!();
    for test in account.failed() {
        println!("failed: {test}");
    }
    let mut unexcused = 0;
    for (test, reason) in account.skipped() {
        let excuse = expected.excuse(test);
        unexcused += usize::from(excuse.is_none());
        match excuse {
            Some(excuse) => println!("skipped: {test}: {reason} (expected: {excuse})"),
            None => println!("skipped: {test}: {reason}"),
        }
    }
    for problem in unaccounted {
        println!("failed: {problem}");
    }
    let (passed, failed, skipped) = account.numbers();
    let failed = failed + unaccounted.len();
    println!("{passed} passed, {failed} failed, {skipped} skipped");

    if failed > 0 {
        bail!("{failed} tests failed");
    }
    if unexcused > 0 && arguments.forbids_skips() {
        bail!(
            "{unexcused} tests were skipped that this machine should be able to run; \
             cure the reason above, or excuse them in ci/expected-skips.toml"
        );
    }
    if passed == 0 && arguments.filter.is_some() {
        bail!("no test has that in its name");
    }
    Ok(())
}
