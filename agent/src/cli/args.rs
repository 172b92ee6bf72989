//! The words of the command line, and what they become.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use weir_executor::spec::NetworkMode;
use weir_resources::BitRate;

use crate::config::DEFAULT_PATH;
use crate::container::{
    Adjustment, Bandwidth, ContainerName, IoLimit, IoWeight, Kill, LaunchRequest, Limits,
    MemoryBytes, MilliCpus, PortsWanted, ProcessCount, Setting, ShareWeight, SwapBytes,
};

/// Run containers that share this node's addresses without sharing its ports
#[derive(Debug, Parser)]
#[command(
    name = "weir-agent",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 refused, 64 usage or configuration. \
                  Data goes to stdout, talk to stderr."
)]
pub(super) struct Cli {
    /// Speak to the agent at this socket, and not at the one in the configuration
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent of this node
    ///
    /// Runs until SIGTERM or SIGINT. SIGHUP reads the certificates again. Containers outlive it, and the next
    /// agent takes them over.
    Run {
        /// Read the configuration from this file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },

    /// Run a command in a container of its own
    ///
    /// Stays attached: shows the output, passes Ctrl-C and SIGTERM on as a kill, and ends with the
    /// command's exit code, or 128 and the signal that ended it.
    Exec(Box<ExecArguments>),

    /// List containers
    Ps {
        /// List those that have ended, too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Show what running containers use
    Stats {
        /// Show this container only, by name or id
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Print the output of a container
    Logs {
        /// The container, by name or id
        name: String,
        /// Go on until the container ends
        #[arg(long)]
        follow: bool,
        /// Print what it wrote to stderr, and not to stdout
        #[arg(long)]
        stderr: bool,
    },

    /// Kill a container
    Kill {
        /// The container, by name or id
        name: String,
        /// TERM gives it the configured grace before SIGKILL; KILL gives it none
        #[arg(long, value_enum, default_value_t = KillSignal::Term, ignore_case = true)]
        signal: KillSignal,
    },

    /// Change the ports or the limits of a running container
    ///
    /// Limits that are not named stay. A limit of memory below what the container holds is refused: what the kernel
    /// can take back from it is taken first.
    Update(Box<UpdateArguments>),

    /// Say what this node can and cannot do
    ///
    /// Asks the node itself; the agent need not run. Exits with 1 if the agent cannot run here.
    Doctor {
        /// Read the configuration from this file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Give the node back as it was before the first agent
    ///
    /// Removes programs, links, pins, cgroups and settings. The agent must not run. What is kept of
    /// containers that have ended stays in the state directory.
    Cleanup {
        /// Read the configuration from this file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Kill containers that still run
        #[arg(long)]
        kill_containers: bool,
    },

    /// Check a configuration file
    CheckConfig {
        /// The file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Print what follows from it as JSON
        #[arg(long)]
        json: bool,
    },

    /// Print what a shell needs to complete these commands
    #[command(
        after_help = "Examples:\n  weir-agent completions bash > /etc/bash_completion.d/weir-agent\n  weir-agent completions zsh > ~/.zfunc/_weir-agent"
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

#[derive(Debug, Args)]
pub(super) struct ExecArguments {
    /// Call it this; its id otherwise
    #[arg(long)]
    name: Option<ContainerName>,

    /// Give it these ports: ranges (31000-31009,31500), or a count below 1024 for any that are free
    ///
    /// A single number below 1024 is a count; write 80-80 for port 80. Beside these every isolated
    /// container has a block of ephemeral ports for its connections.
    #[arg(long, value_name = "PORTS", default_value = "", hide_default_value = true, value_parser = parse_ports)]
    ports: PortsWanted,

    /// Run as this user: a name or number, with or without :GROUP; nobody otherwise
    #[arg(long)]
    user: Option<String>,

    /// Set a variable; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(String, String)>,

    /// Let it use so many CPUs at most (0.5, 2)
    #[arg(long)]
    cpus: Option<MilliCpus>,

    /// Let it hold so much memory at most (512M, 2G)
    #[arg(long, value_name = "BYTES")]
    mem: Option<MemoryBytes>,

    /// Slow it down beyond so much memory, and have it give some back, before --mem ends it
    #[arg(long, value_name = "BYTES")]
    mem_high: Option<MemoryBytes>,

    /// Leave it so much memory as long as others have any to give
    #[arg(long, value_name = "BYTES")]
    mem_low: Option<MemoryBytes>,

    /// Let so much of it be swapped out at most (0, 512M); with --mem otherwise what the configuration says, by default 0
    #[arg(long, value_name = "BYTES")]
    swap: Option<SwapBytes>,

    /// Let it have so many processes and threads at most; otherwise what the configuration says, by default 4096
    #[arg(long, value_name = "COUNT")]
    pids: Option<ProcessCount>,

    /// Its part of disks that others want as well, from 1 to 10000; 100 is what containers have that ask for none
    ///
    /// It counts on disks whose scheduler is BFQ, or for which iocost is on (io.cost.qos in the root of cgroup v2).
    #[arg(long, value_name = "WEIGHT")]
    io_weight: Option<IoWeight>,

    /// Let it do so much with a whole disk each second at most (/dev/sda:rbps=10M,wiops=100); once for each disk
    ///
    /// The disk is a file or a number (8:0); rbps and wbps are bytes read and written, with or without K, M, G or T, riops
    /// and wiops are operations.
    #[arg(long, value_name = "DISK:LIMITS")]
    io_max: Vec<IoLimit>,

    /// Keep so much of the wire for it, whatever others send (50mbit, 1gbit)
    #[arg(long, value_name = "RATE")]
    egress_min: Option<BitRate>,

    /// Let it send so much at most: to the wire, to other containers and to the node, together
    #[arg(long, value_name = "RATE")]
    egress_max: Option<BitRate>,

    /// Let it receive so much at most
    #[arg(long, value_name = "RATE")]
    ingress_max: Option<BitRate>,

    /// Its part of what is idle on the wire, from 1 to 1000; 10 is what containers have that ask for none
    #[arg(long, value_name = "WEIGHT")]
    weight: Option<ShareWeight>,

    /// Give it a network namespace of its own, or the node's
    #[arg(long, value_enum, default_value_t = Network::Isolated)]
    network: Network,

    /// Start it and return; print its name
    #[arg(long)]
    pub(super) detach: bool,

    /// Give it a capability that the configuration allows; may be given more than once
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Begin in this directory; in its sandbox otherwise
    #[arg(long, value_name = "PATH")]
    workdir: Option<PathBuf>,

    /// With --detach: print the container as JSON
    #[arg(long, requires = "detach")]
    pub(super) json: bool,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    argv: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)))]
pub(super) struct UpdateArguments {
    /// The container, by name or id
    pub(super) name: String,

    /// The ports that it owns afterwards: ranges (31000-31009,31500) or a count below 1024; "" for none
    ///
    /// Ports and limits are changed one after the other, each as a whole.
    #[arg(long, value_name = "PORTS", value_parser = parse_ports, group = "change",
        conflicts_with_all = ["cpus", "mem", "mem_high", "mem_low", "swap", "pids", "io_weight", "io_max",
            "egress_min", "egress_max", "ingress_max", "weight"])]
    pub(super) ports: Option<PortsWanted>,

