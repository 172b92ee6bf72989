//! Judges what a guest told of its story.

use std::fmt;
use std::time::Duration;

use super::super::console;
use super::super::guest::{End, Left};
use super::super::matrix::Kernel;
use super::super::payload::MARK;
use super::super::verdict::{seconds, word};

/// What a story that came to its end says last, before its first process ends.
const END: &str = "end of the story";

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    name: String,
    seconds: String,
}

/// What came of one kernel.
#[derive(Debug)]
pub(super) struct Verdict {
    kernel: String,
    pub(super) steps: Vec<Step>,
    boot: Option<Duration>,
    whole: Duration,
    /// Everything for which the run fails.
    pub(super) problems: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seconds } = self;
        write!(f, "{seconds:>7} s  {name}")
    }
}

/// Judges. Between the two boots of a story the first process speaks twice.
pub(super) fn judge(kernel: &Kernel, left: &Left) -> Verdict {
    let (mut steps, mut problems) = (Vec::new(), Vec::new());
    let (mut boots, mut ended) = (0, false);
    let mut begun: Option<&str> = None;
    for line in left.output.lines().map(str::trim_end) {
        let Some((_, said)) = line.split_once(MARK) else {
            continue;
        };
        match said.split_once(' ').unwrap_or((said, "")) {
            ("ready", release) => {
                boots += 1;
                if release != kernel.release {
                    problems.push(format!("it calls itself {release}, not {}", kernel.release));
                }
            }
            ("step", name) => begun = Some(name),
            ("passed", rest) => {
                begun = None;
                let (seconds, name) = rest.split_once(' ').unwrap_or(("?", rest));
                steps.push(Step {
                    name: name.to_owned(),
                    seconds: seconds.to_owned(),
                });
            }
            ("failed", name) => {
                begun = None;
                problems.push(format!("failed: {name}"));
            }
            ("done", _) => {}
            (_, _) if said == END => ended = true,
            (_, _) => problems.push(format!("unknown line of the guest: {line}")),
        }
    }
    if let Some(step) = begun {
        problems.push(format!("it ended in the middle of: {step}"));
    }
    problems.extend(
        console::faults(&left.console)
            .iter()
            .map(|line| format!("kernel: {line}")),
    );
    match left.end {
        End::NeverReady => problems.push("it never came up, and was killed".to_owned()),
        End::Deadline => {
            problems.push("it did not end before the deadline, and was killed".to_owned());
        }
        End::Own => {}
    }
    if !ended || boots != 2 {
        problems.push(format!(
            "the story did not come to its end: {boots} of 2 boots, {} steps",
            steps.len()
        ));
    }
    Verdict {
        kernel: kernel.name.clone(),
        steps,
        boot: left.boot,
        whole: left.whole,
        problems,
    }
}

/// Returns the closing table.
pub(super) fn table(verdicts: &[Verdict]) -> String {
    let mut table = format!(
        "{:<8}{:>8}{:>9}{:>9}  {}\n",
        "kernel", "steps", "boot s", "whole s", "verdict"
    );
    for verdict in verdicts {
        let (boot, word) = (seconds(verdict.boot), word(&verdict.problems));
        table += &format!(
            "{:<8}{:>8}{boot:>9}{:>9.1}  {word}\n",
            verdict.kernel,
            verdict.steps.len(),
            verdict.whole.as_secs_f64(),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "weir-vm: ready 6.1-x\r
weir-vm: step it comes\r
weir-vm: passed 1.5 it comes: quickly\r
weir-vm: ready 6.1-x\r
weir-vm: step it goes\r
weir-vm: passed 2.0 it goes\r
weir-vm: end of the story\r
weir-vm: done\r
";

    fn judged(output: &str, console: &str, end: End) -> Verdict {
        let kernel = Kernel {
            name: "6.1".to_owned(),
            distribution: "Debian".to_owned(),
            release: "6.1-x".to_owned(),
            packages: Vec::new(),
            found: Vec::new(),
            without: Vec::new(),
            skips: Vec::new(),
        };
        let left = Left {
            end,
            output: output.to_owned(),
            console: console.to_owned(),
            complaint: String::new(),
            boot: None,
            whole: Duration::from_secs(3),
        };
        judge(&kernel, &left)
    }

    #[test]
    fn a_story_that_came_to_its_end_is_good() {
        let verdict = judged(GOOD, "Linux version\n", End::Own);
        assert_eq!(verdict.problems, Vec::<String>::new());
        assert_eq!(verdict.steps[0].to_string(), "    1.5 s  it comes: quickly");
        assert!(table(&[verdict]).contains("ok"));
    }

    #[test]
    fn everything_else_is_a_problem() {
        for (from, to, complaint) in [
            ("passed 2.0 it goes", "failed it goes: it stays", "it stays"),
            ("weir-vm: end of the story", "", "did not come to its end"),
            (
                "weir-vm: passed 2.0 it goes",
                "",
                "in the middle of: it goes",
            ),
            ("ready 6.1-x", "ready 6.2", "calls itself 6.2"),
            ("step it comes", "stumble it comes", "unknown line"),
        ] {
            let verdict = judged(&GOOD.replace(from, to), "", End::Own);
            let problems = verdict.problems.join("; ");
            assert!(problems.contains(complaint), "{complaint}: {problems}");
        }
        assert!(!judged("", "", End::Own).problems.is_empty());
        assert!(!judged(GOOD, "", End::Deadline).problems.is_empty());
        let oops = "BUG: kernel NULL pointer dereference";
        assert!(!judged(GOOD, oops, End::Own).problems.is_empty());
    }
}
