//! Names of actors: what they promise, and how they are asked for.
//!
//! A name leads every node of the cluster to one run of one actor. It has no head node: `directory`
//! says which nodes keep it, `registrar` that they go on doing so.
//!
//! A name lasts until the named run ends, its registration is given up, or the node that registered
//! it is gone. Of two registrations of one name the second is refused. Nodes that do not see the
//! same members yet, as after a join, may both be granted one; as soon as they do see the same, the
//! older registration stays, by the clock of the node that made it (of equals, that of the smaller
//! node id), and the other one is told: [`NameEnd::Lost`]. After a partition in which both sides
//! held each other dead, the smaller side's nodes end, and their names with them.

use std::fmt;
use std::sync::Arc;

use mobula_actors::carrier::Monitor;
use mobula_actors::id::NodeId;
use mobula_actors::{ActorRef, NameError, Protocol};
use tokio::sync::watch;

use super::Node;

/// Why a registration holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameEnd {
    /// The named run has ended, or its node is dead.
    Ended,
    /// It was given up.
    GivenUp,
    /// An older registration was found; this node made it.
    Lost(NodeId),
    /// The others hold this node dead, or it has stopped.
    Fenced,
}

/// A name that an actor has. To drop it changes nothing.
#[derive(Clone)]
pub struct Registration {
    name: String,
    ended: watch::Receiver<Option<NameEnd>>,
    give_up: Arc<dyn Fn() + Send + Sync>,
}

impl Registration {
    pub(super) fn new(
        name: &str,
        ended: watch::Receiver<Option<NameEnd>>,
        give_up: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.to_owned(), ended, give_up: Arc::new(give_up) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the actor has the name no more, and says why. The actor can hear of it by
    /// `ctx.pipe`.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn ended(&self) -> NameEnd {
        let mut ended = self.ended.clone();
        let end = ended.wait_for(Option::is_some).await;
        end.ok().and_then(|end| *end).unwrap_or(NameEnd::Fenced)
    }

    /// Gives the name up: others can have it as soon as the nodes that keep it have heard.
    pub fn give_up(&self) {
        (self.give_up)();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({:?})", self.name)
    }
}

impl Node {
    /// Gives an actor a name in the whole cluster until its present run ends; the module's text
    /// says what else ends it. The actor may live on any node.
    ///
    /// # Errors
    /// [`NameError`] after 5 s at the latest; nothing has changed.
    ///
    /// # Cancel safety
    /// Dropped, it gives the name up again.
    pub async fn register<M: Protocol>(
        &self,
        name: &str,
        actor: &ActorRef<M>,
    ) -> Result<Registration, NameError> {
        #[cfg(feature = "net")]
        if let Some(cluster) = self.cluster() {
            return cluster.register(name, actor).await;
        }
        self.register_here(name, actor)?;
        let (end, ended) = watch::channel(None);
        let end = Arc::new(move |why| {
            end.send_if_modified(|end| end.is_none() && end.replace(why).is_none())
        });
        let (engine, id, mine, given_up) = (self.0.engine.clone(), actor.id(), name, end.clone());
        actor.watch(Monitor::new(move |_| _ = end(NameEnd::Ended)));
        let mine = mine.to_owned();
        Ok(Registration::new(name, ended, move || {
            if given_up(NameEnd::GivenUp) {
                engine.unregister(&mine, id);
            }
        }))
    }

    /// The actor that has a name in the cluster. It is asked for each time.
    ///
    /// # Errors
    /// [`NameError::Unknown`], [`NameError::OtherProtocol`], or [`NameError::Unreachable`] after
    /// 5 s.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn lookup<M: Protocol>(&self, name: &str) -> Result<ActorRef<M>, NameError> {
        #[cfg(feature = "net")]
        if let Some(cluster) = self.cluster() {
            return cluster.lookup(name).await;
        }
        self.lookup_here(name)
    }

    /// Gives an actor a name on this node only, until its present run ends. Its messages need no
    /// protocol.
    ///
    /// # Errors
    /// [`NameError::Taken`] or [`NameError::Ended`]; nothing has changed.
    pub fn register_here<M: Send + 'static>(
        &self,
        name: &str,
        actor: &ActorRef<M>,
    ) -> Result<(), NameError> {
        self.0.engine.register(name, actor)
    }

    /// The actor that has a name on this node only.
    ///
    /// # Errors
    /// [`NameError::Unknown`] or [`NameError::OtherProtocol`].
    pub fn lookup_here<M: Send + 'static>(&self, name: &str) -> Result<ActorRef<M>, NameError> {
        self.0.engine.lookup(name)
    }
}
