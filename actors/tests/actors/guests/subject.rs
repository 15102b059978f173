//! A ractor actor that does what its messages say and reports what happens to it.

use std::sync::Arc;
use std::time::Duration;

use mobula_actors::guest::ractor::{
    Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent,
};
use mobula_actors::guest::{self, Guest};
use mobula_actors::{ActorRef as Reference, Engine, Reply, Spec};
use tokio::sync::{mpsc, oneshot};

use crate::puppet::soon;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Started,
    Note(u32),
    PostStop,
    Dropped,
}

pub(crate) type Events = mpsc::UnboundedReceiver<Event>;
pub(crate) type Me = ActorRef<Message>;
type Outcome = Result<(), ActorProcessingErr>;
type Deed = Box<dyn FnOnce(&Me) -> Outcome + Send>;
pub(crate) type Hook = Arc<dyn Fn(&Me) -> Outcome + Send + Sync>;

/// What ractor knows.
pub(crate) enum Message {
    Note(u32),
    NoteAsk(u32, RpcReplyPort<u32>),
    /// Says that it has begun, then waits for the other end.
    Wait(oneshot::Sender<()>, oneshot::Receiver<()>),
    Ask(RpcReplyPort<u32>),
    Keep(RpcReplyPort<u32>),
    Do(Deed),
    /// Has a child that tells of its end by the sender.
    Bear(mpsc::UnboundedSender<&'static str>, &'static str, RpcReplyPort<Me>),
    /// What a child has that tells of its end.
    Own(Tell),
}

impl Message {
    pub(crate) fn act(deed: impl FnOnce(&Me) -> Outcome + Send + 'static) -> Self {
        Self::Do(Box::new(deed))
    }
}

/// What others say to it.
pub(crate) enum Msg {
    Note(u32),
    NoteAsk(u32, Reply<u32>),
    Ask(Reply<u32>),
    Keep(Reply<u32>),
    As(Message),
}

impl From<Msg> for Message {
    fn from(msg: Msg) -> Self {
        match msg {
            Msg::Note(number) => Self::Note(number),
            Msg::NoteAsk(number, reply) => Self::NoteAsk(number, guest::port(reply)),
            Msg::Ask(reply) => Self::Ask(guest::port(reply)),
            Msg::Keep(reply) => Self::Keep(guest::port(reply)),
            Msg::As(message) => message,
        }
    }
}

pub(crate) struct Tell(mpsc::UnboundedSender<&'static str>, &'static str);

/// As long as a slow destructor takes here: who does not wait for it is found out.
const SLOW: Duration = Duration::from_millis(10);

impl Drop for Tell {
    fn drop(&mut self) {
        std::thread::sleep(SLOW);
        let _ = self.0.send(self.1);
    }
}

#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) pre_start: Hook,
    pub(crate) post_start: Hook,
    pub(crate) post_stop: Hook,
    pub(crate) on_event: Hook,
    pub(crate) waits_in_start: bool,
    pub(crate) panics_in_drop: bool,
    pub(crate) is_slow_to_drop: bool,
}

impl Subject {
    pub(crate) fn new() -> (Self, Events) {
        let (events, seen) = mpsc::unbounded_channel();
        let nothing: Hook = Arc::new(|_| Ok(()));
        let subject = Self {
            events,
            pre_start: nothing.clone(),
            post_start: nothing.clone(),
            post_stop: nothing.clone(),
            on_event: nothing,
            waits_in_start: false,
            panics_in_drop: false,
            is_slow_to_drop: false,
        };
        (subject, seen)
    }

    fn note(&self, number: u32, state: &mut State) {
        state.sum += number;
        let _ = self.events.send(Event::Note(number));
    }

    pub(crate) fn spec(self) -> Spec<Guest<Self, Msg>> {
        guest::adapted(self, ())
    }
}

pub(crate) struct State {
    events: mpsc::UnboundedSender<Event>,
    panics_in_drop: bool,
    is_slow_to_drop: bool,
    sum: u32,
    kept: Vec<RpcReplyPort<u32>>,
    owned: Vec<Tell>,
}

impl Drop for State {
    fn drop(&mut self) {
        if self.is_slow_to_drop {
            std::thread::sleep(SLOW);
        }
        let _ = self.events.send(Event::Dropped);
        if self.panics_in_drop {
            panic!("panic in drop");
        }
    }
}

impl Actor for Subject {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: Me, (): ()) -> Result<State, ActorProcessingErr> {
        let state = State {
            events: self.events.clone(),
            panics_in_drop: self.panics_in_drop,
            is_slow_to_drop: self.is_slow_to_drop,
            sum: 0,
            kept: Vec::new(),
            owned: Vec::new(),
        };
        let _ = self.events.send(Event::Started);
        (self.pre_start)(&myself)?;
        if self.waits_in_start {
            std::future::pending::<()>().await;
        }
        Ok(state)
    }

    async fn post_start(&self, myself: Me, _: &mut State) -> Outcome {
        (self.post_start)(&myself)
    }

    async fn handle(&self, myself: Me, message: Message, state: &mut State) -> Outcome {
        match message {
            Message::Note(number) => self.note(number, state),
            Message::NoteAsk(number, port) => {
                self.note(number, state);
                drop(port.send(state.sum));
            }
            Message::Wait(begun, over) => {
                let _ = begun.send(());
                let _ = over.await;
            }
            Message::Ask(port) => drop(port.send(state.sum)),
            Message::Keep(port) => state.kept.push(port),
            Message::Do(deed) => return deed(&myself),
            Message::Bear(told, name, port) => {
                let (child, _) = Self::new();
                let (child, _) = Actor::spawn_linked(None, child, (), myself.get_cell()).await?;
                child.send_message(Message::Own(Tell(told, name)))?;
                drop(port.send(child));
            }
            Message::Own(tell) => state.owned.push(tell),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: Me,
        _: SupervisionEvent,
        _: &mut State,
    ) -> Outcome {
        (self.on_event)(&myself)
    }

    async fn post_stop(&self, myself: Me, _: &mut State) -> Outcome {
        let _ = self.events.send(Event::PostStop);
        (self.post_stop)(&myself)
    }
}

pub(crate) async fn subject(engine: &Engine, mailbox: usize) -> (Reference<Msg>, Events) {
    let (subject, mut events) = Subject::new();
    let guest = engine.spawn(subject.spec().mailbox(mailbox)).await.unwrap();
    assert_eq!(events.try_recv(), Ok(Event::Started));
    (guest, events)
}

/// Busies the guest until the sender is used or dropped.
pub(crate) async fn busy(guest: &Reference<Msg>) -> oneshot::Sender<()> {
    let (begun, has_begun) = oneshot::channel();
    let (over, is_over) = oneshot::channel();
    guest.cast(Msg::As(Message::Wait(begun, is_over))).unwrap();
    soon(has_begun).await.unwrap();
    over
}

/// Its ractor side.
pub(crate) async fn inside(guest: &Reference<Msg>) -> Me {
    let (told, heard) = oneshot::channel();
    guest
        .cast(Msg::As(Message::act(|me| {
            let _ = told.send(me.clone());
            Ok(())
        })))
        .unwrap();
    soon(heard).await.unwrap()
}

/// A child of the actor `parent` that tells `told` its name when its state goes.
pub(crate) async fn child(
    parent: &Me,
    told: &mpsc::UnboundedSender<&'static str>,
    name: &'static str,
) -> Me {
    let bear = |port| Message::Bear(told.clone(), name, port);
    let born = parent.call(bear, Some(Duration::from_secs(10))).await;
    born.unwrap().unwrap()
}
