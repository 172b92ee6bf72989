//! Durable accepts: frameworks that each accept one offer after another.
//!
//! Every caller is a framework over its own connection, with an agent whose resources are reserved for
//! its role, so that callers do not wait for each other's offers. One ACCEPT launches one small task
//! and is over when its operation is answered, which is not before it is on the disk; what is left of
//! the offer comes as the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_client::{Event, Framework};
use weir_protocol::{
    Action, Argv, Ceilings, Command, Environment, Filters, FrameworkCall, Line, Millis,
    NetworkMode, Offer, Operation, OperationId, OperationOutcome, Run, TaskId, TaskSpec,
};
use weir_resources::{Labels, Resources};
use weir_transport::PeerKind;

use crate::cluster::{Cluster, within};
use crate::node::Node;
use crate::sample::Times;
use crate::{Arguments, tell};

/// How long is accepted before anything is counted: until the database's pages and the connections'
/// windows are what they stay.
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) async fn measure(arguments: &Arguments, callers: usize) -> Result<()> {
    let cluster = Cluster::start(arguments)?;
    let credentials = cluster.credentials(PeerKind::Framework, "bench")?;
    let counts = Arc::new(AtomicBool::new(false));
    let stops = Arc::new(AtomicBool::new(false));
    let together = Arc::new(Barrier::new(callers + 1));
    let mut agents = JoinSet::new();
    let mut tasks = JoinSet::new();
    for number in 0..callers {
        let role = format!("role-{number}");
        // Enough for as many small tasks as any caller launches in a run.
        let has = format!("cpus({role}):60000;mem({role}):6000000");
        let mut node = Node::register(&cluster, &format!("n{number}"), &has).await?;
        agents.spawn(async move {
            // What it is told is read, as every agent does, and nothing is done about it.
            while node.hear().await.is_ok() {}
        });
        let framework = cluster.framework(&credentials, &role).await?;
        let caller = Caller {
            framework,
            task: task(&role)?,
            next: 0,
            counts: Arc::clone(&counts),
            stops: Arc::clone(&stops),
        };
        let together = Arc::clone(&together);
        tasks.spawn(async move {
            together.wait().await;
            caller.accept().await
        });
    }
    together.wait().await;
    tokio::time::sleep(WARM_UP).await;
    let commits = cluster.metric("weir_scheduler_store_commit_seconds_count")?;
    let on_cpu = cluster.on_cpu()?;
    let began = Instant::now();
    counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    counts.store(false, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let on_cpu = cluster.on_cpu()? - on_cpu;
    let commits = cluster.metric("weir_scheduler_store_commit_seconds_count")? - commits;
    stops.store(true, Ordering::Relaxed);
    let mut times = Times::default();
    while let Some(caller) = tasks.join_next().await {
        times.extend(caller??);
    }
    let accepts = times.len() as f64;
    let name = format!("accepts_{callers}");
    tell(&format!("{name}_rate"), accepts / seconds, "accepts/s");
    tell(&format!("{name}_commits"), commits / seconds, "commits/s");
    tell(&format!("{name}_cpu"), on_cpu / accepts * 1e6, "µs");
    times.tell(&name);
    agents.shutdown().await;
    Ok(())
}

/// A framework that accepts what it is offered.
struct Caller {
    framework: Framework,
    task: TaskSpec,
    next: u64,
    /// Whether what ends now is counted.
    counts: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
}

impl Caller {
    async fn accept(mut self) -> Result<Times> {
        let mut times = Times::default();
        let mut offers: Vec<Offer> = Vec::new();
        while !self.stops.load(Ordering::Relaxed) {
            let Some(offer) = offers.pop() else {
                if let Event::Offers(more) = self.next().await? {
                    offers.extend(more);
                }
                continue;
            };
            let operation = OperationId::new(format!("op-{}", self.next))?;
            let began = Instant::now();
            let call = self.launch(&offer, operation.clone())?;
            self.framework.call(call).await?;
            loop {
                match self.next().await? {
                    Event::Offers(more) => offers.extend(more),
                    Event::Operation { id, outcome } if id == operation => {
                        if let OperationOutcome::Failed(failure) = outcome {
                            bail!("a launch has failed: {failure}");
                        }
                        break;
                    }
                    Event::Operation { .. }
                    | Event::Subscribed { .. }
                    | Event::Rescinded { .. }
                    | Event::AgentLost { .. }
                    | Event::Update(_)
                    | Event::Disconnected { .. }
                    | Event::NotYet { .. }
                    | Event::Refused { .. } => {}
                }
            }
            if self.counts.load(Ordering::Relaxed) {
                times.push(began.elapsed());
            }
        }
        Ok(times)
    }

    async fn next(&mut self) -> Result<Event> {
        let event = within("an event", self.framework.next()).await??;
        let is_fine = !matches!(
            event,
            Event::Refused { .. } | Event::Disconnected { .. } | Event::Update(_)
        );
        ensure!(is_fine, "not what is measured: {event:?}");
        Ok(event)
    }

    fn launch(&mut self, offer: &Offer, operation: OperationId) -> Result<FrameworkCall> {
        let id = format!("t-{}", self.next);
        self.next += 1;
        let task = TaskSpec {
            id: TaskId::new(id)?,
            ..self.task.clone()
        };
        Ok(accept(offer, operation, task))
    }
}

/// Returns the call that launches one task on an offer and asks for what is left at once.
pub(crate) fn accept(offer: &Offer, operation: OperationId, task: TaskSpec) -> FrameworkCall {
    FrameworkCall::Accept {
        offers: vec![offer.id],
        operations: vec![Operation {
            id: operation,
            action: Action::Launch(vec![task]),
        }],
        filters: Filters { refuse: Millis(0) },
    }
}

/// Returns a small task of what is reserved for a role.
fn task(role: &str) -> Result<TaskSpec> {
    spec(format!("cpus({role}):0.1;mem({role}):1").parse()?)
}

/// Returns a task with these resources.
pub(crate) fn spec(resources: Resources) -> Result<TaskSpec> {
    Ok(TaskSpec {
        id: TaskId::new("t")?,
        name: Line::new("bench")?,
        command: Command {
            run: Run::Argv(Argv::new(vec!["true".to_owned()])?),
            environment: Environment::default(),
            user: None,
            working_directory: None,
        },
        resources,
        network: NetworkMode::Host,
        kill_grace: Millis(5_000),
        labels: Labels::none(),
        ceilings: Ceilings::default(),
    })
}
