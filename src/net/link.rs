//! The link with one life of a peer: what senders hold, whatever connections carry it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::task::AtomicWaker;
use mobula_actors::id::NodeId;

use super::{
    hello::Terms,
    hub::{Command, Hub},
    limits::HEAD_BYTES_MAX,
    message::{Lane, Message, Refused, Why},
    queue::Queue,
    rights::{Denied, Rights, Verb},
};

/// Both directions of the traffic with one life of a peer. Cheap to clone; all clones are one.
///
/// It lives and dies as a whole: when a connection that carries a part of it fails, all close.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    node: NodeId,
    address: Option<String>,
    terms: Terms,
    hub: Arc<Hub>,
    control: Queue,
    call: Queue,
    bulk: Queue,
    end: AtomicU8,
    /// The verbs of `State::rights`, where each message finds them.
    verbs: AtomicU16,
    rtt_ns: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// One per connection that carries a part: rings its task.
    bells: Vec<Arc<AtomicWaker>>,
    bulk: Bulk,
    bye: bool,
    /// What the peer may ask for; empty for everything.
    rights: Vec<Rights>,
    unwritten: Vec<Message>,
}

/// The connection on which this side sends bulk.
#[derive(Default, PartialEq, Eq)]
enum Bulk {
    #[default]
    Absent,
    Dialing,
}

/// Whether a link goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    /// Write what waits, say goodbye, close.
    Leave,
    /// Close.
    Cut,
}

impl Link {
    pub(super) fn new(hub: Arc<Hub>, node: NodeId, address: Option<String>, terms: Terms) -> Self {
        let queue =
            |lane| Queue::new(lane, hub.limits.lane_bytes_max, hub.limits.lane_messages_max);
        Self(Arc::new(Inner {
            node,
            address,
            terms,
            control: queue(Lane::Control),
            call: queue(Lane::Call),
            bulk: queue(Lane::Bulk),
            end: AtomicU8::new(0),
            verbs: AtomicU16::new(u16::MAX),
            rtt_ns: AtomicU64::new(0),
            state: Mutex::default(),
            hub,
        }))
    }

