//! What is kept of temporary children, and how many there may be.

use std::sync::Arc;

use mobula_actors::{Actor, Context, Exit, Fault, Reply, Restart};
use mobula_supervision::{Strategy, Supervisor, Tree, TreeError};
use tokio::task::JoinSet;

use crate::probe::{Bench, ProbeMsg, child, counts, get, secs, until};

/// Starts under way at a time.
const AT_A_TIME: usize = 64;

/// A child whose arguments can be counted.
#[derive(Clone)]
struct Argument(Arc<()>);

struct Small(Argument);

enum Ask {
    Get(Reply<usize>),
    Fail,
}

impl Actor for Small {
    type Args = Argument;
    type Msg = Ask;

    async fn start(argument: Argument, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(argument))
    }

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> Result<(), Fault> {
        match ask {
            Ask::Get(reply) => reply.send(Arc::strong_count(&self.0.0)),
            Ask::Fail => return Err(Fault::new("told to fail")),
        }
        Ok(())
    }
}

// ME-1, DY-1: its run has the arguments, and nobody else.
#[tokio::test(start_paused = true)]
async fn do_not_save_start_parameters_for_temporary_children() {
    let bench = Bench::new();
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let tree = bench.supervise(bench.spec_of(strategy)).await.unwrap();
        for (id, restart, holders) in [
            ("p", Restart::Permanent, 2),
            ("r", Restart::Transient, 2),
            ("t", Restart::Temporary, 1),
        ] {
            let spec = Small::spec(Argument(Arc::default())).restart(restart);
            let small = tree.spawn(id, spec).await.unwrap();
            assert_eq!(small.call(Ask::Get).await.unwrap(), holders, "{strategy:?} {restart:?}");
        }
        tree.stop(secs(60)).await;
    }
    for (restart, holders) in [(Restart::Permanent, 2), (Restart::Temporary, 1)] {
        let spec = Supervisor::dynamic(move |argument| Small::spec(argument).restart(restart));
        let tree = bench.supervise(spec).await.unwrap();
        let small = tree.start_child::<Small>(Argument(Arc::default())).await.unwrap();
        assert_eq!(small.call(Ask::Get).await.unwrap(), holders, "{restart:?}");
        tree.stop(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn do_not_save_child_specs_for_temporary_children() {
    let exits = [&super::types::abnormal()[..], &[Exit::Normal, Exit::Shutdown]].concat();
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for exit in &exits {
            let mut bench = Bench::new();
            let tree = bench.supervise(bench.spec_of(strategy)).await.unwrap();
            let a = tree.spawn("a", bench.probe("a").temporary()).await.unwrap();
            super::types::end(&a, exit);
            assert_eq!(&bench.ended("a").await, exit);
            assert_eq!(counts(&tree).await, [0, 0, 0, 0]);
            assert!(tree.child::<ProbeMsg>("a").is_none());
            assert_eq!(tree.restart("a").await, Err(TreeError::Unknown("a".into())));
            assert_eq!(bench.log.holders(), 1);
            // The id is free, as it is after the supervisor has stopped the child.
            tree.spawn("a", bench.probe("a").temporary()).await.unwrap();
            tree.terminate("a").await.unwrap();
            tree.spawn("a", bench.probe("a").temporary()).await.unwrap();
            // The others are kept.
            tree.spawn("t", bench.probe("t").transient()).await.unwrap();
            child(&tree, "t").cast(ProbeMsg::End(Exit::Normal)).unwrap();
            bench.ended("t").await;
            let again = tree.spawn("t", bench.probe("t")).await.unwrap_err();
            assert_eq!(again, TreeError::AlreadyPresent("t".into()));
            tree.stop(secs(60)).await;
        }
    }
}

async fn start_many(tree: &Tree, count: usize) -> Vec<mobula_actors::ActorRef<Ask>> {
    let (mut started, mut all) = (JoinSet::new(), Vec::with_capacity(count));
    for _ in 0..count {
        if started.len() == AT_A_TIME {
            all.push(started.join_next().await.unwrap().unwrap());
        }
        let tree = tree.clone();
        let one = async move { tree.start_child::<Small>(Argument(Arc::default())).await.unwrap() };
        started.spawn(one);
    }
    all.extend(started.join_all().await);
    all
}

// DY-1; `cargo run --release -p mobula-supervision --example children` has millions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_one_for_one_scale_many_temporary_children() {
    const CHILDREN: usize = 100_000;
    let bench = Bench::new();
    let spec = Supervisor::dynamic(|argument| Small::spec(argument).temporary());
    let tree = bench.supervise(spec).await.unwrap();
    let all = start_many(&tree, CHILDREN).await;
    assert_eq!(counts(&tree).await, [1, CHILDREN, 0, CHILDREN]);
    // Half of them end by themselves, and the supervisor goes on answering.
    for small in all.iter().step_by(2) {
        small.cast(Ask::Fail).unwrap();
    }
    let left = [1, CHILDREN / 2, 0, CHILDREN / 2];
    while counts(&tree).await != left {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(all[1].call(Ask::Get).await.unwrap(), 1);
    let text = tree.print().await;
    assert_eq!(text.lines().count(), 22, "{text}");
    tree.stop(secs(60)).await;
    assert!(all[1].cast(Ask::Fail).is_err());
}

#[tokio::test(start_paused = true)]
async fn scale_start_stop_many_children() {
    const CHILDREN: usize = 5_000;
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        let bench = Bench::new();
        let tree = bench.supervise(bench.spec()).await.unwrap();
        for round in 1..=2 {
            for number in 0..CHILDREN {
                let spec = Small::spec(Argument(Arc::default())).restart(restart);
                tree.spawn(number.to_string(), spec).await.unwrap();
            }
            assert_eq!(counts(&tree).await, [CHILDREN, CHILDREN, 0, CHILDREN], "{round}");
            for number in 0..CHILDREN {
                tree.terminate(&number.to_string()).await.unwrap();
                if restart != Restart::Temporary {
                    tree.delete(&number.to_string()).await.unwrap();
                }
            }
            assert_eq!(counts(&tree).await, [0, 0, 0, 0]);
        }
        tree.spawn("a", bench.probe("a")).await.unwrap();
        assert_eq!(get(&tree, "a").await.0, 1);
        tree.stop(secs(60)).await;
    }
    let bench = Bench::new();
    let spec = Supervisor::dynamic(Small::spec);
    let tree = bench.supervise(spec).await.unwrap();
    let all = start_many(&tree, CHILDREN).await;
    for small in &all {
        tree.end_child(small).await.unwrap();
    }
    until(async || counts(&tree).await == [1, 0, 0, 0]).await;
    tree.stop(secs(60)).await;
}
