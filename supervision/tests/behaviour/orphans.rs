//! Children whose supervisor is killed.

use std::sync::Arc;

use mobula_actors::{Actor, Context, Exit, Fault};
use mobula_supervision::{Strategy, Supervisor, SupervisorSpec, Tree, supervise};
use tokio::sync::{Notify, Semaphore};

use crate::probe::{Bench, secs, until};

/// Owns something that is not given back at once.
struct Owner(Arc<Device>);

struct Device {
    free: Semaphore,
    busy: Notify,
}

impl Actor for Owner {
    type Args = Arc<Device>;
    type Msg = ();

    async fn start(device: Arc<Device>, _: &mut Context<Self>) -> Result<Self, Fault> {
        device.free.try_acquire()?.forget();
        Ok(Self(device))
    }

    /// Cannot be ended while it waits here: it keeps its thread for a moment.
    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), Fault> {
        self.0.busy.notify_one();
        std::thread::sleep(std::time::Duration::from_millis(50));
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.free.add_permits(1);
    }
}

fn spec(device: &Arc<Device>, name: &str) -> SupervisorSpec {
    let deep = Supervisor::spec(Strategy::OneForOne).child("owner", Owner::spec(device.clone()));
    let below = Supervisor::spec(Strategy::OneForOne).supervisor("deep", deep).named(name);
    Supervisor::spec(Strategy::OneForOne).supervisor("below", below)
}

// OR-1, SV-2
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_supervisor_that_was_killed_starts_again_after_its_last_children_have_ended() {
    let bench = Bench::new();
    let device = Arc::new(Device { free: Semaphore::new(1), busy: Notify::new() });
    let mut tree_spec = bench.hooked(spec(&device, "below"));
    tree_spec = tree_spec.intensity(10, secs(60));
    let tree = supervise(&bench.engine, Arc::new(bench.engine.clone()), tree_spec).await.unwrap();
    for restarts in 1..=5 {
        let below = Tree::named(&bench.engine, "below").await.unwrap();
        below.child::<()>("deep/owner").unwrap().cast(()).unwrap();
        device.busy.notified().await;
        below.stop(secs(0)).await;
        until(async || tree.children().await[0].restarts == restarts).await;
        // Not one start failed for the device: each would have counted.
        until(async || tree.count().await.active == 1).await;
        let below = &tree.children().await[0];
        // On a busy machine it can be through with its stop before the kill is here.
        let exit = below.last_exit.clone().unwrap();
        assert!([Exit::Killed, Exit::Shutdown].contains(&exit), "{exit}");
        assert_eq!(below.restarts, restarts);
    }
    tree.stop(secs(60)).await;
    assert_eq!(device.free.available_permits(), 1);
}

// OR-1: whoever stops a tree in no time finds nothing of it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tree_that_is_killed_is_gone_when_its_stop_returns() {
    let bench = Bench::new();
    let device = Arc::new(Device { free: Semaphore::new(1), busy: Notify::new() });
    for _ in 0..5 {
        let tree = bench.supervise(spec(&device, "below")).await.unwrap();
        tree.child::<()>("below/deep/owner").unwrap().cast(()).unwrap();
        device.busy.notified().await;
        tree.stop(secs(0)).await;
        assert_eq!(device.free.available_permits(), 1);
    }
}
