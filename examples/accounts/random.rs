//! What payments draw.

pub use crate::split_mix::SplitMix;

impl SplitMix {
    /// A number below `bound`, which is not 0. The bounds here are small beside 2^64, so that the
    /// bias is too.
    pub fn below(&mut self, bound: u32) -> u32 {
        // The remainder of a `u32` is one.
        (self.next() % u64::from(bound)) as u32
    }

    /// Another generator, whose numbers have nothing to do with those that follow here.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = SplitMix(7);
        let mut seen = [0; 5];
        (0..1_000).for_each(|_| seen[random.below(5) as usize] += 1);
        assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
    }
}
