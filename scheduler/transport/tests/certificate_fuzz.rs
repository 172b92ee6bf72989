//! Any bytes are either a certificate with an identity or an error; never a panic, never an
//! identity that does not read back.
//!
//! `cargo test` runs it for a second; `agent/docs/fuzzing.md` says how to run it for as long as one
//! likes.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_LIFETIME, IssueRequest,
};
use weir_transport::certificate::Certificate;
use weir_transport::{Identity, PeerKind, TrustDomain};

#[test]
fn any_bytes_are_a_certificate_with_an_identity_or_an_error() {
    let honest = honest();
    let read = Certificate::read(&CertificateDer::from(honest.clone())).unwrap();
    assert_eq!(read.identity.to_string(), "spiffe://weir.test/agent/n1");

    bolero::check!().for_each(|bytes: &[u8]| {
        check(bytes.to_vec());
        // Random bytes are rarely a certificate: an honest one with some of its bytes changed.
        let mut changed = honest.clone();
        for change in bytes.chunks_exact(3).take(8) {
            let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % changed.len();
            changed[at] = change[2];
        }
        check(changed);
        // And one that is cut.
        let cut = bytes
            .first()
            .map_or(0, |first| usize::from(*first) * honest.len() / 255);
        check(honest[..cut].to_vec());
    });
}

fn check(der: Vec<u8>) {
    match Certificate::read(&CertificateDer::from(der)) {
        Ok(read) => {
            let text = read.identity.to_string();
            assert_eq!(text.parse::<Identity>().as_ref(), Ok(&read.identity));
            let serial = read.serial.to_string();
            assert_eq!(serial.parse().as_ref(), Ok(&read.serial));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn honest() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let domain = TrustDomain::new("weir.test").unwrap();
    let request = IssueRequest {
        kind: PeerKind::Agent,
        name: "n1".parse().unwrap(),
        host_names: Vec::new(),
        lifetime: CERTIFICATE_LIFETIME,
    };
    let issued = Authority::create(directory.path(), &domain, AUTHORITY_LIFETIME, now)
        .and_then(|authority| authority.issue(&request, now))
        .unwrap();
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes())
        .unwrap()
        .to_vec()
}
