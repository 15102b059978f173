//! The nodes of a simulated placement, by the books of production, and a count of its own beside
//! them; and the one view of these nodes that all choosers share.

use std::collections::BTreeMap;
use std::time::Duration;

use mobula_actors::demand::{Demand, PlaceStrategy};
use mobula_actors::id::{ActorId, Epoch};

use crate::machine::{Rng, Time};
use crate::placement::{Candidate, Capacity, Device, Ledger, Request, Verdict, Where};

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
    /// What is on each device by the count of this simulation, apart from the books.
    on_devices: Vec<[Device; DEVICES]>,
    pub(super) oversubscribed: u64,
}

struct Held {
    node: u32,
    device: u32,
    demand: Demand,
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
            on_devices: vec![[Device::default(); DEVICES]; nodes as usize],
            oversubscribed: 0,
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
        let verdict = self.ledgers[node as usize].reserve(now, id, actor(id), Epoch(1), demand);
        if let Verdict::Granted { device: Some(device), .. } = verdict {
            let on = &mut self.on_devices[node as usize][device as usize];
            on.gpu_milli += demand.gpu_milli;
            on.vram_bytes += demand.vram_bytes;
            self.oversubscribed += u64::from(on.gpu_milli > 1_000 || on.vram_bytes > VRAM_BYTES);
            self.held.insert(id, Held { node, device, demand: demand.clone() });
            self.versions[node as usize] += 1;
        }
        verdict
    }

    /// Starts what was reserved; false when its time was over.
    pub(super) fn start(&mut self, now: Time, node: u32, id: u128) -> bool {
        self.ledgers[node as usize].start(now, id).is_ok()
    }

    /// Ends what was started, or gives up what was reserved.
    pub(super) fn release(&mut self, id: u128) {
        let Some(Held { node, device, demand }) = self.held.remove(&id) else { return };
        let ledger = &mut self.ledgers[node as usize];
        let _ = ledger.release(actor(id), Epoch(1)) || ledger.cancel(id);
        let on = &mut self.on_devices[node as usize][device as usize];
        on.gpu_milli -= demand.gpu_milli;
        on.vram_bytes -= demand.vram_bytes;
        self.versions[node as usize] += 1;
    }

    /// How many reservations and runs are held by the count of this simulation.
    pub(super) fn held(&self) -> usize {
        self.held.len()
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
