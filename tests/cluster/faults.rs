//! What a broken network between live nodes may do to messages, calls and monitors, and what not.
//!
//! Every node is behind a relay; the seed of a test draws all of its jitter.

use std::time::{Duration, Instant};

use mobula::net::{Allowlist, Identity, Limits};
use mobula::node::limits::CREDIT_WINDOW_MAX;
use mobula::node::{Member, Standing};
use mobula::prelude::*;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::puppet::{Make, Msg, Puppet, notes, puppet};
use crate::relay::{Relay, Weather};
use crate::support::{AT_ONCE, PATIENCE, all_see, member, members};

/// How long a fault of these tests lasts: the link ends, and nobody is declared dead yet.
const FAULT: Duration = Duration::from_secs(2);
/// A promise: after the end of a fault all is well within this time.
const CONVERGED: Duration = Duration::from_secs(10);
const CALL_DEADLINE: Duration = Duration::from_millis(500);
/// Numbers of calls begin here, those of casts at 1.
const CALLS: u64 = 1 << 32;

/// Nodes that are reached through relays, and notice silence within a second.
struct Net {
    keys: Vec<Identity>,
    list: Allowlist,
    nodes: Vec<Node>,
    relays: Vec<Relay>,
}

impl Net {
    async fn of(n: usize, seed: u64) -> Self {
        let (keys, list) = members(n);
        let mut net = Self { keys, list, nodes: Vec::new(), relays: Vec::new() };
        for (i, seed) in (0..n).zip(seed..) {
            net.relays.push(Relay::start(seed).await);
            net.nodes.push(net.life(i).await);
        }
        all_see(&net.nodes, n).await;
        net
    }

    /// A new life of a node. The first one began all by itself.
    async fn life(&self, i: usize) -> Node {
        let mut limits = Limits::default();
        limits.heartbeat = Duration::from_millis(200);
        limits.heartbeat_timeout = Duration::from_secs(1);
        limits.handshake_timeout = Duration::from_secs(1);
        let known =
            self.nodes.iter().find(|node| node.id().unwrap().key != self.keys[i].peer_key());
        let node = member(self.keys[i].clone(), &self.list, known).limits(limits);
        let node = node.announce(self.relays[i].address()).host::<Puppet>().start().await.unwrap();
        self.relays[i].leads_to(&node.addresses()[1]);
        node
    }

    fn turn(&self, weather: Weather) {
        self.relays.iter().for_each(|relay| relay.turn(weather));
    }

    fn reset(&self) {
        self.relays.iter().for_each(Relay::reset);
    }

    /// What the first node says does not arrive at the second, the other way it does.
    fn mute(&self) {
        self.relays[0].turn(Weather { stall_from: true, ..Weather::default() });
        self.relays[1].turn(Weather { stall_to: true, ..Weather::default() });
    }

    /// Waits until all nodes hold each other alive, which after a death they never would again.
    async fn are_all_alive(&self) -> bool {
        let alive = |members: &[Member]| members.iter().all(|m| m.standing == Standing::Alive);
        for node in &self.nodes {
            if !node.until(CONVERGED, alive).await {
                return false;
            }
        }
        true
    }
}

/// How the calls of a load ended so far.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    answered: u64,
    rejected: u64,
    unknown: u64,
    cast: u64,
    refused: u64,
    /// By how much the worst call outlived its deadline.
    late: Duration,
}

/// Casts and calls from one node to a puppet, each numbered upwards, until it is stopped.
struct Load {
    to: ActorRef<Msg>,
    ends: watch::Receiver<Ends>,
    task: JoinHandle<()>,
}

impl Load {
    fn start(to: &ActorRef<Msg>) -> Self {
        let (told, ends) = watch::channel(Ends::default());
        let there = to.clone();
        let task = tokio::spawn(async move {
            for number in 1.. {
                let cast = there.cast(Msg::Note(number)).is_ok();
                let began = Instant::now();
                let call = there.call(|reply| Msg::NoteAsk(CALLS + number, reply));
                let outcome = call.within(CALL_DEADLINE).await;
                let late = began.elapsed().saturating_sub(CALL_DEADLINE);
                told.send_modify(|ends| ends.count(cast, &outcome, late));
            }
        });
        Self { to: to.clone(), ends, task }
    }

    /// Waits until `more` further calls are answered.
    async fn answered(&mut self, more: u64) {
        let enough = self.ends.borrow().answered + more;
        let answered = self.ends.wait_for(|ends| ends.answered >= enough);
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        assert!(answered.is_ok_and(|ends| ends.is_ok()), "no answers: {:?}", self.ends.borrow());
    }

