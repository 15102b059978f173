//! Peers that are no members, and members that talk nonsense.

use std::sync::Arc;

use bytes::Bytes;
use mobula::actors::id::{NodeId, PeerKey};
use mobula::net::{DialOutcome, Inbound, Lane, Link, Message, Net, NetConfig, NetError};
use mobula::node::NodeError;
use mobula::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::puppet::{Msg, Puppet, puppet};
use crate::support::{PATIENCE, cluster, eventually, member, members, sees};

/// `/ip4/H/tcp/P/p2p/K` as `H:P`.
fn socket_of(node: &Node) -> String {
    let address = node.addresses()[0].clone();
    let parts: Vec<&str> = address.split('/').collect();
    format!("{}:{}", parts[2], parts[4])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_start_nothing_and_disturb_nobody() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let there = puppet(&nodes[0], &nodes[1]).await;
    let door = socket_of(&nodes[1]);
    let garbage: Vec<u8> =
        (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut half_open = Vec::new();
    for greeting in
        [&garbage[..], b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"\x13/multistream/1.0.0\n"]
    {
        let mut stranger = TcpStream::connect(&door).await.unwrap();
        // The node may close before all is written.
        let _ = stranger.write_all(greeting).await;
        half_open.push(TcpStream::connect(&door).await.unwrap());
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stranger.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "a stranger was not cut off");
    }
    // A libp2p peer with a key of its own, which knows everything but the members' secret.
    let mut list = Allowlist::new();
    list.insert(nodes[0].id().unwrap().key).unwrap();
    list.insert(nodes[1].id().unwrap().key).unwrap();
    let stranger = member(Identity::generate(), &list, Some(&nodes[1])).start().await.unwrap();
    eventually("it was denied", || nodes[1].counts().denied > 0).await;
    let spec = Puppet::spec(crate::puppet::Make::Plain).on(nodes[1].id().unwrap());
    assert!(matches!(stranger.spawn(spec).await, Err(SpawnError::NoCapacity(_))));

    there.call(|reply| Msg::NoteAsk(1, reply)).within(PATIENCE).await.unwrap();
    for node in &nodes {
        assert_eq!(node.members().len(), 2, "a stranger became a member");
        assert_eq!(node.counts().violations, 0, "a frame of a stranger was decoded");
    }
    assert_eq!(stranger.members().len(), 1);
    drop(half_open);
}

#[tokio::test]
async fn a_node_listens_beyond_its_host_only_with_an_identity_and_members() {
    let beyond = || Node::builder().listen("/ip4/0.0.0.0/tcp/0");
    let (keys, list) = members(1);
    let refused = beyond().members(list).start().await.unwrap_err();
    assert!(matches!(refused, NodeError::Nameless { .. }), "{refused}");
    let refused = beyond().key(keys[0].clone()).start().await.unwrap_err();
    assert!(matches!(refused, NodeError::Net(NetError::Open { .. })), "{refused}");
    for refused in [beyond().start().await.unwrap_err(), refused] {
        assert_eq!(refused.to_string().lines().count(), 1);
    }
}

/// A member that speaks the network's language and nothing else.
struct Rogue(UnboundedSender<Option<Link>>);

impl Inbound for Rogue {
    fn connected(&self, _: NodeId, link: Link, _: String) {
        let _ = self.0.send(Some(link));
    }
    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {
        let _ = self.0.send(None);
    }
    fn dial_outcome(&self, _: PeerKey, _: DialOutcome) {}
    fn message(&self, _: NodeId, _: &Link, _: Message) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_sends_malformed_frames_is_cut_off_and_counted() {
    let (keys, list) = members(9);
    let first = member(keys[0].clone(), &list, None).host::<Puppet>().start().await.unwrap();
    let second = member(keys[1].clone(), &list, Some(&first)).host::<Puppet>();
    let second = second.start().await.unwrap();
    assert!(sees(&first, 2).await && sees(&second, 2).await);
    let there = puppet(&second, &first).await;
    // No such kind; a message, an answer, credit, a denial and a hand-over that are none; gossip.
    let heads: [(u8, &[u8]); 7] =
        [(0, b""), (2, b"\xff\xff\xff"), (3, b""), (4, b"\x01"), (5, b""), (6, b"\x80"), (1, b"")];
    for (counted, (kind, head)) in (1u64..).zip(heads) {
        // Each is another one's first offence.
        let config = NetConfig::new(keys[1 + counted as usize].clone(), 1, list.clone());
        let (told, mut news) = unbounded_channel();
        let rogue = Net::start(config, Arc::new(Rogue(told))).await.unwrap();
        rogue.dial(first.id().unwrap().key, &first.addresses()[0]).unwrap();
        let link = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().unwrap().unwrap();
        let payload = Bytes::from_static(b"\xff\xff\xff\xff nonsense");
        let head = Bytes::copy_from_slice(head);
        link.push(Lane::Call, Message { kind, target: 0, head, payload }).unwrap();
        let cut = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().unwrap();
        assert!(cut.is_none(), "frame {kind} was not answered with a cut");
        assert_eq!(first.counts().violations, counted, "frame {kind} was not counted");
        // Nobody else notices.
        there.call(|reply| Msg::NoteAsk(counted, reply)).within(PATIENCE).await.unwrap();
        rogue.stop().await;
    }
}
