//! Two nodes that do not mean quite the same by a protocol (SP-1 to SP-3 have more tests beside the
//! code).

use mobula::actors::{CallError, Why};
use mobula::prelude::*;

use crate::support::{PATIENCE, cluster, eventually};

/// One version of a protocol, with an actor that takes it: all of one name.
macro_rules! version {
    ($module:ident: $number:ty $(, $more:ident)?) => {
        mod $module {
            use super::*;

            #[derive(Serialize, Deserialize)]
            pub enum SumMsg {
                Add($number),
                Get(Reply<$number>),
                $($more(Reply<$number>),)?
            }
            protocol!(SumMsg = "test.sum/1");

            pub struct Sum($number);

            impl Actor for Sum {
                type Args = ();
                type Msg = SumMsg;
                async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
                    Ok(Self(0))
                }
                async fn handle(&mut self, msg: SumMsg, _: &mut Context<Self>) -> Result<(), Fault> {
                    match msg {
                        SumMsg::Add(n) => self.0 += n,
                        SumMsg::Get(reply) => reply.send(self.0),
                        $(SumMsg::$more(reply) => reply.send(2 * self.0),)?
                    }
                    Ok(())
                }
            }
        }
    };
}

version!(old: i64);
version!(newer: i64, Double);
version!(other: u64);

/// Two nodes, and an actor on the second one that takes messages of `A::Msg`.
async fn pair<A: Actor<Args = ()>>() -> (Vec<Node>, ActorRef<A::Msg>)
where
    A::Msg: Protocol,
{
    let nodes = cluster(2, |_, builder| builder).await;
    let actor = nodes[1].spawn(A::spec(())).await.unwrap();
    nodes[1].register("sum", &actor).await.unwrap();
    (nodes, actor)
}

fn why(refused: Result<i64, CallError>) -> String {
    match refused {
        Err(CallError::Rejected(Why::Incompatible(text))) => text,
        other => panic!("{other:?}"),
    }
}

/// SP-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_lacks_the_newest_variants_is_understood() {
    let (nodes, _actor) = pair::<newer::Sum>().await;
    let sum = nodes[0].lookup::<old::SumMsg>("sum").await.unwrap();
    for n in 0..100 {
        sum.send(old::SumMsg::Add(n)).await.unwrap();
    }
    assert_eq!(sum.call(old::SumMsg::Get).within(PATIENCE).await, Ok(4_950));
    assert_eq!(nodes[1].incompatible(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variant_that_the_receiver_lacks_is_refused_and_the_others_go_on() {
    let (nodes, _actor) = pair::<old::Sum>().await;
    let sum = nodes[0].lookup::<newer::SumMsg>("sum").await.unwrap();
    sum.send(newer::SumMsg::Add(5)).await.unwrap();
    let text = why(sum.call(newer::SumMsg::Double).within(PATIENCE).await);
    assert!(text.starts_with("test.sum/1: ") && text.ends_with("the same variants"), "{text}");
    assert_eq!(sum.call(newer::SumMsg::Get).within(PATIENCE).await, Ok(5));
}

/// SP-2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_shape_is_refused_before_it_is_decoded_and_then_by_its_sender() {
    let (nodes, actor) = pair::<other::Sum>().await;
    let sum = nodes[0].lookup::<old::SumMsg>("sum").await.unwrap();
    let text = why(sum.call(old::SumMsg::Get).within(PATIENCE).await);
    let both = "SumMsg.Add.0 is u64 for its receiver and i64 for its sender";
    assert_eq!(text, format!("test.sum/1: {both}"));
    // What is cast before the sender knows is counted, the rest comes back.
    let refused = nodes[1].incompatible();
    assert!(refused >= 1);
    eventually("the sender knows", || match sum.cast(old::SumMsg::Add(1)) {
        Err(rejected) => {
            assert!(matches!(rejected.message, old::SumMsg::Add(1)));
            matches!(rejected.why, Why::Incompatible(text) if text.contains(both))
        }
        Ok(()) => false,
    })
    .await;
    let known = nodes[1].incompatible();
    for _ in 0..10 {
        assert!(sum.send(old::SumMsg::Add(1)).await.is_err());
    }
    assert_eq!(nodes[1].incompatible(), known, "nothing more is sent");
    assert_eq!(actor.call(other::SumMsg::Get).within(PATIENCE).await, Ok(0));
    // Its own version is understood as ever.
    let same = nodes[0].lookup::<other::SumMsg>("sum").await.unwrap();
    same.send(other::SumMsg::Add(7)).await.unwrap();
    assert_eq!(same.call(other::SumMsg::Get).within(PATIENCE).await, Ok(7));
}
