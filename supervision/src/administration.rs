//! What a supervisor is asked about its children while it runs; the answers are OTP's.

use mobula_actors::{Exit, Reply, SpawnError};

use crate::directory::Reference;
use crate::error::TreeError;
use crate::member::{Asked, Member};
use crate::spec::ChildSpec;
use crate::strategy::{ChildState, Decision, Key};
use crate::supervisor::{CHILDREN_MAX, Supervisor};

impl Supervisor {
    pub(crate) fn spawn(&mut self, child: ChildSpec, reply: Reply<Result<Reference, TreeError>>) {
        if let Err(error) = self.check(&child) {
            return reply.send(Err(error));
        }
        if let Some((key, _)) = self.find(&child.id) {
            let stopped = self.plan.state(key) == Some(ChildState::Stopped);
            let refusal =
                if stopped { TreeError::AlreadyPresent } else { TreeError::AlreadyStarted };
            return reply.send(Err(refusal(child.id)));
        }
        if self.members.len() >= CHILDREN_MAX {
            return reply.send(Err(TreeError::TooMany { max: CHILDREN_MAX }));
        }
        let asked = answer(child.id.clone(), reply);
        let key = self.add(child, asked);
        let decisions = self.plan.start(key);
        self.carry_out(decisions);
    }

    fn check(&self, child: &ChildSpec) -> Result<(), TreeError> {
        if self.is_dynamic() {
            return Err(TreeError::Dynamic);
        }
        child.check_id()?;
        Ok(child.check(self.supervising.spec.auto_shutdown)?)
    }

    /// No child has this id.
    fn unknown(&self, id: &str) -> TreeError {
        if self.is_dynamic() { TreeError::Dynamic } else { TreeError::Unknown(id.into()) }
    }

    pub(crate) fn terminate(&mut self, id: &str, reply: Reply<Result<(), TreeError>>) {
        let Some((key, member)) = self.find(id) else {
            return reply.send(Err(self.unknown(id)));
        };
        member.tell_when_stopped(reply);
        if self.plan.state(key) == Some(ChildState::Stopped) {
            self.carry_out(vec![Decision::Release { child: key }]);
        } else {
            let decisions = self.plan.terminate(key);
            self.carry_out(decisions);
        }
    }

    pub(crate) fn restart(&mut self, id: &str, reply: Reply<Result<Reference, TreeError>>) {
        let Some((key, _)) = self.find(id) else {
            return reply.send(Err(self.unknown(id)));
        };
        if let Err(error) = self.is_stopped(key, id) {
            return reply.send(Err(error));
        }
        if let Some(member) = self.members.get_mut(&key) {
            member.asked = Some(answer(id.into(), reply));
        }
        let decisions = self.plan.start(key);
        self.carry_out(decisions);
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<(), TreeError> {
        let Some((key, _)) = self.find(id) else { return Err(self.unknown(id)) };
        self.is_stopped(key, id)?;
        self.plan.remove(key);
        self.carry_out(vec![Decision::Forget { child: key }]);
        Ok(())
    }

    fn is_stopped(&self, key: Key, id: &str) -> Result<(), TreeError> {
        match self.plan.state(key) {
            Some(ChildState::Stopped) => Ok(()),
            Some(ChildState::Running) => Err(TreeError::Running(id.into())),
            _ => Err(TreeError::Busy(id.into())),
        }
    }

    fn find(&mut self, id: &str) -> Option<(Key, &mut Member)> {
        let key = *self.ids.get(id)?;
        Some((key, &mut **self.members.get_mut(&key)?))
    }
}

pub(crate) fn answer(id: String, reply: Reply<Result<Reference, TreeError>>) -> Asked {
    Box::new(move |start| {
        reply.send(match start {
            Ok(Some(reference)) => Ok(reference),
            Ok(None) => Err(TreeError::Unreachable(id)),
            Err(SpawnError::Start(Exit::Ignored)) => Err(TreeError::Ignored(id)),
            Err(error) => Err(TreeError::Start(error)),
        });
    })
}
