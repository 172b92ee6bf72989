//! `certs`: makes, issues, revokes and shows certificates, without a scheduler.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};
use weir_transport::authority::{
    Authority, CERTIFICATE_LIFETIME, IndexEntry, IssueRequest, Issued, IssuedFiles, Overwrite,
    Revoke, Standing,
};
use weir_transport::{Address, Identity, Moment, PeerKind, PeerName};

use super::args::{CertsCommand, InitArguments, IssueArguments, RevokeArguments};
use super::exit::{Exit, Failure};
use super::output::{Colour, print, print_json, say};
use super::table::{Cell, Table, Tone};

/// What `init` calls the scheduler, the operator and who `run` is.
const SCHEDULER: &str = "main";
const OPERATOR: &str = "admin";
const FRAMEWORK: &str = "run";

/// The settings for these commands beside the certificates.
const SETTINGS_FILE: &str = "weir.toml";

pub(crate) fn certs(command: CertsCommand) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    match command {
        CertsCommand::Init(arguments) => init(&arguments, now),
        CertsCommand::Issue(arguments) => issue(arguments, now),
        CertsCommand::Revoke(arguments) => revoke(arguments, now),
        CertsCommand::Show { authority, output } => {
            let authority = Authority::open(&authority.directory)?;
            let entries = authority.list()?;
            if output.json {
                let entries: Vec<Value> = entries.iter().map(json_of_entry).collect();
                print_json(&json!({
                    "trust_domain": authority.trust_domain().as_str(),
                    "not_after": authority.not_after().to_string(),
                    "certificates": entries,
                }))
            } else {
                print(&table(
                    &entries,
                    Moment::from_system(now),
                    Colour::of_stdout(),
                ))
            }
        }
    }
}

fn init(arguments: &InitArguments, now: SystemTime) -> Result<Exit, Failure> {
    let directory = &arguments.authority.directory;
    // Looked for first: what is in the way is found before anything is made.
    let settings = directory.join(SETTINGS_FILE);
    if !arguments.bare && settings.symlink_metadata().is_ok() {
        return Err(Failure::refused(
            format!("{} is there already", settings.display()),
            "choose another --directory, or make the authority alone with --bare",
        ));
    }
    let trust_domain = &arguments.trust_domain;
    let authority = Authority::create(directory, trust_domain, arguments.days, now)?;
    say(&format!(
        "made an authority for {trust_domain} in {}, until {}",
        directory.display(),
        authority.not_after()
    ));
    let mut issued = Vec::new();
    if !arguments.bare {
        let lifetime = CERTIFICATE_LIFETIME.min(arguments.days);
        let name = |text: &str| PeerName::new(text).expect("it is a short word");
        let mut wanted = vec![
            (PeerKind::Scheduler, name(SCHEDULER), arguments.host.clone()),
            (PeerKind::Operator, name(OPERATOR), Vec::new()),
            (PeerKind::Framework, name(FRAMEWORK), Vec::new()),
        ];
        let agents = arguments.agent.iter();
        wanted.extend(agents.map(|agent| (PeerKind::Agent, agent.clone(), Vec::new())));
        for (kind, name, host_names) in wanted {
            let request = IssueRequest {
                kind,
                name,
                host_names,
                lifetime,
            };
            let made = authority.issue_files(&request, directory, Overwrite::Refuse, now)?;
            say_issued(&made.0, &made.1);
            issued.push(json_of_issued(&made.0, &made.1));
        }
        write_settings(&settings, arguments)?;
        say(&format!(
            "wrote {0}; say `export WEIR_CONFIG={0}` to use it",
            settings.display()
        ));
    }
    if arguments.output.json {
        return print_json(&json!({
            "trust_domain": trust_domain.as_str(),
            "authority": authority.certificate_path(),
            "revocations": authority.revocations_path(),
            "not_after": authority.not_after().to_string(),
            "certificates": issued,
        }));
    }
    Ok(Exit::Done)
}

