//! Reports handlers that do not yield: they stall every task of their thread.
//!
//! Each thread that polls actors has a seat. To begin and to end a turn costs a few plain stores
//! into it; a thread of the watchdog's own looks at the seats now and then, and reads the clock.
//!
//! Invariant **WD-1**: a turn that lasts as long as the limit is reported while it lasts, then
//! again each time it has taken twice as long.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::id::ActorId;
use crate::mailbox::sync::{AtomicU64, AtomicUsize, Ordering};

/// Looks the watchdog takes in the time a turn may last.
const LOOKS_PER_LIMIT: u32 = 4;
/// The shortest limit; a shorter one counts as this.
pub const HANDLER_LIMIT_MIN: Duration = Duration::from_millis(4);

/// An actor whose handler, start or stop does not yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stuck {
    /// Who.
    pub actor: ActorId,
    /// The name of its kind.
    pub kind: &'static str,
    /// For how long at least.
    pub running: Duration,
}

pub(crate) struct Watchdog {
    seats: Mutex<Vec<Weak<Seat>>>,
    kinds: Mutex<Vec<&'static str>>,
    /// The watchdog's thread ends when this is dropped.
    _leash: Mutex<Sender<()>>,
}

/// Who has the turn on one thread.
#[derive(Default)]
struct Seat {
    /// Counts up at the beginning and at the end of a turn: odd within one.
    turns: AtomicU64,
    origin: AtomicU64,
    number: AtomicU64,
    kind: AtomicUsize,
}

thread_local! {
    /// The seats of this thread, one for each engine that polls actors on it.
    static SEATS: RefCell<Vec<(Weak<Watchdog>, Arc<Seat>)>> = const { RefCell::new(Vec::new()) };
}

impl Engine {
    /// Calls `report` when an actor of this engine that runs as a task keeps its thread for `limit`
    /// (at least 4 ms) without yielding, and again at each doubling; it is logged as well. Actors
    /// that were started before are not watched. The first call counts, later ones change nothing.
    ///
    /// `report` is called on a thread of the watchdog's own.
    ///
    /// # Errors
    /// When the system has no thread for it; nothing is reported then.
    pub fn watch_handlers(
        &self,
        limit: Duration,
        report: impl Fn(Stuck) + Send + 'static,
    ) -> std::io::Result<()> {
        let (leash, released) = channel();
        let dog = Arc::new(Watchdog {
            seats: Mutex::default(),
            kinds: Mutex::default(),
            _leash: Mutex::new(leash),
        });
        let (watching, limit) = (Arc::downgrade(&dog), limit.max(HANDLER_LIMIT_MIN));
        let watch = move || watch(&watching, limit, &released, &report);
        if self.set_watchdog(dog) {
            thread::Builder::new().name("mobula-watchdog".into()).spawn(watch)?;
        }
        Ok(())
    }
}

/// Polls `life` under the eyes of `dog`.
pub(crate) async fn watched<T>(
    dog: Arc<Watchdog>,
    actor: ActorId,
    kind: &'static str,
    life: impl Future<Output = T>,
) -> T {
    let kind = dog.number_of(kind);
    let mut life = pin!(life);
    poll_fn(|cx| {
        let _turn = Turn::begin(&dog, actor, kind);
        life.as_mut().poll(cx)
    })
    .await
}

/// Ends the turn also when the poll panics.
struct Turn<'a> {
    dog: &'a Arc<Watchdog>,
    /// Whose turn goes on afterwards: a new actor begins inside its spawner's.
    outer: Option<Sitter>,
}

#[derive(Clone, Copy)]
struct Sitter {
    actor: ActorId,
    kind: usize,
}

impl<'a> Turn<'a> {
    fn begin(dog: &'a Arc<Watchdog>, actor: ActorId, kind: usize) -> Self {
        let outer = dog.at_seat(|seat| {
            let outer = seat.sitter();
            seat.sit_down(Sitter { actor, kind });
            outer
        });
        Self { dog, outer }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        self.dog.at_seat(|seat| {
            seat.count();
            if let Some(outer) = outer {
                seat.sit_down(outer);
            }
        });
    }
}