    /// Let it use so many CPUs at most (0.5, 2); none for all there are
    #[arg(long, group = "change")]
    cpus: Option<Setting<MilliCpus>>,

    /// Let it hold so much memory at most (512M, 2G); none for all there is
    #[arg(long, value_name = "BYTES", group = "change")]
    mem: Option<Setting<MemoryBytes>>,

    /// Slow it down beyond so much memory; none for never
    #[arg(long, value_name = "BYTES", group = "change")]
    mem_high: Option<Setting<MemoryBytes>>,

    /// Leave it so much memory as long as others have any to give; none for none
    #[arg(long, value_name = "BYTES", group = "change")]
    mem_low: Option<Setting<MemoryBytes>>,

    /// Let so much of it be swapped out at most; none for what the configuration says
    #[arg(long, value_name = "BYTES", group = "change")]
    swap: Option<Setting<SwapBytes>>,

    /// Let it have so many processes and threads at most; none for what the configuration says
    #[arg(long, value_name = "COUNT", group = "change")]
    pids: Option<Setting<ProcessCount>>,

    /// Its part of disks that others want as well, from 1 to 10000; none for 100
    #[arg(long, value_name = "WEIGHT", group = "change")]
    io_weight: Option<Setting<IoWeight>>,

    /// Let it do so much with a whole disk each second at most; once for each disk, and none for all there is of all
    ///
    /// Disks that are not named are not limited afterwards.
    #[arg(long, value_name = "DISK:LIMITS", group = "change")]
    io_max: Vec<Setting<IoLimit>>,

