//! Why an application closes a connection: the codes of protocol `weir/1`.

use std::fmt;

use quinn::VarInt;

use crate::check::Check;

/// Why a connection was closed, or a stream given up.
///
/// The numbers are part of the protocol and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseCode {
    /// 0: all was said.
    Done,
    /// 1: the process stops; connect again later.
    ShuttingDown,
    /// 2: what came was no frame, or no message.
    Garbage,
    /// 3: the peer did not read what it was owed.
    NotReading,
    /// 4: the peer connected and opened no stream.
    NoStream,
    /// 5: the peer's certificate was revoked meanwhile.
    Revoked,
    /// 6: the peer's certificate is not believed any more.
    Untrusted,
    /// 7: the conversation was refused; the answer before said why.
    Refused,
    /// 8: the same peer has connected again, and the newer connection counts. Reserved: the scheduler says so
    /// in the conversation.
    Superseded,
    /// 9: a message that can be read came when it had no meaning.
    Misbehaved,
    /// 10: there is no room for another conversation now.
    Busy,
    /// 11: something failed that is not the peer's fault.
    Internal,
    /// A number that this version does not know.
    Other(u64),
}

impl CloseCode {
    /// Every code that has a meaning.
    pub const KNOWN: [Self; 12] = [
        Self::Done,
        Self::ShuttingDown,
        Self::Garbage,
        Self::NotReading,
        Self::NoStream,
        Self::Revoked,
        Self::Untrusted,
        Self::Refused,
        Self::Superseded,
        Self::Misbehaved,
        Self::Busy,
        Self::Internal,
    ];

    /// Returns the number on the wire.
    pub fn number(self) -> u64 {
        match self {
            Self::Done => 0,
            Self::ShuttingDown => 1,
            Self::Garbage => 2,
            Self::NotReading => 3,
            Self::NoStream => 4,
            Self::Revoked => 5,
            Self::Untrusted => 6,
            Self::Refused => 7,
            Self::Superseded => 8,
            Self::Misbehaved => 9,
            Self::Busy => 10,
            Self::Internal => 11,
            Self::Other(number) => number,
        }
    }

    /// Returns the code with this number.
    pub fn from_number(number: u64) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|code| code.number() == number)
            .unwrap_or(Self::Other(number))
    }

    /// Returns the word for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ShuttingDown => "shutting_down",
            Self::Garbage => "garbage",
            Self::NotReading => "not_reading",
            Self::NoStream => "no_stream",
            Self::Revoked => "revoked",
            Self::Untrusted => "untrusted",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Misbehaved => "misbehaved",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::Other(_) => "other",
        }
    }

    /// Returns whether the same peer may well connect again without being changed.
    pub fn is_retryable(self) -> bool {
        match self {
            // The peer goes away, comes back, or will have room; and who was too slow may catch up.
            Self::Done
            | Self::ShuttingDown
            | Self::NotReading
            | Self::NoStream
            | Self::Busy
            | Self::Internal
            // Whatever a newer version means by it, trying again is how to find out.
            | Self::Other(_) => true,
            // Another certificate, another program or another configuration is needed; and who was
            // superseded would throw out the one that did it.
            Self::Garbage
            | Self::Revoked
            | Self::Untrusted
            | Self::Refused
            | Self::Superseded
            | Self::Misbehaved => false,
        }
    }

    /// Returns what the side that was closed can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Done => "nothing; the conversation was over",
            Self::ShuttingDown => "connect again; the peer was stopped or restarted",
            Self::Garbage => "check that both are of versions that speak the same protocol",
            Self::NotReading => "connect again; find out what kept this side from reading",
            Self::NoStream => "connect again; this side took too long to begin",
            Self::Revoked => "issue another certificate; this one was revoked",
            Self::Untrusted => {
                "use a certificate of an authority that the peer's bundle still holds"
            }
            Self::Refused => "read the refusal that came before",
            Self::Superseded => "stop one of the two processes that use the same identity",
            Self::Misbehaved => "check the peer's log; this side broke the protocol",
            Self::Busy => "connect again later",
            Self::Internal => "check the peer's log, and connect again",
            Self::Other(_) => "check that both are of the same version",
        }
    }

    /// Returns the code for a live connection that does not pass a check any more.
    pub(crate) fn of_check(check: Check) -> Self {
        if check == Check::Revocation {
            Self::Revoked
        } else {
            Self::Untrusted
        }
    }

    pub(crate) fn as_varint(self) -> VarInt {
        // Foreign numbers came as one, and Weir's own are small.
        VarInt::from_u64(self.number()).unwrap_or(VarInt::MAX)
    }

    pub(crate) fn from_varint(number: VarInt) -> Self {
        Self::from_number(number.into_inner())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "the conversation is over",
            Self::ShuttingDown => "the process stops",
            Self::Garbage => "what came could not be read",
            Self::NotReading => "the peer did not read",
            Self::NoStream => "no stream was opened",
            Self::Revoked => "the certificate was revoked",
            Self::Untrusted => "the certificate is not believed any more",
            Self::Refused => "the conversation was refused",
            Self::Superseded => "the same peer connected again",
            Self::Misbehaved => "a message had no meaning when it came",
            Self::Busy => "there is no room for another conversation",
            Self::Internal => "something failed inside",
            Self::Other(number) => return write!(formatter, "unknown code {number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_first_version_keep_their_meaning() {
        let numbers: Vec<(u64, &str)> = CloseCode::KNOWN
            .into_iter()
            .map(|code| (code.number(), code.label()))
            .collect();
        assert_eq!(
            numbers,
            [
                (0, "done"),
                (1, "shutting_down"),
                (2, "garbage"),
                (3, "not_reading"),
                (4, "no_stream"),
                (5, "revoked"),
                (6, "untrusted"),
                (7, "refused"),
                (8, "superseded"),
                (9, "misbehaved"),
                (10, "busy"),
                (11, "internal"),
            ]
        );
    }

    #[test]
    fn every_number_reads_back() {
        for number in (0..40).chain([1 << 40, VarInt::MAX.into_inner()]) {
            let code = CloseCode::from_number(number);
            assert_eq!(code.number(), number);
            assert_eq!(code.as_varint().into_inner(), number);
        }
    }
}
