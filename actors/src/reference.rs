//! `ActorRef<M>`: one address type for an actor here, elsewhere, or on the move.
//!
//! Invariants:
//! - **R-1** A reference stays valid over restarts and moves; what it reaches is the present run.
//! - **R-2** `cast` never waits; what it refuses comes back.
//! - **R-3** References hold no actor alive and end none by being dropped.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::Call;
use crate::carrier::{Address, Carrier, Inbound, Inbox, Monitor, OnDown};
use crate::cell::{Cell, Control, Envelope, Signal};
use crate::demand::Neighbour;
use crate::engine::now;
use crate::error::{Rejected, Why};
use crate::exit::Exit;
use crate::id::ActorId;
use crate::reply::Reply;
use crate::send::SendMessage;
use crate::wire::{
    ACTOR_REF, Outgoing, Protocol, Schema, decode_for, encode_message, made_up_reference,
    with_decoding, with_encoding,
};

/// The address of an actor that understands `M`: cheap to clone, and the same type wherever the
/// actor lives.
pub struct ActorRef<M>(pub(crate) Route<M>);

pub(crate) enum Route<M> {
    Here(Arc<Cell<M>>),
    There(Arc<Remote<M>>),
    /// One of several, chosen for each message.
    Via(Arc<dyn Router<M>>),
}

/// Chooses where each message goes.
pub(crate) trait Router<M>: Send + Sync + 'static {
    fn id(&self) -> ActorId;
    /// Never itself a choice among several.
    fn choose(&self, message: &M) -> ActorRef<M>;
    /// What stands for the choice where there is no message to choose by: it has ended.
    fn nowhere(&self) -> Arc<Cell<M>>;
}

/// The way to an actor that may live elsewhere, with the code that encodes for it.
pub(crate) struct Remote<M> {
    pub(crate) address: Address,
    pub(crate) carrier: Arc<dyn Carrier>,
    engine: crate::engine::Engine,
    /// What `Engine::exports_changes` said when the actor was not on this node.
    absent_at: AtomicU64,
    pub(crate) encode: fn(&Arc<dyn Carrier>, &M) -> Result<Outgoing, Why>,
}

