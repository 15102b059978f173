//! Placement with production choosers and ledgers: waits, books that balance, gangs that end.

use std::time::Duration;

use mobula::sim::{GangLoad, Load};

use crate::support::{first_seed, seconds, with_seed};

/// The wait of the best policy of the model that the bar is from: 100 nodes of eight places, a load
/// of 85 %, tasks of 1 s, a view of 1 s.
const BEST: Duration = Duration::from_micros(9_400);

fn load(nodes: u32) -> Load {
    Load {
        nodes,
        share: 0.85,
        task: seconds(1),
        view_age: seconds(1),
        lasts: seconds(15),
        faults: 0.0,
    }
}

/// P-1, P-4: with a view that says little, the wait stays within twice the model's, and no device has
/// more on it than there is of it.
#[test]
fn at_85_percent_load_tasks_wait_little_and_nothing_is_oversubscribed() {
    with_seed("at_85_percent_load", first_seed(), |seed| {
        let waits = load(100).run(seed);
        assert!(waits.tasks > 5_000, "{waits:?}");
        assert_eq!((waits.failed, waits.oversubscribed), (0, 0), "{waits:?}");
        assert!(waits.mean <= 2 * BEST, "{waits:?}");
    });
}

/// P-1 to P-3: questions that come twice and answers that are lost cost time, but no room.
#[test]
fn repeated_questions_and_lost_answers_leave_the_books_right() {
    for seed in first_seed()..first_seed() + 20 {
        with_seed("repeated_questions", seed, |seed| {
            let load = Load { share: 0.5, faults: 0.02, lasts: seconds(12), ..load(10) };
            let waits = load.run(seed);
            assert_eq!((waits.oversubscribed, &waits.broken), (0, &None), "{waits:?}");
            assert!(waits.failed * 100 <= waits.tasks, "{waits:?}");
        });
    }
}

/// P-7.
#[test]
fn the_same_seed_places_everything_the_same_way() {
    let load = Load { lasts: seconds(7), ..load(20) };
    assert_eq!(load.run(1), load.run(1));
    assert_ne!(load.run(1).trace, load.run(2).trace);
}

/// P-8, P-9: gangs that begin at the same moment on few nodes all end, and leave nothing behind.
#[test]
fn gangs_that_get_in_each_others_way_all_end_and_leave_nothing_behind() {
    with_seed("gangs_that_get", first_seed(), |seed| {
        let load = gangs();
        let waits = load.run(seed);
        assert_eq!((waits.stuck, waits.left, waits.oversubscribed), (0, 0, 0), "{waits:?}");
        assert_eq!((&waits.broken, waits.abandoned), (&None, 0), "{waits:?}");
        assert!(waits.failed * 100 <= load.gangs, "{waits:?}");
        assert!(waits.given_up > 0.1, "they do not get in each other's way: {waits:?}");
    });
}

/// P-8: neither a gang whose node dies while it places it nor a lost answer holds room for longer
/// than a reservation lasts.
#[test]
fn abandoned_gangs_and_lost_answers_hold_nothing_in_the_end() {
    for seed in first_seed()..first_seed() + 5 {
        with_seed("abandoned_gangs", seed, |seed| {
            let waits = GangLoad { faults: 0.01, gangs: 200, ..gangs() }.run(seed);
            assert_eq!((waits.stuck, waits.left, waits.oversubscribed), (0, 0, 0), "{waits:?}");
            assert_eq!(waits.broken, None, "{waits:?}");
            assert!(waits.placed > 100, "{waits:?}");
        });
    }
}

fn gangs() -> GangLoad {
    GangLoad {
        nodes: 80,
        gangs: 400,
        share: 0.6,
        runs: seconds(1),
        view_age: seconds(1),
        placed_within: seconds(30),
        faults: 0.0,
    }
}
