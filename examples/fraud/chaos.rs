//! Kills and stops nodes at random while the stream runs, and brings them back.
//!
//! The first node, which has the source, the sink and the supervisor, is never hit. A node that was
//! stopped for long was declared dead meanwhile: it notices when it goes on, and joins as a new life.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mobula::machine::Rng;
use serde::Serialize;

use crate::crew::{Crew, CrewError};
use crate::progress::Progress;

/// Between two steps, in milliseconds.
const REST_MS: (u64, u64) = (300, 2_000);
/// How long a node is away, in milliseconds: shorter and longer than it takes to be declared dead.
const AWAY_MS: (u64, u64) = (500, 12_000);

/// What was done to the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Nodes that were killed.
    pub kills: u64,
    /// Nodes that were stopped, and went on later.
    pub pauses: u64,
    /// Killed nodes that were started again.
    pub rejoins: u64,
}

/// A node that does not run now.
struct Away {
    worker: usize,
    back_at: Instant,
    paused: bool,
}

/// Until `until`; then all nodes are back or on their way.
pub async fn run(
    crew: &mut Crew,
    until: Instant,
    seed: u64,
    progress: &Progress,
) -> Result<Tally, CrewError> {
    let mut rng = Rng::new(seed);
    let mut tally = Tally::default();
    let mut away: VecDeque<Away> = VecDeque::new();
    // The actors fit on the nodes that are left.
    let away_max = (crew.workers() / 3).max(1);
    while Instant::now() < until {
        let rest = Duration::from_millis(between(&mut rng, REST_MS));
        tokio::time::sleep_until((Instant::now() + rest).min(until).into()).await;
        let now = Instant::now();
        for _ in 0..away.len() {
            match away.pop_front() {
                Some(back) if back.back_at <= now => bring(crew, &back, &mut tally).await?,
                waits => away.extend(waits),
            }
        }
        if away.len() >= away_max {
            continue;
        }
        let worker = rng.below(crew.workers() as u64) as usize;
        if away.iter().any(|other| other.worker == worker) {
            continue;
        }
        let paused = rng.below(2) == 0;
        let lasts = Duration::from_millis(between(&mut rng, AWAY_MS));
        let verb = if paused { "stopping" } else { "killing" };
        progress.say(format!("{verb} {} for {} ms", crew.worker_name(worker), lasts.as_millis()));
        if paused {
            crew.pause(worker)?;
            tally.pauses += 1;
        } else {
            crew.kill_worker(worker).await?;
            tally.kills += 1;
        }
        away.push_back(Away { worker, back_at: now + lasts, paused });
        progress.alive(crew.nodes() - away.len());
    }
    for back in away {
        bring(crew, &back, &mut tally).await?;
    }
    progress.alive(crew.nodes());
    Ok(tally)
}

async fn bring(crew: &mut Crew, back: &Away, tally: &mut Tally) -> Result<(), CrewError> {
    if back.paused {
        return Ok(crew.resume(back.worker)?);
    }
    tally.rejoins += 1;
    crew.launch(back.worker).await
}

fn between(rng: &mut Rng, (least, most): (u64, u64)) -> u64 {
    least + rng.below(most - least)
}
