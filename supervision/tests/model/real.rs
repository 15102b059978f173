//! The real supervisor, driven step by step beside the model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mobula_actors::{Actor, ActorRef, Context, Engine, Exit, Fault as Why, Restart, SpawnError};
use mobula_supervision::{Strategy, Supervisor, SupervisorSpec, Tree, TreeError, supervise};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::time::{Instant, sleep};

use crate::cases::{Begin, ChildSpec, Fault, PERIOD_MS, Spec, Step};
use crate::reference::{End, Model, Run, Sup};

const MOMENT: Duration = Duration::from_millis(1);

/// What has happened, and how often each actor was started.
#[derive(Clone, Default)]
struct World(Arc<Mutex<(Vec<String>, HashMap<String, usize>)>>);

impl World {
    fn note(&self, mark: char, path: &str) {
        self.0.lock().unwrap().0.push(format!("{mark}{path}"));
    }

    fn begin(&self, part: &Part) -> Begin {
        let mut world = self.0.lock().unwrap();
        let tries = world.1.entry(part.path.clone()).or_default();
        *tries += 1;
        part.begins.get(*tries - 1).copied().unwrap_or(Begin::Up)
    }
}

#[derive(Clone)]
struct Part {
    path: String,
    begins: Vec<Begin>,
    restart: Restart,
    world: World,
}

struct Puppet(Part);

impl Actor for Puppet {
    type Args = Part;
    type Msg = Option<Exit>;

    async fn start(part: Part, ctx: &mut Context<Self>) -> Result<Self, Why> {
        let begin = part.world.begin(&part);
        part.world.note(begin.mark(), &part.path);
        match begin {
            Begin::Up => Ok(Self(part)),
            Begin::Fail => Err(Why::new("told to fail")),
            Begin::Ignore => Err(ctx.ignore()),
        }
    }

    async fn handle(&mut self, end: Option<Exit>, ctx: &mut Context<Self>) -> Result<(), Why> {
        ctx.stop_with(end.ok_or_else(|| Why::new("told to fail"))?);
        Ok(())
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.0.world.note('-', &self.0.path);
    }
}

impl World {
    fn part(&self, above: &str, child: &ChildSpec) -> Part {
        let (path, begins) = (format!("{above}{}", child.id), child.begins.clone());
        Part { path, begins, restart: child.restart, world: self.clone() }
    }

    fn puppet(&self, above: &str, child: &ChildSpec) -> mobula_actors::Spec<Puppet> {
        let spec = Puppet::spec(self.part(above, child)).restart(child.restart);
        if child.significant { spec.significant() } else { spec }
    }

    fn build(&self, path: &str, spec: &Spec) -> SupervisorSpec {
        let (max, period) = (spec.max as u32, Duration::from_millis(PERIOD_MS));
        if spec.strategy == Strategy::Dynamic {
            let template = |part: Part| Puppet::spec(part.clone()).restart(part.restart);
            return Supervisor::dynamic(template).intensity(max, period);
        }
        let empty = Supervisor::spec(spec.strategy).intensity(max, period).auto_shutdown(spec.auto);
        spec.children.iter().fold(empty, |built, child| {
            let Some(below) = &child.below else {
                return built.child(&child.id, self.puppet(path, child));
            };
            let below = self.build(&format!("{path}{}/", child.id), below);
            let below = match child.restart {
                Restart::Permanent => below,
                Restart::Transient => below.transient(),
                Restart::Temporary => below.temporary(),
            };
            built.supervisor(&child.id, if child.significant { below.significant() } else { below })
        })
    }
}

struct Both {
    world: World,
    tree: Tree,
    model: Model,
    root: Sup,
    /// Children that are known by reference only.
    dynamic: HashMap<String, ActorRef<Option<Exit>>>,
}

pub(crate) fn compare(spec: &Spec, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(spec, steps))
}

async fn run(spec: &Spec, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (world, mut model, begun) = (World::default(), Model::default(), Instant::now());
    let engine = Engine::new(1, tokio::runtime::Handle::current());
    let started = supervise(&engine, Arc::new(engine.clone()), world.build("", spec)).await;
    let root = model.start_sup(String::new(), spec);
    same(&world, &mut model, "the start")?;
    prop_assert_eq!(started.is_ok(), root.is_some());
    let (Ok(tree), Some(root)) = (started, root) else { return Ok(()) };
    let wait = tokio::spawn({
        let tree = tree.clone();
        async move { tree.wait().await }
    });
    sleep(MOMENT).await;
    let mut both = Both { world, tree, model, root, dynamic: HashMap::new() };
    for (number, step) in steps.into_iter().enumerate() {
        both.model.now = begun.elapsed().as_millis() as u64;
        let text = format!("step {number}, {step:?}");
        let ended = both.step(step, number).await?;
        sleep(MOMENT).await;
        same(&both.world, &mut both.model, &text)?;
        prop_assert_eq!(wait.is_finished(), ended.is_some(), "the tree after {}", text);
        if let Some(end) = ended {
            let exit = if end == End::Abnormal { Exit::MaxIntensity } else { Exit::Shutdown };
            prop_assert_eq!(wait.await.unwrap(), exit);
            return Ok(());
        }
    }
    both.model.stop_children(&mut both.root, 0);
    both.tree.stop(Duration::from_secs(60)).await;
    same(&both.world, &mut both.model, "the stop")
}

