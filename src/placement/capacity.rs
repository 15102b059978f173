//! What a node has, in the dimensions a demand is made in.

use std::collections::BTreeMap;

use mobula_actors::demand::Demand;
use serde::{Deserialize, Serialize};

use super::dimension::{Dimension, Shortage, share_of};

/// How many actors a node takes when nothing else is said.
pub const ACTORS_DEFAULT: u32 = 1_000_000;

/// Amounts in every dimension: a node's total, or what of it is free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// Bytes of main memory.
    pub memory_bytes: u64,
    /// Its devices; a device's number is its place here.
    pub devices: Vec<Device>,
    /// What the node counts by name, such as licences.
    pub counters: BTreeMap<String, u64>,
    /// Places for actors.
    pub actors: u32,
}

/// Amounts of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Thousandths of its compute.
    pub gpu_milli: u32,
    /// Bytes of its memory.
    pub vram_bytes: u64,
}

impl Device {
    /// A whole device with so much memory.
    #[must_use]
    pub const fn whole(vram_bytes: u64) -> Self {
        Self { gpu_milli: 1_000, vram_bytes }
    }

    fn shortages(self, demand: &Demand) -> [Shortage; 2] {
        [(Dimension::Gpu, u64::from(self.gpu_milli)), (Dimension::Vram, self.vram_bytes)].map(
            |(dimension, available)| Shortage {
                needed: dimension.needed(demand),
                dimension,
                available,
            },
        )
    }
}

impl Capacity {
    /// The amount in one dimension; of devices, all of them together.
    #[must_use]
    pub fn of(&self, dimension: &Dimension) -> u64 {
        match dimension {
            Dimension::Cpu => self.cpu_milli.into(),
            Dimension::Memory => self.memory_bytes,
            Dimension::Gpu => self.devices.iter().map(|device| u64::from(device.gpu_milli)).sum(),
            Dimension::Vram => {
                self.devices.iter().fold(0, |sum, device| sum.saturating_add(device.vram_bytes))
            }
            Dimension::Actors => self.actors.into(),
            Dimension::Counter(name) => self.counters.get(name).copied().unwrap_or(0),
        }
    }

    /// Whether `demand` fits in every dimension, its device dimensions on one device.
    #[must_use]
    pub fn fits(&self, demand: &Demand) -> bool {
        u64::from(self.cpu_milli) >= demand.cpu_milli.into()
            && self.memory_bytes >= demand.memory_bytes
            && self.actors >= 1
            && demand
                .counters
                .iter()
                .all(|(name, needed)| self.counters.get(name).copied().unwrap_or(0) >= *needed)
            && (!needs_device(demand) || self.device_for(demand).is_some())
    }

    /// The dimension of which `demand` gets the smallest share; `None` when it fits.
    #[must_use]
    pub fn missing(&self, demand: &Demand) -> Option<Shortage> {
        if self.fits(demand) {
            return None;
        }
        let scalars = Dimension::of(demand)
            .filter(|dimension| !matches!(dimension, Dimension::Gpu | Dimension::Vram))
            .map(|dimension| Shortage {
                needed: dimension.needed(demand),
                available: self.of(&dimension),
                dimension,
            });
        let all = scalars.chain(self.device_missing(demand));
        all.filter(|short| short.available < short.needed)
            .min_by(|a, b| a.coverage().total_cmp(&b.coverage()))
    }

    /// Takes `demand` and says on which device, if it needs one.
    ///
    /// # Errors
    /// What is missing; nothing was taken.
    pub fn take(&mut self, demand: &Demand) -> Result<Option<u32>, Shortage> {
        if let Some(shortage) = self.missing(demand) {
            return Err(shortage);
        }
        let device = if needs_device(demand) { self.device_for(demand) } else { None };
        self.debit(demand, device);
        Ok(device.and_then(|device| u32::try_from(device).ok()))
    }

    /// What is left after `demand` was taken; zero where there is less.
    #[must_use]
    pub fn saturating_sub(mut self, demand: &Demand) -> Self {
        let fullest = || (0..self.devices.len()).max_by_key(|at| self.devices[*at].vram_bytes);
        let device =
            if needs_device(demand) { self.device_for(demand).or_else(fullest) } else { None };
        self.debit(demand, device);
        self
    }

