//! How a node becomes part of a cluster.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mobula_actors::id::{NodeId, PeerKey};
use mobula_actors::spawner::{Hosted, Order, Request, Started};
use mobula_actors::{Actor, ActorRef, CallError, Engine, Kind, SpawnError, Spec};
use mobula_supervision::Tree;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::cluster::{Cluster, Foundation, origin_of, service_id};
use super::hosting::Hosting;
use super::inbound::Door;
use super::membership::{Member, Membership};
use super::placing::{NodeSpawner, Placer};
use super::service::{NodeMsg, SERVICE_MESSAGES_MAX, Service};
use super::shapes::SHAPES;
use super::{Inner, Node, System};
use crate::gossip::{Config, Input};
use crate::net::{
    self, Allowlist, AllowlistError, CertificateError, Counts, Identity, IdentityError, Limits,
    Net, NetConfig, NetError, split_address,
};
use crate::placement::{Capacity, host};

/// A node that could not start. Nothing of it is left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The identity file.
    #[error("the identity cannot be used: {0}")]
    Identity(#[from] IdentityError),
    /// The list of members.
    #[error("the list of members cannot be used: {0}")]
    Members(#[from] AllowlistError),
    /// The certificate or the list of revocations.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// It should listen beyond its host under a name that nobody can know.
    #[error("refusing to listen on {address} with a key made for this run: give an identity file")]
    Nameless {
        /// Where it should have listened.
        address: String,
    },
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The system gave no thread or no timer.
    #[error("the system refused a thread for the network: {0}")]
    System(#[from] std::io::Error),
    /// The node's own actor.
    #[error("the node's own actor did not start: {0}")]
    Service(#[from] SpawnError),
    /// Two hosted kinds share a name.
    #[error("two hosted kinds have the name {0:?}: give each its own in `kind!`")]
    Kind(&'static str),
}

/// Describes a node that joins a cluster.
#[derive(Debug, Default)]
#[must_use = "a node is started by `start`"]
pub struct NodeBuilder {
    listen: Option<String>,
    announce: Option<String>,
    seeds: Vec<String>,
    identity: Option<Identity>,
    identity_file: Option<PathBuf>,
    members: Option<net::Membership>,
    members_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    grant_file: Option<PathBuf>,
    revocations_file: Option<PathBuf>,
    kinds: Vec<Hosted>,
    labels: Vec<String>,
    capacity: Option<Capacity>,
    nodes_on_host: u32,
    limits: Limits,
}

impl NodeBuilder {
    /// Listens at `address`, such as `/ip4/10.0.0.7/tcp/7000`. Port 0 takes a free one. A node that
    /// does not listen can join and be joined by nobody. Beyond its own host it listens only with
    /// an identity and a certificate or members.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Tells others to dial it at `address`, such as `/ip4/203.0.113.7/tcp/7000`, if that is not
    /// where it listens: behind a forwarded port, in a container.
    pub fn announce(mut self, address: impl Into<String>) -> Self {
        self.announce = Some(address.into());
        self
    }

    /// Joins the cluster of these nodes, each `/ip4/…/tcp/…/p2p/…`. They are tried until one is
    /// met.
    pub fn join<S: Into<String>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// Takes the node's secret key from a file that only its owner can read; it is made if there is
    /// none. Without one, the key lasts as long as the node.
    pub fn identity(mut self, file: impl AsRef<Path>) -> Self {
        self.identity_file = Some(file.as_ref().to_owned());
        self
    }

    /// Uses this secret key.
    pub fn key(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Takes the keys of the members from a file, one a line. Nobody else gets a frame decoded.
    pub fn membership(mut self, file: impl AsRef<Path>) -> Self {
        self.members_file = Some(file.as_ref().to_owned());
        self
    }

    /// Shows the certificate in this file, as `mobula admit` made it for this node's key, and
    /// admits whoever shows one of the same cluster.
    pub fn certificate(mut self, file: impl AsRef<Path>) -> Self {
        self.certificate_file = Some(file.as_ref().to_owned());
        self
    }

    /// Shows the grant in this file, as `mobula grant` made it for this node's key: with it the node
    /// may ask more of the others than its certificate says.
    pub fn grant(mut self, file: impl AsRef<Path>) -> Self {
        self.grant_file = Some(file.as_ref().to_owned());
        self
    }

    /// Closes the connections of those whom this file revokes, as `mobula revoke` writes it. There
    /// may be no such file yet; it is read again when it changes, and written when another member
    /// has a newer one.
    pub fn revocations(mut self, file: impl AsRef<Path>) -> Self {
        self.revocations_file = Some(file.as_ref().to_owned());
        self
    }

    /// Admits these members and nobody else: an allowlist or a membership.
    pub fn members(mut self, members: impl Into<net::Membership>) -> Self {
        self.members = Some(members.into());
        self
    }

    /// Lets other nodes start actors of this kind here.
    pub fn host<A: Kind>(mut self) -> Self {
        self.kinds.push(Hosted::of::<A>());
        self
    }

    /// Carries a label, which demands can refuse.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// Offers this much, instead of what the host or its cgroup has.
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Shares the host with other nodes: each of the `nodes` offers an equal part of it.
    pub fn nodes_on_host(mut self, nodes: u32) -> Self {
        self.nodes_on_host = nodes;
        self
    }

    /// Uses other bounds for the network than the default ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Starts the node. It is alive when this returns; others are met as they are found.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is left of it.
    ///
    /// # Panics
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn start(mut self) -> Result<Node, NodeError> {
        let seeds = self.take_seeds()?;
        let mut config = self.take_config(unix_ms())?;
        config.listen = self.listen.clone();
        config.announce = self.announce.clone();
        config.features = SHAPES;
        let id = NodeId { key: config.identity.peer_key(), boot: config.boot };
        let runtime = System::start()?;
        let engine = Engine::new(origin_of(id), Handle::current());
        let system =
            runtime.handle().map_or_else(|| engine.clone(), |handle| engine.beside(handle));
        let cluster = Cluster::new(self.foundation(id, &engine, &system, seeds)?);
        let service = Service::spec(Arc::downgrade(&cluster)).mailbox(SERVICE_MESSAGES_MAX);
        let service = system.spawn(service).await?;
        engine.export_as(service_id(id), &service);
        let trees = Arc::default();
        cluster.show(&trees).await?;

        let door = Arc::new(Door(Arc::downgrade(&cluster)));
        let starting = system.runtime().spawn(Net::start(config, door));
        let net = match starting.await {
            Ok(started) => started?,
            Err(failed) => return Err(NodeError::System(std::io::Error::other(failed))),
        };
        Ok(assemble(cluster, net, engine, system, trees, runtime))
    }

    pub(super) fn take_seeds(&mut self) -> Result<Vec<(PeerKey, String)>, NodeError> {
        let seeds = std::mem::take(&mut self.seeds);
        Ok(seeds.iter().map(|seed| split_address(seed)).collect::<Result<_, _>>()?)
    }

    /// What the network needs of every peer, whether it is a node or not.
    pub(super) fn take_config(&mut self, boot: u64) -> Result<NetConfig, NodeError> {
        let mut config = NetConfig::new(self.take_identity()?, boot, self.take_members()?);
        config.limits = self.limits.clone();
        Ok(config)
    }

    pub(super) fn foundation(
        &self,
        id: NodeId,
        engine: &Engine,
        system: &Engine,
        seeds: Vec<(PeerKey, String)>,
    ) -> Result<Foundation, NodeError> {
        let mut kinds = HashMap::new();
        for hosted in &self.kinds {
            if kinds.insert(hosted.kind, hosted.clone()).is_some() {
                return Err(NodeError::Kind(hosted.kind));
            }
        }
        let mut names: Vec<String> = kinds.keys().map(|kind| (*kind).to_owned()).collect();
        names.sort_unstable();
        let total =
            self.capacity.clone().unwrap_or_else(host::detect).share(self.nodes_on_host.max(1));
        Ok(Foundation {
            id,
            engine: engine.clone(),
            system: system.clone(),
            kinds,
            hosting: Hosting::new(total, names, self.labels.clone()),
            membership: Membership::new(id, seeds, Config::default()),
            message_bytes_max: self.limits.message_bytes_max,
        })
    }

    fn take_identity(&mut self) -> Result<Identity, NodeError> {
        if let Some(identity) = self.identity.take() {
            return Ok(identity);
        }
        let Some(file) = &self.identity_file else {
            return match self.listen.as_ref().filter(|address| !net::is_loopback(address)) {
                Some(address) => Err(NodeError::Nameless { address: address.clone() }),
                None => Ok(Identity::generate()),
            };
        };
        if !file.exists() {
            let identity = Identity::generate();
            identity.save(file)?;
            return Ok(identity);
        }
        Ok(Identity::load(file)?)
    }

    fn take_members(&mut self) -> Result<net::Membership, NodeError> {
        let members = match (self.members.take(), &self.certificate_file, &self.members_file) {
            (Some(members), _, _) => members,
            (None, Some(file), _) => net::Membership::certificate(file)?,
            (None, None, Some(file)) => net::Membership::allowlist(file)?,
            (None, None, None) => Allowlist::new().into(),
        };
        let members = match &self.grant_file {
            Some(file) => members.grant(file)?,
            None => members,
        };
        Ok(match &self.revocations_file {
            Some(file) => members.revocations(file)?,
            None => members,
        })
    }
}

fn assemble(
    cluster: Arc<Cluster>,
    net: Net,
    engine: Engine,
    system: Engine,
    trees: Arc<Mutex<Vec<Tree>>>,
    runtime: System,
) -> Node {
    if let Some(address) = net.addresses().first() {
        cluster.membership.listens_at(address.clone());
        cluster.hosting.listens_at(address.clone());
    }
    cluster.set_net(Some(net));
    cluster.publish();
    let placer = Arc::new(Placer::new(cluster.clone()));
    let handle = system.runtime();
    let tasks = [
        handle.spawn(cluster.clone().keep_time()),
        handle.spawn(cluster.clone().keep_connected()),
        handle.spawn(cluster.clone().keep_books()),
        handle.spawn(cluster.clone().keep_names()),
        handle.spawn(cluster.clone().keep_groups()),
        handle.spawn(cluster.clone().spread_revocations()),
    ];
    let tasks = tasks.iter().map(|task| task.abort_handle()).collect();
    Node(Arc::new(Inner {
        spawner: Arc::new(NodeSpawner(placer.clone())),
        engine,
        system,
        trees,
        cluster: Some(Clustered { cluster, placer, tasks }),
        runtime: Mutex::new(runtime),
    }))
}

/// Unix time in milliseconds. As a boot it is larger than any other of its key, as long as the clock
/// goes forward between two starts.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The cluster side of a node.
pub(super) struct Clustered {
    cluster: Arc<Cluster>,
    pub(super) placer: Arc<Placer>,
    tasks: Vec<AbortHandle>,
}

impl Clustered {
    #[cfg(test)]
    pub(super) fn cluster(&self) -> Arc<Cluster> {
        self.cluster.clone()
    }

    pub(super) async fn spawn<A: Actor, R>(
        &self,
        spec: Spec<A, R>,
    ) -> Result<ActorRef<A::Msg>, SpawnError> {
        let request = request(&self.cluster, spec);
        reference::<A>(self.placer.clone().place(request).await?)
    }

    pub(super) async fn dismiss_hosted(&self) {
        self.cluster.dismiss_hosted().await;
    }

    /// The node is dropped: nobody is to take that for the end of what it hosts by itself.
    pub(super) fn fall_silent(&self) {
        self.cluster.hosting.leave();
    }

    pub(super) async fn leave(&self) {
        self.cluster.gossip(Input::Leave);
        if let Some(net) = self.cluster.set_net(None) {
            // On its own runtime, where its timers are.
            let stopped = self.cluster.system.runtime().spawn(net.stop()).await;
            if let Err(failed) = stopped {
                tracing::warn!(%failed, "the network did not stop in order");
            }
        }
        self.end();
    }

    fn end(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The first and only run of an actor.
pub(super) fn request<A: Actor, R>(cluster: &Cluster, spec: Spec<A, R>) -> Request {
    let (seed, settings) = spec.into_seed_once();
    let order = Order { id: cluster.engine.next_id(), ..Order::new(&settings) };
    Request { seed, settings, order, previous: None, avoid: Vec::new() }
}

/// The reference to an actor that has come to life.
pub(super) fn reference<A: Actor>(started: Started) -> Result<ActorRef<A::Msg>, SpawnError> {
    let reference = started.reference.and_then(|any| any.downcast::<ActorRef<A::Msg>>().ok());
    reference
        .map(|reference| *reference)
        .ok_or_else(|| SpawnError::Refused("the actor that started takes other messages".into()))
}

impl Drop for Clustered {
    fn drop(&mut self) {
        self.end();
    }
}

impl Node {
    /// Describes a node that joins a cluster.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// This life of this node; `None` for a node on its own.
    #[must_use]
    pub fn id(&self) -> Option<NodeId> {
        self.cluster().map(|cluster| cluster.id)
    }

    /// Where others can join it, `/ip4/…/tcp/…/p2p/…`: what it announces, then where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.cluster().and_then(|cluster| cluster.net(Net::addresses)).unwrap_or_default()
    }

    /// What happened at the node's door and on its connections so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.cluster().and_then(|cluster| cluster.net(Net::counts)).unwrap_or_default()
    }

    /// Messages of other nodes that were refused because sender and receiver do not mean the same by
    /// their protocol.
    #[must_use]
    pub fn incompatible(&self) -> u64 {
        self.cluster().map_or(0, |cluster| cluster.shapes.refused_count())
    }

    /// The members that it does not let in for a while, because they broke the protocol again and
    /// again.
    #[must_use]
    pub fn quarantined(&self) -> Vec<PeerKey> {
        self.cluster().and_then(|cluster| cluster.net(Net::quarantined)).unwrap_or_default()
    }

    /// The nodes it knows, itself first. Empty for a node on its own.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.cluster().map(|cluster| cluster.membership.members()).unwrap_or_default()
    }

    /// The nodes that another node knows, itself first.
    ///
    /// # Errors
    /// As for every call.
    pub async fn members_of(&self, node: NodeId) -> Result<Vec<Member>, CallError> {
        let service = self.cluster().and_then(|cluster| cluster.service(node));
        let no_cluster = CallError::Rejected(mobula_actors::Why::NoRoute);
        let service = service.ok_or(no_cluster)?;
        service.call(|reply| NodeMsg::Members { reply }).await
    }

    /// Waits until what this node knows of the others satisfies `enough`; false if it does not
    /// within `timeout`.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn until(&self, timeout: Duration, enough: impl Fn(&[Member]) -> bool) -> bool {
        let Some(cluster) = self.cluster() else { return enough(&[]) };
        let seen = async {
            loop {
                let changed = cluster.changed.notified();
                if enough(&cluster.membership.members()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(timeout, seen).await.is_ok()
    }

    /// Waits until the others hold this life of the node dead. What it hosted has ended then, it
    /// takes part in nothing any more, and only a new life, a node built again with the same key,
    /// can. A node on its own waits for ever.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn fenced(&self) {
        let Some(cluster) = self.cluster() else { return std::future::pending().await };
        loop {
            let changed = cluster.changed.notified();
            if cluster.membership.is_fenced() {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.0.cluster.as_ref().map(|clustered| &clustered.cluster)
    }
}
