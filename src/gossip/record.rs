//! What one node offers: the record that only that node writes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most hosted kinds in a record.
pub const KINDS_MAX: usize = 64;
/// Most labels in a record.
pub const LABELS_MAX: usize = 32;
/// Most devices in a record.
pub const DEVICES_MAX: usize = 16;
/// Most counters in a record.
pub const COUNTERS_MAX: usize = 16;
/// Longest kind, label or name of a counter.
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
    /// Its devices, in the order of their numbers.
    pub devices: Vec<DeviceRecord>,
    /// What it counts by name, in the order of the names.
    pub counters: Vec<CounterRecord>,
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

/// What one device has, and has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its compute, in thousandths.
    pub gpu_milli_total: u32,
    /// Compute not promised to an actor.
    pub gpu_milli_free: u32,
    /// Bytes of its memory.
    pub vram_bytes_total: u64,
    /// Memory not promised to an actor.
    pub vram_bytes_free: u64,
}

/// What a node counts under a name that it chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRecord {
    /// The name.
    pub name: String,
    /// All of it.
    pub total: u64,
    /// What is not promised to an actor.
    pub free: u64,
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
    /// More devices than [`DEVICES_MAX`].
    #[error("give a node at most {DEVICES_MAX} devices")]
    Devices,
    /// More counters than [`COUNTERS_MAX`].
    #[error("give a node at most {COUNTERS_MAX} counters")]
    Counters,
    /// A kind, label or counter longer than [`NAME_BYTES_MAX`].
    #[error("keep kinds, labels and counters within {NAME_BYTES_MAX} bytes")]
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
        if self.devices.len() > DEVICES_MAX {
            return Err(RecordError::Devices);
        }
        if self.counters.len() > COUNTERS_MAX {
            return Err(RecordError::Counters);
        }
        let counters = self.counters.iter().map(|counter| &counter.name);
        let mut names = self.kinds.iter().chain(&self.labels).chain(counters);
        if names.any(|name| name.len() > NAME_BYTES_MAX) {
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
        let scalars = [
            (self.cpu_milli_free, newer.cpu_milli_free, newer.cpu_milli_total),
            (self.memory_bytes_free, newer.memory_bytes_free, newer.memory_bytes_total),
            (self.actors_free.into(), newer.actors_free.into(), newer.actors_total.into()),
        ];
        let devices = self.devices.iter().zip(&newer.devices).flat_map(|(old, new)| {
            let (old_gpu, new_gpu) = (old.gpu_milli_free, new.gpu_milli_free);
            [
                (old_gpu.into(), new_gpu.into(), new.gpu_milli_total.into()),
                (old.vram_bytes_free, new.vram_bytes_free, new.vram_bytes_total),
            ]
        });
        let counters = self.counters.iter().zip(&newer.counters);
        let counters = counters.map(|(old, new)| (old.free, new.free, new.total));
        let mut frees = scalars.into_iter().chain(devices).chain(counters);
        let large = frees.any(|(old, new, total)| {
            old != new && u128::from(old.abs_diff(new)) * 20 >= u128::from(total)
        });
        if large || !self.same_but_free(newer) { Duration::ZERO } else { patience }
    }

    fn same_but_free(&self, other: &Self) -> bool {
        if self.devices.len() != other.devices.len() || self.counters.len() != other.counters.len()
        {
            return false;
        }
        let device = |(mine, other): (&DeviceRecord, &DeviceRecord)| DeviceRecord {
            gpu_milli_free: other.gpu_milli_free,
            vram_bytes_free: other.vram_bytes_free,
            ..*mine
        };
        let counter = |(mine, other): (&CounterRecord, &CounterRecord)| CounterRecord {
            free: other.free,
            ..mine.clone()
        };
        let with_free_of_other = Self {
            cpu_milli_free: other.cpu_milli_free,
            memory_bytes_free: other.memory_bytes_free,
            actors_free: other.actors_free,
            devices: self.devices.iter().zip(&other.devices).map(device).collect(),
            counters: self.counters.iter().zip(&other.counters).map(counter).collect(),
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
        let device =
            DeviceRecord { vram_bytes_total: 100, vram_bytes_free: 100, ..Default::default() };
        let old = Record { devices: vec![device], ..old };
        let with = |vram_bytes_free| Record {
            devices: vec![DeviceRecord { vram_bytes_free, ..device }],
            ..old.clone()
        };
        assert_eq!(old.patience(&with(96), wait), wait);
        assert_eq!(old.patience(&with(95), wait), Duration::ZERO);
        assert_eq!(old.patience(&Record { devices: vec![], ..old.clone() }, wait), Duration::ZERO);
    }

    #[test]
    fn record_beyond_its_bounds_is_named_by_the_bound() {
        let kinds = vec![String::new(); KINDS_MAX + 1];
        assert_eq!(Record { kinds, ..Record::default() }.check(), Err(RecordError::Kinds));
        let labels = vec!["x".repeat(NAME_BYTES_MAX + 1)];
        assert_eq!(Record { labels, ..Record::default() }.check(), Err(RecordError::Name));
        let devices = vec![DeviceRecord::default(); DEVICES_MAX + 1];
        assert_eq!(Record { devices, ..Record::default() }.check(), Err(RecordError::Devices));
        let counters = vec![CounterRecord::default(); COUNTERS_MAX + 1];
        assert_eq!(Record { counters, ..Record::default() }.check(), Err(RecordError::Counters));
    }
}
