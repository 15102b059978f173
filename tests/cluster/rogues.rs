//! Members that break the protocol on purpose, again and again (X7 of the threat model).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mobula::net::{DialOutcome, Inbound, Lane, Link, Message, Net, NetConfig};
use mobula::node::Standing;
use mobula::node::limits::EPOCH_LEAP_MAX;
use mobula::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::puppet::{Msg, Puppet, puppet, shut_in};
use crate::support::{PATIENCE, all_see, member, members};

/// Bytes of memory that this process may take while it is attacked.
const GROWTH_MAX: u64 = 64 << 20;

struct Rogue {
    net: Net,
    news: UnboundedReceiver<News>,
}

enum News {
    Up(Link),
    Down,
    Refused,
}

struct Ear(UnboundedSender<News>);

impl Inbound for Ear {
    fn connected(&self, _: NodeId, link: Link, _: String) {
        let _ = self.0.send(News::Up(link));
    }
    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {
        let _ = self.0.send(News::Down);
    }
    fn dial_outcome(&self, _: mobula::actors::id::PeerKey, _: DialOutcome) {
        let _ = self.0.send(News::Refused);
    }
    fn message(&self, _: NodeId, _: &Link, _: Message) {}
}

impl Rogue {
    async fn start(key: Identity, list: &Allowlist) -> Self {
        let (told, news) = unbounded_channel();
        let config = NetConfig::new(key, 1, list.clone());
        Self { net: Net::start(config, Arc::new(Ear(told))).await.unwrap(), news }
    }

    async fn next(&mut self) -> News {
        tokio::time::timeout(PATIENCE, self.news.recv()).await.unwrap().unwrap()
    }

    /// Comes back and offends, until it is not let in any more. Returns how often it was.
    async fn offend(&mut self, victim: &Node, offence: impl Fn(u32) -> Message) -> u32 {
        let mut times = 0;
        loop {
            self.net.dial(victim.id().unwrap().key, &victim.addresses()[0]).unwrap();
            let link = match self.next().await {
                News::Up(link) => link,
                News::Refused => return times,
                News::Down => continue,
            };
            times += 1;
            let mut number = 0;
            while link.is_open() {
                if link.push(Lane::Call, offence(number)).is_err() {
                    link.room(Lane::Call).await;
                }
                number += 1;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A varint.
fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// `Msg::Note` as a frame to an actor, which claims to know this run of it.
fn note(actor: ActorId, epoch: u64, number: u32) -> Message {
    let mut head = Vec::new();
    [actor.origin, actor.number, epoch].into_iter().for_each(|field| varint(field, &mut head));
    // No deadline, no calls, no body behind, no payloads.
    head.extend([0, 0, 0, 0]);
    head.push(0);
    varint(number.into(), &mut head);
    Message { kind: 2, target: 0, head: head.into(), payload: Bytes::new() }
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> u64 {
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_offends_again_and_again_is_kept_out_and_nobody_else_suffers() {
    // ST-1, AU-3, Q-1
    let (keys, list) = members(5);
    let first = member(keys[0].clone(), &list, None).host::<Puppet>().start().await.unwrap();
    let second = member(keys[1].clone(), &list, Some(&first)).host::<Puppet>();
    let nodes = [first, second.start().await.unwrap()];
    all_see(&nodes, 2).await;
    let [first, second] = &nodes;
    let there = puppet(second, first).await;
    // Nothing is taken from its mailbox, so no credit comes back.
    let busy = puppet(second, first).await;
    let _gate = shut_in(second, &busy).await;
    let (fine, stuck) = (there.id(), busy.id());
    let before = resident_bytes();
    let offences: [(&str, Box<dyn Fn(u32) -> Message + Sync>); 3] = [
        ("it sends without credit", Box::new(move |number| note(stuck, 1, number))),
        ("it comes from the future", Box::new(move |n| note(fine, 2 + EPOCH_LEAP_MAX, n))),
        ("it talks nonsense", Box::new(|_| Message { kind: 99, ..Message::default() })),
    ];
    for (n, (what, offence)) in (1_u64..).zip(offences) {
        let mut rogue = Rogue::start(keys[1 + n as usize].clone(), &list).await;
        let began = Instant::now();
        assert_eq!(rogue.offend(first, offence).await, 3, "{what}");
        println!("{what}: kept out after {:?}", began.elapsed());
        assert_eq!(first.counts().quarantined, n, "{what}");
        assert!(first.quarantined().contains(&rogue.net.node().key));
        there.call(|reply| Msg::NoteAsk(n, reply)).within(PATIENCE).await.unwrap();
        rogue.net.stop().await;
    }
    assert_eq!(crate::puppet::notes(&there).await, [1, 2, 3], "no note of a rogue is there");
    let grown = resident_bytes().saturating_sub(before);
    println!("grown by {grown} bytes");
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    for (node, other) in [(first, second), (second, first)] {
        let other = other.id().unwrap();
        let alive = node
            .members()
            .iter()
            .any(|member| member.node == other && member.standing == Standing::Alive);
        assert!(alive, "a healthy node was declared down");
    }
}
