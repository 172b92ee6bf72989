//! What the processes inside the container tell the executor, one datagram each.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize};
use weir_sys::socket;

/// Longer than any report: the longest is a reason with a path in it.
const REPORT_BYTES_MAX: usize = 16 * 1024;

/// What init, or the task before it executes, reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Init: the container stands and the task waits; comes with a pidfd of the task.
    Standing,
    /// Either: the container cannot be as asked.
    Failed { reason: String },
    /// Init: the task has exited.
    Exited { code: i32 },
    /// Init: a signal has ended the task.
    Signaled { signal: i32, core_dumped: bool },
}

/// The end that reports are read from, or the one they are written to.
#[derive(Debug)]
pub(crate) struct Reports(OwnedFd);

impl Reports {
    /// Makes the reading end and the writing end.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (read, write) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self(read), Self(write)))
    }

    /// Returns the number of the descriptor.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends one report; fails when the executor is gone.
    pub(crate) fn send(
        &self,
        report: &Report,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        socket::send(self.0.as_fd(), &serde_json::to_vec(report)?, descriptor)
    }

    /// Receives one report; `None` when nothing is there, now or ever again.
    pub(crate) fn receive(&self) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
        let mut buffer = vec![0; REPORT_BYTES_MAX];
        match socket::receive(self.0.as_fd(), &mut buffer) {
            Ok((0, _)) => Ok(None),
            Ok((length, descriptor)) => Ok(Some((
                serde_json::from_slice(&buffer[..length])?,
                descriptor,
            ))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns an error and everything behind it on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_arrives_with_its_descriptor() {
        let (read, write) = Reports::pair().unwrap();
        assert!(read.receive().unwrap().is_none());
        write.send(&Report::Standing, Some(write.as_fd())).unwrap();
        write.send(&Report::Exited { code: 3 }, None).unwrap();
        let (report, descriptor) = read.receive().unwrap().unwrap();
        assert_eq!(report, Report::Standing);
        assert!(descriptor.is_some());
        assert_eq!(
            read.receive().unwrap().unwrap().0,
            Report::Exited { code: 3 }
        );
        drop(read);
        assert!(write.send(&Report::Standing, None).is_err());
    }
}
