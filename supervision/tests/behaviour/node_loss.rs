//! Children on nodes that die, over a spawner that plays a cluster.

use std::sync::{Arc, Mutex};

use mobula_actors::carrier::BoxFuture;
use mobula_actors::id::{ActorId, NodeId, PeerKey};
use mobula_actors::spawner::{
    Child, Local, Notice, Request, Site, Spawner, Started, Watch, start_here,
};
use mobula_actors::{Control, Engine, Exit, SpawnError};
use mobula_supervision::{ChildState, Event, SupervisorSpec, Tree, supervise};
use tokio::time::Instant;

use crate::probe::{Bench, Finish, ProbeMsg, child, get, secs};

fn node(number: u8) -> NodeId {
    NodeId { key: PeerKey([number; 32]), boot: 1 }
}

/// Two nodes, each with room for everything; what runs on one hears no more once it is dead.
#[derive(Clone)]
struct Cluster(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// Whether a kill is heard: a zombie's is not.
    deaf: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    dead: Vec<NodeId>,
    runs: Vec<(NodeId, Notice, Arc<dyn Watch>)>,
    requests: Vec<Request>,
    full: bool,
}

/// Passes on what a node says while it lives.
struct Remote {
    node: NodeId,
    cluster: Cluster,
    watch: Arc<dyn Watch>,
}

impl Watch for Remote {
    fn notice(&self, notice: Notice) {
        if !self.cluster.0.state.lock().unwrap().dead.contains(&self.node) {
            self.watch.notice(notice);
        }
    }
}

struct Elsewhere {
    node: NodeId,
    local: Local,
    deaf: bool,
}

impl Child for Elsewhere {
    fn node(&self) -> Option<NodeId> {
        Some(self.node)
    }

    fn stop(&self, exit: Exit) {
        if !self.deaf {
            self.local.stop(exit);
        }
    }

    fn kill(&self) {
        if !self.deaf {
            self.local.kill();
        }
    }

    fn retire(&self) {
        self.local.retire();
    }

    fn control(&self) -> Option<Arc<dyn Control>> {
        self.local.control()
    }
}

impl Cluster {
    fn new(bench: &Bench, deaf: bool) -> Self {
        Self(Arc::new(Inner { engine: bench.engine.clone(), deaf, state: Mutex::default() }))
    }

    async fn supervise(&self, spec: SupervisorSpec) -> Tree {
        supervise(&self.0.engine, Arc::new(self.clone()), spec).await.unwrap()
    }

    /// The node is dead: each of its children's supervisors hears so.
    fn bury(&self, node: NodeId) {
        let lost: Vec<_> = {
            let mut state = self.0.state.lock().unwrap();
            state.dead.push(node);
            state.runs.extract_if(.., |(on, ..)| *on == node).collect()
        };
        for (_, notice, watch) in lost {
            watch.notice(notice);
        }
    }

    fn last_request(&self) -> Request {
        self.0.state.lock().unwrap().requests.last().cloned().unwrap()
    }
}

impl Spawner for Cluster {
    fn next_id(&self) -> ActorId {
        self.0.engine.next_id()
    }

    fn start(&self, mut request: Request) -> BoxFuture<'static, Result<Started, SpawnError>> {
        let cluster = self.clone();
        Box::pin(async move {
            let (order, watch) = (request.order.clone(), request.order.watch.clone().unwrap());
            let node = {
                let mut state = cluster.0.state.lock().unwrap();
                state.requests.push(request.clone());
                if state.full {
                    return Err(SpawnError::NoCapacity("no node has room".into()));
                }
                let free =
                    |node: &NodeId| !state.dead.contains(node) && !request.avoid.contains(node);
                let node = (1..=3).map(node).find(free).unwrap();
                let exit = Exit::NodeDead(node);
                let death = Notice::Ended { actor: order.id, epoch: order.epoch, exit };
                state.runs.push((node, death, watch.clone()));
                node
            };
            request.order.watch = Some(Arc::new(Remote { node, cluster: cluster.clone(), watch }));
            let control = start_here(&cluster.0.engine, &request).await?;
            let site = Site { control: Some(&control), cluster: None };
            let reference = request.seed.refer(&cluster.0.engine, &site);
            let child = Elsewhere { node, local: Local(control), deaf: cluster.0.deaf };
            Ok(Started { child: Arc::new(child), reference })
        })
    }
}

