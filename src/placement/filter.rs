//! Which nodes could ever hold a demand, and the reason when none can.

use std::fmt::Debug;

use mobula_actors::demand::{Demand, DemandError};

use super::{
    candidate::{Candidate, Request, Where},
    capacity::Capacity,
    dimension::{Dimension, Shortage},
    gang::Layout,
};

/// Why a node can never take an actor, whatever room it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The kind was not registered there.
    #[error("the node does not host `{0}`: register the kind there")]
    NotHosted(String),
    /// The node does not carry a label that the demand requires.
    #[error("the node does not carry the label `{0}`, which the demand requires")]
    Unlabelled(String),
    /// The demand makes no sense to any node.
    #[error(transparent)]
    Demand(#[from] DemandError),
    /// The node carries a label that the demand forbids.
    #[error("the node carries the label `{0}`, which the demand forbids")]
    Forbidden(String),
}

/// What is missing for a placement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing<N> {
    /// The place names a node that is not in the view.
    #[error("node {0:?} is not known here or not alive: choose another place")]
    UnknownNode(N),
    /// No node that may take it hosts the kind.
    #[error("no node hosts the kind: register it on a node that may take it")]
    NotHosted,
    /// Every node that hosts the kind carries a forbidden label.
    #[error("every node that hosts the kind carries a forbidden label ({}): \
             allow one or add a node without it", .0.join(", "))]
    Forbidden(Vec<String>),
    /// No node that hosts the kind carries all the labels that are required.
    #[error("no node that hosts the kind carries the labels that are required ({}): \
             require less or add a node with them", .0.join(", "))]
    Unlabelled(Vec<String>),
    /// The demand makes no sense to any node.
    #[error(transparent)]
    Demand(DemandError),
    /// No node could hold it, not even an empty one.
    #[error(
        "even empty, the best node {node:?} is too small ({shortage}): \
             ask for less or add a larger node"
    )]
    TooSmall {
        /// The node that comes closest.
        node: N,
        /// What it lacks.
        shortage: Shortage,
    },
    /// Nodes could hold it, but none had room before the deadline.
    #[error(
        "no node had room in time, the best was {node:?} ({shortage}): \
             wait longer, stop something or add a node"
    )]
    Busy {
        /// The node that came closest.
        node: N,
        /// What it lacked.
        shortage: Shortage,
    },
    /// The strict layout of a gang needs more nodes than can hold its members.
    #[error("{needed} nodes are needed for all members and {available} will do: add nodes")]
    TooFewNodes {
        /// How many.
        needed: usize,
        /// How many there are.
        available: usize,
    },
    /// The members of a gang fit, but not all at the same time before the deadline.
    #[error("no room was found in time for all {members} members {layout}: wait longer")]
    Together {
        /// How many.
        members: usize,
        /// How they should lie.
        layout: Layout,
    },
    /// Every node that could hold it takes no new actors.
    #[error("every node that could hold it takes no new actors: add a node or end the drain")]
    Closed,
    /// A node showed room, but no node granted it before the deadline.
    #[error("node {0:?} showed room but no node granted it in time: try again")]
    NotGranted(N),
}

impl<N> Missing<N> {
    /// Whether another node could change it, and time alone cannot.
    #[must_use]
    pub fn needs_a_node(&self) -> bool {
        match self {
            Self::NotHosted
            | Self::Forbidden(_)
            | Self::Unlabelled(_)
            | Self::TooSmall { .. }
            | Self::TooFewNodes { .. } => true,
            Self::UnknownNode(_)
            | Self::Demand(_)
            | Self::Busy { .. }
            | Self::Together { .. }
            | Self::Closed
            | Self::NotGranted(_) => false,
        }
    }
}

/// The node that came closest to what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<N> {
    /// Which node.
    pub node: N,
    /// All it has.
    pub total: Capacity,
    /// What of it is free, as far as is known here.
    pub free: Capacity,
}

/// A placement that cannot be made. Nothing was started and nothing stays reserved past its TTL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no capacity for `{kind}` ({}): {missing}", described(.demand))]
pub struct NoCapacity<N: Debug> {
    /// The kind that was to be started.
    pub kind: String,
    /// What it needs.
    pub demand: Demand,
    /// What is missing.
    pub missing: Missing<N>,
    /// The node that came closest, if any hosts the kind.
    pub best_offer: Option<Offer<N>>,
}

/// Whether a node that hosts `hosted` and carries `labels` may take an actor of `kind` at all.
///
/// A target asks this about itself before it reserves; [`filter`] asks it about the view.
pub fn check(
    kind: &str,
    demand: &Demand,
    hosted: &[String],
    labels: &[String],
) -> Result<(), Unfit> {
    if !hosted.iter().any(|k| k == kind) {
        return Err(Unfit::NotHosted(kind.to_owned()));
    }
    demand.check()?;
    labelled(demand, labels)
}

