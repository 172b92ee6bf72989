//! Judges what a guest left: which tests passed, and what else went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::console;
use super::guest::{End, Left};
use super::matrix::{Kernel, Suite};
use super::payload::MARK;
use crate::test::account::Account;

/// What came of one kernel.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) kernel: String,
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    pub(super) boot: Option<Duration>,
    pub(super) whole: Duration,
    /// How many instructions of each program the verifier looked at.
    pub(super) verified: BTreeMap<String, u32>,
    /// Everything for which the run fails.
    pub(super) problems: Vec<String>,
}

/// What `weir-agent doctor --json` says, as far as it is looked at.
#[derive(Deserialize)]
struct Report {
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    status: String,
    detail: String,
}

impl Verdict {
    /// Counts as a problem what a run without a filter must have said and did not: what doctor found, how much the verifier
    /// looked at, and a test for each word by which the matrix chooses them.
    pub(super) fn demand_all(&mut self, suites: &[Suite], output: &str) {
        if !output.contains(&format!("{MARK}doctor ")) {
            let problem = "doctor did not say what the kernel has";
            self.problems.push(problem.to_owned());
        }
        if self.verified.is_empty() {
            let problem = "no test said how much the verifier looked at";
            self.problems.push(problem.to_owned());
        }
        let mark = format!("{MARK}suite ");
        for (suite, said) in suites.iter().zip(output.split(&mark).skip(1)) {
            let tests: Vec<&str> = said
                .lines()
                .filter_map(|line| line.strip_prefix("test "))
                .collect();
            let unknown = suite
                .only
                .iter()
                .filter(|word| tests.iter().all(|test| !test.contains(word.as_str())));
            self.problems.extend(unknown.map(|word| {
                let Suite { test, .. } = suite;
                format!("no test of `{test}` has `{word}` in its name; was it renamed?")
            }));
        }
    }
}

/// Judges. `filtered` runs may leave out any number of tests.
pub(super) fn judge(kernel: &Kernel, suites: &[Suite], left: &Left) -> Verdict {
    let mut account = Account::default();
    let mut problems = Vec::new();
    let mut labels = suites.iter().map(Suite::label);
    let (mut ended, mut done, mut ready) = (0, false, false);
    for line in left.output.lines().map(str::trim_end) {
        let Some((before, said)) = line.split_once(MARK) else {
            account.read(line);
            continue;
        };
        if !before.is_empty() {
            account.read(before);
        }
        match said.split_once(' ').unwrap_or((said, "")) {
            ("ready", release) => {
                ready = true;
                if release != kernel.release {
                    problems.push(format!("it calls itself {release}, not {}", kernel.release));
                }
            }
            ("doctor", report) => problems.extend(examine(kernel, report)),
            ("suite", _) => account.begin(labels.next().unwrap_or("")),
            ("exit", status) => {
                ended += 1;
                if status != "0" {
                    problems.push(format!("a test binary ended with status {status}"));
                }
            }
            ("done", _) => done = true,
            (_, _) => problems.push(format!("unknown line of the guest: {line}")),
        }
    }
    for test in account.failed() {
        problems.push(format!("test failed: {test}"));
    }
    for skip in account.skipped() {
        let (label, test, reason) = (skip.label, skip.test, skip.reason);
        if !kernel.skips.iter().any(|excused| excused == test) {
            problems.push(format!("skipped, and must not be: {label}{test}: {reason}"));
        }
    }
    problems.extend(
        console::faults(&left.console)
            .iter()
            .map(|line| format!("kernel: {line}")),
    );
    match left.end {
        End::NeverReady => problems.push("it never came up, and was killed".to_owned()),
        End::Deadline => {
            problems.push("it did not end before the deadline, and was killed".to_owned())
        }
        End::Own if !ready => problems.push("it ended before its first process spoke".to_owned()),
        End::Own if !done || ended != suites.len() => {
            problems.push(format!(
                "it ended after {ended} of {} test binaries",
                suites.len()
            ));
        }
        End::Own => {}
    }
    let (passed, failed, skipped) = account.numbers();
    Verdict {
        kernel: kernel.name.clone(),
        passed,
        failed,
        skipped,
        boot: left.boot,
        whole: left.whole,
        verified: account.verified().clone(),
        problems,
    }
}