    /// Keep so much of the wire for it, whatever others send (50mbit, 1gbit); none for none
    #[arg(long, value_name = "RATE", group = "change")]
    egress_min: Option<Setting<BitRate>>,

    /// Let it send so much at most: to the wire, to other containers and to the node, together; none for all there is
    #[arg(long, value_name = "RATE", group = "change")]
    egress_max: Option<Setting<BitRate>>,

    /// Let it receive so much at most; none for all there is
    #[arg(long, value_name = "RATE", group = "change")]
    ingress_max: Option<Setting<BitRate>>,

    /// Its part of what is idle on the wire, from 1 to 1000; none for 10
    #[arg(long, value_name = "WEIGHT", group = "change")]
    weight: Option<Setting<ShareWeight>>,

    /// Leave it less memory than it holds: the kernel kills it
    #[arg(long, requires = "mem")]
    pub(super) force: bool,

    /// Print the container as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl UpdateArguments {
    /// Returns what becomes of the limits.
    pub(super) fn limits(&self) -> Adjustment {
        let disks = self.io_max.iter().filter_map(|limit| match limit {
            Setting::To(limit) => Some(limit.clone()),
            Setting::Keep | Setting::Lift => None,
        });
        Adjustment {
            cpus: self.cpus.unwrap_or_default(),
            memory: self.mem.unwrap_or_default(),
            memory_high: self.mem_high.unwrap_or_default(),
            memory_low: self.mem_low.unwrap_or_default(),
            swap: self.swap.unwrap_or_default(),
            pids: self.pids.unwrap_or_default(),
            io_weight: self.io_weight.unwrap_or_default(),
            // With `none`, only those that are named beside it.
            io_max: match &self.io_max[..] {
                [] => Setting::Keep,
                [Setting::Lift] => Setting::Lift,
                _ => Setting::To(disks.collect()),
            },
            egress_min: self.egress_min.unwrap_or_default(),
            egress_max: self.egress_max.unwrap_or_default(),
            ingress_max: self.ingress_max.unwrap_or_default(),
            weight: self.weight.unwrap_or_default(),
        }
    }
}

impl ExecArguments {
    /// Returns what the agent is asked.
    pub(super) fn into_request(self) -> LaunchRequest {
        LaunchRequest {
            name: self.name,
            argv: self.argv,
            env: self.env,
            working_directory: self.workdir,
            user: self.user,
            ports: self.ports,
            network: match self.network {
                Network::Isolated => NetworkMode::Isolated,
                Network::Host => NetworkMode::Host,
            },
            limits: Limits {
                cpus: self.cpus,
                memory: self.mem,
                memory_high: self.mem_high,
                memory_low: self.mem_low,
                swap: self.swap,
                pids: self.pids,
                io_weight: self.io_weight,
                io_max: self.io_max,
                bandwidth: Bandwidth {
                    egress_min: self.egress_min,
                    egress_max: self.egress_max,
                    ingress_max: self.ingress_max,
                    weight: self.weight,
                },
            },
            capabilities: self.cap_add,
        }
    }
}

/// Which network a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Network {
    /// A network namespace of its own, with the node's addresses inside
    Isolated,
    /// The node's: ports are enforced at bind
    Host,
}

/// How a container is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KillSignal {
    /// SIGTERM, and SIGKILL after the grace
    Term,
    /// SIGKILL
    Kill,
}

impl From<KillSignal> for Kill {
    fn from(signal: KillSignal) -> Self {
        match signal {
            KillSignal::Term => Self::Gracefully,
            KillSignal::Kill => Self::AtOnce,
        }
    }
}

