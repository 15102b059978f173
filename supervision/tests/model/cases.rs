//! The trees and steps that are drawn by chance.

use mobula_actors::Restart;
use mobula_supervision::{AutoShutdown, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as Draw;

pub(crate) const PERIOD_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Begin {
    Up,
    Fail,
    Ignore,
}

impl Begin {
    pub(crate) fn mark(self) -> char {
        match self {
            Self::Up => '+',
            Self::Fail => '!',
            Self::Ignore => '?',
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ChildSpec {
    pub(crate) id: String,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    /// What its starts do, one after the other; those after them succeed.
    pub(crate) begins: Vec<Begin>,
    pub(crate) below: Option<Box<Spec>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) strategy: Strategy,
    pub(crate) max: usize,
    pub(crate) auto: AutoShutdown,
    pub(crate) children: Vec<ChildSpec>,
}

/// What happens to a tree. Numbers choose among what there is at the time.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Fault(usize, Fault),
    Ask(usize, &'static str),
    Spawn(usize, ChildSpec),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Fail,
    Kill,
    Normal,
    Shutdown,
}

/// The first start nearly always succeeds, or there would be no tree to look at.
fn begins() -> impl Draw<Value = Vec<Begin>> {
    let first = prop_oneof![
        40 => Just(Begin::Up), 1 => Just(Begin::Fail), 1 => Just(Begin::Ignore),
    ];
    let later = prop_oneof![
        6 => Just(Begin::Up), 3 => Just(Begin::Fail), 1 => Just(Begin::Ignore),
    ];
    (first, prop::collection::vec(later, 0..5)).prop_map(|(first, mut begins)| {
        begins.insert(0, first);
        begins
    })
}

fn actor() -> impl Draw<Value = ChildSpec> {
    let restart = prop_oneof![
        3 => Just(Restart::Permanent), 2 => Just(Restart::Transient), 2 => Just(Restart::Temporary),
    ];
    (restart, any::<bool>(), begins()).prop_map(|(restart, significant, begins)| ChildSpec {
        id: String::new(),
        restart,
        significant,
        begins,
        below: None,
    })
}

pub(crate) fn spec(depth: u32) -> BoxedStrategy<Spec> {
    let strategy = prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
        Just(Strategy::Dynamic),
    ];
    let auto = prop_oneof![
        2 => Just(AutoShutdown::Never), 1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant),
    ];
    let child = if depth == 0 {
        actor().boxed()
    } else {
        let below = (actor(), spec(depth - 1))
            .prop_map(|(child, below)| ChildSpec { below: Some(Box::new(below)), ..child });
        prop_oneof![3 => actor(), 2 => below].boxed()
    };
    let children = prop::collection::vec(child, 1..5);
    (strategy, 0usize..6, auto, children).prop_map(valid).boxed()
}

/// Names the children, and takes back what a spec may not say.
fn valid(drawn: (Strategy, usize, AutoShutdown, Vec<ChildSpec>)) -> Spec {
    let (strategy, max, auto, mut children) = drawn;
    if strategy == Strategy::Dynamic {
        return Spec { strategy, max, auto: AutoShutdown::Never, children: Vec::new() };
    }
    for (number, child) in children.iter_mut().enumerate() {
        child.id = format!("c{number}");
        let shuts_down = child.below.as_ref().is_some_and(|spec| spec.auto != AutoShutdown::Never);
        if shuts_down && child.restart == Restart::Permanent {
            child.restart = Restart::Transient;
        }
        child.significant &= auto != AutoShutdown::Never && child.restart != Restart::Permanent;
    }
    Spec { strategy, max, auto, children }
}

pub(crate) fn steps() -> impl Draw<Value = Vec<Step>> {
    let at = 0usize..1_000;
    let fault = prop_oneof![
        4 => Just(Fault::Fail), 2 => Just(Fault::Kill), 2 => Just(Fault::Normal),
        1 => Just(Fault::Shutdown),
    ];
    let verb = prop_oneof![Just("terminate"), Just("restart"), Just("delete")];
    let step = prop_oneof![
        8 => (at.clone(), fault).prop_map(|(at, fault)| Step::Fault(at, fault)),
        5 => (at.clone(), verb).prop_map(|(at, verb)| Step::Ask(at, verb)),
        3 => (at, actor()).prop_map(|(at, child)| Step::Spawn(at, child)),
        2 => (0u64..4_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..16)
}
