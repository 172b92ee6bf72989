//! `run`: a framework of its own, for one task.
//!
//! - [`fit`]: whether an offer has room for the task.
//! - [`plan`]: what to do next; pure.
//! - here: asks the plan, does what it says, and ends with the task's status.

mod fit;
mod plan;

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use weir_client::{Calls, Framework, FrameworkSettings, fresh};
use weir_protocol::bounds::DURATION_MS_MAX;
use weir_protocol::{
    Argv, Ceilings, Command, Environment, FrameworkCall, FrameworkCapability, FrameworkInfo, Line,
    Millis, Run, TaskSpec, TaskState, TaskStatus,
};
use weir_resources::{Kind, Labels, Resources};

use super::args::{RunArguments, TaskName};
use super::connection::{Connection, software};
use super::exit::{Exit, Failure, chain};
use super::output::{print, print_json, say};
use fit::Wanted;
use plan::{End, Order, Plan, Step};

/// How long a task outlives a `run` that is gone without a word: long enough for a laptop to be closed
/// and opened, short enough that nothing is left behind for days.
const ATTACHED_FAILOVER: Millis = Millis(3_600_000);

/// How long a task that was left alone outlives its framework: as long as there is.
const DETACHED_FAILOVER: Millis = Millis(DURATION_MS_MAX);

pub(crate) async fn run(connection: Connection, arguments: RunArguments) -> Result<Exit, Failure> {
    let json = arguments.json;
    let (info, order) = order(arguments)?;
    let base = fresh::task_id(order.task.name.as_str())
        .map_err(|error| Failure::usage(error.to_string(), "choose another --name"))?;
    // From here on a Ctrl-C does not leave behind a task that nobody knows of.
    let mut interrupts = Interrupts::new().map_err(|error| {
        Failure::failed(
            format!("cannot watch for signals: {error}"),
            "check this user's limits",
        )
    })?;
    let settings = FrameworkSettings {
        // A command is watched: what comes back is wanted back soon.
        longest_pause: Duration::from_secs(5),
        ..FrameworkSettings::new(info, software())
    };
    let Connection {
        scheduler,
        credentials,
    } = connection;
    let mut framework = Framework::start(scheduler, credentials, settings);
    let mut plan = Plan::new(order, base);
    let end = follow(&mut framework, &mut plan, &mut interrupts).await;
    leave(framework, &plan, &end).await;
    conclude(end?, json)
}

/// Does what the plan says until it is over.
async fn follow(
    framework: &mut Framework,
    plan: &mut Plan,
    interrupts: &mut Interrupts,
) -> Result<End, Failure> {
    let calls = framework.calls();
    let started = Instant::now();
    loop {
        let tick = plan.next_tick();
        let steps = tokio::select! {
            event = framework.next() => plan.handle_event(started.elapsed(), event?),
            () = interrupts.next() => plan.handle_interrupt(),
            () = sleep_until(started + tick.unwrap_or_default()), if tick.is_some() => {
                plan.handle_tick(started.elapsed())
            }
        };
        for step in steps {
            match step {
                Step::Say(text) => say(&format!("weir: {text}")),
                Step::Call(call) => make(&calls, plan, call).await,
                Step::End(end) => return Ok(end),
            }
        }
    }
}

async fn make(calls: &Calls, plan: &mut Plan, call: FrameworkCall) {
    let made = calls.call(call.clone()).await;
    match made {
        Ok(id) => plan.handle_called(&call, id),
        // The plan is told by the next event: it asks again when there is a connection.
        Err(not_sent) => tracing::debug!(%not_sent, "a call is left out"),
    }
}

/// Ends the framework, unless its task is to go on.
async fn leave(framework: Framework, plan: &Plan, end: &Result<End, Failure>) {
    let stays = match end {
        Ok(
            End::Detached { .. } | End::Abandoned { .. } | End::Unreachable(_) | End::NotTaken(_),
        )
        | Err(_) => true,
        Ok(End::Ended(_) | End::Interrupted | End::NoOffer { .. } | End::Refused(_)) => false,
    };
    if !stays
        && let Some(id) = plan.framework()
        && framework.call(FrameworkCall::Teardown).await.is_err()
    {
        say(&format!(
            "weir: the scheduler still lists framework {id}; `weir teardown {id}` removes it"
        ));
    }
    framework.close().await;
}

