//! Actors that other nodes start.

use std::sync::Arc;

use mobula_actors::carrier::{Carrier, Monitor};
use mobula_actors::id::Epoch;
use mobula_actors::spawner::{Hosted, IntoSeed, Order, Request, Seed, Spawner};
use mobula_actors::{Actor, ActorRef, Context, Exit, Fault, kind};

use crate::fake_net::nodes;
use crate::puppet::soon;
use crate::wire::{Far, sum};

/// Starts with a reference, and tells it what it was started with.
struct Scout;
impl Actor for Scout {
    type Args = (ActorRef<Far>, u32);
    type Msg = Far;
    async fn start((home, n): Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        home.cast(Far::Add(n))?;
        Ok(Self)
    }
    async fn handle(&mut self, msg: Far, _: &mut Context<Self>) -> Result<(), Fault> {
        if let Far::Get(reply) = msg {
            reply.send(99);
        }
        Ok(())
    }
}
kind!(Scout = "test.scout");

#[tokio::test]
async fn arguments_with_references_start_an_actor_on_another_node() {
    let [here, there] = nodes();
    let (home, _seen) = sum(&here).await;
    let (seed, settings) = Scout::spec((home.clone(), 21)).anywhere().into_seed();
    let outgoing = seed.encode(&here.carrier()).unwrap().unwrap();

    let hosted = Hosted::of::<Scout>();
    assert_eq!((hosted.kind, hosted.protocol), ("test.scout", "test.far/1"));
    let planted = hosted.seed(&there.carrier(), here.node(), &outgoing.head).unwrap();
    assert_eq!(planted.kind(), "test.scout");
    let engine = there.engine();
    let order = Order { id: Spawner::next_id(&engine), ..Order::new(&settings) };
    let (id, seed): (_, Arc<dyn Seed>) = (order.id, planted);
    let request = Request { seed, settings, order, previous: None, avoid: Vec::new() };
    let started = soon(engine.start(request)).await.unwrap();
    assert!(started.child.node().is_none());

    assert_eq!(soon(home.call(Far::Get)).await, Ok(21));
    // It is listed there: other nodes may reach it.
    assert_eq!(engine.exported(id).unwrap().schema().name(), "test.far/1");
    assert!(hosted.seed(&there.carrier(), here.node(), &outgoing.head[1..]).is_err());
}

/// NA-2: an actor that is started anew beside its old cell stays reachable when that one ends.
#[tokio::test]
async fn an_old_cell_that_ends_does_not_hide_the_new_one() {
    let [here] = nodes();
    let (home, _seen) = sum(&here).await;
    let (seed, settings) = Scout::spec((home, 1)).anywhere().into_seed();
    let engine = here.engine();
    let id = Spawner::next_id(&engine);
    let start = |epoch| {
        let order = Order { id, epoch, ..Order::new(&settings) };
        let (seed, settings) = (seed.clone(), settings.clone());
        let request = Request { seed, settings, order, previous: None, avoid: Vec::new() };
        soon(engine.start(request))
    };
    let old = start(Epoch(1)).await.unwrap().child.control().unwrap();
    let new = start(Epoch(2)).await.unwrap().child.control().unwrap();
    let (told, ended) = tokio::sync::oneshot::channel();
    old.monitor(Monitor::new(move |down| drop(told.send(down))));
    old.stop(Exit::Shutdown);
    soon(ended).await.unwrap();
    assert_eq!(engine.exported(id).map(|inbound| inbound.control().epoch()), Some(Epoch(2)));
    drop(new);
}
