//! Why a connection is no more, decoded from what QUIC and TLS say.

use quinn::{ConnectionError, TransportErrorCode};

use super::close::CloseCode;
use crate::check::Check;
use crate::verify::check_in_words;

/// The most of a peer's own words that are kept.
const WORDS_MAX: usize = 400;

/// The other side's judgement of this side's certificate, or of its TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check} (the peer said `{said}`, TLS alert {alert})")]
pub struct Refusal {
    /// Which check failed there.
    pub check: Check,
    /// The alert.
    pub alert: u8,
    /// The peer's own words, made printable.
    pub said: String,
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    /// The peer refused this side in the handshake.
    ///
    /// With TLS 1.3 the connecting side learns of it only after it believes to be connected: it is
    /// the first receive that fails.
    #[error("refused by the peer")]
    RefusedByPeer(#[source] Refusal),
    /// The peer closed the connection.
    #[error("closed by the peer: {code}{}", with_reason(.reason))]
    ByPeer {
        /// Why.
        code: CloseCode,
        /// The peer's own words, made printable.
        reason: String,
    },
    /// This side closed the connection.
    #[error("closed by this side: {code}{}", with_reason(.reason))]
    Here {
        /// Why.
        code: CloseCode,
        /// More of it.
        reason: String,
    },
    /// Nothing was heard of the peer for the idle time.
    #[error("nothing was heard of the peer for too long")]
    Silence,
    /// The peer does not know the connection.
    #[error("the peer does not know this connection any more: it was restarted")]
    Restarted,
    /// The peer takes no connections now.
    #[error("the peer takes no more connections{}", with_reason(.reason))]
    Full {
        /// The peer's own words, made printable.
        reason: String,
    },
    /// The peer speaks another version of QUIC.
    #[error("the peer speaks no version of QUIC that this side does")]
    Version,
    /// One of the two broke QUIC's rules, or ran out of something.
    #[error("QUIC failed: {what}")]
    Quic {
        /// How.
        what: String,
    },
}

impl Disconnect {
    /// Reads what QUIC says.
    ///
    /// `here` is what this side closed the connection with, if it did.
    pub(crate) fn read(error: ConnectionError, here: Option<&(CloseCode, String)>) -> Self {
        match error {
            ConnectionError::ConnectionClosed(close) => {
                let said = printable(&close.reason);
                if let Some(alert) = alert(close.error_code) {
                    return Self::RefusedByPeer(Refusal::read(alert, said));
                }
                match close.error_code {
                    TransportErrorCode::CONNECTION_REFUSED => Self::Full { reason: said },
                    // An application that closes so early is not heard in its own words.
                    TransportErrorCode::APPLICATION_ERROR => Self::Quic {
                        what: "the peer's program closed the connection in the handshake"
                            .to_owned(),
                    },
                    code => Self::Quic {
                        what: format!("the peer reports: {code}{}", with_reason(&said)),
                    },
                }
            }
            ConnectionError::ApplicationClosed(close) => Self::ByPeer {
                code: CloseCode::from_varint(close.error_code),
                reason: printable(&close.reason),
            },
            ConnectionError::LocallyClosed => match here {
                Some((code, reason)) => Self::Here {
                    code: *code,
                    reason: reason.clone(),
                },
                None => Self::Here {
                    code: CloseCode::ShuttingDown,
                    reason: String::new(),
                },
            },
            ConnectionError::TimedOut => Self::Silence,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::VersionMismatch => Self::Version,
            ConnectionError::TransportError(error) => Self::Quic {
                what: error.to_string(),
            },
            ConnectionError::CidsExhausted => Self::Quic {
                what: "no connection ids are left".to_owned(),
            },
        }
    }

    /// Returns whether connecting again, with nothing changed, may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RefusedByPeer(refusal) => refusal.check.may_pass_later(),
            Self::ByPeer { code, .. } | Self::Here { code, .. } => code.is_retryable(),
            // The peer or the way to it may come back.
            Self::Silence | Self::Restarted | Self::Full { .. } | Self::Quic { .. } => true,
            // Another program is needed.
            Self::Version => false,
        }
    }

    /// Returns whether the peer closed the connection because all was said.
    pub fn is_done(&self) -> bool {
        matches!(
            self,
            Self::ByPeer {
                code: CloseCode::Done,
                ..
            }
        )
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::RefusedByPeer(refusal) => refusal.check.remedy(),
            Self::ByPeer { code, .. } => code.remedy(),
            Self::Here { .. } => "nothing; this side wanted it so",
            Self::Silence => "check that the peer runs, and that UDP packets pass both ways",
            Self::Restarted => "connect again",
            Self::Full { .. } => "connect again later, or raise the peer's limit of connections",
            Self::Version | Self::Quic { .. } => {
                "check that the address is a Weir scheduler's and that nothing between rewrites UDP"
            }
        }
    }
}

impl Refusal {
    fn read(alert: u8, said: String) -> Self {
        Self {
            check: check_in_words(&said).unwrap_or_else(|| Check::of_alert(alert)),
            alert,
            said,
        }
    }
}

/// Returns the TLS alert in a QUIC error code: the codes 0x100 to 0x1ff are alerts.
pub(crate) fn alert(code: TransportErrorCode) -> Option<u8> {
    let number = u64::from(code);
    u8::try_from(number.checked_sub(0x100)?).ok()
}

/// Returns what of a peer's words can be printed.
pub(crate) fn printable(words: &[u8]) -> String {
    String::from_utf8_lossy(words)
        .chars()
        .take(WORDS_MAX)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

fn with_reason(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_told_from_other_codes() {
        assert_eq!(alert(TransportErrorCode::crypto(44)), Some(44));
        assert_eq!(alert(TransportErrorCode::crypto(255)), Some(255));
        assert_eq!(alert(TransportErrorCode::CONNECTION_REFUSED), None);
    }

    #[test]
    fn words_of_a_peer_cannot_forge_a_line_of_the_log() {
        let words = printable(b"fine\nERROR forged\x1b[31m\xff");
        assert_eq!(words, "fine ERROR forged [31m\u{fffd}");
        assert_eq!(printable(&[b'x'; 100_000]).len(), WORDS_MAX);
    }

    #[test]
    fn the_words_say_more_than_the_alert() {
        let refusal = Refusal::read(46, "invalid peer certificate: [trust_domain] x".to_owned());
        assert_eq!(refusal.check, Check::TrustDomain);
        assert_eq!(Refusal::read(44, String::new()).check, Check::Revocation);
        assert_eq!(Refusal::read(120, "no".to_owned()).check, Check::Protocol);
    }
}
