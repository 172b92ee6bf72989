//! What the processes inside the container tell the executor, one datagram each.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize};
use weir_sys::socket;

/// Longer than any report: the longest is a reason with a path in it.
const REPORT_BYTES_MAX: usize = 16 * 1024;

/// How much of a text is passed on. JSON makes up to six bytes of a character: twelve of the 16 KiB.
const TEXT_CHARACTERS_MAX: usize = 2048;

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

/// Returns an error and everything behind it on one line, [`shortened`].
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    shortened(text)
}

/// Returns a text that fits a datagram, cut where it is too long.
///
/// Errors name paths and words that whoever asked for the container chose, of any length; the receiver of a datagram
/// that is longer than its buffer would lose the end of it, and so the whole.
pub(crate) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        text.truncate(end);
        text.push('…');
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

    #[test]
    fn whatever_the_reason_it_arrives() {
        let (read, write) = Reports::pair().unwrap();
        bolero::check!()
            .with_type::<(String, u16)>()
            .with_iterations(300)
            .for_each(|(text, times)| {
                let long = text.repeat(usize::from(times % 2048)) + "end";
                let reason = chain(&io::Error::other(long.clone()));
                assert!(long.starts_with(reason.trim_end_matches('…')));
                assert!(reason == long || reason.chars().count() == TEXT_CHARACTERS_MAX + 1);
                let report = Report::Failed { reason };
                write.send(&report, None).unwrap();
                assert_eq!(read.receive().unwrap().unwrap().0, report);
            });
        // The worst: six bytes of JSON each.
        let reason = shortened("\0".repeat(100_000));
        let message = weir_executor::control::ToAgent::Failed {
            outcome: weir_executor::record::Outcome::ExecFailed {
                errno: 1,
                path: reason.clone(),
                what: "File name too long".to_owned(),
            },
        };
        assert!(serde_json::to_vec(&message).unwrap().len() < REPORT_BYTES_MAX);
        write.send(&Report::Failed { reason }, None).unwrap();
        assert!(read.receive().unwrap().is_some());
    }

    #[test]
    fn any_datagram_is_a_report_or_an_error_and_the_next_one_is_whole() {
        let (read, write) = Reports::pair().unwrap();
        bolero::check!()
            .with_type::<(Vec<u8>, i32)>()
            .with_iterations(1000)
            .for_each(|(bytes, code)| {
                let likely = format!("{{\"Exited\":{{\"code\":{code}}}}}");
                for bytes in [bytes, likely.as_bytes(), &likely.as_bytes()[1..]] {
                    if !bytes.is_empty() {
                        socket::send(write.as_fd(), bytes, None).unwrap();
                        drop(read.receive());
                    }
                }
                let report = Report::Exited { code: *code };
                write.send(&report, None).unwrap();
                assert_eq!(read.receive().unwrap().unwrap().0, report);
            });
    }
}
