//! A counter as somebody outside writes it, with nothing but the README open.

use mobula::prelude::*;

#[derive(Serialize, Deserialize)]
pub enum CounterMsg {
    Add(i64),
    Get(Reply<i64>),
}
protocol!(CounterMsg = "consumer.counter/1");

pub struct Counter(i64);
kind!(Counter = "consumer.counter");

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

/// Adds in both ways and asks. It does not know where the counter is.
pub async fn add_twice(counter: &ActorRef<CounterMsg>) -> Result<i64, Fault> {
    counter.cast(CounterMsg::Add(5))?;
    counter.send(CounterMsg::Add(5)).await?;
    Ok(counter.call(CounterMsg::Get).await?)
}
