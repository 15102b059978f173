use std::{collections::BTreeMap, time::Duration};

use mobula_actors::demand::Demand;
use proptest::prelude::*;

use super::{Chooser, NOW, cores, kinds, ledgers, node, request};
use crate::{
    machine::Time,
    placement::{
        AGE_EXCLUDED, Attempt, BACKOFF_MAX, BACKOFF_MIN, Candidate, Capacity, DEBIT_TTL, Debits,
        Dimension, Missing, PLACED_WITHIN, RESAMPLES_MAX, Request, Step, Where,
    },
};

#[test]
fn avoided_nodes_are_used_only_when_no_other_has_room() {
    let kinds = kinds();
    let mut view = [1, 2, 3].map(|n| node(n, cores(1_000), &kinds));
    let wish = Request { avoid: vec![1, 2], ..request(Demand::cpu(0.5)) };
    for seed in 0..50 {
        assert_eq!(Chooser::new(seed).asks_first(&wish, &view), 3);
    }
    view[2].free.cpu_milli = 100;
    assert_ne!(Chooser::new(1).asks_first(&wish, &view), 3);
    let only = Request { place: Where::On(1), ..wish };
    assert_eq!(Chooser::new(1).asks_first(&only, &view), 1);
}

#[test]
fn the_emptier_of_two_is_asked_and_equals_are_asked_about_equally_often() {
    let kinds = kinds();
    let mut view = [1, 2].map(|n| node(n, cores(1_000), &kinds));
    let first = |view: &[Candidate<'_, u32>], seed| {
        Chooser::new(seed).asks_first(&request(Demand::cpu(0.1)), view)
    };
    let ones = (0..1_000).filter(|seed| first(&view, *seed) == 1).count();
    assert!((420..=580).contains(&ones), "{ones} of 1000");
    view[0].free.cpu_milli = 900;
    assert!((0..100).all(|seed| first(&view, seed) == 2));
}

#[test]
fn a_node_silent_for_long_is_used_only_when_it_is_all_there_is() {
    let kinds = kinds();
    let mut view = [1, 2].map(|n| node(n, cores(1_000), &kinds));
    view[0].age = AGE_EXCLUDED + Duration::from_secs(1);
    view[1].free.cpu_milli = 0;
    let (mut chooser, ask) = (Chooser::new(1), request(Demand::cpu(0.5)));
    let mut attempt = Attempt::new(NOW, ask.clone(), PLACED_WITHIN);
    assert_eq!(chooser.next(&mut attempt, NOW, &view), Step::Ask(2), "full, as it said last");
    attempt.rejected(2, view[1].free.clone(), &mut chooser.debits);
    assert!(matches!(chooser.next(&mut attempt, NOW, &view), Step::Wait { .. }));
    assert_eq!(chooser.asks_first(&ask, &view[..1]), 1);
}

/// P-4: what shows no room may have room by now, and what shows room may have none.
#[test]
fn a_view_excludes_no_node_but_for_the_last_question_of_a_round() {
    let kinds = kinds();
    let mut view: Vec<_> = (0..20).map(|n| node(n, cores(1_000), &kinds)).collect();
    view[1..].iter_mut().for_each(|full| full.free.cpu_milli = 0);
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut chooser = Chooser::new(seed);
        let mut attempt = Attempt::new(NOW, request(Demand::cpu(0.5)), PLACED_WITHIN);
        let mut asked = Vec::new();
        while let Step::Ask(node) = chooser.next(&mut attempt, NOW, &view) {
            asked.push(node);
            let free = view[node as usize].free.clone();
            attempt.rejected(node, free, &mut chooser.debits);
        }
        assert!(asked.contains(&0), "seed {seed}: {asked:?}");
        first.insert(asked[0]);
    }
    assert!(first.len() > 10, "{first:?}");
}