/// Whether a node with these labels suits `demand`.
fn labelled(demand: &Demand, labels: &[String]) -> Result<(), Unfit> {
    if let Some(label) = demand.required_labels.iter().find(|label| !labels.contains(label)) {
        return Err(Unfit::Unlabelled(label.clone()));
    }
    match demand.forbidden_labels.iter().find(|label| labels.contains(label)) {
        Some(label) => Err(Unfit::Forbidden(label.clone())),
        None => Ok(()),
    }
}

/// The nodes of `view` that could hold `request` if they were empty: by place, kind, labels, totals.
///
/// Nodes that are closed, busy or of an old record stay in: that may pass, so it is no reason to
/// give up. The error is final for this view.
pub fn filter<'v, 'a, N: Copy + Ord + Debug>(
    request: &Request<N>,
    view: &'v [Candidate<'a, N>],
) -> Result<Vec<&'v Candidate<'a, N>>, Box<NoCapacity<N>>> {
    if let Err(error) = request.demand.check() {
        return Err(Box::new(request.no_capacity(Missing::Demand(error), None)));
    }
    let named: Vec<_> = view.iter().filter(|c| request.place.allows(c.node)).collect();
    if let (Where::On(node), true) = (request.place, named.is_empty()) {
        return Err(Box::new(request.no_capacity(Missing::UnknownNode(node), None)));
    }
    let allowed = allowed(request, named)?;
    let demand = &request.demand;
    let holds: Vec<_> = allowed.iter().copied().filter(|c| c.total.fits(demand)).collect();
    if !holds.is_empty() {
        return Ok(holds);
    }
    let short = |c: &'v Candidate<'a, N>| Some((c, c.total.missing(demand)?));
    let closest = allowed.into_iter().filter_map(short);
    let closest = closest.max_by(|a, b| a.1.coverage().total_cmp(&b.1.coverage()));
    let Some((closest, shortage)) = closest else { return Ok(holds) };
    let missing = Missing::TooSmall { node: closest.node, shortage };
    Err(Box::new(request.no_capacity(missing, Some(Offer::of(closest)))))
}

/// Those of `named` that host the kind and carry the right labels.
fn allowed<'v, 'a, N: Copy + Ord + Debug>(
    request: &Request<N>,
    mut named: Vec<&'v Candidate<'a, N>>,
) -> Result<Vec<&'v Candidate<'a, N>>, Box<NoCapacity<N>>> {
    let (mut forbidden, mut lacking, mut hosting) = (Vec::new(), Vec::new(), None);
    named.retain(|c| match request.suits(c) {
        Ok(()) => true,
        Err(Unfit::Forbidden(label)) => {
            forbidden.push(label);
            hosting = Some(Offer::of(c));
            false
        }
        Err(Unfit::Unlabelled(label)) => {
            lacking.push(label);
            hosting = Some(Offer::of(c));
            false
        }
        Err(_) => false,
    });
    if !named.is_empty() {
        return Ok(named);
    }
    for labels in [&mut forbidden, &mut lacking] {
        labels.sort_unstable();
        labels.dedup();
    }
    let missing = match (lacking.is_empty(), forbidden.is_empty()) {
        (false, _) => Missing::Unlabelled(lacking),
        (true, false) => Missing::Forbidden(forbidden),
        (true, true) => Missing::NotHosted,
    };
    Err(Box::new(request.no_capacity(missing, hosting)))
}

impl<N: Copy> Offer<N> {
    pub(super) fn of(candidate: &Candidate<'_, N>) -> Self {
        Self { node: candidate.node, total: candidate.total.clone(), free: candidate.free.clone() }
    }
}

impl<N: Copy + Ord + Debug> Where<N> {
    fn allows(&self, node: N) -> bool {
        match self {
            Self::Anywhere => true,
            Self::On(named) => *named == node,
        }
    }
}

impl<N: Copy + Ord + Debug> Request<N> {
    /// Whether `candidate` could hold it if it were empty.
    pub(super) fn allows(&self, candidate: &Candidate<'_, N>) -> bool {
        self.place.allows(candidate.node)
            && self.suits(candidate).is_ok()
            && candidate.total.fits(&self.demand)
    }

    /// Whether `candidate` hosts the kind and carries the right labels.
    fn suits(&self, candidate: &Candidate<'_, N>) -> Result<(), Unfit> {
        match candidate.kinds.contains(&self.kind) {
            true => labelled(&self.demand, candidate.labels),
            false => Err(Unfit::NotHosted(self.kind.clone())),
        }
    }

    /// The refusal of this request.
    pub(super) fn no_capacity(
        &self,
        missing: Missing<N>,
        best_offer: Option<Offer<N>>,
    ) -> NoCapacity<N> {
        NoCapacity { kind: self.kind.clone(), demand: self.demand.clone(), missing, best_offer }
    }
}

/// The demand in words: only what it asks for.
fn described(demand: &Demand) -> String {
    let asked: Vec<String> =
        Dimension::of(demand).map(|d| format!("{} of {d}", d.needed(demand))).collect();
    asked.join(", ")
}
