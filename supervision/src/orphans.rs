//! Children whose supervisor was killed, or panicked: they are killed too, but end in their own time.
//!
//! Invariant **OR-1**: the next run of a supervisor starts nothing before such children of the tree
//! on this node have ended, so that none races its predecessor for a name or a device. It waits
//! [`KILL_GRACE`] at most.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mobula_actors::Control;
use mobula_actors::carrier::Monitor;
use mobula_actors::spawner::Child;
use tokio::sync::oneshot;

use crate::member::KILL_GRACE;

#[derive(Default)]
pub(crate) struct Orphans(Mutex<VecDeque<Arc<dyn Control>>>);

impl Orphans {
    /// A child has been killed because its supervisor is gone.
    pub(crate) fn leave(&self, child: &Arc<dyn Child>) {
        if let Some(control) = child.control().filter(|control| !control.has_ended()) {
            self.all().push_back(control);
        }
    }

    /// Waits until all of them have ended, and those that they leave in turn.
    pub(crate) async fn gone(&self) {
        let gone = async {
            while let Some(orphan) = self.first() {
                let (told, ended) = oneshot::channel();
                orphan.monitor(Monitor::new(move |_| drop(told)));
                // Nothing is sent: the other half goes with the run.
                let _: Result<(), _> = ended.await;
                self.has_ended(&orphan);
            }
        };
        if tokio::time::timeout(KILL_GRACE, gone).await.is_err() {
            tracing::warn!("actors that were killed with their supervisor have not ended");
            self.all().clear();
        }
    }

    fn first(&self) -> Option<Arc<dyn Control>> {
        self.all().front().cloned()
    }

    /// It was the first; somebody else who waits may have taken it out.
    fn has_ended(&self, orphan: &Arc<dyn Control>) {
        let mut all = self.all();
        if all.front().is_some_and(|first| first.id() == orphan.id()) {
            all.pop_front();
        }
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<dyn Control>>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