impl<M: Send + 'static> ActorRef<M> {
    /// Who it is the address of.
    #[must_use]
    pub fn id(&self) -> ActorId {
        match &self.0 {
            Route::Here(cell) => cell.id(),
            Route::There(remote) => remote.address.actor,
            Route::Via(router) => router.id(),
        }
    }

    /// Sends without waiting: the message is in the mailbox, or on the lane to its node, when this
    /// returns.
    ///
    /// # Errors
    /// The message and the reason; it has not run.
    pub fn cast(&self, message: M) -> Result<(), Rejected<M>> {
        if let Route::Via(router) = &self.0 {
            return router.choose(&message).cast(message);
        }
        match self.place() {
            Ok(cell) => {
                let mut envelope = Envelope::new(message, 0);
                envelope.take_along_span(&cell);
                cell.push(envelope).map_err(|(envelope, why)| {
                    let message = envelope.into_message(&cell);
                    Rejected { message, why }
                })
            }
            Err(remote) => remote.push(message, None),
        }
    }

    /// Sends as soon as there is room: at once if there is some, else when it is awaited (default
    /// deadline 5 s, [`SendMessage::within`]).
    ///
    /// # Errors
    /// The message and the reason; it has not run.
    ///
    /// # Cancel safety
    /// A send that is dropped while it waits has not sent.
    #[inline(always)]
    pub fn send(&self, message: M) -> SendMessage<M> {
        SendMessage::new(self, message)
    }

    /// Asks, and waits for the answer (default deadline 5 s, [`Call::within`]). `request` makes
    /// the message from the right to answer: a variant's constructor, or a closure.
    ///
    /// The message leaves when the call is first awaited, not before.
    ///
    /// # Errors
    /// `Rejected` if it certainly did not run, `Unknown` if it may have.
    ///
    /// # Cancel safety
    /// A call that is dropped gives up the answer; the message may still run.
    #[inline(always)]
    pub fn call<T: Send + 'static>(&self, request: impl FnOnce(Reply<T>) -> M) -> Call<M, T> {
        let (reply, slot) = Reply::pair(self.id());
        let message = request(reply);
        let target = self.chosen(&message);
        if let Route::Via(_) = self.0 {
            slot.aim(target.id());
        }
        Call::new(target, message, slot)
    }

    /// Delivers `message` ahead of waiting messages and whatever the mailbox holds; nothing happens
    /// if the run ends first, or if the actor is not on this node. For notices that the sender owes
    /// and bounds itself: nothing here holds it back.
    pub fn notify(&self, message: M) {
        if let Ok(cell) = self.place() {
            cell.signal(Signal::Notice(Box::new(move || message)));
        }
    }

    /// Asks the actor to end once it has handled the message in hand. The messages that wait are
    /// refused, also those that were sent before.
    pub fn stop(&self) {
        self.end(Exit::Shutdown, false);
    }

    /// Ends the actor at the next point where its handler waits.
    pub fn kill(&self) {
        self.end(Exit::Killed, true);
    }

    fn end(&self, exit: Exit, kill: bool) {
        match &self.0 {
            Route::Here(cell) if kill => cell.kill(exit),
            Route::Here(cell) => cell.stop(exit),
            Route::There(remote) => remote.carrier.stop(&remote.address, exit, kill),
            Route::Via(_) => {}
        }
    }

    /// Calls `on_down` once when the present run ends; at once if there is none.
    pub fn on_down(&self, on_down: OnDown) {
        self.watch(Monitor { on_down, watcher: None });
    }

    /// As [`ActorRef::on_down`], for a watcher that may lose interest.
    pub fn watch(&self, monitor: Monitor) {
        match &self.0 {
            Route::Here(cell) => cell.watch(monitor),
            Route::There(remote) => remote.carrier.monitor(&remote.address, monitor),
            Route::Via(router) => router.nowhere().watch(monitor),
        }
    }

    /// The cell, if the actor lives on this node now, or the way elsewhere.
    pub(crate) fn place(&self) -> Result<Cow<'_, Arc<Cell<M>>>, &Remote<M>> {
        match &self.0 {
            Route::Here(cell) => Ok(Cow::Borrowed(cell)),
            Route::There(remote) => remote.here().map(Cow::Owned).ok_or(remote),
            Route::Via(router) => Ok(Cow::Owned(router.nowhere())),
        }
    }

    /// Whom another actor is to be near.
    pub(crate) fn as_neighbour(&self) -> Neighbour {
        let node = match &self.0 {
            Route::There(remote) => Some(remote.address.node),
            Route::Here(_) | Route::Via(_) => None,
        };
        Neighbour { actor: self.id(), node }
    }

    /// The cell, if it is that of one actor, and on this node.
    pub(crate) fn cell(&self) -> Option<Arc<Cell<M>>> {
        match &self.0 {
            Route::Here(cell) => Some(cell.clone()),
            Route::There(remote) => remote.here(),
            Route::Via(_) => None,
        }
    }

    /// [`ActorRef::place`] for whoever owns the reference.
    pub(crate) fn into_place(self) -> Result<Arc<Cell<M>>, Self> {
        match self.0 {
            Route::Here(cell) => Ok(cell),
            Route::There(ref remote) => remote.here().ok_or(self),
            Route::Via(ref router) => Ok(router.nowhere()),
        }
    }

    /// Where `message` goes: this very address, or one of those it stands for.
    pub(crate) fn chosen(&self, message: &M) -> Self {
        match &self.0 {
            Route::Via(router) => router.choose(message),
            _ => self.clone(),
        }
    }
}

impl<M: Protocol> ActorRef<M> {
    /// The reference to `address` as seen from `engine`'s node: what a supervisor and a directory
    /// hand out for an actor that may move.
    #[must_use]
    pub fn at(engine: &crate::engine::Engine, carrier: Arc<dyn Carrier>, address: Address) -> Self {
        let engine = engine.clone();
        Self(Route::There(Arc::new(Remote {
            address,
            carrier,
            engine,
            absent_at: AtomicU64::new(u64::MAX),
            encode: encode_message::<M>,
        })))
    }

    /// Where the actor is, for a directory: from here on other nodes can reach it. `None` for the
    /// address of a group, which stays on its node.
    #[must_use]
    pub fn address(&self, carrier: &Arc<dyn Carrier>) -> Option<Address> {
        let node = carrier.node();
        match &self.0 {
            Route::Here(cell) => {
                cell.engine().export(cell);
                Some(Address { actor: cell.id(), epoch: cell.epoch(), node, home: node })
            }
            Route::There(remote) => Some(carrier.present(&remote.address)),
            Route::Via(_) => None,
        }
    }
}

impl<M: Send + 'static> Remote<M> {
    fn here(&self) -> Option<Arc<Cell<M>>> {
        let at = self.engine.exports_changes();
        if self.absent_at.load(Ordering::Relaxed) == at {
            return None;
        }
        let Some(inbound) = self.engine.exported(self.address.actor) else {
            self.absent_at.store(at, Ordering::Relaxed);
            return None;
        };
        inbound.as_any().downcast_ref::<Exported<M>>().map(|exported| exported.0.clone())
    }

    fn push(&self, message: M, deadline: Option<Instant>) -> Result<(), Rejected<M>> {
        let outgoing = match (self.encode)(&self.carrier, &message) {
            Ok(outgoing) => outgoing,
            Err(why) => return Err(Rejected { message, why }),
        };
        match self.carrier.push(&self.address, outgoing, deadline) {
            Ok(()) => Ok(()),
            Err((outgoing, why)) => {
                drop(outgoing);
                Err(Rejected { message, why })
            }
        }
    }
}

