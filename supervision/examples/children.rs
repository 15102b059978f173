//! Many children under one dynamic supervisor, and what each costs.
//!
//! ```text
//! cargo run --release -p mobula-supervision --example children -- 1000000
//! cargo run --release -p mobula-supervision --example children -- 1000000 plain
//! ```
//!
//! Starts that many temporary children, asks each for an answer, ends half of them by their own
//! hand and the rest with their tree. The second line is for comparison: actors that nobody
//! supervises. Bytes are resident memory, with a reference to each actor, and known on Linux only.
//! What all children cost together is printed for each tenth of them: it must not grow.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mobula_actors::{Actor, ActorRef, Context, Engine, Fault, Reply};
use mobula_supervision::{Supervisor, supervise};

/// Children unless the command line says otherwise.
const CHILDREN: usize = 1_000_000;
/// Starts and calls that are under way at a time.
const AT_A_TIME: usize = 64;

struct Number(u64);

enum Ask {
    Get(Reply<u64>),
    End,
}

impl Actor for Number {
    type Args = u64;
    type Msg = Ask;

    async fn start(number: u64, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(number))
    }

    async fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match ask {
            Ask::Get(reply) => reply.send(self.0),
            Ask::End => ctx.stop(),
        }
        Ok(())
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let children = std::env::args().nth(1).map_or(Ok(CHILDREN), |count| count.parse())?;
    let engine = Engine::new(1, tokio::runtime::Handle::current());
    match std::env::args().nth(2).as_deref() {
        Some("plain") => plain(&engine, children).await,
        _ => supervised(&engine, children).await,
    }
}

async fn plain(engine: &Engine, children: usize) -> Result<(), Error> {
    let started = start(children, |number| {
        let engine = engine.clone();
        async move { engine.spawn(Number::spec(number)).await.map_err(Error::from) }
    });
    started.await.map(drop)
}

async fn supervised(engine: &Engine, children: usize) -> Result<(), Error> {
    let spec = Supervisor::dynamic(|number| Number::spec(number).temporary());
    let tree = supervise(engine, Arc::new(engine.clone()), spec).await?;
    let actors = start(children, |number| {
        let tree = tree.clone();
        async move { tree.start_child::<Number>(number).await.map_err(Error::from) }
    })
    .await?;
    let mut sum = 0;
    for actor in &actors {
        sum += actor.call(Ask::Get).await?;
    }
    let expected: u64 = (0..children as u64).sum();
    assert_eq!(sum, expected, "every child answers with its own number");
    let begun = Instant::now();
    for actor in actors.iter().step_by(2) {
        actor.send(Ask::End).await.map_err(|refused| refused.why)?;
    }
    while tree.count().await.active > children / 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{} children ended by themselves in {:?}", children.div_ceil(2), begun.elapsed());
    let begun = Instant::now();
    tree.stop(Duration::from_secs(60)).await;
    println!("the tree and its other children stopped in {:?}", begun.elapsed());
    Ok(())
}

/// Starts actors, some at a time, and gives their references in order.
async fn start<F>(count: usize, mut one: impl FnMut(u64) -> F) -> Result<Vec<ActorRef<Ask>>, Error>
where
    F: Future<Output = Result<ActorRef<Ask>, Error>> + Send + 'static,
{
    let mut actors = Vec::with_capacity(count);
    let (before, tenth) = (resident(), (count / 10).max(1));
    let mut begun = Instant::now();
    while actors.len() < count {
        let next = actors.len()..count.min(actors.len() + AT_A_TIME);
        let starts: Vec<_> = next.map(|number| tokio::spawn(one(number as u64))).collect();
        for start in starts {
            actors.push(start.await??);
            if actors.len() % tenth == 0 {
                let bytes = resident().saturating_sub(before) / actors.len() as u64;
                let each = begun.elapsed() / u32::try_from(tenth)?;
                println!(
                    "{} started: {bytes} B for each, {each:?} for each of the last",
                    actors.len()
                );
                begun = Instant::now();
            }
        }
    }
    Ok(actors)
}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
