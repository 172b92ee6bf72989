//! Runs `cargo test`, passes on what it says, and has it ended when it says nothing any more.

use std::io::{self, BufRead as _, BufReader, PipeReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::account::Account;
use crate::interrupt::Interrupt;

/// How long nothing may be said: the longest step of a build and the longest test take some two
/// minutes on two slow CPUs.
const SILENCE_MAX: Duration = Duration::from_secs(900);

/// How long the output may stay open after `cargo test` has ended: what is in the pipe is read in
/// less.
const REST_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether somebody ends us.
const GLANCE: Duration = Duration::from_millis(200);

/// How many lines wait for the account at most; then the tests wait.
const LINES_MAX: usize = 1024;

/// Runs one `cargo test`, passes its output on, and keeps the account.
///
/// Returns what went wrong if it failed for a reason that no test stands for.
pub(super) fn observe(
    mut command: Command,
    account: &mut Account,
    interrupt: &Interrupt,
) -> Result<Option<String>> {
    let failed_before = account.failed().len();
    // One pipe for both streams: cargo says on one which binary runs, libtest on the other what
    // came of it, and only together are they in order.
    let (output, input) = io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(input.try_clone().context("cannot copy a descriptor")?)
        .stderr(input)
        // So that the tests can be ended with it.
        .process_group(0)
        .spawn()
        .context("cannot run cargo test")?;
    // It holds our copies of the pipe's end, and as long as it does the pipe has no end.
    drop(command);

    let lines = read_lines(output)?;
    let mut last = Instant::now();
    let mut ended: Option<Instant> = None;
    let problem = loop {
        match lines.recv_timeout(GLANCE) {
            Ok(line) => {
                last = Instant::now();
                if account.read(&line) {
                    println!("{line}");
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(interrupted) = interrupt.check() {
            end(&mut child)?;
            return Err(interrupted.into());
        }
        if ended.is_none()
            && child
                .try_wait()
                .context("cannot wait for cargo test")?
                .is_some()
        {
            ended = Some(Instant::now());
        }
        if ended.is_some_and(|ended| ended.elapsed() > REST_MAX) {
            break Some(
                "a test left a process behind that holds its output open; look with ps".to_owned(),
            );
        }
        if last.elapsed() > SILENCE_MAX {
            end(&mut child)?;
            break Some(format!(
                "cargo test said nothing for {} minutes and was killed; \
                 the test that was running last is named above",
                SILENCE_MAX.as_secs() / 60
            ));
        }
    };
    let status = child.wait().context("cannot wait for cargo test")?;
    let explained = account.failed().len() > failed_before;
    Ok(problem.or_else(|| {
        (!status.success() && !explained)
            .then(|| format!("cargo test ended with {status}, and no test says why: see above"))
    }))
}

/// Returns the lines as they come; there are no more when nobody can write any.
fn read_lines(output: PipeReader) -> Result<Receiver<String>> {
    let (sender, lines) = mpsc::sync_channel(LINES_MAX);
    thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                // What a test prints need not be text.
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        })
        .context("cannot start a thread")?;
    Ok(lines)
}

/// Kills cargo and the tests that it runs.
fn end(child: &mut Child) -> Result<()> {
    let group = i32::try_from(child.id()).context("a process id is an i32")?;
    // They may have ended by themselves meanwhile.
    killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
    child.wait().map(drop).context("cannot wait for cargo test")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    fn shell(script: &str) -> Command {
        let mut shell = command("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn results_are_kept_and_a_failure_without_a_test_is_told() {
        let interrupt = Interrupt::hold().unwrap();
        let mut account = Account::default();
        let good = shell("echo test a ... ok; echo test b ... FAILED >&2; exit 1");
        assert_eq!(observe(good, &mut account, &interrupt).unwrap(), None);
        assert_eq!(account.numbers(), (1, 1, 0));
        let bad = shell("echo error: it does not build; exit 1");
        let problem = observe(bad, &mut account, &interrupt).unwrap().unwrap();
        assert!(problem.contains("no test says why"), "{problem}");
    }

    #[test]
    fn a_process_that_is_left_behind_does_not_keep_us() {
        let interrupt = Interrupt::hold().unwrap();
        let mut account = Account::default();
        let left = shell("echo test a ... ok; sleep 60 &");
        let problem = observe(left, &mut account, &interrupt).unwrap().unwrap();
        assert!(problem.contains("left a process behind"), "{problem}");
        assert_eq!(account.numbers(), (1, 0, 0));
    }
}
