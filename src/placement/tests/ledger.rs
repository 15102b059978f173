use std::collections::BTreeMap;

use mobula_actors::{
    demand::Demand,
    id::{ActorId, Epoch},
};
use proptest::prelude::*;

use super::{NOW, cores};
use crate::{
    machine::Time,
    placement::{
        Capacity, Device, Dimension, Ledger, NotStarted, RESERVATION_TTL, RESERVATIONS_MAX,
        Refusal, Shortage, VERDICTS_MAX, Verdict,
    },
};

const FIRST: Epoch = Epoch(1);

fn actor(number: u64) -> ActorId {
    ActorId { origin: 7, number }
}

fn granted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Granted { .. })
}

#[derive(Clone, Debug)]
enum Op {
    Reserve { id: u128, actor: u64, demand: Demand },
    Start(u128),
    Cancel(u128),
    Release(u64),
    Advance(u64),
    Expire,
}

fn demands() -> impl Strategy<Value = Demand> {
    // Some demands are larger than the node, one of them as large as numbers go.
    let large = prop_oneof![4 => 0..600u64, 1 => Just(u64::MAX)];
    let device = (0..700u32, 0..600u64);
    (0..700u32, large, device, 0..3u64).prop_map(|(cpu_milli, memory_bytes, device, licences)| {
        let (gpu_milli, vram_bytes) = device;
        let counters = BTreeMap::from([("licence".to_owned(), licences)]);
        Demand { cpu_milli, memory_bytes, gpu_milli, vram_bytes, counters, ..Demand::default() }
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..24u128, 0..8u64, demands())
            .prop_map(|(id, actor, demand)| Op::Reserve { id, actor, demand }),
        3 => (0..24u128).prop_map(Op::Start),
        1 => (0..24u128).prop_map(Op::Cancel),
        2 => (0..8u64).prop_map(Op::Release),
        2 => (0..3_000u64).prop_map(Op::Advance),
        1 => Just(Op::Expire),
    ];
    prop::collection::vec(op, 1..80)
}

/// What must be held, kept apart from the ledger's own books.
#[derive(Default)]
struct Held {
    open: BTreeMap<u128, (u64, Demand, Time)>,
    running: BTreeMap<u64, Demand>,
    started: BTreeMap<u64, u128>,
    decided: BTreeMap<u128, (Verdict, Time)>,
}

impl Held {
    fn expire(&mut self, now: Time) {
        self.open.retain(|_, (_, _, until)| *until > now);
        self.decided.retain(|_, (_, until)| *until > now);
    }

    fn sum(&self, dimension: &Dimension) -> u64 {
        let open = self.open.values().map(|(_, demand, _)| demand);
        open.chain(self.running.values()).map(|demand| dimension.needed(demand)).sum()
    }
}

