//! What a node has, in the dimensions a demand is made in.

use std::fmt;

use mobula_actors::demand::Demand;
use serde::{Deserialize, Serialize};

/// How many actors a node takes when nothing else is said.
pub const ACTORS_DEFAULT: u32 = 1_000_000;

/// One kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Dimension {
    /// Thousandths of a core.
    Cpu,
    /// Bytes of main memory.
    Memory,
    /// Thousandths of one device's compute.
    Gpu,
    /// Bytes of device memory.
    Vram,
    /// Places for actors.
    Actors,
}

impl Dimension {
    /// Every dimension, in the order of [`Capacity`]'s fields.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Gpu, Self::Vram, Self::Actors];

    /// How much of this dimension `demand` needs; every actor needs one of [`Dimension::Actors`].
    #[must_use]
    pub fn needed(self, demand: &Demand) -> u64 {
        match self {
            Self::Cpu => demand.cpu_milli.into(),
            Self::Memory => demand.memory_bytes,
            Self::Gpu => demand.gpu_milli.into(),
            Self::Vram => demand.vram_bytes,
            Self::Actors => 1,
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu (thousandths of a core)",
            Self::Memory => "memory (bytes)",
            Self::Gpu => "gpu (thousandths of a device)",
            Self::Vram => "vram (bytes)",
            Self::Actors => "places for actors",
        })
    }
}

/// The dimension that a demand lacks most, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// What is short.
    pub dimension: Dimension,
    /// How much the demand needs.
    pub needed: u64,
    /// How much there is.
    pub available: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {} of {}, has {}", self.needed, self.dimension, self.available)
    }
}

/// Amounts in every dimension: a node's total, or what of it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// Bytes of main memory.
    pub memory_bytes: u64,
    /// Thousandths of one device's compute.
    pub gpu_milli: u32,
    /// Bytes of device memory.
    pub vram_bytes: u64,
    /// Places for actors.
    pub actors: u32,
}

impl Capacity {
    /// The amount in one dimension.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Cpu => self.cpu_milli.into(),
            Dimension::Memory => self.memory_bytes,
            Dimension::Gpu => self.gpu_milli.into(),
            Dimension::Vram => self.vram_bytes,
            Dimension::Actors => self.actors.into(),
        }
    }

    /// Whether `demand` fits in every dimension.
    #[must_use]
    pub fn fits(&self, demand: &Demand) -> bool {
        Dimension::ALL.iter().all(|d| self.of(*d) >= d.needed(demand))
    }

    /// The dimension of which `demand` gets the smallest share; `None` when it fits.
    #[must_use]
    pub fn missing(&self, demand: &Demand) -> Option<Shortage> {
        Dimension::ALL
            .into_iter()
            .map(|d| Shortage { dimension: d, needed: d.needed(demand), available: self.of(d) })
            .filter(|s| s.available < s.needed)
            .min_by(|a, b| {
                share_of(a.available, a.needed).total_cmp(&share_of(b.available, b.needed))
            })
    }

    /// What is left after `demand` was taken, or what is missing; never below zero.
    pub fn checked_sub(&self, demand: &Demand) -> Result<Self, Shortage> {
        match self.missing(demand) {
            Some(shortage) => Err(shortage),
            None => Ok(self.saturating_sub(demand)),
        }
    }

    /// What is left after `demand` was taken; zero where there is less.
    #[must_use]
    pub fn saturating_sub(&self, demand: &Demand) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(demand.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(demand.memory_bytes),
            gpu_milli: self.gpu_milli.saturating_sub(demand.gpu_milli),
            vram_bytes: self.vram_bytes.saturating_sub(demand.vram_bytes),
            actors: self.actors.saturating_sub(1),
        }
    }

    /// What there is after `demand` was put back; `None` when a dimension would overflow.
    #[must_use]
    pub fn checked_add(&self, demand: &Demand) -> Option<Self> {
        Some(Self {
            cpu_milli: self.cpu_milli.checked_add(demand.cpu_milli)?,
            memory_bytes: self.memory_bytes.checked_add(demand.memory_bytes)?,
            gpu_milli: self.gpu_milli.checked_add(demand.gpu_milli)?,
            vram_bytes: self.vram_bytes.checked_add(demand.vram_bytes)?,
            actors: self.actors.checked_add(1)?,
        })
    }

    /// The part of one of `nodes` equal nodes that divide this host; zero nodes count as one.
    #[must_use]
    pub fn share(&self, nodes: u32) -> Self {
        let nodes = nodes.max(1);
        Self {
            cpu_milli: self.cpu_milli / nodes,
            memory_bytes: self.memory_bytes / u64::from(nodes),
            gpu_milli: self.gpu_milli / nodes,
            vram_bytes: self.vram_bytes / u64::from(nodes),
            actors: self.actors / nodes,
        }
    }

    /// The share of `demand` that is covered, in the dimension that covers least; 1.0 when it fits.
    #[must_use]
    pub fn coverage(&self, demand: &Demand) -> f64 {
        self.missing(demand).map_or(1.0, |s| share_of(s.available, s.needed))
    }

    /// The used share of `dimension` of this total once `demand` was taken from `free`.
    ///
    /// Zero where there is nothing and nothing is needed; infinite where nothing can be given.
    #[must_use]
    pub fn utilisation_after(&self, free: &Self, demand: &Demand, dimension: Dimension) -> f64 {
        let (total, needed) = (self.of(dimension), dimension.needed(demand));
        let used = total.saturating_sub(free.of(dimension)).saturating_add(needed);
        match (total, used) {
            (0, 0) => 0.0,
            (0, _) => f64::INFINITY,
            _ => share_of(used, total),
        }
    }
}