/// The entry of the export table for an actor of protocol `M`.
pub(crate) struct Exported<M>(pub(crate) Arc<Cell<M>>);

impl<M: Protocol> Inbound for Exported<M> {
    fn deliver(
        &self,
        carrier: &Arc<dyn Carrier>,
        inbox: Inbox<'_>,
        extra: usize,
    ) -> Result<(), Why> {
        let Inbox { from, head, payloads, deadline, credit } = inbox;
        let message = decode_for::<M>(Some(self.0.id()), carrier, from, head, payloads)
            .map_err(|text| Why::Incompatible(format!("{}: {text}", M::NAME)))?;
        let deadline_ms = deadline
            .map_or(0, |deadline| self.0.engine().deadline_ms(deadline.min(now() + DEADLINE_MAX)));
        let envelope = Envelope { message, deadline_ms, credit };
        self.0.push_beyond(envelope, extra).map_err(|(envelope, why)| {
            self.0.discard(envelope, if why == Why::Full { || Why::Full } else { || Why::Stopped });
            why
        })
    }

    fn schema(&self) -> &'static Schema {
        Schema::of::<M>()
    }

    fn control(&self) -> Arc<dyn Control> {
        self.0.clone()
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}

/// An address on the wire, short when the sender is meant.
#[derive(Serialize, Deserialize)]
struct WireAddress {
    actor: ActorId,
    epoch: crate::id::Epoch,
    node: Option<crate::id::NodeId>,
    home: Option<crate::id::NodeId>,
}

impl<M: Protocol> Serialize for ActorRef<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = with_encoding(|context| {
            let here = context.carrier.node();
            let address = self.address(&context.carrier).ok_or_else(|| {
                Why::Incompatible("a group's address stays on its node: send a member's".into())
            })?;
            let elsewhere = |node| (node != here).then_some(node);
            Ok(WireAddress {
                actor: address.actor,
                epoch: address.epoch,
                node: elsewhere(address.node),
                home: elsewhere(address.home),
            })
        })?;
        wire.serialize(serializer)
    }
}

impl<'de, M: Protocol> Deserialize<'de> for ActorRef<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ACTOR_REF, RefVisitor(PhantomData))
    }
}

struct RefVisitor<M>(PhantomData<fn() -> M>);

impl<'de, M: Protocol> Visitor<'de> for RefVisitor<M> {
    type Value = ActorRef<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address of an actor")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        address: D,
    ) -> Result<ActorRef<M>, D::Error> {
        let wire = WireAddress::deserialize(address)?;
        with_decoding(|context| {
            let engine = context.carrier.engine();
            let address = Address {
                actor: wire.actor,
                epoch: wire.epoch,
                node: wire.node.unwrap_or(context.from),
                home: wire.home.unwrap_or(context.from),
            };
            // An actor of this very node that cannot move is reached without the carrier.
            let here = context.carrier.node();
            if address.node == here
                && address.home == here
                && !engine.is_movable(address.actor)
                && let Some(inbound) = engine.exported(address.actor)
            {
                let exported = inbound.as_any().downcast_ref::<Exported<M>>();
                let cell = exported.ok_or("the actor takes other messages")?.0.clone();
                return Ok(ActorRef(Route::Here(cell)));
            }
            Ok(ActorRef::at(&engine, context.carrier.clone(), address))
        })
    }

    /// Its type is being traced: the protocol is all that there is to see.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seen: A) -> Result<ActorRef<M>, A::Error> {
        seen.next_element_seed(ProtocolName(M::NAME))?;
        made_up_reference().ok_or_else(|| A::Error::custom("no type is being traced"))
    }
}

/// Shows the name of a protocol to whoever traces.
struct ProtocolName(&'static str);

impl<'de> DeserializeSeed<'de> for ProtocolName {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_unit_struct(self.0, IgnoredAny).map(|_| ())
    }
}

impl<M> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Route::Here(cell) => Route::Here(cell.clone()),
            Route::There(remote) => Route::There(remote.clone()),
            Route::Via(router) => Route::Via(router.clone()),
        })
    }
}

impl<M: Send + 'static> PartialEq for ActorRef<M> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<M: Send + 'static> Eq for ActorRef<M> {}

impl<M: Send + 'static> Hash for ActorRef<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<M: Send + 'static> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.id())
    }
}

/// How long `send` and `call` wait unless told otherwise.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);
/// The longest they can be told to wait: the deadlines of messages are kept in 32 bits.
pub const DEADLINE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
