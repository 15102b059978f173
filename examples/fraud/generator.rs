//! A seeded marketplace whose ratings resemble those of Bitcoin OTC: a few traders take part in
//! a quarter of all trades, four in ten ratings are returned, most are small and kind, and some
//! traders are fraudsters whom several others expose in a row.
//!
//! - G-1: the same seed and number of events give the same events, and a longer stream starts with
//!   the shorter one.
//! - G-2: times never go back; nobody rates himself.

use std::collections::VecDeque;

use crate::event::{Event, FRAUD_RATING};
use crate::split_mix::SplitMix;

/// The time of the first event: 2010-11-08, as in the data it resembles.
const START_S: f64 = 1_289_241_911.0;
const MEAN_GAP_S: f64 = 900.0;
/// Of the sides of an event, how many are traders never seen before.
const NEWCOMERS: f64 = 0.14;
/// Of the other sides, how many are any trader, however little it traded.
const ANYBODY: f64 = 0.35;
/// Of the other events, how many return a rating.
const RETURNED: f64 = 0.42;
/// Of the events, how many are one more accusation of somebody just exposed.
const EXPOSED: f64 = 0.045;
const FRAUDSTERS: f64 = 0.07;
/// Ratings that wait to be returned, and exposed traders that wait for more accusers.
const WAITING_MAX: usize = 64;

/// `events` ratings in time order, each in 32 bytes.
pub fn generate(seed: u64, events: u64) -> Vec<Event> {
    let mut market = Market {
        random: SplitMix(seed),
        seed,
        traders: 0,
        time_s: START_S,
        past: Vec::new(),
        unreturned: VecDeque::new(),
        exposed: VecDeque::new(),
    };
    for _ in 0..events {
        market.trade();
    }
    market.past
}

struct Market {
    random: SplitMix,
    seed: u64,
    traders: u64,
    time_s: f64,
    past: Vec<Event>,
    /// Who rated whom.
    unreturned: VecDeque<(u64, u64)>,
    exposed: VecDeque<u64>,
}

/// What never changes about a trader, drawn from the seed and its id alone.
struct Character {
    fraudster: bool,
    /// The chance that it takes a bad deal for fraud, from 0 to 1.
    harshness: f64,
    /// What it gives for a good deal, on average.
    warmth: f64,
}

impl Market {
    fn trade(&mut self) {
        self.time_s -= MEAN_GAP_S * (1.0 - self.random.unit()).ln();
        let (source, target) = self.pair();
        let rating = self.rating(source, target);
        self.past.push(Event { source, target, rating, time_s: self.time_s });
        let fraudster = self.character(target).fraudster;
        if rating == FRAUD_RATING && fraudster && self.random.chance(0.6) {
            keep(&mut self.exposed, target);
        }
        keep(&mut self.unreturned, (source, target));
    }

    fn pair(&mut self) -> (u64, u64) {
        if self.random.chance(EXPOSED)
            && let Some(target) = drawn(&mut self.random, &mut self.exposed)
        {
            return (self.partner_of(target), target);
        }
        if self.random.chance(RETURNED)
            && let Some((source, target)) = drawn(&mut self.random, &mut self.unreturned)
        {
            return (target, source);
        }
        let target = self.trader();
        (self.partner_of(target), target)
    }

    fn partner_of(&mut self, other: u64) -> u64 {
        let drawn = self.trader();
        if drawn == other { self.newcomer() } else { drawn }
    }

    /// A newcomer, any trader, or a side of a past event: who traded much trades more, so that the
    /// number of ratings per trader gets a heavy tail (A.-L. Barabasi, R. Albert, "Emergence of
    /// scaling in random networks", 1999).
    fn trader(&mut self) -> u64 {
        if self.past.is_empty() || self.random.chance(NEWCOMERS) {
            return self.newcomer();
        }
        if self.random.chance(ANYBODY) {
            return 1 + self.random.below(self.traders as usize) as u64;
        }
        let event = self.past[self.random.below(self.past.len())];
        if self.random.chance(0.5) { event.source } else { event.target }
    }

    fn newcomer(&mut self) -> u64 {
        self.traders += 1;
        self.traders
    }

