//! What specs may say: every combination of what can be said, and everything that is refused.

use mobula_actors::{Actor, Restart, Shutdown, Spec};
use mobula_supervision::{
    AutoShutdown, ChildInfo, ChildState, SpecError, Strategy, Supervisor, SupervisorSpec, TreeError,
};

use crate::probe::{Bench, Part, Probe, secs};

const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
const AUTO: [AutoShutdown; 3] =
    [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];
const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];

#[derive(Clone, Copy, Debug)]
enum Stop {
    Default,
    Brutal,
    Zero,
    Infinity,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    strategy: Strategy,
    auto: AutoShutdown,
    restart: Restart,
    significant: bool,
    /// `None` for a supervisor, which always has as long as its children need (deviation f).
    stop: Option<Stop>,
}

impl Cell {
    fn child(self, bench: &Bench) -> Spec<Probe> {
        let probe = bench.probe("x").restart(self.restart);
        let probe = if self.significant { probe.significant() } else { probe };
        match self.stop {
            Some(Stop::Brutal) => probe.shutdown_brutal(),
            Some(Stop::Zero) => probe.shutdown(secs(0)),
            Some(Stop::Infinity) => probe.shutdown_infinity(),
            Some(Stop::Default) | None => probe,
        }
    }

    fn below(self, bench: &Bench) -> SupervisorSpec {
        let spec = bench.spec().child("y", bench.probe("y"));
        let spec = match self.restart {
            Restart::Permanent => spec,
            Restart::Transient => spec.transient(),
            Restart::Temporary => spec.temporary(),
        };
        if self.significant { spec.significant() } else { spec }
    }

    fn above(self, bench: &Bench) -> SupervisorSpec {
        bench.spec_of(self.strategy).auto_shutdown(self.auto)
    }

    /// What is wrong with it, by OTP's rules.
    fn refusal(self) -> Option<SpecError> {
        match (self.significant, self.restart, self.auto) {
            (false, ..) => None,
            (_, Restart::Permanent, _) => Some(SpecError::SignificantPermanent("x".into())),
            (_, _, AutoShutdown::Never) => Some(SpecError::SignificantForNothing("x".into())),
            _ => None,
        }
    }

    /// What the running child says of its spec.
    fn check(self, info: &ChildInfo) {
        assert_eq!(info.state, ChildState::Running, "{self:?}");
        assert_eq!(info.is_supervisor, self.stop.is_none(), "{self:?}");
        assert_eq!((info.restart, info.significant), (self.restart, self.significant), "{self:?}");
        let shutdown = match self.stop {
            Some(Stop::Default) => Shutdown::After(secs(5)),
            Some(Stop::Brutal) => Shutdown::Brutal,
            Some(Stop::Zero) => Shutdown::After(secs(0)),
            Some(Stop::Infinity) | None => Shutdown::Infinity,
        };
        assert_eq!(info.shutdown, shutdown, "{self:?}");
    }
}

/// strategy x auto_shutdown x restart x significant x (shutdown of a worker, or a supervisor).
fn matrix() -> Vec<Cell> {
    let mut cells = Vec::new();
    let stops = [Stop::Default, Stop::Brutal, Stop::Zero, Stop::Infinity].map(Some);
    for (strategy, auto) in STRATEGIES.into_iter().flat_map(|one| AUTO.map(|auto| (one, auto))) {
        for (restart, significant) in RESTARTS.into_iter().flat_map(|r| [(r, false), (r, true)]) {
            let stops = stops.into_iter().chain([None]);
            cells.extend(stops.map(|stop| Cell { strategy, auto, restart, significant, stop }));
        }
    }
    cells
}

