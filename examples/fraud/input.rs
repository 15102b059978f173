//! The stream of events: one base of ratings, replayed any number of times without copies.
//!
//! - I-1: event `i` of a stream is always the same event, so that it can be asked for again.
//! - I-2: times never go back, also from one replay to the next.
//! - I-3: replays share no trader.
//! - I-4: a stream has at least one event and at most `EVENTS_MAX`.

use std::{fmt, io, path::PathBuf};

use crate::{csv_file, event::Event, generator};

/// The most events in a stream, all replays together (the exact AUC keeps 16 bytes for each).
pub const EVENTS_MAX: u64 = 100_000_000;

/// Seconds between the last event of a replay and the first of the next, at least.
const PAUSE_S: f64 = 1.0;
/// The same as a share of the replay: above what rounding can move times in `EVENTS_MAX` replays.
const PAUSE_SHARE: f64 = 1e-6;

/// Why there is no stream; the message says where and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file cannot be opened or read on.
    #[error("cannot read {}: {cause}; expected a readable csv file", file.display())]
    Unreadable {
        /// The file, as it was named.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: expected {expected}, found {found}", file.display())]
    Malformed {
        /// The file, as it was named.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the line should have had.
        expected: &'static str,
        /// What it has, quoted and cut short.
        found: String,
    },
    /// The replays would not fit a stream.
    #[error(
        "{events} events repeated {repeat} times are too many; expected at most {EVENTS_MAX} in \
         all, and trader ids below 2^64"
    )]
    TooMany {
        /// Events in one replay.
        events: usize,
        /// Replays asked for.
        repeat: u64,
    },
}

/// A stream of events; see the module.
#[derive(Clone)]
pub struct Input {
    base: Vec<Event>,
    repeat: u64,
    /// Events in all replays, the last of which may be cut short.
    events: u64,
    /// What one replay adds to a trader id.
    stride: u64,
    /// What one replay adds to a time.
    span_s: f64,
    name: String,
}

impl Input {
    /// The ratings of a csv file, replayed `repeat` times.
    pub fn from_csv(file: &std::path::Path, repeat: u64) -> Result<Self, InputError> {
        Self::repeated(csv_file::read(file)?, repeat, file.display().to_string())
    }

    /// `events` generated ratings, replayed `repeat` times.
    pub fn generated(seed: u64, events: u64, repeat: u64) -> Result<Self, InputError> {
        let base = generator::generate(seed, events);
        Self::repeated(base, repeat, format!("generator(seed={seed})"))
    }

    /// `base` must not be empty, and in time order.
    fn repeated(base: Vec<Event>, repeat: u64, name: String) -> Result<Self, InputError> {
        let too_many = || InputError::TooMany { events: base.len(), repeat };
        let events = (base.len() as u64).checked_mul(repeat).ok_or_else(too_many)?;
        let id_max = base.iter().map(|event| event.source.max(event.target)).max().unwrap_or(0);
        // The largest id of the last replay is `id_max + (repeat - 1) * stride`. One replay needs
        // no stride, so that every id is allowed in it.
        let stride = if repeat > 1 { id_max.checked_add(1).ok_or_else(too_many)? } else { 0 };
        stride.checked_mul(repeat).ok_or_else(too_many)?;
        if events == 0 || events > EVENTS_MAX {
            return Err(too_many());
        }
        let replay_s = base[base.len() - 1].time_s - base[0].time_s;
        let span_s = replay_s + PAUSE_S.max(replay_s * PAUSE_SHARE);
        Ok(Self { base, repeat, events, stride, span_s, name })
    }

    /// The same ratings, replayed as often as `events` of them need.
    pub fn lasting(self, events: u64) -> Result<Self, InputError> {
        let repeat = events.div_ceil(self.base.len() as u64);
        let whole = Self::repeated(self.base, repeat, self.name)?;
        Ok(Self { events, ..whole })
    }

    /// Events in the stream.
    pub fn len(&self) -> u64 {
        self.events
    }