    /// Stops, and checks what came: in order, nothing twice, no call beyond its deadline.
    async fn finish(self) -> Ends {
        self.task.abort();
        let ends = *self.ends.borrow();
        let noted = self.noted().await;
        let (calls, casts): (Vec<u64>, Vec<u64>) = noted.into_iter().partition(|n| *n > CALLS);
        assert!(casts.is_sorted_by(|a, b| a < b), "a cast came twice or out of order");
        assert!(calls.is_sorted_by(|a, b| a < b), "a call came twice or out of order");
        assert!(calls.len() as u64 >= ends.answered, "an answer without its call");
        assert!(ends.late < AT_ONCE, "a call ended {:?} after its deadline", ends.late);
        ends
    }

    /// What has come, asked for again while resets take the answer along: one that was ordered
    /// comes through a moment later, and a call that is under way then may have run.
    async fn noted(&self) -> Vec<u64> {
        let until = Instant::now() + CONVERGED;
        loop {
            match self.to.call(Msg::Notes).within(PATIENCE).await {
                Err(CallError::Unknown(Lost::Disconnected)) if Instant::now() < until => {}
                Err(why) => panic!("no answer within {CONVERGED:?} of the last reset: {why}"),
                Ok(noted) => break noted,
            }
        }
    }
}

impl Ends {
    fn count(&mut self, cast: bool, outcome: &Result<(), CallError>, late: Duration) {
        *(if cast { &mut self.cast } else { &mut self.refused }) += 1;
        *(match outcome {
            Ok(()) => &mut self.answered,
            Err(CallError::Unknown(_)) => &mut self.unknown,
            Err(_) => &mut self.rejected,
        }) += 1;
        self.late = self.late.max(late);
    }
}

/// Order and delivery of the promises, across many reconnects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_nothing_but_gaps_over_delay_jitter_a_slow_rate_and_resets() {
    let net = Net::of(3, 11).await;
    let ms = Duration::from_millis;
    let slow = Some(2 << 20);
    net.turn(Weather { delay: ms(2), jitter: ms(8), bytes_per_second: slow, ..Weather::default() });
    let mut loads = Vec::new();
    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
        loads.push(Load::start(&puppet(&net.nodes[from], &net.nodes[to]).await));
    }
    for _ in 0..12 {
        for load in &mut loads {
            load.answered(5).await;
        }
        net.reset();
    }
    for mut load in loads {
        load.answered(1).await;
        println!("{:?}", load.finish().await);
    }
    assert!(net.are_all_alive().await, "a reset is no death");
}

/// N-8: TCP says nothing, and the link ends all the same; what is sent meanwhile is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_stalls_one_way_or_both_is_replaced_and_fills_no_memory() {
    let net = Net::of(2, 22).await;
    let mut loads = Vec::new();
    for (from, to) in [(0, 1), (1, 0)] {
        loads.push(Load::start(&puppet(&net.nodes[from], &net.nodes[to]).await));
    }
    let flood = puppet(&net.nodes[0], &net.nodes[1]).await;
    for both in [false, true] {
        for load in &mut loads {
            load.answered(5).await;
        }
        if both {
            net.turn(Weather::silence())
        } else {
            net.mute()
        }
        let until = Instant::now() + FAULT;
        let mut taken = 0_u32;
        while Instant::now() < until {
            taken += u32::from(flood.cast(Msg::Note(0)).is_ok());
            tokio::task::yield_now().await;
        }
        assert!(taken <= CREDIT_WINDOW_MAX, "{taken} casts wait for a node that hears nothing");
        net.turn(Weather::default());
        let healed = Instant::now();
        for load in &mut loads {
            load.answered(1).await;
        }
        println!("both: {both}, {taken} casts taken, well after {:?}", healed.elapsed());
        assert!(healed.elapsed() < CONVERGED);
    }
    for load in loads {
        println!("{:?}", load.finish().await);
    }
    assert!(net.are_all_alive().await, "so short a silence is no death");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_takes_connections_and_forwards_nothing_costs_deadlines_and_no_more() {
    let net = Net::of(2, 33).await;
    let mut load = Load::start(&puppet(&net.nodes[0], &net.nodes[1]).await);
    load.answered(5).await;
    net.turn(Weather { half_open: true, ..Weather::default() });
    net.reset();
    let before = net.relays[0].accepted() + net.relays[1].accepted();
    tokio::time::sleep(FAULT).await;
    let dials = net.relays[0].accepted() + net.relays[1].accepted() - before;
    net.turn(Weather::default());
    let healed = Instant::now();
    load.answered(1).await;
    println!("{dials} dials into the void, well after {:?}", healed.elapsed());
    assert!(healed.elapsed() < CONVERGED && dials > 0);
    println!("{:?}", load.finish().await);
    assert!(net.are_all_alive().await);
}

