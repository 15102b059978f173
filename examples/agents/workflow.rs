//! The tree in which a workflow runs:
//!
//! ```text
//! supervisor (rest_for_one, ends with its significant child)
//!   ├─ tool      permanent
//!   ├─ person    permanent
//!   ├─ planner   transient, significant
//!   └─ steps     temporary, started by the planner as their turn comes
//! ```
//!
//! Stopped in reverse: the steps first, the latest before the others, the tool last. A planner that
//! crashes takes the steps with it, and goes on from its checkpoint.

use std::future::Future;
use std::time::{Duration, Instant};

use mobula::actors::Restart;
use mobula::prelude::*;
use mobula::supervision::{AutoShutdown, SuperviseError};

use crate::flags::Flags;
use crate::graph::Graph;
use crate::person::{Person, Voice};
use crate::planner::{Assignment, Planner, PlannerMsg};
use crate::report::Report;
use crate::screen::Screen;
use crate::tool::Tool;

/// How long the tree may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long the planner is waited for: its own deadline is before.
const REPORT_WITHIN: Duration = Duration::from_secs(2 * 24 * 60 * 60);

pub struct Workflow {
    node: Node,
    pub tree: Tree,
    screen: Screen,
    budget: u32,
}

impl Workflow {
    pub async fn start(
        flags: &Flags,
        voice: Voice,
        screen: Screen,
    ) -> Result<Self, SuperviseError> {
        let assignment = Assignment {
            budget: flags.budget,
            deadline: Instant::now() + flags.within(),
            crash: flags.crash(),
            screen: screen.clone(),
        };
        let planner = Planner::spec(assignment).restart(Restart::Transient).significant();
        let spec = Supervisor::spec(Strategy::RestForOne)
            .auto_shutdown(AutoShutdown::AnySignificant)
            .on_event(screen.hook())
            .child("tool", Tool::spec(flags.pace()))
            .child("person", Person::spec((voice, screen.clone())))
            .child("planner", planner);
        let node = Node::local();
        let tree = node.supervise(spec).await?;
        Ok(Self { node, tree, screen, budget: flags.budget })
    }

    /// Runs to the end, or until `cancel` resolves: then everything is stopped in reverse order.
    pub async fn run(self, cancel: impl Future<Output = ()>) -> Report {
        let graph = tokio::spawn(graph_of(self.tree.clone()));
        let (exit, cancelled) = tokio::select! {
            exit = self.tree.wait() => (exit, false),
            () = cancel => {
                self.screen.say("root", "is cancelled: everything stops, the latest first");
                self.tree.stop(STOP_WITHIN).await;
                (Exit::Shutdown, true)
            }
        };
        let graph = graph.await.ok().flatten();
        self.node.stop().await;
        let ended = self.screen.ended();
        Report::new(graph, ended, self.budget, cancelled, &exit.to_string())
    }
}

