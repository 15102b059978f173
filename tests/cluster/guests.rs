//! Actors of ractor as guests in a cluster: started, reached, watched and supervised across nodes.

use mobula::guest::ractor::{Actor as RactorActor, ActorProcessingErr, RpcReplyPort};
use mobula::guest::{self, Guest, GuestKind, ractor};
use mobula::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::remote::{Counter, CounterMsg};
use crate::support::{PATIENCE, cluster};

/// A ractor actor that counts. It knows nothing of nodes, except that it may ask one of theirs.
#[derive(Clone, Serialize, Deserialize)]
struct Tally;

enum TallyMessage {
    Add(i64),
    Get(RpcReplyPort<i64>),
    Ask(ActorRef<CounterMsg>, Reply<i64>),
    Keep(RpcReplyPort<i64>),
}

impl RactorActor for Tally {
    type Msg = TallyMessage;
    type State = (i64, Vec<RpcReplyPort<i64>>);
    type Arguments = i64;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<TallyMessage>,
        value: i64,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok((value, Vec::new()))
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<TallyMessage>,
        message: TallyMessage,
        (value, kept): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TallyMessage::Add(0) => return Err("nothing to add".into()),
            TallyMessage::Add(more) => *value = value.checked_add(more).expect("too much"),
            TallyMessage::Get(port) => drop(port.send(*value)),
            TallyMessage::Ask(other, reply) => other.send(CounterMsg::Get(reply)).await?,
            TallyMessage::Keep(port) => kept.push(port),
        }
        Ok(())
    }
}

/// It speaks the protocol of a native counter, which it can stand in for.
impl From<CounterMsg> for TallyMessage {
    fn from(msg: CounterMsg) -> Self {
        match msg {
            CounterMsg::Add(n) => Self::Add(n),
            CounterMsg::Get(reply) => Self::Get(guest::port(reply)),
            CounterMsg::Ask(other, reply) => Self::Ask(other, reply),
            CounterMsg::Never(reply) => Self::Keep(guest::port(reply)),
        }
    }
}

impl GuestKind for Tally {
    const NAME: &'static str = "test.tally";
}

type TallyGuest = Guest<Tally, CounterMsg>;

fn tally(value: i64) -> Spec<TallyGuest> {
    guest::adapted(Tally, value)
}

