//! Where actors go: every survivor places some at once, by its own view, and the targets admit.

use mobula::actors::demand::{Demand, PlaceStrategy};
use mobula::actors::id::{ActorId, Epoch};
use mobula::gossip::{Record, Row};
use mobula::machine::{Rng, Time};
use mobula::placement::{
    Attempt, Candidate, Capacity, Debits, Ledger, PLACED_WITHIN, Request, Step, Verdict, Where,
};
use mobula::sim::World;

/// Actors that each node places.
const PLACED_PER_NODE: u32 = 8;
/// Actors that each node takes.
const ROOM_PER_NODE: u32 = 10;
const KIND: &str = "work";

/// How many actors the nodes got.
#[derive(Debug, Default)]
pub struct Balance {
    /// For each number of actors, how many nodes have so many.
    pub nodes_with: Vec<u32>,
    pub placed: u64,
    pub not_placed: u64,
    pub refusals: u64,
}

/// What each simulated node offers.
pub fn record() -> Record {
    Record {
        actors_total: ROOM_PER_NODE,
        actors_free: ROOM_PER_NODE,
        kinds: vec![KIND.to_owned()],
        ..Record::default()
    }
}

/// Lets every running node place actors, round by round, without news in between.
pub fn measure(world: &World, seed: u64) -> Balance {
    let capacity = Capacity { actors: ROOM_PER_NODE, ..Capacity::default() };
    let nodes = world.running().last().map_or(0, |last| last as usize + 1);
    let mut ledgers = vec![Ledger::new(capacity); nodes];
    let mut balance = Balance::default();
    let mut rng = Rng::new(seed);
    for node in world.running() {
        let Some(gossip) = world.gossip(node) else { continue };
        let rows: Vec<_> = gossip.rows(world.now()).collect();
        let view: Vec<_> = rows.iter().map(candidate).collect();
        let mut debits = Debits::default();
        for number in 0..PLACED_PER_NODE {
            let actor = ActorId { origin: node.into(), number: number.into() };
            place(world.now(), actor, &view, &mut debits, &mut rng, &mut ledgers, &mut balance);
        }
    }
    for node in world.running() {
        let has = ledgers.get(node as usize).map_or(0, |ledger| ledger.counts().1);
        balance.nodes_with.resize(balance.nodes_with.len().max(has + 1), 0);
        balance.nodes_with[has] += 1;
    }
    balance
}

fn candidate<'a>(row: &Row<'a, u32>) -> Candidate<'a, u32> {
    let room = |actors| Capacity { actors, ..Capacity::default() };
    Candidate {
        node: row.key,
        version: row.seq,
        total: room(row.record.actors_total),
        free: room(row.record.actors_free),
        kinds: &row.record.kinds,
        labels: &row.record.labels,
        closed: false,
        age: row.age,
    }
}

/// One placement, until it is granted or has to wait.
fn place(
    now: Time,
    actor: ActorId,
    view: &[Candidate<'_, u32>],
    debits: &mut Debits<u32>,
    rng: &mut Rng,
    ledgers: &mut [Ledger],
    balance: &mut Balance,
) {
    let demand = Demand::default();
    let request = Request {
        kind: KIND.to_owned(),
        demand: demand.clone(),
        place: Where::Anywhere,
        strategy: PlaceStrategy::Spread,
        near: None,
        avoid: Vec::new(),
    };
    let mut attempt = Attempt::new(now, request, PLACED_WITHIN);
    while let Step::Ask(target) = attempt.next(now, view, debits, rng) {
        let id = u128::from(rng.next_u64());
        match ledgers[target as usize].reserve(now, id, actor, Epoch(1), &demand) {
            Verdict::Granted { .. } => return balance.placed += 1,
            Verdict::Rejected { free, .. } => {
                balance.refusals += 1;
                attempt.rejected(target, free, debits);
            }
        }
    }
    balance.not_placed += 1;
}
