//! A process of the same program as this one, which is to be another node.

use std::io;
use std::process::Stdio;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// Starts it as `node`, with its papers as the first line of its standard input. It is killed when
/// it is dropped.
pub async fn start(papers: &impl Serialize) -> io::Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("node")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut line = serde_json::to_vec(papers)?;
    line.push(b'\n');
    if let Some(stdin) = &mut child.stdin {
        stdin.write_all(&line).await?;
    }
    Ok(child)
}