/// `part` of `whole`; precise enough to compare, which is all it is for.
fn share_of(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Capacity {
        Capacity { cpu_milli: 2_000, memory_bytes: 900, gpu_milli: 0, vram_bytes: 0, actors: 10 }
    }

    #[test]
    fn the_shortage_names_the_dimension_that_lacks_most() {
        let demand = Demand::cpu(3.0).memory(9_000);
        let shortage = Shortage { dimension: Dimension::Memory, needed: 9_000, available: 900 };
        assert_eq!(host().missing(&demand), Some(shortage));
        assert_eq!(host().checked_sub(&demand), Err(shortage));
        assert!(!host().fits(&demand));
        assert_eq!(shortage.to_string(), "needs 9000 of memory (bytes), has 900");
    }

    #[test]
    fn what_is_taken_and_put_back_leaves_the_capacity_as_it_was() {
        let demand = Demand::cpu(0.5).memory(100);
        let left = host().checked_sub(&demand).unwrap();
        assert_eq!((left.cpu_milli, left.memory_bytes, left.actors), (1_500, 800, 9));
        assert_eq!(left.checked_add(&demand), Some(host()));
        let full = Capacity { actors: u32::MAX, ..host() };
        assert_eq!(full.checked_add(&demand), None);
    }

    #[test]
    fn an_actor_without_demand_still_needs_a_place() {
        let full = Capacity { actors: 0, ..host() };
        assert_eq!(full.missing(&Demand::default()).unwrap().dimension, Dimension::Actors);
    }

    #[test]
    fn nodes_of_one_host_divide_it() {
        let part = host().share(3);
        assert_eq!((part.cpu_milli, part.memory_bytes, part.actors), (666, 300, 3));
        assert_eq!(host().share(0), host());
    }

    #[test]
    fn utilisation_counts_what_is_used_already_and_a_dimension_that_is_absent() {
        let free = Capacity { cpu_milli: 1_500, ..host() };
        let demand = Demand::cpu(0.5);
        let after = |d| host().utilisation_after(&free, &demand, d);
        assert_eq!(after(Dimension::Cpu), 0.5);
        assert_eq!(after(Dimension::Gpu), 0.0);
        let gpu = Demand { gpu_milli: 1, ..Demand::default() };
        assert_eq!(host().utilisation_after(&free, &gpu, Dimension::Gpu), f64::INFINITY);
    }
}
