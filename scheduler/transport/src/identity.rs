//! Who a peer is: `spiffe://<trust-domain>/<kind>/<name>`.
//!
//! An identity is the one URI among the names of a certificate. It says of which cluster the peer is
//! (the trust domain), what it may be (the kind) and what it is called (the name). Parsing is strict:
//! what is not exactly an identity of this form is refused with the place where it goes wrong, for
//! an identity that two programs read differently is two identities.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::str::FromStr;

use weir_protocol::{IdError, check_name};

/// The scheme every identity starts with.
const SCHEME: &str = "spiffe://";

/// The longest trust domain, in bytes: SPIFFE's own bound.
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// One part more than an identity has: enough to see that there are too many.
const MORE_PARTS: usize = 4;

/// The cluster a peer belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Box<str>);

/// What a peer is called within its kind: an agent's name, or a principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerName(Box<str>);

/// What a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerKind {
    /// Lends a node's resources.
    Agent,
    /// Takes offers and runs tasks.
    Framework,
    /// A person, or a program that acts for one.
    Operator,
    /// The only kind that all others connect to.
    Scheduler,
    /// Monitoring: it reads what is measured, and has no say in anything.
    Scraper,
}

/// Who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    trust_domain: TrustDomain,
    kind: PeerKind,
    name: PeerName,
}

/// Says why a text is no identity, or no part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It has another scheme, or none.
    #[error("`{uri}` does not start with {SCHEME}")]
    Scheme {
        /// The text.
        uri: String,
    },
    /// There are not exactly two segments after the trust domain.
    #[error(
        "`{uri}` has {found} path segments, and an identity has two: {SCHEME}<trust-domain>/<kind>/<name>"
    )]
    Segments {
        /// The text.
        uri: String,
        /// How many there are.
        found: usize,
    },
    /// The kind is none that Weir knows.
    #[error(
        "`{kind}` is not a kind of peer; the kinds are agent, framework, operator, scheduler and scraper"
    )]
    Kind {
        /// What stands in its place.
        kind: String,
    },
    /// A part is empty.
    #[error("the {part} is empty")]
    Empty {
        /// Which part.
        part: &'static str,
    },
    /// A part is too long.
    #[error("the {part} has {bytes} bytes, and at most {bytes_max} are allowed")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its length.
        bytes: usize,
        /// Its bound.
        bytes_max: usize,
    },
    /// A part holds a character that it may not.
    #[error("the {part} `{text}` has {character:?} at byte {position}; allowed are {allowed}")]
    Character {
        /// Which part.
        part: &'static str,
        /// The part.
        text: String,
        /// The first wrong character.
        character: char,
        /// Where it is, in bytes from the start of the part.
        position: usize,
        /// What is allowed instead.
        allowed: &'static str,
    },
    /// The name is none that a peer can have.
    #[error(transparent)]
    Name(#[from] IdError),
    /// A part is a path's way to say here or above.
    #[error("the {part} `{text}` means a place in a path, and no name")]
    Dots {
        /// Which part.
        part: &'static str,
        /// The part.
        text: String,
    },
}

// === impl TrustDomain ===

impl TrustDomain {
    /// Reads a trust domain: lower-case letters, digits, `.`, `-` and `_`.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        check_part(
            "trust domain",
            text,
            TRUST_DOMAIN_BYTES_MAX,
            "a-z, 0-9, `.`, `-` and `_`",
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte),
        )?;
        Ok(Self(text.into()))
    }

    /// Returns the trust domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

// === impl PeerName ===

impl PeerName {
    /// Reads a name: one that [the protocol](check_name) has for a peer.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        check_name("the name of a peer", text)?;
        Ok(Self(text.into()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for PeerName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

// === impl PeerKind ===

impl PeerKind {
    /// Every kind, in the order of the alphabet.
    pub const ALL: [Self; 5] = [
        Self::Agent,
        Self::Framework,
        Self::Operator,
        Self::Scheduler,
        Self::Scraper,
    ];

    /// Returns the word that stands in an identity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Framework => "framework",
            Self::Operator => "operator",
            Self::Scheduler => "scheduler",
            Self::Scraper => "scraper",
        }
    }
}

impl fmt::Display for PeerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for PeerKind {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| IdentityError::Kind {
                kind: shorten(text),
            })
    }
}

// === impl Identity ===

impl Identity {
    /// Puts an identity together.
    pub fn new(trust_domain: TrustDomain, kind: PeerKind, name: PeerName) -> Self {
        Self {
            trust_domain,
            kind,
            name,
        }
    }

    /// Returns the cluster.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Returns what the peer may be.
    pub fn kind(&self) -> PeerKind {
        self.kind
    }

    /// Returns what the peer is called.
    pub fn name(&self) -> &PeerName {
        &self.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trust_domain,
            kind,
            name,
        } = self;
        write!(formatter, "{SCHEME}{trust_domain}/{kind}/{name}")
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let rest = uri
            .strip_prefix(SCHEME)
            .ok_or_else(|| IdentityError::Scheme { uri: shorten(uri) })?;
        let parts: Vec<&str> = rest.splitn(MORE_PARTS, '/').collect();
        let [domain, kind, name] = parts[..] else {
            return Err(IdentityError::Segments {
                uri: shorten(uri),
                found: rest.split('/').count() - 1,
            });
        };
        Ok(Self::new(
            TrustDomain::new(domain)?,
            kind.parse()?,
            PeerName::new(name)?,
        ))
    }
}

