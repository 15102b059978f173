//! One message to every member.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::call::Call;
use crate::carrier::BoxFuture;
use crate::engine::Engine;
use crate::error::{CallError, Lost, Why};
use crate::group::{Group, Member};
use crate::id::ActorId;
use crate::reference::DEADLINE_DEFAULT;
use crate::reply::Reply;

impl<M: Send + 'static> Group<M> {
    /// Casts to every member what `message` makes, and returns who refused it and why.
    ///
    /// If the members are on more than 8 other nodes, a message of at most 32 KiB that nobody is to
    /// answer is made once and goes from node to node along a tree, one copy for each. It reaches
    /// each member once if the members and the nodes stay the same meanwhile. Members elsewhere that
    /// refuse it are not named then, and it may overtake what was sent to them otherwise.
    pub fn cast_all(&self, mut message: impl FnMut() -> M) -> Vec<(ActorId, Why)> {
        let members = self.0.members();
        let tie = self.0.tie.as_ref();
        let rest = tie.and_then(|tie| tie.spread(&self.0.name, &members, &mut message));
        let cast = |member: &Member<M>| {
            let refused = member.actor.cast(message()).err()?;
            Some((member.actor.id(), refused.why))
        };
        rest.as_ref().unwrap_or(&*members).iter().filter_map(cast).collect()
    }

    /// Calls every member at once (default deadline 5 s, [`CallAll::within`]).
    pub fn call_all<T: Send + 'static>(
        &self,
        mut request: impl FnMut(Reply<T>) -> M,
    ) -> CallAll<M, T> {
        let members = self.0.members();
        let call = |member: &Member<M>| (member.actor.id(), member.actor.call(&mut request));
        let calls = members.iter().map(call).collect();
        CallAll { calls, timeout: DEADLINE_DEFAULT, engine: self.0.engine.clone() }
    }
}

/// Calls to all members of a group. Await it: it gives each member's answer, in the order in which
/// they joined. Dropped, it gives the answers up.
#[must_use = "nothing is sent until it is awaited"]
pub struct CallAll<M: Send + 'static, T: Send + 'static> {
    calls: Vec<(ActorId, Call<M, T>)>,
    timeout: Duration,
    engine: Engine,
}

impl<M: Send + 'static, T: Send + 'static> CallAll<M, T> {
    /// Waits at most `timeout` for each answer, all at the same time (default 5 s).
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<M: Send + 'static, T: Send + 'static> IntoFuture for CallAll<M, T> {
    type Output = Vec<(ActorId, Result<T, CallError>)>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let lost = || Err(CallError::Unknown(Lost::Dropped));
            let mut answers: Vec<_> = self.calls.iter().map(|(id, _)| (*id, lost())).collect();
            let mut calls = JoinSet::new();
            for (place, (_, call)) in self.calls.into_iter().enumerate() {
                let call = call.within(self.timeout);
                calls.spawn_on(async move { (place, call.await) }, self.engine.runtime());
            }
            while let Some(done) = calls.join_next().await {
                if let Ok((place, answer)) = done {
                    answers[place].1 = answer;
                }
            }
            answers
        })
    }
}

impl<M: Send + 'static, T: Send + 'static> fmt::Debug for CallAll<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallAll").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}
