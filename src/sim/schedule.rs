//! What will happen, in order of time, and of making where times are equal.
//!
//! Two wheels: a fine one of short slots, each sorted when its time has come, and a coarse one
//! whose slot is a turn of the fine one; behind them a map of what lies further ahead. Nearly
//! everything is due within seconds, so that putting something in and taking it out cost the same
//! however many nodes there are. Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing
//! Wheels", 1987.

use std::collections::BTreeMap;

use super::network::Transit;
use crate::machine::Time;

/// A fine slot holds what is due within 2^6 µs, a coarse one what is due within 2^12 µs.
const FINE_BITS: u32 = 6;
const COARSE_BITS: u32 = 12;
/// Fine slots: one coarse slot.
const FINE_SLOTS: u64 = 1 << (COARSE_BITS - FINE_BITS);
/// Coarse slots: 4.2 s.
const COARSE_SLOTS: u64 = 1 << 10;

#[derive(Debug)]
pub(super) enum Happening {
    Arrival(Transit),
    /// `node`'s dial, made in its life `boot`, reaches `to`.
    Dial {
        node: u32,
        boot: u64,
        to: u32,
    },
    DialFailed {
        node: u32,
        boot: u64,
        to: u32,
    },
    /// A timer of the machine, set when it wanted to be stepped at this time.
    Wake {
        node: u32,
    },
    Seed {
        node: u32,
        boot: u64,
    },
    /// A starved process gets the processor, or loses it.
    Slice {
        node: u32,
        boot: u64,
    },
}

type Slot = Vec<(Time, Happening)>;

/// All that will happen. Slots have their entries in the order of making, but for the present fine
/// one, which has its next at its end.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The slots of the present coarse slot.
    fine: Vec<Slot>,
    /// The slots behind it.
    coarse: Vec<Slot>,
    /// The number of the present fine slot, counted from time zero.
    present: u64,
    /// What lies beyond the coarse slots.
    far: BTreeMap<(Time, u64), Happening>,
    made: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        let slots = |count: u64| (0..count).map(|_| Slot::new()).collect();
        let (fine, coarse) = (slots(FINE_SLOTS), slots(COARSE_SLOTS));
        Self { fine, coarse, present: 0, far: BTreeMap::new(), made: 0 }
    }
}

impl Schedule {
    /// `at` may be no earlier than what was taken out last.
    pub(super) fn push(&mut self, at: Time, happening: Happening) {
        let fine = (at.0 >> FINE_BITS).max(self.present);
        let ahead = coarse_of(fine) - coarse_of(self.present);
        if fine == self.present {
            let entries = &mut self.fine[(fine % FINE_SLOTS) as usize];
            let place = entries.partition_point(|(other, _)| *other > at);
            entries.insert(place, (at, happening));
        } else if ahead == 0 {
            self.fine[(fine % FINE_SLOTS) as usize].push((at, happening));
        } else if ahead < COARSE_SLOTS {
            self.coarse[(coarse_of(fine) % COARSE_SLOTS) as usize].push((at, happening));
        } else {
            self.made += 1;
            self.far.insert((at, self.made), happening);
        }
    }

    /// The next happening not after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, Happening)> {
        loop {
            let entries = &mut self.fine[(self.present % FINE_SLOTS) as usize];
            match entries.last() {
                Some((at, _)) if *at > end => return None,
                Some(_) => return entries.pop(),
                None if self.present >= end.0 >> FINE_BITS => return None,
                None => self.turn(),
            }
        }
    }

    /// Goes on to the next fine slot.
    fn turn(&mut self) {
        self.present += 1;
        if self.present.is_multiple_of(FINE_SLOTS) {
            self.turn_coarse(coarse_of(self.present));
        }
        let entries = &mut self.fine[(self.present % FINE_SLOTS) as usize];
        entries.sort_by_key(|(at, _)| *at);
        entries.reverse();
    }

    /// Spreads a coarse slot over the fine ones, and takes in what is no longer beyond the coarse
    /// ones: before anything that is made later can come to stand before it.
    fn turn_coarse(&mut self, coarse: u64) {
        for (at, happening) in std::mem::take(&mut self.coarse[(coarse % COARSE_SLOTS) as usize]) {
            self.fine[((at.0 >> FINE_BITS) % FINE_SLOTS) as usize].push((at, happening));
        }
        let last = coarse + COARSE_SLOTS - 1;
        while let Some(next) = self.far.first_entry() {
            let slot = next.key().0.0 >> COARSE_BITS;
            if slot > last {
                break;
            }
            let ((at, _), happening) = next.remove_entry();
            self.coarse[(slot % COARSE_SLOTS) as usize].push((at, happening));
        }
    }
}

fn coarse_of(fine: u64) -> u64 {
    fine >> (COARSE_BITS - FINE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Rng;

    #[test]
    fn all_comes_in_order_of_time_and_of_making() {
        let mut rng = Rng::new(1);
        let mut schedule = Schedule::default();
        let (mut model, mut now, mut made) = (BTreeMap::new(), 0, 0u32);
        for step in 0..20_000u64 {
            // From the present slot to far beyond the wheels, often at equal times.
            let ahead = rng.below([8, 100, 9_000, 9_000_000][(step % 4) as usize]);
            schedule.push(Time(now + ahead), Happening::Wake { node: made });
            model.insert((now + ahead, made), ());
            made += 1;
            let end = now + rng.below(400);
            while let Some((at, Happening::Wake { node })) = schedule.pop_until(Time(end)) {
                assert_eq!(model.pop_first(), Some(((at.0, node), ())));
            }
            assert!(model.first_key_value().is_none_or(|((at, _), ())| *at > end));
            now = end;
        }
        assert!(made > 10_000 && !model.is_empty());
    }
}