    /// Puts back what was taken, on the device that it was taken from. Nothing exceeds `total`.
    pub fn put_back(&mut self, demand: &Demand, device: Option<u32>, total: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(demand.cpu_milli).min(total.cpu_milli);
        self.memory_bytes =
            self.memory_bytes.saturating_add(demand.memory_bytes).min(total.memory_bytes);
        self.actors = self.actors.saturating_add(1).min(total.actors);
        for (name, amount) in &demand.counters {
            if let (Some(free), Some(all)) = (self.counters.get_mut(name), total.counters.get(name))
            {
                *free = free.saturating_add(*amount).min(*all);
            }
        }
        let at = device.map_or(usize::MAX, |device| device as usize);
        if let (Some(free), Some(all)) = (self.devices.get_mut(at), total.devices.get(at)) {
            free.gpu_milli = free.gpu_milli.saturating_add(demand.gpu_milli).min(all.gpu_milli);
            free.vram_bytes = free.vram_bytes.saturating_add(demand.vram_bytes).min(all.vram_bytes);
        }
    }

    /// The part of one of `nodes` equal nodes that divide this host; zero nodes count as one.
    #[must_use]
    pub fn share(&self, nodes: u32) -> Self {
        let nodes = nodes.max(1);
        let part = |device: &Device| Device {
            gpu_milli: device.gpu_milli / nodes,
            vram_bytes: device.vram_bytes / u64::from(nodes),
        };
        let counter = |(name, all): (&String, &u64)| (name.clone(), all / u64::from(nodes));
        Self {
            cpu_milli: self.cpu_milli / nodes,
            memory_bytes: self.memory_bytes / u64::from(nodes),
            devices: self.devices.iter().map(part).collect(),
            counters: self.counters.iter().map(counter).collect(),
            actors: self.actors / nodes,
        }
    }

    /// The share of `demand` that is covered, in the dimension that covers least; 1.0 when it fits.
    #[must_use]
    pub fn coverage(&self, demand: &Demand) -> f64 {
        self.missing(demand).map_or(1.0, |shortage| shortage.coverage())
    }

    /// The used share of `dimension` of this total once `demand` was taken from `free`.
    ///
    /// Zero where there is nothing and nothing is needed; infinite where nothing can be given.
    #[must_use]
    pub fn utilisation_after(&self, free: &Self, demand: &Demand, dimension: &Dimension) -> f64 {
        let (total, needed) = (self.of(dimension), dimension.needed(demand));
        let used = total.saturating_sub(free.of(dimension)).saturating_add(needed);
        match (total, used) {
            (0, 0) => 0.0,
            (0, _) => f64::INFINITY,
            _ => share_of(used, total),
        }
    }

    /// The device with room for `demand` that has the least memory left, so that large demands find
    /// room later.
    fn device_for(&self, demand: &Demand) -> Option<usize> {
        let holds = |device: &Device| {
            device.gpu_milli >= demand.gpu_milli && device.vram_bytes >= demand.vram_bytes
        };
        let fitting = self.devices.iter().enumerate().filter(|(_, device)| holds(device));
        fitting.min_by_key(|(_, device)| (device.vram_bytes, device.gpu_milli)).map(|(at, _)| at)
    }

    /// What the device lacks that comes closest to `demand`; nothing when one has room.
    fn device_missing(&self, demand: &Demand) -> Option<Shortage> {
        if !needs_device(demand) || self.device_for(demand).is_some() {
            return None;
        }
        let none = [Device::default()];
        let devices = if self.devices.is_empty() { &none[..] } else { &self.devices };
        let worst = |device: &Device| {
            let short = device.shortages(demand).into_iter().filter(|s| s.available < s.needed);
            short.min_by(|a, b| a.coverage().total_cmp(&b.coverage()))
        };
        let closest = devices.iter().filter_map(worst);
        closest.max_by(|a, b| a.coverage().total_cmp(&b.coverage()))
    }

