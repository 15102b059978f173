//! Where the members of a gang would go by the view: pure, and without a look at other gangs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use mobula_actors::demand::Demand;

use super::{Layout, refusal};
use crate::{
    machine::Rng,
    placement::{
        candidate::{Candidate, Request},
        capacity::Capacity,
        dimension::Shortage,
        filter::{Missing, NoCapacity, Offer, filter},
        sample::sample,
        score::score,
    },
};

/// An error if the members could not lie like this even on empty nodes.
///
/// Exact for the strict layouts; for the others it asks only whether each member fits somewhere.
pub(super) fn feasible<N: Copy + Ord + Debug>(
    members: &[Request<N>],
    layout: Layout,
    view: &[Candidate<'_, N>],
) -> Result<(), Box<NoCapacity<N>>> {
    let mut classes: Vec<Vec<N>> = Vec::new();
    let mut class_of: Vec<usize> = Vec::with_capacity(members.len());
    for (at, request) in members.iter().enumerate() {
        // Members of a gang are seldom all different: those that are equal are filtered once.
        if at == 0 || members[at - 1] != *request {
            classes.push(filter(request, view)?.iter().map(|candidate| candidate.node).collect());
        }
        class_of.push(classes.len() - 1);
    }
    match layout {
        Layout::Pack | Layout::Spread => Ok(()),
        Layout::StrictPack => one_holds_all(members, view),
        Layout::StrictSpread => {
            let choices: Vec<&[N]> = class_of.iter().map(|class| &classes[*class][..]).collect();
            let available = matched(&choices);
            if available == members.len() {
                return Ok(());
            }
            let missing = Missing::TooFewNodes { needed: members.len(), available };
            Err(Box::new(refusal(members, missing)))
        }
    }
}

fn one_holds_all<N: Copy + Ord + Debug>(
    members: &[Request<N>],
    view: &[Candidate<'_, N>],
) -> Result<(), Box<NoCapacity<N>>> {
    let mut closest: Option<(usize, &Candidate<'_, N>, Shortage)> = None;
    for candidate in view.iter().filter(|candidate| members.iter().all(|m| m.allows(candidate))) {
        let (held, shortage) = held(candidate.total.clone(), members);
        let Some(shortage) = shortage else { return Ok(()) };
        if closest.as_ref().is_none_or(|(most, ..)| *most < held) {
            closest = Some((held, candidate, shortage));
        }
    }
    let Some((_, candidate, shortage)) = closest else {
        let missing = Missing::TooFewNodes { needed: 1, available: 0 };
        return Err(Box::new(refusal(members, missing)));
    };
    let missing = Missing::TooSmall { node: candidate.node, shortage };
    let mut error = refusal(members, missing);
    error.best_offer = Some(Offer::of(candidate));
    Err(Box::new(error))
}

/// How many of `members` a node with `free` holds, and what the next one lacks.
fn held<N>(mut free: Capacity, members: &[Request<N>]) -> (usize, Option<Shortage>) {
    let order = largest_first(members);
    for (held, member) in order.iter().enumerate() {
        if let Err(shortage) = free.take(&members[*member].demand) {
            return (held, Some(shortage));
        }
    }
    (members.len(), None)
}

/// How many members can have a node each that no other has.
///
/// Source: H. Kuhn, "The Hungarian Method for the Assignment Problem", 1955 (augmenting paths).
fn matched<N: Copy + Ord>(choices: &[&[N]]) -> usize {
    let mut holder: BTreeMap<N, usize> = BTreeMap::new();
    let mut count = 0;
    for member in 0..choices.len() {
        let mut tried = BTreeSet::new();
        count += usize::from(augment(member, choices, &mut holder, &mut tried));
    }
    count
}

/// Finds a node for `member`, moving others that have another choice. As deep as there are members.
fn augment<N: Copy + Ord>(
    member: usize,
    choices: &[&[N]],
    holder: &mut BTreeMap<N, usize>,
    tried: &mut BTreeSet<N>,
) -> bool {
    let Some(nodes) = choices.get(member).copied() else { return false };
    if let Some(free) = nodes.iter().find(|node| !holder.contains_key(node)) {
        holder.insert(*free, member);
        return true;
    }
    for node in nodes {
        if !tried.insert(*node) {
            continue;
        }
        let Some(other) = holder.get(node).copied() else { continue };
        if augment(other, choices, holder, tried) {
            holder.insert(*node, member);
            return true;
        }
    }
    false
}

/// A node while a plan is made.
struct Seat<'v, 'a, N> {
    candidate: &'v Candidate<'a, N>,
    free: Capacity,
    taken: usize,
}

/// A node for each member, in their order; `None` when the view shows no room for all.
pub(super) fn plan<N: Copy + Ord + Debug>(
    members: &[Request<N>],
    layout: Layout,
    view: &[Candidate<'_, N>],
    free: impl Fn(&Candidate<'_, N>) -> Option<Capacity>,
    rng: &mut Rng,
) -> Option<Vec<N>> {
    let seat = |candidate| Some(Seat { candidate, free: free(candidate)?, taken: 0 });
    let mut seats: Vec<_> = view.iter().filter_map(seat).collect();
    let order = largest_first(members);
    if layout == Layout::StrictPack {
        let node = one_seat(members, &order, &seats, rng)?;
        return Some(vec![node; members.len()]);
    }
    let mut nodes = vec![None; members.len()];
    for member in order {
        let request = &members[member];
        let at = choose(request, layout, &seats, rng)?;
        let seat = &mut seats[at];
        seat.free.take(&request.demand).ok()?;
        seat.taken += 1;
        nodes[member] = Some(seat.candidate.node);
    }
    nodes.into_iter().collect()
}

/// Members whose demand is large are placed first, while there is room for them.
fn largest_first<N>(members: &[Request<N>]) -> Vec<usize> {
    let size = |demand: &Demand| {
        (demand.vram_bytes, demand.gpu_milli, demand.memory_bytes, demand.cpu_milli)
    };
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|member| Reverse(size(&members[*member].demand)));
    order
}

/// The emptier of two nodes that hold all members.
fn one_seat<N: Copy + Ord + Debug>(
    members: &[Request<N>],
    order: &[usize],
    seats: &[Seat<'_, '_, N>],
    rng: &mut Rng,
) -> Option<N> {
    let holds_all = |seat: &Seat<'_, '_, N>| {
        let mut free = seat.free.clone();
        let mut all = order.iter().map(|member| &members[*member]);
        let holds =
            all.all(|request| request.allows(seat.candidate) && free.take(&request.demand).is_ok());
        holds.then(|| {
            (
                score(&seat.candidate.total, &free, &Demand::default(), seat.candidate.age),
                seat.candidate.node,
            )
        })
    };
    let drawn = sample(rng, (0..seats.len()).collect(), 2, |at| holds_all(&seats[at]));
    drawn.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, node)| node)
}

fn choose<N: Copy + Ord + Debug>(
    request: &Request<N>,
    layout: Layout,
    seats: &[Seat<'_, '_, N>],
    rng: &mut Rng,
) -> Option<usize> {
    let load = |at: usize| {
        let Seat { candidate, free, .. } = &seats[at];
        score(&candidate.total, free, &request.demand, candidate.age)
    };
    let usable = |at: usize| {
        let seat = &seats[at];
        (seat.free.fits(&request.demand) && request.allows(seat.candidate)).then_some(at)
    };
    let (used, unused): (Vec<_>, Vec<_>) = (0..seats.len()).partition(|at| seats[*at].taken > 0);
    let new = |rng: &mut Rng| {
        let drawn = sample(rng, unused, 2, usable);
        drawn.into_iter().min_by(|a, b| load(*a).total_cmp(&load(*b)))
    };
    let used = used.into_iter().filter_map(usable);
    match layout {
        Layout::Pack | Layout::StrictPack => {
            let fullest = used.max_by(|a, b| load(*a).total_cmp(&load(*b)));
            fullest.or_else(|| new(rng))
        }
        Layout::Spread => new(rng).or_else(|| used.min_by_key(|at| seats[*at].taken)),
        Layout::StrictSpread => new(rng),
    }
}
