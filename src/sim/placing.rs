//! Placements by the thousand under virtual time: choosers and ledgers of production, a view that is
//! old, and tasks that come and go.
//!
//! All choosers share one snapshot of all nodes, taken anew each [`Load::view_age`]: nothing makes
//! them herd more. Each node has eight devices, and each task takes one of them whole, with memory
//! from 4 KiB to 80 GB, so that a node has eight places, as in the model that the bar is from.

use std::collections::BTreeMap;
use std::time::Duration;

use mobula_actors::demand::Demand;

use super::agenda::Agenda;
use super::ground::{DELAY, DEVICES, Ground, exponential, kinds, request, task_demand};
use super::trace::Trace;
use crate::machine::{Rng, Time};
use crate::placement::{Attempt, Candidate, Debits, PLACED_WITHIN, Step, Verdict};

/// What is placed, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Nodes, each of which also chooses for the tasks that begin on it.
    pub nodes: u32,
    /// The share of all places that is taken on average.
    pub share: f64,
    /// How long a task runs on average; exponential.
    pub task: Duration,
    /// How often the view is made anew.
    pub view_age: Duration,
    /// How long tasks keep coming. Those of the first five task times are not counted.
    pub lasts: Duration,
    /// The share of questions that come twice, and of answers that are lost.
    pub faults: f64,
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Waits {
    /// Tasks that are counted.
    pub tasks: u64,
    /// Those of them that found no place in time.
    pub failed: u64,
    /// From the arrival of a task to the grant, on average.
    pub mean: Duration,
    /// The same, which one in a hundred exceeds.
    pub p99: Duration,
    /// Refusals a task.
    pub refusals: f64,
    /// Times at which a device had more on it than there is of it.
    pub oversubscribed: u64,
    /// The first thing in which the books of a node were not what was counted beside them.
    pub broken: Option<String>,
    /// The same for the same load and seed.
    pub trace: u64,
}

impl Load {
    /// Runs it.
    #[must_use]
    pub fn run(self, seed: u64) -> Waits {
        let kinds = kinds();
        let mut world = Placements::new(self, seed, &kinds);
        world.run();
        world.waits()
    }
}

/// The time that a node has to say whether it has room.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// Task times after which the load has become what it stays.
const WARM: u32 = 5;

impl Load {
    /// Whether a task that arrived then is counted.
    fn counts(&self, arrived: Time) -> bool {
        arrived > Time(0).after(self.task * WARM)
    }
}

enum Event {
    Arrive,
    /// A task's next step.
    Step(u64),
    /// A question reaches its target.
    Asked(u64, u32),
    /// It does so again: about what, and the first answer.
    AskedAgain(u32, u128, Demand, Verdict),
    /// The answer reaches the chooser.
    Answered(u64, u32, Verdict),
    /// No answer did in time.
    Unanswered(u64, u32),
    /// A run ends: the one that was reserved under this number.
    End(u128),
    Refresh,
}

struct Task {
    home: u32,
    arrived: Time,
    attempt: Attempt<u32>,
}

struct Placements<'a> {
    load: Load,
    agenda: Agenda<Event>,
    ground: Ground,
    view: Vec<Candidate<'a, u32>>,
    kinds: &'a [String],
    debits: Vec<Debits<u32>>,
    rng: Rng,
    tasks: BTreeMap<u64, Task>,
    asked: u128,
    waits: Vec<Duration>,
    failed: u64,
    refusals: u64,
    trace: Trace,
}

impl<'a> Placements<'a> {
    fn new(load: Load, seed: u64, kinds: &'a [String]) -> Self {
        let ground = Ground::new(load.nodes);
        let mut world = Self {
            load,
            agenda: Agenda::default(),
            view: ground.view(kinds),
            ground,
            kinds,
            debits: vec![Debits::default(); load.nodes as usize],
            rng: Rng::new(seed),
            tasks: BTreeMap::new(),
            asked: 0,
            waits: Vec::new(),
            failed: 0,
            refusals: 0,
            trace: Trace::new(),
        };
        world.agenda.after(Duration::ZERO, Event::Arrive);
        world.agenda.after(load.view_age, Event::Refresh);
        world
    }

    fn run(&mut self) {
        while let Some(event) = self.agenda.next() {
            self.handle(event);
        }
    }

