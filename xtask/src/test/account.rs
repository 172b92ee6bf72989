//! Reads what libtest prints and counts.

use std::collections::BTreeMap;

/// What a test writes when it cannot run.
const SKIP_MARK: &str = "weir-skip: ";

/// What a test writes of one program that the kernel's verifier looked at: its name and a number follow.
const VERIFIED_MARK: &str = "weir-verified: ";

/// What became of each test.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What is told in front of every test of this run.
    label: &'static str,
    /// The binary that is running, as cargo calls it.
    binary: String,
    passed: Vec<String>,
    failed: Vec<String>,
    ignored: BTreeMap<(&'static str, String), String>,
    /// The reason, by run and test.
    skipped: BTreeMap<(&'static str, String), String>,
    verified: BTreeMap<String, u32>,
    part: Part,
}

/// A test that did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skip<'a> {
    /// Of which run.
    pub(crate) label: &'a str,
    /// Its name, as it says itself.
    pub(crate) test: &'a str,
    /// What is missing.
    pub(crate) reason: &'a str,
}

/// Where in the output of a test binary we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Between two binaries, or in the list of results.
    #[default]
    Results,
    /// In what passing tests printed.
    Successes,
    /// In what failing tests printed.
    Failures,
}

impl Account {
    /// Begins a run, and tells its tests apart from those of other runs.
    pub(crate) fn begin(&mut self, label: &'static str) {
        self.label = label;
        self.binary.clear();
        self.part = Part::Results;
    }

    /// Takes one line into account and returns whether people want to see it.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        if let Some((_, skip)) = line.split_once(SKIP_MARK) {
            let (test, reason) = skip
                .split_once(": ")
                .unwrap_or((skip, "no reason was given"));
            let key = (self.label, test.trim().to_owned());
            self.skipped.insert(key, reason.trim().to_owned());
            return false;
        }
        if let Some(figure) = line.strip_prefix(VERIFIED_MARK) {
            match figure
                .split_once(' ')
                .map(|(program, count)| (program, count.parse()))
            {
                Some((program, Ok(count))) => {
                    self.verified.insert(program.to_owned(), count);
                }
                _ => self.failed.push(format!(
                    "what a test says is not a program and a number: {line}"
                )),
            }
            return false;
        }
        if let Some(binary) = running(line) {
            self.binary = binary;
            self.part = Part::Results;
            return true;
        }
        match line {
            "successes:" => self.part = Part::Successes,
            "failures:" => self.part = Part::Failures,
            _ if line.starts_with("test result: ") => {
                self.part = Part::Results;
                return true;
            }
            _ => {}
        }
        match self.part {
            Part::Results => self.read_result(line),
            Part::Successes => return false,
            Part::Failures => {}
        }
        true
    }

    fn read_result(&mut self, line: &str) {
        let Some((test, result)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        else {
            return;
        };
        let test = test.trim_end_matches(" - should panic");
        let name = format!("{}{} {test}", self.label, self.binary);
        match result.split_once(", ").unwrap_or((result, "")) {
            ("ok", _) => self.passed.push(name),
            ("FAILED", _) => self.failed.push(name),
            ("ignored", reason) => {
                let reason = match reason {
                    "" => "#[ignore] without a reason",
                    reason => reason,
                };
                let key = (self.label, format!("{} {test}", self.binary));
                self.ignored.insert(key, reason.to_owned());
            }
            (_, _) => {}
        }
    }

    /// Counts something that no test binary stands for as passed.
    pub(crate) fn pass(&mut self, name: String) {
        self.passed.push(name);
    }

    /// Likewise, as failed.
    pub(crate) fn fail(&mut self, name: String) {
        self.failed.push(name);
    }

    /// Likewise, as skipped.
    pub(crate) fn skip(&mut self, name: String, reason: String) {
        // As a test that says it was skipped has passed for libtest.
        self.passed.push(name.clone());
        self.skipped.insert((self.label, name), reason);
    }

    /// Returns the tests that failed, each after its binary.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// Returns the tests that did not run, with the reason.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = Skip<'_>> {
        self.skipped
            .iter()
            .chain(&self.ignored)
            .map(|((label, test), reason)| Skip {
                label,
                test,
                reason,
            })
    }

    /// Returns how many instructions of each program the kernel's verifier looked at, as tests said.
    pub(crate) const fn verified(&self) -> &BTreeMap<String, u32> {
        &self.verified
    }

    /// Returns how many passed, failed and were skipped.
    ///
    /// A test that says it was skipped has passed for libtest, and is not counted twice.
    pub(crate) fn numbers(&self) -> (usize, usize, usize) {
        let skipped = self.skipped.len() + self.ignored.len();
        let passed = self.passed.len().saturating_sub(self.skipped.len());
        (passed, self.failed.len(), skipped)
    }
}