    fn character(&self, trader: u64) -> Character {
        let mut own = SplitMix(self.seed ^ trader.wrapping_mul(0xd1b5_4a32_d192_ed03));
        let (fraudster, harshness) = (own.chance(FRAUDSTERS), own.unit());
        Character { fraudster, harshness: harshness * harshness, warmth: 0.6 + own.unit() }
    }

    fn rating(&mut self, source: u64, target: u64) -> i8 {
        let (giver, receiver) = (self.character(source), self.character(target));
        let (cheated, accused) = (0.45 + 0.4 * giver.harshness, 0.03 * giver.harshness);
        let fraud = match (receiver.fraudster, giver.fraudster) {
            (true, false) => cheated,
            (true, true) => cheated / 4.0,
            (false, true) => 0.02 + accused,
            (false, false) => accused / 4.0,
        };
        if self.random.chance(fraud) {
            FRAUD_RATING
        } else if self.random.chance(if receiver.fraudster { 0.08 } else { 0.025 }) {
            -1 - self.tail(1.2)
        } else {
            1 + self.tail(giver.warmth)
        }
    }

    /// 0 to 9, the small ones far more often.
    fn tail(&mut self, mean: f64) -> i8 {
        (-mean * (1.0 - self.random.unit()).ln()).min(9.0) as i8
    }
}

fn keep<T>(waiting: &mut VecDeque<T>, newest: T) {
    if waiting.len() == WAITING_MAX {
        waiting.pop_front();
    }
    waiting.push_back(newest);
}

fn drawn<T>(random: &mut SplitMix, waiting: &mut VecDeque<T>) -> Option<T> {
    if waiting.is_empty() {
        return None;
    }
    let at = random.below(waiting.len());
    waiting.remove(at)
}

impl SplitMix {
    /// From 0 up to, but not, 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }

    /// From 0 up to, but not, `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    // G-1
    #[test]
    fn a_seed_gives_the_same_events_and_a_longer_stream_starts_with_the_shorter() {
        let events = generate(7, 2_000);
        assert_eq!(events, generate(7, 2_000));
        assert_eq!(events[..300], generate(7, 300));
        assert_ne!(events[..300], generate(8, 300));
    }

    // G-2
    #[test]
    fn times_never_go_back_and_nobody_rates_himself() {
        let events = generate(3, 20_000);
        assert!(events.is_sorted_by(|a, b| a.time_s <= b.time_s));
        assert!(events.iter().all(|event| event.source != event.target));
        assert!(events.iter().all(|event| (-10..=10).contains(&event.rating) && event.rating != 0));
    }

    // In the Bitcoin OTC data 6.8 % of the ratings are -10, 10.0 % are negative, 56 % are 1, a
    // trader takes part in 12.1 ratings, the busiest hundredth in 24 % of all sides, and 40 % of
    // the ratings return an earlier one.
    #[test]
    fn the_market_resembles_the_data_it_is_modelled_on() {
        let events = generate(7, 35_592);
        let share = |of: &dyn Fn(&Event) -> bool| {
            events.iter().filter(|event| of(event)).count() as f64 / events.len() as f64
        };
        let within = |what: &str, is: f64, low: f64, high: f64| {
            assert!((low..high).contains(&is), "{what}: {is}");
        };
        within("fraud", share(&Event::is_fraud), 0.05, 0.09);
        within("negative", share(&|event| event.rating < 0), 0.08, 0.13);
        within("one", share(&|event| event.rating == 1), 0.45, 0.65);
        let mut sides = HashMap::<u64, usize>::new();
        for event in &events {
            *sides.entry(event.source).or_default() += 1;
            *sides.entry(event.target).or_default() += 1;
        }
        let all = 2 * events.len();
        within("ratings of a trader", all as f64 / sides.len() as f64, 10.0, 14.0);
        let mut counts: Vec<usize> = sides.into_values().collect();
        counts.sort_unstable();
        let busiest: usize = counts.iter().rev().take(counts.len() / 100).sum();
        within("busiest hundredth", busiest as f64 / all as f64, 0.15, 0.35);
        let mut seen = HashSet::new();
        let returned = events.iter().filter(|event| {
            seen.insert((event.source, event.target));
            seen.contains(&(event.target, event.source))
        });
        within("returned", returned.count() as f64 / events.len() as f64, 0.3, 0.5);
    }
}
