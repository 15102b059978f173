//! The actors that run on this node because placement put them here, and the books of what they
//! take.
//!
//! Invariants:
//! - **J-1** Nothing starts here without a reservation that was admitted with fresh figures.
//! - **J-2** A run older than one that is known here is not started; a newer one ends the older.
//! - **J-3** The end of a run is told to its home until the home says that it knows, or is dead.
//! - **J-4** Of an actor's checkpoints one is on its way and one, the newest, waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mobula_actors::demand::Demand;
use mobula_actors::id::{ActorId, Epoch, NodeId, PeerKey};
use mobula_actors::limits::SHUTDOWN_DEFAULT;
use mobula_actors::spawner::{Local, Notice, Order, Request, Seed, Watch, start_here};
use mobula_actors::{Control, Exit, Settings, SpawnError};

use super::asked::Unreserved;
use super::checkpoints::Checkpoint;
use super::cluster::Cluster;
use super::figures::figures;
use super::placing::owner_of_key;
use super::service::NodeMsg;
use crate::gossip::{Input, Record};
use crate::placement::{Capacity, Ledger, Verdict, check};

/// How long actors whose home died go on, so that a restarted home can find them.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(30);
/// Between two attempts to tell a home of an end.
const TELL_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Hosting {
    books: Mutex<Books>,
    running: Mutex<HashMap<ActorId, HostedRun>>,
    labels: Vec<String>,
    kinds: Vec<String>,
    address: OnceLock<String>,
    /// The node is leaving: its hosted actors end with it, and their homes start them elsewhere.
    leaving: AtomicBool,
}

struct Books {
    ledger: Ledger,
    /// Counts the changes, so that a chooser here can tell fresh figures from old ones.
    version: u64,
}

pub(super) struct HostedRun {
    /// `None` while it starts.
    control: Option<Arc<dyn Control>>,
    /// How it is to end, said while it starts, and whether by a kill.
    doom: Option<(Exit, bool)>,
    /// No run follows on its cell, said while it starts.
    retired: bool,
    pub(super) home: NodeId,
    pub(super) epoch: Epoch,
    pub(super) sending: bool,
    pub(super) waiting: Option<Checkpoint>,
}

impl Hosting {
    pub(super) fn new(total: Capacity, kinds: Vec<String>, labels: Vec<String>) -> Self {
        Self {
            books: Mutex::new(Books { ledger: Ledger::new(total), version: 1 }),
            running: Mutex::default(),
            labels,
            kinds,
            address: OnceLock::new(),
            leaving: AtomicBool::new(false),
        }
    }

    pub(super) fn listens_at(&self, address: String) {
        // Set once, when the node has begun to listen.
        let _ = self.address.set(address);
    }

    /// The node is about to end: nothing starts here, and what ends here does so with it.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// The version of the figures, and what is free.
    pub(super) fn figures(&self) -> (u64, Capacity) {
        let books = self.books();
        (books.version, books.ledger.free().clone())
    }

    /// The run that room is held for under this number.
    pub(super) fn reserved(&self, reservation: u128) -> Option<(ActorId, Epoch)> {
        self.books().ledger.reserved(reservation)
    }

    /// What a member holds here, started or not, in the order of [`Dimension::ALL`](crate::placement::Dimension::ALL).
    pub(super) fn held_by(&self, member: PeerKey) -> [u64; 5] {
        let first = u128::from(owner_of_key(member)) << 64;
        self.books().ledger.held(first..=first | u128::from(u64::MAX))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<ActorId, HostedRun>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a home asks a node to start.
pub(super) struct Commission {
    pub(super) seed: Arc<dyn Seed>,
    pub(super) settings: Settings,
    /// Its watch says only whether somebody supervises the actor at home.
    pub(super) order: Order,
    pub(super) home: NodeId,
    pub(super) reservation: u128,
}

/// A commission that has its room and its place among the hosted.
pub(super) struct Admitted {
    commission: Commission,
    /// The cell of its last run.
    previous: Option<Arc<dyn Control>>,
}

/// A start that has not succeeded. Dropped, its room is free again; a cell that waited here for
/// this run goes on waiting, if its home knows of it.
struct Unhosted<'a> {
    cluster: Arc<Cluster>,
    request: &'a Request,
    supervised: bool,
    kept: bool,
}

impl Drop for Unhosted<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (actor, epoch) = (self.request.order.id, self.request.order.epoch);
        self.cluster.release(actor, epoch);
        match self.request.previous.as_ref().and_then(|child| child.control()) {
            Some(control) => self.cluster.settle(actor, epoch, self.supervised, control),
            None => self.cluster.strike_hosted(actor, epoch),
        }
    }
}

