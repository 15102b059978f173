//! What all cells of one kind on one engine have in common, so that no cell has its own.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
        let id = TypeId::of::<A>();
        let known = self.breeds().get(&id).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            // The recorder's code runs outside the lock.
            let kind = std::any::type_name::<A>();
            let breed = Breed { kind, engine: engine.clone(), meter: Meter::of(kind) };
            self.first(id, Arc::new(breed))
        })
    }

    /// `breed`, unless another start of the same kind was faster.
    fn first(&self, id: TypeId, breed: Arc<Breed>) -> Arc<Breed> {
        let mut breeds = self.breeds();
        if let Some(known) = breeds.get(&id).and_then(Weak::upgrade) {
            return known;
        }
        breeds.insert(id, Arc::downgrade(&breed));
        breed
    }

    fn breeds(&self) -> MutexGuard<'_, HashMap<TypeId, Weak<Breed>>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
