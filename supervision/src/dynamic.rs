//! Supervisors whose children are of one kind and come and go by the million, as OTP's
//! `simple_one_for_one`.
//!
//! Invariants:
//! - **DY-1** A child that has ended for good, or was not needed, leaves nothing behind: no id, no
//!   path, no arguments, no entry.
//! - **DY-2** All children are stopped at once. They have the longest time that one of them was
//!   given, together; those that wait without bound are waited for.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mobula_actors::id::ActorId;
use mobula_actors::spawner::{IntoSeed, Seed};
use mobula_actors::{Exit, Reply, Settings, Shutdown};

use crate::administration::answer;
use crate::directory::Reference;
use crate::error::TreeError;
use crate::line::News;
use crate::member::KILL_GRACE;
use crate::spec::{ChildSpec, SupervisorSpec};
use crate::strategy::{ChildState, Key, Strategy};
use crate::supervisor::Supervisor;

/// Children that one dynamic supervisor has at a time.
pub const DYNAMIC_CHILDREN_MAX: usize = 10_000_000;

/// How the children of a dynamic supervisor are made, without its types.
#[derive(Clone)]
pub struct Template(Arc<dyn Any + Send + Sync>);

/// The same, for children that take `Msg`.
struct Typed<Args, Msg> {
    make: Box<dyn Fn(Args) -> (Arc<dyn Seed>, Settings) + Send + Sync>,
    takes: std::marker::PhantomData<fn(Msg)>,
}

impl Template {
    fn new<Args: Send + 'static, S: IntoSeed>(
        template: impl Fn(Args) -> S + Send + Sync + 'static,
    ) -> Self {
        let make = Box::new(move |args| template(args).into_seed());
        Self(Arc::new(Typed::<Args, S::Msg> { make, takes: std::marker::PhantomData }))
    }

    /// A child's start; `None` if the template is for other children.
    pub(crate) fn make<Args: Send + 'static, Msg: Send + 'static>(
        &self,
        args: Args,
    ) -> Option<(Arc<dyn Seed>, Settings)> {
        Some((self.0.downcast_ref::<Typed<Args, Msg>>()?.make)(args))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

impl Supervisor {
    /// Describes a dynamic supervisor: `template` makes its children, one for each
    /// [`Tree::start_child`](crate::Tree::start_child).
    ///
    /// A child is known by its reference: it has no id and no path. Permanent and transient ones
    /// are started again as their spec says, and count toward the intensity. Nothing is kept of a
    /// child that has ended. All children are stopped at once, within the longest time that one of
    /// them was given.
    #[must_use]
    pub fn dynamic<Args: Send + 'static, S: IntoSeed>(
        template: impl Fn(Args) -> S + Send + Sync + 'static,
    ) -> SupervisorSpec {
        let mut spec = SupervisorSpec::new(Strategy::Dynamic);
        spec.template = Some(Template::new(template));
        spec
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        self.supervising.spec.strategy == Strategy::Dynamic
    }

    pub(crate) fn start_child(
        &mut self,
        child: ChildSpec,
        reply: Reply<Result<Reference, TreeError>>,
    ) {
        if !self.is_dynamic() {
            return reply.send(Err(TreeError::NoTemplate));
        }
        // The first time that the child's settings can be seen.
        let check = child.check(self.supervising.spec.auto_shutdown);
        if let Err(error) = check.map_err(TreeError::from) {
            return reply.send(Err(error));
        }
        if self.members.len() >= DYNAMIC_CHILDREN_MAX {
            return reply.send(Err(TreeError::TooMany { max: DYNAMIC_CHILDREN_MAX }));
        }
        let key = self.add(child, answer(String::new(), reply));
        let decisions = self.plan.start(key);
        self.carry_out(decisions);
    }

    pub(crate) fn end_child(&mut self, actor: ActorId, reply: Reply<Result<(), TreeError>>) {
        if !self.is_dynamic() {
            return reply.send(Err(TreeError::NoTemplate));
        }
        let key = Key(actor.number);
        match self.members.get_mut(&key).filter(|member| member.actor == actor) {
            Some(member) => {
                member.tell_when_stopped(reply);
                let decisions = self.plan.terminate(key);
                self.carry_out(decisions);
            }
            None => reply.send(Err(TreeError::Unknown(actor.to_string()))),
        }
    }

    /// The key of a child to be added. Those of dynamic children are found by their actors, whose
    /// numbers count up as well.
    pub(crate) fn next_key(&mut self, actor: ActorId) -> Key {
        if self.is_dynamic() {
            return Key(actor.number);
        }
        self.keys += 1;
        Key(self.keys)
    }

    /// Asks all children to end, with one timer for all (DY-2).
    pub(crate) fn stop_all(&mut self) {
        let mut longest = Duration::ZERO;
        for member in self.members.values_mut() {
            member.ask_to_stop();
            if let Shutdown::After(timeout) = member.shutdown {
                longest = longest.max(timeout);
            }
        }
        self.arm_all(longest, News::AllOverdue);
    }

    pub(crate) fn all_overdue(&mut self) {
        let overdue = |shutdown| shutdown != Shutdown::Infinity;
        for member in self.members.values().filter(|member| overdue(member.shutdown)) {
            member.kill_now();
        }
        self.arm_all(KILL_GRACE, News::AllStillThere);
    }

    pub(crate) fn all_still_there(&mut self) {
        let killed = self.members.values().filter(|member| {
            member.shutdown != Shutdown::Infinity
                && self.plan.state(member.key) == Some(ChildState::Stopping)
        });
        let killed: Vec<Key> = killed.map(|member| member.key).collect();
        for key in killed {
            self.zombie(key);
        }
    }

    fn arm_all(&mut self, after: Duration, news: News) {
        let line = self.line.clone();
        let timer = self.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            line.send(news);
        });
        if let Some(timer) = self.timer.replace(timer.abort_handle()) {
            timer.abort();
        }
    }

    /// A killed run has not ended: the supervisor goes on without it.
    pub(crate) fn zombie(&mut self, key: Key) {
        let Some(member) = self.members.get(&key).filter(|member| !member.is_starting()) else {
            return;
        };
        let (id, actor, epoch) = (self.supervising.name(member), member.actor, member.epoch);
        self.supervising.tell(&crate::Event::Zombie { id, actor, epoch });
        self.ended(key, Exit::Killed);
    }
}
