//! What a tree looks like as a text.

use std::sync::Arc;

use mobula_actors::{Actor, Exit};
use mobula_supervision::{Strategy, Supervisor};

use crate::probe::{Begin, Bench, Part, Probe, ProbeMsg, child, secs};

#[tokio::test(start_paused = true)]
async fn a_tree_is_printed_line_by_line_with_what_became_of_each_child() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch < 3 { Begin::Up } else { Begin::Hang };
    let rates = bench.beginning("rates", begin).start_within(secs(3_600));
    let pricing = bench.spec_of(Strategy::RestForOne).child("quotes", bench.probe("quotes"));
    let spec = bench.spec().child("intake", bench.probe("intake"));
    let spec = spec.supervisor("pricing", pricing.child("rates", rates));
    let spec = spec.child("cleaner", bench.probe("cleaner").transient());
    let tree = bench.supervise(spec.supervisor("idle", bench.spec())).await.unwrap();
    for epoch in 1..3 {
        assert_eq!(bench.started("pricing/rates").await, epoch);
        child(&tree, "pricing/rates").cast(ProbeMsg::Fail).unwrap();
    }
    bench.ended("pricing/rates").await;
    child(&tree, "cleaner").cast(ProbeMsg::End(Exit::Normal)).unwrap();
    bench.ended("cleaner").await;
    tree.terminate("idle").await.unwrap();
    let expected = "\
tree        running     one for one, 2 of 4 run
  intake    running     Probe
  pricing   running     supervisor, rest for one, 1 of 2 run
    quotes  running     Probe
    rates   restarting  Probe                                 started again 2x, last: failed: told to fail
  cleaner   stopped     Probe                                 last: normal
  idle      stopped     supervisor                            last: shutdown
";
    assert_eq!(tree.print().await, expected);
    let part = "\
pricing   running     rest for one, 1 of 2 run
  quotes  running     Probe
  rates   restarting  Probe                     started again 2x, last: failed: told to fail
";
    assert_eq!(tree.below("pricing").unwrap().print().await, part);
    tree.stop(secs(60)).await;
    assert_eq!(tree.print().await, "the tree has stopped\n");
}

#[tokio::test(start_paused = true)]
async fn of_many_dynamic_children_the_first_are_printed_and_the_others_counted() {
    let bench = Bench::new();
    let spec = bench.spec().supervisor("many", Supervisor::dynamic(Probe::spec));
    let tree = bench.supervise(spec.child("after", bench.probe("after"))).await.unwrap();
    let many = tree.below("many").unwrap();
    let part = |name: &str| Part { begin: Arc::new(|_| Begin::Up), ..bench.part(name) };
    let first = many.start_child::<Probe>(part("first")).await.unwrap();
    for _ in 1..1_000 {
        many.start_child::<Probe>(part("next")).await.unwrap();
    }
    let text = tree.print().await;
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 1 + 1 + 20 + 1 + 1, "{text}");
    assert!(lines[1].ends_with("supervisor, dynamic, 1000 of 1000 run"), "{text}");
    assert!(lines[2].starts_with(&first.id().to_string()), "{text}");
    assert!(lines[22].starts_with("and 980 more") && lines[23].starts_with("after"), "{text}");
    assert_eq!(many.children().await.len(), 1_000);
    tree.stop(secs(60)).await;
}