#[test]
fn after_three_resamples_the_attempt_waits_a_jittered_while_and_goes_on_with_others() {
    let kinds = kinds();
    let view: Vec<_> = (0..20).map(|n| node(n, cores(1_000), &kinds)).collect();
    let mut chooser = Chooser::new(3);
    let mut attempt = Attempt::new(NOW, request(Demand::cpu(0.5)), PLACED_WITHIN);
    let (mut now, mut asked, mut waits) = (NOW, Vec::new(), Vec::new());
    while asked.len() < 20 {
        match chooser.next(&mut attempt, now, &view) {
            Step::Ask(node) => {
                asked.push(node);
                attempt.rejected(node, Capacity::default(), &mut chooser.debits);
            }
            Step::Wait { until } => {
                assert_eq!(asked.len() % (RESAMPLES_MAX as usize + 1), 0);
                waits.push(until.since(now));
                let early = Time(until.0 - 1);
                assert_eq!(chooser.next(&mut attempt, early, &view), Step::Wait { until });
                now = until;
            }
            Step::Fail(why) => panic!("{why}"),
        }
    }
    // P-6: no node was asked twice on the same figures.
    asked.sort_unstable();
    assert!(asked.iter().copied().eq(0..20));
    assert_eq!(waits.len(), 4);
    assert!(waits.iter().all(|wait| (BACKOFF_MIN..=BACKOFF_MAX).contains(wait)), "{waits:?}");
}

#[test]
fn a_node_that_refused_is_asked_again_once_its_record_shows_other_figures() {
    let kinds = kinds();
    let mut view = [node(1, cores(1_000), &kinds)];
    let mut chooser = Chooser::new(1);
    let mut attempt = Attempt::new(NOW, request(Demand::cpu(0.5)), PLACED_WITHIN);
    assert_eq!(chooser.next(&mut attempt, NOW, &view), Step::Ask(1));
    let fresh = Capacity { cpu_milli: 100, ..cores(1_000) };
    attempt.rejected(1, fresh, &mut chooser.debits);
    let Step::Wait { until } = chooser.next(&mut attempt, NOW, &view) else { panic!() };
    assert!(matches!(chooser.next(&mut attempt, until, &view), Step::Wait { .. }));
    view[0].version = 2;
    let later = until.after(BACKOFF_MAX);
    assert_eq!(chooser.next(&mut attempt, later, &view), Step::Ask(1));
}

#[test]
fn a_node_that_did_not_answer_is_tried_again_after_the_wait() {
    let kinds = kinds();
    let view = [node(1, cores(1_000), &kinds)];
    let mut chooser = Chooser::new(1);
    let mut attempt = Attempt::new(NOW, request(Demand::cpu(0.1)), PLACED_WITHIN);
    assert_eq!(chooser.next(&mut attempt, NOW, &view), Step::Ask(1));
    attempt.unanswered(1);
    let Step::Wait { until } = chooser.next(&mut attempt, NOW, &view) else { panic!() };
    assert_eq!(chooser.next(&mut attempt, until, &view), Step::Ask(1));
}

#[test]
fn a_question_that_is_out_keeps_the_attempt_waiting_for_its_deadline_only() {
    let kinds = kinds();
    let view = [1, 2].map(|n| node(n, cores(1_000), &kinds));
    let mut chooser = Chooser::new(1);
    let mut attempt = Attempt::new(NOW, request(Demand::cpu(0.1)), PLACED_WITHIN);
    let Step::Ask(asked) = chooser.next(&mut attempt, NOW, &view) else { panic!() };
    let until = NOW.after(PLACED_WITHIN);
    let elsewhere = 3 - asked;
    attempt.rejected(elsewhere, Capacity::default(), &mut chooser.debits);
    assert_eq!(chooser.next(&mut attempt, NOW, &view), Step::Wait { until });
    let Step::Fail(why) = chooser.next(&mut attempt, until, &view) else { panic!() };
    assert!(matches!(why.missing, Missing::NotGranted(_)));
}

