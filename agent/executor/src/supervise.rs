//! The executor's one loop: everything that happens to a container after it was begun.
//!
//! ```text
//!              Standing            Go              exec
//!  SettingUp ──────────▶ Waiting ──────▶ Executing ────▶ Running
//!      │                    │                │              │ SIGTERM
//!      │ agent gone, SIGTERM, failure        │              ▼
//!      └────────────┬───────┴────────────────┘           Stopping ── grace over ──┐
//!                   ▼                                       │                     ▼
//!                Killing ◀──────────────────────────────────┼──────────────── Killing
//!                   └──────────▶ init has ended: drain, record, exit ◀────────────┘
//! ```

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use weir_executor::control::{Control, ToAgent, ToExecutor};
use weir_executor::grace;
use weir_executor::record::{EXIT_RECORD_VERSION, ExitRecord, Outcome};
use weir_executor::spec::ContainerSpec;
use weir_sys::cgroup::Cgroup;
use weir_sys::pidfd::{self, Status};

use crate::launch::Launched;
use crate::output::{Flow, Output};
use crate::task::ExecFailure;
use crate::wire::{Report, chain, shortened};

/// The longest grace there is: a year. More is a unit mistaken.
const GRACE_LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is passed on to the task as it comes.
pub(crate) const FORWARDED: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// How far the container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Init makes the container; a word to stop ends it at once.
    SettingUp,
    /// The task waits, and so does the agent's record.
    Waiting,
    /// The task was told to go and has not executed its program yet.
    Executing,
    /// The program runs; what becomes of the agent no longer matters.
    Running,
    /// The program was told to end, and has until then: so many milliseconds in all.
    Stopping { deadline: Instant, grace_ms: u64 },
    /// Init was killed, and everything with it; its end is awaited.
    Killing,
}