/// Says how it ended.
fn conclude(end: End, json: bool) -> Result<Exit, Failure> {
    match end {
        End::Ended(status) => ended(&status),
        End::Detached { task, agent } if json => print_json(&json!({
            "framework_id": task.framework.to_string(),
            "task_id": task.task.as_str(),
            "agent_id": agent.map(|agent| agent.to_string()),
        })),
        End::Detached { task, .. } => print(&format!("{task}\n")),
        // As a shell says of a command that SIGINT ended.
        End::Interrupted => Ok(Exit::Task(130)),
        End::Abandoned { task } => Err(Failure::failed(
            format!("the scheduler is away, and {task} goes on"),
            format!("`weir kill {task}` when it is back"),
        )),
        End::NoOffer { lacking } => Err(Failure::failed(
            match lacking {
                Some(lacking) => format!("nothing that fits was offered in time: {lacking}"),
                None => "nothing was offered in time".to_owned(),
            },
            "ask for less, wait longer with --timeout, or look at `weir agents` and `weir roles`",
        )),
        End::Refused(failure) | End::NotTaken(failure) => Err(Failure::from(&failure)),
        End::Unreachable(error) => Err(Failure::failed(
            chain(&error),
            format!("{}; with --timeout it is tried until then", error.remedy()),
        )),
    }
}

/// Returns the status of a task as the command's own.
fn ended(status: &TaskStatus) -> Result<Exit, Failure> {
    let because = || {
        let mut text = format!("{} is {}", status.task, status.state);
        if let Some(reason) = status.reason {
            text.push_str(&format!(" ({reason})"));
        }
        if let Some(message) = status.message.as_ref().filter(|note| !note.is_empty()) {
            text.push_str(&format!(": {message}"));
        }
        text
    };
    match (status.state, status.exit) {
        (TaskState::Finished, None) => Ok(Exit::Done),
        (TaskState::Finished | TaskState::Failed | TaskState::Killed, Some(exit)) => {
            if status.state != TaskState::Finished {
                say(&format!("weir: {}", because()));
            }
            Ok(Exit::of_task(exit))
        }
        (TaskState::Error, _) => Err(Failure::refused(
            because(),
            "change what the task asks for; the same again ends the same",
        )),
        (TaskState::Lost, _) => Err(Failure::failed(
            because(),
            "look at `weir agents`; if the task may run twice, run it again",
        )),
        (TaskState::Failed | TaskState::Killed, None) => Err(Failure::failed(
            because(),
            "`weir tasks --all` says what is known; the agent's log says more",
        )),
        (TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing, _) => {
            Err(Failure::failed(
                because(),
                "please report this: a task that goes on was taken for one that has ended",
            ))
        }
    }
}

/// Returns the framework and the task that are asked for.
fn order(arguments: RunArguments) -> Result<(FrameworkInfo, Order), Failure> {
    let RunArguments {
        detach,
        revocable,
        role,
        name,
        cpus,
        mem,
        disk,
        egress,
        egress_max,
        ingress,
        ingress_max,
        ports,
        volume,
        user,
        env,
        workdir,
        network,
        timeout,
        grace,
        json: _,
        argv,
    } = arguments;
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let name = name.unwrap_or_else(|| TaskName::of_program(program));
    let name = Line::new(name.as_str())
        .map_err(|error| Failure::usage(error.to_string(), "choose another --name"))?;
    if cpus.is_zero() && mem.is_zero() && disk.is_zero() {
        return Err(Failure::usage(
            "a task that holds nothing cannot be run",
            "ask for some --cpus or --mem",
        ));
    }
    if let (Some(min), Some(max)) = (egress, egress_max)
        && min > max
    {
        return Err(Failure::usage(
            format!("--egress {min} is promised, and --egress-max {max} would not let it be sent"),
            "let the second be no less than the first",
        ));
    }
    let run = Argv::new(argv).map_err(|error| {
        Failure::usage(
            format!("the command cannot be run: {error}"),
            "write it behind `--`, as in `weir run -- ./server`",
        )
    })?;
    let environment = Environment::new(env)
        .map_err(|error| Failure::usage(format!("--env: {error}"), "give each name once"))?;
    let capabilities = revocable.then_some(FrameworkCapability::RevocableResources);
    let info = FrameworkInfo {
        name: name.clone(),
        role: role.clone(),
        user: None,
        failover_timeout: if detach {
            DETACHED_FAILOVER
        } else {
            ATTACHED_FAILOVER
        },
        unattended: detach,
        capabilities: capabilities.into_iter().collect(),
        labels: Labels::none(),
        weburl: None,
    };
    let order = Order {
        task: TaskSpec {
            // Another is put in its place with each attempt.
            id: fresh::task_id("task").expect("it is a short word"),
            name,
            command: Command {
                run: Run::Argv(run),
                environment,
                user,
                working_directory: workdir,
            },
            resources: Resources::new(),
            network: network.into(),
            kill_grace: grace,
            labels: Labels::none(),
            ceilings: Ceilings {
                egress: egress_max,
                ingress: ingress_max,
            },
        },
        wanted: Wanted {
            role,
            kind: if revocable {
                Kind::Revocable
            } else {
                Kind::Regular
            },
            cpus,
            mem,
            disk,
            egress,
            ingress,
            ports,
            volumes: volume,
            network: network.into(),
        },
        detach,
        deadline: timeout.map(Duration::from),
    };
    Ok((info, order))
}

/// The signals that end the task.
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

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
