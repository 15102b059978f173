//! One placement, from the first question to a node until its end.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use super::{
    candidate::{Candidate, Request},
    capacity::Capacity,
    debits::{Debits, Ticket},
    filter::{Missing, NoCapacity, Offer, filter},
    known::Known,
    pick::pick,
    score::AGE_EXCLUDED,
};
use crate::machine::{Rng, Time};

/// How long a placement may take when nothing else is said.
pub const PLACED_WITHIN: Duration = Duration::from_secs(5);

/// How many more nodes are asked after a refusal before the attempt waits.
pub const RESAMPLES_MAX: u32 = 3;

/// The shortest wait between two rounds of questions.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait between two rounds of questions.
pub const BACKOFF_MAX: Duration = Duration::from_millis(400);

/// What an attempt wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<N: Debug> {
    /// Ask this node to reserve. Report back with [`Attempt::rejected`] or
    /// [`Attempt::unanswered`]; once it granted, drop the attempt.
    Ask(N),
    /// Nothing to do before `until`; then call [`Attempt::next`] again.
    Wait {
        /// When to come back.
        until: Time,
    },
    /// The placement failed for good.
    Fail(Box<NoCapacity<N>>),
}

/// One placement that is being made.
///
/// It holds what its refusals taught it and at most one question that is out. Dropping it is safe
/// at any time: a reservation that it may have left at a target expires there.
#[derive(Clone, Debug)]
pub struct Attempt<N> {
    request: Request<N>,
    deadline: Time,
    out: Option<Question<N>>,
    /// Bounded by the questions that fit before the deadline, at most one entry per node.
    refused: BTreeMap<N, Known>,
    silent: Vec<N>,
    asked: u32,
    rounds: u32,
    resume: Time,
}

#[derive(Clone, Copy, Debug)]
struct Question<N> {
    node: N,
    version: u64,
    ticket: Ticket,
}

