//! Members that may ask for some things only, and members that the cluster takes back.

use std::time::{Duration, Instant};

use mobula::net::{Caps, Certificate, ClusterKey, Membership, Rights, Verb};
use mobula::prelude::*;
use tokio::sync::oneshot;

use crate::puppet::{Make, Msg, Puppet, notes, puppet};
use crate::support::{PATIENCE, ROOMY, all_see, eventually};

const HOUR: Duration = Duration::from_secs(3_600);

/// A node by certificate.
async fn certified(
    key: &ClusterKey,
    rights: Rights,
    seed: Option<&Node>,
    files: impl FnOnce(Membership) -> Membership,
) -> Node {
    let identity = Identity::generate();
    let own: Certificate = key.admit_with(identity.peer_key(), HOUR, rights).unwrap();
    Node::builder()
        .key(identity)
        .members(files(own.into()))
        .listen("/ip4/127.0.0.1/tcp/0")
        .capacity(ROOMY)
        .join(seed.map(|seed| seed.addresses()[0].clone()))
        .host::<Puppet>()
        .start()
        .await
        .unwrap()
}

/// One that may ask for everything, and one that may ask for this.
async fn two(rights: Rights) -> [Node; 2] {
    let key = ClusterKey::generate();
    let rich = certified(&key, Rights::all(), None, |own| own).await;
    let poor = certified(&key, rights, Some(&rich), |own| own).await;
    let nodes = [rich, poor];
    all_see(&nodes, 2).await;
    nodes
}

