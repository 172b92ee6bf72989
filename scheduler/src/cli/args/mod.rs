//! The words of the command line, and what they become.

mod certs;
mod run;
mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use weir_protocol::operator::Weight;
use weir_protocol::{AgentName, FrameworkId, Millis, OperationId, TaskKey};
use weir_resources::{Amount, ContainerPath, Resources, Role, VolumeId};

pub(crate) use certs::{CertsCommand, InitArguments, IssueArguments, RevokeArguments};
pub(crate) use run::{RunArguments, WantedVolume};
pub(crate) use words::TaskName;

use super::units::parse_millis;

/// Say what a cluster of Weir is to do, and see what it does
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 refused (nothing was changed), 64 usage or configuration; \
                  `run` ends with its task's status. Data goes to stdout, talk to stderr.",
    after_long_help = EPILOGUE
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EPILOGUE: &str = "\
Where the scheduler is, and who you are, is taken from the options, then from the environment, then from
a file: --config or WEIR_CONFIG, otherwise ~/.config/weir/weir.toml, otherwise /etc/weir/weir.toml.

  scheduler = \"weir.example:5151\"
  ca = \"ca.pem\"                 # relative to the file
  crl = \"crl.pem\"               # may be left out

  [operator]                    # for every command but `run`
  cert = \"operator-admin.pem\"
  key = \"operator-admin-key.pem\"

  [framework]                   # for `run`, which is a framework
  cert = \"framework-run.pem\"
  key = \"framework-run-key.pem\"

Environment: WEIR_CONFIG, WEIR_SCHEDULER, WEIR_CA, WEIR_CRL, WEIR_CERT and WEIR_KEY (`run`: WEIR_FRAMEWORK_CERT
and WEIR_FRAMEWORK_KEY), NO_COLOR.

Exit codes: 0 done, 1 failed, 2 refused (nothing was changed), 64 usage or configuration; `run` ends with its
task's status. Data goes to stdout, talk to stderr.

Examples:
  weir certs init --directory certs --agent n1     make certificates for a cluster to try things on
  export WEIR_CONFIG=certs/weir.toml
  weir agents                                      see who lends what
  weir run --cpus 1 --mem 256 -- ./server          run something";

