//! Every test that fits one machine, and an honest account of those that did not run.
//!
//! 1. `setup` and `check`: what fails there fails in seconds.
//! 2. One build of everything, with the profile that the tests use.
//! 3. The tests, while the output goes through [`account`]; those of the data plane and of the agent
//!    twice, for programs can be attached in two ways ([`Run`]).
//! 4. If all tests were asked for, a few of them on other kernels, in guests ([`vm_test::smoke`]).
//! 5. The closing summary: what failed, what was skipped and why, and one plain line of numbers.
//!
//! A test that cannot run here returns after it wrote a line `weir-skip: <test>: <what is missing>`
//! to standard error. To libtest it has passed; to the summary it is skipped. In continuous
//! integration a skip fails unless `ci/expected-skips.toml` excuses it on this machine.

pub(crate) mod account;
mod observe;
mod run;
mod skips;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::unistd::Uid;

use self::account::{Account, Skip};
use self::observe::observe;
use self::skips::ExpectedSkips;
use crate::command::{self, cargo};
use crate::interrupt::{Interrupt, Interrupted};
use crate::vm_test::{self, Came};
use crate::{check, setup, tree};

/// How tests are run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose name contains this; leaves out check
    #[arg(long)]
    filter: Option<String>,
    /// Run only the tests of this package, or of these; leaves out check
    #[arg(long)]
    package: Vec<String>,
    /// Run only tests that need neither root nor namespaces; leaves out check
    #[arg(long)]
    unit: bool,
    /// Fail if a test is skipped that ci/expected-skips.toml does not excuse; the default where CI=true
    #[arg(long)]
    no_skips: bool,
    /// Keep in ci/support.md and ci/verified.toml what came of all tests on this machine's kernel
    #[arg(long, conflicts_with_all = ["filter", "package", "unit"])]
    write: bool,
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
        !self.unit && self.names("weir-agent")
    }

    fn names(&self, package: &str) -> bool {
        self.package.is_empty() || self.package.iter().any(|name| name == package)
    }

    fn is_whole(&self) -> bool {
        self.filter.is_none() && self.package.is_empty() && !self.unit
    }
}

/// Runs the tests, prints the summary, and fails if anything in it is wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    let expected = ExpectedSkips::read()?;
    if !arguments.unit && !Uid::effective().is_root() {
        bail!(
            "the tests make namespaces and load programs into the kernel: run them as root, \
             or `cargo xtask test --unit` without"
        );
    }
    setup::run_for_build()?;
    if arguments.is_whole() {
        check::hold()?;
    }

    if arguments.starts_programs() {
        // Tests of the agent start the executor; `cargo test` builds only programs of its own package. With the tests: without
        // them crates have fewer features, and would be built twice.
        let all = ["--workspace", "--bins", "--tests"];
        command::run(cargo().args(["build", "--locked"]).args(all))?;
    }
    // What is built now: while the tests run, somebody may go on working.
    let revision = tree::revision();
    let interrupt = Interrupt::hold()?;
    let mut account = Account::default();
    let mut unaccounted = Vec::new();
    for run in run::all(arguments) {
        account.begin(run.label);
        unaccounted.extend(observe(run.command(arguments), &mut account, &interrupt)?);
    }
    if arguments.is_whole() {
        account.begin("");
        unaccounted.extend(other_kernels(&mut account, &interrupt)?);
    }
    if arguments.write {
        let good = account.failed().is_empty() && unaccounted.is_empty();
        let verdict = if good { "ok" } else { "FAILED" };
        vm_test::record_own(account.numbers(), account.verified(), &revision, verdict)?;
    } else {
        unaccounted.extend(vm_test::judge_own(account.verified())?);
    }
    println!("\nin {}", minutes(begun.elapsed()));
    summarise(&account, &unaccounted, &expected, arguments)
}

/// Runs a few tests on other kernels, and returns what went wrong if it is not of one of them.
fn other_kernels(account: &mut Account, interrupt: &Interrupt) -> Result<Option<String>> {
    let all = match vm_test::smoke(interrupt) {
        Ok(all) => all,
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => return Ok(Some(format!("the tests on other kernels: {error:#}"))),
    };
    for (name, came) in all {
        match came {
            Came::Passed => account.pass(name),
            Came::Failed => account.fail(name),
            Came::Skipped(reason) => account.skip(name, reason),
        }
    }
    Ok(None)
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
    for Skip {
        label,
        test,
        reason,
    } in account.skipped()
    {
        let excuse = expected.excuse(test);
        unexcused += usize::from(excuse.is_none());
        let excuse = excuse.map_or_else(String::new, |excuse| format!(" (expected: {excuse})"));
        println!("skipped: {label}{test}: {reason}{excuse}");
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

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{} min {} s", seconds / 60, seconds % 60)
}