// CP-3: epoch + 1, the latest checkpoint, another node, a new mailbox.
#[tokio::test]
async fn a_child_of_a_dead_node_is_started_elsewhere_from_its_latest_checkpoint() {
    let mut bench = Bench::new();
    let cluster = Cluster::new(&bench, false);
    let tree = cluster.supervise(bench.spec().child("a", bench.probe("a"))).await;
    assert_eq!(tree.children().await[0].node, Some(node(1)));
    for message in [ProbeMsg::Add(5), ProbeMsg::Save, ProbeMsg::Add(1)] {
        child(&tree, "a").cast(message).unwrap();
    }
    assert_eq!(get(&tree, "a").await, (1, 6));
    assert_eq!(bench.started("a").await, 1);
    cluster.bury(node(1));
    assert_eq!(bench.ended("a").await, Exit::NodeDead(node(1)));
    assert_eq!(bench.started("a").await, 2);
    assert_eq!(tree.children().await[0].node, Some(node(2)));
    assert_eq!(get(&tree, "a").await, (2, 5));
    let request = cluster.last_request();
    assert!(request.previous.is_none());
    assert_eq!(request.avoid, [node(1)]);
    tree.stop(secs(60)).await;
}

#[tokio::test]
async fn a_code_fault_elsewhere_keeps_the_child_where_its_mailbox_is() {
    let mut bench = Bench::new();
    let cluster = Cluster::new(&bench, false);
    let tree = cluster.supervise(bench.spec().child("a", bench.probe("a"))).await;
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    child(&tree, "a").cast(ProbeMsg::Add(2)).unwrap();
    bench.ended("a").await;
    bench.started("a").await;
    assert_eq!(get(&tree, "a").await, (2, 2));
    assert!(cluster.last_request().previous.is_some());
    tree.stop(secs(60)).await;
}

// S-3
#[tokio::test]
async fn a_thousand_children_of_one_dead_node_stay_within_the_budget() {
    let mut bench = Bench::new();
    let cluster = Cluster::new(&bench, false);
    let mut spec = bench.spec().intensity(0, secs(5));
    for number in 0..1_000 {
        spec = spec.child(number.to_string(), bench.probe("child"));
    }
    let tree = cluster.supervise(spec).await;
    cluster.bury(node(1));
    for _ in 0..1_000 {
        let again = |event: &Event| match event {
            Event::Started { epoch, node, .. } if epoch.0 == 2 => *node,
            _ => None,
        };
        assert_eq!(bench.event(again).await, node(2));
    }
    let children = tree.children().await;
    assert!(children.iter().all(|child| child.state == ChildState::Running));
    tree.stop(secs(60)).await;
}

#[tokio::test]
async fn a_temporary_child_of_a_dead_node_is_not_started_again() {
    let mut bench = Bench::new();
    let cluster = Cluster::new(&bench, false);
    let spec = bench.spec().child("a", bench.probe("a").temporary());
    let tree = cluster.supervise(spec).await;
    cluster.bury(node(1));
    bench.ended("a").await;
    assert!(tree.children().await.is_empty());
    tree.stop(secs(60)).await;
}

// B-1: the first restart is at once, the others wait longer and longer until there is room.
#[tokio::test(start_paused = true)]
async fn a_cluster_without_room_is_asked_again_with_growing_waits() {
    let mut bench = Bench::new();
    let cluster = Cluster::new(&bench, false);
    let tree = cluster.supervise(bench.spec().child("a", bench.probe("a"))).await;
    bench.started("a").await;
    let begun = Instant::now();
    cluster.0.state.lock().unwrap().full = true;
    cluster.bury(node(1));
    for _ in 0..4 {
        let failed = |event: &Event| matches!(event, Event::StartFailed { .. }).then_some(());
        bench.event(failed).await;
    }
    // 0 + 0.2 + 0.4 + 0.8 s, each within a fifth.
    let waited = begun.elapsed().as_secs_f64() / 1.4;
    assert!((0.79..1.21).contains(&waited), "{waited}");
    cluster.0.state.lock().unwrap().full = false;
    assert_eq!(bench.started("a").await, 6);
    tree.stop(secs(60)).await;
}

// KILL_GRACE: what ignores its kill is reported, and costs the others nothing but time.
#[tokio::test(start_paused = true)]
async fn a_run_that_ignores_its_kill_is_reported_and_the_stop_goes_on() {
    let mut bench = Bench::new();
    let cluster = Cluster::new(&bench, true);
    let stuck = bench.finishing("a", Finish::Hang).shutdown(secs(2));
    let tree = cluster.supervise(bench.spec().child("a", stuck)).await;
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert_eq!(begun.elapsed(), secs(2) + mobula_supervision::limits::KILL_GRACE);
    let zombie = |event: &Event| matches!(event, Event::Zombie { .. }).then_some(());
    bench.event(zombie).await;
}