async fn get(counter: &ActorRef<CounterMsg>) -> Result<i64, CallError> {
    counter.call(CounterMsg::Get).within(PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_on_another_node_is_started_called_and_cast_like_one_here() {
    let nodes = cluster(2, |_, builder| builder.host::<TallyGuest>()).await;
    let there = nodes[1].id().unwrap();
    let counter = nodes[0].spawn(tally(1).on(there)).await.unwrap();
    counter.cast(CounterMsg::Add(5)).unwrap();
    counter.send(CounterMsg::Add(5)).await.unwrap();
    assert_eq!(get(&counter).await, Ok(11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_and_actors_of_different_nodes_reach_each_other() {
    let nodes = cluster(2, |_, builder| builder.host::<Counter>().host::<TallyGuest>()).await;
    let there = nodes[1].id().unwrap();
    // No other node was asked to start it: it has a protocol, and can be reached.
    let guest = nodes[0].spawn(tally(3)).await.unwrap();
    let native = nodes[0].spawn(Counter::spec(4)).await.unwrap();
    let asker = nodes[0].spawn(Counter::spec(5).on(there)).await.unwrap();
    let asks_guest = asker.call(|reply| CounterMsg::Ask(guest.clone(), reply));
    assert_eq!(asks_guest.within(PATIENCE).await, Ok(3));
    let asker = nodes[0].spawn(tally(6).on(there)).await.unwrap();
    let asks_native = asker.call(|reply| CounterMsg::Ask(native.clone(), reply));
    assert_eq!(asks_native.within(PATIENCE).await, Ok(4));
    let asks_guest = asker.call(|reply| CounterMsg::Ask(guest.clone(), reply));
    assert_eq!(asks_guest.within(PATIENCE).await, Ok(3));
}

/// GU-2 of actors, across nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_guest_on_another_node_is_told_as_what_it_was() {
    type End = fn(&ActorRef<CounterMsg>);
    let nodes = cluster(2, |_, builder| builder.host::<TallyGuest>()).await;
    let there = nodes[1].id().unwrap();
    let fault = Exit::Failed(mobula::actors::Fault::new("nothing to add"));
    let ends: [(End, Exit); 4] = [
        (|guest| guest.cast(CounterMsg::Add(0)).unwrap(), fault),
        (|guest| guest.cast(CounterMsg::Add(i64::MAX)).unwrap(), Exit::Panicked("too much".into())),
        (ActorRef::stop, Exit::Shutdown),
        (ActorRef::kill, Exit::Killed),
    ];
    for (end, exit) in ends {
        let guest = nodes[0].spawn(tally(1).on(there)).await.unwrap();
        let mut downs = watch(&nodes[0], &guest, there).await;
        let kept = guest.call(CounterMsg::Never).within(PATIENCE);
        let ended = async {
            // In order: the call is there before it.
            get(&guest).await.unwrap();
            end(&guest);
        };
        let (kept, ()) = tokio::join!(kept, ended);
        assert_eq!(kept, Err(CallError::Unknown(Lost::Dropped)), "{exit}");
        let down = told(&mut downs).await;
        assert_eq!((down.actor, down.exit, down.restarting), (guest.id(), exit, false));
        assert!(matches!(get(&guest).await, Err(CallError::Rejected(_))));
    }
}

async fn watch(
    node: &Node,
    guest: &ActorRef<CounterMsg>,
    there: NodeId,
) -> UnboundedReceiver<Down> {
    let (told, downs) = unbounded_channel();
    guest.on_down(Box::new(move |down| {
        let _ = told.send(down);
    }));
    // The watch is set: questions to a node are answered in order.
    node.members_of(there).await.unwrap();
    downs
}

async fn told(downs: &mut UnboundedReceiver<Down>) -> Down {
    tokio::time::timeout(PATIENCE, downs.recv()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_starts_a_guest_again_and_its_messages_wait_meanwhile() {
    let build = |i, builder: mobula::node::NodeBuilder| match i {
        0 => builder,
        _ => builder.host::<TallyGuest>(),
    };
    let nodes = cluster(2, build).await;
    let there = nodes[1].id().unwrap();
    let spec = Supervisor::spec(Strategy::OneForOne)
        .intensity(10, PATIENCE)
        .child("here", tally(1))
        .child("there", tally(2).anywhere().transient());
    let tree = nodes[0].supervise(spec).await.unwrap();
    for (id, value) in [("here", 1), ("there", 2)] {
        let guest: ActorRef<CounterMsg> = tree.child(id).unwrap();
        for fault in [0, i64::MAX] {
            guest.send(CounterMsg::Add(40)).await.unwrap();
            guest.send(CounterMsg::Add(fault)).await.unwrap();
            // Handled by the next run, which begins anew.
            guest.send(CounterMsg::Add(100)).await.unwrap();
            assert_eq!(get(&guest).await, Ok(value + 100), "{id}");
        }
    }
    let guest: ActorRef<CounterMsg> = tree.child("here").unwrap();
    let mut downs = watch(&nodes[0], &guest, there).await;
    guest.kill();
    let down = told(&mut downs).await;
    assert_eq!((down.exit, down.epoch, down.restarting), (Exit::Killed, Epoch(3), true));
    assert_eq!(get(&guest).await, Ok(1));
    let children = tree.children().await;
    assert_eq!(children.iter().map(|child| child.node).collect::<Vec<_>>(), [None, Some(there)]);
    tree.stop(PATIENCE).await;
    let gone: Option<ActorRef<CounterMsg>> = tree.child("here");
    assert!(gone.is_none_or(|gone| gone.cast(CounterMsg::Add(1)).is_err()));
}
