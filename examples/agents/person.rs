//! The person in charge: answers in the terminal, or has answered on the command line.
//!
//! Reading a terminal cannot be broken off, so it is left to a thread that nobody waits for. The
//! actor itself never blocks, and can be stopped while the person thinks.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use mobula::prelude::*;
use thiserror::Error;

use crate::screen::Screen;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unheard {
    #[error(
        "the standard input ended before an answer came; run it in a terminal, write a line into \
         the pipe, or pass --answer TEXT"
    )]
    End,
    #[error("the standard input cannot be read: {0}; pass --answer TEXT")]
    Unreadable(String),
}

/// Reads one line; `None` at the end.
pub type ReadLine = Arc<dyn Fn() -> io::Result<Option<String>> + Send + Sync>;

/// Where answers come from.
#[derive(Clone)]
pub enum Voice {
    Given(String),
    Lines(ReadLine),
}

impl Voice {
    /// The lines of the standard input.
    pub fn stdin() -> Self {
        Self::Lines(Arc::new(|| {
            let mut line = String::new();
            Ok((io::stdin().read_line(&mut line)? > 0).then_some(line))
        }))
    }
}

pub enum PersonMsg {
    Ask { question: &'static str, reply: Reply<Result<String, Unheard>> },
    Line(io::Result<Option<String>>),
}

pub struct Person {
    voice: Voice,
    screen: Screen,
    waiting: VecDeque<Reply<Result<String, Unheard>>>,
    is_reading: bool,
}

impl Actor for Person {
    type Args = (Voice, Screen);
    type Msg = PersonMsg;

    async fn start((voice, screen): Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { voice, screen, waiting: VecDeque::new(), is_reading: false })
    }

    async fn handle(&mut self, msg: PersonMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            PersonMsg::Ask { question, reply } => {
                self.screen.say("person", format_args!("is asked: {question}"));
                self.waiting.push_back(reply);
                self.read(ctx)
            }
            PersonMsg::Line(line) => {
                self.is_reading = false;
                self.hear(line, ctx)
            }
        }
    }
}

impl Person {
    fn read(&mut self, ctx: &Context<Self>) -> Result<(), Fault> {
        let read = match &self.voice {
            Voice::Given(answer) => {
                let answer = answer.clone();
                self.answer(Ok(answer));
                return Ok(());
            }
            Voice::Lines(_) if self.is_reading => return Ok(()),
            Voice::Lines(read) => read.clone(),
        };
        let me = ctx.me();
        let reader = std::thread::Builder::new().name("person".into());
        // It outlives the run if nothing is typed, and ends with the process.
        reader.spawn(move || drop(me.cast(PersonMsg::Line(read()))))?;
        self.is_reading = true;
        Ok(())
    }

    fn hear(&mut self, line: io::Result<Option<String>>, ctx: &Context<Self>) -> Result<(), Fault> {
        match line {
            Ok(Some(line)) if line.trim().is_empty() => {
                self.screen.say("person", "says nothing, and is asked again");
                return self.read(ctx);
            }
            Ok(Some(line)) => self.answer(Ok(line.trim().into())),
            Ok(None) => self.answer(Err(Unheard::End)),
            Err(error) => self.answer(Err(Unheard::Unreadable(error.to_string()))),
        }
        Ok(())
    }

    /// Answers whoever still waits: there is one person, and one answer.
    fn answer(&mut self, answer: Result<String, Unheard>) {
        for reply in self.waiting.drain(..) {
            reply.send(answer.clone());
        }
    }
}
