//! The right to answer one call.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::carrier::{Answer, Carrier};
use crate::error::{CallError, Lost, Why};
use crate::id::{ActorId, NodeId};
use crate::mailbox::sync::{AtomicBool, AtomicU64, Ordering, fence};
use crate::mailbox::{Slot, Waiting};
use crate::wire::{
    CallId, Lent, Outgoing, REPLIES_PER_MESSAGE_MAX, REPLY, Wire, decode, encode, unanswered,
    with_decoding, with_encoding,
};

/// The right to answer one call, once.
///
/// It can be kept, moved into a task, or put into a message to somebody who answers instead, on
/// this node or another. Dropping it unanswered tells the caller at once:
/// `Unknown(Dropped)`, or `Rejected` when the message it came in was never run.
#[must_use = "dropping a reply answers the caller with an error"]
pub struct Reply<T>(Side<T>);

enum Side<T> {
    Here(Arc<CallSlot<T>>),
    There(Arc<Elsewhere<T>>),
    /// Answered; nothing is left to do.
    Spent,
}

/// Where the answer to a caller of this node goes.
type CallSlot<T> = Slot<Result<T, CallError>, Errand>;

/// What is known of a call whose caller is on this node.
struct Errand {
    /// The call number under which the right to answer travels; 0 while it is here.
    lent: AtomicU64,
    /// Who carries it then.
    carrier: OnceLock<Arc<dyn Carrier>>,
    /// Who is called.
    target: (AtomicU64, AtomicU64),
    /// The call itself went to an actor of this node: what leaves is handed on.
    stays: AtomicBool,
}

/// A caller of this node that waits for its answer.
pub(crate) struct Answered<T>(Waiting<Result<T, CallError>, Errand>);

/// A caller that waits on another node.
struct Elsewhere<T> {
    carrier: Arc<dyn Carrier>,
    call: CallId,
    encode: fn(&Arc<dyn Carrier>, &T) -> Result<Outgoing, Why>,
    lent: AtomicU64,
    /// The actor of this node that is called; `None` if the reply was handed on to it.
    target: Option<ActorId>,
    /// It came straight from the caller's node.
    direct: bool,
}

impl<T: Send + 'static> Reply<T> {
    /// A reply and what waits for it.
    pub(crate) fn pair(target: ActorId) -> (Self, Answered<T>) {
        let (slot, waiting) = Slot::pair(Errand {
            lent: AtomicU64::new(0),
            carrier: OnceLock::new(),
            target: (AtomicU64::new(target.origin), AtomicU64::new(target.number)),
            stays: AtomicBool::new(false),
        });
        (Self(Side::Here(slot)), Answered(waiting))
    }

    /// Answers. A caller that has given up is none of the answerer's business: the value is
    /// dropped.
    pub fn send(mut self, value: T) {
        match std::mem::replace(&mut self.0, Side::Spent) {
            Side::Here(slot) => drop(slot.complete(Ok(value))),
            Side::There(there) => {
                let answer = (there.encode)(&there.carrier, &value)
                    .map_err(|why| CallError::Unknown(Lost::Undecodable(why.to_string())));
                there.carrier.reply(there.call, answer);
            }
            Side::Spent => {}
        }
    }

    /// Whether nobody waits for the answer any more. Known at once for callers on this node; a
    /// caller elsewhere is taken to wait.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        match &self.0 {
            Side::Here(slot) => slot.is_abandoned(),
            Side::There(_) => false,
            Side::Spent => true,
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        match &self.0 {
            Side::Here(slot) if slot.about().lent.load(Ordering::Acquire) == 0 => {
                let target = slot.about().target();
                let is_first = |by: Option<ActorId>| by.is_none_or(|by| by == target);
                drop(slot.complete(Err(unanswered(is_first))));
            }
            Side::There(there) if there.lent.load(Ordering::Acquire) == 0 => {
                let is_first = |by: Option<_>| there.direct && (by.is_none() || by == there.target);
                there.carrier.reply(there.call, Err(unanswered(is_first)));
            }
            _ => {}
        }
    }
}

impl<T> Answered<T> {
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, CallError>> {
        self.0.poll(cx)
    }

    /// The caller has gone: the answerer can see it, and the number of a call that left is freed.
    pub(crate) fn abandon(&mut self) {
        self.0.abandon();
        fence(Ordering::SeqCst);
        self.errand().forget();
    }

    /// The call goes to this actor after all.
    pub(crate) fn aim(&self, target: ActorId) {
        self.errand().target.0.store(target.origin, Ordering::Relaxed);
        self.errand().target.1.store(target.number, Ordering::Relaxed);
    }

