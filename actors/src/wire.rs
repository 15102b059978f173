//! How messages become bytes and back.
//!
//! Encoding and decoding run inside a short-lived, thread-local context. It is what lets a plain
//! serde type hold an [`ActorRef`](crate::ActorRef), a [`Reply`](crate::Reply) or a [`Payload`]:
//! a reference writes its address, a reply registers a pending call and writes its number, a
//! payload writes its index and lets its bytes travel behind, uncopied.
//!
//! Invariants:
//! - **W-1** Encoding that does not end in a sent message undoes every call it registered.
//! - **W-2** Bytes from outside never panic; what is left over after a message is an error.
//! - **W-3** A message that is dropped instead of run says so: its replies answer `Rejected`. A
//!   reply that an actor handed on answers `Unknown`, because the message it came in has run.

mod shape;
mod trace;

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::LocalKey;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::carrier::Carrier;
use crate::engine::Engine;
use crate::error::{CallError, Why};
use crate::id::{ActorId, NodeId};
pub use crate::wire::shape::{Fit, Misfit, SHAPE_BYTES_MAX, Shape};
use crate::wire::trace::PAYLOAD;
pub(crate) use crate::wire::trace::{ACTOR_REF, REPLY, made_up_reference};

/// Payloads one message may carry.
pub const PAYLOADS_PER_MESSAGE_MAX: usize = 64;
/// Replies one message may carry.
pub const REPLIES_PER_MESSAGE_MAX: usize = 64;

/// A value that can travel between nodes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between nodes",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it"
)]
pub trait Wire: Serialize + DeserializeOwned + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Send + 'static> Wire for T {}

/// A message type that can travel between nodes under a stable name.
///
/// Written with [`protocol!`](crate::protocol). A reference to actors of this protocol can then
/// stand inside other messages:
///
/// ```
/// # use mobula_actors::{ActorRef, protocol};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// enum CounterMsg { Add(i64) }
/// protocol!(CounterMsg = "shop.counter/1");
///
/// #[derive(Serialize, Deserialize)]
/// enum FeedMsg { Count(ActorRef<CounterMsg>) }
/// protocol!(FeedMsg = "shop.feed/1");
/// ```
///
/// Without its line the reference does not travel, and the compiler says which line is missing:
///
/// ```compile_fail
/// # use mobula_actors::{ActorRef, protocol};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// enum CounterMsg { Add(i64) }
///
/// #[derive(Serialize, Deserialize)]
/// enum FeedMsg { Count(ActorRef<CounterMsg>) }
/// protocol!(FeedMsg = "shop.feed/1");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no protocol, so it cannot leave this node",
    note = "derive `Serialize` and `Deserialize` for it and add `protocol!({Self} = \"name/1\");`"
)]
pub trait Protocol: Wire {
    /// Name and version, as in `"shop.counter/1"`.
    const NAME: &'static str;
}

/// Gives a message type a stable name: `protocol!(CounterMsg = "shop.counter/1");`
#[macro_export]
macro_rules! protocol {
    ($message:ty = $name:literal) => {
        impl $crate::Protocol for $message {
            const NAME: &'static str = $name;
        }
    };
}

/// A protocol as two nodes compare it.
pub struct Schema {
    name: &'static str,
    message: TypeId,
    trace: fn(&Engine) -> Shape,
}

impl Schema {
    /// That of `M`.
    #[must_use]
    pub const fn of<M: Protocol>() -> &'static Self {
        const { &Self { name: M::NAME, message: TypeId::of::<M>(), trace: Shape::of::<M> } }
    }

    /// The name and version of the protocol.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The type of its messages.
    #[must_use]
    pub fn message(&self) -> TypeId {
        self.message
    }

    /// The shape of its messages. It is made anew each time, which takes up to milliseconds.
    #[must_use]
    pub fn shape(&self, engine: &Engine) -> Shape {
        (self.trace)(engine)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.name)
    }
}

/// The node and number of a call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallId {
    /// Where the caller waits.
    pub origin: NodeId,
    /// The caller's number for it.
    pub number: u64,
}

/// Bytes inside a message that are too many to copy: they travel behind the message as they are.
///
/// A plain `Vec<u8>` works too, and is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Bytes);

/// A right to answer that encoding has handed over to the wire.
pub(crate) trait Lent: Send + Sync {
    /// The call was not sent after all: the right returns to the message.
    fn take_back(&self);
}

