//! Erlang's distribution: two virtual machines, in clear text, without a daemon that maps ports.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::bench::Scale;
use super::process::{Role, Started, Turn};
use crate::bench::Sample;
use crate::rounds::name;
use crate::side::Outcome;
use crate::sides::erlang::Erlang;

const COOKIE: &str = "rivals";

pub(super) fn measure(erlang: &Erlang, turn: Turn) -> Outcome<Vec<Sample>> {
    // The client looks for the server where it listens itself, if it did.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let erl = |node: &str| {
        let mut command = Command::new("erl");
        command.current_dir(erlang.folder()).stderr(Stdio::inherit());
        command.args(["-noshell", "-name", node, "-setcookie", COOKIE]);
        command.args(["-start_epmd", "false", "-erl_epmd_port", &port]);
        command
    };
    let mut server = erl("server@127.0.0.1");
    server.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-s", "wire", "serve"]);
    let mut serving = Started::start(server, Role::Serve, turn.bench)?;
    serving.said()?;
    let mut client = erl("client@127.0.0.1");
    client.args(["-dist_listen", "false", "-s", "wire", "main", "-extra", &name(turn.bench)]);
    let Scale { calls, casts, calls_each, bulk, refs, .. } = turn.scale();
    let numbers = [calls, casts, calls_each, bulk];
    client.args(numbers.iter().chain(refs).map(u64::to_string));
    let samples = Started::start(client, Role::Measure, turn.bench)?.samples()?;
    serving.end()?;
    Ok(samples)
}
