//! `exec`: runs a container, and stays with it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::args::ExecArguments;
use super::exit::{Exit, Failure};
use super::follow::{Stream, print, say};
use super::remote::{Following, print_json, unreadable};
use super::show;
use crate::container::{ContainerView, Ended, Kill};
use crate::local::{Answer, Client, ClientError, Request};

/// How long an agent that went away is waited for: an upgrade or a restart takes a few seconds.
const AGENT_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile.
const AGENT_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(socket: PathBuf, arguments: ExecArguments) -> Result<Exit, Failure> {
    let (detach, json) = (arguments.detach, arguments.json);
    // From here on a Ctrl-C does not leave behind a container that nobody knows of.
    let mut interrupts = Interrupts::new()
        .map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
    let mut client = Client::connect(&socket).await?;
    let request = Request::Launch(Box::new(arguments.into_request()));
    let view = launch(&mut client, &request).await?;
    if detach {
        return if json {
            print_json(&view)
        } else {
            print_name(&view)
        };
    }
    let sinks: Vec<(Stream, Box<dyn io::Write + Send>)> = vec![
        (Stream::Stdout, Box::new(io::stdout())),
        (Stream::Stderr, Box::new(io::stderr())),
    ];
    let following = Following::start(&view.directory, sinks)
        .map_err(|error| unreadable(&view.directory, &error))?;
    let ended = wait(&socket, client, &view, &mut interrupts).await;
    match following.finish() {
        Ok(()) => {}
        // Whoever closed the pipe has seen enough; the task's end is told all the same.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => say(&format!(
            "weir-agent: {}",
            unreadable(&view.directory, &error).message
        )),
    }
    let outcome = ended?.outcome;
    Exit::of_task(&outcome).ok_or_else(|| {
        Failure::failed(format!(
            "container {}: {}",
            view.name,
            show::outcome(&outcome)
        ))
    })
}

async fn launch(client: &mut Client, request: &Request) -> Result<ContainerView, Failure> {
    match client.ask(request).await? {
        Answer::Container(view) => Ok(*view),
        Answer::Done | Answer::Containers(_) | Answer::Ended(_) | Answer::Statistics(_) => {
            Err(client.mismatch().into())
        }
    }
}

fn print_name(view: &ContainerView) -> Result<Exit, Failure> {
    // That nobody reads it is the reader's will.
    let _read = print(&format!("{}\n", view.name));
    Ok(Exit::Done)
}

/// Waits for the end of the container: through signals, and through restarts of the agent.
async fn wait(
    socket: &Path,
    mut client: Client,
    view: &ContainerView,
    interrupts: &mut Interrupts,
) -> Result<Ended, Failure> {
    let name = view.id.to_string();
    let request = Request::Wait { name: name.clone() };
    let mut kill = Kill::Gracefully;
    loop {
        let lost = {
            let answer = client.ask(&request);
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    answer = &mut answer => match answer {
                        Ok(Answer::Ended(ended)) => return Ok(ended),
                        Ok(Answer::Done
                            | Answer::Container(_)
                            | Answer::Containers(_)
                            | Answer::Statistics(_)) => {
                            let path = socket.to_owned();
                            return Err(ClientError::Mismatch { path }.into());
                        }
                        Err(lost @ ClientError::Lost { .. }) => break lost,
                        Err(error) => return Err(error.into()),
                    },
                    signal = interrupts.next() => {
                        say(&format!("weir-agent: {signal}: killing {} (again: at once)", view.name));
                        if let Err(failure) = send_kill(socket, &name, kill).await {
                            say(&format!("weir-agent: {}", failure.message));
                        }
                        kill = Kill::AtOnce;
                    }
                }
            }
        };
        say(&format!(
            "weir-agent: the agent went away; {} goes on, and the next agent is waited for",
            view.name
        ));
        client = reconnect(socket, lost, interrupts).await?;
    }
}

async fn send_kill(socket: &Path, name: &str, kill: Kill) -> Result<(), Failure> {
    // A connection of its own: the other one waits for its answer.
    let mut client = Client::connect(socket).await?;
    client
        .ask(&Request::Kill {
            name: name.to_owned(),
            kill,
        })
        .await?;
    Ok(())
}

async fn reconnect(
    socket: &Path,
    lost: ClientError,
    interrupts: &mut Interrupts,
) -> Result<Client, Failure> {
    let deadline = Instant::now() + AGENT_PATIENCE;
    while Instant::now() < deadline {
        // First the pause: an agent that is being killed closes one socket after the other.
        tokio::select! {
            () = sleep(AGENT_PAUSE) => {}
            signal = interrupts.next() => {
                return Err(Failure::failed(format!("{signal}: the container goes on")));
            }
        }
        if let Ok(client) = Client::connect(socket).await {
            return Ok(client);
        }
    }
    Err(lost.into())
}

/// The signals that are passed on.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