// The defaults are OTP's.
#[tokio::test(start_paused = true)]
async fn sup_start_map() {
    let bench = Bench::new();
    let spec = Supervisor::spec(Strategy::default()).child("a", bench.probe("a"));
    let spec = spec.child("b", bench.probe("b").shutdown_brutal());
    let spec = spec.supervisor("c", Supervisor::spec(Strategy::OneForOne));
    let tree = bench.supervise(spec).await.unwrap();
    let infos = tree.children().await;
    let told: Vec<_> = infos.iter().map(|info| (info.restart, info.shutdown)).collect();
    let stops = [Shutdown::After(secs(5)), Shutdown::Brutal, Shutdown::Infinity];
    assert_eq!(told, stops.map(|shutdown| (Restart::Permanent, shutdown)));
    let kinds: Vec<_> = infos.iter().map(|info| (info.is_supervisor, info.significant)).collect();
    assert_eq!(kinds, [(false, false), (false, false), (true, false)]);
    assert!(tree.print().await.starts_with("tree  running  one for one, 3 of 3 run"));
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn sup_start_map_simple() {
    let bench = Bench::new();
    let tree = bench.supervise(Supervisor::dynamic(Probe::spec)).await.unwrap();
    tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let [info] = tree.children().await.try_into().unwrap();
    assert_eq!((info.restart, info.shutdown), (Restart::Permanent, Shutdown::After(secs(5))));
    assert!(!info.is_supervisor && !info.significant);
    assert_eq!(tree.count().await.specs, 1);
    tree.stop(secs(60)).await;
}

/// What a spec cannot say, where the types let it be written down at all.
fn faulty(bench: &Bench) -> Vec<(SupervisorSpec, SpecError)> {
    let (spec, probe) = (|| bench.spec(), |id: &str| bench.probe(id));
    let dynamic = || Supervisor::dynamic(|part: Part| Probe::spec(part));
    let auto = || spec().auto_shutdown(AutoShutdown::AnySignificant);
    let name = || "x".to_owned();
    vec![
        (spec().child("x", probe("a")).child("x", probe("b")), SpecError::DuplicateId(name())),
        (spec().child("", probe("a")), SpecError::BadId(String::new())),
        (spec().child("x/y", probe("a")), SpecError::BadId("x/y".into())),
        (spec().supervisor("x/y", spec()), SpecError::BadId("x/y".into())),
        (spec().intensity(1, secs(0)), SpecError::NoPeriod),
        (spec().supervisor("x", auto()), SpecError::PermanentAutoShutdown(name())),
        (spec().supervisor("x", spec().intensity(1, secs(0))), SpecError::NoPeriod),
        (dynamic().child("x", probe("a")), SpecError::DynamicChild(name())),
        (dynamic().auto_shutdown(AutoShutdown::AllSignificant), SpecError::DynamicAutoShutdown),
        (Supervisor::spec(Strategy::Dynamic), SpecError::NoTemplate),
    ]
}

#[tokio::test(start_paused = true)]
async fn sup_start_map_faulty_specs() {
    let bench = Bench::new();
    for (spec, why) in faulty(&bench) {
        // What stands before the fault is not started either.
        let spec = spec.only_if(|| panic!("nothing of it is asked"));
        assert_eq!(bench.supervise(spec).await.unwrap_err(), why.into());
    }
    assert!(bench.log.take().is_empty());
}

// The matrix and the faults, at run time.
#[tokio::test(start_paused = true)]
async fn child_specs() {
    for cell in matrix() {
        let bench = Bench::new();
        let tree = bench.supervise(cell.above(&bench)).await.unwrap();
        let added = match cell.stop {
            Some(_) => tree.spawn("x", cell.child(&bench)).await.map(drop),
            None => tree.spawn_supervisor("x", cell.below(&bench)).await.map(drop),
        };
        let expected = cell.refusal().map_or(Ok(()), |why| Err(TreeError::from(why)));
        assert_eq!(added, expected, "{cell:?}");
        assert_eq!(tree.count().await.specs, usize::from(added.is_ok()), "{cell:?}");
        tree.stop(secs(60)).await;
    }
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    for (spec, why) in faulty(&bench) {
        assert_eq!(tree.spawn_supervisor("s", spec).await.unwrap_err(), why.into());
    }
    let error = tree.spawn("x/y", bench.probe("x")).await.unwrap_err();
    assert_eq!(error, SpecError::BadId("x/y".into()).into());
    assert_eq!(tree.count().await.specs, 0);
    assert!(bench.log.take().is_empty());
}

// OTP's `get_childspec`: what was said of a child can be read back.
#[tokio::test(start_paused = true)]
async fn child_specs_map() {
    for cell in matrix().into_iter().filter(|cell| cell.refusal().is_none()) {
        let bench = Bench::new();
        let tree = bench.supervise(cell.above(&bench)).await.unwrap();
        match cell.stop {
            Some(_) => drop(tree.spawn("x", cell.child(&bench)).await.unwrap()),
            None => drop(tree.spawn_supervisor("x", cell.below(&bench)).await.unwrap()),
        }
        cell.check(&tree.children().await[0]);
        tree.stop(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn sup_flags() {
    let cells = matrix();
    assert_eq!(cells.len(), 270);
    for cell in cells {
        let bench = Bench::new();
        let spec = match cell.stop {
            Some(_) => cell.above(&bench).child("x", cell.child(&bench)),
            None => cell.above(&bench).supervisor("x", cell.below(&bench)),
        };
        match (bench.supervise(spec).await, cell.refusal()) {
            (Ok(tree), None) => {
                cell.check(&tree.children().await[0]);
                tree.stop(secs(60)).await;
            }
            (Err(error), Some(why)) => {
                assert_eq!(error, why.into(), "{cell:?}");
                assert!(bench.log.take().is_empty(), "{cell:?}");
            }
            (built, refusal) => panic!("{cell:?}: {built:?} instead of {refusal:?}"),
        }
    }
    // An intensity of 0 is legal, however long or short the period.
    for period in [std::time::Duration::from_nanos(1), std::time::Duration::MAX] {
        let bench = Bench::new();
        let tree = bench.supervise(bench.spec().intensity(0, period)).await.unwrap();
        tree.stop(secs(60)).await;
    }
}
