//! Which files are credentials, and what is said of those that are not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use weir_transport::credentials::{CredentialError, CredentialFiles, CredentialWarning};
use weir_transport::{Credentials, PeerKind};

use crate::forge::{Forged, ahead};
use crate::world::{World, write_bundle};

fn load(files: &CredentialFiles) -> Result<Credentials, CredentialError> {
    Credentials::load(files, &[PeerKind::Agent], SystemTime::now())
}

fn refused(files: &CredentialFiles) -> CredentialError {
    let error = load(files).unwrap_err();
    assert!(!error.remedy().is_empty());
    error
}

#[test]
fn what_fits_is_loaded() {
    let world = World::new();
    let credentials = load(&world.issue(PeerKind::Agent, "n1")).unwrap();
    assert_eq!(
        *credentials.identity(),
        world.identity(PeerKind::Agent, "n1")
    );
    assert_eq!(credentials.warnings(), []);
    assert_eq!(
        credentials.revocations_next_update(),
        Some(world.authority.not_after())
    );
}

#[test]
fn files_that_are_not_there_or_not_files_are_named() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let missing = world.path("missing.pem");
    for files in [
        CredentialFiles {
            certificate: missing.clone(),
            ..files.clone()
        },
        CredentialFiles {
            key: missing.clone(),
            ..files.clone()
        },
        CredentialFiles {
            authorities: missing.clone(),
            ..files.clone()
        },
        CredentialFiles {
            revocations: Some(missing),
            ..files.clone()
        },
    ] {
        let error = refused(&files);
        assert!(matches!(error, CredentialError::Read { .. }), "{error}");
        assert!(error.to_string().contains("missing.pem"), "{error}");
    }
    let files = CredentialFiles {
        key: world.path(""),
        ..files
    };
    assert!(matches!(refused(&files), CredentialError::NotAFile { .. }));
}

#[test]
fn files_of_the_wrong_kind_are_told_apart() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let swapped = CredentialFiles {
        certificate: files.key.clone(),
        key: files.certificate.clone(),
        ..files.clone()
    };
    assert!(matches!(
        refused(&swapped),
        CredentialError::Count { found: 0, .. }
    ));
    let swapped = CredentialFiles {
        key: files.certificate.clone(),
        ..files.clone()
    };
    assert!(matches!(refused(&swapped), CredentialError::Pem { .. }));
    let swapped = CredentialFiles {
        authorities: files.certificate.clone(),
        ..files.clone()
    };
    let error = refused(&swapped);
    assert!(
        matches!(error, CredentialError::NotAnAuthority { nth: 1, .. }),
        "{error}"
    );
    let swapped = CredentialFiles {
        revocations: Some(files.authorities.clone()),
        ..files
    };
    assert!(matches!(
        refused(&swapped),
        CredentialError::Count { found: 0, .. }
    ));
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let world = World::new();
    let mut files = world.issue(PeerKind::Agent, "n1");
    files.authorities = world.path("large.pem");
    fs::File::create(&files.authorities)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let error = refused(&files);
    assert!(matches!(error, CredentialError::TooLarge { .. }), "{error}");
}

#[test]
fn the_kind_must_be_one_that_the_program_may_be() {
    let world = World::new();
    let error = refused(&world.issue(PeerKind::Operator, "o"));
    assert_eq!(
        error.to_string(),
        format!(
            "the certificate {} is of `spiffe://weir.test/operator/o`, and this program needs one of kind agent",
            world.path("certs/operator-o.pem").display()
        )
    );
}

#[test]
fn a_scheduler_without_a_name_to_connect_to_is_refused() {
    let world = World::new();
    let forged = Forged {
        hosts: Vec::new(),
        ..Forged::of(&["spiffe://weir.test/scheduler/main"])
    };
    let files = forged.sign(&world, "nameless");
    let error = Credentials::load(&files, &[PeerKind::Scheduler], SystemTime::now()).unwrap_err();
    assert!(
        matches!(error, CredentialError::NoHostNames { .. }),
        "{error}"
    );
}

#[test]
fn a_list_that_is_stale_or_not_signed_by_its_issuer_is_refused() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let after_all = ahead(Duration::from_secs(3600 * 24 * 366 * 6));
    let error = Credentials::load(&files, &[PeerKind::Agent], after_all).unwrap_err();
    // All of it has expired by then; the certificate and the bundle are looked at first.
    assert!(
        matches!(
            error,
            CredentialError::NoAuthority { .. } | CredentialError::ListStale { .. }
        ),
        "{error}"
    );

    let path = world.authority.revocations_path();
    let mut list = fs::read_to_string(&path).unwrap();
    // The last character of the signature's base64, before its padding or the line's end.
    let at = list.rfind("\n-----END").unwrap();
    let at = list[..at].trim_end_matches(['=', '\r', '\n']).len() - 4;
    let other = if list.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    list.replace_range(at..=at, other);
    fs::write(&path, list).unwrap();
    let error = refused(&files);
    assert!(
        matches!(error, CredentialError::ListSignature { .. }),
        "{error}"
    );
}

#[test]
fn two_lists_of_one_issuer_are_refused() {
    let world = World::new();
    let files = world.issue(PeerKind::Agent, "n1");
    let path = world.authority.revocations_path();
    let list = fs::read_to_string(&path).unwrap();
    fs::write(&path, list.repeat(2)).unwrap();
    assert!(matches!(refused(&files), CredentialError::TwoLists { .. }));
}

#[test]
fn what_a_person_should_know_is_a_warning() {
    let world = World::new();
    let other = World::new();
    let mut files = world.issue(PeerKind::Agent, "n1");
    write_bundle(&world.bundle(), &[&world, &other]);
    world.revoke(PeerKind::Agent, "n1");
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let credentials = load(&files).unwrap();
    let warnings = credentials.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(matches!(
        warnings[0],
        CredentialWarning::KeyOpen { mode: 0o644, .. }
    ));
    assert!(matches!(
        warnings[1],
        CredentialWarning::AuthorityWithoutList { .. }
    ));
    assert!(matches!(warnings[2], CredentialWarning::OwnRevoked { .. }));

    // A list of nobody in the bundle protects from nobody.
    files.revocations = Some(World::new().authority.revocations_path());
    // (That world is gone with its directory; the list must be there.)
    let stranger = World::new();
    files.revocations = Some(stranger.authority.revocations_path());
    let credentials = load(&files).unwrap();
    assert!(
        credentials
            .warnings()
            .iter()
            .any(|warning| matches!(warning, CredentialWarning::ListOfStranger { .. })),
        "{:?}",
        credentials.warnings()
    );
}
