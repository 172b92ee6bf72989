//! The command `weir`: what a cluster is to do, and what it does.
//!
//! Words become domain types in `args`, once; each command is a function that returns an `Exit`.
//!
//! - `args`: the words. `connection`: where the scheduler is, and as whom.
//! - `list`: commands that list. `change`: commands that change something. `run`: runs a task.
//! - `certs`: certificates for development, without a scheduler.
//! - `mistake`: what to say of words that make no command.
//! - `exit`, `output`, `table`, `units`: how a command ends, and how it speaks.
#![forbid(unsafe_code)]

mod args;
mod certs;
mod change;
mod connection;
mod exit;
mod list;
mod mistake;
mod output;
mod run;
mod table;
mod units;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, Shell};
use change::Direction;
use connection::{Connection, Part, wait_for};
use exit::{Exit, Failure};
use output::{print, say};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let words = std::env::args_os().skip(1);
            let words: Vec<String> = words
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            if let Some(failure) = mistake::failure_of(&error, &words) {
                say(&failure.lines());
                return failure.exit.into();
            }
            // Help and version are answers; that nothing was asked for is a mistake.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // That nobody reads it is the reader's will.
            drop(error.print());
            return exit.into();
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say(&failure.lines());
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli {
        connection,
        command,
    } = cli;
    let operator =
        || -> Result<_, Failure> { Ok(Connection::find(&connection, Part::Operator)?.operator()) };
    match command {
        Command::Agents(list) => wait_for(list::agents(operator()?, list)),
        Command::Offers(list) => wait_for(list::offers(operator()?, list)),
        Command::Roles(list) => wait_for(list::roles(operator()?, list)),
        Command::Frameworks(list) => wait_for(list::frameworks(operator()?, list)),
        Command::Tasks(tasks) => wait_for(list::tasks(operator()?, tasks)),
        Command::Weights(list) => wait_for(list::weights(operator()?, list)),
        Command::Reservations(place) => wait_for(list::reservations(operator()?, place)),
        Command::Reserve(change) => {
            wait_for(change::reserve(operator()?, change, Direction::Reserve))
        }
        Command::Unreserve(change) => {
            wait_for(change::reserve(operator()?, change, Direction::Unreserve))
        }
        Command::Volume(command) => wait_for(change::volume(operator()?, command)),
        Command::Kill {
            task,
            grace,
            output,
        } => wait_for(change::kill(operator()?, task, grace, output)),
        Command::Drain {
            agent,
            grace,
            output,
        } => wait_for(change::drain(operator()?, agent, grace, output)),
        Command::RemoveAgent { agent, output } => {
            wait_for(change::remove_agent(operator()?, agent, output))
        }
        Command::Weight {
            role,
            weight,
            output,
        } => wait_for(change::set_weight(operator()?, role, weight, output)),
        Command::Teardown { framework, output } => {
            wait_for(change::teardown(operator()?, framework, output))
        }
        Command::Run(arguments) => {
            let connection = Connection::find(&connection, Part::Framework)?;
            wait_for(run::run(connection, *arguments))
        }
        Command::Certs(command) => certs::certs(command),
        Command::Completions { shell } => completions(shell),
        Command::Manual { directory } => manual(&directory),
    }
}

fn manual(directory: &Path) -> Result<Exit, Failure> {
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
        Failure::failed(
            format!(
                "cannot write manual pages into {}: {error}",
                directory.display()
            ),
            "name a directory that is there and can be written",
        )
    })?;
    Ok(Exit::Done)
}

fn completions(shell: Shell) -> Result<Exit, Failure> {
    use clap_complete::{Shell as Known, generate};
    let known = match shell {
        Shell::Bash => Known::Bash,
        Shell::Zsh => Known::Zsh,
        Shell::Fish => Known::Fish,
    };
    let mut script = Vec::new();
    generate(known, &mut Cli::command(), "weir", &mut script);
    print(&String::from_utf8_lossy(&script))
}
