//! What the tests of a cluster share: members that know each other, on loopback.

use std::collections::BTreeMap;
use std::time::Duration;

use mobula::net::{Allowlist, Identity};
use mobula::node::{Node, NodeBuilder, Standing};
use mobula::placement::Capacity;
use mobula::supervision::{ChildInfo, Tree};

/// Longer than anything here takes; reached only by what hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What happens at once happens in far less than this, and far less than any deadline here.
pub const AT_ONCE: Duration = Duration::from_secs(3);

/// Eight cores, room for a thousand actors.
pub const ROOMY: Capacity = Capacity {
    cpu_milli: 8_000,
    memory_bytes: 1 << 30,
    devices: Vec::new(),
    counters: BTreeMap::new(),
    actors: 1_000,
};

/// Keys that are each other's members.
pub fn members(n: usize) -> (Vec<Identity>, Allowlist) {
    let keys: Vec<Identity> = (0..n).map(|_| Identity::generate()).collect();
    let mut members = Allowlist::new();
    for key in &keys {
        members.insert(key.peer_key()).unwrap();
    }
    (keys, members)
}

/// A member that listens on loopback and joins the cluster of `seed`.
pub fn member(key: Identity, members: &Allowlist, seed: Option<&Node>) -> NodeBuilder {
    Node::builder()
        .key(key)
        .members(members.clone())
        .listen("/ip4/127.0.0.1/tcp/0")
        .capacity(ROOMY)
        .join(seed.map(|seed| seed.addresses()[0].clone()))
}

/// `n` nodes that are each other's members, built by `build` from their number, all alive in each
/// other's eyes.
pub async fn cluster(n: usize, build: impl Fn(usize, NodeBuilder) -> NodeBuilder) -> Vec<Node> {
    let (keys, list) = members(n);
    let mut nodes: Vec<Node> = Vec::new();
    for (i, key) in keys.into_iter().enumerate() {
        let builder = member(key, &list, nodes.first());
        nodes.push(build(i, builder).start().await.unwrap());
    }
    all_see(&nodes, n).await;
    nodes
}

/// Waits until all of `nodes` see `n` living ones.
pub async fn all_see(nodes: &[Node], n: usize) {
    for node in nodes {
        assert!(sees(node, n).await, "{node:?} does not see {n} nodes: {:?}", node.members());
    }
}

/// Whether `node` sees `n` living nodes with their records, within the patience.
pub async fn sees(node: &Node, n: usize) -> bool {
    node.until(PATIENCE, |members| {
        let alive = members.iter().filter(|m| m.standing == Standing::Alive && m.cpu_milli.0 > 0);
        alive.count() == n
    })
    .await
}

/// Waits for what announces itself to nobody.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            interval.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// Waits until the children of a tree satisfy `enough`.
pub async fn children_when(tree: &Tree, enough: impl Fn(&[ChildInfo]) -> bool) -> Vec<ChildInfo> {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        loop {
            interval.tick().await;
            let children = tree.children().await;
            if enough(&children) {
                return children;
            }
        }
    });
    let Ok(children) = waited.await else { panic!("never: {}", tree.print().await) };
    children
}
