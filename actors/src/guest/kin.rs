//! The actors that a guest has spawned in ractor, and those they have spawned.

use std::collections::HashSet;

use ractor::ActorCell;

/// All that would be killed with `root`.
pub(super) fn descendants(root: &ActorCell) -> Vec<ActorCell> {
    let mut known = HashSet::from([root.get_id()]);
    let mut found = Vec::new();
    let mut unseen = root.get_children();
    while let Some(actor) = unseen.pop() {
        if known.insert(actor.get_id()) {
            unseen.extend(actor.get_children());
            found.push(actor);
        }
    }
    found
}

/// Kills them and waits until they are gone.
pub(super) async fn end(root: &ActorCell) {
    let family = descendants(root);
    family.iter().for_each(ActorCell::kill);
    gone(family).await;
}

pub(super) async fn gone(family: Vec<ActorCell>) {
    for actor in family {
        // Without a timeout there is no error.
        let _ = actor.wait(None).await;
    }
}
