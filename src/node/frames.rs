//! What nodes say to each other beneath actors: the heads of the frames.
//!
//! ```text
//! kind      lane     head (postcard)                       behind it        payload
//! GOSSIP    control  –                                     –                a gossip frame
//! MESSAGE   call     actor, epoch, deadline, calls, parts  the message      its payloads, joined
//! REPLY     call     call number, outcome, parts           the answer       its payloads, joined
//! CREDIT    control  actor, messages                       –                –
//! GONE      control  actor                                 –                –
//! HANDED    call     call number, node                     –                –
//! SHAPE     call     number and name of a protocol         –                its shape
//! FITS      control  number of a protocol, why not         –                –
//! ```
//!
//! The target of a `MESSAGE` is the number of its protocol, as long as the receiver has not said that
//! its shape fits; 0 from then on. A kind with its high bit set may be skipped by whoever does not
//! know it.

use bytes::{Bytes, BytesMut};
use mobula_actors::CallError;
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::wire::{CallId, Outgoing, PAYLOADS_PER_MESSAGE_MAX};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::net::Message;

pub(super) const GOSSIP: u8 = 1;
pub(super) const MESSAGE: u8 = 2;
pub(super) const REPLY: u8 = 3;
pub(super) const CREDIT: u8 = 4;
pub(super) const GONE: u8 = 5;
pub(super) const HANDED: u8 = 6;
pub(super) const SHAPE: u8 = 7;
pub(super) const FITS: u8 = 8;

/// An encoded message up to this size travels in the frame's head; a larger one before the
/// payloads.
const BODY_IN_HEAD_BYTES_MAX: usize = 8 << 10;

/// Most heads fit into so much, and are encoded without growing.
const HEAD_BYTES_USUAL: usize = 64;

/// The head of a message to an actor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MessageHead {
    pub(super) actor: ActorId,
    /// The run that the sender knows of.
    pub(super) epoch: Epoch,
    /// What was left of a call's time when it was written, in microseconds; `None` for casts.
    pub(super) rest_us: Option<u64>,
    /// The calls that wait for an answer to it: `None` for the sender's own node.
    pub(super) calls: Vec<(Option<NodeId>, u64)>,
    pub(super) parts: Parts,
}

/// The head of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReplyHead {
    pub(super) number: u64,
    pub(super) outcome: Result<(), CallError>,
    pub(super) parts: Parts,
}

/// An actor that the receiver of this frame looks for in vain at its sender. It answers one
/// message, whose credit comes back with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GoneHead {
    pub(super) actor: ActorId,
}

/// The right to answer a call of the receiver of this frame has gone on to another node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandedHead {
    pub(super) number: u64,
    pub(super) to: NodeId,
}

/// What the sender of this frame means by a protocol, under a number that stays.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShapeHead {
    pub(super) number: u32,
    pub(super) name: String,
}

/// Whether the shape that came under a number fits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FitsHead {
    pub(super) number: u32,
    pub(super) misfit: Option<String>,
}

/// How what stands behind a head is to be cut apart.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    /// The encoded value is too large for the head: it is the first part of the payload.
    body_behind: bool,
    sizes: Vec<u32>,
}

/// Room that an actor has for more messages of the receiver of this frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CreditHead {
    pub(super) actor: ActorId,
    pub(super) messages: u32,
}

impl MessageHead {
    pub(super) fn new(
        actor: ActorId,
        epoch: Epoch,
        rest_us: Option<u64>,
        here: NodeId,
        calls: &[CallId],
        parts: Parts,
    ) -> Self {
        let near = |call: &CallId| ((call.origin != here).then_some(call.origin), call.number);
        Self { actor, epoch, rest_us, calls: calls.iter().map(near).collect(), parts }
    }

    /// The calls, with the sender's own named.
    pub(super) fn calls(&self, from: NodeId) -> impl Iterator<Item = CallId> + '_ {
        self.calls
            .iter()
            .map(move |&(origin, number)| CallId { origin: origin.unwrap_or(from), number })
    }
}

impl Parts {
    pub(super) fn of(outgoing: &Outgoing) -> Self {
        let body_behind = outgoing.head.len() > BODY_IN_HEAD_BYTES_MAX;
        let sizes = outgoing.payloads.iter().map(Bytes::len);
        let sizes = body_behind.then_some(outgoing.head.len()).into_iter().chain(sizes);
        let sizes = sizes.map(|size| u32::try_from(size).unwrap_or(u32::MAX)).collect();
        Self { body_behind, sizes }
    }

    /// What travels behind the head, which is what a message is measured by.
    pub(super) fn bytes(&self) -> usize {
        self.sizes.iter().map(|&size| size as usize).sum()
    }

