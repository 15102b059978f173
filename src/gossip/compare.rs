//! Comparing tables: what rumors missed, and all a newcomer has to learn.
//!
//! One side sends a sum for each bucket of places. The other answers with its claims in the
//! buckets whose sums differ, as many as fit into one frame, and gets back what it lacks in those.
//! While there is more the first side asks again: a newcomer learns the table at its own pace.
//! Equal tables cost the sums only. What is learnt so is not passed on as a rumor: the others
//! compare too.

use super::member::State;
use super::membership::Membership;
use super::message::{Body, CLAIMS_MAX, Claim, FRAME_BYTES_MAX, Frame, What};
use super::table::BUCKETS;
use super::{Output, Peer};
use crate::machine::Time;

/// An answer takes no further bucket once it has so many bytes or claims. Half of what a frame
/// holds: the last bucket has to fit as well.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;
const ANSWER_CLAIMS_MAX: usize = CLAIMS_MAX / 2;

impl<P: Peer> Membership<P> {
    /// Compares with one heard neighbour of each side.
    pub(super) fn compare(&mut self, out: &mut Vec<Output<P>>) {
        let near = self.sample_near(1);
        let far = self.sample_far(1);
        for to in near.into_iter().chain(far) {
            self.send_sums(to, out);
        }
    }

    pub(super) fn send_sums(&self, to: P, out: &mut Vec<Output<P>>) {
        let body = Body::<P>::Sums(self.table.sums().to_vec());
        out.push(Output::Send { to, bytes: Frame { claims: Vec::new(), body }.encode() });
    }

    /// Answers sums with the claims in the buckets that differ.
    pub(super) fn answer_sums(&self, to: P, theirs: &[u32], out: &mut Vec<Output<P>>) {
        let mut claims = Vec::new();
        let (mut buckets, mut bytes, mut more) = (0u64, 0, false);
        let differ = (0..BUCKETS).filter(|&at| theirs.get(at) != self.table.sums().get(at));
        for bucket in differ {
            if bytes > ANSWER_BYTES_MAX || claims.len() > ANSWER_CLAIMS_MAX {
                more = true;
                break;
            }
            buckets |= 1 << bucket;
            for &key in self.table.bucket(bucket) {
                let about = self.claims_about(key);
                bytes += about.iter().map(Claim::size).sum::<usize>();
                claims.extend(about);
            }
        }
        let body = Body::Compared { buckets, more, answer: buckets != 0 };
        out.push(Output::Send { to, bytes: Frame { claims, body }.encode() });
    }

    /// What this node knows better than `theirs`, in those buckets. Read before they are applied.
    pub(super) fn better_than(&self, theirs: &[Claim<P>], buckets: u64) -> Vec<Claim<P>> {
        let mut told: Vec<_> =
            theirs.iter().filter_map(|c| Some((c.key, c.boot, rank(c)?))).collect();
        told.sort_unstable_by_key(|(key, ..)| *key);
        let mut better = Vec::new();
        let mut bytes = 0;
        for bucket in (0..BUCKETS).filter(|bucket| buckets & (1 << bucket) != 0) {
            for &key in self.table.bucket(bucket) {
                let Some(member) = self.table.get(key) else { continue };
                let known = told.binary_search_by_key(&key, |(key, ..)| *key);
                let known = known.ok().and_then(|at| told.get(at));
                let mine = (member.boot(), standing(member.state, self.table.address(member)));
                if known.is_some_and(|&(_, boot, rank)| mine <= (boot, rank)) {
                    continue;
                }
                let about = self.claims_about(key);
                bytes += about.iter().map(Claim::size).sum::<usize>();
                if bytes > ANSWER_BYTES_MAX || better.len() > ANSWER_CLAIMS_MAX {
                    return better;
                }
                better.extend(about);
            }
        }
        better
    }

    /// The claims of an answer were applied: what comes next.
    pub(super) fn compared(
        &mut self,
        now: Time,
        from: P,
        better: Vec<Claim<P>>,
        more: bool,
        out: &mut Vec<Output<P>>,
    ) {
        if !better.is_empty() {
            let body = Body::Compared { buckets: 0, more: false, answer: false };
            out.push(Output::Send { to: from, bytes: Frame { claims: better, body }.encode() });
        }
        if more {
            self.send_sums(from, out);
        } else if !self.complete {
            self.complete = true;
            self.dial_neighbours(now, out);
        }
    }
}

/// What outranks what about one life.
fn standing(state: State, address: &str) -> u8 {
    match state {
        State::Left => 3,
        State::Dead => 2,
        _ => u8::from(!address.is_empty()),
    }
}

fn rank<P>(claim: &Claim<P>) -> Option<u8> {
    match &claim.what {
        What::Alive { address, .. } => Some(standing(State::Alive, address)),
        What::Dead => Some(standing(State::Dead, "")),
        What::Left => Some(standing(State::Left, "")),
        What::Suspect { .. } => None,
    }
}
