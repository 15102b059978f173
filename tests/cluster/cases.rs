//! Numbered failure cases of supervision, with processes that are killed and stopped.

use std::time::Duration;

use mobula::actors::OnPartition;
use mobula::prelude::*;
use mobula::supervision::{ChildInfo, ChildState};

use crate::process::Process;
use crate::puppet::{Gate, GateMsg, Make, Msg, Puppet};
use crate::support::{PATIENCE, all_see, children_when, member, members};

/// A home that hosts nothing, and processes that do.
async fn home_and(processes: usize) -> (Node, Vec<Process>) {
    let (keys, list) = members(processes + 1);
    let home = member(keys[0].clone(), &list, None).start().await.unwrap();
    let mut started = Vec::new();
    for key in &keys[1..] {
        started.push(Process::start(key.clone(), &keys, &home).await);
    }
    all_see(std::slice::from_ref(&home), processes + 1).await;
    (home, started)
}

fn take(processes: &mut Vec<Process>, pid: u32) -> Process {
    let at = processes.iter().position(|process| process.pid() == pid).unwrap();
    processes.remove(at)
}

fn child(make: Make) -> Spec<Puppet> {
    Puppet::spec(make).needs(Demand::cpu(0.01)).anywhere()
}

/// The process and the run of a child, asked until somebody answers who is not there in vain.
async fn place_of(child: &ActorRef<Msg>, not: Option<u32>) -> (u32, Epoch) {
    let asked = async {
        loop {
            match child.call(Msg::Where).within(Duration::from_secs(1)).await {
                Ok(place) if Some(place.0) != not => return place,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

/// F3: a process that is stopped is as silent as a host without power; it wakes up and gives way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_of_a_stopped_process_goes_on_elsewhere_and_its_old_run_is_over_when_that_wakes() {
    let (home, mut processes) = home_and(3).await;
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", child(Make::Plain));
    let tree = home.supervise(spec).await.unwrap();
    let moving: ActorRef<Msg> = tree.child("child").unwrap();
    let (first, epoch) = place_of(&moving, None).await;
    assert_eq!(epoch, Epoch(1));
    let stopped = take(&mut processes, first);
    stopped.freeze();
    let (second, epoch) = place_of(&moving, Some(first)).await;
    assert_eq!(epoch, Epoch(2));
    stopped.thaw();
    let _woken = stopped.fenced().await;
    for _ in 0..100 {
        assert_eq!(moving.call(Msg::Where).within(PATIENCE).await, Ok((second, epoch)));
    }
}

/// F9: whoever is left of a cluster cannot know whether the others are dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_that_wait_for_a_majority_wait_when_three_of_five_processes_are_killed() {
    let (home, mut processes) = home_and(4).await;
    let tree = home.supervise(Supervisor::spec(Strategy::OneForOne)).await.unwrap();
    let mut children = Vec::new();
    while processes
        .iter()
        .any(|process| !children.iter().any(|child: &ChildInfo| child.node == Some(process.id)))
    {
        let patient = child(Make::Plain).on_partition(OnPartition::Wait);
        let number = children.len();
        tree.spawn(format!("eager {number}"), child(Make::Plain)).await.unwrap();
        tree.spawn(format!("patient {number}"), patient).await.unwrap();
        children = tree.children().await;
        children.retain(|child| child.id.starts_with("patient"));
        assert!(children.len() < 100, "each process gets one: {children:?}");
    }
    let last = processes.pop().unwrap();
    processes.iter_mut().for_each(Process::kill);
    let runs =
        |child: &ChildInfo| child.state == ChildState::Running && child.node == Some(last.id);
    let waits = |child: &ChildInfo| child.waits.is_some() && child.id.starts_with("patient");
    let children =
        children_when(&tree, |all| all.iter().all(|child| runs(child) || waits(child))).await;
    // Of the process that was found dead last, when there was no majority any more.
    assert!(children.iter().any(waits), "{children:?}");
}

/// F15: the run of that start is over, and the next one is a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_whose_process_is_killed_is_made_again_on_another_one() {
    let (home, mut processes) = home_and(3).await;
    let gate = home.spawn(Gate::spec(())).await.unwrap();
    gate.send(GateMsg::Open).await.unwrap();
    let spec =
        Supervisor::spec(Strategy::OneForOne).child("child", child(Make::Late(gate.clone())));
    let tree = home.supervise(spec).await.unwrap();
    let late: ActorRef<Msg> = tree.child("child").unwrap();
    let (first, epoch) = place_of(&late, None).await;
    assert_eq!(epoch, Epoch(1));
    gate.send(GateMsg::Shut).await.unwrap();
    let mut known = first;
    for _ in 0..2 {
        take(&mut processes, known).kill();
        let starting = gate.call(|pid| GateMsg::Starting { known, pid }).within(PATIENCE);
        known = starting.await.unwrap();
    }
    gate.send(GateMsg::Open).await.unwrap();
    let (last, epoch) = place_of(&late, Some(first)).await;
    assert!(last == known && epoch >= Epoch(3), "{last} of {known}, {epoch}");
}

/// F22, at the size of a test; `examples/recover` does it with 10,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_children_of_a_killed_process_run_again_and_their_supervisor_gives_up_nothing() {
    let (home, mut processes) = home_and(3).await;
    let mut spec = Supervisor::spec(Strategy::OneForOne);
    for number in 0..300 {
        spec = spec.child(number.to_string(), child(Make::Plain).pack());
    }
    let tree = home.supervise(spec).await.unwrap();
    let node = tree.children().await[0].node.unwrap();
    let lost = tree.children().await.iter().filter(|child| child.node == Some(node)).count();
    assert!(lost > 100, "{lost}");
    let at = processes.iter().position(|process| process.id == node).unwrap();
    processes[at].kill();
    let children = children_when(&tree, |all| {
        all.iter().all(|child| child.state == ChildState::Running && child.node != Some(node))
    })
    .await;
    assert_eq!(children.len(), 300);
    let again = children.iter().filter(|child| child.restarts == 1).count();
    assert_eq!(again, lost, "each of them once");
}
