//! The steps of the workflow, what each waits for, and how far each is.
//!
//! - GR-1: a step begins when all that it waits for is done, and not before.
//! - GR-2: a crashed step begins again, up to [`ATTEMPTS_MAX`] times; one that failed does not.
//! - GR-3: tokens are counted once they are spent, whatever becomes of the step.

use serde::{Deserialize, Serialize};

use crate::words::Task;

/// How often a step is tried.
pub const ATTEMPTS_MAX: u32 = 3;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Has the tool write something.
    Write(Task),
    /// Asks a person.
    Ask(&'static str),
}

/// A step as it is planned.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub name: &'static str,
    /// Steps whose words it needs; they stand before it.
    pub after: &'static [&'static str],
    pub work: Work,
    /// Tokens that it may spend in one attempt.
    pub tokens_max: u32,
}

const fn write(
    name: &'static str,
    after: &'static [&'static str],
    task: Task,
    tokens_max: u32,
) -> Plan {
    Plan { name, after, work: Work::Write(task), tokens_max }
}

/// The workflow: what went wrong, and a report of it.
pub const PLANS: [Plan; 6] = [
    write("logs", &[], Task::ReadLogs, 40),
    write("metrics", &[], Task::ReadMetrics, 40),
    write("cause", &["logs", "metrics"], Task::FindCause, 80),
    Plan { name: "approve", after: &["cause"], work: Work::Ask(QUESTION), tokens_max: 0 },
    write("report", &["cause", "approve"], Task::WriteReport, 120),
    write("check", &["report"], Task::CheckReport, 40),
];

const QUESTION: &str = "Shall the report go out as it is? Say yes, or what is to be changed.";

/// What a step is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Waiting,
    Running,
    Done,
    Failed,
    Cancelled,
}

/// How far a step is; the fields are keys of the JSON object at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub state: State,
    pub attempts: u32,
    /// Spent in all attempts.
    pub tokens: u32,
    /// What it came to, or why it failed.
    pub text: Option<String>,
}

/// What follows from a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Again,
    GiveUp,
}

/// How far all steps are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    pub steps: Vec<Step>,
}

impl Default for Graph {
    fn default() -> Self {
        let step = |plan: &Plan| Step {
            name: plan.name.into(),
            state: State::Waiting,
            attempts: 0,
            tokens: 0,
            text: None,
        };
        Self { steps: PLANS.iter().map(step).collect() }
    }
}

impl Graph {
    /// Steps that can begin now (GR-1).
    pub fn ready(&self) -> Vec<usize> {
        let is_ready = |at: &usize| {
            self.steps[*at].state == State::Waiting
                && PLANS[*at].after.iter().all(|name| self.is_done(name))
        };
        (0..self.steps.len()).filter(is_ready).collect()
    }