/// G-5: of two sides that hold each other dead one gives in, is told so, and can begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_mutual_death_the_weaker_node_learns_of_it_and_a_new_life_of_it_joins() {
    let mut net = Net::of(2, 66).await;
    let id = |node: &Node| node.id().unwrap();
    let weaker = usize::from(id(&net.nodes[0]).key < id(&net.nodes[1]).key);
    let there = puppet(&net.nodes[1 - weaker], &net.nodes[weaker]).await;
    let (told, mut news) = mpsc::unbounded_channel();
    there.on_down(Box::new(move |down| drop(told.send(down))));
    net.turn(Weather::silence());
    for (node, other) in [(0, 1), (1, 0)] {
        let other = id(&net.nodes[other]);
        let gone = |m: &Member| m.node == other && m.standing == Standing::Gone;
        let dead = net.nodes[node].until(PATIENCE, |members| members.iter().any(gone));
        assert!(dead.await, "{:?}", net.nodes[node].members());
    }
    let down = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().unwrap();
    assert_eq!(down.exit, Exit::NodeDead(id(&net.nodes[weaker])));
    assert!(news.recv().await.is_none(), "told once");
    net.turn(Weather::default());
    let fenced = tokio::time::timeout(CONVERGED, net.nodes[weaker].fenced()).await;
    assert!(fenced.is_ok(), "the weaker one was not told");
    assert!(futures::FutureExt::now_or_never(net.nodes[1 - weaker].fenced()).is_none());
    let next = net.life(weaker).await;
    std::mem::replace(&mut net.nodes[weaker], next).stop().await;
    all_see(&net.nodes, 2).await;
    let there = puppet(&net.nodes[1 - weaker], &net.nodes[weaker]).await;
    assert!(notes(&there).await.is_empty());
}

/// N-7: whoever changes a byte on the way ends a connection, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_ends_the_connection_and_is_never_delivered() {
    let net = Net::of(2, 44).await;
    let mut load = Load::start(&puppet(&net.nodes[0], &net.nodes[1]).await);
    for round in 1..=5 {
        load.answered(5).await;
        let before: u64 = net.relays.iter().map(Relay::accepted).sum();
        net.relays.iter().for_each(Relay::damage);
        let again = async {
            let changed = || net.relays.iter().any(Relay::has_damaged);
            let dialed = || net.relays.iter().map(Relay::accepted).sum::<u64>() > before;
            while !(changed() && dialed()) {
                tokio::task::yield_now().await;
            }
        };
        let again = tokio::time::timeout(PATIENCE, again).await;
        assert!(again.is_ok(), "round {round}: nothing came of it");
    }
    load.answered(5).await;
    println!("{:?}", load.finish().await);
    let violations = net.nodes.iter().map(|node| node.counts().violations);
    assert_eq!(violations.sum::<u64>(), 0, "what was changed is not even decoded");
    assert!(net.are_all_alive().await);
}

/// O-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_monitor_fires_once_over_resets_and_silence() {
    let net = Net::of(2, 55).await;
    let there = net.nodes[1].id().unwrap();
    let mut downs = Vec::new();
    for number in 0..24 {
        let local = net.nodes[1].spawn(Puppet::spec(Make::Plain)).await.unwrap();
        let name = format!("puppet {number}");
        net.nodes[1].register(&name, &local).await.unwrap();
        let remote: ActorRef<Msg> = net.nodes[0].lookup(&name).await.unwrap();
        let (told, news) = mpsc::unbounded_channel();
        remote.on_down(Box::new(move |down| drop(told.send(down))));
        downs.push((local, news));
    }
    // The watches are set: questions to a node are answered in order.
    net.nodes[0].members_of(there).await.unwrap();
    for (number, (local, _)) in downs.iter().enumerate() {
        match number {
            0..8 => net.reset(),
            8 => net.turn(Weather::silence()),
            16 => {
                tokio::time::sleep(FAULT).await;
                net.turn(Weather::default());
            }
            _ => {}
        }
        local.cast(Msg::End).unwrap();
    }
    let healed = Instant::now();
    for (local, mut news) in downs {
        let down = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().unwrap();
        // One that ended while its watch was asked for again is known to have ended, not how.
        assert!(matches!(down.exit, Exit::Normal | Exit::NoProc), "{}", down.exit);
        assert_eq!(down.actor, local.id());
        assert!(news.recv().await.is_none(), "its only sender is gone");
    }
    println!("all told after {:?}", healed.elapsed());
    assert!(healed.elapsed() < CONVERGED);
}
