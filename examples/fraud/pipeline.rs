//! Runs the pipeline: starts its actors, kills two nodes on the way, and gathers what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mobula::placement::host;
use mobula::prelude::*;
use mobula::supervision::{ChildState, Event, SuperviseError, TreeError};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::chaos::{self, Tally};
use crate::crew::{Crew, CrewError, FRONT};
use crate::flags::Flags;
use crate::input::Input;
use crate::messages::{Counted, PartitionMsg, SinkMsg, SourceMsg};
use crate::partition::{self, Partition};
use crate::progress::Progress;
use crate::report::{Killed, Placed};
use crate::scorer::{self, Scorer};
use crate::sink::{self, Sink};
use crate::source::{self, News, Source};

/// Where in the stream nodes are killed unless a seed draws the points.
const KILL_POINTS: [f64; 2] = [0.4, 0.7];
/// How much of the nodes that are left when one is dead the actors take.
const LOAD: f64 = 0.5;
/// How long an end may take after the last event was sent.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How long no news may come before an idle pipeline is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long the actors may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What ends a run.
#[derive(Debug, Error)]
pub enum PipelineError {
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error("the supervisor did not start: {0}")]
    Supervisor(#[from] SuperviseError),
    #[error("an actor did not start: {0}")]
    Child(#[from] TreeError),
    #[error("an actor did not answer: {0}")]
    Call(#[from] CallError),
    #[error("an actor refused: {0}")]
    Refused(#[from] Why),
    #[error("a node could not be killed: {0}")]
    Kill(#[from] io::Error),
    #[error("no node but the first one has {0}, so none can be killed")]
    NothingToKill(&'static str),
    #[error("the source ended before the stream did")]
    SourceEnded,
}

/// What a run found.
pub struct Outcome {
    pub counted: Counted,
    pub took: Duration,
    /// Halves that the partitions applied.
    pub applied: u64,
    pub killed: Vec<Killed>,
    pub chaos: Option<Tally>,
    pub placement: Vec<Placed>,
}

/// The actors of a run, and what is known of it.
struct Pipeline {
    tree: Tree,
    source: ActorRef<SourceMsg>,
    sink: ActorRef<SinkMsg>,
    partitions: Vec<ActorRef<PartitionMsg>>,
    news: mpsc::UnboundedReceiver<News>,
    progress: Progress,
    /// The source stands where it was told to hold.
    holding: bool,
}

/// Runs `input` through a pipeline on `crew`.
pub async fn run(
    flags: &Flags,
    input: Arc<Input>,
    crew: &mut Crew,
) -> Result<Outcome, PipelineError> {
    let events = input.len();
    let points = kill_points(flags, events);
    let began = Instant::now();
    let hold_at = points.first().copied().unwrap_or(u64::MAX);
    let mut pipeline = Pipeline::start(flags, input, crew, began, hold_at).await?;
    let placement = pipeline.placement(crew).await;
    pipeline.progress.placed(&placement);
    let sink = pipeline.sink.clone();
    let counting = tokio::spawn(async move { sink.call(SinkMsg::Finish).within(PATIENCE).await });
    let begun = Instant::now();
    let partitions = pipeline.partitions.clone();
    pipeline.source.send(SourceMsg::Begin(partitions)).await.map_err(|refused| refused.why)?;
    let mut killed = Vec::new();
    for (kill, _) in points.iter().enumerate() {
        let next = points.get(kill + 1).copied().unwrap_or(u64::MAX);
        killed.push(pipeline.kill(kill, next, crew).await?);
    }
    let until = flags.chaos.map(|seconds| begun + Duration::from_secs(seconds));
    let (progress, seed) = (pipeline.progress.clone(), flags.kill_seed.unwrap_or(flags.seed));
    let chaos = async {
        let Some(until) = until else { return Ok(None) };
        chaos::run(crew, until, seed, &progress).await.map(Some).map_err(PipelineError::from)
    };
    let (counted, chaos) = tokio::try_join!(pipeline.finish(counting), chaos)?;
    let took = begun.elapsed();
    let mut applied = 0;
    for partition in &pipeline.partitions {
        applied += partition.call(PartitionMsg::Applied).await?;
    }
    pipeline.progress.finish();
    pipeline.tree.stop(STOP_WITHIN).await;
    Ok(Outcome { counted, took, applied, killed, chaos, placement })
}

impl Pipeline {
    async fn start(
        flags: &Flags,
        input: Arc<Input>,
        crew: &Crew,
        began: Instant,
        hold_at: u64,
    ) -> Result<Self, PipelineError> {
        let progress = Progress::new(input.len(), crew.nodes(), flags.json);
        let tree = crew.first.supervise(supervisor(&progress)).await?;
        let (events, partitions) = (input.len(), flags.partitions);
        let (told, news) = mpsc::unbounded_channel();
        let rate = flags.rate().map(|rate| rate as f64);
        let args = source::Args { input, partitions, rate, hold_at, began, news: told };
        let source = tree.spawn("source", Source::spec(args).temporary()).await?;
        let args = sink::Args { events, source: source.clone(), began };
        let sink = tree.spawn("sink", Sink::spec(args).temporary()).await?;
        let demand = demand(crew.nodes(), flags.partitions);
        let args = scorer::Args { events, source: source.clone(), sink: sink.clone() };
        let mut apart = demand.clone();
        if crew.nodes() > 1 {
            apart = apart.without_label(FRONT);
        }
        let scorer = tree.spawn("scorer", Scorer::spec(args).needs(apart).anywhere()).await?;
        let mut lines = Vec::new();
        for number in 0..partitions {
            let args = partition::Args { number, source: source.clone(), scorer: scorer.clone() };
            let spec = Partition::spec(args).needs(demand.clone()).anywhere();
            lines.push(tree.spawn(format!("p{number}"), spec).await?);
        }
        sink.send(SinkMsg::Begin(scorer)).await.map_err(|refused| refused.why)?;
        Ok(Self { tree, source, sink, partitions: lines, news, progress, holding: false })
    }

    /// Which actors run on which node.
    async fn placement(&self, crew: &Crew) -> Vec<Placed> {
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for child in self.tree.children().await {
            let node = child.node.map_or_else(|| "node-1".into(), |node| crew.name(node));
            nodes.entry(node).or_default().push(child.id);
        }
        nodes.into_iter().map(|(node, actors)| Placed { node, actors }).collect()
    }

    /// Waits for the stream to reach the kill point, kills a node, waits until what it had works
    /// again, and brings the node back. `next` is where the source holds after that.
    async fn kill(
        &mut self,
        kill: usize,
        next: u64,
        crew: &mut Crew,
    ) -> Result<Killed, PipelineError> {
        while !self.holding {
            match self.news.recv().await.ok_or(PipelineError::SourceEnded)? {
                News::Holding => self.holding = true,
                other => self.progress.news(&other),
            }
        }
        // The source goes on once the node is dead; it says so when it stands again.
        self.holding = false;
        let (node, lost) = self.victim(kill, crew).await?;
        let sent_again = self.source.call(SourceMsg::Replayed).await?;
        let name = crew.name(node);
        self.progress.say(format!("killing {name}, which has {}", names(&lost)));
        let killed_at = Instant::now();
        crew.kill(node).await?;
        self.progress.alive(crew.nodes() - 1);
        self.source.send(SourceMsg::HoldAt(next)).await.map_err(|refused| refused.why)?;
        let recovered = self.recovered(lost.clone()).await?;
        let recovery = recovered.duration_since(killed_at);
        self.progress.say(format!("{name}'s actors work again after {} ms", recovery.as_millis()));
        if next != u64::MAX {
            let wait = crew.revive(node).await?;
            self.progress.alive(crew.nodes());
            self.progress
                .say(format!("{name} is back and hosts again after {} ms", wait.as_millis()));
        }
        let halves = self.source.call(SourceMsg::Replayed).await? - sent_again;
        Ok(Killed {
            node: name,
            actors: lost.into_keys().collect(),
            recovery_ms: recovery.as_secs_f64() * 1e3,
            replayed: halves.div_ceil(2),
        })
    }

    /// The node to kill, and its actors with their runs: first one with partitions, then the one
    /// with the scorer.
    async fn victim(
        &self,
        kill: usize,
        crew: &Crew,
    ) -> Result<(NodeId, BTreeMap<String, Epoch>), PipelineError> {
        let children = self.tree.children().await;
        let wanted = |id: &str| if kill == 0 { id.starts_with('p') } else { id == "scorer" };
        let node = children
            .iter()
            .filter(|child| wanted(&child.id))
            .filter_map(|child| child.node)
            .find(|node| crew.can_kill(*node))
            .ok_or(PipelineError::NothingToKill(if kill == 0 {
                "partitions"
            } else {
                "the scorer"
            }))?;
        let there = children.into_iter().filter(|child| child.node == Some(node));
        Ok((node, there.map(|child| (child.id, child.epoch)).collect()))
    }

    /// When the last of the lost actors had processed an event in a newer run. One for which the
    /// stream has no event before it holds counts when it runs again.
    async fn recovered(
        &mut self,
        mut lost: BTreeMap<String, Epoch>,
    ) -> Result<Instant, PipelineError> {
        while !lost.is_empty() {
            let Ok(news) = tokio::time::timeout(LOOK_AGAIN, self.news.recv()).await else {
                if self.holding {
                    self.drop_running(&mut lost).await;
                }
                continue;
            };
            match news.ok_or(PipelineError::SourceEnded)? {
                News::Working { actor, epoch } => {
                    if lost.get(&actor).is_some_and(|old| epoch > *old) {
                        lost.remove(&actor);
                    }
                }
                News::Holding => self.holding = true,
                other => self.progress.news(&other),
            }
        }
        Ok(Instant::now())
    }

    /// Takes out the actors that run again: nothing is left for them to process.
    async fn drop_running(&self, lost: &mut BTreeMap<String, Epoch>) {
        for child in self.tree.children().await {
            let again = lost.get(&child.id).is_some_and(|old| child.epoch > *old);
            if again && child.state == ChildState::Running {
                lost.remove(&child.id);
            }
        }
    }

    async fn finish(
        &mut self,
        mut counting: tokio::task::JoinHandle<Result<Counted, CallError>>,
    ) -> Result<Counted, PipelineError> {
        loop {
            tokio::select! {
                counted = &mut counting => {
                    return Ok(counted.map_err(io::Error::other)??);
                }
                news = self.news.recv() => {
                    self.progress.news(&news.ok_or(PipelineError::SourceEnded)?);
                }
            }
        }
    }
}

fn supervisor(progress: &Progress) -> mobula::supervision::SupervisorSpec {
    let progress = progress.clone();
    let starts = Arc::new(Mutex::new(BTreeSet::new()));
    Supervisor::spec(Strategy::OneForOne).on_event(Arc::new(move |event: &Event| {
        // First starts are in the table of placements.
        let mut starts = starts.lock().unwrap_or_else(PoisonError::into_inner);
        let first = matches!(event, Event::Started { id, .. } if starts.insert(id.clone()));
        if !first {
            progress.supervision(event);
        }
    }))
}

/// What one actor asks for: all of them together fit on the nodes that are left when one is dead.
fn demand(nodes: usize, partitions: u16) -> Demand {
    let share = host::detect().share(u32::try_from(nodes).unwrap_or(u32::MAX));
    let left = nodes.saturating_sub(1).max(1) as f64;
    let cores = f64::from(share.cpu_milli) / 1_000.0 * left * LOAD / f64::from(partitions + 1);
    // Few actors on many nodes: none may ask for more than one node has.
    let most = f64::from(share.cpu_milli) / 1_000.0 * LOAD;
    Demand::cpu(cores.min(most) as f32)
}

/// The indexes at which nodes are killed.
fn kill_points(flags: &Flags, events: u64) -> Vec<u64> {
    if flags.no_kill || flags.chaos.is_some() {
        return Vec::new();
    }
    let mut points = KILL_POINTS;
    if let Some(seed) = flags.kill_seed {
        let mut rng = mobula::machine::Rng::new(seed);
        points = [0.2 + 0.35 * rng.unit(), 0.6 + 0.3 * rng.unit()];
    }
    points.iter().map(|point| (events as f64 * point) as u64).collect()
}

fn names(actors: &BTreeMap<String, Epoch>) -> String {
    actors.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}
