//! What an actor needs and where it may run. Plain data: placement decides with it.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// What one actor needs of its node. The default needs nothing but one place among the actors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// Bytes of main memory.
    pub memory_bytes: u64,
    /// Thousandths of one device's compute.
    pub gpu_milli: u32,
    /// Bytes of device memory.
    pub vram_bytes: u64,
    /// Node labels it must not share a node with (hard anti-affinity).
    pub forbidden_labels: Vec<String>,
}

impl Demand {
    /// Needs `cores` of a processor; fractions are kept to a thousandth.
    #[must_use]
    pub fn cpu(cores: f32) -> Self {
        Self { cpu_milli: (cores.max(0.0) * 1_000.0).round() as u32, ..Self::default() }
    }

    /// Also needs `bytes` of main memory.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Also refuses every node that carries `label`.
    #[must_use]
    pub fn without_label(mut self, label: impl Into<String>) -> Self {
        self.forbidden_labels.push(label.into());
        self
    }
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