impl<N: Copy + Ord + Debug> Attempt<N> {
    /// A placement of `request` that ends `placed_within` from `now` (default [`PLACED_WITHIN`]).
    #[must_use]
    pub fn new(now: Time, request: Request<N>, placed_within: Duration) -> Self {
        Self {
            request,
            deadline: now.after(placed_within),
            out: None,
            refused: BTreeMap::new(),
            silent: Vec::new(),
            asked: 0,
            rounds: 0,
            resume: now,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &Request<N> {
        &self.request
    }

    /// When the attempt fails if no node has granted it.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.deadline
    }

    /// What to do now. `Ask` also counts the demand in `debits`, against the node it names.
    ///
    /// While a question is out it says to wait for the deadline, at which the attempt fails.
    pub fn next(
        &mut self,
        now: Time,
        view: &[Candidate<'_, N>],
        debits: &mut Debits<N>,
        rng: &mut Rng,
    ) -> Step<N> {
        if self.out.is_some() && now < self.deadline {
            return Step::Wait { until: self.deadline };
        }
        let feasible = match filter(&self.request, view) {
            Ok(feasible) => feasible,
            Err(no_capacity) => return Step::Fail(no_capacity),
        };
        if now >= self.deadline {
            return Step::Fail(Box::new(self.out_of_time(now, &feasible, debits)));
        }
        if now < self.resume {
            return Step::Wait { until: self.resume };
        }
        if self.asked > RESAMPLES_MAX {
            return self.wait(now, rng);
        }
        match self.choose(now, &feasible, debits, rng) {
            Some(candidate) => self.ask(now, candidate, debits),
            None => self.wait(now, rng),
        }
    }

    /// `node` refused and has `fresh` free. It is not asked again before its record changes.
    ///
    /// Ignored when `node` is not the one that was asked last.
    pub fn rejected(&mut self, node: N, fresh: Capacity, debits: &mut Debits<N>) {
        if let Some(question) = self.out.take_if(|q| q.node == node) {
            debits.cancel(node, question.ticket);
            self.refused.insert(node, Known { version: question.version, free: fresh });
        }
    }

    /// `node` could not be asked or did not answer. It is left alone until the next wait is over.
    ///
    /// Its debit stays: the reservation may have been made. Ignored as in [`Attempt::rejected`].
    pub fn unanswered(&mut self, node: N) {
        if self.out.take_if(|q| q.node == node).is_some() {
            self.silent.push(node);
        }
    }

    /// What it waits for, as far as is known here; `None` if no node could ever hold it.
    #[must_use]
    pub fn waits_for(
        &self,
        now: Time,
        view: &[Candidate<'_, N>],
        debits: &Debits<N>,
    ) -> Option<Missing<N>> {
        let feasible = filter(&self.request, view).ok()?;
        Some(self.out_of_time(now, &feasible, debits).missing)
    }

    fn ask(&mut self, now: Time, to: &Candidate<'_, N>, debits: &mut Debits<N>) -> Step<N> {
        let ticket = debits.add(now, to.node, to.version, &self.request.demand);
        self.out = Some(Question { node: to.node, version: to.version, ticket });
        self.asked = self.asked.saturating_add(1);
        Step::Ask(to.node)
    }

    /// Ends the round: the next one starts after a jittered wait that grows from round to round.
    fn wait(&mut self, now: Time, rng: &mut Rng) -> Step<N> {
        let ceiling = BACKOFF_MIN.saturating_mul(2 << self.rounds.min(8)).min(BACKOFF_MAX);
        let spread = ceiling.saturating_sub(BACKOFF_MIN).as_micros() as u64;
        let wait = BACKOFF_MIN + Duration::from_micros(rng.below(spread.saturating_add(1)));
        self.rounds = self.rounds.saturating_add(1);
        self.asked = 0;
        self.silent.clear();
        self.resume = now.after(wait).min(self.deadline);
        Step::Wait { until: self.resume }
    }

    /// The best of a few.
    fn choose<'v, 'a>(
        &self,
        now: Time,
        feasible: &[&'v Candidate<'a, N>],
        debits: &Debits<N>,
        rng: &mut Rng,
    ) -> Option<&'v Candidate<'a, N>> {
        let any_young = feasible.iter().any(|c| c.age <= AGE_EXCLUDED);
        let open = feasible
            .iter()
            .copied()
            .filter(|c| c.age <= AGE_EXCLUDED || !any_young)
            .filter(|c| !c.closed && !self.refused_on(c) && !self.silent.contains(&c.node));
        let (avoided, others): (Vec<_>, _) =
            open.partition(|c| self.request.avoid.contains(&c.node));
        // Nodes that show room get all the load until the view is made anew, and nodes that have
        // become free since get none: only the last question of a round believes the view.
        // So do all questions while a node that is to be avoided may have to be used.
        let by_view = self.asked == RESAMPLES_MAX || !avoided.is_empty();
        let free = |c: &Candidate<'_, N>| {
            Some(debits.free(now, c)).filter(|free| !by_view || free.fits(&self.request.demand))
        };
        pick(rng, others, &self.request, free).or_else(|| pick(rng, avoided, &self.request, free))
    }

    /// Whether `candidate` still shows what it refused on.
    fn refused_on(&self, candidate: &Candidate<'_, N>) -> bool {
        self.refused.get(&candidate.node).is_some_and(|known| known.holds(candidate))
    }

    /// Why no feasible node took it.
    fn out_of_time(
        &self,
        now: Time,
        feasible: &[&Candidate<'_, N>],
        debits: &Debits<N>,
    ) -> NoCapacity<N> {
        let demand = &self.request.demand;
        let best = feasible
            .iter()
            .filter(|c| !c.closed)
            .map(|c| Offer {
                node: c.node,
                total: c.total.clone(),
                free: self.known_free(now, c, debits),
            })
            .max_by(|a, b| a.free.coverage(demand).total_cmp(&b.free.coverage(demand)));
        let missing = match best.as_ref().map(|offer| (offer.node, offer.free.missing(demand))) {
            None => Missing::Closed,
            Some((node, Some(shortage))) => Missing::Busy { node, shortage },
            Some((node, None)) => Missing::NotGranted(node),
        };
        self.request.no_capacity(missing, best)
    }

    /// What the node said when it refused, or else what the view shows.
    fn known_free(&self, now: Time, c: &Candidate<'_, N>, debits: &Debits<N>) -> Capacity {
        match self.refused.get(&c.node) {
            Some(known) if known.holds(c) => known.free.clone(),
            _ => debits.free(now, c),
        }
    }
}
