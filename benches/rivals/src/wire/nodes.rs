//! Many nodes in one process: what each costs.

use std::time::{Duration, Instant};

use mobula::net::{Allowlist, Identity};
use mobula::prelude::*;

use super::Who;
use super::bench::Scale;
use crate::bench::{Of, Sample, Unit};
use crate::memory::resident_bytes;
use crate::side::Outcome;

const PATIENCE: Duration = Duration::from_secs(60);

/// How long clusters of several sizes take to come together, and their memory per node. The rivals
/// have one node per process.
pub(super) async fn measure(who: Who, scale: Scale) -> Outcome<Vec<Sample>> {
    let mut samples = Vec::new();
    if who != Who::Mobula {
        return Ok(samples);
    }
    for &nodes in scale.nodes {
        let (before, clock) = (resident_bytes()?, Instant::now());
        let cluster = cluster(nodes).await?;
        let time = clock.elapsed().as_secs_f64() * 1e6;
        let bytes = resident_bytes()?.saturating_sub(before) as f64 / nodes as f64;
        let of = Some(Of::Nodes(nodes));
        samples.push(Sample { of, ..Sample::new(time, Unit::Microseconds) });
        samples.push(Sample { of, ..Sample::new(bytes, Unit::Bytes) });
        for node in cluster {
            node.stop().await;
        }
    }
    Ok(samples)
}

/// Nodes that all know of each other.
async fn cluster(nodes: u64) -> Outcome<Vec<Node>> {
    let keys: Vec<_> = (0..nodes).map(|_| Identity::generate()).collect();
    let members: Allowlist = keys.iter().map(Identity::peer_key).collect();
    let mut cluster: Vec<Node> = Vec::new();
    for key in keys {
        let seeds = cluster.first().map(Node::addresses).unwrap_or_default();
        let builder = Node::builder().key(key).members(members.clone()).join(seeds);
        cluster.push(builder.listen("/ip4/127.0.0.1/tcp/0").start().await?);
    }
    for node in &cluster {
        if !node.until(PATIENCE, |members| members.len() as u64 == nodes).await {
            return Err(format!("{nodes} nodes did not all meet").into());
        }
    }
    Ok(cluster)
}
