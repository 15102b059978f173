//! Which node of those with room is asked: a few are drawn, and the best of them is taken.

use std::fmt::Debug;

use mobula_actors::demand::{Demand, PlaceStrategy};

use super::{
    candidate::{Candidate, Request},
    capacity::Capacity,
    sample::sample,
    score::score,
};
use crate::machine::Rng;

/// What a preference that a node does not meet adds to its score: a quarter of the node.
pub const PREFERENCE: f64 = 0.25;

/// The best of a few nodes of `pool` for which `free` says what they have.
///
/// Two are drawn, and of two the emptier is taken; to pack, more, and the fullest. If the request
/// prefers some nodes, one of those that meet most of it joins them: among many nodes, two that are
/// drawn would seldom include it.
pub(super) fn pick<'v, 'a, N: Copy + Ord + Debug>(
    rng: &mut Rng,
    pool: Vec<&'v Candidate<'a, N>>,
    request: &Request<N>,
    free: impl Fn(&Candidate<'_, N>) -> Option<Capacity>,
) -> Option<&'v Candidate<'a, N>> {
    let usable = |candidate: &'v Candidate<'a, N>| Some((candidate, free(candidate)?));
    let wanted = request.prefers().then(|| most_wanted(&pool, request, &free));
    let few = match request.strategy {
        PlaceStrategy::Spread => 2,
        // Whoever looks for the fullest looks at more. Herds are what it wants.
        PlaceStrategy::Pack => 2 + pool.len().isqrt(),
    };
    let mut drawn = sample(rng, pool, few, usable);
    drawn.extend(sample(rng, wanted.unwrap_or_default(), 1, usable));
    let scored = drawn.into_iter().map(|(candidate, free)| {
        let load = score(&candidate.total, &free, &request.demand, candidate.age);
        let load = match request.strategy {
            PlaceStrategy::Spread => load,
            // The fullest comes first, and one without room last.
            PlaceStrategy::Pack if free.fits(&request.demand) => -load,
            PlaceStrategy::Pack => load,
        };
        (load + PREFERENCE * request.unmet(candidate), candidate)
    });
    // Of equals the first stays: the order is random.
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// Those with room that meet most of what is preferred.
fn most_wanted<'v, 'a, N: Copy + Ord + Debug>(
    pool: &[&'v Candidate<'a, N>],
    request: &Request<N>,
    free: impl Fn(&Candidate<'_, N>) -> Option<Capacity>,
) -> Vec<&'v Candidate<'a, N>> {
    let (mut least, mut wanted) = (f64::INFINITY, Vec::new());
    for candidate in pool {
        let unmet = request.unmet(candidate);
        if unmet > least || free(candidate).is_none() {
            continue;
        }
        if unmet < least {
            wanted.clear();
        }
        least = unmet;
        wanted.push(*candidate);
    }
    wanted
}

impl<N: Copy + Ord + Debug> Request<N> {
    /// Whether it prefers any node to others of the same load.
    fn prefers(&self) -> bool {
        !self.demand.preferred_labels.is_empty() || self.near.is_some()
    }

    /// How many of its preferences a node leaves unmet.
    fn unmet(&self, candidate: &Candidate<'_, N>) -> f64 {
        let apart = self.near.is_some_and(|near| near != candidate.node);
        unmet_labels(&self.demand, candidate.labels) + f64::from(u8::from(apart))
    }
}

/// Zero for the first preferred label, one for none of them.
fn unmet_labels(demand: &Demand, labels: &[String]) -> f64 {
    let preferred = &demand.preferred_labels;
    let first = preferred.iter().position(|label| labels.contains(label));
    match preferred.len() {
        0 => 0.0,
        all => first.unwrap_or(all) as f64 / all as f64,
    }
}
