//! What a node has and has left, in the words of gossip and in those of placement.

use crate::gossip::{CounterRecord, DeviceRecord, Record};
use crate::placement::{Capacity, Device};

/// The figures of a node as others are told of them; the rest of its record is left empty.
pub(super) fn figures(total: &Capacity, free: &Capacity) -> Record {
    let device = |(all, left): (&Device, &Device)| DeviceRecord {
        gpu_milli_total: all.gpu_milli,
        gpu_milli_free: left.gpu_milli,
        vram_bytes_total: all.vram_bytes,
        vram_bytes_free: left.vram_bytes,
    };
    let counter = |((name, total), free): ((&String, &u64), &u64)| CounterRecord {
        name: name.clone(),
        total: *total,
        free: *free,
    };
    Record {
        cpu_milli_total: total.cpu_milli.into(),
        cpu_milli_free: free.cpu_milli.into(),
        memory_bytes_total: total.memory_bytes,
        memory_bytes_free: free.memory_bytes,
        devices: total.devices.iter().zip(&free.devices).map(device).collect(),
        // The same names on both sides, in the same order.
        counters: total.counters.iter().zip(free.counters.values()).map(counter).collect(),
        actors_total: total.actors,
        actors_free: free.actors,
        ..Record::default()
    }
}

/// All that a node has.
pub(super) fn total(record: &Record) -> Capacity {
    let device = |device: &DeviceRecord| Device {
        gpu_milli: device.gpu_milli_total,
        vram_bytes: device.vram_bytes_total,
    };
    Capacity {
        cpu_milli: milli(record.cpu_milli_total),
        memory_bytes: record.memory_bytes_total,
        devices: record.devices.iter().map(device).collect(),
        counters: record.counters.iter().map(|each| (each.name.clone(), each.total)).collect(),
        actors: record.actors_total,
    }
}

/// What a node has left.
pub(super) fn free(record: &Record) -> Capacity {
    let device = |device: &DeviceRecord| Device {
        gpu_milli: device.gpu_milli_free,
        vram_bytes: device.vram_bytes_free,
    };
    Capacity {
        cpu_milli: milli(record.cpu_milli_free),
        memory_bytes: record.memory_bytes_free,
        devices: record.devices.iter().map(device).collect(),
        counters: record.counters.iter().map(|each| (each.name.clone(), each.free)).collect(),
        actors: record.actors_free,
    }
}

fn milli(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_understood() {
        let all = Capacity {
            cpu_milli: 4_000,
            memory_bytes: 1 << 40,
            devices: vec![Device::whole(80), Device { gpu_milli: 250, vram_bytes: 40 }],
            counters: [("licence".to_owned(), 3), ("port".to_owned(), 9)].into(),
            actors: 10,
        };
        let mut left = all.clone();
        left.devices[1] = Device { gpu_milli: 50, vram_bytes: 1 };
        left.counters.insert("port".to_owned(), 0);
        let record = figures(&all, &left);
        assert_eq!((total(&record), free(&record)), (all, left));
        assert_eq!(record.check(), Ok(()));
    }
}
