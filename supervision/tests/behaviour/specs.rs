//! What a spec may say: every combination of what can be said.

use mobula_actors::Restart;
use mobula_supervision::{
    AutoShutdown, ChildState, SpecError, Strategy, SupervisorSpec, TreeError,
};

use crate::probe::{Bench, Probe, secs};

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
    fn child(self, bench: &Bench) -> mobula_actors::Spec<Probe> {
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
}

fn matrix() -> Vec<Cell> {
    let mut cells = Vec::new();
    let stops = [Stop::Default, Stop::Brutal, Stop::Zero, Stop::Infinity].map(Some);
    for strategy in STRATEGIES {
        for auto in AUTO {
            for restart in RESTARTS {
                for significant in [false, true] {
                    let stops = stops.into_iter().chain([None]);
                    cells.extend(stops.map(|stop| Cell {
                        strategy,
                        auto,
                        restart,
                        significant,
                        stop,
                    }));
                }
            }
        }
    }
    cells
}

// sup_flags, sup_start_map, sup_start_map_faulty_specs: 270 cells when a tree is built
#[tokio::test(start_paused = true)]
async fn a_tree_is_built_of_every_spec_that_does_not_contradict_itself() {
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
                let infos = tree.children().await;
                assert_eq!(infos[0].state, ChildState::Running, "{cell:?}");
                assert_eq!(infos[0].is_supervisor, cell.stop.is_none(), "{cell:?}");
                tree.stop(secs(60)).await;
            }
            (Err(error), Some(why)) => {
                assert_eq!(error, why.into(), "{cell:?}");
                assert!(bench.log.take().is_empty(), "{cell:?}");
            }
            (built, refusal) => panic!("{cell:?}: {built:?} instead of {refusal:?}"),
        }
    }
}

// child_specs, child_specs_map: the same 270 cells at run time
#[tokio::test(start_paused = true)]
async fn a_child_is_added_of_every_spec_that_does_not_contradict_itself() {
    for cell in matrix() {
        let bench = Bench::new();
        let tree = bench.supervise(cell.above(&bench)).await.unwrap();
        let added = match cell.stop {
            Some(_) => tree.spawn("x", cell.child(&bench)).await.map(drop),
            None => tree.spawn_supervisor("x", cell.below(&bench)).await.map(drop),
        };
        assert_eq!(
            added,
            cell.refusal().map_or(Ok(()), |why| Err(TreeError::from(why))),
            "{cell:?}"
        );
        assert_eq!(tree.count().await.specs, usize::from(added.is_ok()), "{cell:?}");
        tree.stop(secs(60)).await;
    }
}

// sup_flags: an intensity of 0 is legal, a period of 0 is not
#[tokio::test(start_paused = true)]
async fn an_intensity_may_be_zero_and_a_period_may_not() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().intensity(0, secs(1))).await.unwrap();
    tree.stop(secs(60)).await;
    let error = bench.supervise(bench.spec().intensity(1, secs(0))).await.unwrap_err();
    assert_eq!(error, SpecError::NoPeriod.into());
}

// sup_start_ignore_temporary_child_start_child and count_children, count_children_supervisor
#[tokio::test(start_paused = true)]
async fn children_are_counted_by_what_they_are_and_whether_they_run() {
    let bench = Bench::new();
    let below = bench.spec().child("y", bench.probe("y"));
    let spec = bench.spec().child("a", bench.probe("a")).child("b", bench.probe("b"));
    let tree = bench.supervise(spec.supervisor("s", below)).await.unwrap();
    tree.terminate("a").await.unwrap();
    let counts = tree.count().await;
    assert_eq!((counts.specs, counts.active), (3, 2));
    assert_eq!((counts.supervisors, counts.workers), (1, 2));
    tree.stop(secs(60)).await;
    assert_eq!(tree.count().await, mobula_supervision::Counts::default());
}
