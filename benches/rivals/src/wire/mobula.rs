//! Ours, whole: two nodes, and an actor on one that is called and sent to from the other.

use std::time::Duration;

use bytes::Bytes;
use mobula::prelude::*;

use super::lanes::{identities, members};
use super::peer::{self, CALL_BYTES, Peer, Road};
use crate::side::Outcome;

const NAME: &str = "echo";
/// How long a call may take: bulk may stand in front of it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
pub(super) enum Msg {
    Cast(Payload),
    Echo(Payload, Reply<Payload>),
    /// How many casts came since it was asked last.
    Count(Reply<u64>),
    /// More of its kind.
    Spawn(u64, Reply<Vec<ActorRef<Self>>>),
}
mobula::protocol!(Msg = "rivals.echo/1");

struct Echo {
    node: Node,
    casts: u64,
}

impl Actor for Echo {
    type Args = Node;
    type Msg = Msg;

    async fn start(node: Node, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { node, casts: 0 })
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Msg::Cast(_) => self.casts += 1,
            Msg::Echo(payload, reply) => reply.send(payload),
            Msg::Count(reply) => reply.send(std::mem::take(&mut self.casts)),
            Msg::Spawn(actors, reply) => {
                let mut spawned = Vec::new();
                for _ in 0..actors {
                    spawned.push(self.node.spawn(Self::spec(self.node.clone())).await?);
                }
                reply.send(spawned);
            }
        }
        Ok(())
    }
}

/// The node of one of the two processes.
async fn node(of: usize, seeds: Vec<String>) -> Outcome<Node> {
    let key = identities()?[of].clone();
    let builder = Node::builder().key(key).members(members()?).listen("/ip4/127.0.0.1/tcp/0");
    Ok(builder.join(seeds).start().await?)
}

pub(super) struct Mobula {
    node: Node,
    echo: ActorRef<Msg>,
}

/// One who calls or casts.
pub(super) struct User {
    echo: ActorRef<Msg>,
    payload: Bytes,
    _node: Node,
}

impl Mobula {
    fn user(&self, echo: ActorRef<Msg>, bytes: usize) -> User {
        User { echo, payload: vec![7; bytes].into(), _node: self.node.clone() }
    }

    async fn spawned(&self, actors: u64) -> Outcome<Vec<ActorRef<Msg>>> {
        Ok(self.echo.call(|reply| Msg::Spawn(actors, reply)).within(PATIENCE).await?)
    }
}

impl Peer for Mobula {
    type Caller = User;
    type Sender = User;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        let node = node(0, Vec::new()).await?;
        let echo = node.spawn(Echo::spec(node.clone())).await?;
        let _registration = node.register(NAME, &echo).await?;
        ready(node.addresses().first().ok_or("no address")?);
        std::future::pending().await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        let node = node(1, vec![address.to_owned()]).await?;
        if !node.until(PATIENCE, |members| members.len() == 2).await {
            return Err("the nodes did not meet".into());
        }
        let echo = node.lookup(NAME).await?;
        Ok(Self { node, echo })
    }

    async fn caller(&mut self) -> Outcome<User> {
        Ok(self.user(self.echo.clone(), CALL_BYTES))
    }

    async fn sender(&mut self, _: Road, bytes: usize) -> Outcome<User> {
        let sink = self.spawned(1).await?.remove(0);
        Ok(self.user(sink, bytes))
    }

    async fn references(&mut self, actors: u64) -> Outcome<Option<Vec<User>>> {
        let spawned = self.spawned(actors).await?;
        let payload = Bytes::from(vec![7; CALL_BYTES]);
        let user = |echo| User { echo, payload: payload.clone(), _node: self.node.clone() };
        Ok(Some(spawned.into_iter().map(user).collect()))
    }
}

impl peer::Caller for User {
    async fn call(&mut self) -> Outcome<()> {
        let payload = Payload(self.payload.clone());
        self.echo.call(|reply| Msg::Echo(payload, reply)).within(PATIENCE).await?;
        Ok(())
    }
}

impl peer::Sender for User {
    async fn cast(&mut self) -> Outcome<()> {
        Ok(self.echo.send(Msg::Cast(Payload(self.payload.clone()))).await?)
    }

    async fn arrived(&mut self) -> Outcome<u64> {
        Ok(self.echo.call(Msg::Count).within(PATIENCE).await?)
    }
}
