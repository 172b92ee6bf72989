//! Where the scheduler is, and as whom it is spoken to.
//!
//! Each setting is taken from the options, else from the environment, else from a file. A certificate
//! and its key come from one place together: the key of one place never meets the certificate of
//! another.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use weir_client::OperatorClient;
use weir_protocol::Line;
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::{Address, CredentialWatch, Credentials, PeerKind};

use super::args::ConnectionArguments;
use super::exit::{Exit, Failure};
use super::output::say;

/// The port of a scheduler that is configured to no other.
pub(crate) const DEFAULT_PORT: u16 = 5151;

/// The largest file that is read: a page is plenty, so more is a wrong path.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file for everybody on this host.
const SYSTEM_FILE: &str = "/etc/weir/weir.toml";

/// What is in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileSettings {
    /// Where the scheduler is.
    scheduler: Option<String>,
    /// The authorities to believe.
    ca: Option<PathBuf>,
    /// What they have revoked.
    crl: Option<PathBuf>,
    /// Who every command but `run` is.
    operator: Option<Pair>,
    /// Who `run` is.
    framework: Option<Pair>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

/// What a command is to a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Lists and changes.
    Operator,
    /// Runs a task.
    Framework,
}

impl Part {
    const fn kind(self) -> PeerKind {
        match self {
            Self::Operator => PeerKind::Operator,
            Self::Framework => PeerKind::Framework,
        }
    }

    const fn variables(self) -> [&'static str; 2] {
        match self {
            Self::Operator => ["WEIR_CERT", "WEIR_KEY"],
            Self::Framework => ["WEIR_FRAMEWORK_CERT", "WEIR_FRAMEWORK_KEY"],
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Operator => "[operator]",
            Self::Framework => "[framework]",
        }
    }
}

/// All that is needed to connect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) scheduler: Address,
    pub(crate) files: CredentialFiles,
}

/// A scheduler, and credentials for it.
pub(crate) struct Connection {
    pub(crate) scheduler: Address,
    pub(crate) credentials: CredentialWatch,
}

impl Connection {
    /// Finds out where and as whom, and loads the credentials.
    pub(crate) fn find(arguments: &ConnectionArguments, part: Part) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let file = FileSettings::find(arguments.config.as_deref(), environment)?;
        let settings = resolve(arguments, environment, file, part)?;
        let Settings { scheduler, files } = settings;
        let credentials = Credentials::load(&files, &[part.kind()], SystemTime::now())?;
        for warning in credentials.warnings() {
            say(&format!("weir: {warning}"));
        }
        Ok(Self {
            scheduler,
            credentials: CredentialState::fixed(credentials),
        })
    }

    pub(crate) fn operator(self) -> OperatorClient {
        OperatorClient::new(self.scheduler, self.credentials, software())
    }
}

/// What the scheduler's log calls this command.
pub(crate) fn software() -> Line {
    Line::new(concat!("weir ", env!("CARGO_PKG_VERSION"))).expect("a version is a short word")
}

