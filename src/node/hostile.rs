//! What a member sends that no correct node sends, given to a live node frame by frame.

mod messages;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mobula_actors::carrier::Address;
use mobula_actors::demand::Demand;
use mobula_actors::id::{ActorId, Epoch, NodeId, PeerKey};
use mobula_actors::wire::Wire;
use mobula_actors::{
    Actor, ActorRef, Context, Down, Exit, Fault, OnRestart, Payload, Reply, Restart, kind, protocol,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Node;
use super::cluster::{Cluster, service_id};
use super::frames::{self, CREDIT, FITS, GONE, HANDED, MESSAGE, MessageHead, REPLY, SHAPE};
use super::inbound::Door;
use super::service::{NodeMsg, StartOrder};
use crate::machine::Rng;
use crate::net::{Allowlist, DialOutcome, Identity, Inbound, Link, Message, Net, NetConfig};

/// Longer than anything here takes; reached only by what hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Damaged frames in a run of the tests; the variable `MOBULA_MUTATIONS` asks for more.
const MUTATIONS: u64 = 20_000;

#[derive(Serialize, Deserialize)]
pub(super) enum TargetMsg {
    Text(String, Option<Box<(u8, i64)>>),
    List(Vec<(u16, String)>),
    Ask(Reply<u64>),
    Refer(ActorRef<Self>, Payload),
}
protocol!(TargetMsg = "test.target/1");

pub(super) struct Target;
kind!(Target = "test.target");

impl Actor for Target {
    type Args = ();
    type Msg = TargetMsg;
    async fn start(_: (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }
    async fn handle(&mut self, msg: TargetMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        if let TargetMsg::Ask(reply) = msg {
            reply.send(1);
        }
        Ok(())
    }
}

/// A member that writes down what it is sent.
struct Scribe(UnboundedSender<(Link, Option<Message>)>);

impl Inbound for Scribe {
    fn connected(&self, _: NodeId, link: Link, _: String) {
        let _ = self.0.send((link, None));
    }
    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {}
    fn dial_outcome(&self, _: PeerKey, _: DialOutcome) {}
    fn message(&self, _: NodeId, link: &Link, message: Message) {
        let _ = self.0.send((link.clone(), Some(message)));
    }
}

pub(super) struct Scene {
    pub(super) node: Node,
    pub(super) cluster: Arc<Cluster>,
    pub(super) scribe: Net,
    heard: UnboundedReceiver<(Link, Option<Message>)>,
    link: Link,
    /// An actor that can be reached from elsewhere.
    target: ActorRef<TargetMsg>,
    pub(super) target_id: ActorId,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let mut scene = Self::with(false).await;
        assert!(scene.node.until(PATIENCE, |members| members.len() == 2).await);
        // What a node asks of every newcomer: who of it is in which groups.
        scene.frame(scene.target_id).await;
        scene
    }

    /// With a scribe that says that it only looks.
    pub(super) async fn observed() -> Self {
        Self::with(true).await
    }

    async fn with(observer: bool) -> Self {
        let keys = [Identity::generate(), Identity::generate()];
        let members: Allowlist = keys.iter().map(Identity::peer_key).collect();
        let [key, scribe] = keys;
        let builder = Node::builder().key(key).members(members.clone()).host::<Target>();
        let node = builder.listen("/ip4/127.0.0.1/tcp/0").start().await.unwrap();
        let cluster = node.0.cluster.as_ref().unwrap().cluster();
        let target = cluster.engine.spawn(Target::spec(())).await.unwrap();
        let target_id = cluster.engine.next_id();
        cluster.engine.export_as(target_id, &target);
        let (told, mut heard) = unbounded_channel();
        let mut config = NetConfig::new(scribe, 1, members);
        config.observer = observer;
        let scribe = Net::start(config, Arc::new(Scribe(told))).await.unwrap();
        scribe.dial(cluster.id.key, &node.addresses()[0]).unwrap();
        let (link, _) = heard.recv().await.unwrap();
        Self { node, cluster, scribe, heard, link, target, target_id }
    }

    /// The next message to an actor, readdressed to `actor` of the node itself.
    pub(super) async fn frame(&mut self, actor: ActorId) -> Message {
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap();
            let Some(message) = heard.1.filter(|message| message.kind == MESSAGE) else { continue };
            let (mut head, behind) = frames::split::<MessageHead>(&message.head).unwrap();
            head.actor = actor;
            let head = [&frames::bare(MESSAGE, &head).head[..], &behind].concat();
            // What names its protocol's shape was said before it, and is not said again.
            return Message { head: head.into(), target: 0, ..message };
        }
    }

    /// One valid frame of each kind and of each question that nodes ask.
    async fn frames(&mut self) -> Vec<Message> {
        let (there, me) = (self.scribe.node(), self.cluster.id);
        let carrier = self.cluster.carrier().unwrap();
        let ghost = ActorId { origin: 7, number: 7 };
        let at = Address { actor: ghost, epoch: Epoch(1), node: there, home: there };
        let remote = ActorRef::<TargetMsg>::at(&self.cluster.engine, carrier, at);
        let service = self.cluster.service(there).unwrap();
        let mut valid = Vec::new();
        for msg in self.target_messages() {
            remote.cast(msg).ok().unwrap();
            valid.push(self.frame(self.target_id).await);
        }
        let asked = remote.clone();
        tokio::spawn(async move { asked.call(TargetMsg::Ask).await });
        valid.push(self.frame(self.target_id).await);
        for msg in plain_questions(self.target_id, me) {
            service.cast(msg).ok().unwrap();
            valid.push(self.frame(service_id(me)).await);
        }
        for ask in calls(self.target_id, me) {
            ask(service.clone());
            valid.push(self.frame(service_id(me)).await);
        }
        valid.extend(frames::samples(self.target_id, me));
        valid
    }

    fn target_messages(&self) -> Vec<TargetMsg> {
        vec![
            TargetMsg::Text("text".repeat(9), Some(Box::new((1, -9)))),
            TargetMsg::List((0..9).map(|n| (n, n.to_string())).collect()),
            TargetMsg::Refer(self.target.clone(), Payload(Bytes::from_static(&[7; 99]))),
        ]
    }

    /// Gives the node a frame as its network does, on behalf of `from`.
    pub(super) fn give(&self, from: NodeId, message: Message) {
        Door(Arc::downgrade(&self.cluster)).message(from, &self.link, message);
    }

    pub(super) async fn until(&self, what: &str, done: impl Fn(&Cluster) -> bool) {
        let mut tries = tokio::time::interval(Duration::from_millis(5));
        let done = tokio::time::timeout(PATIENCE, async {
            while !done(&self.cluster) {
                tries.tick().await;
            }
        });
        assert!(done.await.is_ok(), "{what}");
    }

    /// The node lives: its own actor answers, and so does one of the user, which takes the place
    /// of the target that a member may have ended.
    pub(super) async fn lives(&mut self) {
        let me = self.cluster.id;
        let members = tokio::time::timeout(PATIENCE, self.node.members_of(me)).await.unwrap();
        assert!(!members.unwrap().is_empty(), "its own actor answers");
        self.target = self.cluster.engine.spawn(Target::spec(())).await.unwrap();
        self.cluster.engine.export_as(self.target_id, &self.target);
        assert_eq!(self.target.call(TargetMsg::Ask).within(PATIENCE).await.unwrap(), 1);
    }
}

