//! References that follow a supervised child: over a restart where it was, and to another node.

use std::sync::Arc;
use std::time::Duration;

use mobula::prelude::*;
use mobula::supervision::Event;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::process::Process;
use crate::puppet::{GateMsg, Make, Msg, Puppet, notes, puppet, shut_in};
use crate::support::{PATIENCE, all_see, cluster, member, members};

/// A home and a bystander here, and two processes that can host the child.
struct World {
    home: Node,
    bystander: Node,
    hosts: [Process; 2],
}

async fn world() -> World {
    let (keys, list) = members(4);
    let home = member(keys[0].clone(), &list, None).start().await.unwrap();
    let bystander = member(keys[1].clone(), &list, Some(&home));
    let bystander = bystander.host::<Puppet>().label("bystander").start().await.unwrap();
    let hosts = [
        Process::start(keys[2].clone(), &keys, &home).await,
        Process::start(keys[3].clone(), &keys, &home).await,
    ];
    let nodes = [home, bystander];
    all_see(&nodes, 4).await;
    let [home, bystander] = nodes;
    World { home, bystander, hosts }
}

impl World {
    /// The process with this number, and the other one.
    fn host(&mut self, pid: u32) -> &mut Process {
        self.hosts.iter_mut().find(|host| host.pid() == pid).unwrap()
    }
}

fn movable() -> Spec<Puppet> {
    Puppet::spec(Make::Plain).needs(Demand::cpu(1.0).without_label("bystander")).anywhere()
}

fn events() -> (mobula::supervision::Hook, UnboundedReceiver<Event>) {
    let (told, events) = unbounded_channel();
    (Arc::new(move |event: &Event| drop(told.send(event.clone()))), events)
}

