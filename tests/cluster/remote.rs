//! One reference type everywhere: messages, answers and references between nodes.

use mobula::prelude::*;

use crate::support::{PATIENCE, cluster};

#[derive(Serialize, Deserialize)]
pub enum CounterMsg {
    Add(i64),
    Get(Reply<i64>),
    /// Somebody else answers.
    Ask(ActorRef<Self>, Reply<i64>),
    Never(Reply<i64>),
}
protocol!(CounterMsg = "test.counter/1");

pub struct Counter {
    value: i64,
    kept: Vec<Reply<i64>>,
}
kind!(Counter = "test.counter");

impl Actor for Counter {
    type Args = i64;
    type Msg = CounterMsg;

    async fn start(value: i64, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { value, kept: Vec::new() })
    }

    async fn handle(&mut self, msg: CounterMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            CounterMsg::Add(n) => self.value += n,
            CounterMsg::Get(reply) => reply.send(self.value),
            CounterMsg::Ask(other, reply) => other.send(CounterMsg::Get(reply)).await?,
            CounterMsg::Never(reply) => self.kept.push(reply),
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_on_another_node_is_called_and_cast_like_one_here() {
    let nodes = cluster(2, |_, builder| builder.host::<Counter>()).await;
    let there = nodes[1].id().unwrap();
    let counter = nodes[0].spawn(Counter::spec(1).on(there)).await.unwrap();
    counter.cast(CounterMsg::Add(5)).unwrap();
    counter.send(CounterMsg::Add(5)).await.unwrap();
    assert_eq!(counter.call(CounterMsg::Get).within(PATIENCE).await, Ok(11));
}

/// Section 1 of the design: the right to answer travels, and a reply may come from a third node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_node_answers_and_a_reference_in_a_message_is_used_from_there() {
    let nodes = cluster(3, |_, builder| builder.host::<Counter>()).await;
    let second = nodes[0].spawn(Counter::spec(2).on(nodes[1].id().unwrap())).await.unwrap();
    let third = nodes[0].spawn(Counter::spec(3).on(nodes[2].id().unwrap())).await.unwrap();
    let answer = second.call(|reply| CounterMsg::Ask(third.clone(), reply)).within(PATIENCE).await;
    assert_eq!(answer, Ok(3));
    // And a reference to an actor here, used from there.
    let here = nodes[0].spawn(Counter::spec(4)).await.unwrap();
    let answer = second.call(|reply| CounterMsg::Ask(here.clone(), reply)).within(PATIENCE).await;
    assert_eq!(answer, Ok(4));
}
