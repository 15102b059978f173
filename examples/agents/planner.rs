//! The planner: starts the steps that are ready, and starts those again that crashed.
//!
//! It never waits in its mailbox: what it asks for comes back as messages. So it hears of a stop at
//! once, also while steps are being started.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mobula::prelude::*;
use mobula::supervision::TreeError;

use crate::graph::{Graph, PLANS, Plan, State, Verdict, Work};
use crate::screen::Screen;
use crate::step::{Allowance, Answer, Brief, Crew, Step, StepMsg};

/// How much later than its own deadline a step is given up: its own word comes first.
const GRACE: Duration = Duration::from_millis(500);

pub enum PlannerMsg {
    /// Runs the workflow under `tree`. The answer comes at the end, whatever that is.
    Go { tree: Tree, reply: Reply<Graph> },
    /// A step was started, or not.
    Started { at: usize, attempt: u32, step: Result<ActorRef<StepMsg>, TreeError> },
    /// A step has spent a token.
    Token { at: usize },
    /// A step has said what it came to.
    Answered { at: usize, attempt: u32, answer: Result<Answer, CallError> },
    /// A step has ended.
    Ended { at: usize, attempt: u32, down: Down },
    /// The tree as it is.
    Looked(String),
}

/// What a planner is started with.
#[derive(Clone)]
pub struct Assignment {
    /// Tokens that all steps may spend together.
    pub budget: u32,
    pub deadline: Instant,
    /// Which step panics in its first attempt, and after how many tokens.
    pub crash: Option<(usize, u32)>,
    pub screen: Screen,
}

pub struct Planner {
    assignment: Assignment,
    graph: Graph,
    /// What the attempt of each step may still spend.
    granted: Vec<u32>,
    /// Steps that are being started.
    starting: usize,
    tree: Option<Tree>,
    replies: Vec<Reply<Graph>>,
}

impl Actor for Planner {
    type Args = Assignment;
    type Msg = PlannerMsg;

    async fn start(assignment: Assignment, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        // A planner that was started again goes on with what was done. Its steps went with it.
        let graph = ctx.restored::<Graph>()?.unwrap_or_default().resumed();
        let granted = vec![0; PLANS.len()];
        Ok(Self { assignment, graph, granted, starting: 0, tree: None, replies: Vec::new() })
    }

    async fn handle(&mut self, msg: PlannerMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            PlannerMsg::Go { tree, reply } => {
                self.tree = Some(tree);
                self.replies.push(reply);
            }
            PlannerMsg::Started { at, attempt, step } => self.started(at, attempt, step, ctx),
            PlannerMsg::Token { at } => self.spent(at),
            PlannerMsg::Answered { at, attempt, answer } => self.answered(at, attempt, answer, ctx),
            PlannerMsg::Ended { at, attempt, down } => self.ended(at, attempt, down),
            PlannerMsg::Looked(tree) => self.assignment.screen.show_block(&tree),
        }
        self.go_on(ctx);
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        Some(postcard::to_allocvec(&self.graph).map(Bytes::from).map_err(Fault::from))
    }

    async fn stop(mut self, _: &Exit) {
        self.graph.cancel();
        for reply in self.replies {
            reply.send(self.graph.clone());
        }
    }
}

