//! Groups with members on many nodes (RO-1 to RO-3 have more tests beside the code).

use std::collections::BTreeSet;

use mobula::actors::{Group, GroupChange, GroupError, NameError, RoundRobin};
use mobula::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::puppet::{GateMsg, Make, Msg, Puppet, notes, puppet};
use crate::support::{PATIENCE, all_see, cluster, eventually, member, members};

async fn here(node: &Node) -> ActorRef<Msg> {
    node.spawn(Puppet::spec(Make::Plain)).await.unwrap()
}

fn pool(node: &Node) -> Group<Msg> {
    node.group("pool").unwrap()
}

fn ids(group: &Group<Msg>) -> BTreeSet<ActorId> {
    group.members().iter().map(ActorRef::id).collect()
}

/// Waits until each of `groups` has exactly `members`.
async fn agree(groups: &[Group<Msg>], members: &[&ActorRef<Msg>]) {
    let wanted: BTreeSet<ActorId> = members.iter().map(|member| member.id()).collect();
    eventually("the groups agree", || groups.iter().all(|group| ids(group) == wanted)).await;
}

/// A member on each of `nodes`, known to all of them.
async fn full(nodes: &[Node]) -> (Vec<Group<Msg>>, Vec<ActorRef<Msg>>) {
    let groups: Vec<_> = nodes.iter().map(pool).collect();
    let mut all = Vec::new();
    for (node, group) in nodes.iter().zip(&groups) {
        let actor = here(node).await;
        group.join(&actor).unwrap();
        all.push(actor);
    }
    agree(&groups, &all.iter().collect::<Vec<_>>()).await;
    (groups, all)
}

/// GT-1, PG-4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_has_the_members_of_all_and_forgets_those_that_left_or_ended() {
    let nodes = cluster(3, |_, builder| builder.host::<Puppet>()).await;
    let (groups, all) = full(&nodes).await;
    // One that joined elsewhere than where it lives, and twice, is one member.
    let far = puppet(&nodes[0], &nodes[1]).await;
    groups[0].join(&far).unwrap();
    groups[2].join(&far).unwrap();
    groups[2].join(&far).unwrap();
    agree(&groups, &[&all[0], &all[1], &all[2], &far]).await;
    groups[0].leave(&far);
    groups[0].leave(&all[1]);
    groups[0].leave(&all[0]);
    agree(&groups, &[&all[1], &all[2], &far]).await;
    all[1].kill();
    groups[2].leave(&far);
    agree(&groups, &[&all[2]]).await;
    assert_eq!(groups[0].join(&groups[0].balance(RoundRobin)), Err(GroupError::Group));
    // A replica that is made later has them too.
    drop(groups);
    assert_eq!(ids(&pool(&nodes[0])), [all[2].id()].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_takes_one_protocol_and_a_group_of_one_node_is_another() {
    let nodes = cluster(2, |_, builder| builder).await;
    let (_groups, _all) = full(&nodes).await;
    for node in &nodes {
        let other = node.group::<GateMsg>("pool");
        assert_eq!(other.unwrap_err(), NameError::OtherProtocol("pool".into()));
        assert!(node.group_here::<GateMsg>("pool").unwrap().members().is_empty());
    }
    for name in ["", &"n".repeat(256)] {
        let refused = nodes[0].group::<Msg>(name);
        assert!(matches!(refused, Err(NameError::Unfit(..))), "{refused:?}");
    }
    // Nobody holds it on the second node.
    let gates = nodes[0].group::<GateMsg>("gates").unwrap();
    gates.join(&nodes[0].spawn(crate::puppet::Gate::spec(())).await.unwrap()).unwrap();
    eventually("it is known", || nodes[1].group::<Msg>("gates").is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_reaches_one_or_all_members_wherever_they_are() {
    let nodes = cluster(3, |_, builder| builder).await;
    let (groups, all) = full(&nodes).await;
    let one = groups[0].balance(RoundRobin);
    for n in 0..6 {
        one.call(|reply| Msg::NoteAsk(n, reply)).within(PATIENCE).await.unwrap();
    }
    assert_eq!(groups[1].cast_all(|| Msg::Note(100)), []);
    let answers = groups[2].call_all(Msg::Notes).within(PATIENCE).await;
    assert_eq!(answers.len(), 3);
    for (id, answer) in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.iter().filter(|n| **n < 100).count(), 2, "{id}: {answer:?}");
    }
    for actor in &all {
        let noted = async { while !notes(actor).await.contains(&100) {} };
        tokio::time::timeout(PATIENCE, noted).await.unwrap();
    }
}

/// Tells what it hears of a group.
struct Listener(UnboundedSender<(usize, usize)>);

impl Actor for Listener {
    type Args = (Group<Msg>, UnboundedSender<(usize, usize)>);
    type Msg = GroupChange<Msg>;

    async fn start((group, told): Self::Args, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        ctx.watch_group(&group, |change| change);
        Ok(Self(told))
    }

    async fn handle(&mut self, change: Self::Msg, _: &mut Context<Self>) -> Result<(), Fault> {
        let _ = self.0.send((change.joined.len(), change.left.len()));
        Ok(())
    }
}

/// Waits until so many joined and left have been told.
async fn told(heard: &mut UnboundedReceiver<(usize, usize)>, wanted: (usize, usize)) {
    let mut sum = (0, 0);
    while sum != wanted {
        let (joined, left) = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        sum = (sum.0 + joined, sum.1 + left);
        assert!(sum.0 <= wanted.0 && sum.1 <= wanted.1, "{sum:?}");
    }
}

/// RO-3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_hears_of_joins_of_ends_and_of_the_death_of_a_node() {
    let mut nodes = cluster(3, |_, builder| builder).await;
    let group = pool(&nodes[0]);
    let (tell, mut heard) = unbounded_channel();
    let listener = nodes[0].spawn(Listener::spec((group.clone(), tell))).await.unwrap();
    let (groups, all) = full(&nodes).await;
    let more = here(&nodes[2]).await;
    groups[2].join(&more).unwrap();
    told(&mut heard, (4, 0)).await;
    all[1].kill();
    told(&mut heard, (0, 1)).await;
    drop((groups, all));
    drop(nodes.pop());
    told(&mut heard, (0, 2)).await;
    assert_eq!(group.members().len(), 1);
    drop(listener);
}

