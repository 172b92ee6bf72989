//! The certificates of a cluster, and what runs with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use prost::Message as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_LIFETIME, IssueRequest, Overwrite, Revoke,
};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::{Credentials, Identity, PeerKind, TrustDomain};

use crate::node::Node;
use crate::scheduler::Scheduler;
use crate::{agent, make};

/// What the agent has.
const RESOURCES: &str = "cpus:4;mem:1024;disk:10240;ports:[31000-31099]";

/// Its blocks of ephemeral ports.
const PORT_BLOCKS: u32 = 24;

/// An authority, another that nobody should believe, and the folder with everything.
pub(crate) struct World {
    directory: TempDir,
    authority: Authority,
    other: Authority,
    runtime: Runtime,
    python: PathBuf,
}

impl World {
    /// Returns a world, or `None` where there is no Python environment to test with.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let python = target().join("python/bin/python");
        // Written when all of it is there.
        if !target().join("python/installed.txt").exists() {
            eprintln!(
                "weir-skip: {test}: {} is not there; `cargo xtask setup` makes it",
                python.display()
            );
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let create = |name: &str| {
            Authority::create(
                &directory.path().join(name),
                &TrustDomain::new("weir.test").unwrap(),
                AUTHORITY_LIFETIME,
                SystemTime::now(),
            )
            .unwrap()
        };
        let (authority, other) = (create("authority"), create("other"));
        let world = Self {
            authority,
            other,
            runtime: Runtime::new().unwrap(),
            python,
            directory,
        };
        fs::create_dir(world.certs()).unwrap();
        for (from, to) in [(&world.authority, "ca.pem"), (&world.other, "other-ca.pem")] {
            fs::copy(from.certificate_path(), world.certs().join(to)).unwrap();
        }
        Some(world)
    }

    fn certs(&self) -> PathBuf {
        self.directory.path().join("certs")
    }

    /// Issues a certificate that is believed.
    pub(crate) fn issue(&self, kind: PeerKind, name: &str) -> CredentialFiles {
        self.issue_by(&self.authority, kind, name)
    }

    /// Issues a certificate of the same trust domain, by an authority that is not believed.
    pub(crate) fn forge(&self, kind: PeerKind, name: &str) -> CredentialFiles {
        self.issue_by(&self.other, kind, name)
    }

    fn issue_by(&self, authority: &Authority, kind: PeerKind, name: &str) -> CredentialFiles {
        let host_names = match kind {
            PeerKind::Scheduler => vec!["127.0.0.1".parse().unwrap()],
            PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
                Vec::new()
            }
        };
        let request = IssueRequest {
            kind,
            name: name.parse().unwrap(),
            host_names,
            lifetime: CERTIFICATE_LIFETIME,
        };
        let (_, files) = authority
            .issue_files(
                &request,
                &self.certs(),
                Overwrite::Refuse,
                SystemTime::now(),
            )
            .unwrap();
        CredentialFiles {
            certificate: files.certificate,
            key: files.key,
            authorities: self.authority.certificate_path(),
            revocations: Some(self.authority.revocations_path()),
        }
    }

    pub(crate) fn revoke(&self, kind: PeerKind, name: &str) {
        let domain = self.authority.trust_domain().clone();
        let identity = Identity::new(domain, kind, name.parse().unwrap());
        self.authority
            .revoke(&Revoke::Identity(identity), SystemTime::now())
            .unwrap();
    }

    pub(crate) fn start_scheduler(&self) -> Scheduler {
        let files = self.issue(PeerKind::Scheduler, "main");
        Scheduler::start(self.directory.path(), &files)
    }

    /// Starts an agent, which lives as long as the world does.
    pub(crate) fn start_agent(&self, scheduler: &Scheduler, name: &str) {
        let files = self.issue(PeerKind::Agent, name);
        let loaded = Credentials::load(&files, &[PeerKind::Agent], SystemTime::now()).unwrap();
        let address = format!("127.0.0.1:{}", scheduler.port()).parse().unwrap();
        let node = Node::new(name, &make::resources(RESOURCES), 1).with_blocks(PORT_BLOCKS);
        self.runtime
            .spawn(agent::run(node, address, CredentialState::fixed(loaded)));
    }

    /// Has Python play a scenario; what it expected and did not find is what fails.
    pub(crate) fn play(&self, scenario: &str, scheduler: &Scheduler) {
        let schema = self.directory.path().join("weir.binpb");
        fs::write(&schema, descriptors()).unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
        let output = Command::new(&self.python)
            // Without compiled files in the source folder.
            .arg("-B")
            .arg(sources.join("scenario.py"))
            .arg(scenario)
            .arg("--schema")
            .arg(&schema)
            .arg("--port")
            .arg(scheduler.port().to_string())
            .arg("--certs")
            .arg(self.certs())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{scenario} failed: {wrong}\nIt said:\n{said}\nThe scheduler said:\n{}",
            scheduler.log()
        );
    }
}

/// Returns the schema as protoc would give it, so that nobody has to install protoc.
fn descriptors() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol/proto");
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("weir/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    protox::compile(files, [root]).unwrap().encode_to_vec()
}

/// Returns where cargo builds to: below it `cargo xtask setup` makes the environment.
fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root.join(directory),
        None => root.join("target"),
    }
}
