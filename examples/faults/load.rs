//! What a node does all the time: it keeps an echo on each other node, watches it, casts to it and
//! calls it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mobula::actors::id::PeerKey;
use mobula::node::{Node, Standing};
use mobula::prelude::*;

use crate::counts::Counts;
use crate::echo::{Echo, EchoMsg, SEEN};
use crate::memory;
use crate::pulse::Pulse;

const CALL_DEADLINE: Duration = Duration::from_secs(1);
/// A call may end this long after its deadline: the README promises 25 ms to a machine with a free
/// core.
const LATE: Duration = Duration::from_millis(250);
/// Between a pair's calls.
const REST: Duration = Duration::from_millis(5);
/// How long an echo may take to be placed.
const PLACED_WITHIN: Duration = Duration::from_secs(2);

/// The loads of a process, over all its lives.
#[derive(Clone)]
pub struct Loads(Arc<Shared>);

struct Shared {
    pulse: Pulse,
    sent: AtomicU64,
    answered: AtomicU64,
    rejected: AtomicU64,
    unknown: AtomicU64,
    late: AtomicU64,
    monitors: AtomicU64,
    fired: AtomicU64,
    fired_twice: AtomicU64,
    abandoned: AtomicU64,
    lives: AtomicU64,
    /// Who has answered since the last mark.
    answering: Mutex<BTreeSet<PeerKey>>,
    mark: AtomicU64,
}

impl Loads {
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self(Arc::new(Shared {
            pulse: Pulse::start(),
            sent: zero(),
            answered: zero(),
            rejected: zero(),
            unknown: zero(),
            late: zero(),
            monitors: zero(),
            fired: zero(),
            fired_twice: zero(),
            abandoned: zero(),
            lives: zero(),
            answering: Mutex::default(),
            mark: zero(),
        }))
    }

    /// From now on, who answers is counted anew. A call that began before does not count.
    pub fn mark(&self) {
        self.0.mark.fetch_add(1, Ordering::SeqCst);
        self.0.answering.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// This life is over: its monitors are, too.
    pub fn new_life(&self) {
        self.0.lives.fetch_add(1, Ordering::SeqCst);
    }

    pub fn counts(&self, node: &Node) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let own = &*self.0;
        let alive = node.members().iter().filter(|m| m.standing == Standing::Alive).count();
        let answering = own.answering.lock().unwrap_or_else(PoisonError::into_inner).len();
        Counts {
            sent: read(&own.sent),
            answered: read(&own.answered),
            rejected: read(&own.rejected),
            unknown: read(&own.unknown),
            late: read(&own.late),
            duplicates: read(&SEEN.duplicates),
            swaps: read(&SEEN.swaps),
            monitors: read(&own.monitors),
            fired: read(&own.fired),
            fired_twice: read(&own.fired_twice),
            abandoned: read(&own.abandoned),
            lives: read(&own.lives),
            rss_max_kib: memory::kibibytes("VmHWM").unwrap_or(0),
            alive,
            answering,
        }
    }

    /// Keeps a load on one other node until this life of `node` is over.
    pub async fn keep(self, node: Node, other: PeerKey) {
        loop {
            let is_ready = |m: &mobula::node::Member| {
                m.node.key == other && m.standing == Standing::Alive && !m.kinds.is_empty()
            };
            let found = node.members().into_iter().find(is_ready);
            let Some(member) = found else {
                tokio::time::sleep(REST).await;
                continue;
            };
            let spec = Echo::spec(()).on(member.node);
            let placed = tokio::time::timeout(PLACED_WITHIN, node.spawn(spec)).await;
            match placed {
                Ok(Ok(echo)) => self.exchange(&echo, other).await,
                _ => tokio::time::sleep(REST).await,
            }
        }
    }

    /// Casts and calls until the monitor says that the echo is gone.
    async fn exchange(&self, echo: &ActorRef<EchoMsg>, other: PeerKey) {
        let own = &*self.0;
        let watch = Watch::set(self.clone(), echo);
        for number in (1..).step_by(2) {
            if watch.has_fired() {
                return;
            }
            self.count(&own.sent);
            if echo.cast(EchoMsg::Note(number)).is_err() {
                self.count(&own.rejected);
            }
            let (mark, began) = (own.mark.load(Ordering::SeqCst), own.pulse.now());
            self.count(&own.sent);
            let ask = echo.call(|reply| EchoMsg::Ask(number + 1, reply)).within(CALL_DEADLINE);
            let outcome = ask.await;
            if own.pulse.now().saturating_sub(began) > CALL_DEADLINE + LATE {
                self.count(&own.late);
            }
            match outcome {
                Ok(()) => {
                    self.count(&own.answered);
                    if mark == own.mark.load(Ordering::SeqCst) {
                        let answering = own.answering.lock();
                        answering.unwrap_or_else(PoisonError::into_inner).insert(other);
                    }
                }
                Err(CallError::Rejected(_)) => self.count(&own.rejected),
                Err(_) => self.count(&own.unknown),
            }
            tokio::time::sleep(REST).await;
        }
    }

    fn count(&self, count: &AtomicU64) {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// One monitor. Dropped before it has fired, it is one of a life that is over.
struct Watch {
    loads: Loads,
    fired: Arc<AtomicBool>,
}

impl Watch {
    fn set(loads: Loads, echo: &ActorRef<EchoMsg>) -> Self {
        loads.count(&loads.0.monitors);
        let fired = Arc::new(AtomicBool::new(false));
        let (told, counts) = (fired.clone(), loads.clone());
        echo.on_down(Box::new(move |_| {
            let before = told.swap(true, Ordering::SeqCst);
            counts.count(if before { &counts.0.fired_twice } else { &counts.0.fired });
        }));
        Self { loads, fired }
    }

    fn has_fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.has_fired() {
            self.loads.count(&self.loads.0.abandoned);
        }
    }
}
