//! The decoders of this room, for the fuzz targets.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mobula_actors::carrier::{Address, Answer, BoxFuture, Carrier, Monitor};
use mobula_actors::id::{ActorId, Epoch, NodeId, PeerKey};
use mobula_actors::wire::{self, CallId, Outgoing, Shape, Wire};
use mobula_actors::{CallError, Down, Engine, Exit, SpawnError, Why};
use tokio::runtime::{Builder, Runtime};

use super::children::Located;
use super::directory::{Entry, Refusal, Stamp};
use super::frames::{
    self, CREDIT, CreditHead, FITS, FitsHead, GONE, GoneHead, HANDED, HandedHead, MESSAGE,
    MessageHead, Parts, REPLY, ReplyHead, SHAPE, ShapeHead,
};
use super::membership::Member;
use super::service::NodeMsg;
use crate::placement::Verdict;

const PEER: NodeId = NodeId { key: PeerKey([2; 32]), boot: 1 };

/// The kind of a frame, the length of its head in two bytes, its head, its payload.
pub(crate) fn head(bytes: &[u8]) {
    let [kind, low, high, rest @ ..] = bytes else { return };
    let (head, payload) = rest.split_at(rest.len().min(u16::from_le_bytes([*low, *high]).into()));
    let (head, payload) = (Bytes::copy_from_slice(head), Bytes::copy_from_slice(payload));
    match *kind {
        MESSAGE => {
            let Some((head, behind)) = frames::split::<MessageHead>(&head) else { return };
            head.calls(PEER).for_each(drop);
            cut(&head.parts, behind, payload);
        }
        REPLY => {
            let Some((head, behind)) = frames::split::<ReplyHead>(&head) else { return };
            cut(&head.parts, behind, payload);
        }
        CREDIT => drop(frames::split::<CreditHead>(&head)),
        GONE => drop(frames::split::<GoneHead>(&head)),
        HANDED => drop(frames::split::<HandedHead>(&head)),
        SHAPE => {
            let _ = frames::split::<ShapeHead>(&head);
            let _ = Shape::decode(&payload);
        }
        FITS => drop(frames::split::<FitsHead>(&head)),
        _ => {}
    }
}

fn cut(parts: &Parts, behind: Bytes, payload: Bytes) {
    let all = behind.len() + payload.len();
    if let Some((body, payloads)) = parts.cut(behind, payload) {
        let cut = body.len() + payloads.iter().map(Bytes::len).sum::<usize>();
        assert_eq!(cut, all, "bytes came or went");
    }
}

/// A head of each kind.
pub(crate) fn heads() -> Vec<Vec<u8>> {
    let (actor, epoch) = (ActorId { origin: 1, number: 2 }, Epoch(1));
    let (calls, parts) = (vec![(None, 1), (Some(PEER), 2)], Parts::default());
    let message = MessageHead { actor, epoch, rest_us: Some(5_000_000), calls, parts };
    let mut all = frames::samples(actor, PEER);
    all.push(frames::bare(MESSAGE, &message));
    let bytes = |message: &crate::net::Message| {
        let [low, high, ..] = message.head.len().to_le_bytes();
        [&[message.kind, low, high][..], &message.head].concat()
    };
    all.iter().map(bytes).collect()
}

/// Decoders that need a node to decode for.
pub(crate) struct Decoders {
    carrier: Arc<dyn Carrier>,
    _runtime: Runtime,
}

impl Decoders {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.expect("the system gives a thread");
        let carrier = Arc::new(Nowhere(Engine::new(1, runtime.handle().clone())));
        Self { carrier, _runtime: runtime }
    }

    /// What nodes say to each other: which question or answer it is to be, how many bytes of
    /// payload there are, the message, its payload.
    pub(crate) fn message(&self, bytes: &[u8]) {
        let [what, payload, rest @ ..] = bytes else { return };
        let (head, payload) = rest.split_at(rest.len().saturating_sub((*payload).into()));
        match what % 7 {
            0 => self.decode::<NodeMsg>(head, payload),
            1 => self.decode::<Result<Verdict, String>>(head, payload),
            2 => self.decode::<Result<(), SpawnError>>(head, payload),
            3 => self.decode::<Located>(head, payload),
            4 => self.decode::<Vec<Member>>(head, payload),
            5 => self.decode::<Result<Option<Entry>, Refusal>>(head, payload),
            _ => self.decode::<Vec<(String, Refusal)>>(head, payload),
        }
    }

    fn decode<T: Wire>(&self, head: &[u8], payload: &[u8]) {
        let payloads = vec![Bytes::copy_from_slice(payload)];
        drop(wire::decode::<T>(&self.carrier, PEER, head, payloads));
    }

    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let (actor, epoch, watcher) = (ActorId { origin: 1, number: 2 }, Epoch(1), PEER);
        let exit = Exit::Panicked("why".into());
        let down = Down { actor, epoch, exit: exit.clone(), restarting: false };
        let stamp = Stamp { at_ms: 1, by: PEER, number: 3 };
        let address = Address { actor, epoch, node: PEER, home: PEER };
        let (name, protocol) = ("name".to_owned(), "test/1".to_owned());
        let entry = Entry { name: name.clone(), protocol, address, stamp };
        let free = crate::placement::Capacity::default();
        [
            self.encode(0, &NodeMsg::End { actor, epoch: Some(epoch), exit, kill: true }),
            self.encode(0, &NodeMsg::Retire { actor, epoch }),
            self.encode(0, &NodeMsg::Watch { actor, watcher, number: 9 }),
            self.encode(0, &NodeMsg::Fired { by: PEER, number: 9, down }),
            self.encode(1, &Ok::<_, String>(Verdict::Granted { free, device: Some(1) })),
            self.encode(2, &Err::<(), _>(SpawnError::Refused("why".into()))),
            self.encode(3, &Located::At(PEER, epoch)),
            self.encode(5, &Ok::<_, Refusal>(Some(entry))),
            self.encode(6, &vec![(name, Refusal::Taken(stamp))]),
        ]
        .into()
    }

    fn encode(&self, what: u8, value: &impl serde::Serialize) -> Vec<u8> {
        let head = wire::encode(&self.carrier, value).map(|outgoing| outgoing.head);
        [&[what, 0][..], &head.unwrap_or_default()].concat()
    }
}

/// A node from which nothing leaves.
struct Nowhere(Engine);

impl Carrier for Nowhere {
    fn node(&self) -> NodeId {
        NodeId { key: PeerKey([1; 32]), boot: 1 }
    }

    fn engine(&self) -> Engine {
        self.0.clone()
    }

    fn register(&self, _: Arc<dyn Answer>) -> Result<CallId, Why> {
        Err(Why::TooManyCalls)
    }

    fn forget(&self, _: CallId) {}

    fn push(
        &self,
        _: &Address,
        message: Outgoing,
        _: Option<Instant>,
    ) -> Result<(), (Outgoing, Why)> {
        Err((message, Why::NoRoute))
    }

    fn send(
        self: Arc<Self>,
        _: Address,
        message: Outgoing,
        _: Instant,
        _: bool,
    ) -> BoxFuture<'static, Result<(), (Outgoing, Why)>> {
        Box::pin(std::future::ready(Err((message, Why::NoRoute))))
    }

    fn reply(&self, _: CallId, _: Result<Outgoing, CallError>) {}

    fn monitor(&self, _: &Address, _: Monitor) {}

    fn stop(&self, _: &Address, _: Exit, _: bool) {}
}
