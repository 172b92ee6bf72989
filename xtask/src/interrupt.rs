//! Ctrl-C as a question that is asked, rather than an end in the middle of things.

use std::error::Error;
use std::fmt;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Says that a signal ended something early.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

/// SIGINT, SIGTERM and SIGHUP, kept until somebody asks.
///
/// By handlers, and not by blocking the signals and reading them from a descriptor: programs that
/// are started would inherit the mask, and an agent that cannot be told to end is killed.
pub(crate) struct Interrupt {
    /// The handlers write to the other end.
    came: UnixStream,
}

impl Interrupt {
    /// Keeps the signals from now on.
    pub(crate) fn hold() -> Result<Self> {
        let (came, handlers) = UnixStream::pair().context("cannot make a pair of sockets")?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let end = handlers.try_clone().context("cannot copy a descriptor")?;
            pipe::register(signal, end)
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(Self { came })
    }

    /// Lets `time` pass; fails as soon as a signal came.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        if self.wait(time) {
            return Err(Interrupted);
        }
        Ok(())
    }

    /// Fails if a signal came.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        self.pause(Duration::ZERO)
    }

    /// Returns whether a signal came.
    pub(crate) fn came(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for a signal for as long as it takes.
    pub(crate) fn wait_forever(&self) {
        while !self.wait(Duration::from_secs(3600)) {}
    }

    /// Waits for a signal, at most for `timeout`, and returns whether one came.
    ///
    /// A signal that came is still there for the next caller: once interrupted, always interrupted.
    fn wait(&self, timeout: Duration) -> bool {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.came.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(ready) => ready > 0,
            // A handler ran: of one of these signals, or of another.
            Err(Errno::EINTR) => self.came(),
            // A descriptor that cannot be waited for must not keep a loop going for ever.
            Err(_) => true,
        }
    }
}
