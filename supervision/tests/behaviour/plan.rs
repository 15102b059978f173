//! The pure plan under random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mobula_actors::id::{Epoch, NodeId, PeerKey};
use mobula_actors::{Exit, Restart};
use mobula_supervision::backoff::Backoff;
use mobula_supervision::intensity::Intensity;
use mobula_supervision::strategy::{ChildState, Decision, End, Key, Plan, Rules, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as Draw;

#[derive(Clone, Debug)]
enum Step {
    Start(u64),
    Started(u64),
    StartFailed(u64, Exit),
    Ended(u64, Exit),
    Terminate(u64),
    End,
}

fn exits() -> impl Draw<Value = Exit> {
    let node = NodeId { key: PeerKey([1; 32]), boot: 1 };
    prop_oneof![
        Just(Exit::Normal),
        Just(Exit::Killed),
        Just(Exit::Fenced(Epoch(9))),
        Just(Exit::NodeDead(node)),
    ]
}

fn steps() -> impl Draw<Value = Step> {
    let key = 0u64..5;
    prop_oneof![
        3 => key.clone().prop_map(Step::Start),
        6 => key.clone().prop_map(Step::Started),
        2 => (key.clone(), exits()).prop_map(|(key, exit)| Step::StartFailed(key, exit)),
        5 => (key.clone(), exits()).prop_map(|(key, exit)| Step::Ended(key, exit)),
        2 => key.prop_map(Step::Terminate),
        1 => Just(Step::End),
    ]
}

/// What the world does: starts under way and runs alive, as an executor would hold them.
#[derive(Default)]
struct World {
    starting: BTreeMap<u64, ()>,
    alive: BTreeMap<u64, ()>,
    epochs: BTreeMap<u64, Epoch>,
    /// Runs, not starts, that were asked to stop and have not.
    stopping: Vec<u64>,
    gave_up: bool,
    /// Starts under way that somebody asked for, and those that were called off by nobody.
    asked: BTreeSet<u64>,
    called_off: Vec<u64>,
}

impl World {
    fn obey(&mut self, plan: &Plan, decisions: &[Decision]) -> Result<(), TestCaseError> {
        for decision in decisions {
            prop_assert!(!self.gave_up, "{decision:?} after giving up");
            match decision {
                Decision::Start { child, epoch, .. } => {
                    prop_assert!(!plan.is_ending(), "S-4");
                    let last = self.epochs.insert(child.0, *epoch);
                    prop_assert!(last.is_none_or(|last| *epoch > last), "S-1");
                    prop_assert!(!self.alive.contains_key(&child.0), "two runs of {child:?}");
                    prop_assert!(self.starting.insert(child.0, ()).is_none(), "two starts");
                }
                Decision::Stop { child } if self.alive.contains_key(&child.0) => {
                    self.stopping.push(child.0);
                }
                Decision::Stop { child } => {
                    if !plan.is_ending() && self.asked.contains(&child.0) {
                        self.called_off.push(child.0);
                    }
                    prop_assert!(self.starting.contains_key(&child.0), "stop of nothing");
                }
                Decision::GiveUp(_) => {
                    prop_assert!(self.alive.is_empty() && self.starting.is_empty(), "left behind");
                    self.gave_up = true;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Everybody does as told: nothing is waited for at last (SG-1 to SG-3).
fn settle(plan: &mut Plan, world: &mut World) -> Result<(), TestCaseError> {
    loop {
        let (key, decisions) = if let Some((key, ())) = world.starting.pop_first() {
            if plan.state(Key(key)) == Some(ChildState::Stopping) {
                (key, plan.start_failed(Key(key), end(Exit::Killed, 500)))
            } else {
                world.alive.insert(key, ());
                (key, plan.started(Key(key)))
            }
        } else if let Some(key) = world.stopping.pop() {
            world.alive.remove(&key);
            (key, plan.ended(Key(key), end(Exit::Shutdown, 500)))
        } else {
            break;
        };
        prop_assert!(key < 5);
        world.obey(plan, &decisions)?;
    }
    for key in 0..5 {
        let state = plan.state(Key(key));
        let runs = world.alive.contains_key(&key);
        prop_assert_eq!(runs, state == Some(ChildState::Running), "child {} is {:?}", key, state);
        prop_assert!(matches!(state, None | Some(ChildState::Stopped | ChildState::Running)));
    }
    Ok(())
}

fn end(exit: Exit, at: usize) -> End {
    End { exit, now: Duration::from_millis(at as u64 * 700), chance: 0.5 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..Default::default() })]
    // S-1, S-2, S-4, S-5
    #[test]
    fn no_history_breaks_the_rules(
        steps in prop::collection::vec(steps(), 1..120),
        restarts in prop::collection::vec(0u8..3, 5),
        max in 0u32..6,
        strategy in prop_oneof![
            Just(Strategy::OneForOne), Just(Strategy::OneForAll), Just(Strategy::RestForOne),
        ],
    ) {
        let intensity = Intensity::new(max, Duration::from_secs(5));
        let budget = Intensity::new(max, Duration::from_secs(60));
        let mut plan = Plan::new(strategy, intensity, budget);
        let mut world = World::default();
        for (key, restart) in restarts.iter().enumerate() {
            let restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][*restart as usize];
            let rules = Rules { restart, significant: false, code: None, infra: Some(Box::default()) };
            plan.add(Key(key as u64), rules);
        }
        for (at, step) in steps.into_iter().enumerate() {
            let decisions = match step {
                Step::Start(key) => {
                    if plan.state(Key(key)) == Some(ChildState::Stopped) {
                        world.asked.insert(key);
                    }
                    plan.start(Key(key))
                }
                Step::Started(key) if world.starting.remove(&key).is_some() => {
                    world.asked.remove(&key);
                    world.alive.insert(key, ());
                    plan.started(Key(key))
                }
                Step::StartFailed(key, exit) if world.starting.remove(&key).is_some() => {
                    world.asked.remove(&key);
                    plan.start_failed(Key(key), end(exit, at))
                }
                Step::Ended(key, exit) if world.alive.remove(&key).is_some() => {
                    world.stopping.retain(|stopping| *stopping != key);
                    plan.ended(Key(key), end(exit, at))
                }
                Step::Terminate(key) => {
                    world.asked.remove(&key);
                    plan.terminate(Key(key))
                }
                Step::End => plan.end(Exit::Shutdown),
                _ => Vec::new(),
            };
            world.obey(&plan, &decisions)?;
        }
        prop_assert!(world.called_off.is_empty(), "SG-3: {:?}", world.called_off);
        settle(&mut plan, &mut world)?;
        // Whatever happened, the plan ends when everybody does as told.
        let decisions = plan.end(Exit::Shutdown);
        world.obey(&plan, &decisions)?;
        while !world.gave_up {
            let called_off: Vec<_> = world.starting.keys().copied().collect();
            for key in called_off {
                prop_assert_eq!(plan.state(Key(key)), Some(ChildState::Stopping), "S-4");
                world.starting.remove(&key);
                let decisions = plan.start_failed(Key(key), end(Exit::Killed, 1_000));
                world.obey(&plan, &decisions)?;
            }
            if let Some(key) = world.stopping.pop() {
                world.alive.remove(&key);
                let decisions = plan.ended(Key(key), end(Exit::Shutdown, 1_000));
                world.obey(&plan, &decisions)?;
            }
        }
    }
}

fn permanent() -> Rules {
    let infra = Some(Box::new(Backoff::default().first_at_once()));
    Rules { restart: Restart::Permanent, significant: false, code: None, infra }
}

fn running(children: u64, max: u32) -> Plan {
    let intensity = Intensity::new(max, Duration::from_secs(5));
    let mut plan =
        Plan::new(Strategy::OneForOne, intensity, Intensity::new(2, Duration::from_secs(60)));
    for key in (0..children).map(Key) {
        plan.add(key, permanent());
        plan.start(key);
        plan.started(key);
    }
    plan
}

// S-2
#[test]
fn the_plan_stops_one_child_after_the_other_from_the_last() {
    let mut plan = running(3, 1);
    let mut decisions = plan.end(Exit::Shutdown);
    for key in (0..3).rev().map(Key) {
        assert_eq!(decisions, [Decision::Stop { child: key }]);
        decisions = plan.ended(key, end(Exit::Shutdown, 0));
        assert_eq!(decisions.remove(0), Decision::Release { child: key });
    }
    assert_eq!(decisions, [Decision::GiveUp(Exit::Shutdown)]);
}

// S-3
#[test]
fn one_dead_node_counts_once_and_leaves_the_intensity_alone() {
    let node = |boot| NodeId { key: PeerKey([2; 32]), boot };
    let mut plan = running(1_000, 0);
    for (key, boot) in (0..1_000).map(|key| (Key(key), key % 2)) {
        let decisions = plan.ended(key, end(Exit::NodeDead(node(boot)), 0));
        let start = Decision::Start {
            child: key,
            epoch: Epoch(2),
            after: Duration::ZERO,
            keep: false,
            avoid: Some(node(boot)),
        };
        assert_eq!(decisions, [start]);
        plan.started(key);
    }
    // The third dead node is one more than this budget has.
    plan.ended(Key(0), end(Exit::NodeDead(node(7)), 0));
    assert!(plan.is_ending());
}

#[test]
fn code_faults_keep_the_mailbox_and_do_not_wait_while_repeated_losses_do() {
    let mut plan = running(1, 5);
    let after = |decisions: &[Decision]| match decisions {
        [Decision::Start { after, keep, .. }] => (after.as_millis(), *keep),
        other => panic!("{other:?}"),
    };
    assert_eq!(after(&plan.ended(Key(0), end(Exit::Killed, 0))), (0, true));
    plan.started(Key(0));
    assert_eq!(after(&plan.ended(Key(0), end(Exit::Fenced(Epoch(8)), 1))), (0, false));
    let lost = Exit::NoCapacity("full".into());
    assert_eq!(after(&plan.start_failed(Key(0), end(lost, 2))), (200, false));
}

// S-4: found by the histories above.
#[test]
fn a_group_is_not_gone_on_with_when_its_start_trips_the_limit() {
    let intensity = Intensity::new(1, Duration::from_secs(5));
    let mut plan = Plan::new(Strategy::RestForOne, intensity.clone(), intensity);
    plan.add(Key(0), permanent());
    plan.add(Key(1), permanent());
    plan.start(Key(0));
    plan.started(Key(0));
    assert_eq!(plan.ended(Key(0), end(Exit::Killed, 0)).len(), 1);
    let decisions = plan.start_failed(Key(0), end(Exit::Killed, 0));
    // What had been waiting for its turn is let go of, and nothing is started.
    let release = |key| Decision::Release { child: Key(key) };
    assert_eq!(decisions, [release(0), release(1), Decision::GiveUp(Exit::MaxIntensity)]);
}