impl FileSettings {
    /// Reads the file that is named, or the first that is there.
    fn find(
        named: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let named = named
            .map(Path::to_owned)
            .or_else(|| environment("WEIR_CONFIG").map(PathBuf::from));
        if let Some(path) = named {
            return Self::read(&path)?.ok_or_else(|| {
                Failure::usage(
                    format!("there is no file {}", path.display()),
                    "check --config and WEIR_CONFIG",
                )
            });
        }
        let home = environment("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".config")));
        let candidates = home
            .map(|home| home.join("weir/weir.toml"))
            .into_iter()
            .chain([PathBuf::from(SYSTEM_FILE)]);
        for path in candidates {
            if let Some(settings) = Self::read(&path)? {
                return Ok(settings);
            }
        }
        Ok(Self::default())
    }

    /// Reads a file, if it is there.
    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let unreadable = |error: &io::Error| {
            Failure::usage(
                format!("cannot read {}: {error}", path.display()),
                "check who may read the file, or name another with --config",
            )
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(Failure::usage(
                    format!(
                        "{} has {} bytes; at most {FILE_BYTES_MAX} are read",
                        path.display(),
                        metadata.len()
                    ),
                    "name the right file with --config",
                ));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        Self::parse(&text, path).map(Some)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let mut settings: Self = toml::from_str(text).map_err(|error| {
            Failure::usage(
                format!("{} cannot be used: {error}", path.display()),
                "`weir --help` shows what can stand in it",
            )
        })?;
        // Relative to the file, wherever the command is typed.
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let pairs = [&mut settings.operator, &mut settings.framework];
        let pairs = pairs.into_iter().flatten();
        let paths = pairs
            .flat_map(|pair| [&mut pair.cert, &mut pair.key])
            .chain(settings.ca.as_mut())
            .chain(settings.crl.as_mut());
        for file in paths {
            *file = base.join(&*file);
        }
        Ok(settings)
    }
}

/// Puts together what is said in the three places.
///
/// Pure.
fn resolve(
    arguments: &ConnectionArguments,
    environment: impl Fn(&str) -> Option<OsString>,
    file: FileSettings,
    part: Part,
) -> Result<Settings, Failure> {
    let path = |option: &Option<PathBuf>, name: &str| {
        option
            .clone()
            .or_else(|| environment(name).map(PathBuf::from))
    };
    let missing = |what: &str, option: &str, variable: &str, key: &str| {
        Failure::usage(
            format!("nothing says {what}"),
            format!(
                "give {option}, set {variable}, or write {key} in weir.toml; `weir certs init` makes \
                 all of it for a cluster to try things on"
            ),
        )
    };
    let scheduler = match (&arguments.scheduler, environment("WEIR_SCHEDULER")) {
        (Some(option), _) => Some(option.clone()),
        (None, Some(variable)) => Some(variable.to_string_lossy().into_owned()),
        (None, None) => file.scheduler,
    };
    let scheduler = scheduler.ok_or_else(|| {
        missing(
            "where the scheduler is",
            "--scheduler",
            "WEIR_SCHEDULER",
            "scheduler = \"host:port\"",
        )
    })?;
    let scheduler: Address = scheduler.parse().map_err(|error| {
        Failure::usage(
            format!("the scheduler's address: {}", super::exit::chain(&error)),
            format!("write host:port, such as localhost:{DEFAULT_PORT}"),
        )
    })?;
    let [cert_variable, key_variable] = part.variables();
    let options = pair(
        arguments.cert.clone(),
        arguments.key.clone(),
        "--cert",
        "--key",
    )?;
    let variables = pair(
        environment(cert_variable).map(PathBuf::from),
        environment(key_variable).map(PathBuf::from),
        cert_variable,
        key_variable,
    )?;
    let in_file = match part {
        Part::Operator => file.operator,
        Part::Framework => file.framework,
    };
    let Pair { cert, key } = options.or(variables).or(in_file).ok_or_else(|| {
        missing(
            &format!("which certificate of kind {} to present", part.kind()),
            "--cert and --key",
            &format!("{cert_variable} and {key_variable}"),
            &format!("cert and key under {}", part.table()),
        )
    })?;
    let authorities = path(&arguments.ca, "WEIR_CA").or(file.ca);
    let authorities = authorities
        .ok_or_else(|| missing("which authorities to believe", "--ca", "WEIR_CA", "ca"))?;
    Ok(Settings {
        scheduler,
        files: CredentialFiles {
            certificate: cert,
            key,
            authorities,
            revocations: path(&arguments.crl, "WEIR_CRL").or(file.crl),
        },
    })
}

/// Both or neither.
fn pair(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    cert_name: &str,
    key_name: &str,
) -> Result<Option<Pair>, Failure> {
    let alone = |there: &str, missing: &str| {
        Failure::usage(
            format!("{there} is given without {missing}"),
            format!("give both {cert_name} and {key_name}, or neither"),
        )
    };
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(Pair { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(alone(cert_name, key_name)),
        (None, Some(_)) => Err(alone(key_name, cert_name)),
    }
}

/// Runs what speaks to a scheduler: one thread is enough.
pub(crate) fn wait_for(
    command: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed(
                format!("cannot wait for anything: {error}"),
                "check this user's limits on files and memory",
            )
        })?
        .block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "scheduler = \"file:1\"\nca = \"ca.pem\"\n\
                        [operator]\ncert = \"o.pem\"\nkey = \"o-key.pem\"\n\
                        [framework]\ncert = \"/abs/f.pem\"\nkey = \"f-key.pem\"\n";