/// A bare number is a count as long as it could hardly be meant as a port: those below 1024 are
/// services' own.
fn parse_ports(text: &str) -> Result<PortsWanted, String> {
    const COUNT_BELOW: u16 = 1024;
    // As it would be printed: `+3`, which the standard library reads, would look like three more.
    if let Ok(number) = text.trim().parse::<std::num::NonZeroU16>()
        && number.get() < COUNT_BELOW
        && number.to_string() == text.trim()
    {
        return Ok(PortsWanted::Count(number));
    }
    weir_resources::PortSet::from_str(text)
        .map(PortsWanted::Set)
        .map_err(|error| error.to_string())
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;

    /// Set to write the files anew instead of comparing.
    const REWRITE: &str = "WEIR_REWRITE_GOLDEN";

    #[test]
    fn the_words_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_what_was_reviewed() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
        let mut root = Cli::command();
        root.build();
        let mut pages = vec![("weir-agent".to_owned(), root.render_long_help().to_string())];
        for command in root.get_subcommands_mut() {
            let name = format!("weir-agent-{}", command.get_name());
            pages.push((name, command.render_long_help().to_string()));
        }
        for (name, page) in pages {
            let path = directory.join(format!("{name}.txt"));
            if std::env::var_os(REWRITE).is_some() {
                fs::create_dir_all(&directory).unwrap();
                fs::write(&path, &page).unwrap();
            }
            let reviewed = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                page, reviewed,
                "the help of {name} has changed; if that is meant, run this test with {REWRITE}=1"
            );
        }
    }

    #[test]
    fn ports_are_ranges_or_a_count() {
        let count = |n| Ok(PortsWanted::Count(std::num::NonZeroU16::new(n).unwrap()));
        let set = |text: &str| Ok(PortsWanted::Set(text.parse().unwrap()));
        assert_eq!(parse_ports("3"), count(3));
        assert_eq!(parse_ports("1023"), count(1023));
        assert_eq!(parse_ports("31500"), set("31500"));
        assert_eq!(parse_ports("80-80"), set("80"));
        assert_eq!(parse_ports("31000-31009,31500"), set("31000-31009,31500"));
        assert_eq!(parse_ports(""), set(""));
        assert!(parse_ports("0").is_err());
        assert!(parse_ports("+3").is_err());
        assert!(parse_ports("007").is_err());
        assert!(parse_ports("31000-").unwrap_err().contains("position"));
    }

    #[test]
    fn exec_needs_a_command_behind_two_dashes() {
        let exec = |words: &[&str]| {
            Cli::try_parse_from(["weir-agent", "exec"].iter().chain(words)).map(|cli| cli.command)
        };
        assert!(exec(&[]).is_err());
        assert!(exec(&["--name", "web"]).is_err());
        assert!(
            exec(&["--json", "--", "true"]).is_err(),
            "--json needs --detach"
        );
        let Command::Exec(arguments) = exec(&["--cpus", "0.5", "--", "sleep", "--help"]).unwrap()
        else {
            panic!("exec is exec");
        };
        let request = arguments.into_request();
        assert_eq!(request.argv, ["sleep", "--help"]);
        assert_eq!(request.limits.cpus.unwrap().thousandths(), 500);
    }

    #[test]
    fn signals_may_be_written_in_capitals() {
        let cli = Cli::try_parse_from(["weir-agent", "kill", "web", "--signal", "KILL"]).unwrap();
        assert!(matches!(
            cli.command,
            Command::Kill {
                signal: KillSignal::Kill,
                ..
            }
        ));
    }

    #[test]
    fn any_ports_are_a_count_or_a_set_that_reads_back() {
        const PIECES: [&str; 10] = ["0", "1", "80", "1023", "1024", "31000", "-", ",", "+", " "];
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(text, choices)| {
                let pieces = choices.iter().take(6).map(|b| PIECES[usize::from(b % 10)]);
                let likely: String = pieces.collect();
                for text in [text, &likely] {
                    match parse_ports(text) {
                        Ok(PortsWanted::Count(count)) => {
                            assert!(count.get() < 1024);
                            assert_eq!(text.trim(), count.to_string());
                        }
                        Ok(PortsWanted::Set(set)) => {
                            // One port below 1024 would be a count, as the help says.
                            let printed = match set.count() {
                                1 => format!("{set}-{set}"),
                                _ => set.to_string(),
                            };
                            assert_eq!(parse_ports(&printed), Ok(PortsWanted::Set(set)));
                        }
                        Err(error) => assert!(error.contains("position"), "{error}"),
                    }
                    match parse_variable(text) {
                        Ok((name, value)) => {
                            assert!(!name.is_empty() && !name.contains('='));
                            assert_eq!(format!("{name}={value}"), *text);
                        }
                        Err(_) => assert!(!text.contains('=') || text.starts_with('=')),
                    }
                }
            });
    }
}
