//! What agent and executor say to each other until the task runs.
//!
//! ```text
//! agent                          executor
//!   │          Ready{init_pid}      │   the container is set up and waits
//!   │ ◀──────────────────────────── │
//!   │  (records it durably)         │
//!   │              Go               │
//!   │ ────────────────────────────▶ │
//!   │         Started{task_pid}     │   or Failed{outcome}, here or instead of Ready
//!   │ ◀──────────────────────────── │
//! ```
//!
//! The socket is a `SOCK_SEQPACKET` pair, one message a datagram of JSON. If the agent closes it before `Go`, the
//! executor aborts; afterwards it no longer matters to the executor whether anyone listens.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::Outcome;

/// Longer than any message: the longest is a `Failed` with a reason and a path in it.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What the executor tells the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToAgent {
    /// The container is set up; its task waits for [`ToExecutor::Go`].
    Ready {
        /// The init of the container, as the node numbers it.
        init_pid: i32,
    },
    /// The task's program runs.
    Started {
        /// The task, as the node numbers it.
        task_pid: i32,
    },
    /// The task will never run; the exit record says the same.
    Failed {
        /// Why.
        outcome: Outcome,
    },
}

/// What the agent tells the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToExecutor {
    /// The container is on record: the task may begin.
    Go,
}

/// One end of the control socket.
#[derive(Debug)]
pub struct Control(OwnedFd);

impl Control {
    /// Makes both ends, neither of which survives an exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Takes an end that was inherited.
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends one message, without waiting for room.
    pub fn send<M: Serialize>(&self, message: &M) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        // MSG_NOSIGNAL: that the other side is gone is an answer, not a reason to die.
        send(
            self.0.as_raw_fd(),
            &bytes,
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(())
    }

    /// Receives one message if one is there; `Ok(None)` when the other side has closed.
    ///
    /// An error of kind `WouldBlock` says that nothing is there yet.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<M>> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let mut attempt = || recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
        let received = match attempt() {
            // A peer that died with our message unread resets the connection. That is told once, and
            // before what the peer had said: now comes that, or the close.
            Err(Errno::ECONNRESET) => attempt(),
            received => received,
        };
        match received? {
            0 => Ok(None),
            length => Ok(Some(serde_json::from_slice(&buffer[..length])?)),
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_miss::{Edit, near_miss};

    #[test]
    fn messages_arrive_whole_and_in_order_then_the_close() {
        let (agent, executor) = Control::pair().unwrap();
        executor.send(&ToAgent::Ready { init_pid: 7 }).unwrap();
        executor.send(&ToAgent::Started { task_pid: 8 }).unwrap();
        drop(executor);
        assert_eq!(
            agent.receive().unwrap(),
            Some(ToAgent::Ready { init_pid: 7 })
        );
        assert_eq!(
            agent.receive().unwrap(),
            Some(ToAgent::Started { task_pid: 8 })
        );
        assert_eq!(agent.receive::<ToAgent>().unwrap(), None);
    }

    #[test]
    fn last_words_are_heard_also_from_one_that_did_not_listen() {
        let (agent, executor) = Control::pair().unwrap();
        executor.send(&ToAgent::Ready { init_pid: 7 }).unwrap();
        agent.send(&ToExecutor::Go).unwrap();
        drop(executor);
        assert_eq!(
            agent.receive().unwrap(),
            Some(ToAgent::Ready { init_pid: 7 })
        );
        assert_eq!(agent.receive::<ToAgent>().unwrap(), None);
    }

    #[test]
    fn json_form_is_golden() {
        let outcome = Outcome::ExecFailed {
            errno: 13,
            path: "/etc/passwd".into(),
            what: "denied".into(),
        };
        let golden = r#"{"message":"failed","outcome":{"outcome":"exec_failed","errno":13,"path":"/etc/passwd","what":"denied"}}"#;
        assert_eq!(
            serde_json::to_string(&ToAgent::Failed { outcome }).unwrap(),
            golden
        );
        assert_eq!(
            serde_json::to_string(&ToExecutor::Go).unwrap(),
            r#"{"message":"go"}"#
        );
        assert_eq!(
            serde_json::to_string(&ToAgent::Ready { init_pid: 7 }).unwrap(),
            r#"{"message":"ready","init_pid":7}"#
        );
    }

    #[test]
    fn any_datagram_is_a_message_or_an_error_and_the_next_one_is_whole() {
        const GOLDEN: [&str; 3] = [
            r#"{"message":"failed","outcome":{"outcome":"exec_failed","errno":13,"path":"/etc/passwd","what":"denied"}}"#,
            r#"{"message":"ready","init_pid":7}"#,
            r#"{"message":"go"}"#,
        ];
        let (ours, theirs) = Control::pair().unwrap();
        let check = |bytes: &[u8]| {
            // Nothing at all would be a close.
            if bytes.is_empty() {
                return;
            }
            for _ in 0..2 {
                send(theirs.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).unwrap();
            }
            match ours.receive::<ToAgent>() {
                Ok(message) => {
                    let message = message.expect("the other side is open");
                    theirs.send(&message).unwrap();
                    drop(ours.receive::<ToAgent>());
                    assert_eq!(ours.receive().unwrap(), Some(message));
                }
                Err(error) => {
                    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "it was sent");
                    drop(ours.receive::<ToExecutor>());
                }
            }
            theirs.send(&ToExecutor::Go).unwrap();
            assert_eq!(ours.receive().unwrap(), Some(ToExecutor::Go));
        };
        bolero::check!()
            .with_type::<(u8, Vec<Edit>, Vec<u8>)>()
            .with_iterations(1000)
            .for_each(|(which, edits, bytes)| {
                check(bytes);
                check(near_miss(GOLDEN[usize::from(which % 3)], edits).as_bytes());
            });
        // Longer than what is read at once: an error, and gone as a whole.
        check(&vec![b' '; MESSAGE_BYTES_MAX + 100]);
    }
}