impl Cluster {
    /// Holds room for an actor, or says why not.
    pub(super) fn reserve(
        &self,
        reservation: u128,
        actor: ActorId,
        epoch: Epoch,
        kind: &str,
        demand: &Demand,
    ) -> Result<Verdict, Unreserved> {
        let hosting = &self.hosting;
        let fits = check(kind, demand, &hosting.kinds, &hosting.labels);
        fits.map_err(|unfit| Unreserved::Unfit(unfit.to_string()))?;
        if hosting.leaving.load(Ordering::SeqCst) {
            return Err(Unreserved::Unfit("the node is leaving".into()));
        }
        let now = self.membership.now();
        Ok(self.book(|ledger| ledger.reserve(now, reservation, actor, epoch, demand)))
    }

    /// Gives up a reservation that will not be started.
    pub(super) fn cancel(&self, reservation: u128) {
        self.book(|ledger| ledger.cancel(reservation));
    }

    /// Takes up what was reserved: from here on it can be told to end.
    pub(super) fn admit(&self, mut commission: Commission) -> Result<Admitted, SpawnError> {
        let Commission { home, reservation, order, .. } = &mut commission;
        let (actor, epoch) = (order.id, order.epoch);
        let previous = self.make_way(actor, epoch).inspect_err(|_| self.cancel(*reservation))?;
        let now = self.membership.now();
        let mut books = self.hosting.books();
        let opened = books.ledger.start(now, *reservation);
        opened.map_err(|why| SpawnError::Refused(why.to_string()))?;
        order.device = books.ledger.device(actor, epoch);
        drop(books);
        let (home, sending, waiting) = (*home, false, None);
        let hosted =
            HostedRun { control: None, doom: None, retired: false, home, epoch, sending, waiting };
        self.hosting.running().insert(actor, hosted);
        Ok(Admitted { commission, previous })
    }

    /// Starts what was admitted, and returns when it is alive.
    pub(super) async fn host(self: Arc<Self>, admitted: Admitted) -> Result<(), SpawnError> {
        let Admitted { commission, previous } = admitted;
        let Commission { seed, settings, mut order, home, .. } = commission;
        let (actor, epoch) = (order.id, order.epoch);
        let supervised = order.watch.is_some();
        let watch = HostWatch { cluster: Arc::downgrade(&self), home, supervised };
        order.watch = Some(Arc::new(watch));
        let previous = previous.map(|control| Arc::new(Local(control)) as Arc<_>);
        let request = Request { seed, settings, order, previous, avoid: Vec::new() };
        let mut unhosted =
            Unhosted { cluster: self.clone(), request: &request, supervised, kept: false };
        let control = start_here(&self.engine, &request).await?;
        unhosted.kept = true;
        self.settle(actor, epoch, supervised, control);
        Ok(())
    }

    /// The cell of the last run, if it waits here for the next; ends what is older (J-2).
    fn make_way(
        &self,
        actor: ActorId,
        epoch: Epoch,
    ) -> Result<Option<Arc<dyn Control>>, SpawnError> {
        let mut running = self.hosting.running();
        let Some(hosted) = running.get(&actor) else { return Ok(None) };
        if hosted.epoch >= epoch {
            return Err(SpawnError::Start(Exit::Fenced(hosted.epoch)));
        }
        let books = self.hosting.books();
        let over = !books.ledger.is_running(actor, hosted.epoch);
        drop(books);
        let control = hosted.control.clone();
        if let Some(control) = control.as_ref().filter(|control| over && !control.has_ended()) {
            return Ok(Some(control.clone()));
        }
        // The home took this run for dead: it is ended, and its mailbox with it.
        if let Some(control) = control {
            control.kill(Exit::Fenced(epoch));
            control.retire();
        }
        running.remove(&actor);
        Ok(None)
    }