    fn file() -> FileSettings {
        FileSettings::parse(FILE, Path::new("/etc/weir/weir.toml")).unwrap()
    }

    fn nothing(_name: &str) -> Option<OsString> {
        None
    }

    fn variables(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn paths_in_the_file_are_relative_to_it() {
        let none = ConnectionArguments::default();
        let settings = resolve(&none, nothing, file(), Part::Framework).unwrap();
        assert_eq!(settings.scheduler.to_string(), "file:1");
        assert_eq!(
            settings.files,
            CredentialFiles {
                certificate: "/abs/f.pem".into(),
                key: "/etc/weir/f-key.pem".into(),
                authorities: "/etc/weir/ca.pem".into(),
                revocations: None,
            }
        );
    }

    #[test]
    fn options_go_before_the_environment_and_that_before_the_file() {
        let environment = variables(&[
            ("WEIR_SCHEDULER", "env:2"),
            ("WEIR_CERT", "e.pem"),
            ("WEIR_KEY", "e-key.pem"),
            ("WEIR_CRL", "e-crl.pem"),
        ]);
        let arguments = ConnectionArguments {
            scheduler: Some("option:3".to_owned()),
            ca: Some("option-ca.pem".into()),
            ..ConnectionArguments::default()
        };
        let settings = resolve(&arguments, environment, file(), Part::Operator).unwrap();
        assert_eq!(settings.scheduler.to_string(), "option:3");
        assert_eq!(settings.files.certificate, Path::new("e.pem"));
        assert_eq!(settings.files.key, Path::new("e-key.pem"));
        assert_eq!(settings.files.authorities, Path::new("option-ca.pem"));
        assert_eq!(
            settings.files.revocations.as_deref(),
            Some(Path::new("e-crl.pem"))
        );
    }

    #[test]
    fn a_framework_is_not_who_an_operator_is() {
        let environment = variables(&[("WEIR_CERT", "e.pem"), ("WEIR_KEY", "e-key.pem")]);
        let none = ConnectionArguments::default();
        let settings = resolve(&none, environment, file(), Part::Framework).unwrap();
        assert_eq!(settings.files.certificate, Path::new("/abs/f.pem"));
    }

    #[test]
    fn a_certificate_and_its_key_come_from_one_place() {
        let arguments = ConnectionArguments {
            cert: Some("c.pem".into()),
            ..ConnectionArguments::default()
        };
        let failure = resolve(&arguments, nothing, file(), Part::Operator).unwrap_err();
        assert_eq!(failure.message, "--cert is given without --key");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn what_is_missing_is_named_with_the_three_places() {
        let none = ConnectionArguments::default();
        let empty = FileSettings::default();
        let failure = resolve(&none, nothing, empty, Part::Operator).unwrap_err();
        assert_eq!(failure.message, "nothing says where the scheduler is");
        assert!(failure.remedy.contains("--scheduler, set WEIR_SCHEDULER"));
    }

    #[test]
    fn the_file_is_strict() {
        for (text, said) in [
            ("schedular = \"a:1\"", "schedular"),
            ("[operator]\ncert = \"a\"", "key"),
            (
                "[operator]\ncert = \"a\"\nkey = \"b\"\npassword = \"c\"",
                "password",
            ),
            ("scheduler = 5", "string"),
        ] {
            let failure = FileSettings::parse(text, Path::new("weir.toml")).unwrap_err();
            assert!(
                failure.message.contains(said),
                "{text}: {}",
                failure.message
            );
            assert_eq!(failure.exit, Exit::Usage);
        }
    }
}
