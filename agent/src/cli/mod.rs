//! What people type, and what they get to see.
//!
//! Words become domain types in `args`, once; each command is a function that returns an `Exit`.

mod args;
mod daemon;
mod exec;
mod exit;
mod follow;
mod node;
mod remote;
mod show;
mod table;

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;

use args::{Cli, Command};
use exit::{Exit, Failure};

/// Does what the words say.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; all else is a mistake.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            drop(error.print());
            return exit.into();
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let Failure { exit, message } = failure;
            if !message.is_empty() {
                follow::say(&format!("weir-agent: {message}"));
            }
            exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { socket, command } = cli;
    match command {
        Command::Run { config } => daemon::run(&config),
        Command::Doctor { config, json } => node::doctor(config.as_deref(), json),
        Command::Cleanup {
            config,
            kill_containers,
        } => node::cleanup(config.as_deref(), kill_containers),
        Command::CheckConfig { config, json } => node::check_config(&config, json),
        Command::Exec(arguments) => wait_for(exec::run(remote::socket(socket)?, *arguments)),
        Command::Ps { all, json } => wait_for(remote::ps(remote::socket(socket)?, all, json)),
        Command::Stats { name, json } => {
            wait_for(remote::stats(remote::socket(socket)?, name, json))
        }
        Command::Logs {
            name,
            follow,
            stderr,
        } => wait_for(remote::logs(remote::socket(socket)?, name, follow, stderr)),
        Command::Kill { name, signal } => {
            wait_for(remote::kill(remote::socket(socket)?, name, signal))
        }
        Command::Update(arguments) => wait_for(remote::update(remote::socket(socket)?, *arguments)),
        Command::Completions { shell } => completions(shell),
        Command::Manual { directory } => manual(&directory),
    }
}

fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir-agent", &mut script);
    if follow::print(&String::from_utf8_lossy(&script)) {
        Ok(Exit::Done)
    } else {
        Ok(Exit::Failed)
    }
}

fn manual(directory: &Path) -> Result<Exit, Failure> {
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
        Failure::failed(format!(
            "cannot write manual pages into {}: {error}",
            directory.display()
        ))
    })?;
    Ok(Exit::Done)
}

/// Runs a command that asks the daemon: one thread is enough.
fn wait_for(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot wait for anything: {error}")))?
        .block_on(command)
}
