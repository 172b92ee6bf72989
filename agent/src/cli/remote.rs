//! The commands that ask the daemon and print the answer.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use serde::Serialize;

use super::args::{KillSignal, UpdateArguments};
use super::exit::{Exit, Failure};
use super::follow::{Follower, Stream, print};
use super::show;
use crate::config::Config;
use crate::container::{ContainerView, now};
use crate::local::{Answer, Client, Request};

/// Returns the socket of the daemon: named, or configured.
pub(super) fn socket(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match named {
        Some(socket) => Ok(socket),
        None => Ok(Config::load_or_default(None)?.agent.socket),
    }
}

pub(super) async fn ps(socket: PathBuf, all: bool, json: bool) -> Result<Exit, Failure> {
    let mut client = Client::connect(&socket).await?;
    let Answer::Containers(views) = client.ask(&Request::List { all }).await? else {
        return Err(client.mismatch().into());
    };
    if json {
        print_json(&views)
    } else {
        print_text(&show::containers(&views, now()))
    }
}

pub(super) async fn stats(
    socket: PathBuf,
    name: Option<String>,
    json: bool,
) -> Result<Exit, Failure> {
    let mut client = Client::connect(&socket).await?;
    let Answer::Statistics(statistics) = client.ask(&Request::Statistics { name }).await? else {
        return Err(client.mismatch().into());
    };
    if json {
        print_json(&statistics)
    } else {
        print_text(&show::statistics(&statistics))
    }
}

pub(super) async fn logs(
    socket: PathBuf,
    name: String,
    follow: bool,
    stderr: bool,
) -> Result<Exit, Failure> {
    let mut client = Client::connect(&socket).await?;
    let view = find(&mut client, name).await?;
    let stream = if stderr {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    let sinks: Vec<(Stream, Box<dyn io::Write + Send>)> = vec![(stream, Box::new(io::stdout()))];
    let unreadable = |error: io::Error| unreadable(&view.directory, &error);
    if !follow || !view.state.is_live() {
        let mut follower = match Follower::new(&view.directory, sinks) {
            Ok(follower) => follower,
            // It was given up before it had a directory, and has written nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !view.state.is_live() => {
                return Ok(Exit::Done);
            }
            Err(error) => return Err(unreadable(error)),
        };
        return end_of_copy(&view.directory, follower.copy_available());
    }
    let following = Following::start(&view.directory, sinks).map_err(unreadable)?;
    let ended = client
        .ask(&Request::Wait {
            name: view.id.to_string(),
        })
        .await;
    let copied = following.finish();
    ended?;
    end_of_copy(&view.directory, copied)
}

pub(super) async fn kill(
    socket: PathBuf,
    name: String,
    signal: KillSignal,
) -> Result<Exit, Failure> {
    let mut client = Client::connect(&socket).await?;
    let id = find(&mut client, name.clone()).await?.id.to_string();
    client
        .ask(&Request::Kill {
            name: id.clone(),
            kill: signal.into(),
        })
        .await?;
    // Whoever kills wants it gone: its ports and its name are free when this returns.
    let Answer::Ended(_) = client.ask(&Request::Wait { name: id }).await? else {
        return Err(client.mismatch().into());
    };
    Ok(Exit::Done)
}

pub(super) async fn update(socket: PathBuf, arguments: UpdateArguments) -> Result<Exit, Failure> {
    let mut client = Client::connect(&socket).await?;
    let limits = arguments.limits();
    let UpdateArguments {
        name,
        ports,
        force,
        json,
        ..
    } = arguments;
    let is_of_ports = ports.is_some();
    let request = match ports {
        Some(ports) => Request::UpdatePorts { name, ports },
        None => Request::UpdateLimits {
            name,
            limits,
            may_kill: force,
        },
    };
    let Answer::Container(view) = client.ask(&request).await? else {
        return Err(client.mismatch().into());
    };
    if json {
        print_json(&view)
    } else if is_of_ports {
        print_text(&format!("{}\n", view.ports))
    } else {
        let limits = show::limits(&view.limits, view.unenforced);
        print_text(&format!("{limits}\n"))
    }
}

async fn find(client: &mut Client, name: String) -> Result<ContainerView, Failure> {
    match client.ask(&Request::Find { name }).await? {
        Answer::Container(view) => Ok(*view),
        Answer::Done | Answer::Containers(_) | Answer::Ended(_) | Answer::Statistics(_) => {
            Err(client.mismatch().into())
        }
    }
}

/// A thread that copies output until it is told that there is no more.
pub(super) struct Following {
    /// Closed to say that the container has ended.
    over: io::PipeWriter,
    thread: JoinHandle<io::Result<()>>,
}

impl Following {
    pub(super) fn start(
        directory: &Path,
        sinks: Vec<(Stream, Box<dyn io::Write + Send>)>,
    ) -> io::Result<Self> {
        let follower = Follower::new(directory, sinks)?;
        let (ended, over) = io::pipe()?;
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || follower.run(ended.as_fd()))?;
        Ok(Self { over, thread })
    }

    /// Copies what is left, and returns how the copying went.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.over);
        self.thread.join().expect("the thread returns its errors")
    }
}

pub(super) fn unreadable(directory: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot read the output in {}: {error}",
        directory.display()
    ))
}

fn end_of_copy(directory: &Path, copied: io::Result<()>) -> Result<Exit, Failure> {
    match copied {
        Ok(()) => Ok(Exit::Done),
        // `logs | head` has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(unreadable(directory, &error)),
    }
}

pub(super) fn print_text(text: &str) -> Result<Exit, Failure> {
    // That nobody reads it any more is the reader's will.
    let _read = print(text);
    Ok(Exit::Done)
}

pub(super) fn print_json(value: &impl Serialize) -> Result<Exit, Failure> {
    let mut text = serde_json::to_string_pretty(value).expect("what is printed is plain data");
    text.push('\n');
    print_text(&text)
}
