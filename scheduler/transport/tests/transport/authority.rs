//! The development authority.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, AuthorityError, CERTIFICATE_LIFETIME, IssueRequest, Overwrite,
    Revoke, Standing,
};
use weir_transport::{PeerKind, TrustDomain};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::world::{World, request};

fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn an_authority_is_made_once_and_opened_again() {
    let world = World::new();
    let directory = world.path("ca");
    let domain = TrustDomain::new("weir.test").unwrap();
    let error = Authority::create(&directory, &domain, AUTHORITY_LIFETIME, now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("ca.pem"), "{error}");

    let opened = Authority::open(&directory).unwrap();
    assert_eq!(*opened.trust_domain(), domain);
    assert_eq!(opened.not_after(), world.authority.not_after());
    // And what it issues is believed where the first is.
    let request = request(PeerKind::Agent, "n1", CERTIFICATE_LIFETIME);
    let (_, files) = opened
        .issue_files(&request, &world.path("certs"), Overwrite::Refuse, now())
        .unwrap();
    crate::world::load(&world.with(files.certificate, files.key));
}

#[test]
fn keys_are_for_their_owner_alone() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    for key in [world.key_path(), files.key] {
        let mode = fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", key.display());
    }
}

#[test]
fn a_key_is_in_no_debug_output() {
    let world = World::new();
    let issued = world
        .authority
        .issue(&request(PeerKind::Agent, "n1", CERTIFICATE_LIFETIME), now())
        .unwrap();
    let shown = format!("{issued:?} {:?}", world.authority);
    let secret: Vec<&str> = issued.key_pem.lines().skip(1).take(1).collect();
    assert!(!shown.contains(secret[0]), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn nothing_is_overwritten_unasked_nor_issued_in_vain() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let before = fs::read(&files.certificate).unwrap();
    let request = request(PeerKind::Agent, "n1", CERTIFICATE_LIFETIME);
    let error = world
        .authority
        .issue_files(&request, &world.path("certs"), Overwrite::Refuse, now())
        .unwrap_err();
    assert!(
        matches!(error, AuthorityError::WouldOverwrite { .. }),
        "{error}"
    );
    assert_eq!(fs::read(&files.certificate).unwrap(), before);
    assert_eq!(world.authority.list().unwrap().len(), 1);
    world.issue_again(PeerKind::Agent, "n1");
    assert_ne!(fs::read(&files.certificate).unwrap(), before);
    assert_eq!(world.authority.list().unwrap().len(), 2);
}

#[test]
fn names_are_for_those_who_are_connected_to_and_schedulers_have_some() {
    let world = World::new();
    let nameless = IssueRequest {
        host_names: Vec::new(),
        ..request(PeerKind::Scheduler, "main", CERTIFICATE_LIFETIME)
    };
    assert!(matches!(
        world.authority.issue(&nameless, now()),
        Err(AuthorityError::NoNames)
    ));
    for kind in [PeerKind::Framework, PeerKind::Operator, PeerKind::Scraper] {
        let named = IssueRequest {
            kind,
            ..request(PeerKind::Scheduler, "main", CERTIFICATE_LIFETIME)
        };
        let error = world.authority.issue(&named, now()).unwrap_err();
        let said = format!("`spiffe://weir.test/{kind}/main` is neither a scheduler nor an agent");
        assert!(error.to_string().contains(&said), "{error}");
    }
}

/// Returns what the certificate of an agent says of where it is.
fn served(world: &World, name: &str, host_names: &[&str]) -> Vec<String> {
    let wanted = IssueRequest {
        host_names: host_names
            .iter()
            .map(|name| name.parse().unwrap())
            .collect(),
        ..request(PeerKind::Agent, name, CERTIFICATE_LIFETIME)
    };
    let issued = world.authority.issue(&wanted, now()).unwrap();
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    let names = parsed.subject_alternative_name().unwrap().unwrap().value;
    let mut served = Vec::new();
    for name in &names.general_names {
        if let GeneralName::DNSName(name) = name {
            served.push((*name).to_owned());
        } else if let GeneralName::IPAddress(address) = name {
            served.push(format!("{address:?}"));
        }
    }
    served
}

#[test]
fn an_agent_is_scraped_by_its_name_and_by_what_else_it_is_called() {
    let world = World::new();
    assert_eq!(served(&world, "n1", &[]), ["n1"]);
    assert_eq!(
        served(&world, "n2", &["N2", "n2.example", "10.0.0.5"]),
        ["n2", "n2.example", "[10, 0, 0, 5]"]
    );
    // What cannot be a host's name is none.
    assert_eq!(served(&world, "n.3", &[]), Vec::<String>::new());
}

#[test]
fn lifetimes_are_bounded_by_the_authoritys_own() {
    let world = World::new();
    let long = request(PeerKind::Agent, "n1", AUTHORITY_LIFETIME * 2);
    let error = world.authority.issue(&long, now()).unwrap_err();
    assert!(
        matches!(error, AuthorityError::OutlivesAuthority { .. }),
        "{error}"
    );
    let short = request(PeerKind::Agent, "n1", Duration::from_millis(1));
    assert!(matches!(
        world.authority.issue(&short, now()),
        Err(AuthorityError::TooShort { .. })
    ));
    let domain = TrustDomain::new("weir.test").unwrap();
    let error = Authority::create(&world.path("forever"), &domain, Duration::MAX, now());
    assert!(matches!(error, Err(AuthorityError::Calendar { .. })));
    assert!(!world.path("forever").exists(), "nothing was left behind");
}

#[test]
fn revocation_is_by_number_or_by_name_and_says_what_it_did() {
    let world = World::new();
    world.issue(PeerKind::Agent, "n1");
    world.issue_again(PeerKind::Agent, "n1");
    let other = world.issue_again(PeerKind::Agent, "n2");
    let identity = world.identity(PeerKind::Agent, "n1");
    let by_name = Revoke::Identity(identity);
    assert_eq!(world.authority.revoke(&by_name, now()).unwrap().len(), 2);
    assert!(matches!(
        world.authority.revoke(&by_name, now()),
        Err(AuthorityError::AlreadyRevoked { .. })
    ));
    let by_number = Revoke::Serial(other.serial);
    assert_eq!(world.authority.revoke(&by_number, now()).unwrap().len(), 1);
    assert!(matches!(
        world
            .authority
            .revoke(&Revoke::Serial("0123".parse().unwrap()), now()),
        Err(AuthorityError::UnknownSerial { .. })
    ));
    let nobody = Revoke::Identity(world.identity(PeerKind::Agent, "n3"));
    assert!(matches!(
        world.authority.revoke(&nobody, now()),
        Err(AuthorityError::UnknownIdentity { .. })
    ));
    let revoked = world
        .authority
        .list()
        .unwrap()
        .into_iter()
        .filter(|entry| matches!(entry.standing, Standing::Revoked { .. }))
        .count();
    assert_eq!(revoked, 3);
}

#[test]
fn many_at_once_lose_no_line_of_the_index() {
    let world = World::new();
    let authority = Arc::new(Authority::open(&world.path("ca")).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let authority = Arc::clone(&authority);
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("n{thread}-{number}");
                    authority
                        .issue(
                            &request(PeerKind::Agent, &name, CERTIFICATE_LIFETIME),
                            now(),
                        )
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(authority.list().unwrap().len(), 20);
}

#[test]
fn what_is_no_authority_is_named() {
    let world = World::new();
    let error = Authority::open(&world.path("nowhere")).unwrap_err();
    assert!(error.to_string().contains("`weir certs init`"), "{error}");
    // Another authority's key.
    let other = World::new();
    fs::copy(other.key_path(), world.key_path()).unwrap();
    let error = Authority::open(&world.path("ca")).unwrap_err();
    assert!(error.to_string().contains("is not the key of"), "{error}");
    // A line that somebody edited.
    fs::write(other.path("ca/index"), "not a line\n").unwrap();
    let error = other.authority.list().unwrap_err();
    assert!(error.to_string().contains("line 1 of"), "{error}");
}
