//! Reads ratings from a csv file with the header `source,target,rating,time`.
//!
//! - C-1: every refusal names the file, and the line and what was expected there.
//! - C-2: what is read into memory is bounded by `EVENTS_MAX` rows and `LINE_BYTES_MAX` a line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    str::FromStr,
};

use crate::{
    event::Event,
    input::{EVENTS_MAX, InputError},
};

const HEADER: [&str; 4] = ["source", "target", "rating", "time"];
const LINE_BYTES_MAX: usize = 4_096;
/// About the year 33,658: times above are a mistake, and sums of them would lose their fractions.
const TIME_MAX_S: f64 = 1e12;
const RATINGS: std::ops::RangeInclusive<i8> = -10..=10;

const A_HEADER: &str = "the header `source,target,rating,time`";
const FIELDS: &str = "4 fields `source,target,rating,time`";
const AN_ID: &str = "a trader id from 0 to 18446744073709551615";
const A_RATING: &str = "a whole rating from -10 to 10";
const A_TIME: &str = "a finite time from 0 to 1e12 seconds since the Unix epoch";
const IN_ORDER: &str = "a time not before that of the rating above";

/// All the ratings of `file`, at least one, in time order. Blank lines, spaces around a field and
/// quotes around a whole field are allowed.
pub fn read(file: &Path) -> Result<Vec<Event>, InputError> {
    let unreadable = |cause| InputError::Unreadable { file: file.to_path_buf(), cause };
    parse(file, BufReader::new(File::open(file).map_err(unreadable)?))
}

fn parse(file: &Path, bytes: impl BufRead) -> Result<Vec<Event>, InputError> {
    let mut lines = Lines { bytes, line: 0, text: Vec::new() };
    let unreadable = |cause| InputError::Unreadable { file: file.to_path_buf(), cause };
    let malformed = |line, (expected, found)| {
        let file = file.to_path_buf();
        InputError::Malformed { file, line, expected, found }
    };
    if !lines.next().map_err(unreadable)? {
        return Err(malformed(1, (A_HEADER, "an empty file".into())));
    }
    header(&lines.text).map_err(|wrong| malformed(lines.line, wrong))?;
    let mut events = Vec::new();
    while lines.next().map_err(unreadable)? {
        let event = next(&events, &lines.text).map_err(|wrong| malformed(lines.line, wrong))?;
        events.push(event);
    }
    if events.is_empty() {
        return Err(malformed(lines.line + 1, ("at least one rating", "the end".into())));
    }
    Ok(events)
}

/// The lines that are not blank, one at a time.
struct Lines<R> {
    bytes: R,
    /// The number of the line in `text`, from 1.
    line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line into `text`; false at the end of the file.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            self.text.clear();
            // One byte more than a line may have, so that a longer one is seen.
            let mut bounded = self.bytes.by_ref().take(LINE_BYTES_MAX as u64 + 1);
            if bounded.read_until(b'\n', &mut self.text)? == 0 {
                return Ok(false);
            }
            self.line += 1;
            if self.text.len() > LINE_BYTES_MAX {
                let refusal = format!("line {} is longer than {LINE_BYTES_MAX} bytes", self.line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, refusal));
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

type Wrong = (&'static str, String);

fn header(line: &[u8]) -> Result<(), Wrong> {
    // Some programs start a file with a byte order mark.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let ours = fields(line).eq(HEADER.iter().map(|name| name.as_bytes()));
    if ours { Ok(()) } else { Err((A_HEADER, quoted(line))) }
}

/// The event of `line`, which follows `events`.
fn next(events: &[Event], line: &[u8]) -> Result<Event, Wrong> {
    if events.len() as u64 == EVENTS_MAX {
        return Err(("the end, after as many ratings as a stream may have", quoted(line)));
    }
    let event = row(line)?;
    match events.last() {
        Some(above) if above.time_s > event.time_s => Err((IN_ORDER, event.time_s.to_string())),
        _ => Ok(event),
    }
}

fn row(line: &[u8]) -> Result<Event, Wrong> {
    let mut row = fields(line);
    let all = (row.next(), row.next(), row.next(), row.next(), row.next());
    let (Some(source), Some(target), Some(rating), Some(time), None) = all else {
        return Err((FIELDS, quoted(line)));
    };
    Ok(Event {
        source: field(source, AN_ID, |_| true)?,
        target: field(target, AN_ID, |_| true)?,
        rating: field(rating, A_RATING, |rating| RATINGS.contains(rating))?,
        time_s: field(time, A_TIME, |time_s| (0.0..=TIME_MAX_S).contains(time_s))?,
    })
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(|field| {
        let field = field.trim_ascii();
        field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(field)
    })
}

fn field<T: FromStr>(
    bytes: &[u8],
    expected: &'static str,
    fits: impl Fn(&T) -> bool,
) -> Result<T, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| ("text in UTF-8", quoted(bytes)))?;
    text.parse().ok().filter(|value| fits(value)).ok_or_else(|| (expected, quoted(bytes)))
}

