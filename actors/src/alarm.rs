//! Alarms: what wakes an actor whose handler waits past a deadline.
//!
//! Nearly every call is answered long before its deadline, so a timer for each would be set in vain.
//! An actor has one alarm instead, which is left standing when the call that set it is over: the
//! calls after it find an alarm that goes off early enough, and do nothing. When it goes off, a
//! handler that still waits sets it again, for its own deadline.
//!
//! Invariants:
//! - **AL-1** An alarm goes off by the earliest deadline that it was set for; at worst the actor is
//!   polled once in vain.
//! - **AL-2** An alarm is listed once at most, and not beyond the life of its actor.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::clock::{LAG_MAX, Moment};
use crate::mailbox::sync::{AtomicU64, Ordering};

/// The alarm of one actor.
pub(crate) struct Alarm {
    waker: Waker,
    list: Arc<Alarms>,
    /// Milliseconds since the list was begun; 0 while it is not listed.
    listed_ms: AtomicU64,
}

impl Alarm {
    fn new(waker: &Waker, list: &Arc<Alarms>) -> Self {
        let (waker, list) = (waker.clone(), list.clone());
        Self { waker, list, listed_ms: AtomicU64::new(0) }
    }

    /// Sets the alarm, unless it goes off by then anyway.
    #[inline]
    pub(crate) fn set(self: &Arc<Self>, at: Moment) {
        let listed_ms = self.listed_ms.load(Ordering::Acquire);
        if listed_ms == 0 || listed_ms > self.list.ms(at) {
            self.list.enter(self, at);
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("listed_ms", &self.listed_ms).finish_non_exhaustive()
    }
}

/// The alarms that are set, of the actors of one engine that run on one runtime.
pub(crate) struct Alarms {
    runtime: Handle,
    born: Moment,
    due: Mutex<Due>,
    /// An alarm was set that goes off before all others.
    sooner: Notify,
}

#[derive(Default)]
struct Due {
    /// By time; the address tells those of the same millisecond apart.
    alarms: BTreeMap<(u64, usize), Arc<Alarm>>,
    rings: bool,
}

impl Alarms {
    pub(crate) fn new(runtime: Handle) -> Self {
        let (due, sooner) = (Mutex::default(), Notify::new());
        Self { runtime, born: Moment::now(), due, sooner }
    }

    /// Never 0, which stands for none.
    #[inline]
    fn ms(&self, at: Moment) -> u64 {
        at.since(self.born).as_millis() as u64 + 1
    }

    fn enter(self: &Arc<Self>, alarm: &Arc<Alarm>, at: Moment) {
        let ms = self.ms(at);
        let mut due = self.due();
        // Looked at under the lock: it may have gone off since.
        let before_ms = alarm.listed_ms.swap(ms, Ordering::AcqRel);
        let address = Arc::as_ptr(alarm).addr();
        let before = due.alarms.remove(&(before_ms, address));
        let is_first = due.alarms.first_key_value().is_none_or(|((first_ms, _), _)| ms < *first_ms);
        due.alarms.insert((ms, address), alarm.clone());
        let silent = !std::mem::replace(&mut due.rings, true);
        drop((due, before));
        if silent {
            self.runtime.spawn(ring(Bell(Some(self.clone()))));
        } else if is_first {
            self.sooner.notify_one();
        }
    }

    fn leave(&self, alarm: &Arc<Alarm>) {
        let mut due = self.due();
        let ms = alarm.listed_ms.swap(0, Ordering::AcqRel);
        let entry = due.alarms.remove(&(ms, Arc::as_ptr(alarm).addr()));
        drop((due, entry));
    }