fn apply(ledger: &mut Ledger, held: &mut Held, now: &mut Time, op: Op) {
    match op {
        Op::Reserve { id, actor: number, demand } => {
            held.expire(*now);
            let started_before = held.started.values().any(|s| *s == id);
            let verdict = ledger.reserve(*now, id, actor(number), FIRST, &demand);
            let free = ledger.free().clone();
            // P-2: a repeat, at once or later, with the same or another demand, changes nothing.
            let other = Demand::cpu(0.001);
            assert_eq!(ledger.reserve(*now, id, actor(number), FIRST, &other), verdict);
            assert_eq!(*ledger.free(), free);
            match held.decided.get(&id) {
                Some((first, _)) => assert_eq!(verdict, *first),
                None => {
                    let until = now.after(RESERVATION_TTL);
                    if granted(&verdict) && !started_before {
                        held.open.insert(id, (number, demand, until));
                    }
                    if !started_before {
                        held.decided.insert(id, (verdict, until));
                    }
                }
            }
        }
        Op::Start(id) => {
            held.expire(*now);
            let result = ledger.start(*now, id);
            if let Some((number, demand, _)) = held.open.remove(&id) {
                let twice = held.running.contains_key(&number);
                assert_eq!(result.is_err(), twice);
                held.running.entry(number).or_insert(demand);
                held.started.entry(number).or_insert(id);
            }
        }
        Op::Cancel(id) => assert_eq!(ledger.cancel(id), held.open.remove(&id).is_some()),
        Op::Release(number) => {
            let freed = ledger.release(actor(number), FIRST);
            assert_eq!(freed, held.running.remove(&number).is_some());
            held.started.remove(&number);
        }
        Op::Advance(ms) => now.0 += ms * 1_000,
        Op::Expire => {
            ledger.expire(*now);
            held.expire(*now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn running_and_reserved_never_exceed_the_capacity(ops in ops()) {
        let devices = vec![Device { gpu_milli: 1_000, vram_bytes: 1_000 }, Device { gpu_milli: 1_000, vram_bytes: 500 }];
        let counters = BTreeMap::from([("licence".to_owned(), 3)]);
        let total = Capacity { cpu_milli: 2_000, memory_bytes: 1_500, devices, counters, actors: 6 };
        let (mut ledger, mut held, mut now) = (Ledger::new(total.clone()), Held::default(), NOW);
        for op in ops {
            apply(&mut ledger, &mut held, &mut now, op);
            let counter = Dimension::Counter("licence".to_owned());
            for dimension in &[&Dimension::ALL[..], &[counter]].concat() {
                // P-1, and nothing leaks: what is free is exactly what is not held.
                let sum = held.sum(dimension);
                prop_assert!(sum <= total.of(dimension));
                prop_assert_eq!(ledger.free().of(dimension), total.of(dimension) - sum);
            }
            prop_assert_eq!(ledger.counts(), (held.running.len(), held.open.len()));
        }
        // P-3: whatever was left open ends.
        ledger.expire(now.after(RESERVATION_TTL));
        prop_assert_eq!(ledger.counts().1, 0);
        prop_assert_eq!(ledger.poll_timeout(), None);
    }
}

#[test]
fn a_reservation_becomes_a_running_actor_and_its_release_frees_it() {
    let mut ledger = Ledger::new(cores(1_000));
    assert!(granted(&ledger.reserve(NOW, 1, actor(1), FIRST, &Demand::cpu(0.4))));
    assert_eq!(ledger.start(NOW, 1), Ok((actor(1), FIRST)));
    assert_eq!(ledger.start(NOW, 1), Ok((actor(1), FIRST)), "a repeat says the same");
    assert_eq!(ledger.expire(NOW.after(RESERVATION_TTL)), 0, "what runs does not expire");
    assert_eq!(ledger.free().cpu_milli, 600);
    assert!(!ledger.release(actor(1), FIRST.next()), "another run does not run here");
    assert!(ledger.release(actor(1), FIRST));
    assert!(!ledger.release(actor(1), FIRST));
    assert_eq!(ledger.free(), ledger.total());
}

#[test]
fn a_reservation_that_is_not_started_ends_with_its_time() {
    let mut ledger = Ledger::new(cores(1_000));
    ledger.reserve(NOW, 1, actor(1), FIRST, &Demand::cpu(0.4));
    let end = NOW.after(RESERVATION_TTL);
    assert_eq!(ledger.poll_timeout(), Some(end));
    assert_eq!(ledger.start(end, 1), Err(NotStarted::NotOpen(1)));
    assert_eq!(ledger.free(), ledger.total());
}

#[test]
fn a_refusal_says_what_is_short_and_is_repeated_even_when_room_appears() {
    let mut ledger = Ledger::new(cores(1_000));
    ledger.reserve(NOW, 1, actor(1), FIRST, &Demand::cpu(0.8));
    let refused = ledger.reserve(NOW, 2, actor(2), FIRST, &Demand::cpu(0.5));
    let shortage = Shortage { dimension: Dimension::Cpu, needed: 500, available: 200 };
    let free = ledger.free().clone();
    assert_eq!(refused, Verdict::Rejected { reason: Refusal::NoRoom(shortage), free });
    assert!(ledger.cancel(1));
    assert_eq!(ledger.reserve(NOW, 2, actor(2), FIRST, &Demand::cpu(0.5)), refused);
    assert!(granted(&ledger.reserve(NOW, 3, actor(2), FIRST, &Demand::cpu(0.5))));
}

#[test]
fn a_run_that_is_started_is_not_started_by_a_second_reservation() {
    let mut ledger = Ledger::new(cores(1_000));
    for id in [1, 2] {
        ledger.reserve(NOW, id, actor(1), FIRST, &Demand::cpu(0.4));
    }
    assert!(ledger.start(NOW, 1).is_ok());
    let running = NotStarted::Running { actor: actor(1), epoch: FIRST };
    assert_eq!(ledger.start(NOW, 2), Err(running));
    assert_eq!(ledger.free().cpu_milli, 600, "the second reservation is given back");
}

#[test]
fn open_reservations_are_bounded_and_room_comes_back_with_their_time() {
    let mut ledger = Ledger::new(Capacity { actors: 1_000_000, ..Capacity::default() });
    let ids = RESERVATIONS_MAX as u128;
    for id in 0..ids {
        assert!(granted(&ledger.reserve(NOW, id, actor(1), FIRST, &Demand::default())));
    }
    let refused = ledger.reserve(NOW, ids, actor(1), FIRST, &Demand::default());
    assert!(matches!(refused, Verdict::Rejected { reason: Refusal::TooManyOpen, .. }));
    let later = NOW.after(RESERVATION_TTL);
    assert!(granted(&ledger.reserve(later, ids, actor(1), FIRST, &Demand::default())));
}

#[test]
fn a_repeat_debits_once_even_when_a_flood_has_pushed_its_verdict_out() {
    let mut ledger = Ledger::new(cores(1_000));
    ledger.reserve(NOW, 0, actor(1), FIRST, &Demand::cpu(0.4));
    for id in 1..=VERDICTS_MAX as u128 {
        ledger.reserve(NOW, id, actor(2), FIRST, &Demand::cpu(2.0));
    }
    assert!(granted(&ledger.reserve(NOW, 0, actor(1), FIRST, &Demand::cpu(0.4))));
    assert_eq!((ledger.free().cpu_milli, ledger.counts()), (600, (0, 1)));
    assert!(ledger.start(NOW, 0).is_ok());
    assert!(granted(&ledger.reserve(NOW, 0, actor(1), FIRST, &Demand::cpu(0.4))));
    assert_eq!((ledger.free().cpu_milli, ledger.counts()), (600, (1, 0)));
}