    /// The call goes to an actor of this node.
    pub(crate) fn stay(&self) {
        self.errand().stays.store(true, Ordering::Release);
    }

    fn errand(&self) -> &Errand {
        self.0.slot().about()
    }
}

impl Errand {
    fn target(&self) -> ActorId {
        let (origin, number) = &self.target;
        ActorId { origin: origin.load(Ordering::Relaxed), number: number.load(Ordering::Relaxed) }
    }

    fn forget(&self) {
        let number = self.lent.load(Ordering::Acquire);
        if let (true, Some(carrier)) = (number != 0, self.carrier.get()) {
            carrier.forget(CallId { origin: carrier.node(), number });
        }
    }
}

/// The right to answer leaves under `call`.
fn lend<T>(slot: &CallSlot<T>, carrier: &Arc<dyn Carrier>, call: CallId) {
    let errand = slot.about();
    let _ = errand.carrier.set(carrier.clone());
    errand.lent.store(call.number, Ordering::Release);
    // Of a caller that goes at the same time, either it sees the number or this sees it gone.
    fence(Ordering::SeqCst);
    if slot.is_abandoned() {
        errand.forget();
    }
}

/// The pending side of a reply that travels.
struct Pending<T> {
    slot: Arc<CallSlot<T>>,
    carrier: Arc<dyn Carrier>,
}

impl<T: Wire> Answer for CallSlot<T> {
    fn answer(&self, carrier: &Arc<dyn Carrier>, from: NodeId, head: &[u8], payloads: Vec<Bytes>) {
        let value = decode::<T>(carrier, from, head, payloads)
            .map_err(|text| CallError::Unknown(Lost::Undecodable(text)));
        drop(self.complete(value));
    }

    fn fail(&self, error: CallError) {
        let error = match error {
            // What was refused was handed on by an actor that has run (W-3).
            CallError::Rejected(_) if self.about().stays.load(Ordering::Acquire) => {
                CallError::Unknown(Lost::Dropped)
            }
            error => error,
        };
        drop(self.complete(Err(error)));
    }
}

impl<T: Send> Lent for Pending<T> {
    fn take_back(&self) {
        let number = self.slot.about().lent.swap(0, Ordering::AcqRel);
        self.carrier.forget(CallId { origin: self.carrier.node(), number });
    }
}

impl<T: Send> Lent for Elsewhere<T> {
    fn take_back(&self) {
        self.lent.store(0, Ordering::Release);
    }
}

impl<T: Wire> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (near, call) = with_encoding(|context| {
            if context.calls.len() >= REPLIES_PER_MESSAGE_MAX {
                return Err(Why::TooManyCalls);
            }
            let call = match &self.0 {
                Side::Here(slot) => {
                    let call = context.carrier.register(slot.clone())?;
                    lend(slot, &context.carrier, call);
                    let carrier = context.carrier.clone();
                    context.lent.push(Arc::new(Pending { slot: slot.clone(), carrier }));
                    call
                }
                Side::There(there) => {
                    there.lent.store(1, Ordering::Release);
                    context.lent.push(there.clone());
                    there.call
                }
                Side::Spent => {
                    return Err(Why::Incompatible("a reply in the message is spent".into()));
                }
            };
            context.calls.push(call);
            Ok((call.origin == context.carrier.node(), call))
        })?;
        // The sender's own calls are the common case and need no node name on the wire.
        let origin = (!near).then_some(call.origin);
        (origin, call.number).serialize(serializer)
    }
}

impl<'de, T: Wire> Deserialize<'de> for Reply<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(REPLY, ReplyVisitor(PhantomData))
    }
}

struct ReplyVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: Wire> Visitor<'de> for ReplyVisitor<T> {
    type Value = Reply<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a call")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, call: D) -> Result<Reply<T>, D::Error> {
        let (origin, number) = <(Option<NodeId>, u64)>::deserialize(call)?;
        with_decoding(|context| {
            let call = CallId { origin: origin.unwrap_or(context.from), number };
            let carrier = context.carrier.clone();
            let (lent, direct) = (AtomicU64::new(0), call.origin == context.from);
            let (encode, target) = (encode::<T> as fn(&_, &_) -> _, context.to);
            let there = Elsewhere { carrier, call, encode, lent, target, direct };
            Ok(Reply(Side::There(Arc::new(there))))
        })
    }

    /// Its type is being traced: the answer is part of what both sides must agree on.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seen: A) -> Result<Reply<T>, A::Error> {
        drop(seen.next_element::<T>()?);
        Ok(Reply(Side::Spent))
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match &self.0 {
            Side::Here(_) => "here",
            Side::There(_) => "elsewhere",
            Side::Spent => "spent",
        };
        f.debug_tuple("Reply").field(&side).finish()
    }
}
