//! Every end of a child under every rule, and what follows: OTP's rules as one table.

use mobula_actors::{Exit, Fault, Restart};
use mobula_supervision::{AutoShutdown, ChildState, Strategy};

use crate::probe::{Bench, ProbeMsg, child, secs};

const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
const AUTO: [AutoShutdown; 3] =
    [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];
const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];

#[derive(Clone, Debug)]
struct Case {
    strategy: Strategy,
    auto: AutoShutdown,
    restart: Restart,
    significant: bool,
    exit: Exit,
}

/// The runs of the children `a`, `x` (the one that ends), and `z` afterwards; 0 for a child that is
/// kept without a run, `None` for one that is not kept. Or the tree ends.
#[derive(Debug, PartialEq)]
enum Outcome {
    Runs([Option<u64>; 3]),
    ShutDown,
}

fn exits() -> [Exit; 6] {
    [
        Exit::Normal,
        Exit::Shutdown,
        Exit::ShutdownWith("done".into()),
        Exit::Panicked("told to panic".into()),
        Exit::Failed(Fault::new("told to fail")),
        Exit::Killed,
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (strategy, auto) in STRATEGIES.into_iter().flat_map(|one| AUTO.map(|auto| (one, auto))) {
        for (restart, significant) in RESTARTS.into_iter().flat_map(|r| [(r, false), (r, true)]) {
            let for_nothing = restart == Restart::Permanent || auto == AutoShutdown::Never;
            if !(significant && for_nothing) {
                let case = |exit| Case { strategy, auto, restart, significant, exit };
                cases.extend(exits().map(case));
            }
        }
    }
    cases
}

impl Case {
    fn expected(&self) -> Outcome {
        let again = match self.restart {
            Restart::Permanent => true,
            Restart::Transient => self.exit.is_abnormal(),
            Restart::Temporary => false,
        };
        match (again, self.strategy) {
            (true, Strategy::OneForAll) => Outcome::Runs([Some(2), Some(2), Some(2)]),
            (true, Strategy::RestForOne) => Outcome::Runs([Some(1), Some(2), Some(2)]),
            (true, _) => Outcome::Runs([Some(1), Some(2), Some(1)]),
            (false, _) if self.significant => Outcome::ShutDown,
            (false, _) if self.restart == Restart::Temporary => {
                Outcome::Runs([Some(1), None, Some(1)])
            }
            (false, _) => Outcome::Runs([Some(1), Some(0), Some(1)]),
        }
    }

    async fn outcome(&self) -> Outcome {
        let mut bench = Bench::new();
        let x = bench.probe("x").restart(self.restart);
        let x = if self.significant { x.significant() } else { x };
        let spec = bench.spec_of(self.strategy).auto_shutdown(self.auto).intensity(1, secs(5));
        let spec = spec.child("a", bench.probe("a")).child("x", x).child("z", bench.probe("z"));
        let tree = bench.supervise(spec).await.unwrap();
        let x = child(&tree, "x");
        match &self.exit {
            Exit::Killed => x.kill(),
            Exit::Panicked(_) => x.cast(ProbeMsg::Panic).unwrap(),
            Exit::Failed(_) => x.cast(ProbeMsg::Fail).unwrap(),
            other => x.cast(ProbeMsg::End(other.clone())).unwrap(),
        }
        assert_eq!(bench.ended("x").await, self.exit, "{self:?}");
        // Time is paused: it moves when there is nothing left to do.
        tokio::time::sleep(secs(1)).await;
        let infos = tree.children().await;
        if infos.is_empty() {
            return Outcome::ShutDown;
        }
        let runs = ["a", "x", "z"].map(|id| {
            let info = infos.iter().find(|info| info.id == id)?;
            Some(if info.state == ChildState::Running { info.epoch.0 } else { 0 })
        });
        tree.stop(secs(60)).await;
        Outcome::Runs(runs)
    }
}

// S-2, S-3, S-6, SG-1
#[tokio::test(start_paused = true)]
async fn every_end_has_the_outcome_that_the_rules_say() {
    let cases = cases();
    assert_eq!(cases.len(), 234);
    for case in cases {
        assert_eq!(case.outcome().await, case.expected(), "{case:?}");
    }
}
