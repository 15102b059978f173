//! A slow tool that answers word by word, as a language model does, to several at the same time.

use std::time::Duration;

use mobula::actors::StreamSender;
use mobula::prelude::*;

use crate::words::{Task, said};

pub enum ToolMsg {
    /// Writes `task`, given what was `heard` before.
    Write {
        task: Task,
        heard: Vec<String>,
        out: StreamSender<String>,
    },
    Written,
}

pub struct Tool {
    /// The wait before each word.
    pace: Duration,
}

impl Actor for Tool {
    type Args = Duration;
    type Msg = ToolMsg;

    async fn start(pace: Duration, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { pace })
    }

    async fn handle(&mut self, msg: ToolMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            // Beside the mailbox, so that others are served meanwhile.
            ToolMsg::Write { task, heard, out } => {
                ctx.pipe(write(said(task, &heard), self.pace, out), |()| ToolMsg::Written);
            }
            ToolMsg::Written => {}
        }
        Ok(())
    }
}

async fn write(words: Vec<String>, pace: Duration, mut out: StreamSender<String>) {
    for word in words {
        tokio::time::sleep(pace).await;
        // A step that has gone, or takes nothing, costs no more words.
        if out.send(word).await.is_err() {
            return;
        }
    }
    out.finish();
}