/// An encoded message, not yet sent. Dropping it undoes what encoding registered.
pub struct Outgoing {
    /// The message in postcard.
    pub head: Vec<u8>,
    /// The payloads, in order of their indexes.
    pub payloads: Vec<Bytes>,
    /// The calls that wait for an answer to this message. Who refuses it answers those of the
    /// sender's node `Rejected`, and those of other nodes `Unknown`: they were handed on (W-3).
    pub calls: Vec<CallId>,
    /// The protocol of a message to an actor; `None` for answers and arguments.
    pub schema: Option<&'static Schema>,
    lent: Loans,
}

/// Rights to answer that encoding has lent. Dropped, they return (W-1).
#[derive(Default)]
pub(crate) struct Loans(Vec<Arc<dyn Lent>>);

impl Loans {
    pub(crate) fn push(&mut self, lent: Arc<dyn Lent>) {
        self.0.push(lent);
    }
}

impl Drop for Loans {
    fn drop(&mut self) {
        for lent in self.0.drain(..) {
            lent.take_back();
        }
    }
}

impl Outgoing {
    /// The bytes of the payloads and the head together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.payloads.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says that the message is on its way: the calls it carries stay registered.
    pub fn sent(&mut self) {
        self.lent.0.clear();
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("bytes", &self.len()).field("calls", &self.calls).finish()
    }
}

pub(crate) struct Encoding {
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) calls: Vec<CallId>,
    pub(crate) lent: Loans,
    payloads: Vec<Bytes>,
    /// The reason of a failure: postcard keeps no text of its own.
    refusal: Option<Why>,
}

pub(crate) struct Decoding {
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) from: NodeId,
    /// The actor whose message it is.
    pub(crate) to: Option<ActorId>,
    payloads: Vec<Bytes>,
    /// The reason of a failure, as above.
    refusal: Option<&'static str>,
}

thread_local! {
    static ENCODING: RefCell<Option<Encoding>> = const { RefCell::new(None) };
    static DECODING: RefCell<Option<Decoding>> = const { RefCell::new(None) };
    static DISCARDING: Cell<Option<Discarding>> = const { Cell::new(None) };
}

/// Most messages fit into so much, and are encoded without growing.
const BYTES_USUAL: usize = 64;

/// Encodes `value` for the wire of `carrier`'s node.
///
/// # Errors
/// [`Why::TooManyCalls`] or [`Why::Incompatible`]; nothing stays registered.
pub fn encode<T: Serialize + ?Sized>(
    carrier: &Arc<dyn Carrier>,
    value: &T,
) -> Result<Outgoing, Why> {
    let fresh = Encoding {
        carrier: carrier.clone(),
        calls: Vec::new(),
        lent: Loans::default(),
        payloads: Vec::new(),
        refusal: None,
    };
    let scope = Scope::enter(&ENCODING, fresh);
    let written = postcard::to_extend(value, Vec::with_capacity(BYTES_USUAL));
    let Some(context) = scope.leave() else {
        return Err(Why::Incompatible("the encoding context is gone".into()));
    };
    let mut outgoing = Outgoing {
        head: Vec::new(),
        payloads: context.payloads,
        calls: context.calls,
        schema: None,
        lent: context.lent,
    };
    match written {
        Ok(head) => {
            outgoing.head = head;
            Ok(outgoing)
        }
        Err(error) => Err(context.refusal.unwrap_or_else(|| Why::Incompatible(error.to_string()))),
    }
}

/// [`encode`] of a message to an actor.
pub(crate) fn encode_message<M: Protocol>(
    carrier: &Arc<dyn Carrier>,
    message: &M,
) -> Result<Outgoing, Why> {
    let mut outgoing = encode(carrier, message)?;
    outgoing.schema = Some(Schema::of::<M>());
    Ok(outgoing)
}

/// Decodes a value that `from` sent to `carrier`'s node.
///
/// # Errors
/// A text that says what was wrong. Replies that had been decoded answer `Rejected`.
pub fn decode<T: DeserializeOwned>(
    carrier: &Arc<dyn Carrier>,
    from: NodeId,
    head: &[u8],
    payloads: Vec<Bytes>,
) -> Result<T, String> {
    decode_for(None, carrier, from, head, payloads)
}

/// The node whose message is being decoded; `None` while none is. It is the peer of the connection,
/// so a message that says who sent it can be held against that.
#[must_use]
pub fn sender() -> Option<NodeId> {
    DECODING.with(|slot| slot.borrow().as_ref().map(|context| context.from))
}

