//! One run: settle, steady, fault, and what the survivors make of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mobula::gossip::Record;
use mobula::machine::Rng;
use mobula::sim::World;

use crate::balance::{self, Balance};
use crate::flags::{Fault, Flags};
use crate::measure::{Detection, Sample, Staleness, count};

/// The cluster must have settled after this long.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// Up to so many nodes join one by one; more start with the table of all.
const JOINING_MAX: u32 = 256;
/// The part of the run before the fault, and the longest that this part takes.
const STEADY: f64 = 0.2;
const STEADY_MAX: Duration = Duration::from_secs(60);
/// A starved process waits at most so long for the processor.
const STARVED_MAX: Duration = Duration::from_secs(3);
/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// So many nodes are asked for the ages of their rows at each look.
const SAMPLED_NODES: u32 = 64;

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    pub trace: u64,
    pub settled_s: f64,
    /// From the fault until all survivors agreed; nothing when they did not.
    pub agreed_s: Option<f64>,
    pub false_dead: u64,
    pub detection_p99_s: Option<f64>,
    pub staleness: Staleness,
    pub bytes_per_node_s: f64,
    pub wall_s: f64,
    pub samples: Vec<Sample>,
    /// When the fault came, on the scale of the samples.
    pub fault_s: f64,
    pub balance: Balance,
}

/// Runs what `flags` ask for.
///
/// # Errors
/// The cluster did not settle.
pub fn run(flags: &Flags) -> Result<Outcome, String> {
    let wall = Instant::now();
    let mut world = World::new(flags.seed, flags.nodes, flags.config());
    let settled_s = settle(&mut world, flags)?;
    let mut run = Run::new(flags, world);
    let total = Duration::from_secs_f64(flags.minutes * 60.0);
    let steady = total.mul_f64(STEADY).min(STEADY_MAX);
    run.go_on(steady);
    let fault_s = run.elapsed_s();
    run.strike(flags.fault());
    run.go_on(total - steady);
    let bytes = run.world.bytes_sent() - run.bytes_before;
    let agreed_s = run.detection.agreed_s().filter(|_| run.survivors_agree());
    Ok(Outcome {
        trace: run.world.trace(),
        settled_s,
        agreed_s,
        false_dead: run.detection.false_dead(),
        detection_p99_s: run.detection.p99_s(),
        bytes_per_node_s: bytes as f64 / f64::from(flags.nodes) / total.as_secs_f64(),
        balance: balance::measure(&run.world, flags.seed),
        staleness: run.staleness,
        wall_s: wall.elapsed().as_secs_f64(),
        samples: run.samples,
        fault_s,
    })
}

fn settle(world: &mut World, flags: &Flags) -> Result<f64, String> {
    for node in 0..flags.nodes {
        let record = Record { address: node.to_string(), ..balance::record() };
        world.offer(node, record);
    }
    if flags.nodes <= JOINING_MAX {
        world.start_all();
    } else {
        world.start_acquainted();
    }
    let nodes = flags.nodes as usize;
    while count(world, |gossip| gossip.living_count() == nodes) < nodes {
        if world.now().since(mobula::machine::Time(0)) > SETTLE_MAX {
            return Err(format!("{nodes} nodes did not settle within {SETTLE_MAX:?}"));
        }
        world.run_for(LOOK);
        world.take_seen();
    }
    Ok(world.now().0 as f64 / 1e6)
}

struct Run {
    world: World,
    rng: Rng,
    period: Duration,
    began: mobula::machine::Time,
    bytes_before: u64,
    victims: BTreeSet<u32>,
    detection: Detection,
    staleness: Staleness,
    samples: Vec<Sample>,
}

impl Run {
    fn new(flags: &Flags, world: World) -> Self {
        Self {
            rng: Rng::new(flags.seed ^ 0x5CE7_A210),
            period: flags.config().exchange_period,
            began: world.now(),
            bytes_before: world.bytes_sent(),
            victims: BTreeSet::new(),
            detection: Detection::default(),
            staleness: Staleness::default(),
            samples: Vec::new(),
            world,
        }
    }

    fn elapsed_s(&self) -> f64 {
        self.world.now().since(self.began).as_secs_f64()
    }

    fn strike(&mut self, fault: Fault) {
        let nodes = self.world.running().count() as u32;
        let mut drawn = BTreeSet::new();
        while drawn.len() < fault.victims() as usize {
            drawn.insert(self.rng.below(nodes.into()) as u32);
        }
        for &victim in &drawn {
            match fault {
                Fault::Kill(_) => self.world.crash(victim),
                Fault::Cut(_) => self.world.isolate(victim),
                Fault::Starve(_) => self.world.starve(victim, STARVED_MAX),
                Fault::None => {}
            }
        }
        // Whoever is starved lives: each verdict against it is a false one.
        self.victims = if matches!(fault, Fault::Starve(_)) { BTreeSet::new() } else { drawn };
        self.detection.begin(self.world.now(), nodes, &self.victims);
    }

    fn go_on(&mut self, time: Duration) {
        let end = self.world.now().after(time);
        while self.world.now() < end {
            let before = self.world.bytes_sent();
            self.world.run_for(LOOK.min(end.since(self.world.now())));
            for seen in self.world.take_seen() {
                self.detection.see(&seen, &self.victims);
            }
            self.look(before);
        }
    }

    fn look(&mut self, bytes_before: u64) {
        let nodes = self.world.running().count() as u32;
        for _ in 0..SAMPLED_NODES.min(nodes) {
            let node = self.rng.below(nodes.into()) as u32;
            if !self.victims.contains(&node) {
                self.staleness.look(&self.world, node, self.period, &self.victims);
            }
        }
        let left = nodes as usize - self.victims_running();
        let wanted = left.max(1);
        let agreeing = count_of(&self.world, &self.victims, wanted);
        let bytes = self.world.bytes_sent() - bytes_before;
        self.samples.push(Sample {
            at_s: self.elapsed_s(),
            agreeing: agreeing as f64 / wanted as f64,
            bytes_per_node_s: bytes as f64 / f64::from(nodes.max(1)) / LOOK.as_secs_f64(),
        });
    }

    fn victims_running(&self) -> usize {
        self.victims.iter().filter(|&&victim| self.world.gossip(victim).is_some()).count()
    }

    fn survivors_agree(&self) -> bool {
        let left = self.world.running().count() - self.victims_running();
        count_of(&self.world, &self.victims, left) == left
    }
}

/// How many survivors count exactly `living` living nodes.
fn count_of(world: &World, victims: &BTreeSet<u32>, living: usize) -> usize {
    let survivors = world.running().filter(|node| !victims.contains(node));
    let agrees = |node: &u32| world.gossip(*node).is_some_and(|g| g.living_count() == living);
    survivors.filter(agrees).count()
}