/// Holds what the kernel has against what the matrix says that it has.
fn examine(kernel: &Kernel, report: &str) -> Vec<String> {
    let report: Report = match serde_json::from_str(report) {
        Ok(report) => report,
        Err(error) => {
            return vec![format!(
                "cannot understand weir-agent doctor: {error}: {report}"
            )];
        }
    };
    let checks: BTreeMap<&str, &Check> = report
        .checks
        .iter()
        .map(|check| (check.name.as_str(), check))
        .collect();
    let mut problems = Vec::new();
    for (names, wanted) in [(&kernel.found, true), (&kernel.without, false)] {
        for name in names {
            match checks.get(name.as_str()) {
                None => problems.push(format!("doctor has no check `{name}`")),
                Some(check) if (check.status == "ok") != wanted => problems.push(format!(
                    "feature `{name}` is {} here ({}), and should {}be ok",
                    check.status,
                    check.detail,
                    if wanted { "" } else { "not " }
                )),
                Some(_) => {}
            }
        }
    }
    problems
}

/// Returns how long a boot took as the closing tables show it.
pub(super) fn seconds(boot: Option<Duration>) -> String {
    boot.map_or_else(
        || "-".to_owned(),
        |boot| format!("{:.1}", boot.as_secs_f64()),
    )
}

/// Returns the last word of a row of the closing tables.
pub(super) fn word(problems: &[String]) -> &'static str {
    match problems {
        [] => "ok",
        [_, ..] => "FAILED",
    }
}

