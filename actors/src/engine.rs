//! The engine of one node: it starts actors, counts their ids, and knows those that have a name
//! or are reachable from elsewhere.
//!
//! An engine is a value: many of them live in one process, as tests with several nodes need.
//!
//! Invariants:
//! - **NA-1** A name belongs to one living run at a time.
//! - **NA-2** Only what is in the export table can be reached from another node.
//! - **NA-3** An engine that stops asks every actor of its to end: those that have a parent here
//!   through that, so that each ends before its parent does.

mod table;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::actor::{Actor, Spec};
use crate::alarm::Alarms;
use crate::carrier::Inbound;
use crate::cell::{Cell, Control};
use crate::clock::Moment;
use crate::engine::table::Table;
use crate::error::{NameError, SpawnError};
use crate::exit::Exit;
use crate::group::Groups;
use crate::id::ActorId;
use crate::mailbox::sync::{AtomicU64, Ordering};
use crate::observe::{Breed, Breeds, Trail};
use crate::reference::{ActorRef, Exported, Route};
use crate::run::{come_alive, launch};
use crate::scheduler::Scheduler;
use crate::spawner::Order;
use crate::watchdog::Watchdog;
use crate::wire::Protocol;

/// Runs the actors of one node. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    runtime: Handle,
    /// Rung on that runtime, so that another one that is busy keeps nobody waiting.
    alarms: Arc<Alarms>,
    scheduler: Arc<Scheduler>,
    core: Arc<Core>,
    breeds: Breeds,
}

/// What engines that stand side by side on one node have in common.
pub(crate) struct Core {
    origin: u64,
    next: AtomicU64,
    born: (Instant, Moment),
    tables: Mutex<Tables>,
    /// How often the export table has changed.
    exports_changes: AtomicU64,
    pub(crate) actors: Table,
    pub(crate) trail: Trail,
    groups: Mutex<Groups>,
    watchdog: OnceLock<Arc<Watchdog>>,
    /// Told when a message that holds credit has been taken from its mailbox.
    credit: OnceLock<Arc<dyn Fn(u32) + Send + Sync>>,
}

#[derive(Default)]
struct Tables {
    stopping: bool,
    exports: HashMap<ActorId, Export>,
    names: HashMap<String, Named>,
}

struct Export {
    inbound: Arc<dyn Inbound>,
    /// It may be started again elsewhere, so references to it go by its home.
    movable: bool,
}

struct Named {
    actor: ActorId,
    reference: Box<dyn Any + Send + Sync>,
}

impl Engine {
    /// An engine whose actors run on `runtime`. `origin` is what makes its actor ids unique in the
    /// cluster.
    #[must_use]
    pub fn new(origin: u64, runtime: Handle) -> Self {
        let core = Core {
            origin,
            // Number 0 is the node's own.
            next: AtomicU64::new(1),
            born: (now(), Moment::now()),
            tables: Mutex::default(),
            exports_changes: AtomicU64::new(0),
            actors: Table::default(),
            trail: Trail::default(),
            groups: Mutex::default(),
            watchdog: OnceLock::new(),
            credit: OnceLock::new(),
        };
        Self::on(runtime, Arc::new(core))
    }

    /// The same engine on another runtime: what must go on when actors keep theirs busy
    /// (supervisors, the node's own actor) runs there.
    #[must_use]
    pub fn beside(&self, runtime: Handle) -> Self {
        Self::on(runtime, self.0.core.clone())
    }

    fn on(runtime: Handle, core: Arc<Core>) -> Self {
        let alarms = Arc::new(Alarms::new(runtime.clone()));
        let scheduler = Scheduler::new(runtime.clone(), Arc::downgrade(&core));
        Self(Arc::new(Shared { runtime, alarms, scheduler, core, breeds: Breeds::default() }))
    }

    /// Starts an actor on this node and waits until it is alive. Awaited on a thread of the runtime of
    /// the actors, its `start` runs there until it first waits, as if it were awaited itself.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    ///
    /// # Cancel safety
    /// An actor whose spawn is dropped is told to end.
    pub async fn spawn<A: Actor, R>(
        &self,
        spec: Spec<A, R>,
    ) -> Result<ActorRef<A::Msg>, SpawnError> {
        self.spawn_for(spec, None).await
    }

    /// Starts a child of `parent`.
    pub(crate) async fn spawn_for<A: Actor, R>(
        &self,
        spec: Spec<A, R>,
        parent: Option<ActorId>,
    ) -> Result<ActorRef<A::Msg>, SpawnError> {
        let order = Order { id: self.next_id(), parent, ..Order::new(&spec.settings) };
        let timeout = spec.settings.start_timeout;
        let (cell, started) = launch::<A>(self, spec.args, order, spec.settings.run)?;
        let unfinished = StopOnDrop(Some(cell.clone()));
        come_alive(started, timeout).await?;
        unfinished.keep();
        Ok(ActorRef(Route::Here(cell)))
    }

