//! Actors are started over 3 nodes, and each answers.

use std::time::Instant;

use futures::{StreamExt, stream};
use mobula::prelude::*;
use serde_json::json;

use crate::crew::{Crew, CrewError};
use crate::echo::{Echo, EchoMsg};
use crate::row::Row;

const NODES: usize = 3;
const ACTORS: usize = 100_000;
/// Starts under way at a time.
const UNDER_WAY: usize = 1_024;
const BAR: &str = ">= 20,000 actors/s started and answering";
const PER_S: f64 = 20_000.0;

pub async fn run() -> Result<Row, CrewError> {
    let crew = Crew::start(NODES).await?;
    let began = Instant::now();
    let node = &crew.first;
    let mut starting = stream::iter(0..ACTORS).map(|_| started(node)).buffer_unordered(UNDER_WAY);
    let mut actors = Vec::with_capacity(ACTORS);
    while let Some(actor) = starting.next().await {
        actors.push(actor?);
    }
    let per_s = ACTORS as f64 / began.elapsed().as_secs_f64();
    drop(starting);
    let elsewhere = actors.iter().filter(|actor| node.inspect(*actor).is_none()).count();
    let figures = vec![
        ("actors", json!(actors.len())),
        ("elsewhere", json!(elsewhere)),
        ("per_s", json!(per_s.round())),
    ];
    crew.dismiss().await;
    Ok(Row::new("spawn", BAR, figures, per_s >= PER_S))
}

async fn started(node: &Node) -> Result<ActorRef<EchoMsg>, CrewError> {
    let actor = node.spawn(Echo::spec(()).anywhere()).await?;
    actor.call(EchoMsg::Ask).await?;
    Ok(actor)
}
