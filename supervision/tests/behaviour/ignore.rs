//! Children that say that they are not needed.

use mobula_actors::Restart;
use mobula_supervision::{ChildState, Strategy, TreeError};

use crate::probe::{Begin, Bench, ProbeMsg, child, get, secs};

// sup_start_ignore_child, sup_start_ignore_temporary_child
#[tokio::test(start_paused = true)]
async fn a_static_child_that_is_not_needed_is_kept_without_a_run_unless_it_is_temporary() {
    let bench = Bench::new();
    let ignores = |name| bench.beginning(name, |_| Begin::Ignore);
    let spec = bench.spec().child("a", ignores("a")).child("b", ignores("b").transient());
    let spec = spec.child("c", ignores("c").temporary()).child("d", bench.probe("d"));
    let tree = bench.supervise(spec).await.unwrap();
    let infos = tree.children().await;
    let states: Vec<_> = infos.iter().map(|child| (child.id.as_str(), child.state)).collect();
    let stopped = ChildState::Stopped;
    assert_eq!(states, [("a", stopped), ("b", stopped), ("d", ChildState::Running)]);
    assert_eq!(tree.restart("a").await, Err(TreeError::Ignored("a".into())));
    tree.delete("a").await.unwrap();
    tree.stop(secs(60)).await;
}

// sup_start_ignore_temporary_child_start_child
#[tokio::test(start_paused = true)]
async fn a_child_added_later_that_is_not_needed_is_kept_unless_it_is_temporary() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    for (id, restart) in [("a", Restart::Permanent), ("b", Restart::Temporary)] {
        let probe = bench.beginning(id, |_| Begin::Ignore).restart(restart);
        let error = tree.spawn(id, probe).await.unwrap_err();
        assert_eq!(error, TreeError::Ignored(id.into()));
    }
    let infos = tree.children().await;
    assert_eq!((infos.len(), infos[0].state), (1, ChildState::Stopped));
    tree.stop(secs(60)).await;
}

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