/// How the scheduler is reached, and as whom.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Read connection settings from this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Speak to the scheduler here
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) scheduler: Option<String>,
    /// Present this certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Use this key of the certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Believe these authorities
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Disbelieve what these lists revoke
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) crl: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List agents
    #[command(after_help = "Examples:\n  weir agents\n  weir agents --json | jq -r '.[].name'")]
    Agents(ListArguments),

    /// List the offers that frameworks hold
    #[command(after_help = "Examples:\n  weir offers\n  weir offers --json")]
    Offers(ListArguments),

    /// List roles: their weights, shares and what is reserved for them
    #[command(after_help = "Examples:\n  weir roles\n  weir roles --json")]
    Roles(ListArguments),

    /// List frameworks
    #[command(after_help = "Examples:\n  weir frameworks\n  weir frameworks --json")]
    Frameworks(ListArguments),

    /// List tasks
    #[command(
        after_help = "Examples:\n  weir tasks\n  weir tasks --agent n1 --all\n  weir tasks --json | jq '.[] | select(.state == \"TASK_FAILED\")'"
    )]
    Tasks(TasksArguments),

    /// Run a task: ask for resources, launch it, follow it
    ///
    /// A framework of its own: it takes the first offer with room for the task and gives the others
    /// back, launches, says on stderr what happens, and ends with the task's exit code, or 128 and the
    /// signal that ended it. Ctrl-C kills the task and waits for its end; a second one leaves it no
    /// time. If the scheduler goes away, the task goes on, and so does this when it is back.
    #[command(after_help = run::EXAMPLES)]
    Run(Box<RunArguments>),

    /// Kill a task
    ///
    /// Returns when it has begun: `weir tasks` shows the end.
    #[command(
        after_help = "Examples:\n  weir kill web.4xk2m7q5ab3cd\n  weir kill dqcupa4xk2m7q5ab3cdefghijk/web.1 --grace 30s"
    )]
    Kill {
        /// The task: its id, or FRAMEWORK/ID where two frameworks have such a task
        #[arg(value_name = "TASK", value_parser = words::parse_task)]
        task: TaskReference,
        /// Give it this long between SIGTERM and SIGKILL; as long as the task says otherwise
        #[arg(long, value_name = "DURATION", value_parser = parse_millis)]
        grace: Option<Millis>,
        #[command(flatten)]
        output: OutputArguments,
    },

    /// Reserve resources of an agent for a role
    ///
    /// The reservation is yours, by the name in your certificate. Offers that are in the way are
    /// taken back; what tasks use cannot be reserved.
    #[command(
        after_help = "Examples:\n  weir reserve --agent n1 --role db 'cpus:2;mem:2048;disk:10240'\n  weir reserve --agent n1 --role web 'ports:[31000-31009]'"
    )]
    Reserve(ChangeArguments),

    /// Give back what was reserved
    #[command(after_help = "Examples:\n  weir unreserve --agent n1 --role db 'cpus:2;mem:2048'")]
    Unreserve(ChangeArguments),

    /// List what is reserved, statically or dynamically; volumes have a list of their own
    #[command(
        after_help = "Examples:\n  weir reservations\n  weir reservations --agent n1 --role db --json"
    )]
    Reservations(PlaceArguments),

    /// Create, destroy and list volumes
    #[command(
        subcommand,
        after_help = "Examples:\n  weir volume list\n  weir volume create --agent n1 --role db --size 10240 pgdata"
    )]
    Volume(VolumeCommand),

    /// End the tasks of an agent, and send it away
    ///
    /// Returns when it has begun. Nothing new is launched there; the agent leaves when its last task
    /// has ended and every framework has taken note of that. One that stays away is waited for:
    /// `weir teardown` ends it. Tasks of `weir run --detach` wait for nobody.
    #[command(after_help = "Examples:\n  weir drain n1\n  weir drain n1 --grace 5m")]
    Drain {
        /// The agent
        agent: AgentName,
        /// Give each task this long at most; as long as each says otherwise
        #[arg(long, value_name = "DURATION", value_parser = parse_millis)]
        grace: Option<Millis>,
        #[command(flatten)]
        output: OutputArguments,
    },

    /// Give up an agent that does not come back, with its tasks
    ///
    /// Its tasks are lost at once. If it does come back, it ends what it still runs and is a new agent,
    /// with the reservations and volumes that are on its node. To empty an agent that is there, drain
    /// it.
    #[command(after_help = "Examples:\n  weir remove-agent n1")]
    RemoveAgent {
        /// The agent
        agent: AgentName,
        #[command(flatten)]
        output: OutputArguments,
    },

    /// List the weights of roles
    #[command(after_help = "Examples:\n  weir weights")]
    Weights(ListArguments),

    /// Set how much of the cluster a role is due, compared with others
    #[command(after_help = "Examples:\n  weir weight db 2.5")]
    Weight {
        /// The role
        role: Role,
        /// Its weight: above 0, up to three decimals; 1 where nothing was set
        #[arg(value_parser = words::parse_weight)]
        weight: Weight,
        #[command(flatten)]
        output: OutputArguments,
    },

    /// End a framework with all its tasks
    #[command(
        after_help = "Examples:\n  weir frameworks\n  weir teardown dqcupa4xk2m7q5ab3cdefghijk"
    )]
    Teardown {
        /// The framework's id
        framework: FrameworkId,
        #[command(flatten)]
        output: OutputArguments,
    },

    /// Make certificates for development, and revoke them
    ///
    /// Works on a directory, without a scheduler. Production brings its own authority: each
    /// certificate needs one URI, spiffe://<trust-domain>/<kind>/<name>.
    #[command(
        subcommand,
        after_help = "Examples:\n  weir certs init --directory certs --agent n1 --agent n2\n  weir certs issue --directory certs agent n3"
    )]
    Certs(CertsCommand),

    /// Print what a shell needs to complete these commands
    #[command(
        after_help = "Examples:\n  weir completions bash > /etc/bash_completion.d/weir\n  weir completions zsh > ~/.zfunc/_weir\n  weir completions fish > ~/.config/fish/completions/weir.fish"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Write the manual pages, for whoever makes packages
    #[command(hide = true)]
    Manual {
        /// Into this directory
        directory: PathBuf,
    },
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// How anything is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TasksArguments {
    /// List those of this framework only, by its id
    #[arg(long, value_name = "ID")]
    pub(crate) framework: Option<FrameworkId>,
    /// List those on this agent only
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<AgentName>,
    /// List those that have ended, too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Of which agent and role.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArguments {
    /// List what is on this agent only
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<AgentName>,
    /// List what is of this role only
    #[arg(long)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// What is reserved or given back.
#[derive(Clone, Debug, Args)]
pub(crate) struct ChangeArguments {
    /// The agent
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: AgentName,
    /// The role
    #[arg(long)]
    pub(crate) role: Role,
    /// How much of what: cpus in cores, mem and disk in MiB, ports as ranges
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) operation: OperationArguments,
}

/// By what name a change is known.
#[derive(Clone, Debug, Args)]
pub(crate) struct OperationArguments {
    /// Call the change this: the same again is done once; a new id otherwise
    #[arg(long, value_name = "ID")]
    pub(crate) operation_id: Option<OperationId>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Create a volume on disk that is reserved for the role
    ///
    /// Of the disk that you have reserved for the role on that agent; without one, give --reserve.
    #[command(
        after_help = "Examples:\n  weir volume create --agent n1 --role db --size 10240 pgdata\n  weir volume create --agent n1 --role db --size 512 --reserve cache"
    )]
    Create {
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: AgentName,
        /// The role
        #[arg(long)]
        role: Role,
        /// Its size in MiB
        #[arg(long, value_name = "MIB")]
        size: Amount,
        /// Where tasks find it unless they say otherwise, below their sandbox; at its id otherwise
        #[arg(long, value_name = "PATH")]
        path: Option<ContainerPath>,
        /// Reserve the disk first
        #[arg(long)]
        reserve: bool,
        /// What to call it
        id: VolumeId,
        #[command(flatten)]
        operation: OperationArguments,
    },
    /// Destroy a volume, with all that is on it
    ///
    /// Its disk stays reserved.
    #[command(after_help = "Examples:\n  weir volume destroy --agent n1 --role db pgdata")]
    Destroy {
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: AgentName,
        /// The role
        #[arg(long)]
        role: Role,
        /// The volume
        id: VolumeId,
        #[command(flatten)]
        operation: OperationArguments,
    },
    /// List volumes
    #[command(after_help = "Examples:\n  weir volume list\n  weir volume list --role db --json")]
    List(PlaceArguments),
}

/// A task as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskReference {
    /// With its framework.
    Whole(TaskKey),
    /// By its id alone.
    Id(weir_protocol::TaskId),
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

#[cfg(test)]
mod tests;
