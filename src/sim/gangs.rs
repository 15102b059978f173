//! Gangs by the thousand under virtual time, on few nodes and all at once, so that they get into
//! each other's way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agenda::Agenda;
use super::ground::{DELAY, DEVICES, Ground, exponential, kinds, request, task_demand};
use super::placing::ANSWERED_WITHIN;
use super::trace::Trace;
use crate::machine::{Rng, Time};
use crate::placement::{Candidate, Debits, Gang, GangStep, Layout, Verdict};

/// Gangs that begin at the same moment.
const BURST: u32 = 8;
/// The smallest and the largest gang.
const MEMBERS: (u64, u64) = (2, 64);

/// A node that dies while it places a gang does so within this time.
const ABANDONED_WITHIN: Duration = Duration::from_millis(20);

/// What is placed, and on what.
#[derive(Clone, Copy, Debug)]
pub struct GangLoad {
    /// Nodes of eight places each.
    pub nodes: u32,
    /// Gangs of 2 to 64 members.
    pub gangs: u64,
    /// The share of all places that is taken on average, if all find their places.
    pub share: f64,
    /// How long a gang runs on average; exponential.
    pub runs: Duration,
    /// How often the view is made anew.
    pub view_age: Duration,
    /// What each gang gives itself.
    pub placed_within: Duration,
    /// The share of gangs that are abandoned while they are placed, and of answers that are lost.
    pub faults: f64,
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub struct GangWaits {
    /// Gangs that were placed, all members of each.
    pub placed: u64,
    /// Gangs that found no places in time, and hold none.
    pub failed: u64,
    /// Gangs whose node died while it placed them.
    pub abandoned: u64,
    /// Gangs to which none of this happened: deadlocked.
    pub stuck: u64,
    /// Reservations that are held at the end, when nothing runs any more.
    pub left: usize,
    /// The first thing in which the books of a node were not what was counted beside them.
    pub broken: Option<String>,
    /// Rounds of reservations that a gang gave up, on average.
    pub given_up: f64,
    /// From the arrival of a gang to its last grant, on average, of those that were placed.
    pub mean: Duration,
    /// Times at which a device had more on it than there is of it.
    pub oversubscribed: u64,
    /// The same for the same load and seed.
    pub trace: u64,
}

impl GangLoad {
    /// Runs it.
    #[must_use]
    pub fn run(self, seed: u64) -> GangWaits {
        let kinds = kinds();
        let mut world = Gangs::new(self, seed, &kinds);
        while let Some(event) = world.agenda.next() {
            world.handle(event);
        }
        world.waits()
    }
}

enum Event {
    Arrive,
    Refresh,
    Step(u64),
    /// A question reaches its target under this number.
    Asked(u64, u32, u128),
    Answered(u64, Verdict),
    /// No answer came in time to the question under this number.
    Unanswered(u64, u128),
    /// The node that places it dies.
    Abandon(u64),
    /// What is given up, or has ended.
    Release(Vec<u128>),
    Start(Vec<(u32, u128)>),
}

struct Placing {
    gang: Gang<u32>,
    arrived: Time,
    /// What each member was asked for under.
    asked: BTreeMap<usize, u128>,
}

struct Gangs<'a> {
    load: GangLoad,
    agenda: Agenda<Event>,
    ground: Ground,
    view: Vec<Candidate<'a, u32>>,
    kinds: &'a [String],
    /// One chooser places all: the others' gangs are as far from it as its own.
    debits: Debits<u32>,
    rng: Rng,
    placing: BTreeMap<u64, Placing>,
    arrived: u64,
    numbers: u128,
    placed: u64,
    failed: u64,
    abandoned: u64,
    given_up: u64,
    waited: Duration,
    trace: Trace,
}

