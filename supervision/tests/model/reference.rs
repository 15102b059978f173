//! What a tree of supervisors has to do, said in the shortest way: everything happens at once, on a
//! tree of plain values, by recursion. It shares no code with what it checks.

use std::collections::HashMap;

use mobula_actors::Restart;
use mobula_supervision::{AutoShutdown, Strategy};

use crate::cases::{Begin, ChildSpec, PERIOD_MS, Spec};

pub(crate) struct Sup {
    pub(crate) path: String,
    pub(crate) spec: Spec,
    pub(crate) children: Vec<Child>,
    stamps: Vec<u64>,
}

pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    pub(crate) run: Option<Run>,
}

pub(crate) enum Run {
    Actor,
    Sup(Sup),
}

/// How an actor or a supervisor has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Orderly,
    Abnormal,
}

/// The tree, and what has happened to its actors: `+path` up, `!path` failed to start, `?path` not
/// needed, `-path` gone.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) log: Vec<String>,
    pub(crate) now: u64,
    tries: HashMap<String, usize>,
}

impl Model {
    pub(crate) fn fault(&mut self, sup: &mut Sup, path: &str, end: End) -> Option<End> {
        let (id, rest) = path.split_once('/').unwrap_or((path, ""));
        let at = sup.children.iter().position(|child| child.spec.id == id)?;
        let mut end = Some(end);
        match &mut sup.children[at].run {
            Some(Run::Sup(below)) => end = self.fault(below, rest, end?),
            _ => self.log.push(format!("-{}{id}", sup.path)),
        }
        let end = end?;
        sup.children[at].run = None;
        self.ended(sup, at, end)
    }

    fn ended(&mut self, sup: &mut Sup, at: usize, end: End) -> Option<End> {
        let ChildSpec { restart, significant, .. } = sup.children[at].spec;
        if restart == Restart::Permanent || restart == Restart::Transient && end == End::Abnormal {
            return self.restart(sup, at);
        }
        if forgets(sup, restart) {
            sup.children.remove(at);
        }
        let active = sup.children.iter().any(|child| child.spec.significant && child.run.is_some());
        let all = sup.spec.auto == AutoShutdown::AllSignificant;
        if !significant || sup.spec.auto == AutoShutdown::Never || all && active {
            return None;
        }
        self.stop_children(sup, 0);
        Some(End::Orderly)
    }

    fn restart(&mut self, sup: &mut Sup, mut cause: usize) -> Option<End> {
        loop {
            sup.stamps.push(self.now);
            sup.stamps.retain(|stamp| self.now - stamp <= PERIOD_MS);
            if sup.stamps.len() > sup.spec.max {
                self.stop_children(sup, 0);
                return Some(End::Abnormal);
            }
            let (from, group) = match sup.spec.strategy {
                Strategy::OneForAll => (0, true),
                Strategy::RestForOne => (cause, true),
                _ => (cause, false),
            };
            if group {
                self.stop_children(sup, from);
            }
            let to = if group { sup.children.len() } else { cause + 1 };
            let failed = (from..to).find(|at| {
                let begun = self.start(&sup.path, &sup.children[*at].spec);
                let failed = matches!(begun, Err(Begin::Fail));
                sup.children[*at].run = begun.ok();
                failed
            });
            match failed {
                Some(at) => cause = at,
                None if sup.children[from].run.is_none() && forgets(sup, Restart::Permanent) => {
                    sup.children.remove(from);
                    return None;
                }
                None => return None,
            }
        }
    }

    fn start(&mut self, above: &str, spec: &ChildSpec) -> Result<Run, Begin> {
        let path = format!("{above}{}", spec.id);
        if let Some(below) = &spec.below {
            return self.start_sup(path + "/", below).map(Run::Sup).ok_or(Begin::Fail);
        }
        let tries = self.tries.entry(path.clone()).or_default();
        let begin = spec.begins.get(*tries).copied().unwrap_or(Begin::Up);
        *tries += 1;
        self.log.push(format!("{}{path}", begin.mark()));
        if begin == Begin::Up { Ok(Run::Actor) } else { Err(begin) }
    }

    pub(crate) fn start_sup(&mut self, path: String, spec: &Spec) -> Option<Sup> {
        let mut sup = Sup { path, spec: spec.clone(), children: Vec::new(), stamps: Vec::new() };
        for child in &spec.children {
            if self.spawn(&mut sup, child.clone()) == "failed" {
                self.stop_children(&mut sup, 0);
                return None;
            }
        }
        Some(sup)
    }

    pub(crate) fn spawn(&mut self, sup: &mut Sup, spec: ChildSpec) -> &'static str {
        if let Some(child) = sup.children.iter().find(|child| child.spec.id == spec.id) {
            return if child.run.is_some() { "started" } else { "present" };
        }
        let begun = self.start(&sup.path, &spec);
        let (answer, forgets) = (answer(&begun), forgets(sup, spec.restart));
        if answer == "ok" || answer == "ignored" && !forgets {
            sup.children.push(Child { spec, run: begun.ok() });
        }
        answer
    }

    /// Somebody asks for something that has to do with a child that is there.
    pub(crate) fn ask(&mut self, sup: &mut Sup, id: &str, verb: &str) -> &'static str {
        let found = sup.children.iter().position(|child| child.spec.id == id);
        let Some(at) = found else { return "unknown" };
        match verb {
            "terminate" => self.stop_child(sup, at),
            _ if sup.children[at].run.is_some() => return "running",
            "delete" => drop(sup.children.remove(at)),
            _ => {
                let begun = self.start(&sup.path, &sup.children[at].spec);
                let answer = answer(&begun);
                sup.children[at].run = begun.ok();
                return answer;
            }
        }
        "ok"
    }

    pub(crate) fn stop_children(&mut self, sup: &mut Sup, from: usize) {
        for at in (from..sup.children.len()).rev() {
            if sup.children[at].run.is_some() {
                self.stop_child(sup, at);
            }
        }
    }

    fn stop_child(&mut self, sup: &mut Sup, at: usize) {
        match sup.children[at].run.take() {
            Some(Run::Actor) => self.log.push(format!("-{}{}", sup.path, sup.children[at].spec.id)),
            Some(Run::Sup(mut below)) => self.stop_children(&mut below, 0),
            None => {}
        }
        if forgets(sup, sup.children[at].spec.restart) {
            sup.children.remove(at);
        }
    }
}

fn forgets(sup: &Sup, restart: Restart) -> bool {
    restart == Restart::Temporary || sup.spec.strategy == Strategy::Dynamic
}

fn answer(begun: &Result<Run, Begin>) -> &'static str {
    match begun {
        Ok(_) => "ok",
        Err(Begin::Ignore) => "ignored",
        Err(_) => "failed",
    }
}
