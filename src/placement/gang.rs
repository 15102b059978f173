//! Several actors placed together, all or none.
//!
//! A gang is planned by the view, then reserved member by member in the order of the nodes' names,
//! under one deadline. Once all are granted it is committed; the first refusal gives up all that was
//! granted, and after a while the gang is planned anew. Nobody waits for a node while it holds
//! another one, so two gangs cannot wait for each other; that they do not undo each other for ever
//! is left to the order, to chance in the wait, and to the deadline.

mod plan;

use std::{collections::BTreeMap, fmt, fmt::Debug, time::Duration};

use super::{
    candidate::{Candidate, Request},
    capacity::Capacity,
    debits::{Debits, Ticket},
    filter::{Missing, NoCapacity},
    known::Known,
    ledger::RESERVATION_TTL,
    score::AGE_EXCLUDED,
};
use crate::machine::{Rng, Time};
use plan::{feasible, plan};

/// Most members of a gang.
pub const GANG_MEMBERS_MAX: usize = 256;

/// The wait after the first round that failed.
pub const GANG_BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest wait between two rounds; each is up to half longer than the last.
pub const GANG_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long a round may take: what was reserved first must still be held when all is committed.
const ROUND: Duration = Duration::from_micros(RESERVATION_TTL.as_micros() as u64 / 2);

/// How the members of a gang lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On few nodes, as far as there is room.
    Pack,
    /// On many nodes, as far as there is room.
    Spread,
    /// On one node.
    StrictPack,
    /// On as many nodes as there are members.
    StrictSpread,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pack => "on few nodes",
            Self::Spread => "on many nodes",
            Self::StrictPack => "on one node",
            Self::StrictSpread => "each on a node of its own",
        })
    }
}

/// What a gang wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GangStep<N: Debug> {
    /// Ask this node to reserve for this member. Report back with [`Gang::granted`],
    /// [`Gang::rejected`] or [`Gang::unanswered`].
    Ask {
        /// Its place among the members.
        member: usize,
        /// Whom.
        node: N,
    },
    /// Give up what these nodes may hold for these members, then call [`Gang::next`] again.
    Release(Vec<(usize, N)>),
    /// All is reserved: start each member on its node, in the order of the members.
    Commit(Vec<N>),
    /// Nothing to do before `until`; then call [`Gang::next`] again.
    Wait {
        /// When to come back.
        until: Time,
    },
    /// The placement failed for good; nothing is held.
    Fail(Box<NoCapacity<N>>),
}

/// A gang that is being placed.
///
/// Dropping it is safe at any time: what it has reserved expires.
#[derive(Clone, Debug)]
pub struct Gang<N> {
    members: Vec<Request<N>>,
    layout: Layout,
    deadline: Time,
    /// Member and node, in the order in which they are asked.
    round: Vec<(usize, N)>,
    /// When this round must be committed.
    round_ends: Time,
    /// The questions of this round; the last one may be out.
    asked: Vec<Question>,
    out: bool,
    broken: bool,
    known: BTreeMap<N, Known>,
    silent: Vec<N>,
    rounds: u32,
    resume: Time,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    ticket: Ticket,
    /// Of the record that it was asked by.
    version: u64,
}