    /// The life of the peer at the other end.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// What both sides have agreed on.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.0.terms
    }

    /// Queues a message; it is written in the order of the pushes of its lane. Never waits.
    ///
    /// Taken means queued: a message that is still unwritten when the link ends comes back in
    /// `Inbound::disconnected`, a written one may or may not have arrived.
    ///
    /// # Errors
    /// Gives the message back with the reason; nothing was queued.
    pub fn push(&self, lane: Lane, message: Message) -> Result<(), Refused> {
        if let Some(why) = self.refusal(lane, &message) {
            return Err(Refused { message, why });
        }
        self.queue(lane).push(message).map_err(|(message, why)| Refused { message, why })?;
        if lane == Lane::Bulk {
            self.dial_bulk();
        }
        Ok(())
    }

    /// Waits until the lane could take a message or the link is closed. Another sender may be
    /// faster, so push again in a loop. Cancel safe.
    pub async fn room(&self, lane: Lane) {
        self.queue(lane).room().await;
    }

    /// Whether messages are still taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.end() == End::Open
    }

    /// Whether the peer may ask this of this node. Costs no more than a look.
    ///
    /// # Errors
    /// [`Denied::Verb`].
    #[inline]
    pub fn may(&self, verb: Verb) -> Result<(), Denied> {
        let granted = self.0.verbs.load(Ordering::Relaxed) & verb.bit() != 0;
        if granted { Ok(()) } else { Err(Denied::Verb(verb)) }
    }

    /// Whether the peer may have actors of this kind started here, when all that it has here then
    /// takes what `amounts` says, which is asked for only if it matters.
    ///
    /// # Errors
    /// [`Denied`], of the last of its grants.
    pub fn may_start(&self, kind: &str, amounts: impl Fn() -> [u64; 5]) -> Result<(), Denied> {
        let rights = self.state().rights.clone();
        let mut denied = Ok(());
        for rights in &rights {
            let amounts = if rights.has_caps() { amounts() } else { [0; 5] };
            denied = rights.may_start(kind, &amounts);
            if denied.is_ok() {
                return Ok(());
            }
        }
        denied
    }

    /// Says what the peer may ask for.
    pub(super) fn entitle(&self, rights: Vec<Rights>) {
        let verbs = rights.iter().fold(0, |verbs, rights| verbs | rights.bits());
        self.0.verbs.store(verbs, Ordering::Relaxed);
        self.state().rights = rights;
    }

    /// The last round trip of a heartbeat, `None` before the first.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        let rtt = self.0.rtt_ns.load(Ordering::Relaxed);
        (rtt > 0).then(|| Duration::from_nanos(rtt))
    }

    pub(super) fn set_rtt(&self, rtt: Duration) {
        let rtt = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.0.rtt_ns.store(rtt, Ordering::Relaxed);
    }

    pub(super) fn queue(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Control => &self.0.control,
            Lane::Call => &self.0.call,
            Lane::Bulk => &self.0.bulk,
        }
    }

    pub(super) fn end(&self) -> End {
        match self.0.end.load(Ordering::Acquire) {
            0 => End::Open,
            1 => End::Leave,
            _ => End::Cut,
        }
    }

    /// Ends the link, once for good; a cut overtakes a leave.
    pub(super) fn close(&self, end: End) {
        let level = match end {
            End::Open => return,
            End::Leave => 1,
            End::Cut => 2,
        };
        let state = self.state();
        if self.0.end.fetch_max(level, Ordering::AcqRel) >= level {
            return;
        }
        let bells = state.bells.clone();
        drop(state);
        for lane in Lane::ALL {
            self.queue(lane).close();
        }
        for bell in bells {
            bell.wake();
        }
    }

    /// A connection begins to carry a part. `false` when the link is over.
    pub(super) fn attach(&self, bell: &Arc<AtomicWaker>) -> bool {
        let mut state = self.state();
        let open = self.is_open();
        if open {
            state.bells.push(Arc::clone(bell));
        }
        open
    }

    /// A connection carries its part no longer, which ends the link. The last one reports it.
    pub(super) fn detach(&self, bell: &Arc<AtomicWaker>, unwritten: Vec<Message>, bye: bool) {
        self.close(End::Cut);
        let mut state = self.state();
        state.bells.retain(|other| !Arc::ptr_eq(other, bell));
        state.unwritten.extend(unwritten);
        state.bye |= bye;
        if !state.bells.is_empty() {
            return;
        }
        let (mut unwritten, bye) = (std::mem::take(&mut state.unwritten), state.bye);
        drop(state);
        for lane in Lane::ALL {
            unwritten.extend(self.queue(lane).drain());
        }
        self.0.hub.inbound.disconnected(self.0.node, bye, unwritten);
        self.0.hub.release(self);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Asks for the bulk connection unless it is there or on its way.
    pub(super) fn dial_bulk(&self) {
        let Some(address) = &self.0.address else { return };
        let mut state = self.state();
        if state.bulk == Bulk::Absent && !self.queue(Lane::Bulk).is_empty() {
            let dial = Command::DialBulk(self.0.node.key, address.clone());
            if self.0.hub.commands.try_send(dial).is_ok() {
                state.bulk = Bulk::Dialing;
            }
        }
    }

    /// The bulk connection did not come about. The heartbeat asks again.
    pub(super) fn bulk_failed(&self) {
        self.state().bulk = Bulk::Absent;
    }

    fn refusal(&self, lane: Lane, message: &Message) -> Option<Why> {
        let max = self.0.hub.message_bytes_max(lane);
        if message.payload.len() > max {
            return Some(Why::TooLarge { bytes: message.payload.len(), max });
        }
        if message.head.len() > HEAD_BYTES_MAX {
            return Some(Why::TooLarge { bytes: message.head.len(), max: HEAD_BYTES_MAX });
        }
        (lane == Lane::Bulk && self.0.address.is_none()).then_some(Why::NoAddress)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {:?})", self.0.node, self.end())
    }
}