/// What an error shows of the file: escaped, and no more than 40 bytes of it.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 40;
    match bytes.trim_ascii() {
        [] => "nothing".into(),
        bytes if bytes.len() <= SHOWN_BYTES => format!("`{}`", bytes.escape_ascii()),
        bytes => format!("`{}...`", bytes[..SHOWN_BYTES].escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: impl AsRef<[u8]>) -> Result<Vec<Event>, InputError> {
        parse(Path::new("in.csv"), text.as_ref())
    }

    fn refusal(text: impl AsRef<[u8]>) -> String {
        parsed(text).unwrap_err().to_string()
    }

    fn refused_row(row: &str) -> String {
        refusal(format!("source,target,rating,time\n1,2,3,4\n{row}\n"))
    }

    #[test]
    fn rows_become_events_also_with_spaces_quotes_a_mark_and_either_line_end() {
        let events =
            parsed("\u{feff}source,target,rating,time\r\n6, 2,\"4\" ,10.5\r\n2,6,-10,10.5")
                .unwrap();
        let first = Event { source: 6, target: 2, rating: 4, time_s: 10.5 };
        assert_eq!(events, [first, Event { source: 2, target: 6, rating: -10, time_s: 10.5 }]);
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        for path in ["no-such-file.csv", "."] {
            let said = read(Path::new(path)).unwrap_err().to_string();
            assert!(said.starts_with(&format!("cannot read {path}: ")), "{said}");
        }
    }

    // C-1
    #[test]
    fn an_empty_file_a_wrong_header_and_no_rows_are_refused() {
        let header = "expected the header `source,target,rating,time`, found ";
        assert_eq!(refusal(""), format!("in.csv:1: {header}an empty file"));
        assert_eq!(refusal("a,b\n1,2\n"), format!("in.csv:1: {header}`a,b`"));
        assert_eq!(
            refusal("source,target,rating,time\n"),
            "in.csv:2: expected at least one rating, found the end"
        );
    }

    // C-1
    #[test]
    fn a_wrong_field_is_refused_with_its_line_and_what_was_expected() {
        for (row, expected, found) in [
            ("x,2,3,5", AN_ID, "`x`"),
            ("-1,2,3,5", AN_ID, "`-1`"),
            ("1,18446744073709551616,3,5", AN_ID, "`18446744073709551616`"),
            ("1,,3,5", AN_ID, "nothing"),
            ("1,2,11,5", A_RATING, "`11`"),
            ("1,2,-11,5", A_RATING, "`-11`"),
            ("1,2,300,5", A_RATING, "`300`"),
            ("1,2,1.5,5", A_RATING, "`1.5`"),
            ("1,2,3,NaN", A_TIME, "`NaN`"),
            ("1,2,3,inf", A_TIME, "`inf`"),
            ("1,2,3,1e400", A_TIME, "`1e400`"),
            ("1,2,3,-5", A_TIME, "`-5`"),
            ("1,2,3,soon", A_TIME, "`soon`"),
            ("1,2,3,", A_TIME, "nothing"),
            ("1,2,3", FIELDS, "`1,2,3`"),
            ("1,2,3,5,6", FIELDS, "`1,2,3,5,6`"),
            ("1,2,3,3.9", IN_ORDER, "3.9"),
        ] {
            let said = format!("in.csv:3: expected {expected}, found {found}");
            assert_eq!(refused_row(row), said, "for {row}");
        }
    }

    // C-1
    #[test]
    fn the_line_is_right_after_blank_lines_and_windows_line_ends() {
        let text = "source,target,rating,time\r\n\r\n1,2,3,4\r\n\r\n\r\n1,2,3,x\r\n";
        assert!(refusal(text).starts_with("in.csv:6: "), "{}", refusal(text));
        let text = text.replace('\r', "");
        assert!(refusal(&text).starts_with("in.csv:6: "), "{}", refusal(&text));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_and_shown_escaped() {
        let said = refusal(b"source,target,rating,time\n1,\xff,3,4\n");
        assert_eq!(said, "in.csv:2: expected text in UTF-8, found `\\xff`");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parsed(&tail);
            let _ = parsed([b"source,target,rating,time\n1,2,3,".to_vec(), tail].concat());
        }
    }

    // C-2
    #[test]
    fn a_line_without_an_end_is_refused_and_a_shown_one_cut_short() {
        let said = refusal([b"source,target,rating,time\n".to_vec(), vec![b'1'; 1 << 20]].concat());
        assert!(said.contains("line 2 is longer than 4096 bytes"), "{said}");
        assert!(refused_row(&"9".repeat(4_000)).len() < 200);
    }
}