#[track_caller]
fn names(verb: Verb, refused: impl std::fmt::Display) {
    let refused = refused.to_string();
    assert!(refused.contains("member") && refused.contains(&verb.to_string()), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_rights_is_told_what_it_lacks_and_serves_those_that_have_them() {
    // AK-2
    let [rich, poor] = two(Rights::of([])).await;
    let there = rich.id().unwrap();
    let refused = poor.spawn(Puppet::spec(Make::Plain).on(there)).await.unwrap_err();
    assert!(matches!(refused, SpawnError::Refused(_)), "{refused}");
    names(Verb::Start, refused);
    let refused = poor.members_of(there).await.unwrap_err();
    assert!(matches!(refused, CallError::Rejected(_)), "{refused}");
    names(Verb::Members, refused);
    let mine = poor.spawn(Puppet::spec(Make::Plain)).await.unwrap();
    names(Verb::Name, poor.register("poor", &mine).await.unwrap_err());
    names(Verb::Find, poor.lookup::<Msg>("rich").await.unwrap_err());
    // The rich one starts, asks and ends there what it likes.
    let hosted = puppet(&rich, &poor).await;
    hosted.call(|reply| Msg::NoteAsk(1, reply)).within(PATIENCE).await.unwrap();
    let beside = rich.spawn(Puppet::spec(Make::Plain)).await.unwrap();
    // What it has to answer it may; what it would ask in its turn it may not.
    let asked = hosted.call(|reply| Msg::Ask(beside.clone(), reply)).within(PATIENCE).await;
    let refused = asked.unwrap_err();
    names(Verb::Message, &refused);
    assert_eq!(notes(&hosted).await, [1]);
    for node in [&rich, &poor] {
        assert_eq!(node.counts().violations, 0, "to be refused is no offence");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_alone_lets_nobody_send_watch_or_end() {
    let [rich, poor] = two(Rights::of([Verb::Find])).await;
    let target = rich.spawn(Puppet::spec(Make::Plain)).await.unwrap();
    rich.register("target", &target).await.unwrap();
    let far: ActorRef<Msg> = poor.lookup("target").await.unwrap();
    names(Verb::Message, far.call(Msg::Notes).within(PATIENCE).await.unwrap_err());
    // Casts vanish as if they were lost, and their credit comes back.
    for n in 0..200 {
        far.send(Msg::Note(n)).await.unwrap();
    }
    let (told, down) = oneshot::channel();
    far.on_down(Box::new(move |down| drop(told.send(down))));
    let down = tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    names(Verb::Watch, &down.exit);
    assert!(matches!(down.exit, Exit::Denied(_)));
    far.kill();
    // What the node's own actor was told before it was asked this, it has handled.
    poor.lookup::<Msg>("target").await.unwrap();
    assert_eq!(notes(&target).await, [0_u64; 0]);
    assert_eq!(rich.counts().violations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_starts_the_kinds_and_the_amounts_of_its_grant() {
    let caps = Caps { actors: Some(2), cpu_milli: Some(1_500), ..Caps::default() };
    let may = Rights::of(Verb::ALL).kinds(["test.puppet"]).caps(caps);
    let [rich, poor] = two(may).await;
    let there = rich.id().unwrap();
    let puppet = |cores| Puppet::spec(Make::Plain).needs(Demand::cpu(cores)).on(there);
    let first = poor.spawn(puppet(1.0)).await.unwrap();
    let refused = poor.spawn(puppet(1.0)).await.unwrap_err();
    assert!(matches!(refused, SpawnError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("2000 of cpu-milli"), "{refused}");
    let _second = poor.spawn(puppet(0.5)).await.unwrap();
    let refused = poor.spawn(puppet(0.0)).await.unwrap_err();
    assert!(refused.to_string().contains("3 of actors"), "{refused}");
    // What has ended counts no more.
    first.kill();
    let again = async { while poor.spawn(puppet(1.0)).await.is_err() {} };
    assert!(tokio::time::timeout(PATIENCE, again).await.is_ok());
    // On itself it starts what it likes.
    poor.spawn(Puppet::spec(Make::Plain).needs(Demand::cpu(4.0))).await.unwrap();
}

/// A folder that goes away with the test.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// X8 of the threat model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_on_one_node_throws_the_revoked_out_of_all_and_their_actors_go_on_elsewhere() {
    let folder = std::env::temp_dir().join(format!("mobula-revoke-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let folder = Folder(folder);
    let key = ClusterKey::generate();
    let list = folder.0.join("revoked");
    let a = certified(&key, Rights::all(), None, |own| own.revocations(&list).unwrap()).await;
    let second = folder.0.join("second");
    let keeps = |own: Membership| own.revocations(&second).unwrap();
    let b = certified(&key, Rights::all(), Some(&a), keeps).await;
    let c = certified(&key, Rights::all(), Some(&a), |own| own).await;
    let nodes = [a, b, c];
    all_see(&nodes, 3).await;
    let [a, b, c] = nodes;
    // Wherever it is started first, it ends up on the node that is thrown out.
    let spec = Supervisor::spec(Strategy::OneForOne).intensity(1_000, PATIENCE);
    let revoked = c.id().unwrap();
    let others = [&a, &b].map(|node| node.id().unwrap());
    let child = Puppet::spec(Make::Plain).needs(Demand::cpu(5.0)).anywhere();
    let filler = |node| a.spawn(Puppet::spec(Make::Plain).needs(Demand::cpu(4.0)).on(node));
    let fillers = [filler(others[0]).await.unwrap(), filler(others[1]).await.unwrap()];
    let tree = a.supervise(spec.child("child", child)).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    let (_, first) = child.call(Msg::Where).within(PATIENCE).await.unwrap();
    fillers.iter().for_each(ActorRef::kill);

    let began = Instant::now();
    let signed = key.revoke_nobody().revoke(&key, revoked.key, u64::MAX).unwrap();
    let new = folder.0.join("new");
    std::fs::write(&new, signed.to_text()).unwrap();
    std::fs::rename(new, &list).unwrap();
    let out = |node: &Node| node.counts().denied > 0;
    eventually("both have closed its connections", || out(&a) && out(&b)).await;
    let closed = began.elapsed();
    let gone = |node: &Node| {
        node.members()
            .iter()
            .any(|member| member.node == revoked && member.standing == mobula::node::Standing::Gone)
    };
    eventually("both hold it dead", || gone(&a) && gone(&b)).await;
    eventually("who had no list has one", || second.exists()).await;
    let moved = async {
        loop {
            let at = child.call(Msg::Where).within(Duration::from_secs(1)).await;
            if at.is_ok_and(|(_, epoch)| epoch > first) {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, moved).await.is_ok(), "its actors go on elsewhere");
    println!("closed on all nodes after {closed:?}, started again after {:?}", began.elapsed());
    assert!(!gone(&c));
}
