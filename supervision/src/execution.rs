//! Carrying out what was decided, and telling the [plan](crate::strategy) what came of it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use mobula_actors::spawner::Started;
use mobula_actors::{Exit, Fault, Restart, Settings, SpawnError};

use crate::backoff::Backoff;
use crate::directory::Reference;
use crate::event::Event;
use crate::line::{News, What};
use crate::member::{Asked, Hands, Member, Run};
use crate::spec::ChildSpec;
use crate::strategy::{ChildState, Decision, End, Key, Rules};
use crate::supervisor::Supervisor;

impl Supervisor {
    pub(crate) fn carry_out(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            let hands = Hands {
                runtime: &self.runtime,
                spawner: &self.supervising.spawner,
                line: &self.line,
            };
            match decision {
                Decision::Start { child, epoch, after, keep, avoid } => {
                    let Some(member) = self.members.get_mut(&child) else { continue };
                    if !member.is_new {
                        let id = self.supervising.name(member);
                        self.supervising.tell(&Event::Restarting { id, epoch, after });
                    }
                    member.start(Run { epoch, after, keep, avoid }, &hands);
                }
                Decision::Stop { child } => {
                    if let Some(member) = self.members.get_mut(&child) {
                        member.stop(&hands);
                    }
                }
                Decision::StopAll => self.stop_all(),
                Decision::Release { child } => {
                    if let Some(member) = self.members.get_mut(&child) {
                        member.release();
                        member.has_stopped();
                    }
                }
                Decision::Forget { child } => {
                    if let Some(member) = self.members.remove(&child) {
                        self.forget(&member);
                    }
                }
                Decision::GiveUp(exit) => {
                    if exit.is_abnormal() {
                        let id = self.supervising.own_path().to_owned();
                        self.supervising.tell(&Event::GaveUp { id, exit: exit.clone() });
                    }
                    self.over = Some(exit);
                }
            }
        }
    }

    pub(crate) fn apply(&mut self, news: News) {
        let (child, epoch, what) = match news {
            News::Of { child, epoch, what } => (child, epoch, what),
            News::AllOverdue => return self.all_overdue(),
            News::AllStillThere => return self.all_still_there(),
        };
        let hands =
            Hands { runtime: &self.runtime, spawner: &self.supervising.spawner, line: &self.line };
        let Some(member) = self.members.get_mut(&child).filter(|member| member.epoch == epoch)
        else {
            return;
        };
        match what {
            What::Start(Some(Ok(started))) => self.started(child, started),
            What::Start(Some(Err(error))) => self.start_failed(child, Some(error)),
            What::Start(None) => self.start_failed(child, None),
            What::Ended(exit) if member.is_starting() => {
                member.early_end = Some(Box::new(exit));
            }
            What::Ended(exit) => self.ended(child, exit),
            What::Dropped(messages) => {
                let id = self.supervising.name(member);
                self.supervising.tell(&Event::Dropped { id, epoch, messages });
            }
            What::Waits(why) if member.is_starting() => member.waits = Some(why.into()),
            What::Waits(_) => {}
            // The timer may have run out while the run ended.
            _ if self.plan.state(child) != Some(ChildState::Stopping) => {}
            What::Overdue => member.kill(&hands),
            What::StillThere => self.zombie(child),
        }
    }

    fn started(&mut self, child: Key, started: Started) {
        let is_dynamic = self.is_dynamic();
        let Some(member) = self.members.get_mut(&child) else { return };
        member.start_is_over();
        let id = self.supervising.name(member);
        let (actor, epoch, node) = (member.actor, member.epoch, started.child.node());
        member.is_up(started.child);
        let reference = started.reference.map(Reference::from);
        if let Some(reference) = reference.as_ref().filter(|_| !is_dynamic) {
            self.supervising.directory.insert(&id, reference.clone());
        }
        let (asked, early_end) = (member.asked.take(), member.early_end.take());
        self.supervising.tell(&Event::Started { id, actor, epoch, node });
        let decisions = self.plan.started(child);
        self.carry_out(decisions);
        if let Some(asked) = asked {
            asked(Ok(reference));
        }
        if let Some(exit) = early_end {
            self.ended(child, *exit);
        }
    }

    fn start_failed(&mut self, child: Key, error: Option<SpawnError>) {
        let Some(member) = self.members.get_mut(&child) else { return };
        member.start_is_over();
        let exit = error.as_ref().map_or(Exit::Killed, exit_of);
        // A child that is not needed now may be later.
        let is_new = std::mem::replace(&mut member.is_new, false) && exit != Exit::Ignored;
        let asked = member.asked.take();
        if error.is_some() {
            let (id, epoch) = (self.supervising.name(member), member.epoch);
            member.last_exit = Some(Box::new(exit.clone()));
            self.supervising.tell(&Event::StartFailed { id, epoch, exit: exit.clone() });
        }
        let end = self.end_of(exit);
        let decisions = self.plan.start_failed(child, end);
        self.carry_out(decisions);
        if is_new {
            self.plan.remove(child);
            self.carry_out(vec![Decision::Forget { child }]);
        }
        // Whoever asked a tree that ends hears so from its silence.
        let called_off = || (!self.plan.is_ending()).then_some(SpawnError::Start(Exit::Killed));
        if let (Some(asked), Some(error)) = (asked, error.or_else(called_off)) {
            asked(Err(error));
        }
    }

    pub(crate) fn ended(&mut self, child: Key, exit: Exit) {
        let Some(member) = self.members.get_mut(&child) else { return };
        if !matches!(self.plan.state(child), Some(ChildState::Running | ChildState::Stopping)) {
            return;
        }
        member.disarm();
        member.last_exit = Some(Box::new(exit.clone()));
        let (id, actor, epoch) = (self.supervising.name(member), member.actor, member.epoch);
        self.supervising.tell(&Event::Ended { id, actor, epoch, exit: exit.clone() });
        let end = self.end_of(exit);
        let decisions = self.plan.ended(child, end);
        self.carry_out(decisions);
    }

    fn end_of(&self, exit: Exit) -> End {
        End { exit, now: self.born.elapsed(), chance: chance() }
    }

    pub(crate) fn add(&mut self, child: ChildSpec, asked: Asked) -> Key {
        let id = child.id.clone();
        let sown = child.sow(&self.supervising);
        let actor = self.supervising.spawner.next_id();
        let key = self.next_key(actor);
        self.plan.add(key, rules(&sown.recipe.settings, self.supervising.spec.backoff));
        if !self.is_dynamic() {
            self.ids.insert(id.clone(), key);
        }
        let mut member = Box::new(Member::new(key, id, actor, sown, &self.line));
        member.asked = Some(asked);
        self.members.insert(key, member);
        key
    }

    fn forget(&mut self, member: &Member) {
        if !self.is_dynamic() {
            self.supervising.directory.remove(&self.supervising.path_of(&member.id));
            self.ids.remove(&*member.id);
        }
    }
}

/// How a child is treated, under a supervisor with this back-off.
fn rules(settings: &Settings, backoff: Option<(Duration, Duration)>) -> Rules {
    let Settings { restart, significant, .. } = *settings;
    if restart == Restart::Temporary {
        return Rules { restart, significant, code: None, infra: None };
    }
    let code = settings.backoff.or(backoff).map(|(min, max)| Backoff::new(min, max));
    let infra = code.clone().unwrap_or_default().first_at_once();
    Rules { restart, significant, code: code.map(Box::new), infra: Some(Box::new(infra)) }
}

/// A start that failed, as the end of a run that never was. What a node did not do is the
/// infrastructure's fault.
fn exit_of(error: &SpawnError) -> Exit {
    match error {
        SpawnError::Start(exit) => exit.clone(),
        // No fault of the child's: a node that leaves, or died, took it.
        SpawnError::NoCapacity(_) | SpawnError::Node(_) | SpawnError::Stopping => {
            Exit::NoCapacity(error.to_string())
        }
        _ => Exit::InitFailed(Fault::new(error.to_string())),
    }
}

/// A number in `0.0..1.0` that differs from call to call: jitter needs no more.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}
