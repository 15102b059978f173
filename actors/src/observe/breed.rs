//! What all cells of one kind on one engine have in common, so that no cell has its own.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::engine::Engine;
use crate::observe::meter::Meter;

pub(crate) struct Breed {
    pub(crate) kind: &'static str,
    pub(crate) engine: Engine,
    /// `None` if nobody listens.
    pub(crate) meter: Option<Meter>,
}

impl Breed {
    /// Of cells that have no run: there is nothing to tell of them.
    pub(crate) fn silent(kind: &'static str, engine: Engine) -> Arc<Self> {
        Arc::new(Self { kind, engine, meter: None })
    }
}

/// The breeds of an engine that have cells, by the type of their actors. There are never more than
/// the program has types of actors.
#[derive(Default)]
pub(crate) struct Breeds(Mutex<HashMap<TypeId, Weak<Breed>>>);

impl Breeds {
    pub(crate) fn of<A: 'static>(&self, engine: &Engine) -> Arc<Breed> {
        // A recorder runs code of its own under this lock, but only that of a new kind: it leaves
        // the table as it was if it panics.
        let mut breeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breed) = breeds.get(&TypeId::of::<A>()).and_then(Weak::upgrade) {
            return breed;
        }
        let kind = std::any::type_name::<A>();
        let breed = Arc::new(Breed { kind, engine: engine.clone(), meter: Meter::of(kind) });
        breeds.insert(TypeId::of::<A>(), Arc::downgrade(&breed));
        breed
    }
}