    /// The event at `index`; none from `len()` on.
    pub fn event(&self, index: u64) -> Option<Event> {
        let (replay, at) = (index / self.base.len() as u64, index % self.base.len() as u64);
        if index >= self.events {
            return None;
        }
        let event = self.base[at as usize];
        let shift = replay * self.stride;
        Some(Event {
            source: event.source + shift,
            target: event.target + shift,
            time_s: event.time_s + replay as f64 * self.span_s,
            ..event
        })
    }

    /// What ran: the file, or the generator and its seed; with the replays when there are several.
    pub fn name(&self) -> String {
        match self.repeat {
            1 => self.name.clone(),
            repeat => format!("{} x{repeat}", self.name),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({}, {} events)", self.name(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all(input: &Input) -> Vec<Event> {
        (0..input.len()).map_while(|index| input.event(index)).collect()
    }

    // I-1
    #[test]
    fn one_replay_is_the_base_itself_and_ends_where_it_ends() {
        let input = Input::generated(7, 500, 1).unwrap();
        assert_eq!(all(&input), generator::generate(7, 500));
        assert_eq!(input.event(500), None);
        assert_eq!(input.name(), "generator(seed=7)");
    }

    // I-2, I-3
    #[test]
    fn replays_keep_the_time_order_and_share_no_trader() {
        let input = Input::generated(7, 500, 4).unwrap();
        let events = all(&input);
        assert_eq!(events.len(), 2_000);
        assert!(events.is_sorted_by(|a, b| a.time_s <= b.time_s));
        let traders = |replay: &[Event]| -> HashSet<u64> {
            replay.iter().flat_map(|event| [event.source, event.target]).collect()
        };
        let replays: Vec<_> = events.chunks(500).map(traders).collect();
        for (at, replay) in replays.iter().enumerate() {
            assert!(replays[at + 1..].iter().all(|other| other.is_disjoint(replay)));
        }
        assert!(events.chunks(500).all(|replay| replay[17].rating == events[17].rating));
        assert_eq!(input.name(), "generator(seed=7) x4");
    }

    // I-1, I-4
    #[test]
    fn a_stream_of_some_length_is_cut_from_as_many_replays_as_it_needs() {
        let input = Input::generated(7, 500, 1).unwrap().lasting(1_200).unwrap();
        let whole = Input::generated(7, 500, 3).unwrap();
        assert_eq!((input.len(), all(&input).len()), (1_200, 1_200));
        assert_eq!(all(&input)[..], all(&whole)[..1_200]);
        assert_eq!(input.event(1_200), None);
        assert!(Input::generated(7, 500, 1).unwrap().lasting(EVENTS_MAX + 1).is_err());
        assert!(Input::generated(7, 500, 1).unwrap().lasting(0).is_err());
    }

    // I-2
    #[test]
    fn rounding_turns_no_time_back_in_the_longest_stream() {
        let at = |time_s| Event { source: 1, target: 2, rating: 1, time_s };
        let base = vec![at(0.1), at(1e12)];
        let input = Input::repeated(base, EVENTS_MAX / 2, String::new()).unwrap();
        let times: Vec<_> =
            (EVENTS_MAX - 2_001..).map_while(|i| input.event(i)).map(|e| e.time_s).collect();
        assert_eq!(times.len(), 2_001);
        assert!(times.is_sorted());
    }

    // I-4
    #[test]
    fn too_many_replays_are_refused_and_so_are_ids_they_would_overflow() {
        let base = |id| vec![Event { source: id, target: 1, rating: 1, time_s: 0.0 }];
        let stream = |id, repeat| Input::repeated(base(id), repeat, String::new());
        assert!(stream(u64::MAX, 1).is_ok());
        assert!(stream(5, EVENTS_MAX).is_ok());
        for refused in [stream(u64::MAX, 2), stream(1 << 63, 3), stream(5, EVENTS_MAX + 1)] {
            assert!(matches!(refused, Err(InputError::TooMany { .. })));
        }
        assert!(stream(5, u64::MAX).is_err());
        assert!(Input::repeated(Vec::new(), 1, String::new()).is_err());
    }
}