    /// A name for one more actor.
    #[must_use]
    pub fn next_id(&self) -> ActorId {
        ActorId {
            origin: self.0.core.origin,
            number: self.0.core.next.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The runtime the actors run on.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Gives `reference`'s actor a name until its present run ends.
    ///
    /// # Errors
    /// [`NameError::Taken`] or [`NameError::Ended`]; nothing has changed.
    pub fn register<M: Send + 'static>(
        &self,
        name: &str,
        reference: &ActorRef<M>,
    ) -> Result<(), NameError> {
        let here = reference.place().ok();
        let mut tables = self.tables();
        if tables.names.contains_key(name) {
            return Err(NameError::Taken(name.into()));
        }
        if here.is_some_and(|cell| !cell.note_name(name)) {
            return Err(NameError::Ended(name.into()));
        }
        let named = Named { actor: reference.id(), reference: Box::new(reference.clone()) };
        tables.names.insert(name.to_owned(), named);
        Ok(())
    }

    /// The actor that has a name on this node.
    ///
    /// # Errors
    /// [`NameError::Unknown`] or [`NameError::OtherProtocol`].
    pub fn lookup<M: Send + 'static>(&self, name: &str) -> Result<ActorRef<M>, NameError> {
        let tables = self.tables();
        let named = tables.names.get(name).ok_or_else(|| NameError::Unknown(name.into()))?;
        let reference = named.reference.downcast_ref::<ActorRef<M>>();
        reference.cloned().ok_or_else(|| NameError::OtherProtocol(name.into()))
    }

    /// Takes a name from `actor`, if it has it.
    pub fn unregister(&self, name: &str, actor: ActorId) {
        self.forget_names(actor, vec![name.to_owned()]);
    }

    pub(crate) fn forget_names(&self, actor: ActorId, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let mut tables = self.tables();
        let theirs = names.iter().filter_map(|name| {
            let named = tables.names.get(name).is_some_and(|named| named.actor == actor);
            if named { tables.names.remove(name) } else { None }
        });
        // An entry may own the last reference to its cell: it is dropped outside the lock.
        let gone: Vec<Named> = theirs.collect();
        drop(tables);
        drop(gone);
    }

    /// Lists a local actor so that other nodes can reach it.
    pub(crate) fn export<M: Protocol>(&self, cell: &Arc<Cell<M>>) {
        if cell.mark_exported() {
            self.list(cell, false);
        }
    }

    /// Lists an actor that may move: references to it go by its home.
    pub(crate) fn export_movable<M: Protocol>(&self, cell: &Arc<Cell<M>>) {
        cell.mark_exported();
        self.list(cell, true);
    }

    fn list<M: Protocol>(&self, cell: &Arc<Cell<M>>, movable: bool) {
        let inbound: Arc<dyn Inbound> = Arc::new(Exported(cell.clone()));
        let mut tables = self.tables();
        if tables.stopping {
            return;
        }
        let before = tables.exports.insert(cell.id(), Export { inbound, movable });
        self.exports_change();
        drop(tables);
        drop(before);
        // One that ended while it was being listed must not stay there.
        if cell.has_ended() {
            self.unexport(cell);
        }
    }

    /// Lists an actor under another id: how a node's own actor gets its well-known number.
    pub fn export_as<M: Protocol>(&self, id: ActorId, reference: &ActorRef<M>) {
        if let Route::Here(cell) = &reference.0 {
            let inbound: Arc<dyn Inbound> = Arc::new(Exported(cell.clone()));
            let mut tables = self.tables();
            tables.exports.insert(id, Export { inbound, movable: false });
            self.exports_change();
        }
    }

