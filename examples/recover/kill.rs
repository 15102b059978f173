//! One of 5 nodes, which has 100 actors, is killed again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use mobula::prelude::*;
use serde_json::json;

use crate::crew::{Crew, CrewError, FRONT};
use crate::echo::{Echo, EchoMsg};
use crate::row::{Row, quantile};

const NODES: usize = 5;
const ACTORS: usize = 100;
const BAR: &str = "all recovered; until all answer again: median <= 300 ms, worst <= 1 s";
const MEDIAN_MS: f64 = 300.0;
const WORST_MS: f64 = 1_000.0;
/// How long all may take before they count as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// A call that finds nobody is tried again.
const CALL: Duration = Duration::from_secs(5);

pub async fn run(repeats: u32) -> Result<Row, CrewError> {
    let mut crew = Crew::start(NODES).await?;
    let mut took_ms = Vec::new();
    for _ in 0..repeats {
        took_ms.extend(once(&mut crew).await?.map(|took| took.as_secs_f64() * 1e3));
    }
    crew.dismiss().await;
    took_ms.sort_by(f64::total_cmp);
    let (recovered, median, worst) =
        (took_ms.len(), quantile(&took_ms, 500), quantile(&took_ms, 1_000));
    let all = recovered == repeats as usize;
    let reached = all && median <= MEDIAN_MS && worst <= WORST_MS;
    let figures = vec![
        ("kills", json!(repeats)),
        ("recovered", json!(recovered)),
        ("median_ms", json!(median.round())),
        ("worst_ms", json!(worst.round())),
    ];
    Ok(Row::new("kill", BAR, figures, reached))
}

/// A tree with so many children on one node, which is killed and then started again. How long it
/// took until all of them answered in a later run; `None` if they did not.
async fn once(crew: &mut Crew) -> Result<Option<Duration>, CrewError> {
    let tree = crew.first.supervise(Supervisor::spec(Strategy::OneForOne)).await?;
    let (victim, actors) = filled(&tree).await?;
    let killed = Instant::now();
    let at = crew.kill(victim).await?;
    let answers = join_all(actors.iter().map(|actor| again(actor, killed)));
    let recovered = answers.await.into_iter().all(|answered| answered);
    let took = killed.elapsed();
    crew.launch(at).await?;
    tree.stop(PATIENCE).await;
    crew.agree(NODES).await?;
    Ok(recovered.then_some(took))
}

/// Starts children that fill one node before the next, until a node has them all.
async fn filled(tree: &Tree) -> Result<(NodeId, Vec<ActorRef<EchoMsg>>), CrewError> {
    for number in 0..NODES * ACTORS {
        let demand = Demand::cpu(0.1).without_label(FRONT);
        tree.spawn(number.to_string(), Echo::spec(()).needs(demand).pack()).await?;
        if number + 1 < ACTORS {
            continue;
        }
        let mut nodes: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        for child in tree.children().await {
            if let (Some(node), Some(actor)) = (child.node, tree.child(&child.id)) {
                nodes.entry(node).or_default().push(actor);
            }
        }
        if let Some(full) = nodes.into_iter().find(|(_, actors)| actors.len() == ACTORS) {
            return Ok(full);
        }
    }
    Err(CrewError::Other("no node has as many children".into()))
}

/// Waits for the answer of a later run than the first.
async fn again(actor: &ActorRef<EchoMsg>, since: Instant) -> bool {
    while since.elapsed() < PATIENCE {
        match actor.call(EchoMsg::Ask).within(CALL).await {
            Ok(epoch) if epoch > Epoch(1) => return true,
            // It was not there yet, or the call was lost with the node.
            _ => tokio::task::yield_now().await,
        }
    }
    false
}
