//! From a task's end to the offer of what it had, over QUIC and through the database.
//!
//! Every agent is filled with one task each by frameworks that take whatever they are offered. Then
//! tasks end one by one: the clock runs from when the agent begins to say so until some framework has
//! the offer in its hands.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_client::{Event, Framework};
use weir_protocol::{AgentId, Launch, OperationId, OperationOutcome, TaskId, TaskSpec};
use weir_transport::PeerKind;

use crate::Arguments;
use crate::accepts::{accept, spec};
use crate::cluster::{Cluster, within};
use crate::node::Node;
use crate::sample::Times;

const AGENTS: usize = 50;
const FRAMEWORKS: usize = 10;
const HAS: &str = "cpus:4;mem:4096";

/// An offer that came, and when.
struct Came {
    agent: AgentId,
    at: Instant,
}

pub(crate) async fn measure(arguments: &Arguments) -> Result<()> {
    let cluster = Cluster::start(arguments)?;
    let credentials = cluster.credentials(PeerKind::Framework, "bench")?;
    // As many as there can be at once.
    let (tell, mut came) = mpsc::channel(AGENTS);
    let mut frameworks = JoinSet::new();
    let task = Arc::new(spec(HAS.parse()?)?);
    for _ in 0..FRAMEWORKS {
        let framework = cluster.framework(&credentials, "web").await?;
        frameworks.spawn(take_all(framework, Arc::clone(&task), tell.clone()));
    }
    drop(tell);
    let mut nodes = Vec::new();
    for number in 0..AGENTS {
        let mut node = Node::register(&cluster, &format!("n{number}"), HAS).await?;
        next_offer(&mut came, &node, &mut frameworks).await?;
        let launch = within("LAUNCH", node.launched()).await??;
        nodes.push((node, launch));
    }
    let mut times = Times::default();
    for number in 0..arguments.ends {
        let (node, launch): &mut (Node, Launch) = &mut nodes[number % AGENTS];
        let began = Instant::now();
        node.finished(launch, number as u128 + 1).await?;
        let at = next_offer(&mut came, node, &mut frameworks).await?;
        times.push(at.duration_since(began));
        *launch = within("LAUNCH", node.launched()).await??;
    }
    times.tell("freed_over_quic");
    frameworks.shutdown().await;
    Ok(())
}

/// Waits until somebody was offered what an agent has.
async fn next_offer(
    came: &mut mpsc::Receiver<Came>,
    node: &Node,
    frameworks: &mut JoinSet<Result<()>>,
) -> Result<Instant> {
    tokio::select! {
        offer = within("an offer", came.recv()) => {
            let offer = offer?.context("no framework is left")?;
            if offer.agent != node.id() {
                bail!("an offer of {} came, and {} has something to offer", offer.agent, node.id());
            }
            Ok(offer.at)
        }
        Some(ended) = frameworks.join_next() => {
            ended??;
            bail!("a framework has ended");
        }
    }
}

/// Takes every offer whole, and acknowledges what it hears of its tasks.
async fn take_all(
    mut framework: Framework,
    task: Arc<TaskSpec>,
    tell: mpsc::Sender<Came>,
) -> Result<()> {
    let mut next = 0_u64;
    loop {
        match framework.next().await? {
            Event::Offers(offers) => {
                let at = Instant::now();
                for offer in offers {
                    next += 1;
                    let task = TaskSpec {
                        id: TaskId::new(format!("t-{next}"))?,
                        ..TaskSpec::clone(&task)
                    };
                    let operation = OperationId::new(format!("op-{next}"))?;
                    framework.call(accept(&offer, operation, task)).await?;
                    let agent = offer.agent;
                    tell.send(Came { agent, at }).await.ok();
                }
            }
            Event::Update(status) => framework.acknowledge(&status).await?,
            Event::Operation {
                outcome: OperationOutcome::Accepted | OperationOutcome::Finished { .. },
                ..
            } => {}
            other @ (Event::Operation { .. }
            | Event::Subscribed { .. }
            | Event::Disconnected { .. }
            | Event::NotYet { .. }
            | Event::Rescinded { .. }
            | Event::AgentLost { .. }
            | Event::Refused { .. }) => bail!("not what is measured: {other:?}"),
        }
    }
}