impl<N: Copy + Ord + Debug> Gang<N> {
    /// A placement of `members`, at most [`GANG_MEMBERS_MAX`], that ends `placed_within` from `now`.
    #[must_use]
    pub fn new(
        now: Time,
        members: Vec<Request<N>>,
        layout: Layout,
        placed_within: Duration,
    ) -> Self {
        Self {
            members,
            layout,
            deadline: now.after(placed_within),
            round: Vec::new(),
            round_ends: now,
            asked: Vec::new(),
            out: false,
            broken: false,
            known: BTreeMap::new(),
            silent: Vec::new(),
            rounds: 0,
            resume: now,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn members(&self) -> &[Request<N>] {
        &self.members
    }

    /// What to do now. While a question is out it says to wait for the deadline.
    pub fn next(
        &mut self,
        now: Time,
        view: &[Candidate<'_, N>],
        debits: &mut Debits<N>,
        rng: &mut Rng,
    ) -> GangStep<N> {
        let late = now >= self.deadline;
        if self.out && !late {
            return GangStep::Wait { until: self.deadline };
        }
        let unfinished = self.asked.len() < self.round.len() && now >= self.round_ends;
        if (self.broken || late || unfinished)
            && let Some(step) = self.give_up(now, debits, rng)
        {
            return step;
        }
        if self.round.is_empty()
            && let Err(no_capacity) = feasible(&self.members, self.layout, view)
        {
            return GangStep::Fail(no_capacity);
        }
        if late {
            return GangStep::Fail(self.out_of_time());
        }
        if now < self.resume {
            return GangStep::Wait { until: self.resume };
        }
        if self.round.is_empty() {
            return self.begin(now, view, debits, rng);
        }
        self.ask(now, view, debits)
    }

    /// The node that was asked last holds room for its member.
    pub fn granted(&mut self) {
        self.out = false;
    }

    /// The node that was asked last refused, and has `fresh` free.
    pub fn rejected(&mut self, fresh: Capacity) {
        if let (true, Some((node, version))) = (self.out, self.last()) {
            self.known.insert(node, Known { version, free: fresh });
            (self.out, self.broken) = (false, true);
        }
    }

    /// The node that was asked last could not be asked or did not answer: it may hold the room. It
    /// is left alone until the next wait is over.
    pub fn unanswered(&mut self) {
        if let (true, Some((node, _))) = (self.out, self.last()) {
            self.silent.push(node);
            (self.out, self.broken) = (false, true);
        }
    }

    /// The node that was asked last, and by which record.
    fn last(&self) -> Option<(N, u64)> {
        let (_, node) = self.round.get(self.asked.len().checked_sub(1)?)?;
        Some((*node, self.asked.last()?.version))
    }

    /// Ends a round that came to nothing; `None` when nothing was asked in it.
    fn give_up(&mut self, now: Time, debits: &mut Debits<N>, rng: &mut Rng) -> Option<GangStep<N>> {
        let round = std::mem::take(&mut self.round);
        let questions = std::mem::take(&mut self.asked);
        (self.out, self.broken) = (false, false);
        let asked: Vec<_> = round.into_iter().zip(questions).collect();
        for ((_, node), question) in &asked {
            debits.cancel(*node, question.ticket);
        }
        if asked.is_empty() {
            return None;
        }
        self.back_off(now, rng);
        Some(GangStep::Release(asked.into_iter().map(|(asked, _)| asked).collect()))
    }

    /// Between half of the back-off and all of it, which grows from round to round.
    fn back_off(&mut self, now: Time, rng: &mut Rng) {
        let grown = GANG_BACKOFF_MIN.mul_f64(1.5_f64.powi(self.rounds.min(16) as i32));
        let half = grown.min(GANG_BACKOFF_MAX) / 2;
        let more = rng.below(half.as_micros() as u64 + 1);
        self.rounds = self.rounds.saturating_add(1);
        self.resume = now.after(half + Duration::from_micros(more)).min(self.deadline);
    }

    /// Plans a round by the view and by what refusals taught since.
    fn begin(
        &mut self,
        now: Time,
        view: &[Candidate<'_, N>],
        debits: &mut Debits<N>,
        rng: &mut Rng,
    ) -> GangStep<N> {
        let free = |candidate: &Candidate<'_, N>| {
            let silent = self.silent.contains(&candidate.node);
            if candidate.closed || candidate.age > AGE_EXCLUDED || silent {
                return None;
            }
            let known = self.known.get(&candidate.node);
            let fresh = known.filter(|known| known.holds(candidate));
            Some(fresh.map_or_else(|| debits.free(now, candidate), |known| known.free.clone()))
        };
        let planned = plan(&self.members, self.layout, view, free, rng);
        self.silent.clear();
        let Some(nodes) = planned else {
            self.back_off(now, rng);
            return GangStep::Wait { until: self.resume };
        };
        self.round = nodes.into_iter().enumerate().collect();
        self.round.sort_by_key(|(member, node)| (*node, *member));
        self.round_ends = now.after(ROUND).min(self.deadline);
        self.ask(now, view, debits)
    }

    /// Asks for the next member, or commits.
    fn ask(&mut self, now: Time, view: &[Candidate<'_, N>], debits: &mut Debits<N>) -> GangStep<N> {
        let Some((member, node)) = self.round.get(self.asked.len()).copied() else {
            let mut nodes = self.round.clone();
            nodes.sort_unstable();
            return GangStep::Commit(nodes.into_iter().map(|(_, node)| node).collect());
        };
        let version = view.iter().find(|c| c.node == node).map_or(0, |c| c.version);
        let demand = self.members.get(member).map(|request| request.demand.clone());
        let ticket = debits.add(now, node, version, &demand.unwrap_or_default());
        self.asked.push(Question { ticket, version });
        self.out = true;
        GangStep::Ask { member, node }
    }

    fn out_of_time(&self) -> Box<NoCapacity<N>> {
        let missing = Missing::Together { members: self.members.len(), layout: self.layout };
        Box::new(refusal(&self.members, missing))
    }
}

/// The refusal of a gang, in the words of its first member.
fn refusal<N: Copy + Ord + Debug>(members: &[Request<N>], missing: Missing<N>) -> NoCapacity<N> {
    match members.first() {
        Some(first) => first.no_capacity(missing, None),
        None => NoCapacity {
            kind: String::new(),
            demand: mobula_actors::demand::Demand::default(),
            missing,
            best_offer: None,
        },
    }
}
