//! A scheduler as it is shipped: its process, its configuration, its log.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{cell::RefCell, fs};

use weir_transport::credentials::CredentialFiles;

/// How long anything may take that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A scheduler's process. Dropped, it is ended.
pub(crate) struct Scheduler {
    process: Child,
    lines: Receiver<String>,
    heard: RefCell<Vec<String>>,
    port: u16,
}

impl Scheduler {
    /// Starts one on a port that the kernel chooses, and waits until it is ready.
    pub(crate) fn start(directory: &Path, files: &CredentialFiles) -> Self {
        let state = directory.join("state");
        fs::create_dir(&state).unwrap();
        let config = directory.join("scheduler.toml");
        let path = |path: &Path| format!("{:?}", path.to_str().unwrap());
        let revocations = files.revocations.as_deref().map_or_else(String::new, path);
        let text = format!(
            "[scheduler]\nname = \"foreign\"\nlisten = [\"127.0.0.1:0\"]\nstate_directory = {}\n\
             [tls]\ncertificate = {}\nkey = {}\nauthorities = {}\nrevocations = {revocations}\n\
             [http]\nlisten = \"\"\n",
            path(&state),
            path(&files.certificate),
            path(&files.key),
            path(&files.authorities),
        );
        fs::write(&config, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir-scheduler"))
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (tell, lines) = channel();
        // Ends with the process, whose end of the pipe is closed then.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut scheduler = Self {
            process,
            lines,
            heard: RefCell::default(),
            port: 0,
        };
        let ready = scheduler.wait_for_line("the line that says it is ready", |line| {
            line.contains(" ready ") && line.contains("127.0.0.1:")
        });
        let digits = ready.split("127.0.0.1:").nth(1).unwrap_or_default();
        let end = digits.find(|digit: char| !digit.is_ascii_digit());
        scheduler.port = digits[..end.unwrap_or(digits.len())].parse().unwrap();
        scheduler
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the log has had a line of which `is_it` is true, and returns it.
    pub(crate) fn wait_for_line(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.heard.borrow().iter().find(|line| is_it(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.heard.borrow_mut().push(line),
                Err(_) => panic!("{what} did not come; the scheduler said:\n{}", self.log()),
            }
        }
    }

    /// Returns what it has said.
    pub(crate) fn log(&self) -> String {
        self.heard.borrow_mut().extend(self.lines.try_iter());
        self.heard.borrow().join("\n")
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
