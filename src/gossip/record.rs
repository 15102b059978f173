//! What one node offers: the record that only that node writes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most hosted kinds in a record.
pub const KINDS_MAX: usize = 64;
/// Most labels in a record.
pub const LABELS_MAX: usize = 32;
/// Longest kind or label.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest address of a node.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// What a node has, has left, and may start. The totals describe what the node was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// All the CPU the node was given, in thousandths of a core.
    pub cpu_milli_total: u64,
    /// CPU not promised to an actor.
    pub cpu_milli_free: u64,
    /// All the memory the node was given.
    pub memory_bytes_total: u64,
    /// Memory not promised to an actor.
    pub memory_bytes_free: u64,
    /// Compute of all its GPUs, in thousandths of one device.
    pub gpu_milli_total: u64,
    /// GPU compute not promised to an actor.
    pub gpu_milli_free: u64,
    /// Memory of all its GPUs.
    pub vram_bytes_total: u64,
    /// GPU memory not promised to an actor.
    pub vram_bytes_free: u64,
    /// How many actors it takes in all.
    pub actors_total: u32,
    /// How many more actors it takes.
    pub actors_free: u32,
    /// The kinds it hosts.
    pub kinds: Vec<String>,
    /// Its labels, each `key=value`.
    pub labels: Vec<String>,
    /// It is emptying itself: nothing new, and what it has moves away.
    pub draining: bool,
    /// It takes nothing new.
    pub no_new: bool,
    /// Where it can be dialled.
    pub address: String,
}

/// Why a record is not accepted. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More kinds than [`KINDS_MAX`].
    #[error("host at most {KINDS_MAX} kinds on one node")]
    Kinds,
    /// More labels than [`LABELS_MAX`].
    #[error("give a node at most {LABELS_MAX} labels")]
    Labels,
    /// A kind or label longer than [`NAME_BYTES_MAX`].
    #[error("keep kinds and labels within {NAME_BYTES_MAX} bytes")]
    Name,
    /// An address longer than [`ADDRESS_BYTES_MAX`].
    #[error("keep the address within {ADDRESS_BYTES_MAX} bytes")]
    Address,
}

impl Record {
    /// Whether the record keeps the bounds that every receiver enforces.
    ///
    /// # Errors
    /// The first bound that it breaks.
    pub fn check(&self) -> Result<(), RecordError> {
        if self.kinds.len() > KINDS_MAX {
            return Err(RecordError::Kinds);
        }
        if self.labels.len() > LABELS_MAX {
            return Err(RecordError::Labels);
        }
        if self.kinds.iter().chain(&self.labels).any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(RecordError::Name);
        }
        if self.address.len() > ADDRESS_BYTES_MAX {
            return Err(RecordError::Address);
        }
        Ok(())
    }

    /// How long `newer` may wait before it replaces this record in the view: not at all when
    /// anything but a free value changed, or a free value by at least 5 % of its total.
    pub(super) fn patience(&self, newer: &Self, patience: Duration) -> Duration {
        let frees = [
            (self.cpu_milli_free, newer.cpu_milli_free, newer.cpu_milli_total),
            (self.memory_bytes_free, newer.memory_bytes_free, newer.memory_bytes_total),
            (self.gpu_milli_free, newer.gpu_milli_free, newer.gpu_milli_total),
            (self.vram_bytes_free, newer.vram_bytes_free, newer.vram_bytes_total),
            (self.actors_free.into(), newer.actors_free.into(), newer.actors_total.into()),
        ];
        let large = frees.iter().any(|&(old, new, total)| {
            old != new && u128::from(old.abs_diff(new)) * 20 >= u128::from(total)
        });
        if large || !self.same_but_free(newer) { Duration::ZERO } else { patience }
    }

    fn same_but_free(&self, other: &Self) -> bool {
        let with_free_of_other = Self {
            cpu_milli_free: other.cpu_milli_free,
            memory_bytes_free: other.memory_bytes_free,
            gpu_milli_free: other.gpu_milli_free,
            vram_bytes_free: other.vram_bytes_free,
            actors_free: other.actors_free,
            ..self.clone()
        };
        with_free_of_other == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_change_of_a_free_value_waits_and_a_large_one_does_not() {
        let old = Record { cpu_milli_total: 1_000, cpu_milli_free: 1_000, ..Record::default() };
        let wait = Duration::from_secs(1);
        let small = Record { cpu_milli_free: 951, ..old.clone() };
        let large = Record { cpu_milli_free: 950, ..old.clone() };
        let drained = Record { draining: true, ..old.clone() };
        assert_eq!(old.patience(&small, wait), wait);
        assert_eq!(old.patience(&large, wait), Duration::ZERO);
        assert_eq!(old.patience(&drained, wait), Duration::ZERO);
    }

    #[test]
    fn record_beyond_its_bounds_is_named_by_the_bound() {
        let kinds = vec![String::new(); KINDS_MAX + 1];
        assert_eq!(Record { kinds, ..Record::default() }.check(), Err(RecordError::Kinds));
        let labels = vec!["x".repeat(NAME_BYTES_MAX + 1)];
        assert_eq!(Record { labels, ..Record::default() }.check(), Err(RecordError::Name));
    }
}