    /// Wakes whose time has come. The time of the next, `None` if there is none: then the next to be
    /// set starts the bell again.
    fn go_off(&self) -> Option<Moment> {
        let now_ms = self.ms(Moment::now());
        let mut due = self.due();
        let later = due.alarms.split_off(&(now_ms, 0));
        let ripe = std::mem::replace(&mut due.alarms, later);
        for alarm in ripe.values() {
            alarm.listed_ms.store(0, Ordering::Release);
        }
        let next = due.alarms.first_key_value().map(|((ms, _), _)| *ms);
        due.rings = next.is_some();
        drop(due);
        for alarm in ripe.into_values() {
            alarm.waker.wake_by_ref();
        }
        Some(self.born + Duration::from_millis(next?))
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets alarms go off as long as any is set.
async fn ring(mut bell: Bell) {
    while let Some(list) = &bell.0 {
        let Some(next) = list.go_off() else {
            // From here on the list is another bell's.
            bell.0 = None;
            return;
        };
        // The clock lags: less often than it moves is often enough.
        let wait = next.since(Moment::now()).max(LAG_MAX);
        // Either way the list is looked at again.
        let _ = tokio::time::timeout(wait, list.sooner.notified()).await;
    }
}

/// Lets go of all alarms if the runtime ends while they ring, since alarms and their list own each
/// other. Nobody waits for them any more: their actors ran there.
struct Bell(Option<Arc<Alarms>>);

impl Drop for Bell {
    fn drop(&mut self) {
        let Some(list) = self.0.take() else { return };
        let mut due = list.due();
        let alarms = std::mem::take(&mut due.alarms);
        for alarm in alarms.values() {
            alarm.listed_ms.store(0, Ordering::Release);
        }
        due.rings = false;
        drop((due, alarms));
    }
}

/// The alarm of an actor, made when it is first needed.
#[derive(Default)]
pub(crate) struct OwnAlarm(Option<Arc<Alarm>>);

impl Drop for OwnAlarm {
    fn drop(&mut self) {
        if let Some(alarm) = self.0.take() {
            alarm.list.leave(&alarm);
        }
    }
}

/// What a thread knows of the actor that has its turn.
struct Turn {
    alarm: Cell<Option<Arc<Alarm>>>,
    /// False if no actor has its turn.
    is_taken: Cell<bool>,
    /// By when the actor wanted an alarm, if it had none.
    wanted: Cell<Option<Moment>>,
}

impl Turn {
    /// A turn within another, of an actor that begins inside its spawner's, leaves that as it was.
    #[inline]
    fn swap(
        &self,
        (alarm, is_taken, wanted): (Option<Arc<Alarm>>, bool, Option<Moment>),
    ) -> (Option<Arc<Alarm>>, bool, Option<Moment>) {
        (self.alarm.replace(alarm), self.is_taken.replace(is_taken), self.wanted.replace(wanted))
    }
}

thread_local! {
    static TURN: Turn = const {
        Turn { alarm: Cell::new(None), is_taken: Cell::new(false), wanted: Cell::new(None) }
    };
}

/// Polls an actor with its alarm at hand. `poll` must not unwind. An actor gets its alarm when it
/// first wanted one: only here is it known what wakes the actor.
#[inline]
pub(crate) fn in_turn<R>(
    own: &mut OwnAlarm,
    list: &Arc<Alarms>,
    cx: &mut TaskContext<'_>,
    poll: impl FnOnce(&mut TaskContext<'_>) -> R,
) -> R {
    let begin = |turn: &Turn| turn.swap((own.0.take(), true, None));
    // Fails only while the thread ends.
    let Ok(outer) = TURN.try_with(begin) else { return poll(cx) };
    let polled = poll(cx);
    if let Ok((alarm, _, wanted)) = TURN.try_with(|turn| turn.swap(outer)) {
        own.0 = alarm;
        if let Some(at) = wanted {
            first_set(own, list, cx, at);
        }
    }
    polled
}

#[cold]
fn first_set(own: &mut OwnAlarm, list: &Arc<Alarms>, cx: &TaskContext<'_>, at: Moment) {
    own.0.get_or_insert_with(|| Arc::new(Alarm::new(cx.waker(), list))).set(at);
}

/// Wakes the actor whose turn it is by `at`.
pub(crate) fn wake_by(at: Moment) {
    in_this_turn(at, |alarm| {
        alarm.set(at);
        true
    });
}

/// Wakes the actor whose turn it is by `at`, if it is what `waker` wakes; says whether.
#[inline]
pub(crate) fn wakes_by(waker: &Waker, at: Moment) -> bool {
    in_this_turn(at, |alarm| {
        let wakes = alarm.waker.will_wake(waker);
        if wakes {
            alarm.set(at);
        }
        wakes
    })
}

#[inline]
fn in_this_turn(at: Moment, act: impl FnOnce(&Arc<Alarm>) -> bool) -> bool {
    let with = |turn: &Turn| {
        let alarm = turn.alarm.take();
        let done = alarm.as_ref().map(act);
        turn.alarm.set(alarm);
        done.unwrap_or_else(|| want(turn, at))
    };
    TURN.try_with(with).unwrap_or(false)
}

/// Too late for this wait; there is one for the next.
#[cold]
fn want(turn: &Turn, at: Moment) -> bool {
    if turn.is_taken.get() {
        let sooner = turn.wanted.get().map_or(at, |other| other.min(at));
        turn.wanted.set(Some(sooner));
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use crate::actor::Actor;
    use crate::context::Context;
    use crate::engine::Engine;
    use crate::exit::Fault;
    use crate::reference::ActorRef;
    use crate::reply::Reply;

    use super::*;

    /// Keeps what it is asked, and waits for its own kind when it is told to.
    enum Msg {
        Keep(Reply<()>),
        Wait(Duration, Reply<Duration>),
    }

    struct Waiter {
        silent: Option<ActorRef<Msg>>,
        kept: Vec<Reply<()>>,
    }

    impl Actor for Waiter {
        type Args = Option<ActorRef<Msg>>;
        type Msg = Msg;

        async fn start(silent: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
            Ok(Self { silent, kept: Vec::new() })
        }

        async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Fault> {
            match (msg, &self.silent) {
                (Msg::Wait(timeout, reply), Some(silent)) => {
                    let begun = Instant::now();
                    assert!(silent.call(Msg::Keep).within(timeout).await.is_err());
                    reply.send(begun.elapsed());
                }
                (Msg::Keep(reply), _) => self.kept.push(reply),
                (Msg::Wait(..), None) => {}
            }
            Ok(())
        }
    }

    async fn waiter(engine: &Engine) -> ActorRef<Msg> {
        let silent = engine.spawn(Waiter::spec(None)).await.unwrap();
        engine.spawn(Waiter::spec(Some(silent))).await.unwrap()
    }

    fn listed(engine: &Engine) -> usize {
        engine.alarms().due().alarms.len()
    }

    // AL-1
    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_by_its_own_deadline_whatever_was_set_before() {
        let engine = Engine::new(1, Handle::current());
        let waiter = waiter(&engine).await;
        for seconds in [3, 5, 1, 4, 1, 60] {
            let timeout = Duration::from_secs(seconds);
            let wait = waiter.call(|reply| Msg::Wait(timeout, reply));
            let took = wait.within(timeout * 2).await.unwrap();
            assert!((timeout..timeout + Duration::from_millis(2)).contains(&took), "{took:?}");
        }
    }

    // AL-2
    #[tokio::test(start_paused = true)]
    async fn an_actor_has_one_alarm_and_takes_it_along_when_it_ends() {
        let engine = Engine::new(1, Handle::current());
        let waiter = waiter(&engine).await;
        for milliseconds in [200, 300, 200, 400] {
            let timeout = Duration::from_millis(milliseconds);
            waiter.call(|reply| Msg::Wait(timeout, reply)).await.unwrap();
            assert!(listed(&engine) <= 1);
        }
        let waiting = waiter.call(|reply| Msg::Wait(Duration::from_secs(9), reply));
        let given_up = tokio::time::timeout(Duration::from_secs(1), waiting).await;
        assert!(given_up.is_err());
        assert_eq!(listed(&engine), 1);
        let (told, ended) = tokio::sync::oneshot::channel();
        waiter.on_down(Box::new(|_| told.send(()).unwrap()));
        waiter.kill();
        ended.await.unwrap();
        // The alarm goes with the run's task, which has more to do than to tell the end.
        tokio::task::yield_now().await;
        assert_eq!(listed(&engine), 0);
    }
}
