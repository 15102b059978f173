//! Where the references to a tree's children are found by path, also while the supervisor works.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mobula_actors::ActorRef;

use crate::orphans::Orphans;

/// An `ActorRef` to a child, without its type.
pub(crate) type Reference = Arc<dyn Any + Send + Sync>;

#[derive(Default)]
pub struct Directory {
    entries: Mutex<HashMap<String, Reference>>,
    pub(crate) orphans: Orphans,
}

impl Directory {
    pub(crate) fn insert(&self, path: &str, reference: Reference) {
        self.entries().insert(path.to_owned(), reference);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.entries().remove(path);
    }

    pub(crate) fn get<M: Send + 'static>(&self, path: &str) -> Option<ActorRef<M>> {
        self.entries().get(path)?.downcast_ref::<ActorRef<M>>().cloned()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Reference>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} children)", self.entries().len())
    }
}
