//! The queue against a `VecDeque`, one thread, random operations.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::mailbox::{Pop, PushError, Pushed, Queue};

#[derive(Clone, Debug)]
enum Op {
    Push { extra: usize },
    Pop { times: usize },
    Sleep,
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        60 => prop_oneof![3 => Just(0), 1 => 1..4_usize].prop_map(|extra| Op::Push { extra }),
        30 => (1..8_usize).prop_map(|times| Op::Pop { times }),
        10 => Just(Op::Sleep),
        1 => Just(Op::Close),
    ]
}

/// Runs the operations on both; `padded` sizes the value, and with it the block. The capacity is
/// below 128, so that room is exact.
fn same_as_the_model<const WORDS: usize>(capacity: usize, ops: &[Op]) -> Result<(), TestCaseError> {
    let queue = Queue::<[usize; WORDS]>::bounded(capacity);
    let mut consumer = queue.consumer().unwrap();
    let mut model = VecDeque::new();
    let (mut asleep, mut closed) = (true, false);
    for (step, op) in ops.iter().enumerate() {
        match *op {
            Op::Push { extra } => {
                let expected = match () {
                    () if closed => Err(PushError::Closed([step; WORDS])),
                    () if model.len() >= capacity + extra => Err(PushError::Full([step; WORDS])),
                    () if asleep => Ok(Pushed::WakeConsumer),
                    () => Ok(Pushed::Awake),
                };
                if expected.is_ok() {
                    model.push_back([step; WORDS]);
                    asleep = false;
                }
                prop_assert_eq!(queue.push_beyond([step; WORDS], extra), expected);
            }
            Op::Pop { times } => {
                for _ in 0..times {
                    let expected = model.pop_front().map_or(Pop::Empty, Pop::Value);
                    prop_assert_eq!(consumer.pop(), expected);
                }
            }
            Op::Sleep => {
                asleep = model.is_empty() && !closed;
                prop_assert_eq!(consumer.sleep(), asleep);
                prop_assert!(!asleep || queue.owns_no_block());
            }
            Op::Close => {
                let slept = if asleep { Pushed::WakeConsumer } else { Pushed::Awake };
                prop_assert_eq!(queue.close(), slept);
                (asleep, closed) = (false, true);
            }
        }
        prop_assert_eq!(queue.len(), model.len());
        prop_assert_eq!(queue.is_closed(), closed);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// M-1, M-3, M-5, M-6, M-8 with blocks of 32 slots, 4 and 1.
    #[test]
    fn the_queue_behaves_like_a_bounded_deque(
        capacity in prop_oneof![1..5_usize, 60..127_usize],
        ops in prop::collection::vec(op(), 0..300),
    ) {
        same_as_the_model::<1>(capacity, &ops)?;
        same_as_the_model::<30>(capacity, &ops)?;
        same_as_the_model::<300>(capacity, &ops)?;
    }
}