/// One container from the first poll to the exit record.
#[derive(Debug)]
pub(crate) struct Supervisor<'a> {
    spec: &'a ContainerSpec,
    launched: Launched,
    signals: SignalFd,
    /// Gone when the agent is.
    control: Option<Control>,
    phase: Phase,
    task: Option<OwnedFd>,
    /// Whether the agent knows how the start went.
    told: bool,
    /// How it ended, as soon as that is known.
    outcome: Option<Outcome>,
    streams: [Flow; 2],
    buffer: Vec<u8>,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(
        spec: &'a ContainerSpec,
        launched: Launched,
        signals: SignalFd,
        control: Control,
    ) -> Self {
        Self {
            spec,
            launched,
            signals,
            control: Some(control),
            phase: Phase::SettingUp,
            task: None,
            told: false,
            outcome: None,
            streams: [Flow::Waiting; 2],
            buffer: vec![],
        }
    }

    /// Looks after the container until nothing of it runs any more, and returns how it ended.
    pub(crate) fn run(mut self) -> ExitRecord {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                // Without poll there is no supervision, and an unsupervised container is worse than none.
                Err(errno) => {
                    self.end_now(Outcome::Lost {
                        reason: format!("the executor cannot poll: {errno}"),
                    });
                    return self.finish();
                }
            };
            let now = Instant::now();
            let [signals, control, reports, init, answer, stdout, stderr] = ready.fixed;
            // Output before everything that may end it.
            self.pump(stdout, stderr);
            self.launched
                .relay
                .handle_ready(&ready.relay, &mut self.buffer, now);
            // Before the reports: a failed exec also ends the task, and is the reason why.
            if answer {
                self.handle_answer();
            }
            if reports {
                self.handle_reports();
            }
            if control {
                self.handle_control();
            }
            if signals {
                self.handle_signals(now);
            }
            if let Phase::Stopping { deadline, .. } = self.phase
                && deadline <= now
            {
                self.kill();
            }
            if init {
                return self.finish();
            }
        }
    }

    fn wait(&self) -> nix::Result<Ready> {
        let input = |wanted: bool| {
            if wanted {
                PollFlags::POLLIN
            } else {
                PollFlags::empty()
            }
        };
        // A descriptor that has ended stays ready for ever: it is replaced by one that never is asked about.
        let idle = self.launched.init.pidfd.as_fd();
        let when = |descriptor, wanted: bool| {
            if wanted {
                PollFd::new(descriptor, input(true))
            } else {
                PollFd::new(idle, PollFlags::empty())
            }
        };
        let mut descriptors = vec![
            PollFd::new(self.signals.as_fd(), input(true)),
            match &self.control {
                Some(control) => PollFd::new(control.as_fd(), input(true)),
                None => PollFd::new(idle, PollFlags::empty()),
            },
            when(self.launched.reports.as_fd(), self.phase != Phase::Killing),
            PollFd::new(idle, input(true)),
            when(self.launched.answer.as_fd(), self.awaits_answer()),
            when(
                self.launched.stdout.as_fd(),
                self.streams[0] == Flow::Waiting,
            ),
            when(
                self.launched.stderr.as_fd(),
                self.streams[1] == Flow::Waiting,
            ),
        ];
        self.launched.relay.add_interest(&mut descriptors);

        let grace = match self.phase {
            Phase::Stopping { deadline, .. } => Some(deadline),
            Phase::SettingUp
            | Phase::Waiting
            | Phase::Executing
            | Phase::Running
            | Phase::Killing => None,
        };
        let patience = grace
            .into_iter()
            .chain(self.launched.relay.next_deadline())
            .min()
            .map_or(PollTimeout::NONE, |deadline| {
                // Rounded up, or the last fraction of a millisecond would be spent spinning.
                let left =
                    deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
        poll(&mut descriptors, patience)?;
        let mut flags = descriptors
            .iter()
            .map(|descriptor| descriptor.revents().unwrap_or(PollFlags::empty()));
        let mut fixed = [false; 7];
        for slot in &mut fixed {
            *slot = flags.next().is_some_and(|flags| !flags.is_empty());
        }
        Ok(Ready {
            fixed,
            relay: flags.collect(),
        })
    }

    fn pump(&mut self, stdout: bool, stderr: bool) {
        let pump = |output: &mut Output, flow: &mut Flow, ready, buffer: &mut Vec<u8>| {
            if ready {
                *flow = output.pump(buffer);
            }
        };
        let [out, err] = &mut self.streams;
        pump(
            &mut self.launched.stdout,
            out,
            stdout && *out == Flow::Waiting,
            &mut self.buffer,
        );
        pump(
            &mut self.launched.stderr,
            err,
            stderr && *err == Flow::Waiting,
            &mut self.buffer,
        );
    }

    /// Takes what init, or the task before its exec, has to say.
    fn handle_reports(&mut self) {
        loop {
            match self.launched.reports.receive() {
                Ok(Some((report, descriptor))) => self.handle_report(report, descriptor),
                Ok(None) => return,
                Err(error) => {
                    return self.end_now(Outcome::SetupFailed {
                        reason: format!("init speaks nonsense: {error}"),
                    });
                }
            }
        }
    }

    fn handle_report(&mut self, report: Report, descriptor: Option<OwnedFd>) {
        match report {
            Report::Standing if self.phase == Phase::SettingUp => {
                self.phase = Phase::Waiting;
                self.task = descriptor;
                self.tell(&ToAgent::Ready {
                    init_pid: self.launched.init.pid.as_raw(),
                });
            }
            // It was told to stop in the meantime.
            Report::Standing => {}
            Report::Failed { reason } => self.end_now(Outcome::SetupFailed { reason }),
            Report::Exited { code } => self.settle(Outcome::Exited { code }),
            Report::Signaled {
                signal,
                core_dumped,
            } => self.settle(Outcome::Signaled {
                signal,
                core_dumped,
            }),
        }
    }

    /// Returns whether the task was told to go and nothing is known of its exec.
    fn awaits_answer(&self) -> bool {
        !self.told && matches!(self.phase, Phase::Executing | Phase::Stopping { .. })
    }

    /// Learns what has become of the exec.
    fn handle_answer(&mut self) {
        if !self.awaits_answer() {
            return;
        }
        let mut bytes = [0; 4096 + 4];
        match nix::unistd::read(&self.launched.answer, &mut bytes)
            .map(|length| ExecFailure::from_bytes(&bytes[..length]))
        {
            Ok(Some(failure)) => {
                let what = Errno::from_raw(failure.errno).desc().to_owned();
                let path = shortened(failure.path.to_string_lossy().into_owned());
                self.end_now(Outcome::ExecFailed {
                    errno: failure.errno,
                    path,
                    what,
                });
            }
            Ok(None) => {
                // A task that failed before the exec has said so before it closed this pipe.
                self.handle_reports();
                if self.awaits_answer() {
                    self.handle_executed();
                }
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                self.end_now(Outcome::SetupFailed {
                    reason: format!("cannot learn whether the program runs: {errno}"),
                });
            }
        }
    }

    /// Tells the agent that the program runs.
    fn handle_executed(&mut self) {
        if self.phase == Phase::Executing {
            self.phase = Phase::Running;
        }
        let task = self.task.as_ref();
        let pid = task.and_then(|task| pidfd::process_id(task.as_fd()).ok().flatten());
        self.told = true;
        // A task that is gone already had a number as well, but nobody could use it.
        self.tell(&ToAgent::Started {
            task_pid: pid.map_or(0, |pid| pid.as_raw()),
        });
    }

    /// Takes the agent's word, or notices that there is no agent any more.
    fn handle_control(&mut self) {
        let Some(control) = &self.control else { return };
        match (control.receive(), self.phase) {
            (Ok(Some(ToExecutor::Go)), Phase::Waiting) => {
                match nix::unistd::write(&self.launched.go, b"!") {
                    Ok(_) => self.phase = Phase::Executing,
                    Err(errno) => {
                        self.end_now(Outcome::SetupFailed {
                            reason: format!("the task cannot be told to go: {errno}"),
                        });
                    }
                }
            }
            (Ok(Some(ToExecutor::Go)), Phase::SettingUp) => {
                self.end_now(Outcome::Aborted {
                    reason: "the agent said go before the container stood".to_owned(),
                });
            }
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {}
            (Ok(None) | Err(_), Phase::SettingUp | Phase::Waiting) => {
                self.control = None;
                self.end_now(Outcome::Aborted {
                    reason: "the agent was gone before it said go".to_owned(),
                });
            }
            // The container is on record and needs no agent to run.
            (
                Ok(None) | Err(_),
                Phase::Executing | Phase::Running | Phase::Stopping { .. } | Phase::Killing,
            ) => {
                self.control = None;
            }
            (
                Ok(Some(ToExecutor::Go)),
                Phase::Executing | Phase::Running | Phase::Stopping { .. } | Phase::Killing,
            ) => {}
        }
    }

    fn handle_signals(&mut self, now: Instant) {
        while let Ok(Some(received)) = self.signals.read_signal() {
            let Ok(signal) = Signal::try_from(received.ssi_signo.cast_signed()) else {
                continue;
            };
            if signal != Signal::SIGTERM {
                if matches!(self.phase, Phase::Running | Phase::Stopping { .. }) {
                    self.signal_task(signal);
                }
                continue;
            }
            match self.phase {
                Phase::SettingUp | Phase::Waiting => {
                    self.end_now(Outcome::Aborted {
                        reason: "it was told to stop before its task began".to_owned(),
                    });
                }
                Phase::Executing | Phase::Running => {
                    self.phase = self.stopping(now);
                    self.signal_task(Signal::SIGTERM);
                }
                // The first one set the deadline; a later one may only bring it nearer.
                Phase::Stopping { deadline, .. } => {
                    let again = self.stopping(now);
                    if let Phase::Stopping {
                        deadline: other, ..
                    } = again
                        && other < deadline
                    {
                        self.phase = again;
                    }
                }
                Phase::Killing => {}
            }
        }
    }

    /// Returns until when the program has, if it is told to end now.
    fn stopping(&self, now: Instant) -> Phase {
        let grace_ms = grace::read(&self.spec.directory).unwrap_or_else(|error| {
            eprintln!("{}", chain(&error));
            None
        });
        let grace_ms = grace_ms.unwrap_or(self.spec.kill_grace_ms);
        Phase::Stopping {
            deadline: now + Duration::from_millis(grace_ms).min(GRACE_LONGEST),
            grace_ms,
        }
    }

    fn signal_task(&self, signal: Signal) {
        if let Some(task) = &self.task
            && let Err(error) = pidfd::send_signal(task.as_fd(), signal)
        {
            eprintln!("{}", chain(&error));
        }
    }

    /// Ends a container whose task has not begun, or cannot.
    fn end_now(&mut self, outcome: Outcome) {
        self.settle(outcome);
        self.tell_failure();
        self.kill();
    }

    /// Tells the agent that there will be no `Started`, unless there has been one.
    fn tell_failure(&mut self) {
        if let Some(outcome) = self.outcome.clone()
            && !self.told
        {
            self.told = true;
            self.tell(&ToAgent::Failed { outcome });
        }
    }

    /// Takes down how it ended; the first word counts, what follows is its consequence.
    fn settle(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// Kills init, and with it everything in its PID namespace.
    fn kill(&mut self) {
        if let Phase::Stopping { grace_ms, .. } = self.phase {
            // If the task has ended by itself just now, its report is on the way and says so.
            self.handle_reports();
            self.settle(Outcome::KilledAfterGrace { grace_ms });
        }
        self.phase = Phase::Killing;
        if let Err(error) = pidfd::send_signal(self.launched.init.pidfd.as_fd(), Signal::SIGKILL) {
            eprintln!("{}", chain(&error));
        }
    }

    fn tell(&mut self, message: &ToAgent) {
        // An agent that does not listen any more closes the socket, which is noticed where it matters.
        if let Some(control) = &self.control
            && let Err(error) = control.send(message)
        {
            eprintln!("cannot tell the agent {message:?}: {error}");
        }
    }

    /// Gathers what is left of a container whose init has ended, which is to say of which nothing runs any more.
    fn finish(mut self) -> ExitRecord {
        self.handle_reports();
        // After an error there was no wait for init; it has been killed.
        let waited = pidfd::wait_ended(self.launched.init.pidfd.as_fd(), None);
        let status = waited.and_then(|_| pidfd::reap(self.launched.init.pidfd.as_fd()));
        if self.outcome.is_none() {
            self.outcome = Some(match status {
                // Whoever kills the whole cgroup kills init as well, before it can report.
                Ok(Some(Status::Signaled {
                    signal,
                    core_dumped,
                })) => Outcome::Signaled {
                    signal,
                    core_dumped,
                },
                Ok(Some(Status::Exited { .. }) | None) | Err(_) => Outcome::SetupFailed {
                    reason: "init of the container ended without a word".to_owned(),
                },
            });
        }
        self.tell_failure();
        // Nothing should be left; something that was moved in from outside, for example.
        if let Err(error) = Cgroup::open(&self.spec.task_cgroup()).and_then(|cgroup| cgroup.kill())
        {
            eprintln!("{}", chain(&error));
        }
        self.launched.stdout.drain(&mut self.buffer);
        self.launched.stderr.drain(&mut self.buffer);
        let dropped = self.launched.stdout.bytes_dropped() + self.launched.stderr.bytes_dropped();
        record(self.outcome.expect("set above where it was not"), dropped)
    }
}

/// Returns the record of a container that ended now.
pub(crate) fn record(outcome: Outcome, output_bytes_dropped: u64) -> ExitRecord {
    // A clock before 1970 is no reason to lose the record.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let at_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    ExitRecord {
        version: EXIT_RECORD_VERSION,
        outcome,
        at_unix_ms,
        output_bytes_dropped,
    }
}

/// What a poll has found.
struct Ready {
    /// Signals, control, reports, init, answer, standard output, standard error.
    fixed: [bool; 7],
    relay: Vec<PollFlags>,
}
