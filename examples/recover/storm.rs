//! A node with 10,000 children dies, while other actors are called.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::supervision::ChildState;
use serde_json::json;

use crate::crew::{Crew, CrewError, FRONT};
use crate::echo::{Echo, EchoMsg};
use crate::row::{Row, quantile};

const NODES: usize = 4;
const CHILDREN: usize = 10_000;
const BAR: &str = "all running again <= 60 s, other actors' p99 <= 2 x, tree intact";
const AGAIN_S: f64 = 60.0;
const P99_FACTOR: f64 = 2.0;
/// How long the others are called before the storm.
const CALM: Duration = Duration::from_secs(5);
/// How often another actor is called.
const EVERY: Duration = Duration::from_millis(1);
/// How often the supervisor is asked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// How long all may take before the row gives up.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run() -> Result<Row, CrewError> {
    let mut crew = Crew::start(NODES).await?;
    let mut spec = Supervisor::spec(Strategy::OneForOne);
    for number in 0..CHILDREN {
        let demand = Demand::cpu(0.001).without_label(FRONT);
        spec = spec.child(number.to_string(), Echo::spec(()).needs(demand).pack());
    }
    let tree = crew.first.supervise(spec).await?;
    let victim = tree.children().await.first().and_then(|child| child.node);
    let victim = victim.ok_or_else(|| CrewError::Other("the children run here".into()))?;
    let lost = tree.children().await.iter().filter(|child| child.node == Some(victim)).count();
    let other = crew
        .first
        .members()
        .iter()
        .map(|member| member.node)
        .find(|node| *node != victim && Some(*node) != crew.first.id());
    let other = other.ok_or(CrewError::Apart)?;
    let caller = crew.first.spawn(Echo::spec(()).on(other)).await?;

    let calm = p99_us(&caller, CALM).await;
    let over = Arc::new(AtomicBool::new(false));
    let calls = tokio::spawn({
        let (caller, over) = (caller.clone(), over.clone());
        async move { calls_us(&caller, || over.load(Ordering::Relaxed)).await }
    });
    let killed = Instant::now();
    crew.kill(victim).await?;
    let mut again = false;
    while !again && killed.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
        let gone = !crew
            .first
            .members()
            .iter()
            .any(|member| member.node == victim && member.standing == Standing::Alive);
        again = gone && tree.count().await.active == CHILDREN;
    }
    let again_s = killed.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut stormy = calls.await.map_err(std::io::Error::other)?;
    stormy.sort_by(f64::total_cmp);
    let stormy = quantile(&stormy, 990);
    let children = tree.children().await;
    let moved = |child: &&mobula::supervision::ChildInfo| {
        child.state == ChildState::Running && child.node.is_some_and(|node| node != victim)
    };
    let intact = children.iter().filter(moved).count() == CHILDREN;
    crew.dismiss().await;
    let figures = vec![
        ("children_lost", json!(lost)),
        ("all_again_s", json!((again_s * 1e3).round() / 1e3)),
        ("others_p99_us_before", json!(calm.round())),
        ("others_p99_us_during", json!(stormy.round())),
        ("tree_intact", json!(intact)),
    ];
    let reached = again && intact && again_s <= AGAIN_S && stormy <= P99_FACTOR * calm;
    Ok(Row::new("storm", BAR, figures, reached))
}

async fn p99_us(actor: &ActorRef<EchoMsg>, lasts: Duration) -> f64 {
    let began = Instant::now();
    let mut took = calls_us(actor, || began.elapsed() >= lasts).await;
    took.sort_by(f64::total_cmp);
    quantile(&took, 990)
}

/// How long each call took, in microseconds; one that failed counts with the time that it took.
async fn calls_us(actor: &ActorRef<EchoMsg>, over: impl Fn() -> bool) -> Vec<f64> {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut took = Vec::new();
    while !over() {
        interval.tick().await;
        let asked = Instant::now();
        // A failed call is a slow one; it is measured as every other.
        let _ = actor.call(EchoMsg::Ask).await;
        took.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    took
}