/// Writes what these commands need to reach the scheduler.
fn write_settings(path: &Path, arguments: &InitArguments) -> Result<(), Failure> {
    let host = arguments.host.first().ok_or_else(|| {
        Failure::usage(
            "the scheduler has no name or address",
            "give at least one --host",
        )
    })?;
    let scheduler = Address {
        host: host.clone(),
        port: arguments.port,
    };
    // Host names, and the names of files that are made of short words: nothing needs escaping.
    let text = format!(
        "# Made by `weir certs init`. Paths are relative to this file.\n\
         scheduler = \"{scheduler}\"\n\
         ca = \"ca.pem\"\n\
         crl = \"crl.pem\"\n\
         \n\
         # Who every command but `run` is.\n\
         [operator]\n\
         cert = \"operator-{OPERATOR}.pem\"\n\
         key = \"operator-{OPERATOR}-key.pem\"\n\
         \n\
         # Who `run` is.\n\
         [framework]\n\
         cert = \"framework-{FRAMEWORK}.pem\"\n\
         key = \"framework-{FRAMEWORK}-key.pem\"\n"
    );
    let write = || -> io::Result<()> { File::create_new(path)?.write_all(text.as_bytes()) };
    write().map_err(|error| {
        Failure::failed(
            format!("cannot write {}: {error}", path.display()),
            "check the directory, its owner and the space on its disk",
        )
    })
}

fn issue(arguments: IssueArguments, now: SystemTime) -> Result<Exit, Failure> {
    let directory = arguments.authority.directory;
    let authority = Authority::open(&directory)?;
    let request = IssueRequest {
        kind: arguments.kind,
        name: arguments.name,
        host_names: arguments.host,
        lifetime: arguments.days,
    };
    let overwrite = if arguments.replace {
        Overwrite::Replace
    } else {
        Overwrite::Refuse
    };
    let to = arguments.output_directory.unwrap_or(directory);
    let (issued, files) = authority.issue_files(&request, &to, overwrite, now)?;
    say_issued(&issued, &files);
    if arguments.output.json {
        return print_json(&json_of_issued(&issued, &files));
    }
    Ok(Exit::Done)
}

fn revoke(arguments: RevokeArguments, now: SystemTime) -> Result<Exit, Failure> {
    let authority = Authority::open(&arguments.authority.directory)?;
    let which = match (arguments.serial, arguments.kind, arguments.name) {
        (Some(serial), _, _) => Revoke::Serial(serial),
        (None, Some(kind), Some(name)) => {
            Revoke::Identity(Identity::new(authority.trust_domain().clone(), kind, name))
        }
        (None, _, _) => {
            return Err(Failure::usage(
                "nothing says what to revoke",
                "name kind and name of the owner, or --serial",
            ));
        }
    };
    let revoked = authority.revoke(&which, now)?;
    for entry in &revoked {
        say(&format!("revoked {} of {}", entry.serial, entry.identity));
    }
    say(&format!(
        "copy {} to every host that has an older one",
        authority.revocations_path().display()
    ));
    if arguments.output.json {
        let revoked: Vec<Value> = revoked.iter().map(json_of_entry).collect();
        return print_json(&revoked);
    }
    Ok(Exit::Done)
}

fn say_issued(issued: &Issued, files: &IssuedFiles) {
    say(&format!(
        "issued {} to {}, until {}",
        files.certificate.display(),
        issued.identity,
        issued.not_after
    ));
}

fn json_of_issued(issued: &Issued, files: &IssuedFiles) -> Value {
    let path = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_gone| path.clone());
    json!({
        "identity": issued.identity.to_string(),
        "serial": issued.serial.to_string(),
        "not_after": issued.not_after.to_string(),
        "certificate": path(&files.certificate),
        "key": path(&files.key),
    })
}

fn json_of_entry(entry: &IndexEntry) -> Value {
    let revoked_at = match entry.standing {
        Standing::Valid => None,
        Standing::Revoked { at } => Some(at.to_string()),
    };
    json!({
        "identity": entry.identity.to_string(),
        "kind": entry.identity.kind().as_str(),
        "name": entry.identity.name().as_str(),
        "serial": entry.serial.to_string(),
        "not_after": entry.not_after.to_string(),
        "revoked_at": revoked_at,
    })
}

fn table(entries: &[IndexEntry], now: Moment, colour: Colour) -> String {
    let mut table = Table::new(["KIND", "NAME", "SERIAL", "UNTIL", "STATE"]);
    for entry in entries {
        let state = match entry.standing {
            Standing::Valid if entry.not_after < now => Cell::toned("expired", Tone::Faint),
            Standing::Valid => Cell::toned("valid", Tone::Good),
            Standing::Revoked { at } => Cell::toned(format!("revoked {at}"), Tone::Bad),
        };
        table.push([
            entry.identity.kind().as_str().into(),
            entry.identity.name().as_str().into(),
            entry.serial.to_string().into(),
            entry.not_after.to_string().into(),
            state,
        ]);
    }
    table.render(colour)
}
