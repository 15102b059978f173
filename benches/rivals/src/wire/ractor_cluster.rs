//! ractor_cluster: actors that a process group makes known to the other node, in clear text. Its
//! queues have no bound, so a cast never waits.

use std::time::Duration;

use ractor::concurrency::{Duration as Time, sleep};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use ractor_cluster::{NodeServer, RactorClusterMessage, client_connect};

use super::peer::{self, CALL_BYTES, Peer, Road};
use crate::side::Outcome;

const COOKIE: &str = "rivals";
const GROUP: &str = "echo";
/// How often it is looked whether actors of the other node are known.
const LOOK_INTERVAL: Time = Time::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(RactorClusterMessage)]
pub(super) enum Msg {
    Cast(Vec<u8>),
    #[rpc]
    Echo(Vec<u8>, RpcReplyPort<Vec<u8>>),
    #[rpc]
    Count(RpcReplyPort<u64>),
    /// More of its kind, in a group with the name of their number.
    #[rpc]
    Spawn(u64, RpcReplyPort<u64>),
}

struct Echo;

impl Actor for Echo {
    type Msg = Msg;
    type State = u64;
    type Arguments = String;

    async fn pre_start(&self, me: ActorRef<Msg>, group: String) -> Result<u64, ActorProcessingErr> {
        pg::join(group, vec![me.get_cell()]);
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Msg>,
        msg: Msg,
        casts: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Cast(_) => *casts += 1,
            Msg::Echo(bytes, reply) => reply.send(bytes)?,
            Msg::Count(reply) => reply.send(std::mem::take(casts))?,
            Msg::Spawn(actors, reply) => {
                for _ in 0..actors {
                    Self::spawn(None, Self, actors.to_string()).await?;
                }
                reply.send(actors)?;
            }
        }
        Ok(())
    }
}

async fn node(name: &str) -> Outcome<(ActorRef<ractor_cluster::NodeServerMessage>, u16)> {
    // It takes no port 0 for an answer to the question which port it got.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = NodeServer::new(port, COOKIE.into(), name.into(), "localhost".into(), None, None);
    Ok((NodeServer::spawn(None, server, ()).await?.0, port))
}

pub(super) struct RactorCluster;

/// The actors of a group there, once there are so many.
async fn members(group: &str, number: u64) -> Outcome<Vec<ActorRef<Msg>>> {
    let known = async {
        loop {
            let members = pg::get_members(&group.to_owned());
            if members.len() as u64 == number {
                return members.into_iter().map(Into::into).collect();
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    Ok(tokio::time::timeout(PATIENCE, known).await?)
}

impl Peer for RactorCluster {
    type Caller = User;
    type Sender = User;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        let (_server, port) = node("server").await?;
        Echo::spawn(None, Echo, GROUP.into()).await?;
        ready(&format!("127.0.0.1:{port}"));
        std::future::pending().await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        let (server, _) = node("client").await?;
        client_connect(&server, address).await?;
        Ok(Self)
    }

    async fn caller(&mut self) -> Outcome<User> {
        Ok(User::new(members(GROUP, 1).await?.remove(0), CALL_BYTES))
    }

    async fn sender(&mut self, _: Road, bytes: usize) -> Outcome<User> {
        Ok(User::new(self.spawned(1).await?.remove(0), bytes))
    }

    async fn references(&mut self, actors: u64) -> Outcome<Option<Vec<User>>> {
        let spawned = self.spawned(actors).await?;
        Ok(Some(spawned.into_iter().map(|echo| User::new(echo, CALL_BYTES)).collect()))
    }
}

impl RactorCluster {
    async fn spawned(&self, actors: u64) -> Outcome<Vec<ActorRef<Msg>>> {
        let echo = members(GROUP, 1).await?.remove(0);
        ractor::call!(echo, Msg::Spawn, actors).map_err(|error| error.to_string())?;
        members(&actors.to_string(), actors).await
    }
}

/// One who calls or casts.
pub(super) struct User {
    echo: ActorRef<Msg>,
    bytes: Vec<u8>,
}

impl User {
    fn new(echo: ActorRef<Msg>, bytes: usize) -> Self {
        Self { echo, bytes: vec![7; bytes] }
    }
}

impl peer::Caller for User {
    async fn call(&mut self) -> Outcome<()> {
        let echoed = ractor::call!(self.echo, Msg::Echo, self.bytes.clone());
        Ok(echoed.map(drop).map_err(|error| error.to_string())?)
    }
}

impl peer::Sender for User {
    async fn cast(&mut self) -> Outcome<()> {
        let cast = self.echo.cast(Msg::Cast(self.bytes.clone()));
        Ok(cast.map_err(|error| error.to_string())?)
    }

    async fn arrived(&mut self) -> Outcome<u64> {
        Ok(ractor::call!(self.echo, Msg::Count).map_err(|error| error.to_string())?)
    }
}
