//! Sections: who keeps a connection to whom, and who speaks for whom.
//!
//! A section is a range of places with at most `section_members_max` living members, found by
//! halving the range of all places until they are few enough. It follows from the table alone:
//! nodes with the same table agree without a word, and a join or a death moves only the sections
//! at its place. The first living members of a section are its *speakers*. A node has
//! as *neighbours* the members of its section and, when it is a speaker, all other speakers.
//!
//! Invariants:
//! - **GS-1** Equal tables give equal sections; each living member is in exactly one.
//! - **GS-2** Only neighbours probe each other, ask about each other and carry each other's news.
//! - **GS-3** A verdict reaches every section; a suspicion stays among the neighbours of the
//!   suspected, since only they can confirm it.

use super::Peer;
use super::table::{Part, Table};

/// So many members speak for a section.
pub const SPEAKERS: usize = 3;

/// Whom one node keeps a connection to.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours<P> {
    /// The others of the section, in the order of places.
    near: Vec<P>,
    /// Which life of each, in the same order.
    boots: Vec<u64>,
    /// The speakers of the other sections, when this node is one; in the order of places.
    far: Vec<P>,
    /// Who speaks for this section, perhaps this node.
    speakers: Vec<P>,
    /// The version of the table that all this follows from.
    version: u64,
    near_version: u64,
}

impl<P: Peer> Neighbours<P> {
    pub(super) fn new() -> Self {
        Self {
            near: Vec::new(),
            boots: Vec::new(),
            far: Vec::new(),
            speakers: Vec::new(),
            version: 0,
            near_version: 0,
        }
    }

    pub(super) fn near(&self) -> &[P] {
        &self.near
    }

    pub(super) fn far(&self) -> &[P] {
        &self.far
    }

    pub(super) fn speakers(&self) -> &[P] {
        &self.speakers
    }

    /// The lives of the others of the section.
    pub(super) fn near_lives(&self) -> impl Iterator<Item = (P, u64)> {
        self.near.iter().copied().zip(self.boots.iter().copied())
    }

    /// Another number whenever [`near_lives`](Self::near_lives) are others than before.
    pub(super) fn near_version(&self) -> u64 {
        self.near_version
    }

    pub(super) fn is_near(&self, key: P) -> bool {
        holds(&self.near, key)
    }

    pub(super) fn is_far(&self, key: P) -> bool {
        holds(&self.far, key)
    }

    pub(super) fn contains(&self, key: P) -> bool {
        self.is_near(key) || self.is_far(key)
    }

    /// Follows the table; the neighbours that are new, when there are any.
    pub(super) fn follow(&mut self, me: P, table: &Table<P>, members_max: usize) -> Vec<P> {
        if self.version == table.version() {
            return Vec::new();
        }
        self.version = table.version();
        let section = section_of(table, me, members_max);
        let lives = table.lives_in(&section);
        let (near, boots): (Vec<P>, Vec<u64>) = lives.filter(|(key, _)| *key != me).unzip();
        let speakers: Vec<P> = speakers_of(table, &section).collect();
        let far = if speakers.contains(&me) && !section.is_whole() {
            let others = sections(table, members_max).into_iter().filter(|other| *other != section);
            others.flat_map(|other| speakers_of(table, &other).collect::<Vec<_>>()).collect()
        } else {
            Vec::new()
        };
        if (&near, &boots, &far) == (&self.near, &self.boots, &self.far) {
            self.speakers = speakers;
            return Vec::new();
        }
        let new = near.iter().chain(&far).copied().filter(|key| !self.contains(*key)).collect();
        self.near_version += u64::from((&near, &boots) != (&self.near, &self.boots));
        (self.near, self.boots, self.far, self.speakers) = (near, boots, far, speakers);
        new
    }
}

fn holds<P: Peer>(sorted: &[P], key: P) -> bool {
    let place = (key.place(), key);
    sorted.binary_search_by(|other| (other.place(), *other).cmp(&place)).is_ok()
}

/// The part of the table that is the section of `key`.
fn section_of<P: Peer>(table: &Table<P>, key: P, members_max: usize) -> Part {
    let mut part = table.whole();
    while !part.is_place() && table.living_in(&part) > members_max {
        let upper = key.place() & part.next_bit() != 0;
        let [lower_half, upper_half] = table.halves(&part);
        part = if upper { upper_half } else { lower_half };
    }
    part
}

fn speakers_of<'a, P: Peer>(
    table: &'a Table<P>,
    section: &Part,
) -> impl Iterator<Item = P> + use<'a, P> {
    table.lives_in(section).map(|(key, _)| key).take(SPEAKERS)
}

/// All sections, in the order of places; some may have nobody alive.
pub(super) fn sections<P: Peer>(table: &Table<P>, members_max: usize) -> Vec<Part> {
    let mut open = vec![table.whole()];
    let mut found = Vec::new();
    while let Some(part) = open.pop() {
        if part.is_place() || table.living_in(&part) <= members_max {
            found.push(part);
        } else {
            let [lower, upper] = table.halves(&part);
            open.extend([upper, lower]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::member::State;
    use super::*;

    fn table(keys: impl Iterator<Item = u32>) -> Table<u32> {
        let mut table = Table::new();
        keys.for_each(|key| table.put(key, 1, 0, State::Alive, ""));
        table
    }

    // GS-1
    #[test]
    fn every_member_is_in_one_section_and_its_neighbours_count_it_as_theirs() {
        let table = table(0..1_000);
        let sections = sections(&table, 128);
        let lengths: Vec<usize> =
            sections.iter().map(|section| table.lives_in(section).count()).collect();
        assert!(lengths.iter().all(|length| *length <= 128));
        assert_eq!(lengths.iter().sum::<usize>(), 1_000);
        let neighbours = |key: u32| {
            let mut neighbours = Neighbours::new();
            neighbours.follow(key, &table, 128);
            neighbours
        };
        let all: Vec<_> = (0..1_000).map(neighbours).collect();
        for (key, own) in all.iter().enumerate() {
            let back = |other: &u32| all[*other as usize].contains(key as u32);
            assert!(own.near().iter().chain(own.far()).all(back), "{key}");
        }
        let speakers = all.iter().filter(|own| !own.far().is_empty()).count();
        assert_eq!(speakers, SPEAKERS * sections.len());
    }

    // GS-1
    #[test]
    fn a_death_moves_only_the_section_of_the_dead() {
        let mut table = table(0..1_000);
        let mut one = Neighbours::new();
        one.follow(1, &table, 128);
        let far_away = (0..1_000).find(|key| *key != 1 && !one.contains(*key)).unwrap();
        let before = one.near().to_vec();
        table.change(far_away, |member| member.state = State::Dead);
        one.follow(1, &table, 128);
        assert_eq!(one.near(), before);
        let beside = before[5];
        table.change(beside, |member| member.state = State::Dead);
        one.follow(1, &table, 128);
        assert!(!one.is_near(beside));
    }

    #[test]
    fn a_small_cluster_is_one_section_without_far_neighbours() {
        let mut own = Neighbours::new();
        assert_eq!(own.follow(0, &table(0..128), 128).len(), 127);
        assert_eq!((own.far().len(), own.speakers().len()), (0, SPEAKERS));
    }
}
