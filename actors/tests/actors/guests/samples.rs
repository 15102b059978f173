//! Actors as ractor's users write them: one that talks to itself, one that keeps accounts, and one
//! that supervises others.

use std::collections::HashMap;
use std::time::Duration;

use mobula_actors::guest::ractor::{
    Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent,
};
use mobula_actors::{Exit, Reply, guest};

use crate::puppet::{down, engine, next, soon};

/// Plays with itself until the ball has flown often enough.
struct Table;

#[derive(Clone, Copy)]
enum Ball {
    Ping,
    Pong,
}

impl Actor for Table {
    type Msg = Ball;
    type State = (u32, tokio::sync::mpsc::UnboundedSender<u32>);
    type Arguments = tokio::sync::mpsc::UnboundedSender<u32>;

    async fn pre_start(
        &self,
        _: ActorRef<Ball>,
        score: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok((0, score))
    }

    async fn handle(
        &self,
        myself: ActorRef<Ball>,
        ball: Ball,
        (flown, score): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        *flown += 1;
        if *flown == 10 {
            score.send(*flown)?;
            myself.stop(None);
            return Ok(());
        }
        let back = match ball {
            Ball::Ping => Ball::Pong,
            Ball::Pong => Ball::Ping,
        };
        Ok(myself.send_message(back)?)
    }
}

#[tokio::test]
async fn a_guest_that_sends_to_itself_plays_on_and_ends_normally() {
    let (score, mut scores) = tokio::sync::mpsc::unbounded_channel();
    let table = engine().spawn(guest::spec(Table, score).temporary()).await.unwrap();
    let mut ended = down(&table);
    table.cast(Ball::Ping).unwrap();
    assert_eq!(next(&mut scores).await, 10);
    assert_eq!(next(&mut ended).await.exit, Exit::Normal);
}

/// Keeps accounts, and refuses what they do not hold.
struct Bank;

enum Banking {
    Deposit(&'static str, u64),
    Withdraw(&'static str, u64, RpcReplyPort<Result<u64, String>>),
    Audit(RpcReplyPort<u64>),
}

impl Actor for Bank {
    type Msg = Banking;
    type State = HashMap<&'static str, u64>;
    type Arguments = Vec<(&'static str, u64)>;

    async fn pre_start(
        &self,
        _: ActorRef<Banking>,
        accounts: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(accounts.into_iter().collect())
    }

    async fn handle(
        &self,
        _: ActorRef<Banking>,
        order: Banking,
        accounts: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Banking::Deposit(owner, amount) => *accounts.entry(owner).or_default() += amount,
            Banking::Withdraw(owner, amount, port) => {
                let balance = accounts.entry(owner).or_default();
                let left = balance.checked_sub(amount);
                *balance = left.unwrap_or(*balance);
                drop(port.send(left.ok_or_else(|| format!("{owner} has {balance}"))));
            }
            Banking::Audit(port) => drop(port.send(accounts.values().sum())),
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_guest_takes_its_own_messages_and_answers_its_own_ports() {
    let bank = engine().spawn(guest::spec(Bank, vec![("ann", 5)])).await.unwrap();
    bank.cast(Banking::Deposit("bob", 7)).unwrap();
    bank.send(Banking::Deposit("ann", 1)).await.unwrap();
    let withdraw = |owner, amount| {
        bank.call(move |reply: Reply<_>| Banking::Withdraw(owner, amount, guest::port(reply)))
    };
    assert_eq!(soon(withdraw("ann", 4)).await, Ok(Ok(2)));
    assert_eq!(soon(withdraw("ann", 4)).await, Ok(Err("ann has 2".into())));
    let audit = bank.call(|reply| Banking::Audit(guest::port(reply)));
    assert_eq!(audit.within(Duration::from_secs(10)).await, Ok(9));
}

/// Throws darts and stops with its hits as its state.
struct Player;

impl Actor for Player {
    type Msg = ();
    type State = (u64, u64);
    type Arguments = (u64, u64);

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (seed, throws): (u64, u64),
    ) -> Result<(u64, u64), ActorProcessingErr> {
        myself.send_message(())?;
        Ok((seed, throws))
    }

    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        (seed, throws): &mut (u64, u64),
    ) -> Result<(), ActorProcessingErr> {
        if *seed == 13 {
            return Err("an unlucky number".into());
        }
        // A small generator of its own, good enough for darts.
        let mut random = || {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) as f64 / (1_u64 << 31) as f64
        };
        let hits = (0..*throws).filter(|_| random().powi(2) + random().powi(2) <= 1.0).count();
        *throws = hits as u64;
        myself.stop(None);
        Ok(())
    }
}

/// Has players throw darts at a quarter of a disc, plays again for those who fail, and says what
/// that makes of the number pi.
struct Club;

#[derive(Default)]
struct Evening {
    throws: u64,
    hits: u64,
    playing: u64,
    again: u64,
    waiting: Vec<RpcReplyPort<(f64, u64)>>,
}

enum Talk {
    Play { seeds: std::ops::Range<u64>, throws: u64 },
    Pi(RpcReplyPort<(f64, u64)>),
}

impl Club {
    async fn admit(me: &ActorRef<Talk>, seed: u64, throws: u64) -> Result<(), ActorProcessingErr> {
        Actor::spawn_linked(None, Player, (seed, throws), me.get_cell()).await?;
        Ok(())
    }
}

impl Actor for Club {
    type Msg = Talk;
    type State = Evening;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Talk>, (): ()) -> Result<Evening, ActorProcessingErr> {
        Ok(Evening::default())
    }

    async fn handle(
        &self,
        me: ActorRef<Talk>,
        talk: Talk,
        evening: &mut Evening,
    ) -> Result<(), ActorProcessingErr> {
        match talk {
            Talk::Play { seeds, throws } => {
                for seed in seeds {
                    Self::admit(&me, seed, throws).await?;
                    evening.playing += 1;
                    evening.throws += throws;
                }
            }
            Talk::Pi(port) => evening.waiting.push(port),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Talk>,
        event: SupervisionEvent,
        evening: &mut Evening,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(_, Some(mut state), _) => {
                let (_, hits) = state.take::<(u64, u64)>()?;
                evening.hits += hits;
                evening.playing -= 1;
            }
            SupervisionEvent::ActorFailed(..) => {
                evening.again += 1;
                Self::admit(&me, 1_000 + evening.again, 2_000).await?;
            }
            _ => {}
        }
        if evening.playing == 0 {
            let pi = 4.0 * evening.hits as f64 / evening.throws as f64;
            evening.waiting.drain(..).for_each(|port| drop(port.send((pi, evening.again))));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_guest_that_supervises_others_restarts_them_itself() {
    let club = engine().spawn(guest::spec(Club, ())).await.unwrap();
    club.cast(Talk::Play { seeds: 1..21, throws: 2_000 }).unwrap();
    let (pi, again) = soon(club.call(|reply| Talk::Pi(guest::port(reply)))).await.unwrap();
    assert!((pi - std::f64::consts::PI).abs() < 0.1, "{pi}");
    assert_eq!(again, 1, "one player drew an unlucky number");
}
