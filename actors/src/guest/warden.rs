//! The ractor supervisor of one guest: ractor tells nobody else why an actor stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use ractor::actor::messages::BoxedState;
use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};

use super::host::Caught;
use super::kin;
use super::visit::Visit;
use crate::cell::{Cell, Signal};
use crate::exit::{Exit, Fault};
use crate::id::Epoch;
use crate::run::panic_text;

pub(super) struct Warden<M: Send + 'static> {
    pub(super) run: (Weak<Cell<M>>, Epoch),
    pub(super) visit: Arc<Visit>,
}

impl<M: Send + 'static> ractor::Actor for Warden<M> {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let exit = match event {
            SupervisionEvent::ActorTerminated(_, state, reason) => self.terminated(state, reason),
            SupervisionEvent::ActorFailed(_, error) => failed(error),
            _ => return Ok(()),
        };
        kin::gone(self.visit.expected()).await;
        self.tell(&exit);
        myself.stop(None);
        Ok(())
    }
}

impl<M: Send + 'static> Warden<M> {
    /// How a guest ended that did not fail. Its state came along, and goes first.
    fn terminated(&self, state: Option<BoxedState>, reason: Option<String>) -> Exit {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(state)));
        match (dropped, reason) {
            _ if !self.visit.is_orderly() => Exit::Killed,
            (Err(panic), _) => Exit::Panicked(panic_text(&*panic)),
            (Ok(()), Some(reason)) => Exit::ShutdownWith(reason),
            (Ok(()), None) => Exit::Normal,
        }
    }

    /// Ends the run as its guest has ended, unless that is known (GU-2).
    fn tell(&self, exit: &Exit) {
        let (cell, epoch) = &self.run;
        if let (true, Some(cell)) = (self.visit.end(exit), cell.upgrade()) {
            cell.signal_run(*epoch, Signal::Stop(exit.clone()));
        }
    }
}

/// A warden that hears of no end goes when its guest has gone, or takes it along.
impl<M: Send + 'static> Drop for Warden<M> {
    fn drop(&mut self) {
        self.tell(if self.visit.is_orderly() { &Exit::Normal } else { &Exit::Killed });
    }
}

fn failed(error: ActorProcessingErr) -> Exit {
    match error.downcast::<Caught>() {
        Ok(caught) => caught.0,
        Err(error) => Exit::Failed(Fault::of(&*error)),
    }
}
