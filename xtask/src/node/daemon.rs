//! A daemon in a network namespace: its start and end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::inside;
use crate::command::command;
use crate::http;
use crate::interrupt::Interrupt;

/// How long a daemon may take to start or to stop: it loads programs, or opens a database, and no more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon, there or not.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) program: PathBuf,
    pub(super) namespace: PathBuf,
    /// Its configuration, which no other has.
    pub(super) config: PathBuf,
    /// What it says is added here.
    pub(super) log: PathBuf,
    /// Where it answers, inside of the namespace.
    pub(super) listen: SocketAddr,
}

impl Daemon {
    /// Asks it over HTTP.
    pub(super) fn ask(&self, path: &str) -> Result<String> {
        inside(self.namespace.clone(), || http::get(self.listen, path))?
    }

    /// Starts it in the namespace and waits until it is healthy.
    pub(super) fn start(&self, interrupt: &Interrupt) -> Result<()> {
        let name = self.name();
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot open {}", self.log.display()))?;
        // A session of its own: Ctrl-C in this terminal and its closing are for us, not for it. Both
        // programs before it end by becoming it, so it is our child.
        let mut child = command("setsid")
            .arg("nsenter")
            .arg(format!("--net={}", self.namespace.display()))
            .arg(&self.program)
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot copy a descriptor")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;

        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child
                .try_wait()
                .with_context(|| format!("cannot wait for {name}"))?
            {
                bail!("{name} ended with {status}:\n{}", self.log_end());
            }
            match self.ask("/health") {
                Ok(_healthy) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!(
                        "{name} is not healthy after {} s:\n{}",
                        PATIENCE.as_secs(),
                        self.log_end()
                    )));
                }
                Err(_not_yet) => interrupt.pause(Duration::from_millis(20))?,
            }
        }
    }

    /// Ends it; fine if it is not there.
    pub(super) fn stop(&self) -> Result<()> {
        let Some(pid) = self.process() else {
            return Ok(());
        };
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.process().is_some() {
            if Instant::now() > deadline {
                // To whoever listens: a panic here would leave the rest.
                let name = self.name();
                writeln!(
                    io::stderr(),
                    "{name} (process {pid}) does not end; killing it"
                )
                .ok();
                return self.kill();
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub(super) fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        while self.process().is_some() {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.process() else {
            return Ok(());
        };
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to {pid}")),
        }
    }

    /// Returns its process.
    ///
    /// Found by its command line, which names a file that is its alone: a file with its number would be
    /// missing if we were killed before we wrote it.
    pub(super) fn process(&self) -> Option<Pid> {
        let words = [
            OsStr::new("run"),
            OsStr::new("--config"),
            self.config.as_os_str(),
        ];
        let mut end = Vec::new();
        for word in words {
            end.push(0);
            end.extend(word.as_bytes());
        }
        end.push(0);
        fs::read_dir("/proc").ok()?.find_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // Empty for one that has ended and that nobody has waited for.
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            line.ends_with(&end).then(|| Pid::from_raw(pid))
        })
    }

    fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
