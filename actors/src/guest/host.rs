//! The user's ractor actor, with its panics told from its errors and its messages counted.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::kin;
use super::visit::Visit;
use crate::cell::{Cell, Control};
use crate::exit::Exit;
use crate::id::ActorId;
use crate::run::caught;
use crate::watchdog::{Watchdog, watched};

/// Passes everything on to `handler`.
pub(super) struct Host<R> {
    handler: R,
    visit: Arc<Visit>,
    warden: ActorCell,
    /// Who reports a handler that does not yield, and under what name.
    watchdog: Option<(Arc<Watchdog>, ActorId, &'static str)>,
}

/// Lets the warden go, which hears of the end first if there was one. So it ends as well when the
/// guest did not come to life, or was linked to somebody else.
impl<R> Drop for Host<R> {
    fn drop(&mut self) {
        // An error says that it is gone.
        let _ = self.warden.drain();
    }
}

/// A panic on its way through ractor, which would make it an error like any other.
#[derive(Debug)]
pub(super) struct Caught(pub(super) Exit);

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Caught {}

impl<R: ractor::Actor> Host<R> {
    pub(super) fn new<M: Send + 'static>(
        handler: R,
        visit: Arc<Visit>,
        warden: ActorCell,
        cell: &Cell<M>,
    ) -> Self {
        let dog = cell.engine().watchdog();
        let watchdog = dog.map(|dog| (dog.clone(), cell.id(), cell.kind()));
        Self { handler, visit, warden, watchdog }
    }

    /// Runs a part of the handler. If it fails, the guest is at its end, and its family ends first
    /// (GU-3).
    async fn part<T>(
        &self,
        myself: &ActorRef<R::Msg>,
        part: impl Future<Output = Result<T, ActorProcessingErr>>,
    ) -> Result<T, ActorProcessingErr> {
        let part = caught(part);
        let made = match &self.watchdog {
            Some((dog, actor, kind)) => watched(dog.clone(), *actor, kind, part).await,
            None => part.await,
        };
        let made = made.unwrap_or_else(|exit| Err(Box::new(Caught(exit))));
        if made.is_err() {
            kin::end(myself).await;
        }
        made
    }
}

impl<R: ractor::Actor> ractor::Actor for Host<R> {
    type Msg = R::Msg;
    type State = R::State;
    type Arguments = R::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<R::Msg>,
        arguments: R::Arguments,
    ) -> Result<R::State, ActorProcessingErr> {
        // In the node's own task, which is watched as a whole.
        let made = caught(self.handler.pre_start(myself.clone(), arguments)).await;
        let made = made.unwrap_or_else(|exit| Err(Box::new(Caught(exit))));
        if made.is_err() {
            kin::end(&myself).await;
        }
        made
    }

    async fn post_start(
        &self,
        myself: ActorRef<R::Msg>,
        state: &mut R::State,
    ) -> Result<(), ActorProcessingErr> {
        self.part(&myself, self.handler.post_start(myself.clone(), state)).await
    }

    async fn handle(
        &self,
        myself: ActorRef<R::Msg>,
        message: R::Msg,
        state: &mut R::State,
    ) -> Result<(), ActorProcessingErr> {
        self.part(&myself, self.handler.handle(myself.clone(), message, state)).await?;
        self.visit.handled();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<R::Msg>,
        event: SupervisionEvent,
        state: &mut R::State,
    ) -> Result<(), ActorProcessingErr> {
        let handled = self.handler.handle_supervisor_evt(myself.clone(), event, state);
        self.part(&myself, handled).await
    }

    async fn post_stop(
        &self,
        myself: ActorRef<R::Msg>,
        state: &mut R::State,
    ) -> Result<(), ActorProcessingErr> {
        self.part(&myself, self.handler.post_stop(myself.clone(), state)).await?;
        kin::end(&myself).await;
        self.visit.stopped_itself();
        Ok(())
    }
}
