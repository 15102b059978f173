//! The target's side: what runs here, what is promised, what is left.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
    time::Duration,
};

use mobula_actors::{
    demand::Demand,
    id::{ActorId, Epoch},
};
use serde::{Deserialize, Serialize};

use super::{
    capacity::Capacity,
    dimension::{Dimension, Shortage},
};
use crate::machine::Time;

/// How long a reservation is held for its start.
pub const RESERVATION_TTL: Duration = Duration::from_secs(5);

/// How many reservations are open at once.
pub const RESERVATIONS_MAX: usize = 4_096;

/// How many verdicts are remembered; beyond it the oldest is forgotten.
pub const VERDICTS_MAX: usize = 4 * RESERVATIONS_MAX;

/// Why a reservation was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no room in this dimension.
    #[error("no room: {0}")]
    NoRoom(Shortage),
    /// [`RESERVATIONS_MAX`] reservations wait for their start.
    #[error("too many reservations are open: ask again later")]
    TooManyOpen,
}

/// A target's answer to a request to reserve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The demand is held for [`RESERVATION_TTL`].
    Granted {
        /// What is free after it was taken.
        free: Capacity,
        /// The number of the device that it is held on, if it needs one.
        device: Option<u32>,
    },
    /// Nothing is held.
    Rejected {
        /// Why.
        reason: Refusal,
        /// What is free.
        free: Capacity,
    },
}

/// Why an actor was not started. Nothing is held for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStarted {
    /// The reservation expired, was cancelled or never existed.
    #[error("reservation {0:032x} is not open: reserve again with a larger epoch")]
    NotOpen(u128),
    /// This run of the actor is already started by another reservation.
    #[error("run {epoch} of actor {actor} is already started here")]
    Running {
        /// Which actor.
        actor: ActorId,
        /// Which of its runs.
        epoch: Epoch,
    },
}

/// The books of one node. See P-1 to P-3 of the room.
///
/// All maps are bounded: running by the capacity's places for actors, the rest by constants.
#[derive(Clone, Debug)]
pub struct Ledger {
    total: Capacity,
    free: Capacity,
    open: BTreeMap<u128, Reservation>,
    ends: BTreeSet<(Time, u128)>,
    running: BTreeMap<(ActorId, Epoch), Run>,
    started: BTreeMap<u128, (ActorId, Epoch)>,
    verdicts: Verdicts,
}

#[derive(Clone, Debug)]
struct Reservation {
    run: (ActorId, Epoch),
    demand: Demand,
    device: Option<u32>,
    until: Time,
}

#[derive(Clone, Debug)]
struct Run {
    reservation: u128,
    demand: Demand,
    device: Option<u32>,
}

impl Ledger {
    /// Empty books of a node that has `total`.
    #[must_use]
    pub fn new(total: Capacity) -> Self {
        Self {
            free: total.clone(),
            total,
            open: BTreeMap::new(),
            ends: BTreeSet::new(),
            running: BTreeMap::new(),
            started: BTreeMap::new(),
            verdicts: Verdicts::default(),
        }
    }

    /// Holds `demand` for a start within [`RESERVATION_TTL`], or says why not.
    ///
    /// A repeat of `id` within the TTL of the first gets the first verdict and changes nothing.
    pub fn reserve(
        &mut self,
        now: Time,
        id: u128,
        actor: ActorId,
        epoch: Epoch,
        demand: &Demand,
    ) -> Verdict {
        self.expire(now);
        if let Some(verdict) = self.verdicts.get(id) {
            return verdict;
        }
        if let Some(device) = self.device_of(id) {
            // Its verdict was pushed out of the memory, yet it must not debit twice.
            return Verdict::Granted { free: self.free.clone(), device };
        }
        let until = now.after(RESERVATION_TTL);
        let verdict = match self.admit(demand) {
            Ok(device) => {
                let reservation =
                    Reservation { run: (actor, epoch), demand: demand.clone(), device, until };
                self.open.insert(id, reservation);
                self.ends.insert((until, id));
                Verdict::Granted { free: self.free.clone(), device }
            }
            Err(reason) => Verdict::Rejected { reason, free: self.free.clone() },
        };
        self.verdicts.remember(id, verdict.clone(), until);
        verdict
    }

