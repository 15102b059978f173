//! How long an actor keeps its thread. To read the clock costs as much as a short handler, so that
//! it is read now and then only, unless somebody listens.

use std::time::Instant;

use crate::cell::{Cell, Control};
use crate::observe::IS_OBSERVED;

/// Turns at the beginning of a run that are all measured.
const EXACT_TURNS: u8 = 64;
/// Afterwards one turn stands for this many. A prime, so that it does not keep step with what an
/// actor does at every tenth or sixty-fourth message.
const TURNS_PER_SAMPLE: u8 = 61;

/// When the next turn of a run is measured.
pub(crate) struct Turns {
    unmeasured: u8,
    exact: u8,
}

/// A turn that is measured.
pub(crate) struct Turn {
    since: Instant,
    /// Turns that it stands for.
    stands_for: u8,
    handled: u64,
}

impl Turns {
    /// A start is not measured.
    pub(crate) fn new() -> Self {
        Self { unmeasured: 1, exact: EXACT_TURNS }
    }

    /// A turn begins. `None` if it is not measured.
    #[inline]
    pub(crate) fn begin<M: Send + 'static>(&mut self, cell: &Cell<M>) -> Option<Turn> {
        if !IS_OBSERVED {
            return None;
        }
        if self.unmeasured > 0 && cell.breed().meter.is_none() {
            self.unmeasured -= 1;
            return None;
        }
        Some(self.measure(cell))
    }

    #[cold]
    fn measure<M: Send + 'static>(&mut self, cell: &Cell<M>) -> Turn {
        let mut stands_for = 1;
        if let Some(meter) = &cell.breed().meter {
            meter.turn_begins(cell.backlog());
        } else if self.exact > 0 {
            self.exact -= 1;
        } else {
            stands_for = TURNS_PER_SAMPLE;
            self.unmeasured = TURNS_PER_SAMPLE - 1;
        }
        Turn { since: Instant::now(), stands_for, handled: cell.handled() }
    }
}

impl Turn {
    #[cold]
    pub(crate) fn end<M: Send + 'static>(self, cell: &Cell<M>) {
        let time = self.since.elapsed();
        cell.count_busy(time * u32::from(self.stands_for));
        if let Some(meter) = &cell.breed().meter {
            meter.turn_ends(time, cell.handled().wrapping_sub(self.handled));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::engine::Engine;
    use crate::id::ActorId;

    #[tokio::test]
    async fn turns_are_measured_all_at_first_and_then_one_in_sixty_one() {
        let id = ActorId { origin: 1, number: 1 };
        let cell = Cell::<()>::ended(Engine::new(1, Handle::current()), id);
        let mut turns = Turns::new();
        let mut turn = |_: u8| turns.begin(&cell).map_or(0, |turn| u32::from(turn.stands_for));
        assert_eq!(turn(0), 0, "a start is not measured");
        let stand_for: Vec<u32> = (0..EXACT_TURNS + 2 * TURNS_PER_SAMPLE).map(&mut turn).collect();
        assert!(stand_for[..64].iter().all(|&turns| turns == 1));
        assert_eq!((stand_for[64], stand_for[64 + 61]), (61, 61));
        assert_eq!(stand_for.iter().sum::<u32>(), stand_for.len() as u32);
    }
}