    /// Enters a run that lives.
    fn settle(&self, actor: ActorId, epoch: Epoch, supervised: bool, control: Arc<dyn Control>) {
        let mut running = self.hosting.running();
        let Some(hosted) = running.get_mut(&actor).filter(|hosted| hosted.epoch == epoch) else {
            // A newer run has taken its place while it started (J-2).
            drop(running);
            control.kill(Exit::Fenced(epoch.next()));
            return control.retire();
        };
        hosted.control = Some(control.clone());
        let doom = hosted.doom.take();
        // One that nobody starts again may have ended before it was entered.
        let over = !supervised && !self.hosting.books().ledger.is_running(actor, epoch);
        if over || hosted.retired {
            running.remove(&actor);
            control.retire();
        }
        drop(running);
        if let Some((exit, kill)) = doom {
            end(&*control, exit, kill);
        }
    }

    fn release(&self, actor: ActorId, epoch: Epoch) {
        self.book(|ledger| ledger.release(actor, epoch));
    }

    /// Changes the books, and tells the others.
    fn book<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let changed = {
            let mut books = self.hosting.books();
            books.version += 1;
            change(&mut books.ledger)
        };
        self.publish();
        changed
    }

    /// Tells the others what this node has.
    pub(super) fn publish(&self) {
        let hosting = &self.hosting;
        let address = hosting.address.get().cloned().unwrap_or_default();
        loop {
            let (version, figures) = {
                let books = hosting.books();
                (books.version, figures(books.ledger.total(), books.ledger.free()))
            };
            let (kinds, labels) = (hosting.kinds.clone(), hosting.labels.clone());
            let record = Record { kinds, labels, address: address.clone(), ..figures };
            self.gossip(Input::LocalRecord(record));
            // Of two that publish at once, the one with the older figures may have come last.
            if hosting.books().version == version {
                return;
            }
        }
    }

    /// Frees what was reserved and not started in time.
    pub(super) async fn keep_books(self: Arc<Self>) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            let now = self.membership.now();
            let expired = self.hosting.books().ledger.expire(now);
            if expired > 0 {
                self.book(|_| {});
            }
        }
    }

    /// Ends an actor: the run `epoch` of a hosted actor, or whatever run there is.
    pub(super) fn end_hosted(&self, actor: ActorId, epoch: Option<Epoch>, exit: Exit, kill: bool) {
        let control = match self.hosting.running().get_mut(&actor) {
            Some(hosted) if epoch.is_some_and(|epoch| epoch != hosted.epoch) => return,
            Some(hosted) if hosted.control.is_none() => {
                // What is being started ends as soon as it lives; a kill need not wait for that.
                hosted.doom.get_or_insert_with(|| (exit.clone(), kill));
                let planted = self.engine.exported(actor).filter(|_| kill);
                planted.map(|inbound| inbound.control())
            }
            Some(hosted) => hosted.control.clone(),
            // Not hosted, or let go of before it has ended.
            None => {
                let control = self.engine.exported(actor).map(|inbound| inbound.control());
                control.filter(|control| epoch.is_none_or(|epoch| epoch == control.epoch()))
            }
        };
        if let Some(control) = control {
            end(&*control, exit, kill);
        }
    }

    /// No run after `epoch` is started on this cell.
    pub(super) fn retire_hosted(&self, actor: ActorId, epoch: Epoch) {
        let mut running = self.hosting.running();
        let Some(hosted) = running.get_mut(&actor).filter(|hosted| hosted.epoch <= epoch) else {
            return;
        };
        let Some(control) = hosted.control.take() else {
            // It starts: what else was said of it must not be forgotten.
            hosted.retired = true;
            return;
        };
        running.remove(&actor);
        drop(running);
        control.retire();
    }

    /// Forgets a hosted actor whose run did not come to life.
    fn strike_hosted(&self, actor: ActorId, epoch: Epoch) {
        let mut running = self.hosting.running();
        if running.get(&actor).is_some_and(|hosted| hosted.epoch == epoch) {
            running.remove(&actor);
        }
    }

    /// Actors whose home is dead go on for a while, then end.
    pub(super) fn home_is_dead(&self, home: NodeId) {
        let orphans = self.hosted_from(home);
        let Some(cluster) = self.arc() else { return };
        if orphans.is_empty() {
            return;
        }
        self.system.runtime().spawn(async move {
            tokio::time::sleep(ORPHAN_GRACE).await;
            for (actor, epoch) in orphans {
                tracing::warn!(%actor, %home, "an actor ends: its home is dead");
                cluster.end_hosted(actor, Some(epoch), Exit::Shutdown, false);
                cluster.retire_hosted(actor, epoch);
            }
        });
    }

    fn hosted_from(&self, home: NodeId) -> Vec<(ActorId, Epoch)> {
        let running = self.hosting.running();
        let hosted = running.iter().filter(|(_, hosted)| hosted.home == home);
        hosted.map(|(actor, hosted)| (*actor, hosted.epoch)).collect()
    }

    /// Ends the actors hosted by this node, which is leaving. Their homes hear of that, and of no
    /// end that would mean that their work is done.
    pub(super) async fn dismiss_hosted(&self) {
        self.hosting.leave();
        let hosted: Vec<_> = {
            let running = self.hosting.running();
            running.values().filter_map(|hosted| hosted.control.clone()).collect()
        };
        hosted.iter().for_each(|control| control.stop(Exit::Shutdown));
        if tokio::time::timeout(SHUTDOWN_DEFAULT, self.nothing_hosted()).await.is_err() {
            hosted.iter().for_each(|control| control.kill(Exit::Killed));
        }
    }

    async fn nothing_hosted(&self) {
        loop {
            let changed = self.changed.notified();
            if self.hosting.books().ledger.counts().0 == 0 {
                return;
            }
            changed.await;
        }
    }

    /// The others hold this node dead: its hosted actors have been started elsewhere.
    pub(super) fn fenced(&self) {
        let hosted: Vec<HostedRun> =
            self.hosting.running().drain().map(|(_, hosted)| hosted).collect();
        for hosted in hosted {
            let Some(control) = hosted.control else { continue };
            control.kill(Exit::Fenced(hosted.epoch.next()));
            control.retire();
        }
    }

    /// Tells the home of an end until it knows (J-3).
    async fn report_end(self: Arc<Self>, home: NodeId, actor: ActorId, epoch: Epoch, exit: Exit) {
        while !self.membership.is_gone(home) {
            let Some(service) = self.service(home) else { return };
            let exit = exit.clone();
            let told = service.call(|known| NodeMsg::Ended { actor, epoch, exit, known }).await;
            if told.is_ok() {
                return;
            }
            tokio::time::sleep(TELL_AGAIN).await;
        }
    }
}

