//! What the parts of one run of a guest tell each other.

use std::sync::{Mutex, PoisonError};

use ractor::ActorCell;
use tokio::sync::watch;

use crate::exit::Exit;

/// One run of a guest.
#[derive(Default)]
pub(super) struct Visit {
    progress: watch::Sender<Progress>,
    /// Who must be gone as well before the end is told.
    family: Mutex<Vec<ActorCell>>,
}

#[derive(Default)]
pub(super) struct Progress {
    /// Messages it has done with, whichever way they came.
    pub(super) handled: u64,
    /// Its `post_stop` has run to its end: nobody killed it.
    orderly: bool,
    /// How it ended. Set once, when its state is gone or about to be dropped by its own task.
    pub(super) over: Option<Exit>,
}

impl Visit {
    pub(super) fn news(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn handled(&self) {
        self.progress.send_modify(|progress| progress.handled += 1);
    }

    pub(super) fn stopped_itself(&self) {
        self.progress.send_modify(|progress| progress.orderly = true);
    }

    pub(super) fn is_orderly(&self) -> bool {
        self.progress.borrow().orderly
    }

    /// True for the first exit, which counts.
    pub(super) fn end(&self, exit: &Exit) -> bool {
        self.progress.send_if_modified(|progress| {
            let first = progress.over.is_none();
            progress.over.get_or_insert_with(|| exit.clone());
            first
        })
    }

    pub(super) fn expect(&self, family: Vec<ActorCell>) {
        let before = std::mem::replace(&mut *self.family(), family);
        drop(before);
    }

    pub(super) fn expected(&self) -> Vec<ActorCell> {
        std::mem::take(&mut *self.family())
    }

    fn family(&self) -> std::sync::MutexGuard<'_, Vec<ActorCell>> {
        // Only lists are moved under this lock.
        self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