/// Has the planner run the graph, and waits for how far it came. A planner that crashed meanwhile
/// is asked again; `None` if it is not started again.
async fn graph_of(tree: Tree) -> Option<Graph> {
    let planner = tree.child::<PlannerMsg>("planner")?;
    loop {
        let go = |reply| PlannerMsg::Go { tree: tree.clone(), reply };
        match planner.call(go).within(REPORT_WITHIN).await {
            Ok(graph) => return Some(graph),
            Err(CallError::Rejected(_)) => return None,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, OnceLock, mpsc};

    use clap::Parser;
    use tokio::sync::Notify;

    use super::*;
    use crate::graph::State;
    use crate::screen::Target;

    async fn start(line: &str, voice: Voice) -> Workflow {
        let args = ["agents", "--pace-ms", "1"].into_iter().chain(line.split_whitespace());
        let flags = Flags::try_parse_from(args).unwrap();
        Workflow::start(&flags, voice, Screen::new(Target::Nowhere)).await.unwrap()
    }

    async fn finished(line: &str, voice: Voice) -> Report {
        start(line, voice).await.run(std::future::pending()).await
    }

    fn yes() -> Voice {
        Voice::Given("yes".into())
    }

    fn last_to_end(report: &Report, n: usize) -> Vec<(&str, &str)> {
        let from = report.ended.len() - n;
        report.ended[from..].iter().map(|end| (&*end.actor, &*end.exit)).collect()
    }

    #[tokio::test]
    async fn a_crashed_step_is_retried_and_the_end_of_the_planner_ends_the_tree_in_reverse() {
        let report = finished("", yes()).await;
        assert!(report.ok, "{report}");
        assert_eq!(report.answer.as_deref(), Some("yes"));
        let attempts: Vec<u32> = report.steps.iter().map(|step| step.attempts).collect();
        assert_eq!(attempts, [1, 2, 1, 1, 1, 1]);
        let crashes = report.ended.iter().filter(|end| end.exit.starts_with("panicked"));
        assert_eq!(crashes.map(|end| end.actor.as_str()).collect::<Vec<_>>(), ["metrics"]);
        let last = [("planner", "normal"), ("person", "shutdown"), ("tool", "shutdown")];
        assert_eq!(last_to_end(&report, 3), last);
    }

    #[tokio::test]
    async fn two_runs_come_to_the_same_and_spend_the_same() {
        let (one, other) = tokio::join!(finished("", yes()), finished("", yes()));
        assert_eq!((one.steps, one.result), (other.steps, other.result));
        let calm = finished("--no-crash", yes()).await;
        assert!(calm.ok && calm.tokens < one.tokens && calm.tokens > 0);
    }

    #[tokio::test]
    async fn cancelling_ends_the_graph_in_reverse_order() {
        let (asked, typed) = (Arc::new(Notify::new()), mpsc::channel::<String>());
        let (is_asked, lines) = (asked.clone(), Mutex::new(typed.1));
        let person = Voice::Lines(Arc::new(move || {
            is_asked.notify_one();
            Ok(lines.lock().unwrap().recv().ok())
        }));
        let workflow = start("", person).await;
        let report = workflow.run(async move { asked.notified().await }).await;
        assert!(report.cancelled && !report.ok, "{report}");
        assert_eq!(report.reason.as_deref(), Some("cancelled"));
        assert_eq!(report.steps[2].state, State::Done);
        assert_eq!(report.steps[3].state, State::Cancelled);
        let stopped = ["approve", "planner", "person", "tool"].map(|actor| (actor, "shutdown"));
        assert_eq!(last_to_end(&report, 4), stopped);
        drop(typed.0);
    }

    #[tokio::test]
    async fn the_end_of_the_input_fails_the_step_that_asks() {
        let report = finished("", Voice::Lines(Arc::new(|| Ok(None)))).await;
        assert!(!report.ok && !report.cancelled);
        let reason = report.reason.unwrap();
        assert!(reason.starts_with("approve failed") && reason.contains("--answer"), "{reason}");
    }

    #[tokio::test]
    async fn an_empty_line_is_no_answer() {
        let lines = Mutex::new(vec!["  not yet\n".to_owned(), "\n".to_owned()]);
        let person = Voice::Lines(Arc::new(move || Ok(lines.lock().unwrap().pop())));
        assert_eq!(finished("", person).await.answer.as_deref(), Some("not yet"));
    }

    #[tokio::test]
    async fn a_planner_that_is_killed_goes_on_from_what_was_done() {
        let planner: Arc<OnceLock<ActorRef<PlannerMsg>>> = Arc::default();
        let (victim, killed) = (planner.clone(), OnceLock::new());
        let person = Voice::Lines(Arc::new(move || {
            if let (Ok(()), Some(planner)) = (killed.set(()), victim.get()) {
                planner.kill();
            }
            Ok(Some("yes".into()))
        }));
        let workflow = start("--no-crash", person).await;
        planner.set(workflow.tree.child("planner").unwrap()).unwrap();
        let report = workflow.run(std::future::pending()).await;
        assert!(report.ok, "{report}");
        assert!(report.ended.iter().any(|end| end.actor == "planner" && end.exit == "killed"));
        // What was done before is not done again.
        assert!(report.steps[..3].iter().all(|step| step.attempts == 1), "{report}");
    }

    #[tokio::test]
    async fn a_budget_that_is_used_up_fails_a_step_and_says_what_to_do() {
        let report = finished("--budget 5", yes()).await;
        assert!(!report.ok && report.tokens <= 5, "{report}");
        assert!(report.reason.unwrap().contains("--budget"));
    }

    #[tokio::test]
    async fn a_person_who_does_not_answer_fails_the_step_at_its_deadline() {
        let (typed, lines) = mpsc::channel::<String>();
        let lines = Mutex::new(lines);
        let person = Voice::Lines(Arc::new(move || Ok(lines.lock().unwrap().recv().ok())));
        let report = finished("--within-ms 1000", person).await;
        assert!(!report.ok, "{report}");
        assert!(report.reason.unwrap().contains("--within-ms"));
        drop(typed);
    }
}