#[test]
fn a_busy_cluster_fails_at_the_deadline_with_the_figures_of_the_refusal() {
    let kinds = kinds();
    let view = [node(1, cores(1_000), &kinds)];
    let mut targets = ledgers(&view);
    let mut chooser = Chooser::new(5);
    chooser.place(1, &request(Demand::cpu(0.7)), &view, &mut targets).0.unwrap();
    let (failed, when) = Chooser::new(6).place(2, &request(Demand::cpu(0.6)), &view, &mut targets);
    let why = failed.unwrap_err();
    assert_eq!(when, NOW.after(PLACED_WITHIN));
    let Missing::Busy { node: 1, shortage } = why.missing else { panic!("{why}") };
    assert_eq!((shortage.dimension, shortage.available), (Dimension::Cpu, 300));
    assert_eq!(why.best_offer.unwrap().free, *targets[&1].free());
}

#[test]
fn nodes_that_take_nothing_new_are_waited_for_and_named() {
    let kinds = kinds();
    let mut view = [node(1, cores(1_000), &kinds)];
    view[0].closed = true;
    let (failed, when) =
        Chooser::new(1).place(1, &request(Demand::cpu(0.1)), &view, &mut BTreeMap::new());
    assert_eq!((failed.unwrap_err().missing, when), (Missing::Closed, NOW.after(PLACED_WITHIN)));
}

#[test]
fn demand_that_no_node_could_hold_fails_at_once() {
    let kinds = kinds();
    let view = [node(1, cores(1_000), &kinds)];
    let (failed, when) =
        Chooser::new(1).place(1, &request(Demand::cpu(2.0)), &view, &mut BTreeMap::new());
    // P-5.
    assert!(matches!(failed.unwrap_err().missing, Missing::TooSmall { .. }));
    assert_eq!(when, NOW);
}

#[test]
fn a_debit_counts_until_a_newer_record_its_refusal_or_its_time() {
    let kinds = kinds();
    let mut candidate = node(1, cores(1_000), &kinds);
    let mut debits = Debits::default();
    let ticket = debits.add(NOW, 1, 1, &Demand::cpu(0.3));
    debits.add(NOW, 1, 1, &Demand::cpu(0.2));
    debits.add(NOW, 2, 1, &Demand::cpu(0.9));
    assert_eq!(debits.free(NOW, &candidate).cpu_milli, 500);
    debits.cancel(1, ticket);
    assert_eq!(debits.free(NOW, &candidate).cpu_milli, 800);
    assert_eq!(debits.free(NOW.after(DEBIT_TTL), &candidate).cpu_milli, 1_000);
    candidate.version = 2;
    assert_eq!(debits.free(NOW, &candidate).cpu_milli, 1_000);
}

/// Any view, any answers, any times: what an attempt does until it ends, as a trace.
fn trace(seed: u64, script: &[(u8, u32, u64)], placed_within: Duration) -> Vec<String> {
    let kinds = kinds();
    let mut view: Vec<_> = (0..6).map(|n| node(n, cores(1_000), &kinds)).collect();
    let (mut chooser, mut now, mut steps) = (Chooser::new(seed), NOW, Vec::new());
    let mut attempt = Attempt::new(now, request(Demand::cpu(0.4)), placed_within);
    for (what, which, value) in script {
        let index = (*which % 6) as usize;
        match what % 6 {
            0 => attempt.rejected(*which % 6, cores(*value as u32), &mut chooser.debits),
            1 => attempt.unanswered(*which % 6),
            2 => view[index].version = *value,
            3 => view[index].free = cores(*value as u32),
            4 => view[index].closed = value % 2 == 0,
            _ => now = now.after(Duration::from_micros(*value % 900_000)),
        }
        let step = chooser.next(&mut attempt, now, &view);
        // P-5: not a step after the deadline but the failure.
        assert_eq!(now >= attempt.deadline(), matches!(step, Step::Fail(_)));
        steps.push(format!("{step:?}"));
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn an_attempt_survives_any_input_ends_by_its_deadline_and_repeats_itself(
        seed: u64, script: Vec<(u8, u32, u64)>, within in 0..4_000_000u64,
    ) {
        // P-7.
        let within = Duration::from_micros(within);
        prop_assert_eq!(trace(seed, &script, within), trace(seed, &script, within));
    }
}
