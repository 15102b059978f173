//! Monitors of actors on other nodes (O-1).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mobula::node::NodeBuilder;
use mobula::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::process::Process;
use crate::puppet::{Make, Msg, Puppet, is_dead};
use crate::support::{PATIENCE, all_see, cluster, member, members};

const NO_TIME: Duration = Duration::ZERO;

static MORTALS: AtomicU64 = AtomicU64::new(1);

/// What a monitor says, and whether the state of its actor was gone by then.
fn watch(target: &ActorRef<Msg>, mortal: u64) -> UnboundedReceiver<(Down, bool)> {
    let (told, downs) = unbounded_channel();
    target.on_down(Box::new(move |down| drop(told.send((down, is_dead(mortal))))));
    downs
}

async fn down(downs: &mut UnboundedReceiver<(Down, bool)>) -> (Down, bool) {
    tokio::time::timeout(PATIENCE, downs.recv()).await.unwrap().unwrap()
}

/// K-2 of actors, O-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_remote_actor_is_told_once_after_its_state_is_gone() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let ends: [(fn(&ActorRef<Msg>), Exit); 4] = [
        (|actor| actor.cast(Msg::End).unwrap(), Exit::Normal),
        (|actor| actor.cast(Msg::Panic).unwrap(), Exit::Panicked("told to".into())),
        (ActorRef::kill, Exit::Killed),
        (ActorRef::stop, Exit::Shutdown),
    ];
    for (end, exit) in ends {
        let mortal = MORTALS.fetch_add(1, Ordering::Relaxed);
        let spec = Puppet::spec(Make::Mortal(mortal)).on(nodes[1].id().unwrap());
        let target = nodes[0].spawn(spec).await.unwrap();
        let mut downs = watch(&target, mortal);
        // The watch is set: questions to a node are answered in order.
        nodes[0].members_of(nodes[1].id().unwrap()).await.unwrap();
        end(&target);
        let (told, dead) = down(&mut downs).await;
        assert_eq!((told.actor, &told.exit, told.restarting), (target.id(), &exit, false));
        assert!(dead, "{exit}: its state was still there");
        // Its only sender is gone: nothing more can come.
        assert!(downs.recv().await.is_none());
        // One that is dead already.
        let (told, _) = down(&mut watch(&target, mortal)).await;
        assert_eq!(told.exit, Exit::NoProc);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_node_is_the_end_of_what_is_watched_there() {
    let (keys, list) = members(2);
    let node = member(keys[0].clone(), &list, None).start().await.unwrap();
    let mut process = Process::start(keys[1].clone(), &keys, &node).await;
    all_see(std::slice::from_ref(&node), 2).await;
    let target = node.spawn(Puppet::spec(Make::Plain).on(process.id)).await.unwrap();
    let mut downs = watch(&target, 0);
    process.kill();
    assert_eq!(down(&mut downs).await.0.exit, Exit::NodeDead(process.id));
    assert!(downs.recv().await.is_none());
    assert_eq!(down(&mut watch(&target, 0)).await.0.actor, target.id());
}

/// N-1 of actors: names can be of one node, and lead to actors anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_one_node_leads_to_an_actor_on_another_node() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let spec = Puppet::spec(Make::Plain).on(nodes[1].id().unwrap());
    let target = nodes[0].spawn(spec).await.unwrap();
    nodes[0].register_here("puppet", &target).unwrap();
    let found: ActorRef<Msg> = nodes[0].lookup_here("puppet").unwrap();
    found.call(|reply| Msg::NoteAsk(1, reply)).within(PATIENCE).await.unwrap();
    assert!(nodes[1].lookup_here::<Msg>("puppet").is_err());
}

/// O-1: what is watched is the run that has just answered, whatever run the reference is from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_by_an_old_reference_watches_the_run_that_has_just_answered() {
    let build = |i, builder: NodeBuilder| if i == 0 { builder } else { builder.host::<Puppet>() };
    let nodes = cluster(2, build).await;
    let spec = Supervisor::spec(Strategy::OneForOne).intensity(1_000, PATIENCE);
    let child = Puppet::spec(Make::Plain).on(nodes[1].id().unwrap()).backoff(NO_TIME, NO_TIME);
    let tree = nodes[0].supervise(spec.child("child", child)).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    for run in 1..=50 {
        let (_, epoch) = child.call(Msg::Where).within(PATIENCE).await.unwrap();
        assert_eq!(epoch, Epoch(run));
        let mut downs = watch(&child, 0);
        child.send(Msg::Panic).await.unwrap();
        let (told, _) = down(&mut downs).await;
        let exit = Exit::Panicked("told to".into());
        assert_eq!((told.epoch, told.exit, told.restarting), (epoch, exit, true));
        assert!(downs.recv().await.is_none());
    }
}

/// A node that knows the place of an old run only finds the one to watch by the actor's home.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bystander_watches_a_child_that_has_moved() {
    let (keys, list) = members(4);
    let home = member(keys[0].clone(), &list, None).start().await.unwrap();
    let bystander = member(keys[1].clone(), &list, Some(&home)).start().await.unwrap();
    let mut hosts = [
        Process::start(keys[2].clone(), &keys, &home).await,
        Process::start(keys[3].clone(), &keys, &home).await,
    ];
    let nodes = [home, bystander];
    all_see(&nodes, 4).await;
    let spec = Supervisor::spec(Strategy::OneForOne);
    let spec = spec.child("child", Puppet::spec(Make::Plain).anywhere());
    let tree = nodes[0].supervise(spec).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    nodes[0].register("child", &child).await.unwrap();
    let old: ActorRef<Msg> = nodes[1].lookup("child").await.unwrap();
    let (first, _) = old.call(Msg::Where).within(PATIENCE).await.unwrap();
    let mut downs = watch(&old, 0);
    let host = hosts.iter_mut().find(|host| host.pid() == first).unwrap();
    let dead = host.id;
    host.kill();
    let (told, _) = down(&mut downs).await;
    assert_eq!((told.exit, told.restarting), (Exit::NodeDead(dead), true));
    let (second, epoch) = child.call(Msg::Where).within(PATIENCE).await.unwrap();
    assert!(second != first && epoch == Epoch(2));
    let mut downs = watch(&old, 0);
    // The bystander's monitor is set when its message, sent after, has been answered.
    old.call(Msg::Where).within(PATIENCE).await.unwrap();
    old.kill();
    let (told, _) = down(&mut downs).await;
    assert_eq!((told.epoch, told.exit), (Epoch(2), Exit::Killed));
}
