//! What a run came to, for programs (one JSON object) and for people (a table).

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::graph::{Graph, State, Step};
use crate::screen::End;

/// The result of a run; the fields are the keys of the JSON object, in its order.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether all steps are done.
    pub ok: bool,
    pub cancelled: bool,
    /// Why it is not `ok`.
    pub reason: Option<String>,
    /// What the person said.
    pub answer: Option<String>,
    /// What the workflow was for.
    pub result: Option<String>,
    pub budget: u32,
    /// Spent in all attempts of all steps.
    pub tokens: u32,
    pub steps: Vec<Step>,
    /// Who ended, in order.
    pub ended: Vec<End>,
}

impl Report {
    /// `exit` is how the tree ended, for the case that the planner could not say more.
    pub fn new(
        graph: Option<Graph>,
        ended: Vec<End>,
        budget: u32,
        cancelled: bool,
        exit: &str,
    ) -> Self {
        let known = graph.is_some();
        let graph = graph.unwrap_or_default();
        let said = |name: &str, state: &State| {
            let step = graph.steps.iter().find(|step| step.name == name && step.state == *state);
            step.and_then(|step| step.text.clone())
        };
        let failed = graph.steps.iter().find(|step| step.state == State::Failed);
        let ok = graph.is_done_all();
        let reason = match failed {
            _ if ok => None,
            Some(Step { name, text, .. }) => {
                Some(format!("{name} failed: {}", text.as_deref().unwrap_or("for no reason")))
            }
            None if cancelled => Some("cancelled".into()),
            None if known => Some("a step was stopped from outside".into()),
            None => Some(format!("the planner gave no report; its tree ended: {exit}")),
        };
        Self {
            ok,
            cancelled,
            reason,
            answer: said("approve", &State::Done),
            result: said("report", &State::Done),
            budget,
            tokens: graph.tokens(),
            ended,
            steps: graph.steps,
        }
    }

    /// The object on one line.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// The table for people.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nstep      state      attempts  tokens")?;
        for Step { name, state, attempts, tokens, .. } in &self.steps {
            let state = format!("{state:?}").to_lowercase();
            writeln!(f, "{name:<10}{state:<11}{attempts:<10}{tokens}")?;
        }
        writeln!(f, "\ntokens    {} of {}", self.tokens, self.budget)?;
        let order: Vec<&str> = self.ended.iter().map(|end| end.actor.as_str()).collect();
        writeln!(f, "ended     {}", order.join(", "))?;
        writeln!(f, "answer    {}", self.answer.as_deref().unwrap_or("-"))?;
        writeln!(f, "result    {}", self.result.as_deref().unwrap_or("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_failed_step_then_the_cancel_then_the_end_of_the_tree() {
        let reason = |graph: Option<Graph>, cancelled| {
            Report::new(graph, Vec::new(), 1, cancelled, "restarted too often").reason.unwrap()
        };
        let mut failed = Graph::default();
        failed.failed(1, "no database".into());
        failed.cancel();
        assert_eq!(reason(Some(failed), true), "metrics failed: no database");
        let mut cancelled = Graph::default();
        cancelled.cancel();
        assert_eq!(reason(Some(cancelled.clone()), true), "cancelled");
        assert!(reason(Some(cancelled), false).contains("from outside"));
        assert!(reason(None, false).ends_with("restarted too often"));
    }

    #[test]
    fn a_finished_graph_is_ok_and_has_answer_and_result() {
        let mut graph = Graph::default();
        (0..graph.steps.len()).for_each(|at| graph.done(at, format!("said {at}")));
        let report = Report::new(Some(graph), Vec::new(), 9, false, "shutdown");
        assert!(report.ok && report.reason.is_none());
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((&json["answer"], &json["result"]), (&"said 3".into(), &"said 4".into()));
        assert_eq!(json["steps"][0]["state"], "done");
    }
}