    /// Takes a cell out of the export table, unless another one of its actor stands there.
    pub(crate) fn unexport<M: Send + 'static>(&self, cell: &Cell<M>) {
        let actor = cell.id();
        let mut tables = self.tables();
        let is_it = |export: &Export| {
            std::ptr::addr_eq(Arc::as_ptr(&export.inbound.control()), std::ptr::from_ref(cell))
        };
        let listed = tables.exports.get(&actor).is_some_and(is_it);
        // The entry may own the last reference to the cell: it is dropped outside the lock.
        let entry = if listed { tables.exports.remove(&actor) } else { None };
        self.exports_change();
        drop(tables);
        drop(entry);
    }

    /// The way in for other nodes, if the actor may be reached from there.
    #[must_use]
    pub fn exported(&self, actor: ActorId) -> Option<Arc<dyn Inbound>> {
        self.tables().exports.get(&actor).map(|export| export.inbound.clone())
    }

    /// How often the export table has changed: what was found in it stays true as long as this,
    /// read before, stays the same.
    #[must_use]
    #[inline]
    pub fn exports_changes(&self) -> u64 {
        self.0.core.exports_changes.load(Ordering::Acquire)
    }

    /// The export table has changed; its lock is still held.
    fn exports_change(&self) {
        self.0.core.exports_changes.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn is_movable(&self, actor: ActorId) -> bool {
        self.tables().exports.get(&actor).is_some_and(|export| export.movable)
    }

    /// Says whom to tell when a message that holds credit has left its mailbox. Set once.
    pub fn on_credit_returned(&self, told: Arc<dyn Fn(u32) + Send + Sync>) {
        let _ = self.0.core.credit.set(told);
    }

    #[inline]
    pub(crate) fn return_credit(&self, credit: u32) {
        if let (true, Some(told)) = (credit != 0, self.0.core.credit.get()) {
            told(credit);
        }
    }

    /// `deadline` on the engine's millisecond clock; never 0, which stands for none.
    pub(crate) fn deadline_ms(&self, deadline: Instant) -> u32 {
        millis(deadline.saturating_duration_since(self.0.core.born.0))
    }

    /// The same for what ends by the coarse clock.
    #[inline]
    pub(crate) fn expiry_ms(&self, end: Moment) -> u32 {
        millis(end.since(self.0.core.born.1))
    }

    #[inline]
    pub(crate) fn has_passed(&self, deadline_ms: u32) -> bool {
        deadline_ms != 0 && self.passed_since_ms(deadline_ms) > 0
    }

    /// How long it is to `deadline_ms`; zero if it has passed.
    pub(crate) fn until(&self, deadline_ms: u32) -> Duration {
        let rest_ms = u32::try_from(1 - i64::from(self.passed_since_ms(deadline_ms)));
        Duration::from_millis(rest_ms.unwrap_or(0).into())
    }

    #[inline]
    fn passed_since_ms(&self, deadline_ms: u32) -> i32 {
        let passed = Moment::now().since(self.0.core.born.1).as_millis() as u32;
        passed.wrapping_sub(deadline_ms) as i32
    }

    pub(crate) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.0.scheduler
    }

    pub(crate) fn alarms(&self) -> &Arc<Alarms> {
        &self.0.alarms
    }

    /// Starts no more actors, lets go of names and exports, and asks all actors of this node to end:
    /// supervisors and parents, which end their children first, and all that have neither here.
    /// They end when they have handled the message in hand; nobody waits for that.
    pub fn stop(&self) {
        let (exports, names) = {
            let mut tables = self.tables();
            tables.stopping = true;
            self.exports_change();
            (std::mem::take(&mut tables.exports), std::mem::take(&mut tables.names))
        };
        drop((exports, names));
        let mut actors = self.actors();
        while let Some(cell) = actors.next_cell() {
            let parent = cell.inspect().parent;
            if parent.is_none_or(|parent| self.0.core.actors.get(parent).is_none()) {
                cell.stop(Exit::Shutdown);
            }
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn breed<A: Actor>(&self) -> Arc<Breed> {
        self.0.breeds.of::<A>(self)
    }

    pub(crate) fn groups(&self) -> &Mutex<Groups> {
        &self.0.core.groups
    }

    pub(crate) fn watchdog(&self) -> Option<&Arc<Watchdog>> {
        self.0.core.watchdog.get()
    }

    /// False if there is one.
    pub(crate) fn set_watchdog(&self, dog: Arc<Watchdog>) -> bool {
        self.0.core.watchdog.set(dog).is_ok()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.tables().stopping
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.0.core.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.scheduler.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({:x})", self.0.core.origin)
    }
}

/// The clock wraps after 49 days; `has_passed` compares by distance.
#[inline]
fn millis(elapsed: Duration) -> u32 {
    (elapsed.as_millis() as u32).max(1)
}

/// The exact clock. It is tokio's, so that a paused runtime pauses it too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ends an actor whose spawn was given up.
struct StopOnDrop<M: Send + 'static>(Option<Arc<Cell<M>>>);

impl<M: Send + 'static> StopOnDrop<M> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl<M: Send + 'static> Drop for StopOnDrop<M> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.kill(Exit::Killed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_has_passed_after_it_and_not_before() {
        let engine = Engine::new(1, Handle::current());
        let deadline = engine.deadline_ms(now() + Duration::from_millis(100));
        assert!(!engine.has_passed(deadline));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(!engine.has_passed(deadline));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(engine.has_passed(deadline));
        assert!(!engine.has_passed(0), "0 stands for no deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_holds_when_the_clock_wraps() {
        let engine = Engine::new(1, Handle::current());
        let round = Duration::from_millis(u64::from(u32::MAX));
        tokio::time::advance(round - Duration::from_millis(10)).await;
        let near = engine.deadline_ms(now() + Duration::from_millis(50));
        let far = engine.deadline_ms(now() + crate::limits::DEADLINE_MAX);
        assert!(!engine.has_passed(near) && !engine.has_passed(far));
        tokio::time::advance(Duration::from_millis(52)).await;
        assert!(engine.has_passed(near) && !engine.has_passed(far));
    }
}
