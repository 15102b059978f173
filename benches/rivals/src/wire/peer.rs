//! What every side must be able to do between two processes. The benches are written once, over
//! this.

use crate::side::Outcome;

/// What is called: 64 bytes there and the same back.
pub(super) const CALL_BYTES: usize = 64;

/// The road on which casts travel, where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    /// That of the calls.
    Call,
    /// One for large parts, beside it.
    Bulk,
}

/// A connection of the measuring process with the serving one.
pub(super) trait Peer: Sized + Send + 'static {
    type Caller: Caller;
    type Sender: Sender;

    /// Serves whoever connects, as long as it is polled, once `ready` has been told the address.
    fn serve(ready: impl FnOnce(&str) + Send) -> impl Future<Output = Outcome<()>> + Send;

    /// Connects to `address`.
    fn connect(address: &str) -> impl Future<Output = Outcome<Self>> + Send;

    /// One who calls. Where a connection carries no two at a time, it gets one of its own.
    fn caller(&mut self) -> impl Future<Output = Outcome<Self::Caller>> + Send;

    /// One who casts messages of `bytes`.
    fn sender(
        &mut self,
        road: Road,
        bytes: usize,
    ) -> impl Future<Output = Outcome<Self::Sender>> + Send;

    /// Callers of so many actors there, one each. `None` if this side has no actors.
    fn references(
        &mut self,
        _actors: u64,
    ) -> impl Future<Output = Outcome<Option<Vec<Self::Caller>>>> + Send {
        async { Ok(None) }
    }
}

pub(super) trait Caller: Send + 'static {
    /// Sends [`CALL_BYTES`] and waits until they are back.
    fn call(&mut self) -> impl Future<Output = Outcome<()>> + Send;
}

pub(super) trait Sender: Send + 'static {
    /// Sends one message; waits for room at most.
    fn cast(&mut self) -> impl Future<Output = Outcome<()>> + Send;

    /// How many messages have arrived since this was asked last, all that were cast before included.
    fn arrived(&mut self) -> impl Future<Output = Outcome<u64>> + Send;
}
