//! What the daemon needs for agents that are connected and say nothing but that they are there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use weir_transport::PeerKind;

use crate::cluster::Cluster;
use crate::node::Node;
use crate::{Arguments, tell};

/// How many agents connect at once.
const AT_ONCE: usize = 32;

/// How many agents connect before anything is counted: what the first of them need, the others share.
const FIRST: u32 = 16;

/// How long the daemon is left alone: twice the time after which a peer that is silent is dead, so that
/// what is held for handshakes and retransmissions is given back.
const SETTLED: Duration = Duration::from_secs(20);

pub(crate) async fn measure(arguments: &Arguments) -> Result<()> {
    let cluster = Arc::new(Cluster::start(arguments)?);
    // One framework, as there always is: agents are offered, and the offers held.
    let credentials = cluster.credentials(PeerKind::Framework, "bench")?;
    let framework = cluster.framework(&credentials, "web").await?;
    let mut framework = std::pin::pin!(listen(framework));
    let measured = async {
        let mut nodes = connect(&cluster, 0..FIRST).await?;
        tokio::time::sleep(SETTLED).await;
        let [all_before, own_before] = cluster.resident()?;
        nodes.extend(connect(&cluster, FIRST..FIRST + arguments.connections).await?);
        tokio::time::sleep(SETTLED).await;
        let connected = cluster.metric("weir_scheduler_sessions{kind=\"agent\"}")?;
        ensure!(
            connected == nodes.len() as f64,
            "{connected} agents are connected, and {} were",
            nodes.len()
        );
        let [all, own] = cluster.resident()?;
        let on_cpu = cluster.on_cpu()?;
        tokio::time::sleep(SETTLED).await;
        let on_cpu = (cluster.on_cpu()? - on_cpu) / SETTLED.as_secs_f64();
        let per_agent = |before: u64, after: u64| {
            after.saturating_sub(before) as f64 / f64::from(arguments.connections) / 1024.0
        };
        let kibibytes = |bytes: u64| bytes as f64 / 1024.0;
        tell(
            "idle_connections",
            f64::from(arguments.connections),
            "agents",
        );
        tell("idle_before", kibibytes(all_before), "KiB");
        tell("idle_after", kibibytes(all), "KiB");
        tell("idle_per_agent", per_agent(all_before, all), "KiB");
        tell(
            "idle_per_agent_anonymous",
            per_agent(own_before, own),
            "KiB",
        );
        tell("idle_cpu", on_cpu * 100.0, "%");
        Ok(())
    };
    tokio::select! {
        result = measured => result,
        result = &mut framework => result,
    }
}

/// Reads what a framework is told, and holds every offer.
async fn listen(mut framework: weir_client::Framework) -> Result<()> {
    loop {
        framework.next().await?;
    }
}

async fn connect(cluster: &Arc<Cluster>, numbers: std::ops::Range<u32>) -> Result<Vec<Node>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut connecting = JoinSet::new();
    let certified = numbers.map(|number| {
        let name = format!("n{number}");
        let credentials = cluster.credentials(PeerKind::Agent, &name)?;
        Ok((name, credentials))
    });
    let certified: Vec<_> = certified.collect::<Result<_>>()?;
    for (name, credentials) in certified {
        let (cluster, places) = (Arc::clone(cluster), Arc::clone(&places));
        connecting.spawn(async move {
            let _place = places.acquire().await?;
            let has = "cpus:4;mem:4096;disk:10000;ports:[31000-31999]";
            Node::register_as(&cluster, credentials, &name, has).await
        });
    }
    let mut nodes = Vec::new();
    while let Some(node) = connecting.join_next().await {
        nodes.push(node??);
    }
    Ok(nodes)
}