fn plain_questions(actor: ActorId, node: NodeId) -> Vec<NodeMsg> {
    let epoch = Epoch(1);
    let down = Down { actor, epoch, exit: Exit::Panicked("why".into()), restarting: false };
    vec![
        NodeMsg::End { actor, epoch: Some(epoch), exit: Exit::Shutdown, kill: true },
        NodeMsg::Retire { actor, epoch },
        NodeMsg::Watch { actor, watcher: node, number: 9 },
        NodeMsg::Fired { by: node, number: 9, down },
        NodeMsg::Absent { number: 9 },
        NodeMsg::Unwatch { watcher: node, number: 9 },
    ]
}

pub(super) type Ask = Box<dyn FnOnce(ActorRef<NodeMsg>)>;

pub(super) fn ask<R: Wire>(question: impl FnOnce(Reply<R>) -> NodeMsg + Send + 'static) -> Ask {
    Box::new(move |service| {
        // Nobody answers; the end of the test ends it.
        tokio::spawn(async move { service.call(question).await.is_ok() });
    })
}

fn calls(actor: ActorId, home: NodeId) -> Vec<Ask> {
    let epoch = Epoch(1);
    let kind = || "test.target".to_owned();
    let state = || Payload(Bytes::from_static(&[1; 40]));
    vec![
        ask(move |verdict| NodeMsg::Reserve {
            reservation: 1,
            actor,
            epoch,
            kind: kind(),
            demand: Demand::cpu(0.1),
            verdict,
        }),
        ask(move |started| {
            NodeMsg::Start(Box::new(StartOrder {
                reservation: 1,
                home,
                kind: kind(),
                args: Payload(Bytes::new()),
                actor,
                epoch,
                checkpoint: Some(state()),
                mailbox_messages: 8,
                restart: Restart::Permanent,
                on_restart: OnRestart::Keep,
                supervised: true,
                start_timeout_ms: 100,
                started,
            }))
        }),
        ask(move |reply| NodeMsg::Locate { actor, next: false, reply }),
        ask(move |found| NodeMsg::NameFind { name: "name".into(), found }),
        ask(move |refused| NodeMsg::Names { enter: Vec::new(), leave: Vec::new(), refused }),
        ask(move |known| NodeMsg::Ended { actor, epoch, exit: Exit::Killed, known }),
        ask(move |stored| NodeMsg::Checkpoint {
            actor,
            epoch,
            sequence: 1,
            state: state(),
            stored,
        }),
        ask(|reply| NodeMsg::Members { reply }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_member_ends_the_own_actor_of_a_node() {
    let mut scene = Scene::new().await;
    let (me, there) = (scene.cluster.id, scene.scribe.node());
    let service = scene.cluster.service(there).unwrap();
    let (actor, exit) = (service_id(me), Exit::Shutdown);
    for kill in [false, true] {
        let end = NodeMsg::End { actor, epoch: None, exit: exit.clone(), kill };
        service.cast(end).ok().unwrap();
        let frame = scene.frame(actor).await;
        scene.give(there, frame);
        scene.lives().await;
    }
}

pub(super) fn stranger(n: u64) -> NodeId {
    NodeId { key: PeerKey([n as u8; 32]), boot: n }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_frames_of_members_never_panic_a_node() {
    // W-2, F-2
    let mut scene = Scene::new().await;
    let valid = scene.frames().await;
    // They may ask what the scribe may.
    (0..64).for_each(|n| scene.cluster.add_link(stranger(n), scene.link.clone()));
    assert!(valid.len() > 15);
    let read = |name| std::env::var(name).ok().and_then(|n: String| n.parse().ok());
    let (mutations, seed) = (read("MOBULA_MUTATIONS").unwrap_or(MUTATIONS), read("MOBULA_SEED"));
    let seed = seed.unwrap_or(4);
    println!("REPRODUCE: MOBULA_MUTATIONS={mutations} MOBULA_SEED={seed}");
    let mut rng = Rng::new(seed);
    for n in 0..mutations {
        let pick = |rng: &mut Rng| valid[rng.below(valid.len() as u64) as usize].clone();
        let (mut message, other) = (pick(&mut rng), pick(&mut rng));
        for _ in 0..=rng.below(3) {
            damage(&mut message, &other, &mut rng);
        }
        scene.give(stranger(n % 64), message);
        if n % 1_000 == 0 {
            scene.lives().await;
        }
    }
    scene.lives().await;
    let refused = scene.node.counts().violations;
    println!("{mutations} damaged frames, {refused} refused as malformed");
    assert!((mutations / 10..mutations * 9 / 10).contains(&refused), "the damage is of both kinds");
}

/// One structured change: a bit, a byte that lies at an edge, a cut, a repetition, a length that
/// does not end, a part of another frame, another kind.
fn damage(message: &mut Message, other: &Message, rng: &mut Rng) {
    let in_head = rng.below(4) > 0;
    let (bytes, others) = if in_head {
        (&mut message.head, &other.head)
    } else {
        (&mut message.payload, &other.payload)
    };
    let mut vec = bytes.to_vec();
    let at = rng.below(vec.len() as u64 + 1) as usize;
    match rng.below(8) {
        0 if at < vec.len() => vec[at] ^= 1 << rng.below(8),
        1 if at < vec.len() => vec[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
        2 => vec.truncate(at),
        3 => vec.extend_from_within(at..),
        4 => drop(vec.splice(at..at, [0xff; 9])),
        5 => drop(vec.splice(at.., others.iter().copied().skip(at))),
        6 => vec.extend_from_slice(others),
        // Gossip has a test of its own, whose addresses nobody dials.
        _ => {
            message.kind =
                [0, MESSAGE, REPLY, CREDIT, GONE, HANDED, SHAPE, FITS][rng.below(8) as usize]
        }
    }
    if in_head {
        message.head = vec.into();
    } else {
        message.payload = vec.into();
    }
}

/// Variable-length numbers: the largest, one beyond 64 bits, one that does not end.
const MOST: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
const BEYOND: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
const ENDLESS: [u8; 12] = [0x80; 12];

/// Heads that are none, with the kind of frame that they pretend to be.
fn vectors() -> Vec<(u8, Vec<u8>, &'static [u8])> {
    // Actor (1, 2), epoch 1, no deadline.
    let to = [1, 2, 1, 0];
    let with = |rest: &[&[u8]]| [&to[..], &rest.concat()].concat();
    let mut vectors: Vec<(u8, Vec<u8>, &'static [u8])> = vec![
        (0, vec![], b""),
        (9, vec![], b""),
        (127, vec![0; 40], b"text"),
        (MESSAGE, vec![], b""),
        (MESSAGE, ENDLESS.to_vec(), b""),
        (MESSAGE, BEYOND.to_vec(), b""),
        (MESSAGE, MOST.to_vec(), b""),
        // A deadline that is neither there nor not, and one beyond 64 bits.
        (MESSAGE, [1, 2, 1, 2].to_vec(), b""),
        (MESSAGE, [&[1, 2, 1, 1][..], &BEYOND].concat(), b""),
        // Calls: 2^64, 2^28, 65 where 64 are allowed, one without its number, of no node.
        (MESSAGE, with(&[&MOST]), b""),
        (MESSAGE, with(&[&[0x80, 0x80, 0x80, 0x80, 0x01]]), b""),
        (MESSAGE, with(&[&[65], &[0, 1].repeat(65), &[0, 0]]), b""),
        (MESSAGE, with(&[&[1, 0]]), b""),
        (MESSAGE, with(&[&[1, 2, 1]]), b""),
        (MESSAGE, with(&[&[1, 1], &[9; 31]]), b""),
        // A boolean of 2; sizes: 2^64, 66 of them, one beyond 32 bits, beyond the payload, short
        // of it, none for a body that is behind, a body in both places.
        (MESSAGE, with(&[&[0, 2, 0]]), b""),
        (MESSAGE, with(&[&[0, 0], &MOST]), b""),
        (MESSAGE, with(&[&[0, 0, 66], &[0; 66]]), b""),
        (MESSAGE, with(&[&[0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x1f]]), b""),
        (MESSAGE, with(&[&[0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]]), b"abc"),
        (MESSAGE, with(&[&[0, 0, 1, 4]]), b"abc"),
        (MESSAGE, with(&[&[0, 0, 1, 2]]), b"abc"),
        (MESSAGE, with(&[&[0, 0, 0]]), b"abc"),
        (MESSAGE, with(&[&[0, 1, 0]]), b""),
        (MESSAGE, with(&[&[0, 1, 1, 3, 9]]), b"abc"),
        (REPLY, vec![], b""),
        (REPLY, ENDLESS.to_vec(), b""),
        (REPLY, vec![1], b""),
        // Neither well nor ill; an error of no kind; a reason of no kind.
        (REPLY, vec![1, 2, 0, 0], b""),
        (REPLY, vec![1, 1, 9], b""),
        (REPLY, vec![1, 1, 0, 99], b""),
        (REPLY, vec![1, 0, 0, 1, 5], b"abc"),
        (REPLY, vec![1, 0, 1, 0], b""),
        (REPLY, [&[1, 0, 0][..], &MOST].concat(), b""),
        (CREDIT, vec![], b""),
        (CREDIT, vec![1, 2], b""),
        (CREDIT, [&[1, 2][..], &MOST].concat(), b""),
        (CREDIT, [&[1, 2][..], &ENDLESS].concat(), b""),
        (GONE, vec![], b""),
        (GONE, vec![1], b""),
        (GONE, [&[1][..], &BEYOND].concat(), b""),
        (HANDED, vec![], b""),
        (HANDED, vec![1], b""),
        (HANDED, [&[1][..], &[9; 31]].concat(), b""),
        (HANDED, [&[1][..], &[9; 32]].concat(), b""),
        (HANDED, [&[1][..], &[9; 32], &ENDLESS].concat(), b""),
        // What carries nothing but its head, with more.
        (CREDIT, vec![1, 2, 3, 0], b""),
        (CREDIT, vec![1, 2, 3], b"abc"),
        (GONE, vec![1, 2, 0], b""),
        (GONE, vec![1, 2], b"abc"),
        (HANDED, [&[1][..], &[9; 32], &[1, 0]].concat(), b""),
        (HANDED, [&[1][..], &[9; 32], &[1]].concat(), b"abc"),
        (REPLY, vec![1, 1, 1, 1, 0, 0, 9], b""),
        (REPLY, vec![1, 1, 1, 1, 0, 0], b"abc"),
        // Number 0, a name that does not end, a number beyond 32 bits; a text of no text.
        (SHAPE, vec![], b""),
        (SHAPE, vec![0, 1, b'n'], b""),
        (SHAPE, vec![1, 9, b'n'], b""),
        (SHAPE, [&BEYOND[..], &[1, b'n']].concat(), b""),
        (SHAPE, vec![1, 1, b'n', 0], b""),
        (FITS, vec![1], b""),
        (FITS, vec![1, 2], b""),
        (FITS, vec![1, 1, 1, 0xff], b""),
        (FITS, vec![1, 0, 0], b""),
        (FITS, vec![1, 0], b"abc"),
    ];
    // Every head, cut everywhere.
    for whole in frames::samples(ActorId { origin: 300, number: 300 }, stranger(3)) {
        let (kind, head) = (whole.kind, whole.head);
        vectors.extend((0..head.len()).map(|at| (kind, head[..at].to_vec(), &b""[..])));
    }
    vectors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_of_a_later_version_is_skipped_if_it_may_be_and_ends_the_connection_if_not() {
    let mut scene = Scene::new().await;
    let frame = |kind| Message { kind, target: 0, head: vec![9; 40].into(), payload: Bytes::new() };
    scene.give(stranger(1), frame(0x80 | FITS));
    assert_eq!(scene.node.counts().violations, 0);
    scene.give(stranger(1), frame(FITS + 1));
    assert_eq!(scene.node.counts().violations, 1);
    scene.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_none_are_violations_and_nothing_else() {
    // I-1: nothing is delivered to the target that waits for what it is sent.
    let mut scene = Scene::new().await;
    let vectors = vectors();
    assert!(vectors.len() >= 40);
    for (n, (kind, head, payload)) in (1..).zip(vectors) {
        let shown = format!("kind {kind}, head {head:02x?}");
        let payload = Bytes::from_static(payload);
        scene.give(stranger(1), Message { kind, target: 0, head: head.into(), payload });
        assert_eq!(scene.node.counts().violations, n, "{shown}");
    }
    scene.lives().await;
}
