use std::collections::BTreeMap;

use mobula_actors::{
    demand::Demand,
    id::{ActorId, Epoch},
};
use proptest::prelude::*;

use super::{Chooser, NOW, cores, kinds, ledgers, node, request};
use crate::{
    machine::Time,
    placement::{
        Candidate, Gang, GangStep, Layout, Ledger, Missing, NoCapacity, PLACED_WITHIN, Request,
        Verdict,
    },
};

fn gang(members: Vec<Request<u32>>, layout: Layout) -> Gang<u32> {
    Gang::new(NOW, members, layout, PLACED_WITHIN)
}

/// The ledgers, and how many reservations were asked of them.
struct Targets {
    ledgers: BTreeMap<u32, Ledger>,
    asked: u128,
}

impl Targets {
    fn new(view: &[Candidate<'_, u32>]) -> Self {
        Self { ledgers: ledgers(view), asked: 0 }
    }

    fn open(&self) -> usize {
        self.ledgers.values().map(|ledger| ledger.counts().1).sum()
    }
}

/// Steps a gang against real ledgers until it asks, waits or ends; what it holds stands in `held`.
fn step(
    gang: &mut Gang<u32>,
    now: Time,
    chooser: &mut Chooser,
    view: &[Candidate<'_, u32>],
    targets: &mut Targets,
    held: &mut BTreeMap<usize, u128>,
) -> GangStep<u32> {
    let next = gang.next(now, view, &mut chooser.debits, &mut chooser.rng);
    match &next {
        GangStep::Ask { member, node } => {
            targets.asked += 1;
            let asked = targets.asked;
            let actor = ActorId { origin: 1, number: asked as u64 };
            let demand = gang.members()[*member].demand.clone();
            let target = targets.ledgers.get_mut(node).unwrap();
            held.insert(*member, asked);
            match target.reserve(now, asked, actor, Epoch(1), &demand) {
                Verdict::Granted { .. } => gang.granted(),
                Verdict::Rejected { free, .. } => gang.rejected(free),
            }
        }
        GangStep::Release(those) => {
            for (member, node) in those {
                targets.ledgers.get_mut(node).unwrap().cancel(held.remove(member).unwrap());
            }
        }
        _ => {}
    }
    next
}

fn place(
    gang: &mut Gang<u32>,
    view: &[Candidate<'_, u32>],
    targets: &mut Targets,
) -> Result<Vec<u32>, Box<NoCapacity<u32>>> {
    let (mut chooser, mut now) = (Chooser::new(1), NOW);
    let mut held = BTreeMap::new();
    loop {
        match step(gang, now, &mut chooser, view, targets, &mut held) {
            GangStep::Commit(nodes) => return Ok(nodes),
            GangStep::Fail(why) => return Err(why),
            GangStep::Wait { until } => {
                assert!(until > now && held.is_empty(), "P-9");
                now = until;
            }
            GangStep::Ask { .. } | GangStep::Release(_) => {}
        }
    }
}

fn distinct(nodes: &[u32]) -> usize {
    nodes.iter().collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn each_layout_lays_the_members_as_it_says() {
    let kinds = kinds();
    let view: Vec<_> = (0..8).map(|n| node(n, cores(1_000), &kinds)).collect();
    for (layout, expected) in
        [(Layout::Pack, 2..=2), (Layout::Spread, 6..=6), (Layout::StrictSpread, 6..=6)]
    {
        let members = vec![request(Demand::cpu(0.3)); 6];
        let nodes = place(&mut gang(members, layout), &view, &mut Targets::new(&view)).unwrap();
        assert!(expected.contains(&distinct(&nodes)), "{layout:?}: {nodes:?}");
    }
    let members = vec![request(Demand::cpu(0.3)); 3];
    let nodes =
        place(&mut gang(members, Layout::StrictPack), &view, &mut Targets::new(&view)).unwrap();
    assert_eq!(distinct(&nodes), 1, "{nodes:?}");
    let more = vec![request(Demand::cpu(0.3)); 20];
    let nodes = place(&mut gang(more, Layout::Spread), &view, &mut Targets::new(&view)).unwrap();
    assert_eq!(distinct(&nodes), 8, "all nodes, and some twice: {nodes:?}");
}

#[test]
fn a_layout_that_no_empty_nodes_allow_fails_at_once_and_says_what_is_missing() {
    let kinds = kinds();
    let mut view: Vec<_> = (0..4).map(|n| node(n, cores(1_000), &kinds)).collect();
    let large = ["large".to_owned()];
    view[0].labels = &large;
    let fails = |members: Vec<Request<u32>>, layout| {
        let mut gang = gang(members, layout);
        let mut chooser = Chooser::new(1);
        match gang.next(NOW, &view, &mut chooser.debits, &mut chooser.rng) {
            GangStep::Fail(why) => *why,
            other => panic!("{other:?}"),
        }
    };
    let small = || request(Demand::cpu(0.3));
    let together = fails(vec![small(); 4], Layout::StrictPack);
    assert!(matches!(together.missing, Missing::TooSmall { .. }), "{together}");
    assert!(together.best_offer.is_some());
    let apart = fails(vec![small(); 5], Layout::StrictSpread);
    assert_eq!(apart.missing, Missing::TooFewNodes { needed: 5, available: 4 });
    // Two members want the one node with the label: each could have it, not both.
    let labelled = || request(Demand::cpu(0.3).label("large"));
    let both = fails(vec![small(), labelled(), labelled()], Layout::StrictSpread);
    assert_eq!(both.missing, Missing::TooFewNodes { needed: 3, available: 2 });
    let one = fails(vec![small(), request(Demand::cpu(2.0))], Layout::Spread);
    assert!(matches!(one.missing, Missing::TooSmall { .. }), "{one}");
}

// P-8
#[test]
fn one_refusal_gives_up_what_the_others_granted_and_the_deadline_ends_it() {
    let kinds = kinds();
    let view: Vec<_> = (0..3).map(|n| node(n, cores(1_000), &kinds)).collect();
    let mut targets = Targets::new(&view);
    let full = targets.ledgers.get_mut(&2).unwrap();
    full.reserve(NOW, 77, ActorId { origin: 9, number: 9 }, Epoch(1), &Demand::cpu(1.0));
    full.start(NOW, 77).unwrap();
    let members = vec![request(Demand::cpu(0.6)); 3];
    let why = place(&mut gang(members, Layout::Spread), &view, &mut targets).unwrap_err();
    assert_eq!(why.missing, Missing::Together { members: 3, layout: Layout::Spread });
    assert_eq!(targets.open(), 0, "nothing is left reserved");
    assert!(why.to_string().contains("all 3 members on many nodes"), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// P-8, P-9: whatever the order in which gangs take their steps, each ends, and what is held at
    /// the end is what was committed.
    #[test]
    fn gangs_that_interleave_end_with_all_or_nothing(
        sizes in prop::collection::vec((2..6usize, 0..4u8), 2..6),
        order in prop::collection::vec(0..6usize, 0..400),
        seed in 0..1_000u64,
    ) {
        let kinds = kinds();
        let view: Vec<_> = (0..5).map(|n| node(n, cores(1_000), &kinds)).collect();
        let mut targets = Targets::new(&view);
        let layouts = [Layout::Pack, Layout::Spread, Layout::StrictPack, Layout::StrictSpread];
        let mut gangs: Vec<_> = sizes
            .iter()
            .map(|(size, layout)| {
                let size = if *layout == 2 { (*size).min(2) } else { (*size).min(5) };
                let members = vec![request(Demand::cpu(0.4)); size];
                (gang(members, layouts[usize::from(*layout)]), BTreeMap::new(), None)
            })
            .collect();
        let mut choosers: Vec<_> =
            (0..gangs.len()).map(|n| Chooser::new(seed * 100 + n as u64)).collect();
        let (mut now, mut at) = (NOW, 0);
        while gangs.iter().any(|(_, _, end)| end.is_none()) {
            let turn = order.get(at).copied().unwrap_or(at) % gangs.len();
            at += 1;
            now.0 += 500;
            let (gang, held, end) = &mut gangs[turn];
            if end.is_some() {
                continue;
            }
            prop_assert!(now <= NOW.after(2 * PLACED_WITHIN), "a gang did not end");
            let chooser = &mut choosers[turn];
            let targets = &mut targets;
            match step(gang, now, chooser, &view, targets, held) {
                GangStep::Commit(nodes) => *end = Some(nodes.len()),
                GangStep::Fail(_) => {
                    prop_assert!(held.is_empty());
                    *end = Some(0);
                }
                GangStep::Wait { .. } => prop_assert!(held.is_empty()),
                GangStep::Ask { .. } | GangStep::Release(_) => {}
            }
        }
        let committed: usize = gangs.iter().filter_map(|(_, _, end)| *end).sum();
        let open = targets.open();
        let expired = now > NOW.after(crate::placement::RESERVATION_TTL);
        prop_assert!(open == committed || expired && open < committed, "{open} of {committed}");
        for ledger in targets.ledgers.values() {
            let taken = 400 * ledger.counts().1 as u32;
            prop_assert_eq!(ledger.free().cpu_milli, 1_000 - taken);
        }
    }
}
