//! Two of many, uniformly, without replacement.

use crate::machine::Rng;

/// Up to two different entries of `pool`, every ordered pair equally likely.
///
/// The order is random too: whoever takes the first of two equals has broken the tie at random.
pub fn sample_two<T: Copy>(rng: &mut Rng, pool: &[T]) -> [Option<T>; 2] {
    let first = draw(rng, pool.len());
    // Drawn from one place less and moved past the first, so that no pair is favoured.
    let second = draw(rng, pool.len().saturating_sub(1));
    let second = if second >= first { second.saturating_add(1) } else { second };
    [pool.get(first).copied(), pool.get(second).copied()]
}

fn draw(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_of_nothing_and_one_of_one() {
        let mut rng = Rng::new(1);
        assert_eq!(sample_two::<u8>(&mut rng, &[]), [None, None]);
        assert_eq!(sample_two(&mut rng, &[7]), [Some(7), None]);
    }

    #[test]
    fn every_ordered_pair_is_drawn_about_equally_often() {
        let (mut rng, mut seen) = (Rng::new(2), [[0u32; 5]; 5]);
        for _ in 0..20_000 {
            let [Some(a), Some(b)] = sample_two(&mut rng, &[0usize, 1, 2, 3, 4]) else { panic!() };
            seen[a][b] += 1;
        }
        for (a, row) in seen.iter().enumerate() {
            for (b, count) in row.iter().enumerate() {
                // 1,000 expected, standard deviation 31: five of them either way.
                let fair = if a == b { *count == 0 } else { (845..=1_155).contains(count) };
                assert!(fair, "pair ({a}, {b}) was drawn {count} times");
            }
        }
    }
}