    fn is_done(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.name == name && step.state == State::Done)
    }

    /// Begins an attempt, and returns which one it is.
    pub fn begin(&mut self, at: usize) -> u32 {
        let step = &mut self.steps[at];
        step.state = State::Running;
        step.attempts += 1;
        step.attempts
    }

    /// Whether this attempt is the one that runs.
    pub fn is_running(&self, at: usize, attempt: u32) -> bool {
        self.steps[at].state == State::Running && self.steps[at].attempts == attempt
    }

    /// What the steps before have said.
    pub fn heard(&self, at: usize) -> Vec<String> {
        let said = |name: &&str| self.steps.iter().find(|step| step.name == *name)?.text.clone();
        PLANS[at].after.iter().filter_map(said).collect()
    }

    pub fn done(&mut self, at: usize, text: String) {
        self.end(at, State::Done, text);
    }

    pub fn failed(&mut self, at: usize, why: String) {
        self.end(at, State::Failed, why);
    }

    fn end(&mut self, at: usize, state: State, text: String) {
        self.steps[at].state = state;
        self.steps[at].text = Some(text);
    }

    /// An attempt ended without a word (GR-2).
    pub fn crashed(&mut self, at: usize, why: String) -> Verdict {
        if self.steps[at].attempts < ATTEMPTS_MAX {
            self.steps[at].state = State::Waiting;
            return Verdict::Again;
        }
        self.failed(at, why);
        Verdict::GiveUp
    }

    /// What has no end yet gets none.
    pub fn cancel(&mut self) {
        for step in &mut self.steps {
            if matches!(step.state, State::Waiting | State::Running) {
                step.state = State::Cancelled;
            }
        }
    }

    /// As a planner finds it that was started again: nothing runs.
    pub fn resumed(mut self) -> Self {
        for step in &mut self.steps {
            if step.state == State::Running {
                step.state = State::Waiting;
            }
        }
        self
    }

    pub fn has(&self, state: &State) -> bool {
        self.steps.iter().any(|step| step.state == *state)
    }

    /// Whether it comes to no end any more.
    pub fn is_broken(&self) -> bool {
        self.has(&State::Failed) || self.has(&State::Cancelled)
    }

    pub fn is_done_all(&self) -> bool {
        self.steps.iter().all(|step| step.state == State::Done)
    }

    pub fn tokens(&self) -> u32 {
        self.steps.iter().map(|step| step.tokens).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(graph: &Graph) -> Vec<&str> {
        graph.ready().into_iter().map(|at| PLANS[at].name).collect()
    }

    #[test]
    fn steps_wait_for_steps_before_them_only() {
        for (at, plan) in PLANS.iter().enumerate() {
            for name in plan.after {
                assert!(PLANS[..at].iter().any(|before| before.name == *name), "{name}");
            }
        }
    }

    #[test]
    fn steps_become_ready_in_the_order_of_the_graph() {
        // GR-1
        let mut graph = Graph::default();
        let mut waves = Vec::new();
        while !graph.is_done_all() {
            let ready = graph.ready();
            waves.push(ready.iter().map(|&at| PLANS[at].name).collect::<Vec<_>>());
            for at in ready {
                graph.begin(at);
                assert!(!graph.ready().contains(&at));
                graph.done(at, format!("said by {}", PLANS[at].name));
            }
        }
        let expected: [&[&str]; 5] =
            [&["logs", "metrics"], &["cause"], &["approve"], &["report"], &["check"]];
        assert_eq!(waves, expected);
        assert_eq!(graph.heard(4), ["said by cause", "said by approve"]);
    }

    #[test]
    fn one_of_two_is_not_enough() {
        let mut graph = Graph::default();
        graph.begin(0);
        graph.begin(1);
        graph.done(1, "first".into());
        assert_eq!(names(&graph), Vec::<&str>::new()); // GR-1
        graph.done(0, "second".into());
        assert_eq!(names(&graph), ["cause"]);
    }

    #[test]
    fn a_crashed_step_is_tried_again_until_it_has_had_its_attempts() {
        // GR-2
        let mut graph = Graph::default();
        for attempt in 1..ATTEMPTS_MAX {
            assert_eq!(graph.begin(0), attempt);
            assert_eq!(graph.crashed(0, "crash".into()), Verdict::Again);
            assert!(graph.ready().contains(&0) && !graph.is_running(0, attempt));
        }
        graph.begin(0);
        assert_eq!(graph.crashed(0, "crash".into()), Verdict::GiveUp);
        assert_eq!((&graph.steps[0].state, names(&graph)), (&State::Failed, vec!["metrics"]));
    }

    #[test]
    fn what_was_running_is_begun_again_by_the_next_planner_and_what_was_spent_stays() {
        let mut graph = Graph::default();
        graph.begin(0);
        graph.steps[0].tokens = 7;
        graph.done(0, "said".into());
        graph.begin(1);
        graph.steps[1].tokens = 3;
        let graph = graph.resumed();
        assert_eq!((names(&graph), graph.tokens()), (vec!["metrics"], 10)); // GR-3
    }

    #[test]
    fn a_cancelled_graph_keeps_what_was_done() {
        let mut graph = Graph::default();
        graph.begin(0);
        graph.done(0, "said".into());
        graph.begin(1);
        graph.cancel();
        let states: Vec<&State> = graph.steps.iter().map(|step| &step.state).collect();
        assert_eq!(states[0], &State::Done);
        assert!(states[1..].iter().all(|state| **state == State::Cancelled));
        assert!(graph.ready().is_empty());
    }
}
