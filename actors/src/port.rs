//! A second address of an actor, for another protocol.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use crate::actor::{Actor, Shutdown};
use crate::cell::{Cell, Envelope, Signal};
use crate::context::Context;
use crate::delivery::Knock;
use crate::error::Why;
use crate::exit::{Exit, Fault};
use crate::id::Epoch;
use crate::observe::Breed;
use crate::reference::{ActorRef, Route};
use crate::run::{launch, panic_text};
use crate::spawner::Order;
use crate::threads::Run;

/// Messages that wait in a port for room in its actor's mailbox.
pub const PORT_MESSAGES: usize = 128;

impl<A: Actor> Context<A> {
    /// An address for the protocol `O` whose messages arrive here as `map` makes them, in their
    /// order. It ends with this run; what waits in it then is refused, and calls it has passed on
    /// answer `Unknown(Dropped)` if they do not run.
    ///
    /// It has a mailbox of its own, for [`PORT_MESSAGES`] messages: while mine is full, that one
    /// fills, and then whoever sends is refused or waits. A `map` that panics ends this run. The
    /// deadline of a call is watched up to the port: a call that expires in my own mailbox may
    /// still run.
    ///
    /// Once the engine is stopping, it gives the address of a port that has ended.
    pub fn port<O: Send + 'static>(
        &mut self,
        map: impl FnMut(O) -> A::Msg + Send + 'static,
    ) -> ActorRef<O> {
        let (to, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        let engine = self.engine().clone();
        let port = Port { to, epoch, map, takes: PhantomData };
        let spec = Port::spec(port).mailbox(PORT_MESSAGES);
        let parent = Some(self.id());
        let order = Order { id: engine.next_id(), parent, ..Order::new(&spec.settings) };
        let id = order.id;
        match launch::<Port<O, A::Msg, _>>(&engine, spec.args, order, Run::Task) {
            Ok((cell, started)) => {
                self.adopt(cell.clone(), Shutdown::Brutal, Some(started));
                ActorRef(Route::Here(cell))
            }
            Err(_) => ActorRef(Route::Here(Cell::ended(engine, id))),
        }
    }
}

struct Port<O, M, F> {
    to: Weak<Cell<M>>,
    epoch: Epoch,
    map: F,
    takes: PhantomData<fn(O)>,
}

impl<O, M, F> Actor for Port<O, M, F>
where
    O: Send + 'static,
    M: Send + 'static,
    F: FnMut(O) -> M + Send + 'static,
{
    type Args = Self;
    type Msg = O;

    async fn start(port: Self, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(port)
    }

    async fn handle(&mut self, message: O, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let Some(to) = self.to.upgrade() else {
            ctx.cell.discard(message, || Why::Stopped);
            return Ok(());
        };
        let mapped = match catch_unwind(AssertUnwindSafe(|| (self.map)(message))) {
            Ok(mapped) => mapped,
            Err(panic) => {
                let exit = Exit::Panicked(panic_text(&*panic));
                to.signal_run(self.epoch, Signal::Stop(exit));
                ctx.stop();
                return Ok(());
            }
        };
        let mut knock = Knock::new(to, Envelope::of_run(mapped, self.epoch));
        if let Err((message, _)) = poll_fn(|cx| knock.poll(cx)).await {
            ctx.cell.discard(message, || Why::Stopped);
        }
        Ok(())
    }
}

impl<M: Send + 'static> Cell<M> {
    /// A cell without a run, now and ever.
    pub(crate) fn ended(engine: crate::engine::Engine, id: crate::id::ActorId) -> Arc<Self> {
        let breed = Breed::silent(std::any::type_name::<M>(), engine);
        let cell = Self::new(breed, id, 1, None, None);
        cell.close();
        Arc::new(cell)
    }
}

impl<O, M, F> fmt::Debug for Port<O, M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
