//! A few of many, uniformly, without replacement.

use crate::machine::Rng;

/// Up to `most` different entries of `pool` that `usable` makes something of, in random order;
/// every ordered choice of usable ones is equally likely.
///
/// Entries are tried one by one, so that a pool of which most are usable costs little. Whoever takes
/// the first of equals has broken the tie at random.
pub fn sample<T, U>(
    rng: &mut Rng,
    mut pool: Vec<T>,
    most: usize,
    mut usable: impl FnMut(T) -> Option<U>,
) -> Vec<U> {
    let mut drawn = Vec::with_capacity(most);
    while drawn.len() < most && !pool.is_empty() {
        let at = usize::try_from(rng.below(pool.len() as u64)).unwrap_or(0);
        drawn.extend(usable(pool.swap_remove(at)));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_of_nothing_and_one_of_one() {
        let mut rng = Rng::new(1);
        assert!(sample(&mut rng, Vec::<u8>::new(), 2, Some).is_empty());
        assert_eq!(sample(&mut rng, vec![7], 2, Some), [7]);
        assert!(sample(&mut rng, vec![7, 8], 2, |_| None::<u8>).is_empty());
    }

    #[test]
    fn every_ordered_pair_of_usable_ones_is_drawn_about_equally_often() {
        let (mut rng, mut seen) = (Rng::new(2), [[0u32; 5]; 5]);
        for _ in 0..20_000 {
            let usable = |n: usize| n.is_multiple_of(2).then_some(n / 2);
            let drawn = sample(&mut rng, (0..10).collect(), 2, usable);
            let [a, b] = drawn[..] else { panic!() };
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
