//! Children that say that they are not needed.

use mobula_supervision::{ChildState, Strategy};

use crate::probe::{Begin, Bench, ProbeMsg, child, get, secs};

// A restart that is not needed counts once and leaves the child without a run.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_not_needed_at_its_restart_stays_without_a_run() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let bench = Bench::new();
        let begin = |epoch| if epoch == 2 { Begin::Ignore } else { Begin::Up };
        let spec = bench.spec_of(strategy).intensity(1, secs(5));
        let spec = spec.child("a", bench.beginning("a", begin)).child("b", bench.probe("b"));
        let tree = bench.supervise(spec).await.unwrap();
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        let own = if strategy == Strategy::OneForOne { 1 } else { 2 };
        loop {
            let infos = tree.children().await;
            if infos[0].epoch.0 == 2 && infos[1].epoch.0 == own {
                let settled = infos[1].state == ChildState::Running;
                if settled && infos[0].state == ChildState::Stopped {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        tree.restart("a").await.unwrap();
        assert_eq!(get(&tree, "a").await.0, 3);
        tree.stop(secs(60)).await;
    }
}
