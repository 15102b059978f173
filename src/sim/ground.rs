//! The nodes of a simulated placement, by the books of production, and a count of its own beside
//! them; and the one view of these nodes that all choosers share.
//!
//! What the books say must be what is counted (P-1 to P-3): a question that comes again changes
//! nothing, a reservation ends when its time is over and not before, and what has ended is free.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mobula_actors::demand::{Demand, PlaceStrategy};
use mobula_actors::id::{ActorId, Epoch};

use crate::machine::{Rng, Time};
use crate::placement::{
    Candidate, Capacity, Device, Ledger, RESERVATION_TTL, Request, Verdict, Where,
};

/// Devices of a node.
pub(super) const DEVICES: usize = 8;
/// One way between two nodes.
pub(super) const DELAY: Duration = Duration::from_micros(250);
/// Memory of a device.
const VRAM_BYTES: u64 = 80_000_000_000;
/// The least memory that a task takes.
const VRAM_BYTES_MIN: f64 = 4_096.0;

pub(super) struct Ground {
    ledgers: Vec<Ledger>,
    total: Capacity,
    versions: Vec<u64>,
    held: BTreeMap<u128, Held>,
    /// When those that are held and not started end.
    ends: BTreeSet<(Time, u128)>,
    /// What is on each device by the count of this simulation, apart from the books.
    on_devices: Vec<[Device; DEVICES]>,
    pub(super) oversubscribed: u64,
    /// The first thing in which the books and the count differ.
    broken: Option<String>,
}

struct Held {
    node: u32,
    device: u32,
    demand: Demand,
    /// Until then, unless it is started.
    until: Option<Time>,
}

impl Ground {
    /// Nodes with eight whole devices each, and nothing else to run out of.
    pub(super) fn new(nodes: u32) -> Self {
        let total = Capacity {
            devices: vec![Device::whole(VRAM_BYTES); DEVICES],
            actors: 1_000_000,
            ..Capacity::default()
        };
        Self {
            ledgers: (0..nodes).map(|_| Ledger::new(total.clone())).collect(),
            total,
            versions: vec![0; nodes as usize],
            held: BTreeMap::new(),
            ends: BTreeSet::new(),
            on_devices: vec![[Device::default(); DEVICES]; nodes as usize],
            oversubscribed: 0,
            broken: None,
        }
    }