/// [`decode`] of a message to the actor `to`.
pub(crate) fn decode_for<T: DeserializeOwned>(
    to: Option<ActorId>,
    carrier: &Arc<dyn Carrier>,
    from: NodeId,
    head: &[u8],
    payloads: Vec<Bytes>,
) -> Result<T, String> {
    let fresh = Decoding { carrier: carrier.clone(), from, to, payloads, refusal: None };
    let scope = Scope::enter(&DECODING, fresh);
    let refused = || Why::Incompatible("the rest of the message could not be decoded".into());
    let read = || match postcard::take_from_bytes::<T>(head) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    };
    // Even a type's own code, given bytes it did not expect, must not end the node (W-2).
    let result = discarding(refused, || catch_unwind(AssertUnwindSafe(read)));
    let refusal = scope.leave().and_then(|context| context.refusal);
    let result = result.map(|read| read.map_err(|text| refusal.map_or(text, Into::into)));
    result.unwrap_or_else(|_| Err("its type panicked while it was decoded".into()))
}

/// A context in place for as long as this lives, also when a type's own code panics.
struct Scope<T: 'static> {
    slot: &'static LocalKey<RefCell<Option<T>>>,
    outer: Option<T>,
}

impl<T> Scope<T> {
    fn enter(slot: &'static LocalKey<RefCell<Option<T>>>, context: T) -> Self {
        Self { slot, outer: slot.replace(Some(context)) }
    }

    /// The context as it is now.
    fn leave(self) -> Option<T> {
        let mut scope = ManuallyDrop::new(self);
        let outer = scope.outer.take();
        scope.slot.replace(outer)
    }
}

impl<T> Drop for Scope<T> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        drop(self.slot.replace(outer));
    }
}

pub(crate) fn with_encoding<R, E: ser::Error>(
    body: impl FnOnce(&mut Encoding) -> Result<R, Why>,
) -> Result<R, E> {
    ENCODING.with(|slot| {
        let mut slot = slot.borrow_mut();
        let Some(context) = slot.as_mut() else {
            return Err(E::custom("references and replies travel only inside messages"));
        };
        body(context).map_err(|why| {
            let text = why.to_string();
            context.refusal = Some(why);
            E::custom(text)
        })
    })
}

pub(crate) fn with_decoding<R, E: serde::de::Error>(
    body: impl FnOnce(&mut Decoding) -> Result<R, &'static str>,
) -> Result<R, E> {
    DECODING.with(|slot| {
        let mut slot = slot.borrow_mut();
        let Some(context) = slot.as_mut() else {
            return Err(E::custom("references and replies travel only inside messages"));
        };
        body(context).map_err(|text| {
            context.refusal = Some(text);
            E::custom(text)
        })
    })
}

#[derive(Clone, Copy)]
struct Discarding {
    why: fn() -> Why,
    /// The actor whose messages they were; `None` if they reached none.
    by: Option<ActorId>,
}

/// Runs `body`, which drops messages that did not run: their replies answer `Rejected(why())`
/// instead of `Unknown`, unless they had been handed on by an actor that did run.
pub fn discarding<R>(why: fn() -> Why, body: impl FnOnce() -> R) -> R {
    discarding_by(None, why, body)
}

/// [`discarding`] of messages to the actor `by`.
pub(crate) fn discarding_by<R>(
    by: Option<ActorId>,
    why: fn() -> Why,
    body: impl FnOnce() -> R,
) -> R {
    struct Restore(Option<Discarding>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DISCARDING.with(|slot| slot.set(self.0));
        }
    }
    let _restore = Restore(DISCARDING.with(|slot| slot.replace(Some(Discarding { why, by }))));
    body()
}

/// What a reply that is dropped unanswered answers here and now. `is_first` says whether, as far
/// as it knows, it never left the message it was made for, which was to the actor given.
pub(crate) fn unanswered(is_first: impl FnOnce(Option<ActorId>) -> bool) -> CallError {
    match DISCARDING.with(Cell::get) {
        Some(Discarding { why, by }) if is_first(by) => CallError::Rejected(why()),
        _ => CallError::Unknown(crate::error::Lost::Dropped),
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = with_encoding(|context| {
            if context.payloads.len() >= PAYLOADS_PER_MESSAGE_MAX {
                return Err(Why::Incompatible(format!(
                    "a message carries at most {PAYLOADS_PER_MESSAGE_MAX} payloads"
                )));
            }
            context.payloads.push(self.0.clone());
            Ok(context.payloads.len() as u32 - 1)
        })?;
        index.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PAYLOAD, PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the index of a payload")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, index: D) -> Result<Payload, D::Error> {
        let index = u32::deserialize(index)? as usize;
        with_decoding(|context| {
            let payload = context.payloads.get(index).ok_or("a payload is missing")?;
            Ok(Payload(payload.clone()))
        })
    }

    /// Its type is being traced.
    fn visit_unit<E>(self) -> Result<Payload, E> {
        Ok(Payload::default())
    }
}
