//! What Weir reads in a certificate: whose it is, its serial number, how long it lasts.
//!
//! Pure. Nothing here says that a certificate can be trusted: that is what [`crate::verify`] is for.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::identity::{Identity, IdentityError};
use crate::moment::Moment;

/// The longest serial number, in bytes: RFC 5280's bound.
const SERIAL_BYTES_MAX: usize = 20;

/// The most names of a certificate that a message repeats.
const NAMES_SHOWN_MAX: usize = 4;

/// The number an authority gave to a certificate, written in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Box<[u8]>);

/// What a certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub identity: Identity,
    /// Its number.
    pub serial: Serial,
    /// When it begins.
    pub not_before: Moment,
    /// When it ends.
    pub not_after: Moment,
}

/// Says why a certificate cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("it is not an X.509 certificate: {what}")]
    NotX509 {
        /// What was found.
        what: String,
    },
    /// Its names cannot be read.
    #[error("its alternative names cannot be read: {what}")]
    Names {
        /// What was found.
        what: String,
    },
    /// There is not exactly one URI among its names.
    #[error(
        "it carries {found} URI names ({shown}), and an identity is the only URI of a certificate"
    )]
    Uris {
        /// How many there are.
        found: usize,
        /// The first of them, or that there are none.
        shown: String,
    },
    /// Its URI is no identity.
    #[error("its URI name is no identity")]
    Identity(#[source] IdentityError),
    /// Its number is empty or too long.
    #[error("its serial number has {bytes} bytes, and 1 to {SERIAL_BYTES_MAX} are allowed")]
    Serial {
        /// How many it has.
        bytes: usize,
    },
}

/// Says why a text is no serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a serial number: it is written in hexadecimal, two digits for each of 1 to {SERIAL_BYTES_MAX} bytes"
)]
pub struct SerialError {
    text: String,
}

// === impl Certificate ===

impl Certificate {
    /// Reads a certificate in DER.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = parse(der)?;
        Ok(Self {
            identity: identity(&parsed)?,
            serial: serial(&parsed)?,
            not_before: Moment::from_asn1(parsed.validity().not_before),
            not_after: Moment::from_asn1(parsed.validity().not_after),
        })
    }
}

/// Reads the number of a certificate, whether or not it carries an identity.
pub(crate) fn read_serial(der: &CertificateDer<'_>) -> Result<Serial, CertificateError> {
    serial(&parse(der)?)
}

/// Returns whether a certificate bears a DNS name or an address.
pub(crate) fn has_host_names(der: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = parse(der) else {
        return false;
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return false;
    };
    names
        .value
        .general_names
        .iter()
        .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
}

/// Returns whether a certificate may be shown by a server.
pub(crate) fn is_for_servers(der: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = parse(der) else {
        return false;
    };
    match parsed.extended_key_usage() {
        Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
        // Without the extension it is for everything.
        Ok(None) => true,
        Err(_unreadable) => false,
    }
}

/// Parses a certificate, and nothing after it.
pub(crate) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateError> {
    let (rest, parsed) =
        X509Certificate::from_der(der).map_err(|error| CertificateError::NotX509 {
            what: error.to_string(),
        })?;
    if !rest.is_empty() {
        return Err(CertificateError::NotX509 {
            what: format!("{} bytes follow it", rest.len()),
        });
    }
    Ok(parsed)
}

fn serial(parsed: &X509Certificate<'_>) -> Result<Serial, CertificateError> {
    Serial::from_bytes(parsed.raw_serial()).ok_or_else(|| CertificateError::Serial {
        bytes: parsed.raw_serial().len(),
    })
}

fn identity(parsed: &X509Certificate<'_>) -> Result<Identity, CertificateError> {
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| CertificateError::Names {
            what: error.to_string(),
        })?;
    let names = names.map_or(&[][..], |names| &names.value.general_names[..]);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::DNSName(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => None,
        })
        .collect();
    match uris[..] {
        [uri] => uri.parse().map_err(CertificateError::Identity),
        [] => Err(CertificateError::Uris {
            found: 0,
            shown: "none".to_owned(),
        }),
        [..] => Err(CertificateError::Uris {
            found: uris.len(),
            shown: uris
                .iter()
                .take(NAMES_SHOWN_MAX)
                .map(|uri| uri.chars().take(80).collect::<String>())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

// === impl Serial ===

impl Serial {
    /// Takes the bytes of a number as they stand in a certificate.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // A leading zero only says that the number is positive: lists may or may not repeat it.
        let start = bytes.iter().position(|byte| *byte != 0);
        let bytes = match start {
            Some(start) => &bytes[start..],
            None => bytes.get(..1)?,
        };
        (bytes.len() <= SERIAL_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// Returns the bytes, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || SerialError {
            text: text.chars().take(80).collect(),
        };
        if !text.len().is_multiple_of(2)
            || text.len() > 2 * SERIAL_BYTES_MAX
            || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(error());
        }
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
            .collect();
        bytes
            .and_then(|bytes| Self::from_bytes(&bytes))
            .ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_reads_back() {
        let serial = Serial::from_bytes(&[0x00, 0x0a, 0xff]).unwrap();
        assert_eq!(serial.to_string(), "0aff");
        assert_eq!("0aff".parse::<Serial>().unwrap(), serial);
        assert_eq!("000AFF".parse::<Serial>().unwrap(), serial);
        assert_eq!(Serial::from_bytes(&[0, 0]).unwrap().to_string(), "00");
    }

    #[test]
    fn what_is_no_serial_number_is_refused() {
        for text in ["", "a", "0g", "é1", &"ab".repeat(21)] {
            assert!(text.parse::<Serial>().is_err(), "{text}");
        }
        assert_eq!(Serial::from_bytes(&[]), None);
        assert_eq!(Serial::from_bytes(&[1; 21]), None);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let error = Certificate::read(&CertificateDer::from(vec![0x30, 0x00])).unwrap_err();
        assert!(matches!(error, CertificateError::NotX509 { .. }), "{error}");
    }
}