/// Returns the source of the binary that cargo says it runs now.
fn running(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package} (doc)"));
    }
    let rest = line.strip_prefix("Running ")?;
    let (source, binary) = rest.split_once(" (")?;
    // target/debug/deps/weir_agent-0123456789abcdef): the name tells packages apart that all have
    // a src/lib.rs.
    let stem = binary.trim_end_matches(')').rsplit('/').next()?;
    let name = stem.rsplit_once('-').map_or(stem, |(name, _)| name);
    let source = source.trim_start_matches("unittests ");
    Some(format!("{name} ({source})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     \
     Running unittests src/lib.rs (target/debug/deps/weir_agent-0123456789abcdef)

running 4 tests
test ports::freed_port_is_quarantined ... ok
test ports::another ... FAILED
test ports::slow ... ignored, takes an hour
weir-skip: memory_limit_is_enforced: no cgroup memory controller
test memory_limit_is_enforced ... ok

successes:

---- ports::freed_port_is_quarantined stdout ----
test inner ... ok
failures

successes:
    ports::freed_port_is_quarantined

failures:

---- ports::another stdout ----
test inner ... FAILED

failures:
    ports::another

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/ports.rs (target/debug/deps/ports-0123456789abcdef)

running 1 test
test laws ... ok
";

    fn skipped(account: &Account) -> Vec<(&str, &str)> {
        account
            .skipped()
            .map(|skip| (skip.test, skip.reason))
            .collect()
    }

    #[test]
    fn one_test_in_two_runs_is_two() {
        let mut account = Account::default();
        for label in ["", "clsact: "] {
            account.begin(label);
            for line in OUTPUT.lines() {
                account.read(line);
            }
        }
        assert_eq!(account.numbers(), (4, 2, 4));
        assert_eq!(
            account.failed()[1],
            "clsact: weir_agent (src/lib.rs) ports::another"
        );
    }

    #[test]
    fn results_are_counted_and_printed_text_is_not() {
        let mut account = Account::default();
        for line in OUTPUT.lines() {
            account.read(line);
        }
        assert_eq!(account.numbers(), (2, 1, 2));
        assert_eq!(account.failed(), ["weir_agent (src/lib.rs) ports::another"]);
        assert_eq!(
            skipped(&account),
            [
                ("memory_limit_is_enforced", "no cgroup memory controller"),
                ("weir_agent (src/lib.rs) ports::slow", "takes an hour"),
            ]
        );
    }

    #[test]
    fn what_passing_tests_print_is_not_shown_and_their_skips_are_read() {
        let mut account = Account::default();
        assert!(account.read("test a ... ok"));
        assert!(!account.read("successes:"));
        assert!(!account.read("weir-skip: a: nothing to test with"));
        assert!(!account.read("chatter"));
        assert!(account.read("test result: ok. 1 passed; 0 failed"));
        assert_eq!(account.numbers(), (0, 0, 1));
    }

    #[test]
    fn what_no_test_binary_stands_for_is_counted_too() {
        let mut account = Account::default();
        account.pass("a".to_owned());
        account.fail("b".to_owned());
        account.skip("c".to_owned(), "no d".to_owned());
        assert_eq!(account.numbers(), (1, 1, 1));
        assert_eq!(skipped(&account), [("c", "no d")]);
    }

    #[test]
    fn a_skip_in_the_middle_of_a_line_is_found() {
        let mut account = Account::default();
        account.read("test a ... weir-skip: a: no bpffs");
        assert_eq!(skipped(&account), [("a", "no bpffs")]);
    }
}
