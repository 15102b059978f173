//! What a push answers.

use std::fmt;

use crate::mailbox::queue::ASLEEP;

/// What a push did besides queueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a sleeping consumer that is not woken never sees the value"]
pub enum Pushed {
    /// The consumer is awake and will find the value.
    Awake,
    /// The consumer slept. The caller, and nobody else, must wake it.
    WakeConsumer,
}

impl Pushed {
    /// What follows from the state that a push or close replaced.
    pub(super) fn from_state(before: u64) -> Self {
        if before & ASLEEP == 0 { Self::Awake } else { Self::WakeConsumer }
    }
}

/// A push that did not happen; the value comes back and the queue is unchanged.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum PushError<T> {
    /// No room. Retry later, or wait with [`Queue::poll_push`](super::Queue::poll_push).
    #[error("the queue is full: retry later or wait for room")]
    Full(T),
    /// The queue was closed, for good.
    #[error("the queue is closed: find another receiver")]
    Closed(T),
}

impl<T> PushError<T> {
    /// The value that was not pushed.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}