    /// Turns a reservation into a running actor and says which. A repeat says the same again.
    pub fn start(&mut self, now: Time, id: u128) -> Result<(ActorId, Epoch), NotStarted> {
        self.expire(now);
        let Some(Reservation { run, demand, device, until }) = self.open.remove(&id) else {
            return self.started.get(&id).copied().ok_or(NotStarted::NotOpen(id));
        };
        self.ends.remove(&(until, id));
        if self.running.contains_key(&run) {
            self.put_back(&demand, device);
            return Err(NotStarted::Running { actor: run.0, epoch: run.1 });
        }
        self.started.insert(id, run);
        self.running.insert(run, Run { reservation: id, demand, device });
        Ok(run)
    }

    /// The run that an open reservation is for.
    #[must_use]
    pub fn reserved(&self, id: u128) -> Option<(ActorId, Epoch)> {
        self.open.get(&id).map(|reservation| reservation.run)
    }

    /// What those reservations whose numbers lie in `ids` hold, started or not, in the order of
    /// [`Dimension::ALL`].
    #[must_use]
    pub fn held(&self, ids: RangeInclusive<u128>) -> [u64; 5] {
        let open = self.open.range(ids.clone()).map(|(_, reservation)| &reservation.demand);
        let started = self.started.range(ids).filter_map(|(_, run)| self.running.get(run));
        let demands = open.chain(started.map(|run| &run.demand));
        demands.fold([0; 5], |mut held, demand| {
            for (held, dimension) in held.iter_mut().zip(Dimension::ALL) {
                *held = held.saturating_add(dimension.needed(demand));
            }
            held
        })
    }

    /// Gives up a reservation that will not be started; false when it is not open.
    pub fn cancel(&mut self, id: u128) -> bool {
        let Some(Reservation { demand, device, until, .. }) = self.open.remove(&id) else {
            return false;
        };
        self.ends.remove(&(until, id));
        self.put_back(&demand, device);
        true
    }

    /// Frees what a run held, once it has ended; false when it does not run here.
    pub fn release(&mut self, actor: ActorId, epoch: Epoch) -> bool {
        let Some(run) = self.running.remove(&(actor, epoch)) else { return false };
        self.started.remove(&run.reservation);
        self.put_back(&run.demand, run.device);
        true
    }

    /// Frees every reservation whose time is over and says how many there were.
    pub fn expire(&mut self, now: Time) -> usize {
        self.verdicts.forget(now);
        let mut ended = 0;
        while let Some((_, id)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            ended += usize::from(self.cancel(id));
        }
        ended
    }

    /// When the next reservation expires.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The number of the device that a run has its share of, if it needed one.
    #[must_use]
    pub fn device(&self, actor: ActorId, epoch: Epoch) -> Option<u32> {
        self.running.get(&(actor, epoch))?.device
    }

    /// Whether this run of this actor is started here and not released.
    #[must_use]
    pub fn is_running(&self, actor: ActorId, epoch: Epoch) -> bool {
        self.running.contains_key(&(actor, epoch))
    }

    /// What is neither running nor reserved.
    #[must_use]
    pub fn free(&self) -> &Capacity {
        &self.free
    }

    /// All the node has.
    #[must_use]
    pub fn total(&self) -> &Capacity {
        &self.total
    }

    /// How many actors run and how many reservations are open.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.open.len())
    }

    fn admit(&mut self, demand: &Demand) -> Result<Option<u32>, Refusal> {
        if self.open.len() >= RESERVATIONS_MAX {
            return Err(Refusal::TooManyOpen);
        }
        self.free.take(demand).map_err(Refusal::NoRoom)
    }

    /// The device behind a reservation that is open or started, if it has one.
    fn device_of(&self, id: u128) -> Option<Option<u32>> {
        let open = self.open.get(&id).map(|reservation| reservation.device);
        open.or_else(|| Some(self.running.get(self.started.get(&id)?)?.device))
    }

    fn put_back(&mut self, demand: &Demand, device: Option<u32>) {
        self.free.put_back(demand, device, &self.total);
    }
}

/// The first verdict of every recent id, each kept until its reservation's time is over.
#[derive(Clone, Debug, Default)]
struct Verdicts {
    by_id: BTreeMap<u128, Verdict>,
    ends: VecDeque<(Time, u128)>,
}

impl Verdicts {
    fn get(&self, id: u128) -> Option<Verdict> {
        self.by_id.get(&id).cloned()
    }

    fn remember(&mut self, id: u128, verdict: Verdict, until: Time) {
        if self.ends.len() >= VERDICTS_MAX {
            self.pop();
        }
        self.by_id.insert(id, verdict);
        self.ends.push_back((until, id));
    }

    fn forget(&mut self, now: Time) {
        while self.ends.front().is_some_and(|(until, _)| *until <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, id)) = self.ends.pop_front() {
            self.by_id.remove(&id);
        }
    }
}
