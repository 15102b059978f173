//! The counter here, on another node, and under a supervisor, as the README describes it.

use std::path::PathBuf;
use std::time::Duration;

use mobula::net::{Allowlist, Identity};
use mobula::node::Member;
use mobula::prelude::*;
use mobula_consumer::{Counter, CounterMsg, add_twice};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_counter_counts_on_one_node() {
    let node = Node::local();
    let counter = node.spawn(Counter::spec(1)).await.unwrap();
    assert_eq!(add_twice(&counter).await.unwrap(), 11);
    counter.stop();
    let stopped = counter.call(CounterMsg::Get).await;
    assert_eq!(stopped, Err(CallError::Rejected(Why::Stopped)));
    let refused = counter.cast(CounterMsg::Add(1)).unwrap_err();
    assert!(matches!(refused.message, CounterMsg::Add(1)), "the message comes back");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_counter_counts_on_another_node_with_keys_and_members_in_files() {
    let folder = Folder::new();
    let keys = [folder.file("a.key"), folder.file("b.key")];
    let mut list = String::from("# members\n");
    for key in &keys {
        let identity = Identity::generate();
        identity.save(key).unwrap();
        list += &format!("{:#}\n", identity.peer_key());
    }
    let members = folder.file("members");
    std::fs::write(&members, list).unwrap();

    let [a, b] = keys.map(|key| {
        let builder = Node::builder().identity(key).membership(&members);
        builder.listen("/ip4/127.0.0.1/tcp/0").host::<Counter>()
    });
    let a = a.start().await.unwrap();
    let b = b.join(a.addresses()).start().await.unwrap();
    let hosts = |m: &Member| m.kinds.iter().any(|kind| kind == Counter::NAME);
    let both = a.until(PATIENCE, |members| members.iter().filter(|m| hosts(m)).count() == 2).await;
    assert!(both, "{:?}", a.members());

    let counter = a.spawn(Counter::spec(1).on(b.id().unwrap())).await.unwrap();
    assert_eq!(add_twice(&counter).await.unwrap(), 11);
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_let_in() {
    let key = Identity::generate();
    let members: Allowlist = [key.peer_key()].into_iter().collect();
    let node = Node::builder().key(key).members(members.clone()).listen("/ip4/127.0.0.1/tcp/0");
    let node = node.start().await.unwrap();

    // The stranger knows the member, but no member knows the stranger.
    let stranger = Node::builder().members(members).join(node.addresses()).start().await.unwrap();
    assert!(!stranger.until(Duration::from_secs(2), |members| members.len() > 1).await);
    assert_eq!(node.members().len(), 1);
    node.stop().await;
    stranger.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervised_counter_comes_back_under_the_same_reference() {
    let node = Node::local();
    let spec = Supervisor::spec(Strategy::OneForOne)
        .intensity(5, Duration::from_secs(10))
        .child("counter", Counter::spec(7));
    let tree = node.supervise(spec).await.unwrap();
    let counter: ActorRef<CounterMsg> = tree.child("counter").unwrap();
    assert_eq!(add_twice(&counter).await.unwrap(), 17);
    counter.kill();
    // The kill overtakes what is cast after it; the next run answers, from its first arguments.
    assert_eq!(counter.call(CounterMsg::Get).within(PATIENCE).await, Ok(7));
    node.stop().await;
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("mobula-consumer-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
