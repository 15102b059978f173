//! The starts of specs without their types, and the kinds that other nodes ask for.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Order, Planted, Seed, Site};
use crate::actor::{Actor, Again, Kind, Once, Restart, Settings, Spec};
use crate::carrier::Carrier;
use crate::cell::{Cell, Control};
use crate::engine::Engine;
use crate::error::{SpawnError, Why};
use crate::id::NodeId;
use crate::reference::{ActorRef, Route};
use crate::run::{Start, launch};
use crate::threads::Run;
use crate::wire::{Outgoing, decode};

/// The seed of a spec: arguments that are cloned for each run, or given away once.
struct Sown<A: Actor> {
    /// Arguments are `Send` but need not be `Sync`.
    args: Mutex<Option<A::Args>>,
    clone: Option<fn(&A::Args) -> A::Args>,
    portable: Option<crate::actor::Portable<A>>,
    run: Run,
}

impl<A: Actor> Sown<A> {
    fn args(&self) -> Result<A::Args, SpawnError> {
        // Only clones of arguments run under this lock; one that panicked left them whole.
        let mut args = self.args.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match (self.clone, args.as_ref()) {
            (Some(clone), Some(original)) => Some(clone(original)),
            _ => args.take(),
        };
        taken.ok_or_else(|| SpawnError::Refused("its arguments were used by its only start".into()))
    }
}

impl<A: Actor> Seed for Sown<A> {
    fn kind(&self) -> &'static str {
        self.portable.as_ref().map_or_else(std::any::type_name::<A>, |portable| portable.kind)
    }

    fn plant(&self, engine: &Engine, order: Order) -> Result<Planted, SpawnError> {
        let (cell, started) = launch::<A>(engine, self.args()?, order, self.run)?;
        if let Some(portable) = &self.portable {
            (portable.export)(engine, &cell);
        }
        Ok(Planted { control: cell, started })
    }

    fn replant(&self, control: &Arc<dyn Control>, order: Order) -> Result<Planted, SpawnError> {
        let last = control.epoch();
        if order.epoch <= last {
            let text = format!("the run {} is not newer than its last run {last}", order.epoch);
            return Err(SpawnError::Refused(text));
        }
        let (told, started) = oneshot::channel();
        let start = Start::<A> {
            args: self.args()?,
            epoch: order.epoch,
            checkpoint: order.checkpoint,
            device: order.device,
            born: Some(told),
            on_restart: order.on_restart,
        };
        control.start_again(Box::new(start));
        Ok(Planted { control: control.clone(), started })
    }

    fn refer(&self, engine: &Engine, site: &Site<'_>) -> Option<Box<dyn Any + Send + Sync>> {
        if let (Some(portable), Some((carrier, address))) = (&self.portable, &site.cluster) {
            return Some(Box::new((portable.refer)(engine, carrier.clone(), *address)));
        }
        let cell = Arc::clone(site.control?).as_any_arc().downcast::<Cell<A::Msg>>().ok()?;
        Some(Box::new(ActorRef(Route::Here(cell))))
    }

    fn encode(&self, carrier: &Arc<dyn Carrier>) -> Option<Result<Outgoing, Why>> {
        let portable = self.portable.as_ref()?;
        let args = self.args.lock().unwrap_or_else(PoisonError::into_inner);
        let args = args.as_ref()?;
        Some((portable.encode)(carrier, args))
    }
}

/// What can stand under a supervisor: a spec whose arguments fit how often it is started.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a child",
    note = "a permanent or transient child is started again, so its arguments must be `Clone`; else say `.temporary()`"
)]
pub trait IntoSeed {
    /// What the child understands.
    type Msg: Send + 'static;
    /// The erased start, and the settings it was given.
    fn into_seed(self) -> (Arc<dyn Seed>, Settings);
}

impl<A: Actor<Args: Clone>> IntoSeed for Spec<A, Again> {
    type Msg = A::Msg;

    fn into_seed(self) -> (Arc<dyn Seed>, Settings) {
        sow(self, Some(Clone::clone))
    }
}

impl<A: Actor> IntoSeed for Spec<A, Once> {
    type Msg = A::Msg;

    fn into_seed(self) -> (Arc<dyn Seed>, Settings) {
        sow(self, None)
    }
}

impl<A: Actor, R> Spec<A, R> {
    /// The erased start of an actor that is started once, and the settings it was given.
    #[must_use]
    pub fn into_seed_once(self) -> (Arc<dyn Seed>, Settings) {
        let (seed, settings) = sow(self, None);
        (seed, Settings { restart: Restart::Temporary, ..settings })
    }
}

fn sow<A: Actor, R>(
    spec: Spec<A, R>,
    clone: Option<fn(&A::Args) -> A::Args>,
) -> (Arc<dyn Seed>, Settings) {
    let sown = Sown::<A> {
        args: Mutex::new(Some(spec.args)),
        clone,
        portable: spec.portable,
        run: spec.settings.run,
    };
    (Arc::new(sown), spec.settings)
}

/// A kind that a node starts when other nodes ask for it.
#[derive(Clone)]
pub struct Hosted {
    /// Its name.
    pub kind: &'static str,
    /// The protocol its actors speak.
    pub protocol: &'static str,
    decode: fn(&Arc<dyn Carrier>, NodeId, &[u8]) -> Result<Arc<dyn Seed>, String>,
}

impl Hosted {
    /// The kind of actor type `A`.
    #[must_use]
    pub fn of<A: Kind>() -> Self {
        Self {
            kind: A::NAME,
            protocol: <A::Msg as crate::wire::Protocol>::NAME,
            decode: |carrier, from, bytes| {
                let args = decode::<A::Args>(carrier, from, bytes, Vec::new())?;
                // `anywhere` makes it reachable by other nodes.
                Ok(sow::<A, Once>(A::spec(args).temporary().anywhere(), None).0)
            },
        }
    }

    /// The start that another node asked for.
    ///
    /// # Errors
    /// A text that says why the arguments could not be decoded.
    pub fn seed(
        &self,
        carrier: &Arc<dyn Carrier>,
        from: NodeId,
        args: &[u8],
    ) -> Result<Arc<dyn Seed>, String> {
        (self.decode)(carrier, from, args)
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hosted({})", self.kind)
    }
}
