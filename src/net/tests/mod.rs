//! Tests of the room over real sockets on loopback.

mod certificates;
pub(crate) mod corpus;
mod door;
mod flow;
mod frames;
mod grants;
mod hostile;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mobula_actors::id::{NodeId, PeerKey};
use tokio::sync::mpsc;

use super::*;

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum Event {
    Up(NodeId, Link, String),
    Down(bool, Vec<Message>),
    Dialed(DialOutcome),
    Got(Message),
}

struct Recorder(mpsc::UnboundedSender<Event>);

impl Inbound for Recorder {
    fn connected(&self, node: NodeId, link: Link, address: String) {
        let _ = self.0.send(Event::Up(node, link, address));
    }

    fn disconnected(&self, _: NodeId, bye: bool, unwritten: Vec<Message>) {
        let _ = self.0.send(Event::Down(bye, unwritten));
    }

    fn dial_outcome(&self, _: PeerKey, outcome: DialOutcome) {
        let _ = self.0.send(Event::Dialed(outcome));
    }

    fn message(&self, from: NodeId, link: &Link, message: Message) {
        assert_eq!(from, link.node());
        let _ = self.0.send(Event::Got(message));
    }
}

struct Node {
    net: Net,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Node {
    async fn start(config: NetConfig) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let net = Net::start(config, Arc::new(Recorder(sender))).await.unwrap();
        Self { net, events }
    }

    fn key(&self) -> PeerKey {
        self.net.node().key
    }

    fn address(&self) -> String {
        self.net.addresses().remove(0)
    }

    fn dial(&self, other: &Self) {
        self.net.dial(other.key(), &other.address()).unwrap();
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event").unwrap()
    }

    async fn up(&mut self) -> Link {
        self.up_at().await.0
    }

    /// The link and where the peer can be dialed.
    async fn up_at(&mut self) -> (Link, String) {
        match self.event().await {
            Event::Up(node, link, address) => {
                assert_eq!(node, link.node());
                (link, address)
            }
            other => panic!("expected a link, got {other:?}"),
        }
    }

    async fn down(&mut self) -> (bool, Vec<Message>) {
        loop {
            match self.event().await {
                Event::Down(bye, unwritten) => return (bye, unwritten),
                Event::Got(..) => {}
                other => panic!("expected the end of the link, got {other:?}"),
            }
        }
    }

    async fn outcome(&mut self) -> DialOutcome {
        match self.event().await {
            Event::Dialed(outcome) => outcome,
            other => panic!("expected the outcome of a dial, got {other:?}"),
        }
    }

    async fn got(&mut self) -> Message {
        match self.event().await {
            Event::Got(message) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

fn config(identity: &Identity, members: &[&Identity]) -> NetConfig {
    let members: Allowlist = members.iter().map(|member| member.peer_key()).collect();
    let mut config = NetConfig::new(identity.clone(), 1, members);
    config.listen = Some("/ip4/127.0.0.1/tcp/0".into());
    config
}

/// Two nodes that list each other, the one with the smaller key first.
async fn pair() -> (Node, Node) {
    pair_with(|_| {}).await
}

async fn pair_with(change: impl Fn(&mut NetConfig)) -> (Node, Node) {
    let mut identities = [Identity::generate(), Identity::generate()];
    identities.sort_by_key(Identity::peer_key);
    let [a, b] = identities;
    let (mut first, mut second) = (config(&a, &[&b]), config(&b, &[&a]));
    change(&mut first);
    change(&mut second);
    (Node::start(first).await, Node::start(second).await)
}

async fn linked() -> (Node, Link, Node, Link) {
    let (mut a, mut b) = pair().await;
    a.dial(&b);
    let (to_b, to_a) = (a.up().await, b.up().await);
    (a, to_b, b, to_a)
}

fn message(target: u64, bytes: usize) -> Message {
    let fill = u8::try_from(target % 251).unwrap();
    let head = Bytes::copy_from_slice(&target.to_le_bytes());
    Message { kind: 7, target, head, payload: vec![fill; bytes].into() }
}

/// Pushes with patience.
async fn send(link: &Link, lane: Lane, mut message: Message) {
    while let Err(refused) = link.push(lane, message) {
        assert_eq!(refused.why, Why::Full);
        message = refused.message;
        link.room(lane).await;
    }
}
