//! What an actor needs and where it may run. Plain data: placement decides with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{ActorId, NodeId};

/// Most custom counters that a demand names.
pub const COUNTERS_MAX: usize = 16;
/// Most labels of each sort in a demand.
pub const LABELS_MAX: usize = 32;
/// The longest name of a counter or label, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// What one actor needs of its node. The default needs nothing but one place among the actors.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Demand {
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// Bytes of main memory.
    pub memory_bytes: u64,
    /// Thousandths of one device's compute.
    pub gpu_milli: u32,
    /// Bytes of the same device's memory.
    pub vram_bytes: u64,
    /// Of each counter that nodes declare by name, so many.
    pub counters: BTreeMap<String, u64>,
    /// Labels that its node must carry, all of them.
    pub required_labels: Vec<String>,
    /// Labels that its node should carry; an earlier one weighs more than all later ones.
    pub preferred_labels: Vec<String>,
    /// Labels that its node must not carry.
    pub forbidden_labels: Vec<String>,
}

/// A demand that no node takes, since it makes no sense. Nothing was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DemandError {
    /// Compute of a device without any of its memory.
    #[error("a demand of gpu needs vram too: say how many bytes with `vram`")]
    GpuWithoutVram,
    /// More counters than [`COUNTERS_MAX`].
    #[error("a demand names at most {COUNTERS_MAX} counters")]
    Counters,
    /// More labels of one sort than [`LABELS_MAX`].
    #[error("a demand names at most {LABELS_MAX} labels of each sort")]
    Labels,
    /// A name that is empty or longer than [`NAME_BYTES_MAX`].
    #[error("names of counters and labels have 1 to {NAME_BYTES_MAX} bytes")]
    Name,
}

impl Demand {
    /// Needs `cores` of a processor; fractions are kept to a thousandth.
    #[must_use]
    pub fn cpu(cores: f32) -> Self {
        Self::default().cores(cores)
    }

    /// Needs this part of one device's compute, kept to a thousandth; say with [`Demand::vram`] how
    /// much of its memory. `gpu(1.0)` is a whole device.
    #[must_use]
    pub fn gpu(devices: f32) -> Self {
        Self { gpu_milli: milli(devices), ..Self::default() }
    }

    /// Also needs `cores` of a processor.
    #[must_use]
    pub fn cores(mut self, cores: f32) -> Self {
        self.cpu_milli = milli(cores);
        self
    }

    /// Also needs `bytes` of main memory.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Also needs `bytes` of one device's memory.
    #[must_use]
    pub fn vram(mut self, bytes: u64) -> Self {
        self.vram_bytes = bytes;
        self
    }

    /// Also needs so many of what nodes count under `name`, such as licences.
    #[must_use]
    pub fn counter(mut self, name: impl Into<String>, amount: u64) -> Self {
        self.counters.insert(name.into(), amount);
        self
    }

    /// Also refuses every node that does not carry `label`.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.required_labels.push(label.into());
        self
    }

    /// Also prefers nodes that carry `label`, less than those with a label preferred before.
    #[must_use]
    pub fn prefer_label(mut self, label: impl Into<String>) -> Self {
        self.preferred_labels.push(label.into());
        self
    }

    /// Also refuses every node that carries `label`.
    #[must_use]
    pub fn without_label(mut self, label: impl Into<String>) -> Self {
        self.forbidden_labels.push(label.into());
        self
    }

    /// Whether it makes sense, and keeps the bounds that every node enforces.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), DemandError> {
        if self.gpu_milli > 0 && self.vram_bytes == 0 {
            return Err(DemandError::GpuWithoutVram);
        }
        if self.counters.len() > COUNTERS_MAX {
            return Err(DemandError::Counters);
        }
        let labels = [&self.required_labels, &self.preferred_labels, &self.forbidden_labels];
        if labels.iter().any(|labels| labels.len() > LABELS_MAX) {
            return Err(DemandError::Labels);
        }
        let mut names = labels.into_iter().flatten().chain(self.counters.keys());
        if names.any(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
            return Err(DemandError::Name);
        }
        Ok(())
    }
}

/// Thousandths; a number that is none counts as zero.
fn milli(whole: f32) -> u32 {
    (whole.max(0.0) * 1_000.0).round() as u32
}

/// Where an actor may be started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On the node that starts it.
    #[default]
    Here,
    /// On any node that hosts its kind and has room for its demand.
    Anywhere,
    /// On this node and no other.
    On(NodeId),
}

/// Which of the nodes with room an actor prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlaceStrategy {
    /// The one that is used least, by its fullest dimension.
    #[default]
    Spread,
    /// The one that is used most, so that others stay empty.
    Pack,
}

/// Whom an actor should be near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The other actor.
    pub actor: ActorId,
    /// Where its reference says that it was; `None` for here.
    pub node: Option<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_that_makes_no_sense_is_named_by_the_rule_that_it_breaks() {
        assert_eq!(Demand::gpu(0.5).vram(1).cores(0.25).check(), Ok(()));
        assert_eq!(Demand::gpu(0.5).check(), Err(DemandError::GpuWithoutVram));
        let many = (0..=COUNTERS_MAX).fold(Demand::default(), |d, n| d.counter(n.to_string(), 1));
        assert_eq!(many.check(), Err(DemandError::Counters));
        let many = (0..=LABELS_MAX).fold(Demand::default(), |d, n| d.label(n.to_string()));
        assert_eq!(many.check(), Err(DemandError::Labels));
        for name in [String::new(), "x".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(
                Demand::default().prefer_label(name.clone()).check(),
                Err(DemandError::Name)
            );
            assert_eq!(Demand::default().counter(name, 1).check(), Err(DemandError::Name));
        }
    }

    #[test]
    fn fractions_are_kept_to_a_thousandth_and_nothing_is_negative() {
        assert_eq!(Demand::gpu(0.5).gpu_milli, 500);
        assert_eq!(Demand::cpu(-1.0), Demand::default());
        assert_eq!(Demand::cpu(f32::NAN).cpu_milli, 0);
    }
}
