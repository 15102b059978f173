use mobula_actors::{
    demand::{Demand, Place},
    id::{NodeId, PeerKey},
};

use super::{cores, kinds, node, request};
use crate::placement::{
    Candidate, Capacity, Dimension, Missing, Offer, Request, Shortage, Unfit, Where, check, filter,
};

fn missing(request: &Request<u32>, view: &[Candidate<'_, u32>]) -> Missing<u32> {
    filter(request, view).unwrap_err().missing
}

#[test]
fn a_place_that_names_a_node_outside_the_view_is_named() {
    let kinds = kinds();
    let on_nine = Request { place: Where::On(9), ..request(Demand::default()) };
    let view = [node(1, cores(1_000), &kinds)];
    assert_eq!(missing(&on_nine, &view), Missing::UnknownNode(9));
    assert_eq!(missing(&request(Demand::default()), &[]), Missing::NotHosted);
}

#[test]
fn a_place_that_names_a_node_leaves_no_other() {
    let kinds = kinds();
    let view = [1, 2, 3].map(|n| node(n, cores(1_000), &kinds));
    let on_two = Request { place: Where::On(2), ..request(Demand::default()) };
    let found: Vec<u32> = filter(&on_two, &view).unwrap().iter().map(|c| c.node).collect();
    assert_eq!(found, [2]);
}

#[test]
fn a_kind_that_nobody_hosts_is_named() {
    let other = ["sorter".to_owned()];
    let no_capacity =
        filter(&request(Demand::cpu(0.5)), &[node(1, cores(1_000), &other)]).unwrap_err();
    assert_eq!((&no_capacity.missing, &no_capacity.best_offer), (&Missing::NotHosted, &None));
    assert_eq!(
        no_capacity.to_string(),
        "no capacity for `worker` (500 of cpu (thousandths of a core), 1 of places for actors): \
         no node hosts the kind: register it on a node that may take it"
    );
}

#[test]
fn forbidden_labels_are_named_when_every_host_carries_one() {
    let (kinds, labels) = (kinds(), ["source".to_owned(), "zone-a".to_owned()]);
    let mut view = [node(1, cores(1_000), &kinds), node(2, cores(1_000), &kinds)];
    let demand = Demand::cpu(0.1).without_label("source");
    view[0].labels = &labels;
    assert_eq!(filter(&request(demand.clone()), &view).unwrap().len(), 1);
    view[1].labels = &labels[..1];
    let found = filter(&request(demand), &view).unwrap_err();
    assert_eq!(found.missing, Missing::Forbidden(vec!["source".to_owned()]));
    assert!(found.best_offer.is_some());
}

#[test]
fn a_demand_that_no_empty_node_holds_names_the_node_that_comes_closest() {
    let kinds = kinds();
    let view = [500, 3_000, 1_000].map(|milli| node(milli, cores(milli), &kinds));
    let found = filter(&request(Demand::cpu(4.0)), &view).unwrap_err();
    let shortage = Shortage { dimension: Dimension::Cpu, needed: 4_000, available: 3_000 };
    assert_eq!(found.missing, Missing::TooSmall { node: 3_000, shortage });
    let total = cores(3_000);
    assert_eq!(found.best_offer, Some(Offer { node: 3_000, free: total.clone(), total }));
    let gpu = Demand { gpu_milli: 500, vram_bytes: 1, ..Demand::default() };
    let Missing::TooSmall { shortage, .. } = missing(&request(gpu), &view) else { panic!() };
    assert_eq!(shortage.dimension, Dimension::Gpu);
}

#[test]
fn a_node_that_is_full_closed_or_old_is_still_feasible() {
    let kinds = kinds();
    let mut view = [1, 2, 3].map(|n| node(n, cores(1_000), &kinds));
    view[0].free = Capacity::default();
    view[1].closed = true;
    view[2].age = std::time::Duration::from_secs(3_600);
    assert_eq!(filter(&request(Demand::cpu(1.0)), &view).unwrap().len(), 3);
}

#[test]
fn a_target_checks_itself_by_the_same_rule() {
    let labels = ["source".to_owned()];
    let demand = Demand::default().without_label("source");
    assert_eq!(check("worker", &demand, &kinds(), &[]), Ok(()));
    assert_eq!(
        check("worker", &demand, &kinds(), &labels),
        Err(Unfit::Forbidden("source".to_owned()))
    );
    assert_eq!(check("sorter", &demand, &kinds(), &[]), Err(Unfit::NotHosted("sorter".to_owned())));
}

#[test]
fn here_is_the_node_that_asks() {
    let here = NodeId { key: PeerKey([1; 32]), boot: 1 };
    let there = NodeId { boot: 2, ..here };
    assert_eq!(Where::new(Place::Here, here), Where::On(here));
    assert_eq!(Where::new(Place::Anywhere, here), Where::Anywhere);
    assert_eq!(Where::new(Place::On(there), here), Where::On(there));
}
