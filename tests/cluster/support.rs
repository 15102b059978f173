//! What the tests of a cluster share: members that know each other, on loopback.

use std::time::Duration;

use mobula::net::{Allowlist, Identity};
use mobula::node::{Node, NodeBuilder, Standing};

/// Longer than anything here takes; reached only by what hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `n` nodes that are each other's members, built by `build` from their number, all alive in each
/// other's eyes.
pub async fn cluster(n: usize, build: impl Fn(usize, NodeBuilder) -> NodeBuilder) -> Vec<Node> {
    let keys: Vec<Identity> = (0..n).map(|_| Identity::generate()).collect();
    let mut members = Allowlist::new();
    for key in &keys {
        members.insert(key.peer_key()).unwrap();
    }
    let mut nodes: Vec<Node> = Vec::new();
    for (i, key) in keys.into_iter().enumerate() {
        let builder = Node::builder()
            .key(key)
            .members(members.clone())
            .listen("/ip4/127.0.0.1/tcp/0")
            .join(nodes.first().map(|first| first.addresses()[0].clone()));
        nodes.push(build(i, builder).start().await.unwrap());
    }
    for node in &nodes {
        assert!(sees(node, n).await, "{node:?} does not see {n} nodes: {:?}", node.members());
    }
    nodes
}

/// Whether `node` sees `n` living nodes with their records, within the patience.
pub async fn sees(node: &Node, n: usize) -> bool {
    node.until(PATIENCE, |members| {
        let alive = members.iter().filter(|m| m.standing == Standing::Alive && m.cpu_milli.0 > 0);
        alive.count() == n
    })
    .await
}