async fn ended(events: &mut UnboundedReceiver<Event>) -> Exit {
    let next = async {
        loop {
            if let Event::Ended { exit, .. } = events.recv().await.unwrap() {
                return exit;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.unwrap()
}

async fn place_of(child: &ActorRef<Msg>) -> (u32, Epoch) {
    child.call(Msg::Where).within(PATIENCE).await.unwrap()
}

/// Asks through a puppet elsewhere until it hears what `child` has noted. What was on its way when
/// the node died may be lost, and says so.
async fn notes_by_way_of(relay: &ActorRef<Msg>, child: &ActorRef<Msg>) -> Vec<u64> {
    let asked = async {
        loop {
            let ask = relay.call(|reply| Msg::Ask(child.clone(), reply)).within(PATIENCE).await;
            match ask {
                Ok(notes) => return notes,
                Err(CallError::Unknown(Lost::Disconnected)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

/// R-1 of actors, H-1, L-2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_whose_node_is_killed_goes_on_elsewhere_and_old_references_find_it() {
    let mut world = world().await;
    let (hook, mut events) = events();
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", movable()).on_event(hook);
    let tree = world.home.supervise(spec).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    let relay = puppet(&world.home, &world.bystander).await;
    let (first, epoch) = place_of(&child).await;
    assert_eq!(epoch, Epoch(1));
    for number in [1, 2] {
        child.send(Msg::Note(number)).await.unwrap();
    }
    child.call(Msg::Save).within(PATIENCE).await.unwrap();
    held(&child).await;
    child.call(|reply| Msg::NoteAsk(3, reply)).within(PATIENCE).await.unwrap();
    assert_eq!(notes_by_way_of(&relay, &child).await, [1, 2, 3]);

    world.host(first).kill();
    assert!(matches!(ended(&mut events).await, Exit::NodeDead(_)));
    // It is nowhere just now: this waits until it is somewhere.
    child.send(Msg::Note(4)).within(PATIENCE).await.unwrap();
    assert_eq!(notes(&child).await, [1, 2, 4]);
    let (second, epoch) = place_of(&child).await;
    assert!(second != first && epoch > Epoch(1));
    assert_eq!(notes_by_way_of(&relay, &child).await, [1, 2, 4]);
    tree.stop(PATIENCE).await;
    let gone = child.call(Msg::Notes).within(PATIENCE).await;
    assert!(matches!(gone, Err(CallError::Rejected(_))), "{gone:?}");
}

/// Waits until the home holds a checkpoint.
async fn held(child: &ActorRef<Msg>) {
    let stored = async { while child.call(Msg::Stored).within(PATIENCE).await.unwrap() == 0 {} };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
}

/// L-2: a panic costs the state since the checkpoint, and no message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_restarts_a_remote_child_on_its_node_with_its_mailbox() {
    let world = world().await;
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", movable());
    let tree = world.home.supervise(spec).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    let (first, _) = place_of(&child).await;
    let gate = shut_in(&world.home, &child).await;
    child.send(Msg::Panic).await.unwrap();
    for number in 0..20 {
        child.send(Msg::Note(number)).await.unwrap();
    }
    gate.cast(GateMsg::Open).unwrap();
    assert!(notes(&child).await.into_iter().eq(0..20));
    assert_eq!(place_of(&child).await, (first, Epoch(2)));
}

/// A temporary child ends with its node; its references say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_child_is_not_started_again_and_its_references_say_so() {
    let mut world = world().await;
    let (hook, mut events) = events();
    let temporary = movable().temporary();
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", temporary).on_event(hook);
    let tree = world.home.supervise(spec).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    let relay = puppet(&world.home, &world.bystander).await;
    let (first, _) = place_of(&child).await;
    world.host(first).kill();
    assert!(matches!(ended(&mut events).await, Exit::NodeDead(_)));
    let gone = child.call(Msg::Notes).within(PATIENCE).await;
    assert!(matches!(gone, Err(CallError::Rejected(Why::Stopped | Why::NoRoute))), "{gone:?}");
    let gone = relay.call(|reply| Msg::Ask(child.clone(), reply)).within(PATIENCE).await;
    assert!(gone.is_err());
    // A monitor of it says at once that there is nothing.
    let (told, down) = tokio::sync::oneshot::channel();
    child.on_down(Box::new(move |down| drop(told.send(down))));
    let down = tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    assert!(!down.restarting);
}

/// While a child waits out its back-off it is nowhere, and its home says so to nobody as an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_waits_for_its_next_run_is_not_taken_for_ended() {
    let mut world = world().await;
    let (hook, mut events) = events();
    let patient = movable().backoff(Duration::from_millis(300), Duration::from_millis(300));
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", patient).on_event(hook);
    let tree = world.home.supervise(spec).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    let relay = puppet(&world.home, &world.bystander).await;
    assert_eq!(notes_by_way_of(&relay, &child).await, Vec::<u64>::new());
    let (first, _) = place_of(&child).await;
    world.host(first).kill();
    assert!(matches!(ended(&mut events).await, Exit::NodeDead(_)));
    let (here, there) =
        tokio::join!(child.call(Msg::Notes).within(PATIENCE), notes_by_way_of(&relay, &child));
    assert_eq!((here, there), (Ok(Vec::new()), Vec::new()));
    let (second, epoch) = place_of(&child).await;
    assert!(second != first && epoch == Epoch(2));
    drop(tree);
}

/// Of two cells of a child on one node, the end of the old one does not hide the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_stopped_and_started_again_on_its_node_is_found_there() {
    let nodes =
        cluster(2, |i, builder| if i == 0 { builder } else { builder.host::<Puppet>() }).await;
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", movable());
    let tree = nodes[0].supervise(spec).await.unwrap();
    for round in 0..50 {
        let child: ActorRef<Msg> = tree.child("child").unwrap();
        child.call(|reply| Msg::NoteAsk(round, reply)).within(PATIENCE).await.unwrap();
        tree.terminate("child").await.unwrap();
        tree.restart("child").await.unwrap();
    }
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    assert_eq!(place_of(&child).await.1, Epoch(51));
}
