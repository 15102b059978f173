//! The dimensions in which demand and capacity are compared.

use std::fmt;

use mobula_actors::demand::Demand;
use serde::{Deserialize, Serialize};

/// One kind of resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// What nodes count under this name.
    Counter(String),
}

impl Dimension {
    /// Every dimension that each node has.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Gpu, Self::Vram, Self::Actors];

    /// How much of this dimension `demand` needs; every actor needs one of [`Dimension::Actors`].
    #[must_use]
    pub fn needed(&self, demand: &Demand) -> u64 {
        match self {
            Self::Cpu => demand.cpu_milli.into(),
            Self::Memory => demand.memory_bytes,
            Self::Gpu => demand.gpu_milli.into(),
            Self::Vram => demand.vram_bytes,
            Self::Actors => 1,
            Self::Counter(name) => demand.counters.get(name).copied().unwrap_or(0),
        }
    }

    /// Those of which `demand` needs some.
    pub fn of(demand: &Demand) -> impl Iterator<Item = Self> {
        let counters = demand.counters.keys().cloned().map(Self::Counter);
        Self::ALL.into_iter().chain(counters).filter(|dimension| dimension.needed(demand) > 0)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu (thousandths of a core)",
            Self::Memory => "memory (bytes)",
            Self::Gpu => "gpu (thousandths of a device)",
            Self::Vram => "vram (bytes of a device)",
            Self::Actors => "places for actors",
            Self::Counter(name) => return write!(f, "the counter {name:?}"),
        })
    }
}

/// The dimension that a demand lacks most, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// What is short.
    pub dimension: Dimension,
    /// How much the demand needs.
    pub needed: u64,
    /// How much there is; of devices, what the one has that comes closest.
    pub available: u64,
}

impl Shortage {
    /// The share of what is needed that is there.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        share_of(self.available, self.needed)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {} of {}, has {}", self.needed, self.dimension, self.available)
    }
}

/// `part` of `whole`; precise enough to compare, which is all it is for.
pub(super) fn share_of(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