    /// Cuts what a frame carries into the encoded value and its payloads; `None` if it does not
    /// add up.
    pub(super) fn cut(&self, behind: Bytes, mut joined: Bytes) -> Option<(Bytes, Vec<Bytes>)> {
        if self.sizes.len() > PAYLOADS_PER_MESSAGE_MAX + 1 {
            return None;
        }
        let mut parts = Vec::with_capacity(self.sizes.len());
        for &size in &self.sizes {
            let size = size as usize;
            if size > joined.len() {
                return None;
            }
            parts.push(joined.split_to(size));
        }
        if !joined.is_empty() || (self.body_behind && (parts.is_empty() || !behind.is_empty())) {
            return None;
        }
        let body = if self.body_behind { parts.remove(0) } else { behind };
        Some((body, parts))
    }
}

/// A frame that carries nothing but its head.
pub(super) fn bare(kind: u8, head: &impl Serialize) -> Message {
    Message { kind, target: 0, head: encode(head, 0).into(), payload: Bytes::new() }
}

/// A frame that carries `outgoing` as `Parts::of` says.
pub(super) fn frame(kind: u8, head: &impl Serialize, outgoing: &mut Outgoing) -> Message {
    let mut parts = std::mem::take(&mut outgoing.payloads);
    let body = std::mem::take(&mut outgoing.head);
    let is_behind = body.len() > BODY_IN_HEAD_BYTES_MAX;
    let mut bytes = encode(head, if is_behind { 0 } else { body.len() });
    if is_behind {
        parts.insert(0, body.into());
    } else {
        bytes.extend_from_slice(&body);
    }
    Message { kind, target: 0, head: bytes.into(), payload: join(parts) }
}

/// Puts back what [`frame`] took, after the frame was refused.
pub(super) fn unframe(message: Message, outgoing: &mut Outgoing) {
    let Some((head, behind)) = split::<MessageHead>(&message.head) else { return };
    if let Some((body, payloads)) = head.parts.cut(behind, message.payload) {
        outgoing.head = body.into();
        outgoing.payloads = payloads;
    }
}

/// The head of a frame that carries nothing else.
pub(super) fn whole<T: DeserializeOwned>(message: &Message) -> Option<T> {
    let (head, behind) = split(&message.head)?;
    (behind.is_empty() && message.payload.is_empty()).then_some(head)
}

/// The head of a frame, and what stands behind it.
pub(super) fn split<T: DeserializeOwned>(head: &Bytes) -> Option<(T, Bytes)> {
    let (value, rest) = postcard::take_from_bytes(head).ok()?;
    Some((value, head.slice_ref(rest)))
}

/// Encodes a head, with room for `more` bytes behind it.
fn encode(head: &impl Serialize, more: usize) -> Vec<u8> {
    let room = Vec::with_capacity(HEAD_BYTES_USUAL.saturating_add(more));
    // Heads are plain structs of numbers: encoding them into memory cannot fail. An empty head is
    // refused by the receiver as malformed, never misread.
    postcard::to_extend(head, room).unwrap_or_default()
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    match parts.len() {
        0 => Bytes::new(),
        // The common case travels uncopied.
        1 => parts.remove(0),
        _ => {
            let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| joined.extend_from_slice(part));
            joined.freeze()
        }
    }
}

/// One of each kind but messages, for those who try what a node does with them.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn samples(actor: ActorId, node: NodeId) -> Vec<Message> {
    use mobula_actors::{Lost, Why};

    let reply = |outcome| ReplyHead { number: 1, outcome, parts: Parts::default() };
    vec![
        bare(REPLY, &reply(Ok(()))),
        bare(REPLY, &reply(Err(CallError::Rejected(Why::NoRoute)))),
        bare(REPLY, &reply(Err(CallError::Unknown(Lost::Dropped)))),
        bare(CREDIT, &CreditHead { actor, messages: 9 }),
        bare(GONE, &GoneHead { actor }),
        bare(HANDED, &HandedHead { number: 1, to: node }),
        bare(SHAPE, &ShapeHead { number: 1, name: "test.target/1".into() }),
        bare(FITS, &FitsHead { number: 1, misfit: Some("why".into()) }),
    ]
}

#[cfg(test)]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body_behind: bool, sizes: &[u32]) -> Parts {
        Parts { body_behind, sizes: sizes.to_vec() }
    }

    #[test]
    fn payloads_are_cut_as_they_were_joined() {
        let payloads = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")];
        let cut = parts(false, &[2, 0, 3]).cut(Bytes::from_static(b"x"), join(payloads.clone()));
        assert_eq!(cut, Some((Bytes::from_static(b"x"), payloads)));
    }

    #[test]
    fn a_large_body_is_the_first_part() {
        let cut = parts(true, &[2, 1]).cut(Bytes::new(), Bytes::from_static(b"abc")).unwrap();
        assert_eq!(cut, (Bytes::from_static(b"ab"), vec![Bytes::from_static(b"c")]));
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        let abc = Bytes::from_static(b"abc");
        assert_eq!(parts(false, &[2]).cut(Bytes::new(), abc.clone()), None);
        assert_eq!(parts(false, &[2, 2]).cut(Bytes::new(), abc.clone()), None);
        assert_eq!(parts(true, &[]).cut(Bytes::new(), Bytes::new()), None);
        assert_eq!(parts(false, &[1; 100]).cut(Bytes::new(), abc), None);
    }
}
