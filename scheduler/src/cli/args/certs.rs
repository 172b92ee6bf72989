//! `certs`: what is made, issued and revoked.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use weir_transport::certificate::Serial;
use weir_transport::host::HostName;
use weir_transport::{PeerKind, PeerName, TrustDomain};

use super::OutputArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make an authority, and the certificates of a small cluster
    ///
    /// Writes a directory with the authority, a certificate for the scheduler, one for an operator,
    /// one for `weir run`, one for each --agent, and a weir.toml for these commands. An authority
    /// that is there already is never touched.
    #[command(
        after_help = "Examples:\n  weir certs init --directory certs\n  weir certs init --directory certs --host weir.example --host 10.0.0.1 --agent n1 --agent n2\n  weir certs init --directory certs --bare"
    )]
    Init(InitArguments),

    /// Issue a certificate and its key
    ///
    /// Writes KIND-NAME.pem and KIND-NAME-key.pem, and refuses to overwrite them. A scraper may read metrics
    /// over TLS, and nothing else. An agent is scraped by its name, where that can be a host's, and by each --host.
    #[command(
        after_help = "Examples:\n  weir certs issue agent n3\n  weir certs issue agent n4 --host n4.example --host 10.0.0.5\n  weir certs issue scraper prometheus\n  weir certs issue --directory certs scheduler standby --host standby.example\n  weir certs issue framework web --days 30 --output-directory /etc/weir"
    )]
    Issue(IssueArguments),

    /// Revoke certificates
    ///
    /// Writes the authority's crl.pem anew: copy it to every host, and connections of the revoked end
    /// within seconds.
    #[command(
        after_help = "Examples:\n  weir certs revoke agent n3\n  weir certs revoke --serial 4f21a09b1c55e7d2a1b3c4d5e6f70819"
    )]
    Revoke(RevokeArguments),

    /// Show what was issued
    #[command(
        after_help = "Examples:\n  weir certs show\n  weir certs show --directory certs --json"
    )]
    Show {
        #[command(flatten)]
        authority: AuthorityArguments,
        #[command(flatten)]
        output: OutputArguments,
    },
}

/// Which authority.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuthorityArguments {
    /// The authority's directory
    #[arg(long, value_name = "DIRECTORY", default_value = "certs")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    #[command(flatten)]
    pub(crate) authority: AuthorityArguments,
    /// Call the cluster this
    #[arg(long, value_name = "NAME", default_value = "weir.local")]
    pub(crate) trust_domain: TrustDomain,
    /// A name or address that the scheduler is reached by; may be given more than once
    #[arg(long, value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub(crate) host: Vec<HostName>,
    /// The port for weir.toml
    #[arg(long, default_value_t = super::super::connection::DEFAULT_PORT)]
    pub(crate) port: u16,
    /// Issue a certificate for an agent of this name; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Vec<PeerName>,
    /// Make the authority, and nothing else
    #[arg(long, conflicts_with_all = ["host", "port", "agent"])]
    pub(crate) bare: bool,
    /// Let the authority last so many days
    #[arg(long, value_parser = parse_days, default_value = "1825")]
    pub(crate) days: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct IssueArguments {
    #[command(flatten)]
    pub(crate) authority: AuthorityArguments,
    /// What its owner may be: agent, framework, operator, scheduler or scraper
    pub(crate) kind: PeerKind,
    /// What its owner is called: the agent's name, or the principal
    pub(crate) name: PeerName,
    /// A name or address that the scheduler or agent is reached by; may be given more than once
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<HostName>,
    /// Let it last so many days
    #[arg(long, value_parser = parse_days, default_value = "90")]
    pub(crate) days: Duration,
    /// Write it here; into the authority's directory otherwise
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output_directory: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    #[command(flatten)]
    pub(crate) authority: AuthorityArguments,
    /// What the owner is: agent, framework, operator, scheduler or scraper
    #[arg(requires = "name", required_unless_present = "serial")]
    pub(crate) kind: Option<PeerKind>,
    /// What the owner is called
    pub(crate) name: Option<PeerName>,
    /// Revoke the one with this number, and not all of an owner
    #[arg(long, conflicts_with_all = ["kind", "name"])]
    pub(crate) serial: Option<Serial>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// A hundred years: longer is a number mistaken.
const DAYS_MAX: u64 = 36_500;

fn parse_days(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(days) if (1..=DAYS_MAX).contains(&days) => Ok(Duration::from_hours(24 * days)),
        Ok(_) | Err(_) => Err(format!("write a number of days from 1 to {DAYS_MAX}")),
    }
}
