//! `run`: the task that is wanted.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use weir_protocol::{Line, Millis, NetworkMode, WorkingDirectory};
use weir_resources::{Amount, BitRate, ContainerPath, Role, VolumeId, VolumeMode};

use super::super::units::parse_millis;
use super::words::TaskName;

pub(super) const EXAMPLES: &str = "\
Examples:
  weir run --cpus 1 --mem 256 -- ./server --fast
  weir run --role db --cpus 1 --mem 256 --ports 2 --volume pgdata:data -- ./server
  weir run --detach --name batch --revocable --cpus 4 -- make -j4
  weir kill \"$(weir run --detach -- sleep 1d)\"";

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Print FRAMEWORK/TASK when the task runs, and leave it running
    #[arg(long)]
    pub(crate) detach: bool,

    /// Take CPUs and memory that are lent: they can be taken back at any time, and the task with them
    #[arg(long)]
    pub(crate) revocable: bool,

    /// Use the share of the cluster, the reservations and the volumes of this role
    #[arg(long, default_value = "default")]
    pub(crate) role: Role,

    /// Call it this; after its program otherwise
    #[arg(long)]
    pub(crate) name: Option<TaskName>,

    /// CPUs, in cores (0.5, 2)
    #[arg(long, default_value = "0.1")]
    pub(crate) cpus: Amount,

    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value = "64")]
    pub(crate) mem: Amount,

    /// Disk in MiB
    #[arg(long, value_name = "MIB", default_value = "0")]
    pub(crate) disk: Amount,

    /// Bandwidth to the wire that is its own at any time (50mbit, 1gbit)
    #[arg(long, value_name = "RATE")]
    pub(crate) egress: Option<BitRate>,

    /// The most that it sends, wherever to; what is idle otherwise
    #[arg(long, value_name = "RATE")]
    pub(crate) egress_max: Option<BitRate>,

    /// Bandwidth that it receives, and the most that it does
    #[arg(long, value_name = "RATE")]
    pub(crate) ingress: Option<BitRate>,

    /// The most that it receives, without that it is offered
    #[arg(long, value_name = "RATE")]
    pub(crate) ingress_max: Option<BitRate>,

    /// Take so many ports: they are in WEIR_PORTS, WEIR_PORT0 and so on
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) ports: u16,

    /// Mount this volume of the role at a path below the sandbox; may be given more than once
    #[arg(long, value_name = "ID:PATH[:ro]")]
    pub(crate) volume: Vec<WantedVolume>,

    /// Run as this user of the node; as whom the agent is configured to otherwise
    #[arg(long)]
    pub(crate) user: Option<Line>,

    /// Set a variable; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) env: Vec<(String, String)>,

    /// Begin in this directory; in the sandbox otherwise
    #[arg(long, value_name = "PATH", value_parser = parse_directory)]
    pub(crate) workdir: Option<WorkingDirectory>,

    /// Give it a network namespace of its own, or the node's
    #[arg(long, value_enum, default_value_t = Network::Isolated)]
    pub(crate) network: Network,

    /// Give up if nothing that fits is offered for this long; waits for ever otherwise
    #[arg(long, value_name = "DURATION", value_parser = parse_millis)]
    pub(crate) timeout: Option<Millis>,

    /// Give it this long between SIGTERM and SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = parse_millis, default_value = "5s")]
    pub(crate) grace: Millis,

    /// With --detach: print JSON
    #[arg(long, requires = "detach")]
    pub(crate) json: bool,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) argv: Vec<String>,
}

/// Which network a task is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// A network namespace of its own, with the node's addresses inside
    Isolated,
    /// The node's
    Host,
}

impl From<Network> for NetworkMode {
    fn from(network: Network) -> Self {
        match network {
            Network::Isolated => Self::Isolated,
            Network::Host => Self::Host,
        }
    }
}

/// A volume that a task mounts.
#[derive(Clone, Debug)]
pub(crate) struct WantedVolume {
    pub(crate) id: VolumeId,
    pub(crate) path: ContainerPath,
    pub(crate) mode: VolumeMode,
}

impl FromStr for WantedVolume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "write ID:PATH or ID:PATH:ro".to_owned();
        let (rest, mode) = match text.strip_suffix(":ro") {
            Some(rest) => (rest, VolumeMode::ReadOnly),
            None => (
                text.strip_suffix(":rw").unwrap_or(text),
                VolumeMode::ReadWrite,
            ),
        };
        let (id, path) = rest.split_once(':').ok_or_else(wanted)?;
        Ok(Self {
            id: VolumeId::new(id).map_err(|error| error.to_string())?,
            path: ContainerPath::new(path).map_err(|error| error.to_string())?,
            mode,
        })
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

fn parse_directory(text: &str) -> Result<WorkingDirectory, String> {
    WorkingDirectory::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_a_path_and_may_be_read_only() {
        let read = |text: &str| {
            let volume = text.parse::<WantedVolume>().unwrap();
            (volume.id.to_string(), volume.path.to_string(), volume.mode)
        };
        let expected = |mode| ("pgdata".to_owned(), "data/pg".to_owned(), mode);
        assert_eq!(read("pgdata:data/pg"), expected(VolumeMode::ReadWrite));
        assert_eq!(read("pgdata:data/pg:rw"), expected(VolumeMode::ReadWrite));
        assert_eq!(read("pgdata:data/pg:ro"), expected(VolumeMode::ReadOnly));
        for wrong in [
            "",
            "pgdata",
            "pgdata:ro",
            "pgdata:",
            ":data",
            "a:/abs",
            "a:../b",
        ] {
            assert!(wrong.parse::<WantedVolume>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(
            parse_variable("A=b=c"),
            Ok(("A".to_owned(), "b=c".to_owned()))
        );
        assert!(parse_variable("=b").is_err());
        assert!(parse_variable("A").is_err());
    }
}
