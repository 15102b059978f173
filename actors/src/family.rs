//! Actors that share a run's fate: its children, and those it is linked to.
//!
//! Invariants:
//! - **Y-1** Children end before the end of their parent is told, the youngest first.
//! - **Y-2** Of two linked runs, an end of one that is not normal ends the other in the same way,
//!   and reaches no other run.

use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use crate::actor::{Actor, Shutdown, Spec};
use crate::carrier::Monitor;
use crate::cell::Control;
use crate::context::Context;
use crate::error::SpawnError;
use crate::exit::Exit;
use crate::id::ActorId;
use crate::reference::{ActorRef, Route};

/// The relatives of one run. Those that have ended are forgotten when a list would grow.
#[derive(Default)]
pub(crate) struct Family {
    children: Vec<Kin>,
    links: Vec<(ActorId, Weak<()>)>,
}

struct Kin {
    control: Arc<dyn Control>,
    shutdown: Shutdown,
    /// Kept by who does not wait for the start: a start nobody asks for is given up.
    _started: Option<oneshot::Receiver<Result<(), Exit>>>,
}

impl<A: Actor> Context<A> {
    /// Starts a child on this node and waits until it is alive. It ends with this run at the
    /// latest: when the run ends, its children are stopped, the last one first, each as its spec's
    /// `shutdown` says, and only then is the end of the run told. The end of a child is nothing to
    /// its parent: [`monitor`](Self::monitor) or [`link`](Self::link) it. It is not started again;
    /// that is what supervisors are for.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    ///
    /// # Cancel safety
    /// A child whose spawn is dropped is told to end.
    pub async fn spawn<B: Actor, R>(
        &mut self,
        spec: Spec<B, R>,
    ) -> Result<ActorRef<B::Msg>, SpawnError> {
        let shutdown = spec.settings.shutdown;
        let engine = self.engine().clone();
        let child = engine.spawn_for(spec, Some(self.id())).await?;
        if let Ok(cell) = child.place() {
            self.adopt(cell.into_owned(), shutdown, None);
        }
        Ok(child)
    }

    pub(crate) fn adopt(
        &mut self,
        control: Arc<dyn Control>,
        shutdown: Shutdown,
        started: Option<oneshot::Receiver<Result<(), Exit>>>,
    ) {
        let children = &mut self.family().children;
        if children.len() == children.capacity() {
            children.retain(|kin| !kin.control.has_ended());
        }
        children.push(Kin { control, shutdown, _started: started });
    }

    /// Binds the fate of this run to the present run of `other`, on any node: when one of them
    /// ends other than with [`Exit::Normal`], the other is killed with the same exit. A target
    /// without a run counts as one that ended with [`Exit::NoProc`], at once. A second link to the
    /// same run changes nothing. Supervisors trap exits: a link does not end them.
    pub fn link<M: Send + 'static>(&mut self, other: &ActorRef<M>) {
        let (them, me) = (other.id(), self.id());
        let links = &mut self.family().links;
        let known = links.iter().any(|(id, bond)| *id == them && bond.strong_count() > 0);
        if known || them == me {
            return;
        }
        if links.len() == links.capacity() {
            links.retain(|(_, bond)| bond.strong_count() > 0);
        }
        // Alive until the other run has ended.
        let bond = Arc::new(());
        links.push((them, Arc::downgrade(&bond)));
        let to_them = other.fate(Arc::downgrade(&bond));
        let alive = Some(Arc::downgrade(&bond));
        let (me, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        other.watch(Monitor {
            on_down: Box::new(move |down| {
                drop(bond);
                if let Some(cell) = me.upgrade() {
                    cell.share_fate(epoch, &down.exit);
                }
            }),
            watcher: Some(self.token()),
        });
        let on_down = Box::new(move |down: crate::exit::Down| to_them(&down.exit));
        self.cell.watch(Monitor { on_down, watcher: alive });
    }

    /// From now on, the ends of linked actors do not end this one: for supervisors, which hear of
    /// their children in another way.
    pub fn trap_exits(&mut self) {
        self.cell.trap();
    }

    fn family(&mut self) -> &mut Family {
        self.rare().family.get_or_insert_default()
    }
}

impl<M: Send + 'static> ActorRef<M> {
    /// What ends the present run as a linked one has ended; `bond` lives as long as that run.
    fn fate(&self, bond: Weak<()>) -> Box<dyn FnOnce(&Exit) + Send> {
        match &self.0 {
            Route::Here(cell) => {
                let (cell, epoch) = (Arc::downgrade(cell), cell.epoch());
                Box::new(move |exit| {
                    if let Some(cell) = cell.upgrade() {
                        cell.share_fate(epoch, exit);
                    }
                })
            }
            Route::Via(_) => Box::new(|_| {}),
            Route::There(remote) => {
                let remote = remote.clone();
                Box::new(move |exit| {
                    if *exit != Exit::Normal && bond.strong_count() > 0 {
                        remote.carrier.stop(&remote.address, exit.clone(), true);
                    }
                })
            }
        }
    }
}

impl Family {
    pub(crate) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Stops the children, the youngest first (Y-1).
    pub(crate) async fn end(self) {
        for kin in self.children.into_iter().rev() {
            kin.end().await;
        }
    }
}

impl Kin {
    async fn end(self) {
        let (told, mut gone) = oneshot::channel::<()>();
        self.control.monitor(Monitor::new(move |_| drop(told)));
        match self.shutdown {
            Shutdown::Brutal => self.control.kill(Exit::Killed),
            Shutdown::Infinity => self.control.stop(Exit::Shutdown),
            Shutdown::After(timeout) => {
                self.control.stop(Exit::Shutdown);
                if tokio::time::timeout(timeout, &mut gone).await.is_err() {
                    self.control.kill(Exit::Killed);
                } else {
                    return;
                }
            }
        }
        // It resolves when the monitor is told and dropped.
        let _ = gone.await;
    }
}
