//! One attempt of one step: has the tool write or the person answer, within what it was allowed.

use std::time::{Duration, Instant};

use mobula::actors::StreamError;
use mobula::prelude::*;
use thiserror::Error;

use crate::graph::Work;
use crate::person::{PersonMsg, Unheard};
use crate::planner::PlannerMsg;
use crate::tool::ToolMsg;

/// How long the tool may take for one word.
const WORD_WITHIN: Duration = Duration::from_secs(20);
/// What a step that is made to panic says.
pub const PLANNED: &str = "a step panics as planned";

/// What a step may spend. It goes along with the work.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub tokens: u32,
    pub deadline: Instant,
}

impl Allowance {
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Why a step came to nothing. It is not tried again: it would end in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    #[error("its {0} tokens are used up; allow more with --budget")]
    OverBudget(u32),
    #[error("its deadline has passed; allow more time with --within-ms")]
    Late,
    #[error("the tool failed: {0}")]
    Tool(#[from] StreamError),
    #[error(transparent)]
    Unheard(#[from] Unheard),
    #[error("the person cannot be asked: {0}")]
    Person(#[source] CallError),
}

/// What a step is told when it is started.
pub struct Brief {
    /// Its place in the graph.
    pub at: usize,
    pub work: Work,
    /// What the steps before it have said.
    pub heard: Vec<String>,
    pub allowance: Allowance,
    /// After how many tokens it panics, if it is to.
    pub crash_after: Option<u32>,
}

/// Whom a step works with.
#[derive(Clone)]
pub struct Crew {
    pub planner: ActorRef<PlannerMsg>,
    pub tool: ActorRef<ToolMsg>,
    pub person: ActorRef<PersonMsg>,
}

pub type Answer = Result<String, StepError>;

pub enum StepMsg {
    Run(Reply<Answer>),
    /// A word of the tool; `None` after the last.
    Word(Option<Result<String, StreamError>>),
    Heard(Result<Result<String, Unheard>, CallError>),
}

pub struct Step {
    brief: Brief,
    crew: Crew,
    words: Vec<String>,
    reply: Option<Reply<Answer>>,
}

impl Actor for Step {
    type Args = (Brief, Crew);
    type Msg = StepMsg;

    async fn start((brief, crew): Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { brief, crew, words: Vec::new(), reply: None })
    }

    async fn handle(&mut self, msg: StepMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let ended = match msg {
            StepMsg::Run(reply) => {
                self.reply = Some(reply);
                self.begin(ctx);
                None
            }
            StepMsg::Word(Some(Ok(word))) => self.hear(word).await.err().map(Err),
            StepMsg::Word(Some(Err(error))) => Some(Err(self.lost(error))),
            StepMsg::Word(None) => Some(Ok(self.words.join(" "))),
            StepMsg::Heard(heard) => Some(answered(heard)),
        };
        if let Some(answer) = ended {
            if let Some(reply) = self.reply.take() {
                reply.send(answer);
            }
            // With it end the stream and the call that it may still wait for.
            ctx.stop();
        }
        Ok(())
    }
}

impl Step {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let left = self.brief.allowance.time_left();
        match self.brief.work {
            Work::Write(task) => {
                let heard = self.brief.heard.clone();
                let words = self.crew.tool.stream(|out| ToolMsg::Write { task, heard, out });
                ctx.attach(words.within(left.min(WORD_WITHIN)), StepMsg::Word);
            }
            Work::Ask(question) => {
                let answer = self.crew.person.call(|reply| PersonMsg::Ask { question, reply });
                ctx.pipe(answer.within(left), StepMsg::Heard);
            }
        }
    }

    async fn hear(&mut self, word: String) -> Result<(), StepError> {
        let Allowance { tokens, .. } = self.brief.allowance;
        if self.brief.allowance.time_left().is_zero() {
            return Err(StepError::Late);
        }
        if self.words.len() >= tokens as usize {
            return Err(StepError::OverBudget(tokens));
        }
        self.words.push(word);
        // A planner that has gone takes this step with it.
        let _ = self.crew.planner.send(PlannerMsg::Token { at: self.brief.at }).await;
        if self.brief.crash_after == Some(self.words.len() as u32) {
            std::panic::panic_any(PLANNED);
        }
        Ok(())
    }

    fn lost(&self, error: StreamError) -> StepError {
        let is_late = self.brief.allowance.time_left().is_zero();
        if is_late { StepError::Late } else { StepError::Tool(error) }
    }
}

fn answered(heard: Result<Result<String, Unheard>, CallError>) -> Answer {
    match heard {
        Ok(answer) => answer.map_err(StepError::Unheard),
        Err(CallError::Unknown(Lost::Deadline) | CallError::Rejected(Why::Expired)) => {
            Err(StepError::Late)
        }
        Err(error) => Err(StepError::Person(error)),
    }
}