    /// A view of all nodes as they are now, for as long as it is kept.
    pub(super) fn view<'a>(&self, kinds: &'a [String]) -> Vec<Candidate<'a, u32>> {
        let candidate = |(node, (version, ledger)): (u32, (&u64, &Ledger))| Candidate {
            node,
            version: *version,
            total: self.total.clone(),
            free: ledger.free().clone(),
            kinds,
            labels: &[],
            closed: false,
            age: Duration::ZERO,
        };
        (0..).zip(self.versions.iter().zip(&self.ledgers)).map(candidate).collect()
    }

    /// A node decides, by its own books.
    pub(super) fn reserve(&mut self, now: Time, node: u32, id: u128, demand: &Demand) -> Verdict {
        self.expire(now);
        let verdict = self.ledgers[node as usize].reserve(now, id, actor(id), Epoch(1), demand);
        if let Verdict::Granted { device: Some(device), .. } = verdict {
            let until = Some(now.after(RESERVATION_TTL));
            self.take(id, Held { node, device, demand: demand.clone(), until });
        }
        verdict
    }

    /// A question comes again: it gets the first answer, and nothing changes.
    pub(super) fn repeat(
        &mut self,
        now: Time,
        node: u32,
        id: u128,
        demand: &Demand,
        first: &Verdict,
    ) {
        self.expire(now);
        let ledger = &mut self.ledgers[node as usize];
        let before = ledger.free().clone();
        let again = ledger.reserve(now, id, actor(id), Epoch(1), demand);
        let same = again == *first && *ledger.free() == before;
        self.expect(same, || format!("{node} took question {id} for a new one"));
    }

    fn take(&mut self, id: u128, held: Held) {
        let on = &mut self.on_devices[held.node as usize][held.device as usize];
        on.gpu_milli += held.demand.gpu_milli;
        on.vram_bytes += held.demand.vram_bytes;
        self.oversubscribed += u64::from(on.gpu_milli > 1_000 || on.vram_bytes > VRAM_BYTES);
        self.versions[held.node as usize] += 1;
        self.ends.extend(held.until.map(|until| (until, id)));
        self.held.insert(id, held);
    }

    /// Starts what was reserved; false when its time was over.
    pub(super) fn start(&mut self, now: Time, node: u32, id: u128) -> bool {
        self.expire(now);
        let started = self.ledgers[node as usize].start(now, id).is_ok();
        let open = self.held.get_mut(&id).and_then(|held| held.until.take());
        if let Some(until) = open {
            self.ends.remove(&(until, id));
        }
        self.expect(started == open.is_some(), || format!("{node} started {id}: {started}"));
        started
    }

    /// Ends what was started, or gives up what was reserved.
    pub(super) fn release(&mut self, now: Time, id: u128) {
        self.expire(now);
        let Some(held) = self.held.get(&id) else { return };
        let (node, started) = (held.node, held.until.is_none());
        let ledger = &mut self.ledgers[node as usize];
        let released =
            if started { ledger.release(actor(id), Epoch(1)) } else { ledger.cancel(id) };
        self.expect(released, || format!("{node} had nothing to release for {id}"));
        self.give_back(id);
    }

    /// What was reserved, and is neither started nor given up in time, is free again.
    fn expire(&mut self, now: Time) {
        while let Some((_, id)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            if let Some(held) = self.held.get(&id) {
                self.ledgers[held.node as usize].expire(now);
            }
            self.give_back(id);
        }
    }

    fn give_back(&mut self, id: u128) {
        let Some(Held { node, device, demand, until, .. }) = self.held.remove(&id) else { return };
        if let Some(until) = until {
            self.ends.remove(&(until, id));
        }
        let on = &mut self.on_devices[node as usize][device as usize];
        on.gpu_milli -= demand.gpu_milli;
        on.vram_bytes -= demand.vram_bytes;
        self.versions[node as usize] += 1;
    }

    fn expect(&mut self, holds: bool, broken: impl FnOnce() -> String) {
        if !holds {
            self.broken.get_or_insert_with(broken);
        }
    }

    /// The books once nothing runs and all reservations have ended: how many are held all the same
    /// by the count of this simulation, and what did not hold.
    pub(super) fn close(mut self, now: Time) -> (usize, Option<String>) {
        let end = now.after(RESERVATION_TTL);
        self.expire(end);
        for (node, ledger) in self.ledgers.iter_mut().enumerate() {
            ledger.expire(end);
            if ledger.counts() != (0, 0) || *ledger.free() != self.total {
                let free = ledger.free();
                self.broken.get_or_insert_with(|| format!("{node} has not all back: {free:?}"));
            }
        }
        (self.held.len(), self.broken)
    }
}

fn actor(id: u128) -> ActorId {
    ActorId { origin: 0, number: id as u64 }
}

/// The kinds that every node hosts.
pub(super) fn kinds() -> Vec<String> {
    vec!["task".to_owned()]
}

pub(super) fn request(demand: Demand) -> Request<u32> {
    Request {
        kind: "task".to_owned(),
        demand,
        place: Where::Anywhere,
        strategy: PlaceStrategy::Spread,
        near: None,
        avoid: Vec::new(),
    }
}

/// One whole device, and memory whose logarithm is uniform.
pub(super) fn task_demand(rng: &mut Rng) -> Demand {
    let bytes = VRAM_BYTES_MIN * (VRAM_BYTES as f64 / VRAM_BYTES_MIN).powf(rng.unit());
    Demand::gpu(1.0).vram((bytes as u64).min(VRAM_BYTES))
}

/// An exponential time of this mean.
pub(super) fn exponential(rng: &mut Rng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - rng.unit()).ln())
}