impl Seat {
    /// Who has the turn, read by its own thread.
    fn sitter(&self) -> Option<Sitter> {
        let within = self.turns.load(Ordering::Relaxed) % 2 == 1;
        within.then(|| Sitter {
            actor: ActorId {
                origin: self.origin.load(Ordering::Relaxed),
                number: self.number.load(Ordering::Relaxed),
            },
            kind: self.kind.load(Ordering::Relaxed),
        })
    }

    /// Begins a turn; one that was under way is over.
    fn sit_down(&self, Sitter { actor, kind }: Sitter) {
        self.origin.store(actor.origin, Ordering::Relaxed);
        self.number.store(actor.number, Ordering::Relaxed);
        self.kind.store(kind, Ordering::Relaxed);
        if self.turns.load(Ordering::Relaxed) % 2 == 1 {
            self.count();
        }
        self.count();
    }

    /// Only its own thread writes to a seat.
    fn count(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Release);
    }
}

impl Watchdog {
    fn at_seat<R>(self: &Arc<Self>, act: impl FnOnce(&Seat) -> R) -> R {
        SEATS.with_borrow_mut(|seats| {
            let mine = Arc::as_ptr(self);
            let seat = seats.iter().position(|(dog, _)| Weak::as_ptr(dog) == mine);
            let place = seat.unwrap_or_else(|| {
                seats.retain(|(dog, _)| dog.strong_count() > 0);
                seats.push((Arc::downgrade(self), self.new_seat()));
                seats.len() - 1
            });
            act(&seats[place].1)
        })
    }

    fn new_seat(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat::default());
        let mut seats = lock(&self.seats);
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(&seat));
        seat
    }

    fn number_of(&self, kind: &'static str) -> usize {
        let mut kinds = lock(&self.kinds);
        kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        })
    }

    fn kind(&self, number: usize) -> &'static str {
        lock(&self.kinds).get(number).copied().unwrap_or_default()
    }
}

/// A turn that was seen more than once.
struct Sighting {
    seat: Weak<Seat>,
    turn: u64,
    since: Instant,
    /// When it is reported next.
    due: Duration,
}

fn watch(dog: &Weak<Watchdog>, limit: Duration, released: &Receiver<()>, report: &dyn Fn(Stuck)) {
    let mut seen: Vec<Sighting> = Vec::new();
    while released.recv_timeout(limit / LOOKS_PER_LIMIT) == Err(RecvTimeoutError::Timeout) {
        let Some(dog) = dog.upgrade() else { return };
        let seats = lock(&dog.seats).clone();
        seen.retain(|sighting| sighting.seat.strong_count() > 0);
        for weak in seats {
            let Some(seat) = weak.upgrade() else { continue };
            let turn = seat.turns.load(Ordering::Acquire);
            let place = seen.iter().position(|sighting| sighting.seat.ptr_eq(&weak));
            match place.map(|place| &mut seen[place]) {
                Some(sighting) if sighting.turn == turn => {
                    if let Some(stuck) = sighting.look(&dog, &seat) {
                        tell(report, stuck);
                    }
                }
                Some(sighting) => *sighting = Sighting::new(weak, turn, limit),
                None => seen.push(Sighting::new(weak, turn, limit)),
            }
        }
    }
}

impl Sighting {
    fn new(seat: Weak<Seat>, turn: u64, limit: Duration) -> Self {
        Self { seat, turn, since: Instant::now(), due: limit }
    }

    fn look(&mut self, dog: &Watchdog, seat: &Seat) -> Option<Stuck> {
        let running = self.since.elapsed();
        if self.turn.is_multiple_of(2) || running < self.due {
            return None;
        }
        let origin = seat.origin.load(Ordering::Relaxed);
        let number = seat.number.load(Ordering::Relaxed);
        let kind = dog.kind(seat.kind.load(Ordering::Relaxed));
        self.due = running * 2;
        // What was read belongs to this turn only if the turn still lasts.
        let lasts = seat.turns.load(Ordering::Acquire) == self.turn;
        lasts.then_some(Stuck { actor: ActorId { origin, number }, kind, running })
    }
}

fn tell(report: &dyn Fn(Stuck), stuck: Stuck) {
    let Stuck { actor, kind, running } = stuck;
    tracing::warn!(%actor, kind, ?running, "a handler does not yield");
    if catch_unwind(AssertUnwindSafe(|| report(stuck))).is_err() {
        tracing::warn!("the report of a handler that does not yield panicked");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchdog")
    }
}
