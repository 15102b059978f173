//! The right to answer, here and in ractor.

use std::future::poll_fn;

use ractor::RpcReplyPort;

use crate::id::ActorId;
use crate::reference::DEADLINE_MAX;
use crate::reply::Reply;

/// The right to answer, as a ractor message holds it. A port that is dropped answers
/// `Unknown(Dropped)`. It has no timeout of its own: the caller keeps the time. For the same
/// reason it stays open when the caller has given up; what is sent then is dropped.
///
/// # Panics
/// Outside of a tokio runtime.
#[must_use = "dropping a port answers the caller with an error"]
pub fn port<T: Send + 'static>(reply: Reply<T>) -> RpcReplyPort<T> {
    let (port, answer) = ractor::concurrency::oneshot();
    tokio::spawn(async move {
        // Otherwise the reply is dropped here, which tells the caller.
        if let Ok(value) = answer.await {
            reply.send(value);
        }
    });
    port.into()
}

/// The right to answer a ractor call, for a message to an actor of this crate, here or elsewhere.
/// When that refuses or drops it, the caller's port closes. When the port's timeout has passed, the
/// reply is [abandoned](Reply::is_abandoned); without one it waits as long as the caller does, at
/// most [`DEADLINE_MAX`].
///
/// # Panics
/// Outside of a tokio runtime.
pub fn reply<T: Send + 'static>(port: RpcReplyPort<T>) -> Reply<T> {
    let (reply, mut slot) = Reply::pair(ActorId { origin: 0, number: 0 });
    tokio::spawn(async move {
        let timeout = port.get_timeout().unwrap_or(DEADLINE_MAX);
        match tokio::time::timeout(timeout, poll_fn(|cx| slot.poll(cx))).await {
            // A caller that has gone does not want it.
            Ok(Ok(value)) => drop(port.send(value)),
            Ok(Err(_)) => drop(port),
            Err(_) => slot.abandon(),
        }
    });
    reply
}
