//! `weir-scheduler`: the daemon that lends the resources of agents to frameworks.
//!
//! 1. What was typed is read; a mistake ends here, with exit code 64.
//! 2. `run` reads the configuration, starts to log, and serves until SIGTERM or SIGINT
//!    ([`weir_scheduler::daemon`]).
//! 3. `check-config` says whether the configuration can be used, with its certificates.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 64 usage or configuration.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory as _, Parser, Subcommand};
use weir_scheduler::config::{Config, DEFAULT_PATH, SchedulerConfig};
use weir_scheduler::daemon::{self, DaemonError, chain};
use weir_service::log;
use weir_transport::{Credentials, PeerKind};

/// What was typed, or the configuration, makes no sense: `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

/// The threads for everything but the database: one for the ledger, the others for connections.
const WORKER_THREADS_MIN: usize = 2;

/// Lend the resources of agents to frameworks
#[derive(Debug, Parser)]
#[command(
    name = "weir-scheduler",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 failed, 64 usage or configuration. \
                  Data goes to stdout, talk to stderr."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the scheduler
    ///
    /// Runs until SIGTERM or SIGINT. SIGHUP reads the certificates and the rules of access again. Agents,
    /// tasks and frameworks outlive it, and the next scheduler takes them over.
    Run {
        /// Read the configuration from this file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },

    /// Say whether a configuration can be used, with the certificates that it names
    CheckConfig {
        /// Read the configuration from this file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Leave out the certificates, which may not be there yet
        #[arg(long)]
        without_certificates: bool,
    },

    /// Write the manual pages, for whoever makes packages
    #[command(hide = true)]
    Manual {
        /// Into this directory
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; all else is a mistake.
            let exit = if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
            drop(error.print());
            return exit;
        }
    };
    match cli.command {
        Command::Run { config } => run(&config),
        Command::CheckConfig {
            config,
            without_certificates,
        } => check_config(&config, without_certificates),
        Command::Manual { directory } => {
            match clap_mangen::generate_to(Cli::command(), directory) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => complain(&error, 1),
            }
        }
    }
}

fn run(path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return complain(&error, USAGE),
    };
    let SchedulerConfig {
        log_filter,
        log_format,
        ..
    } = &config.scheduler;
    if let Err(error) = log::start(log_filter, *log_format, "weir-scheduler") {
        say(&format!("weir-scheduler: [scheduler] {error}"));
        return ExitCode::from(USAGE);
    }
    let threads = std::thread::available_parallelism()
        .map_or(WORKER_THREADS_MIN, usize::from)
        .max(WORKER_THREADS_MIN);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("weir-scheduler")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, 1),
    };
    let result = runtime.block_on(daemon::run(config, path.to_owned()));
    // Conversations that linger have been told everything that counts.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&error), remedy = error.remedy(), "the scheduler cannot go on");
            // What `check-config` refuses as well; certificates that are not there now are not two seconds later either.
            let code = if matches!(error, DaemonError::Credentials(_)) {
                USAGE
            } else {
                1
            };
            complain(&error, code)
        }
    }
}

fn check_config(path: &Path, without_certificates: bool) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return complain(&error, USAGE),
    };
    if !without_certificates {
        let files = config.tls.files();
        match Credentials::load(&files, &[PeerKind::Scheduler], SystemTime::now()) {
            Ok(credentials) => {
                for warning in credentials.warnings() {
                    say(&format!("weir-scheduler: {warning}"));
                }
            }
            Err(error) => {
                let exit = complain(&error, USAGE);
                say(&format!("weir-scheduler: {}", error.remedy()));
                return exit;
            }
        }
    }
    let valid = format!("{} is valid\n", path.display());
    match std::io::stdout().write_all(valid.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

/// Says on stderr why the program ends so.
fn complain(error: &dyn Error, exit: u8) -> ExitCode {
    say(&format!("weir-scheduler: {}", chain(error)));
    ExitCode::from(exit)
}

fn say(line: &str) {
    // Without stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{line}"));
}
