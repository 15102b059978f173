//! Random faults on many seeds: the invariants have to hold all the time, and in the end all views
//! have to agree.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mobula::machine::Time;
use mobula::sim::{Chaos, World};
use serde::Serialize;

use crate::flags::Flags;
use crate::invariants::{Always, views_agree};

/// How long the views have to agree after the last fault.
const QUIET: Duration = Duration::from_secs(120);
/// How often the views are compared in that time.
const LOOK: Duration = Duration::from_millis(200);
/// How many seeds run side by side.
const THREADS: usize = 2;

/// The figures of all seeds.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub nodes: u32,
    pub first_seed: u64,
    pub seeds: u64,
    pub violations: usize,
    /// The longest that views took to agree.
    pub agreed_s: f64,
    pub wall_s: f64,
}

/// Runs the seeds from `--seed` on; says on standard error what is violated and how to repeat it.
pub fn run(flags: &Flags, seeds: u64) -> Figures {
    let wall = Instant::now();
    let next = AtomicU64::new(flags.seed);
    let end = flags.seed.saturating_add(seeds);
    let found = Mutex::new((0, 0.0f64));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let result = one(flags, seed);
                    let Ok(mut found) = found.lock() else { return };
                    match result {
                        Ok(agreed_s) => found.1 = found.1.max(agreed_s),
                        Err(broken) => {
                            found.0 += 1;
                            let Flags { nodes, minutes, .. } = flags;
                            eprintln!(
                                "seed {seed}: {broken}\nREPRODUCE: cargo run --release \
                                 --no-default-features --example simulate -- --chaos 1 \
                                 --nodes {nodes} --minutes {minutes} --seed {seed}"
                            );
                        }
                    }
                }
            });
        }
    });
    let (violations, agreed_s) = found.into_inner().unwrap_or((usize::MAX, 0.0));
    let wall_s = wall.elapsed().as_secs_f64();
    Figures { nodes: flags.nodes, first_seed: flags.seed, seeds, violations, agreed_s, wall_s }
}

/// One seed: how long the views took to agree, or what did not hold.
fn one(flags: &Flags, seed: u64) -> Result<f64, String> {
    let mut world = World::new(seed, flags.nodes, flags.config());
    world.start_all();
    let mut chaos = Chaos::new(seed, flags.nodes);
    let mut always = Always::default();
    let faults = Time(0).after(Duration::from_secs_f64(flags.minutes * 60.0));
    while world.now() < faults {
        chaos.strike(&mut world);
        let seen = world.take_seen();
        always.look(&world, &seen)?;
    }
    chaos.repair(&mut world);
    let quiet = world.now();
    while !views_agree(&world) {
        if world.now().since(quiet) >= QUIET {
            return Err(format!("views differ after {QUIET:?} of quiet"));
        }
        world.run_for(LOOK);
    }
    let agreed = world.now().since(quiet);
    world.run_for(QUIET.saturating_sub(agreed));
    let seen = world.take_seen();
    always.look(&world, &seen)?;
    if views_agree(&world) {
        Ok(agreed.as_secs_f64())
    } else {
        Err("views fell apart again".into())
    }
}