fn check_part(
    part: &'static str,
    text: &str,
    bytes_max: usize,
    allowed: &'static str,
    is_allowed: impl Fn(u8) -> bool,
) -> Result<(), IdentityError> {
    if text.is_empty() {
        return Err(IdentityError::Empty { part });
    }
    if text.len() > bytes_max {
        return Err(IdentityError::TooLong {
            part,
            bytes: text.len(),
            bytes_max,
        });
    }
    if let Some((position, character)) = text
        .char_indices()
        .find(|(_, character)| !u8::try_from(*character).is_ok_and(&is_allowed))
    {
        return Err(IdentityError::Character {
            part,
            text: text.to_owned(),
            character,
            position,
            allowed,
        });
    }
    if text == "." || text == ".." {
        return Err(IdentityError::Dots {
            part,
            text: text.to_owned(),
        });
    }
    Ok(())
}

/// Returns what of a foreign text fits in a message.
fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 300;
    if text.len() <= SHOWN_MAX {
        return text.to_owned();
    }
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    format!("{shown}… ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_protocol::AgentName;
    use weir_protocol::bounds::ID_BYTES_MAX;

    use super::*;

    fn parse(uri: &str) -> Result<Identity, IdentityError> {
        uri.parse()
    }

    #[test]
    fn every_kind_reads_back() {
        for kind in PeerKind::ALL {
            let uri = format!("spiffe://weir.test/{kind}/n1");
            let identity = parse(&uri).unwrap();
            assert_eq!(identity.kind(), kind);
            assert_eq!(identity.name().as_str(), "n1");
            assert_eq!(identity.trust_domain().as_str(), "weir.test");
            assert_eq!(identity.to_string(), uri);
        }
    }

    #[test]
    fn what_is_not_exactly_an_identity_is_refused_with_its_reason() {
        let cases = [
            (
                "https://weir.test/agent/n1",
                "does not start with spiffe://",
            ),
            (
                "SPIFFE://weir.test/agent/n1",
                "does not start with spiffe://",
            ),
            ("spiffe://weir.test", "has 0 path segments"),
            ("spiffe://weir.test/agent", "has 1 path segments"),
            ("spiffe://weir.test/agent/n1/", "has 3 path segments"),
            ("spiffe://weir.test/agent/n1/x", "has 3 path segments"),
            (
                "spiffe://weir.test/Agent/n1",
                "`Agent` is not a kind of peer",
            ),
            ("spiffe://weir.test//n1", "`` is not a kind of peer"),
            ("spiffe:///agent/n1", "the trust domain is empty"),
            (
                "spiffe://weir.test/agent/",
                "the name of a peer cannot be empty",
            ),
            ("spiffe://Weir.test/agent/n1", "has 'W' at byte 0"),
            ("spiffe://weir.test:443/agent/n1", "has ':' at byte 9"),
            ("spiffe://user@weir.test/agent/n1", "has '@' at byte 4"),
            ("spiffe://weir.test/agent/n%31", "because of '%'"),
            ("spiffe://weir.test/agent/n1?x", "because of '?'"),
            ("spiffe://weir.test/agent/n1#x", "because of '#'"),
            ("spiffe://weir.test/agent/ñ", "because of 'ñ'"),
            ("spiffe://weir.test/agent/..", "because of '.'"),
            ("spiffe://weir.test/agent/-n1", "because of '-'"),
            ("spiffe://weir.test/agent/_n1", "because of '_'"),
            ("spiffe://./agent/n1", "means a place in a path"),
        ];
        for (uri, expected) in cases {
            let error = parse(uri).unwrap_err().to_string();
            assert!(error.contains(expected), "{uri}: {error}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let longest = "n".repeat(ID_BYTES_MAX);
        assert!(PeerName::new(&longest).is_ok());
        assert!(matches!(
            PeerName::new(&format!("{longest}n")),
            Err(IdentityError::Name(IdError::TooLong {
                length: 129,
                max: 128,
                ..
            }))
        ));
        let domain = "d".repeat(TRUST_DOMAIN_BYTES_MAX);
        assert!(TrustDomain::new(&domain).is_ok());
        assert!(TrustDomain::new(&format!("{domain}d")).is_err());
    }

    #[test]
    fn a_long_foreign_text_is_not_repeated_whole() {
        let error = parse(&"x".repeat(100_000)).unwrap_err().to_string();
        assert!(error.len() < 500, "{}", error.len());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            domain in "[a-z0-9_-][a-z0-9._-]{0,60}",
            kind in prop::sample::select(&PeerKind::ALL[..]),
            name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,60}",
        ) {
            let identity = Identity::new(
                TrustDomain::new(&domain).unwrap(),
                kind,
                PeerName::new(&name).unwrap(),
            );
            prop_assert_eq!(parse(&identity.to_string()).unwrap(), identity);
        }

        #[test]
        fn what_a_certificate_may_call_a_peer_is_what_an_agent_may_be_called(
            name in prop_oneof!["[-_.a-z0-9A-Z]{0,4}", ".{0,6}", "[a-z.]{126,130}"],
        ) {
            prop_assert_eq!(PeerName::new(&name).is_ok(), AgentName::new(&name).is_ok());
        }

        #[test]
        fn whatever_is_accepted_is_written_the_same_way(text in "spiffe://.{0,40}") {
            if let Ok(identity) = parse(&text) {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
