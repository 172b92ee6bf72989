//! Certificates that no honest request gives: signed by the real authority, and wrong in one way.

use std::fs;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use weir_transport::Moment;
use weir_transport::credentials::CredentialFiles;

use crate::world::World;

/// A certificate to be signed.
pub(crate) struct Forged {
    pub(crate) uris: Vec<&'static str>,
    pub(crate) hosts: Vec<&'static str>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
}

impl Forged {
    /// A certificate for both sides of a connection.
    pub(crate) fn of(uris: &[&'static str]) -> Self {
        Self {
            uris: uris.to_vec(),
            hosts: vec!["127.0.0.1"],
            usages: vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
        }
    }

    pub(crate) fn sign(self, world: &World, name: &str) -> CredentialFiles {
        let key = KeyPair::from_pem(&fs::read_to_string(world.key_path()).unwrap()).unwrap();
        let bundle = fs::read_to_string(world.authority.certificate_path()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&bundle, key).unwrap();
        let hosts: Vec<String> = self.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        for uri in self.uris {
            params
                .subject_alt_names
                .push(SanType::URI(uri.try_into().unwrap()));
        }
        params.extended_key_usages = self.usages;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let (certificate_path, key_path) = (
            world.path(&format!("{name}.pem")),
            world.path(&format!("{name}-key.pem")),
        );
        fs::write(&certificate_path, certificate.pem()).unwrap();
        fs::write(&key_path, key.serialize_pem()).unwrap();
        world.with(certificate_path, key_path)
    }
}

/// Returns a time `before` now.
pub(crate) fn ago(before: Duration) -> SystemTime {
    SystemTime::now() - before
}

/// Returns a time `after` now.
pub(crate) fn ahead(after: Duration) -> SystemTime {
    SystemTime::now() + after
}

/// Returns the second that a time is in, as messages write it.
pub(crate) fn moment(time: SystemTime) -> String {
    Moment::from_system(time).to_string()
}
