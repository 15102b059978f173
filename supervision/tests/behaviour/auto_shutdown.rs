//! A supervisor whose significant child ends before it is up.

use mobula_actors::Exit;
use mobula_supervision::{AutoShutdown, TreeError};

use crate::probe::{Bench, secs};

// S-6: the tree was up for a moment, and says so.
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_ends_during_the_start_ends_the_tree_after_it() {
    let bench = Bench::new();
    let slow = bench.beginning("b", |_| crate::probe::Begin::Slow(secs(1)));
    let quick = bench.beginning("a", |_| crate::probe::Begin::Brief);
    let spec = bench.spec().auto_shutdown(AutoShutdown::AnySignificant);
    let spec = spec.child("a", quick.transient().significant()).child("b", slow);
    let tree = bench.supervise(spec).await.unwrap();
    // It may have ended by now.
    assert!([Exit::Shutdown, Exit::NoProc].contains(&tree.wait().await));
    assert!(bench.log.take().ends_with(&["b stopped".into(), "b gone".into()]));
    assert_eq!(tree.terminate("b").await, Err(TreeError::Stopped));
}
