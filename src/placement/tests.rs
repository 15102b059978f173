//! The room's promises, tested over its parts together.

mod chooser;
mod filter;
mod gang;
mod ledger;
mod spread;

use std::{collections::BTreeMap, time::Duration};

use mobula_actors::{
    demand::{Demand, PlaceStrategy},
    id::{ActorId, Epoch},
};

use super::{
    Attempt, Candidate, Capacity, Debits, Ledger, NoCapacity, PLACED_WITHIN, Request, Step,
    Verdict, Where,
};
use crate::machine::{Rng, Time};

const NOW: Time = Time(1_000_000);

/// A node of `cores` thousandths and nothing else to run out of.
fn cores(cpu_milli: u32) -> Capacity {
    Capacity { cpu_milli, memory_bytes: 1 << 30, actors: 1_000, ..Capacity::default() }
}

/// The kinds that every node of these tests hosts.
fn kinds() -> Vec<String> {
    vec!["worker".to_owned()]
}

/// An empty, open, fresh node of `total`.
fn node(node: u32, total: Capacity, kinds: &[String]) -> Candidate<'_, u32> {
    Candidate {
        node,
        version: 1,
        free: total.clone(),
        total,
        kinds,
        labels: &[],
        closed: false,
        age: Duration::ZERO,
    }
}

fn request(demand: Demand) -> Request<u32> {
    Request {
        kind: "worker".to_owned(),
        demand,
        place: Where::Anywhere,
        strategy: PlaceStrategy::Spread,
        near: None,
        avoid: Vec::new(),
    }
}

/// One chooser, with its own debits and randomness.
struct Chooser {
    debits: Debits<u32>,
    rng: Rng,
}

impl Chooser {
    fn new(seed: u64) -> Self {
        Self { debits: Debits::default(), rng: Rng::new(seed) }
    }

    fn next(
        &mut self,
        attempt: &mut Attempt<u32>,
        now: Time,
        view: &[Candidate<'_, u32>],
    ) -> Step<u32> {
        attempt.next(now, view, &mut self.debits, &mut self.rng)
    }

    /// The first node a fresh attempt asks.
    fn asks_first(&mut self, request: &Request<u32>, view: &[Candidate<'_, u32>]) -> u32 {
        let mut attempt = Attempt::new(NOW, request.clone(), PLACED_WITHIN);
        match self.next(&mut attempt, NOW, view) {
            Step::Ask(node) => node,
            other => panic!("expected a question, got {other:?}"),
        }
    }

    /// Runs a placement against real ledgers and an unchanging view: how it ended, and when.
    fn place(
        &mut self,
        id: u128,
        request: &Request<u32>,
        view: &[Candidate<'_, u32>],
        targets: &mut BTreeMap<u32, Ledger>,
    ) -> (Result<u32, Box<NoCapacity<u32>>>, Time) {
        let (mut now, mut asked) = (NOW, 0u128);
        let mut attempt = Attempt::new(now, request.clone(), PLACED_WITHIN);
        loop {
            match self.next(&mut attempt, now, view) {
                Step::Fail(no_capacity) => return (Err(no_capacity), now),
                Step::Wait { until } => {
                    assert!(until > now, "a wait must end later than it begins");
                    now = until;
                }
                Step::Ask(node) => {
                    asked += 1;
                    let target = targets.get_mut(&node).unwrap();
                    let actor = ActorId { origin: 1, number: id as u64 };
                    let reservation = id * 1_000 + asked;
                    match target.reserve(now, reservation, actor, Epoch(1), &request.demand) {
                        Verdict::Granted { .. } => {
                            target.start(now, reservation).unwrap();
                            return (Ok(node), now);
                        }
                        Verdict::Rejected { free, .. } => {
                            attempt.rejected(node, free, &mut self.debits);
                        }
                    }
                }
            }
        }
    }
}

fn ledgers(view: &[Candidate<'_, u32>]) -> BTreeMap<u32, Ledger> {
    view.iter().map(|c| (c.node, Ledger::new(c.total.clone()))).collect()
}