/// Asks a run to end, or ends it.
pub(super) fn end(control: &dyn Control, exit: Exit, kill: bool) {
    if kill {
        control.kill(exit);
    } else {
        control.stop(exit);
    }
}

/// Passes what a hosted actor says on to its home.
struct HostWatch {
    cluster: std::sync::Weak<Cluster>,
    home: NodeId,
    supervised: bool,
}

impl Watch for HostWatch {
    fn notice(&self, notice: Notice) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        match notice {
            Notice::Ended { actor, epoch, exit } => {
                cluster.release(actor, epoch);
                if !self.supervised {
                    cluster.retire_hosted(actor, epoch);
                }
                let dismissed = matches!(exit, Exit::Shutdown | Exit::Killed)
                    && cluster.hosting.leaving.load(Ordering::SeqCst);
                if dismissed && self.home != cluster.id {
                    cluster.retire_hosted(actor, epoch);
                    cluster.changed.notify_waiters();
                } else if self.home == cluster.id {
                    cluster.child_ended(actor, epoch, exit);
                } else {
                    let runtime = cluster.system.runtime().clone();
                    runtime.spawn(cluster.report_end(self.home, actor, epoch, exit));
                }
            }
            Notice::Checkpoint { actor, epoch, sequence, state, stored } => {
                let checkpoint = Checkpoint { actor, epoch, sequence, state, stored };
                cluster.hand_over(self.home, checkpoint);
            }
            _ => {}
        }
    }
}