    fn debit(&mut self, demand: &Demand, device: Option<usize>) {
        self.cpu_milli = self.cpu_milli.saturating_sub(demand.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(demand.memory_bytes);
        self.actors = self.actors.saturating_sub(1);
        for (name, amount) in &demand.counters {
            if let Some(free) = self.counters.get_mut(name) {
                *free = free.saturating_sub(*amount);
            }
        }
        if let Some(free) = device.and_then(|at| self.devices.get_mut(at)) {
            free.gpu_milli = free.gpu_milli.saturating_sub(demand.gpu_milli);
            free.vram_bytes = free.vram_bytes.saturating_sub(demand.vram_bytes);
        }
    }
}

fn needs_device(demand: &Demand) -> bool {
    demand.gpu_milli > 0 || demand.vram_bytes > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Capacity {
        Capacity { cpu_milli: 2_000, memory_bytes: 900, actors: 10, ..Capacity::default() }
    }

    fn with_devices(devices: &[(u32, u64)]) -> Capacity {
        let devices =
            devices.iter().map(|&(gpu_milli, vram_bytes)| Device { gpu_milli, vram_bytes });
        Capacity { devices: devices.collect(), ..host() }
    }

    #[test]
    fn the_shortage_names_the_dimension_that_lacks_most() {
        let demand = Demand::cpu(3.0).memory(9_000);
        let shortage = Shortage { dimension: Dimension::Memory, needed: 9_000, available: 900 };
        assert_eq!(host().missing(&demand), Some(shortage.clone()));
        assert_eq!(host().take(&demand), Err(shortage.clone()));
        assert!(!host().fits(&demand));
        assert_eq!(shortage.to_string(), "needs 9000 of memory (bytes), has 900");
    }

    #[test]
    fn what_is_taken_and_put_back_leaves_the_capacity_as_it_was() {
        let total = Capacity {
            counters: BTreeMap::from([("licence".to_owned(), 3)]),
            ..with_devices(&[(1_000, 80), (1_000, 80)])
        };
        let demand = Demand::gpu(0.5).vram(30).cores(0.5).memory(100).counter("licence", 2);
        let mut left = total.clone();
        let device = left.take(&demand).unwrap();
        assert_eq!((left.cpu_milli, left.memory_bytes, left.actors), (1_500, 800, 9));
        assert_eq!(left.of(&Dimension::Counter("licence".to_owned())), 1);
        left.put_back(&demand, device, &total);
        assert_eq!(left, total);
        left.put_back(&demand, device, &total);
        assert_eq!(left, total, "nothing exceeds the total");
    }

    #[test]
    fn a_demand_must_fit_on_one_device_and_the_tightest_takes_it() {
        let mut host = with_devices(&[(1_000, 80), (1_000, 40), (200, 40)]);
        assert_eq!(host.take(&Demand::gpu(0.5).vram(30)), Ok(Some(1)));
        assert_eq!(host.take(&Demand::gpu(0.5).vram(30)), Ok(Some(0)));
        let two_halves = Demand::gpu(0.5).vram(60);
        let shortage = Shortage { dimension: Dimension::Vram, needed: 60, available: 50 };
        assert_eq!(host.take(&two_halves), Err(shortage), "110 are free, on three devices");
    }

    #[test]
    fn a_node_without_the_device_or_the_counter_lacks_all_of_it() {
        let gpu = host().missing(&Demand::gpu(1.0).vram(1)).unwrap();
        assert_eq!((gpu.dimension, gpu.available), (Dimension::Gpu, 0));
        let licence = host().missing(&Demand::default().counter("licence", 1)).unwrap();
        assert_eq!(licence.to_string(), "needs 1 of the counter \"licence\", has 0");
    }

    #[test]
    fn an_actor_without_demand_still_needs_a_place() {
        let full = Capacity { actors: 0, ..host() };
        assert_eq!(full.missing(&Demand::default()).unwrap().dimension, Dimension::Actors);
    }

    #[test]
    fn nodes_of_one_host_divide_it() {
        let part = with_devices(&[(1_000, 90)]).share(3);
        assert_eq!((part.cpu_milli, part.memory_bytes, part.actors), (666, 300, 3));
        assert_eq!(part.devices, [Device { gpu_milli: 333, vram_bytes: 30 }]);
        assert_eq!(host().share(0), host());
    }

    #[test]
    fn utilisation_counts_what_is_used_already_and_a_dimension_that_is_absent() {
        let free = Capacity { cpu_milli: 1_500, ..host() };
        let demand = Demand::cpu(0.5);
        let after = |d| host().utilisation_after(&free, &demand, &d);
        assert_eq!(after(Dimension::Cpu), 0.5);
        assert_eq!(after(Dimension::Gpu), 0.0);
        let gpu = Demand { gpu_milli: 1, ..Demand::default() };
        assert_eq!(host().utilisation_after(&free, &gpu, &Dimension::Gpu), f64::INFINITY);
    }
}