    fn arriving(&self) -> bool {
        self.agenda.now() < Time(0).after(self.load.lasts)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Refresh if self.arriving() => {
                self.view = self.ground.view(self.kinds);
                self.agenda.after(self.load.view_age, Event::Refresh);
            }
            Event::Refresh => {}
            Event::Step(task) => self.step(task),
            Event::Asked(task, target) => self.asked(task, target),
            Event::AskedAgain(target, id, demand, first) => {
                self.ground.repeat(self.agenda.now(), target, id, &demand, &first);
            }
            Event::Answered(task, target, verdict) => self.answered(task, target, &verdict),
            Event::Unanswered(number, target) => {
                if let Some(task) = self.tasks.get_mut(&number) {
                    task.attempt.unanswered(target);
                    self.step(number);
                }
            }
            Event::End(reservation) => self.ground.release(self.agenda.now(), reservation),
        }
    }

    fn arrive(&mut self) {
        if !self.arriving() {
            return;
        }
        let places = f64::from(self.load.nodes) * DEVICES as f64;
        let pause = self.load.task.div_f64(places * self.load.share);
        let pause = exponential(&mut self.rng, pause);
        self.agenda.after(pause, Event::Arrive);
        let demand = task_demand(&mut self.rng);
        let home = self.rng.below(self.load.nodes.into()) as u32;
        let attempt = Attempt::new(self.agenda.now(), request(demand), PLACED_WITHIN);
        let number = self.agenda.made();
        self.tasks.insert(number, Task { home, arrived: self.agenda.now(), attempt });
        self.step(number);
    }

    fn step(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let debits = &mut self.debits[task.home as usize];
        match task.attempt.next(self.agenda.now(), &self.view, debits, &mut self.rng) {
            Step::Ask(target) => self.agenda.after(DELAY, Event::Asked(number, target)),
            Step::Wait { until } => {
                self.agenda.after(until.since(self.agenda.now()), Event::Step(number))
            }
            Step::Fail(_) => self.over(number, false),
        }
    }

    fn asked(&mut self, number: u64, target: u32) {
        let Some(task) = self.tasks.get(&number) else { return };
        self.asked += 1;
        let reservation = self.asked;
        let demand = task.attempt.request().demand.clone();
        let verdict = self.ground.reserve(self.agenda.now(), target, reservation, &demand);
        let granted = matches!(verdict, Verdict::Granted { .. });
        for value in [number, target.into(), granted.into()] {
            self.trace.add(value);
        }
        if self.rng.unit() < self.load.faults {
            let again = Event::AskedAgain(target, reservation, demand, verdict.clone());
            self.agenda.after(DELAY, again);
        }
        if self.rng.unit() < self.load.faults {
            return self.agenda.after(ANSWERED_WITHIN, Event::Unanswered(number, target));
        }
        if granted {
            self.ground.start(self.agenda.now(), target, reservation);
            let lasts = exponential(&mut self.rng, self.load.task);
            self.agenda.after(lasts, Event::End(reservation));
        }
        self.agenda.after(DELAY, Event::Answered(number, target, verdict));
    }

    fn answered(&mut self, number: u64, target: u32, verdict: &Verdict) {
        let Verdict::Rejected { free, .. } = verdict else { return self.over(number, true) };
        let Some(task) = self.tasks.get_mut(&number) else { return };
        self.refusals += u64::from(self.load.counts(task.arrived));
        let debits = &mut self.debits[task.home as usize];
        task.attempt.rejected(target, free.clone(), debits);
        self.step(number);
    }

    fn over(&mut self, number: u64, placed: bool) {
        let Some(task) = self.tasks.remove(&number) else { return };
        if self.load.counts(task.arrived) {
            self.waits.push(self.agenda.now().since(task.arrived));
            self.failed += u64::from(!placed);
        }
    }

    fn waits(mut self) -> Waits {
        self.waits.sort_unstable();
        let tasks = self.waits.len();
        let sum: Duration = self.waits.iter().sum();
        let at = (tasks * 99 / 100).min(tasks.saturating_sub(1));
        let oversubscribed = self.ground.oversubscribed;
        let (_, broken) = self.ground.close(self.agenda.now());
        Waits {
            tasks: tasks as u64,
            failed: self.failed,
            mean: sum / u32::try_from(tasks.max(1)).unwrap_or(u32::MAX),
            p99: self.waits.get(at).copied().unwrap_or_default(),
            refusals: self.refusals as f64 / tasks.max(1) as f64,
            oversubscribed,
            broken,
            trace: self.trace.value(),
        }
    }
}