impl Both {
    async fn step(&mut self, step: Step, number: usize) -> Result<Option<End>, TestCaseError> {
        match step {
            Step::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            Step::Fault(at, how) => return Ok(self.fault(at, how)),
            Step::Spawn(at, child) => self.spawn(at, child, number).await?,
            Step::Ask(at, verb) => self.ask(at, verb).await?,
        }
        Ok(None)
    }

    fn fault(&mut self, at: usize, how: Fault) -> Option<End> {
        let children = children(&self.root);
        let running: Vec<_> = children.into_iter().filter(|(_, _, runs)| *runs).collect();
        let (sup, id, _) = running.get(at % running.len().max(1))?;
        let path = format!("{sup}{id}");
        let known = self.dynamic.get(&path).cloned();
        let actor = known.or_else(|| self.tree.child(&path)).unwrap();
        match how {
            Fault::Fail => actor.cast(None).unwrap(),
            Fault::Kill => actor.kill(),
            Fault::Normal => actor.cast(Some(Exit::Normal)).unwrap(),
            Fault::Shutdown => actor.cast(Some(Exit::Shutdown)).unwrap(),
        }
        let abnormal = matches!(how, Fault::Fail | Fault::Kill);
        let end = if abnormal { End::Abnormal } else { End::Orderly };
        self.model.fault(&mut self.root, &path, end)
    }

    async fn ask(&mut self, at: usize, verb: &str) -> Result<(), TestCaseError> {
        let children = children(&self.root);
        let Some((sup, id, _)) = children.get(at % children.len().max(1)) else { return Ok(()) };
        let tree = self.below(sup);
        let answer = match (self.dynamic.get(&format!("{sup}{id}")), verb) {
            (Some(reference), "terminate") => tree.end_child(reference).await,
            (Some(_), _) => return Ok(()),
            (None, "terminate") => tree.terminate(id).await,
            (None, "restart") => tree.restart(id).await,
            (None, _) => tree.delete(id).await,
        };
        let sup = find(&mut self.root, sup).unwrap();
        prop_assert_eq!(text(answer), self.model.ask(sup, id, verb));
        Ok(())
    }

    async fn spawn(
        &mut self,
        at: usize,
        mut child: ChildSpec,
        number: usize,
    ) -> Result<(), TestCaseError> {
        let mut paths = vec![String::new()];
        paths.extend(children(&self.root).into_iter().map(|(sup, _, _)| sup));
        let path = &paths[at % paths.len()];
        let tree = self.below(path);
        let sup = find(&mut self.root, path).unwrap();
        let is_dynamic = sup.spec.strategy == Strategy::Dynamic;
        // Now and then an id that is there already.
        child.id = if is_dynamic { format!("d{number}") } else { format!("c{}", at % 6) };
        child.significant = false;
        let answer = if is_dynamic {
            let part = self.world.part(path, &child);
            let path = part.path.clone();
            let started = tree.start_child::<Puppet>(part).await;
            started.map(|reference| drop(self.dynamic.insert(path, reference)))
        } else {
            tree.spawn(&child.id, self.world.puppet(path, &child)).await.map(drop)
        };
        prop_assert_eq!(text(answer), self.model.spawn(sup, child));
        Ok(())
    }

    fn below(&self, sup: &str) -> Tree {
        let below = sup.strip_suffix('/').map(|path| self.tree.below(path).unwrap());
        below.unwrap_or_else(|| self.tree.clone())
    }
}

/// All children: their supervisor's path, their id, and whether they are actors that run. An empty
/// supervisor stands in the list by itself.
fn children(sup: &Sup) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for child in &sup.children {
        let runs = matches!(child.run, Some(Run::Actor));
        found.push((sup.path.clone(), child.spec.id.clone(), runs));
        if let Some(Run::Sup(below)) = &child.run {
            found.extend(children(below));
            found.push((below.path.clone(), "nobody".into(), false));
        }
    }
    found
}

fn find<'a>(sup: &'a mut Sup, path: &str) -> Option<&'a mut Sup> {
    if sup.path == path {
        return Some(sup);
    }
    sup.children.iter_mut().find_map(|child| match &mut child.run {
        Some(Run::Sup(below)) => find(below, path),
        _ => None,
    })
}

fn text(answer: Result<(), TreeError>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(TreeError::AlreadyStarted(_)) => "started",
        Err(TreeError::AlreadyPresent(_)) => "present",
        // The only id that the model does not know is one that a dynamic supervisor is asked for.
        Err(TreeError::Unknown(_) | TreeError::Dynamic) => "unknown",
        Err(TreeError::Running(_)) => "running",
        Err(TreeError::Ignored(_)) => "ignored",
        Err(TreeError::Start(SpawnError::Start(Exit::InitFailed(_)))) => "failed",
        Err(_) => "another error",
    }
}

fn same(world: &World, model: &mut Model, step: &str) -> Result<(), TestCaseError> {
    let real = std::mem::take(&mut world.0.lock().unwrap().0);
    prop_assert_eq!(sorted(real), sorted(std::mem::take(&mut model.log)), "after {}", step);
    Ok(())
}

/// Dynamic children, `d…`, end together in no order: neighbours of one supervisor are sorted.
fn sorted(mut log: Vec<String>) -> Vec<String> {
    let above = |line: &String| match line.rsplit_once('/').unwrap_or_else(|| line.split_at(1)) {
        (above, id) if above.starts_with('-') && id.starts_with('d') => Some(above.to_owned()),
        _ => None,
    };
    log.chunk_by_mut(|a, b| above(a).is_some() && above(a) == above(b)).for_each(<[_]>::sort);
    log
}