impl<'a> Gangs<'a> {
    fn new(load: GangLoad, seed: u64, kinds: &'a [String]) -> Self {
        let ground = Ground::new(load.nodes);
        let mut world = Self {
            load,
            agenda: Agenda::default(),
            view: ground.view(kinds),
            ground,
            kinds,
            debits: Debits::default(),
            rng: Rng::new(seed),
            placing: BTreeMap::new(),
            arrived: 0,
            numbers: 0,
            placed: 0,
            failed: 0,
            abandoned: 0,
            given_up: 0,
            waited: Duration::ZERO,
            trace: Trace::new(),
        };
        world.agenda.after(Duration::ZERO, Event::Arrive);
        world.agenda.after(load.view_age, Event::Refresh);
        world
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Refresh => {
                self.view = self.ground.view(self.kinds);
                if self.arrived < self.load.gangs || !self.placing.is_empty() {
                    self.agenda.after(self.load.view_age, Event::Refresh);
                }
            }
            Event::Step(number) => self.step(number),
            Event::Asked(number, node, id) => self.asked(number, node, id),
            Event::Answered(number, verdict) => self.answered(number, verdict),
            Event::Unanswered(number, id) => self.unanswered(number, id),
            Event::Abandon(number) => {
                self.abandoned += u64::from(self.placing.remove(&number).is_some());
            }
            Event::Release(ids) => {
                ids.into_iter().for_each(|id| self.ground.release(self.agenda.now(), id));
            }
            Event::Start(members) => self.start(&members),
        }
    }

    fn arrive(&mut self) {
        for _ in 0..BURST {
            if self.arrived == self.load.gangs {
                return;
            }
            self.arrived += 1;
            let (layout, members) = self.draw();
            let members = vec![request(task_demand(&mut self.rng)); members];
            let gang = Gang::new(self.agenda.now(), members, layout, self.load.placed_within);
            let placing = Placing { gang, arrived: self.agenda.now(), asked: BTreeMap::new() };
            self.placing.insert(self.arrived, placing);
            if self.rng.unit() < self.load.faults {
                let dies = ABANDONED_WITHIN.mul_f64(self.rng.unit());
                self.agenda.after(dies, Event::Abandon(self.arrived));
            }
            self.step(self.arrived);
        }
        let places = f64::from(self.load.nodes) * DEVICES as f64;
        // Three layouts of 33 members on average, and one of 5.
        let members = f64::from(BURST) * (3.0 * 33.0 + 5.0) / 4.0;
        let pause = self.load.runs.mul_f64(members / (places * self.load.share));
        let pause = exponential(&mut self.rng, pause);
        self.agenda.after(pause, Event::Arrive);
    }

    /// A layout, and how many members; no more on one node than it has places.
    fn draw(&mut self) -> (Layout, usize) {
        let (least, most) = MEMBERS;
        let layouts = [Layout::Pack, Layout::Spread, Layout::StrictSpread, Layout::StrictPack];
        let layout = layouts[self.rng.below(4) as usize];
        let most = if layout == Layout::StrictPack { DEVICES as u64 } else { most };
        (layout, (least + self.rng.below(most - least + 1)) as usize)
    }

    fn step(&mut self, number: u64) {
        loop {
            let Some(placing) = self.placing.get_mut(&number) else { return };
            let gang = &mut placing.gang;
            match gang.next(self.agenda.now(), &self.view, &mut self.debits, &mut self.rng) {
                GangStep::Ask { member, node } => {
                    self.numbers += 1;
                    placing.asked.insert(member, self.numbers);
                    return self.agenda.after(DELAY, Event::Asked(number, node, self.numbers));
                }
                GangStep::Release(those) => {
                    let ids = those.iter().filter_map(|(member, _)| placing.asked.remove(member));
                    let ids = ids.collect();
                    self.given_up += 1;
                    self.agenda.after(DELAY, Event::Release(ids));
                }
                GangStep::Commit(nodes) => {
                    let ids = placing.asked.values().copied();
                    let members = nodes.into_iter().zip(ids).collect();
                    self.placed += 1;
                    self.waited += self.agenda.now().since(placing.arrived);
                    self.placing.remove(&number);
                    return self.agenda.after(DELAY, Event::Start(members));
                }
                GangStep::Wait { until } => {
                    return self.agenda.after(until.since(self.agenda.now()), Event::Step(number));
                }
                GangStep::Fail(_) => {
                    self.failed += 1;
                    self.placing.remove(&number);
                    return;
                }
            }
        }
    }

    fn asked(&mut self, number: u64, node: u32, id: u128) {
        let Some(placing) = self.placing.get(&number) else { return };
        // The members of a gang are alike.
        let demand = placing.gang.members()[0].demand.clone();
        let verdict = self.ground.reserve(self.agenda.now(), node, id, &demand);
        let granted = matches!(verdict, Verdict::Granted { .. });
        for value in [number, node.into(), granted.into()] {
            self.trace.add(value);
        }
        if self.rng.unit() < self.load.faults {
            return self.agenda.after(ANSWERED_WITHIN, Event::Unanswered(number, id));
        }
        self.agenda.after(DELAY, Event::Answered(number, verdict));
    }

    fn unanswered(&mut self, number: u64, id: u128) {
        let Some(placing) = self.placing.get_mut(&number) else { return };
        // It may have been given up meanwhile.
        if placing.asked.values().any(|asked| *asked == id) {
            placing.gang.unanswered();
            self.step(number);
        }
    }

    fn answered(&mut self, number: u64, verdict: Verdict) {
        let Some(placing) = self.placing.get_mut(&number) else { return };
        match verdict {
            Verdict::Granted { .. } => placing.gang.granted(),
            Verdict::Rejected { free, .. } => placing.gang.rejected(free),
        }
        self.step(number);
    }

    fn start(&mut self, members: &[(u32, u128)]) {
        for (node, id) in members {
            assert!(
                self.ground.start(self.agenda.now(), *node, *id),
                "a committed reservation had expired"
            );
        }
        let runs = exponential(&mut self.rng, self.load.runs);
        self.agenda.after(runs, Event::Release(members.iter().map(|(_, id)| *id).collect()));
    }

    fn waits(self) -> GangWaits {
        let placed = u32::try_from(self.placed.max(1)).unwrap_or(u32::MAX);
        let oversubscribed = self.ground.oversubscribed;
        let (left, broken) = self.ground.close(self.agenda.now());
        GangWaits {
            placed: self.placed,
            failed: self.failed,
            abandoned: self.abandoned,
            stuck: self.load.gangs - self.placed - self.failed - self.abandoned,
            left,
            broken,
            given_up: self.given_up as f64 / self.load.gangs.max(1) as f64,
            mean: self.waited / placed,
            oversubscribed,
            trace: self.trace.value(),
        }
    }
}
