//! A few tests on every kernel, as a part of `cargo xtask test`.
//!
//! They are those that `smoke` names in `ci/kernels.toml`: every program through each kernel's verifier in each way of
//! attaching, some packets, a wall and a limit that hold. A kernel counts as one test. It is skipped, by name, where its guest
//! cannot be made for a reason that is not the tree's ([`Lack`]); every other reason fails.

use std::time::Duration;

use anyhow::Result;

use super::lack::{self, Lack};
use super::matrix::{Kernel, Matrix};
use super::record::Verified;
use super::{Bench, report, verdict};
use crate::interrupt::Interrupt;

/// How long a guest may take: emulated, with both processors to itself, it takes one or two minutes. Four of them in all
/// their time, behind the other tests, still end within the time that continuous integration has.
const GUEST_MAX: Duration = Duration::from_secs(360);

/// What came of one kernel.
#[derive(Debug)]
pub(crate) enum Came {
    /// All is well.
    Passed,
    /// What is wrong was printed.
    Failed,
    /// There could be no guest.
    Skipped(String),
}

/// Runs the tests on every kernel, and returns for each the name of what was run and what came of it.
pub(crate) fn smoke(interrupt: &Interrupt) -> Result<Vec<(String, Came)>> {
    let mut matrix = Matrix::read()?;
    matrix.reduce();
    let prepared = lack::machine(&matrix).and_then(|()| Bench::prepare(&matrix, &[]));
    let bench = match excuse(prepared)? {
        Ok(bench) => bench,
        Err(lack) => {
            let skipped = |kernel| (name(kernel), Came::Skipped(lack.to_string()));
            return Ok(matrix.kernels.iter().map(skipped).collect());
        }
    };
    let payload = bench.pack(&matrix, None)?;
    let verified = Verified::read()?;
    let mut verdicts = Vec::new();
    let mut all = Vec::new();
    for kernel in &matrix.kernels {
        let examined = bench.examine(kernel, &matrix, &payload, GUEST_MAX, interrupt);
        let (left, mut verdict) = match excuse(examined)? {
            Ok(examined) => examined,
            Err(lack) => {
                all.push((name(kernel), Came::Skipped(lack.to_string())));
                continue;
            }
        };
        let grown = verified.judge(&kernel.name, &verdict.verified);
        verdict.problems.extend(grown);
        verdict.demand_all(&matrix.tests, &left.output);
        report(false, &left, &verdict);
        let came = match verdict.problems.as_slice() {
            [] => Came::Passed,
            [_, ..] => Came::Failed,
        };
        all.push((name(kernel), came));
        verdicts.push(verdict);
    }
    print!("\n{}", verdict::table(&verdicts));
    println!("logs: {}", bench.logs().display());
    Ok(all)
}

/// Tells what is lacking from what is wrong.
fn excuse<T>(tried: Result<T>) -> Result<Result<T, Lack>> {
    match tried {
        Ok(made) => Ok(Ok(made)),
        Err(error) => error.downcast::<Lack>().map(Err),
    }
}

/// Returns what the tests on a kernel are called together.
fn name(kernel: &Kernel) -> String {
    format!("kernel_{}_passes_its_smoke_tests", kernel.name)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn only_a_lack_is_an_excuse() {
        let lacking: Result<()> = Err(Lack::Apt.into());
        let lack = excuse(lacking.context("while fetching")).unwrap();
        assert_eq!(lack.unwrap_err(), Lack::Apt);
        excuse::<()>(Err(anyhow!("a checksum is wrong"))).unwrap_err();
        excuse(Ok(())).unwrap().unwrap();
    }
}
