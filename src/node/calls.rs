//! Calls of this node that wait for an answer from another.
//!
//! Invariants:
//! - **D-1** A call is answered, failed or forgotten once; what comes later finds nothing.
//! - **D-2** The table holds at most [`CALLS_MAX`] calls.
//! - **D-3** The number of a call is the right to answer it: who was not given it cannot guess it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mobula_actors::carrier::Answer;
use mobula_actors::id::NodeId;
use mobula_actors::{CallError, Lost, Why};

/// Calls in flight from one node to all others.
pub const CALLS_MAX: usize = 65_536;

#[derive(Default)]
pub(super) struct Calls {
    table: Mutex<Table>,
    /// The secret that numbers are made with: they are a keyed hash (SipHash) of their order.
    secret: RandomState,
}

#[derive(Default)]
struct Table {
    next: u64,
    pending: super::cluster::Table<u64, Pending>,
}

struct Pending {
    answer: Arc<dyn Answer>,
    /// The node that has the right to answer, once it has left.
    sent_to: Option<NodeId>,
}

impl Calls {
    pub(super) fn register(&self, answer: Arc<dyn Answer>) -> Result<u64, Why> {
        let mut table = self.table();
        if table.pending.len() >= CALLS_MAX {
            return Err(Why::TooManyCalls);
        }
        let number = loop {
            table.next += 1;
            let number = self.secret.hash_one(table.next);
            if !table.pending.contains_key(&number) {
                break number;
            }
        };
        table.pending.insert(number, Pending { answer, sent_to: None });
        Ok(number)
    }

    pub(super) fn sent(&self, number: u64, node: NodeId) {
        if let Some(pending) = self.table().pending.get_mut(&number) {
            pending.sent_to = Some(node);
        }
    }

    /// The node that was to answer has handed the right to another one.
    pub(super) fn handed_on(&self, number: u64, by: NodeId, to: NodeId) {
        let mut table = self.table();
        let pending = table.pending.get_mut(&number);
        if let Some(pending) = pending.filter(|pending| pending.sent_to == Some(by)) {
            pending.sent_to = Some(to);
        }
    }

    pub(super) fn take(&self, number: u64) -> Option<Arc<dyn Answer>> {
        self.table().pending.remove(&number).map(|pending| pending.answer)
    }

    pub(super) fn fail(&self, number: u64, error: CallError) {
        if let Some(answer) = self.take(number) {
            answer.fail(error);
        }
    }

    /// The connection to `node` is gone: what left for it may have run.
    pub(super) fn disconnected(&self, node: NodeId) {
        let lost: Vec<_> = {
            let mut table = self.table();
            let gone = |pending: &Pending| pending.sent_to == Some(node);
            table.pending.extract_if(|_, pending| gone(pending)).collect()
        };
        for (_, pending) in lost {
            pending.answer.fail(CallError::Unknown(Lost::Disconnected));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use mobula_actors::carrier::Carrier;

    use super::*;

    struct Nobody;

    impl Answer for Nobody {
        fn answer(&self, _: &Arc<dyn Carrier>, _: NodeId, _: &[u8], _: Vec<Bytes>) {}
        fn fail(&self, _: CallError) {}
    }

    /// D-2, D-3.
    #[test]
    fn calls_are_bounded_and_their_numbers_tell_nothing_of_each_other() {
        let [one, other] = [(); 2].map(|()| Calls::default());
        let numbers = |calls: &Calls| -> BTreeSet<u64> {
            let all = (0..CALLS_MAX).map(|_| calls.register(Arc::new(Nobody)).unwrap());
            all.collect()
        };
        let (mine, theirs) = (numbers(&one), numbers(&other));
        assert_eq!(mine.len(), CALLS_MAX);
        assert!(mine.is_disjoint(&theirs), "each node has a secret of its own");
        assert!(mine.iter().all(|number| !mine.contains(&number.wrapping_add(1))));
        assert_eq!(one.register(Arc::new(Nobody)), Err(Why::TooManyCalls));
    }
}