impl Planner {
    /// Starts what is ready; ends, and with it the whole tree, when nothing is left to do.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let Some(tree) = self.tree.clone() else { return };
        for at in self.graph.ready() {
            if self.graph.is_broken() {
                break;
            }
            self.begin(at, &tree, ctx);
        }
        if self.graph.has(&State::Cancelled) {
            ctx.stop_with(Exit::Shutdown);
        } else if self.graph.is_broken() || self.graph.is_done_all() {
            ctx.stop();
        }
    }

    fn begin(&mut self, at: usize, tree: &Tree, ctx: &mut Context<Self>) {
        let Some(crew) = crew(tree, ctx.me()) else {
            return self.fail(at, "the tree has nobody to work with");
        };
        let attempt = self.graph.begin(at);
        let Plan { name, work, .. } = PLANS[at];
        let allowance = self.allow(at);
        let (tokens, left) = (allowance.tokens, allowance.time_left().as_secs_f64());
        let what = format_args!("attempt {attempt}, {tokens} tokens, {left:.1} s left");
        self.assignment.screen.say(name, what);
        if tokens == 0 && matches!(work, Work::Write(_)) {
            return self
                .fail(at, "the tokens of the workflow are used up; allow more with --budget");
        }
        let crash = self.assignment.crash.filter(|(step, _)| *step == at && attempt == 1);
        let crash_after = crash.map(|(_, tokens)| tokens);
        let brief = Brief { at, work, heard: self.graph.heard(at), allowance, crash_after };
        let (id, tree) = (id_of(name, attempt), tree.clone());
        self.starting += 1;
        ctx.pipe(
            async move { tree.spawn(id, Step::spec((brief, crew)).temporary()).await },
            move |step| PlannerMsg::Started { at, attempt, step },
        );
    }

    /// Takes what an attempt may spend out of what is left of the budget.
    fn allow(&mut self, at: usize) -> Allowance {
        let taken = self.graph.tokens() + self.granted.iter().sum::<u32>();
        let left = self.assignment.budget.saturating_sub(taken);
        self.granted[at] = left.min(PLANS[at].tokens_max);
        Allowance { tokens: self.granted[at], deadline: self.assignment.deadline }
    }

    fn started(
        &mut self,
        at: usize,
        attempt: u32,
        step: Result<ActorRef<StepMsg>, TreeError>,
        ctx: &mut Context<Self>,
    ) {
        self.starting -= 1;
        let step = match step {
            Ok(step) => step,
            // It will stop this planner too.
            Err(TreeError::Stopped) => return,
            Err(error) => return self.fail(at, &error.to_string()),
        };
        ctx.monitor(&step, move |down| PlannerMsg::Ended { at, attempt, down });
        let left = self.assignment.deadline.saturating_duration_since(Instant::now());
        let answer = step.call(StepMsg::Run).within(left + GRACE);
        ctx.pipe(answer, move |answer| PlannerMsg::Answered { at, attempt, answer });
        if let (0, Some(tree)) = (self.starting, self.tree.clone()) {
            ctx.pipe(async move { tree.print().await }, PlannerMsg::Looked);
        }
    }

    fn spent(&mut self, at: usize) {
        self.graph.steps[at].tokens += 1;
        self.granted[at] = self.granted[at].saturating_sub(1);
    }

    fn answered(
        &mut self,
        at: usize,
        attempt: u32,
        answer: Result<Answer, CallError>,
        ctx: &mut Context<Self>,
    ) {
        if !self.graph.is_running(at, attempt) {
            return;
        }
        match answer {
            Ok(Ok(text)) => {
                self.assignment.screen.say(PLANS[at].name, format_args!("says: {text}"));
                self.granted[at] = 0;
                self.graph.done(at, text);
                // What is done is not done again by the next run of this planner.
                ctx.checkpoint_now();
            }
            Ok(Err(error)) => self.fail(at, &error.to_string()),
            Err(CallError::Unknown(Lost::Deadline) | CallError::Rejected(Why::Expired)) => {
                self.fail(at, "it gave no answer by its deadline");
            }
            // It has ended, and the monitor says how.
            Err(_) => {}
        }
    }

    fn ended(&mut self, at: usize, attempt: u32, down: Down) {
        // The answer of one that ended in order is on its way.
        if !self.graph.is_running(at, attempt) || down.exit == Exit::Normal {
            return;
        }
        self.granted[at] = 0;
        let name = PLANS[at].name;
        if !down.exit.is_abnormal() {
            return self.graph.cancel();
        }
        match self.graph.crashed(at, down.exit.to_string()) {
            Verdict::Again => self.assignment.screen.say(name, "crashed, and is tried again"),
            Verdict::GiveUp => self.assignment.screen.say(name, "crashed, and is given up"),
        }
    }

    fn fail(&mut self, at: usize, why: &str) {
        self.assignment.screen.say(PLANS[at].name, format_args!("failed: {why}"));
        self.granted[at] = 0;
        self.graph.failed(at, why.into());
    }
}

/// Attempts have ids of their own: the supervisor may hear of an end later than this planner.
fn id_of(name: &str, attempt: u32) -> String {
    if attempt == 1 { name.into() } else { format!("{name}.{attempt}") }
}

fn crew(tree: &Tree, planner: ActorRef<PlannerMsg>) -> Option<Crew> {
    Some(Crew { planner, tool: tree.child("tool")?, person: tree.child("person")? })
}
