//! How full a node would be: the spread strategy. Lower is better.

use std::time::Duration;

use mobula_actors::demand::Demand;

use super::{capacity::Capacity, dimension::Dimension};

/// A record older than this is not believed: its node counts as nearly full.
pub const AGE_DOUBTFUL: Duration = Duration::from_secs(3);

/// A record older than this is not used while any other feasible node has a younger one.
pub const AGE_EXCLUDED: Duration = Duration::from_secs(30);

/// The least score of a node whose record is not believed.
pub const NEARLY_FULL: f64 = 0.95;

/// The largest used share after the placement, plus the share of places for actors.
///
/// Device dimensions count like any other, and so do the counters that the demand names. Places are
/// a term of their own: actors that demand nothing else still spread, and a few of them never
/// outweigh a core. An old record can make a node look worse, never better.
#[must_use]
pub fn score(total: &Capacity, free: &Capacity, demand: &Demand, age: Duration) -> f64 {
    let used = |dimension| total.utilisation_after(free, demand, &dimension);
    let counters = demand.counters.keys().cloned().map(Dimension::Counter);
    let largest = [Dimension::Cpu, Dimension::Memory, Dimension::Gpu, Dimension::Vram]
        .into_iter()
        .chain(counters)
        .map(used)
        .fold(0.0, f64::max);
    let believed = if age > AGE_DOUBTFUL { largest.max(NEARLY_FULL) } else { largest };
    believed + used(Dimension::Actors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Device;

    fn node() -> Capacity {
        Capacity {
            cpu_milli: 4_000,
            memory_bytes: 1_000,
            devices: vec![Device::whole(100); 8],
            actors: 1_000_000,
            ..Capacity::default()
        }
    }

    #[test]
    fn the_fullest_dimension_decides_and_devices_count() {
        let busy_gpu = Capacity { devices: vec![Device::whole(100); 1], ..node() };
        let half_cpu = Capacity { cpu_milli: 2_000, ..node() };
        let of = |free: &Capacity| score(&node(), free, &Demand::cpu(0.1), Duration::ZERO);
        assert!(of(&busy_gpu) > of(&half_cpu));
        assert!(of(&half_cpu) > of(&node()));
    }

    #[test]
    fn actors_that_demand_nothing_still_prefer_the_node_with_fewer() {
        let one_there = Capacity { actors: 999_999, ..node() };
        let of = |free: &Capacity| score(&node(), free, &Demand::default(), Duration::ZERO);
        assert!(of(&one_there) > of(&node()));
    }

    #[test]
    fn an_old_record_is_taken_as_nearly_full() {
        let half = Capacity { cpu_milli: 2_000, ..node() };
        let of = |free: &Capacity, age| score(&node(), free, &Demand::cpu(0.1), age);
        let (young, old) = (AGE_DOUBTFUL, AGE_DOUBTFUL + Duration::from_micros(1));
        assert!(of(&node(), old) > of(&half, young));
        assert!(of(&node(), young) < of(&half, young));
    }
}
