//! A counter, here or on another node: the same reference, the same verbs.
//!
//! ```text
//! cargo run --example counter               one node
//! cargo run --example counter -- --remote   two nodes on loopback, the counter on the second
//! ```

use std::error::Error;
use std::time::Duration;

use mobula::net::{Allowlist, Identity};
use mobula::node::Member;
use mobula::prelude::*;

#[derive(Serialize, Deserialize)] // only to leave the node
enum CounterMsg {
    Add(i64),
    Get(Reply<i64>),
}
protocol!(CounterMsg = "shop.counter/1"); // only to leave the node

struct Counter(i64);
kind!(Counter = "shop.counter"); // only to be started by another node

impl Actor for Counter {
    type Args = i64;
    type Msg = CounterMsg;

    async fn start(n: i64, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(n))
    }

    async fn handle(&mut self, msg: CounterMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            CounterMsg::Add(n) => self.0 += n,
            CounterMsg::Get(reply) => reply.send(self.0),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => here().await,
        Some("--remote") => on_another_node().await,
        Some(other) => Err(format!("{other:?} is not understood; say --remote or nothing").into()),
    }
}

async fn here() -> Result<(), Box<dyn Error>> {
    let node = Node::local();
    let counter = node.spawn(Counter::spec(0)).await?;
    println!("the counter {} runs on this node", counter.id());
    count(&counter).await?;
    node.stop().await;
    Ok(())
}

async fn on_another_node() -> Result<(), Box<dyn Error>> {
    let keys = [Identity::generate(), Identity::generate()];
    let members: Allowlist = keys.iter().map(Identity::peer_key).collect();
    let [first, second] = keys.map(|key| {
        Node::builder().key(key).members(members.clone()).listen("/ip4/127.0.0.1/tcp/0")
    });
    let first = first.start().await?;
    let second = second.join(first.addresses()).host::<Counter>().start().await?;

    // Once a node is seen to host counters, they can be placed there.
    let hosts = |m: &Member| m.kinds.iter().any(|kind| kind == Counter::NAME);
    if !first.until(Duration::from_secs(10), |members| members.iter().any(hosts)).await {
        return Err("no node offered to host a counter within 10 s".into());
    }
    let counter = first.spawn(Counter::spec(0).anywhere()).await?;
    println!("the counter {} runs on the second node", counter.id());
    count(&counter).await?;
    second.stop().await;
    first.stop().await;
    Ok(())
}

/// All that a client does, wherever the counter is.
async fn count(counter: &ActorRef<CounterMsg>) -> Result<(), Box<dyn Error>> {
    counter.cast(CounterMsg::Add(5))?; // never waits: an error gives the message back
    counter.send(CounterMsg::Add(5)).await?; // waits for room
    let n = counter.call(CounterMsg::Get).await?; // a variant's constructor is the request
    println!("cast 5, sent 5, called: {n}");
    let n = counter.call(CounterMsg::Get).within(Duration::from_millis(500)).await?;
    println!("called with a deadline of 500 ms: {n}");
    if n == 10 { Ok(()) } else { Err(format!("expected 10, not {n}").into()) }
}