/// RO-1: also over a break, and for a node that comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_later_hears_of_all_members() {
    let (keys, list) = members(3);
    let mut keys = keys.into_iter();
    let first = member(keys.next().unwrap(), &list, None).start().await.unwrap();
    let group = pool(&first);
    let mut all = Vec::new();
    // More than fit into one answer.
    for _ in 0..200 {
        let actor = here(&first).await;
        group.join(&actor).unwrap();
        all.push(actor);
    }
    let second = member(keys.next().unwrap(), &list, Some(&first)).start().await.unwrap();
    let late = pool(&second);
    agree(std::slice::from_ref(&late), &all.iter().collect::<Vec<_>>()).await;
    all.drain(..150).for_each(|actor| actor.kill());
    agree(&[group, late], &all.iter().collect::<Vec<_>>()).await;
}

/// GT-2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_eight_nodes_a_message_to_all_is_made_once_and_reaches_each_member_once() {
    let nodes = cluster(12, |_, builder| builder).await;
    all_see(&nodes, 12).await;
    let (groups, mut all) = full(&nodes).await;
    // Some nodes have more members than one.
    for n in [0, 5] {
        let more = here(&nodes[n]).await;
        groups[n].join(&more).unwrap();
        all.push(more);
    }
    agree(&groups, &all.iter().collect::<Vec<_>>()).await;
    // Until the nodes have found that they mean the same, each member is sent to.
    let mut made = 0;
    let mut number = 0;
    while made != 3 {
        (made, number) = (0, number + 1);
        assert!(number < 20, "it is never made once");
        let refused = groups[0].cast_all(|| {
            made += 1;
            Msg::Note(number)
        });
        assert_eq!(refused, []);
        for actor in &all {
            let noted = async { while !notes(actor).await.contains(&number) {} };
            tokio::time::timeout(PATIENCE, noted).await.unwrap();
        }
    }
    // Once for the tree, and for each of the two members here; nobody was told twice.
    for actor in &all {
        assert_eq!(notes(actor).await, (1..=number).collect::<Vec<u64>>());
    }
}