/// Returns the closing table.
pub(super) fn table(verdicts: &[Verdict]) -> String {
    let mut table = format!(
        "{:<8}{:>8}{:>8}{:>9}{:>9}{:>9}  {}\n",
        "kernel", "passed", "failed", "skipped", "boot s", "whole s", "verdict"
    );
    for verdict in verdicts {
        let (boot, word) = (seconds(verdict.boot), word(&verdict.problems));
        table += &format!(
            "{:<8}{:>8}{:>8}{:>9}{boot:>9}{:>9.1}  {word}\n",
            verdict.kernel,
            verdict.passed,
            verdict.failed,
            verdict.skipped,
            verdict.whole.as_secs_f64(),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm_test::matrix::Attach;

    const GOOD: &str = "weir-vm: ready 6.1-x\r
weir-vm: doctor {\"ready\":true,\"checks\":[{\"name\":\"veth\",\"status\":\"ok\",\"detail\":\"\"},{\"name\":\"tcx\",\"status\":\"degraded\",\"detail\":\"\"}]}\r
weir-vm: suite \r
     Running tests/network/main.rs (/t/deps/network-12)\r
running 1 test\r
test a ... ok\r
weir-verified: bind4 12\r
weir-vm: exit 0\r
weir-vm: done\r
";

    /// What 6.12 wrote of a module that read from address 0; the guest went on.
    const OOPS: &str = "\
[    5.997840] amd_pstate: the _CPC object is not present in SBIOS or ACPI disabled
[   13.903427] Invalid ELF header magic: != ELF
[   18.307596] BUG: kernel NULL pointer dereference, address: 0000000000000000
[   18.308012] #PF: supervisor read access in kernel mode
[   18.308164] #PF: error_code(0x0000) - not-present page
[   18.308657] PGD 7d55e067 P4D 7db3e067 PUD 7db38067 PMD 0
[   18.309236] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
[   18.309876] CPU: 1 UID: 0 PID: 177 Comm: insmod Tainted: G            E      6.12.107+deb13-cloud-amd64 #1  Debian 6.12.107-1
[   18.310609] Tainted: [E]=UNSIGNED_MODULE
[   18.310814] Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3-debian-1.16.3-2~bpo12+1 04/01/2014
[   18.311224] RIP: 0010:dummy_init_module+0x2/0xff0 [dummy]
";

    fn kernel() -> Kernel {
        Kernel {
            name: "6.1".to_owned(),
            distribution: "Debian".to_owned(),
            release: "6.1-x".to_owned(),
            packages: Vec::new(),
            found: vec!["veth".to_owned()],
            without: vec!["tcx".to_owned()],
            skips: vec!["old".to_owned()],
        }
    }

    fn judged(output: &str, console: &str, end: End) -> Verdict {
        let left = Left {
            end,
            output: output.to_owned(),
            console: console.to_owned(),
            complaint: String::new(),
            boot: None,
            whole: Duration::from_secs(3),
        };
        judge(&kernel(), &[suite(&[])], &left)
    }

    fn suite(only: &[&str]) -> Suite {
        Suite {
            test: "network".to_owned(),
            attach: Attach::Auto,
            programs: Vec::new(),
            only: only.iter().map(|word| (*word).to_owned()).collect(),
            smoke: Vec::new(),
        }
    }

    #[test]
    fn what_a_whole_run_does_not_say_is_a_problem() {
        let demanded = |output: &str, only: &[&str]| {
            let mut verdict = judged(output, "", End::Own);
            let judged = verdict.problems.len();
            verdict.demand_all(&[suite(only), suite(&["b"])], output);
            verdict.problems.split_off(judged)
        };
        let twice = GOOD.replace(
            "weir-vm: done",
            "weir-vm: suite \r\ntest b ... ok\r\nweir-vm: done",
        );
        assert_eq!(demanded(&twice, &["a"]), Vec::<String>::new());
        // That of another suite is not its own.
        let problems = demanded(&twice, &["a", "b"]);
        assert!(
            matches!(&problems[..], [one] if one.contains("has `b` in its name")),
            "{problems:?}"
        );
        let mute = twice
            .replace("weir-vm: doctor", "")
            .replace("weir-verified: ", "");
        let problems = demanded(&mute, &[]);
        assert!(matches!(&problems[..], [_, _]), "{problems:?}");
    }

    #[test]
    fn a_good_run_is_good() {
        let verdict = judged(GOOD, "Linux version\n", End::Own);
        assert_eq!(verdict.problems, Vec::<String>::new());
        assert_eq!((verdict.passed, verdict.failed, verdict.skipped), (1, 0, 0));
        assert_eq!(verdict.verified, [("bind4".to_owned(), 12)].into());
        assert!(table(&[verdict]).contains("ok"));
    }

    #[test]
    fn everything_that_is_not_as_expected_is_a_problem() {
        for (from, to, complaint) in [
            ("a ... ok", "a ... FAILED", "test failed"),
            ("exit 0", "exit 101", "status 101"),
            ("bind4 12", "bind4 many", "not a program and a number"),
            ("weir-vm: done", "", "ended after 1 of 1"),
            ("ready 6.1-x", "ready 6.2", "calls itself 6.2"),
            ("\"degraded\"", "\"ok\"", "`tcx` is ok here"),
            (
                "\"veth\",\"status\":\"ok\"",
                "\"veth\",\"status\":\"missing\"",
                "`veth` is missing",
            ),
            (
                "running 1 test",
                "weir-skip: a: no b",
                "must not be: a: no b",
            ),
        ] {
            let problems = judged(&GOOD.replace(from, to), "", End::Own).problems;
            assert!(
                problems.iter().any(|one| one.contains(complaint)),
                "{complaint}: {problems:?}"
            );
        }
        let excused = GOOD.replace("running 1 test", "weir-skip: old: no b");
        assert_eq!(
            judged(&excused, "", End::Own).problems,
            Vec::<String>::new()
        );
        for (output, console, end, complaint) in [
            (GOOD, "UBSAN: bad", End::Own, "kernel: UBSAN: bad"),
            (GOOD, OOPS, End::Own, "BUG: kernel NULL pointer dereference"),
            (GOOD, OOPS, End::Own, "Oops: 0000 [#1]"),
            (GOOD, "", End::Deadline, "before the deadline"),
            ("", "", End::Own, "before its first process spoke"),
            ("", "", End::NeverReady, "never came up"),
        ] {
            let problems = judged(output, console, end).problems;
            assert!(
                problems.iter().any(|one| one.contains(complaint)),
                "{complaint}: {problems:?}"
            );
        }
    }
}
