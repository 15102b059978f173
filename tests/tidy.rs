//! What a repository promises about itself: directions, sizes, limits, citations.
//!
//! It reads the sources as text. Where a rule has an exception, the exception stands here with its
//! reason.

#[path = "tidy/values.rs"]
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mobula::actors::limits as actors;
use mobula::gossip::{self, Config};
use mobula::net::Limits;
use mobula::node::limits as node;
use mobula::placement;
use mobula::supervision::limits as supervision;
use values::{bytes, count, time};

/// Rooms of `src/`, and the rooms that each may name.
const ALLOWED: [(&str, &[&str]); 8] = [
    // The command uses the library as everybody does.
    ("bin", &[]),
    ("machine", &[]),
    ("gossip", &["machine"]),
    ("placement", &["machine"]),
    ("net", &[]),
    ("sim", &["gossip", "placement", "machine"]),
    ("fuzz", &["gossip", "net", "node"]),
    ("node", &["gossip", "placement", "net", "machine"]),
];

/// Words that code of a room must not contain.
const FORBIDDEN: [(&str, &[&str]); 10] = [
    ("src/gossip", &["tokio", "libp2p", "mobula_supervision", "Instant", "SystemTime", "HashMap"]),
    ("src/placement", &["tokio", "libp2p", "mobula_supervision", "Instant", "SystemTime"]),
    ("src/machine.rs", &["tokio", "libp2p", "Instant", "SystemTime"]),
    ("src/sim", &["tokio", "libp2p", "Instant", "SystemTime", "HashMap"]),
    ("src/net", &["mobula_supervision"]),
    ("src/node", &["libp2p"]),
    ("actors/src", &["libp2p", "mobula_supervision", "mobula"]),
    ("supervision/src", &["libp2p", "mobula"]),
    ("supervision/src/strategy", &["tokio", "Instant", "SystemTime", "HashMap"]),
    ("supervision/src/strategy.rs", &["tokio", "Instant", "SystemTime", "HashMap"]),
];

/// The folders of the repository; others may lie in a checkout.
const FOLDERS: [&str; 8] =
    [".ci", "actors", "benches", "examples", "fuzz", "src", "supervision", "tests"];

/// The most lines of a source file, its tests included.
const LINES_MAX: usize = 500;

/// Files that are longer, and why they are one file.
const LONGER: &[(&str, &str)] = &[];

/// Invariants that no test cites yet. Take the entry out with the test that cites it.
const UNCITED: &[&str] = &[
    "I-1", "I-2", "J-2", "J-3", "J-4", "LN-1", "LN-2", "LN-3", "PG-3", "SW-2", "SW-3", "V-1", "V-2",
];

/// A file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }

    /// The part that is compiled for tests only; by custom it stands last.
    fn tests(&self) -> &str {
        if self.is_test() {
            return &self.text;
        }
        self.text.find("#[cfg(test)]\nmod tests {").map_or("", |at| &self.text[at..])
    }

    /// Lines of code outside of tests, with their comments taken off.
    fn code(&self) -> impl Iterator<Item = &str> {
        let shipped = self.text.len() - self.tests().len();
        self.text[..shipped].lines().map(|line| line.split("//").next().unwrap_or_default())
    }

    fn uses(&self, word: &str) -> bool {
        self.code().any(|line| words(line).any(|found| found == word))
    }
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    for source in rust_files(&["src"]) {
        let Some(room) = room_of(&source.path) else { continue };
        let allowed = ALLOWED.iter().find(|(name, _)| *name == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{room} has no entry in ALLOWED"));
        for named in source.code().flat_map(crate_paths) {
            let fine = named == room || allowed.contains(&named);
            assert!(fine, "{}: {room} must not name {named}", source.path);
        }
    }
}

#[test]
fn rooms_keep_away_from_what_is_not_theirs() {
    for (place, words) in FORBIDDEN {
        let sources = rust_files(&[place]);
        assert!(!sources.is_empty(), "{place} is gone: correct FORBIDDEN");
        for source in sources {
            for word in words {
                assert!(!source.uses(word), "{}: {word} has no place here", source.path);
            }
        }
    }
}

#[test]
fn libp2p_is_named_in_net_only() {
    for source in rust_files(&["src", "actors/src", "supervision/src", "examples"]) {
        if !source.path.starts_with("src/net/") {
            assert!(!source.uses("libp2p"), "{} names libp2p", source.path);
        }
    }
}

#[test]
fn unsafe_code_is_in_the_mailbox_only() {
    for source in rust_files(&["src", "actors", "supervision", "examples", "tests"]) {
        let keyword = concat!("un", "safe");
        let named = source.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let found = named.flat_map(words).any(|word| word == keyword);
        let home = source.path.starts_with("actors/src/mailbox/");
        assert!(home || !found, "{} has {keyword} code", source.path);
    }
}

#[test]
fn no_file_is_too_long() {
    for source in rust_files(&["src", "actors", "supervision", "examples", "tests"]) {
        let lines = source.text.lines().count();
        let excused = LONGER.iter().any(|(path, _)| *path == source.path);
        assert!(excused || lines <= LINES_MAX, "{} has {lines} lines", source.path);
        assert!(!excused || lines > LINES_MAX, "{} needs no excuse any more", source.path);
    }
}

#[test]
fn every_invariant_has_one_home_and_a_test_that_cites_it() {
    let sources = rust_files(&["src", "actors", "supervision", "tests"]);
    let mut homes = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for number in source.text.lines().filter_map(defined) {
            let other = homes.insert(number.to_owned(), &source.path);
            assert!(other.is_none(), "{number} is in {other:?} and in {}", source.path);
        }
    }
    assert!(homes.len() > 90, "only {} invariants were found", homes.len());
    let letters: BTreeSet<(&str, &str)> =
        homes.iter().map(|(number, path)| (letters(number), path.as_str())).collect();
    // E is split between how runs end and how messages fail: two files of one subject.
    let files = |wanted: &str| letters.iter().filter(|(letters, _)| *letters == wanted).count();
    for (letters, path) in letters.iter().filter(|(letters, _)| *letters != "E") {
        assert_eq!(files(letters), 1, "{letters} of {path} is used by another room");
    }
    let citing = sources.iter().filter(|source| source.path != "tests/tidy.rs");
    let cited: BTreeSet<&str> =
        citing.flat_map(|source| words(source.tests())).filter(|word| is_number(word)).collect();
    let excused = |number: &str| UNCITED.contains(&number);
    let missing: Vec<_> = homes
        .keys()
        .filter(|number| !cited.contains(number.as_str()) && !excused(number))
        .collect();
    assert!(missing.is_empty(), "no test cites {missing:?}");
    let stale: Vec<_> = UNCITED
        .iter()
        .filter(|number| cited.contains(*number) || !homes.contains_key(**number))
        .collect();
    assert!(stale.is_empty(), "take {stale:?} out of UNCITED");
}

#[test]
fn every_invariant_that_the_architecture_names_exists() {
    let homes: BTreeSet<String> = rust_files(&["src", "actors", "supervision"])
        .iter()
        .flat_map(|source| source.text.lines().filter_map(defined).map(str::to_owned))
        .collect();
    for page in ["ARCHITECTURE.md", "README.md", "SECURITY.md"] {
        for number in words(&read(page)).filter(|word| is_number(word)) {
            assert!(homes.contains(number), "{page} names {number}");
        }
    }
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let places = ["home", "root", "work", "Users", "tmp"].map(|place| format!("/{place}/"));
    let index = "registry+https://github.com/rust-lang/crates.io-index";
    for source in everything(&|name| !name.ends_with(".lock")) {
        for place in &places {
            assert!(!source.text.contains(place), "{} names {place}", source.path);
        }
    }
    for lock in everything(&|name| name.ends_with(".lock")) {
        let sources = lock.text.lines().filter(|line| line.starts_with("source = "));
        for line in sources {
            assert_eq!(line, format!("source = {index:?}"), "{}", lock.path);
        }
    }
}

#[test]
fn the_table_of_limits_is_what_the_code_says() {
    let page = read("ARCHITECTURE.md");
    let table = page.split("## Limits and defaults").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows: BTreeMap<&str, &str> = table.lines().filter_map(row).collect();
    let code: BTreeMap<&str, String> = limits().into_iter().collect();
    for (name, value) in &code {
        assert_eq!(rows.get(name), Some(&value.as_str()), "{name}");
    }
    let unknown: Vec<_> = rows.keys().filter(|name| !code.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "the table has {unknown:?}, which this test does not know");
    let missing: Vec<_> =
        public_limits().into_iter().filter(|name| !code.contains_key(name.as_str())).collect();
    assert!(missing.is_empty(), "limits without a row: {missing:?}");
}

/// Every public limit as the table writes it.
fn limits() -> Vec<(&'static str, String)> {
    let net = Limits::default();
    let config = Config::default();
    vec![
        ("actors::MAILBOX_MESSAGES_DEFAULT", count(actors::MAILBOX_MESSAGES_DEFAULT)),
        ("actors::START_TIMEOUT_DEFAULT", time(actors::START_TIMEOUT_DEFAULT)),
        ("actors::SHUTDOWN_DEFAULT", time(actors::SHUTDOWN_DEFAULT)),
        ("actors::OWED_MESSAGES_MAX", count(actors::OWED_MESSAGES_MAX)),
        ("actors::GROUP_MEMBERS_MAX", count(actors::GROUP_MEMBERS_MAX)),
        ("actors::PORT_MESSAGES", count(actors::PORT_MESSAGES)),
        ("actors::STREAM_ITEMS", count(actors::STREAM_ITEMS)),
        ("actors::PERIOD_MIN", time(actors::PERIOD_MIN)),
        ("actors::HANDLER_LIMIT_MIN", time(actors::HANDLER_LIMIT_MIN)),
        ("actors::DEADLINE_DEFAULT", time(actors::DEADLINE_DEFAULT)),
        ("actors::DEADLINE_MAX", time(actors::DEADLINE_MAX)),
        ("actors::MESSAGES_PER_TURN", count(actors::MESSAGES_PER_TURN as usize)),
        ("actors::CHECKPOINT_MESSAGES", count(actors::CHECKPOINT_MESSAGES as usize)),
        ("actors::CHECKPOINT_INTERVAL", time(actors::CHECKPOINT_INTERVAL)),
        ("actors::CHECKPOINT_BYTES_MAX", bytes(actors::CHECKPOINT_BYTES_MAX)),
        ("actors::PAYLOADS_PER_MESSAGE_MAX", count(actors::PAYLOADS_PER_MESSAGE_MAX)),
        ("actors::REPLIES_PER_MESSAGE_MAX", count(actors::REPLIES_PER_MESSAGE_MAX)),
        ("actors::SHAPE_BYTES_MAX", bytes(actors::SHAPE_BYTES_MAX)),
        ("actors::SPANS_MAX", count(actors::SPANS_MAX)),
        ("actors::COUNTERS_MAX", count(actors::COUNTERS_MAX)),
        ("actors::LABELS_MAX", count(actors::LABELS_MAX)),
        ("actors::NAME_BYTES_MAX", bytes(actors::NAME_BYTES_MAX)),
        ("supervision::INTENSITY_DEFAULT", count(supervision::INTENSITY_DEFAULT as usize)),
        ("supervision::PERIOD_DEFAULT", time(supervision::PERIOD_DEFAULT)),
        ("supervision::INFRA_MAX", count(supervision::INFRA_MAX as usize)),
        ("supervision::INFRA_PERIOD", time(supervision::INFRA_PERIOD)),
        ("supervision::BACKOFF_MIN_DEFAULT", time(supervision::BACKOFF_MIN_DEFAULT)),
        ("supervision::BACKOFF_MAX_DEFAULT", time(supervision::BACKOFF_MAX_DEFAULT)),
        ("supervision::JITTER", supervision::JITTER.to_string()),
        ("supervision::RESET_AFTER", time(supervision::RESET_AFTER)),
        ("supervision::CHECKPOINTS_KEPT", count(supervision::CHECKPOINTS_KEPT)),
        ("supervision::KILL_GRACE", time(supervision::KILL_GRACE)),
        ("supervision::DEAD_NODES_MAX", count(supervision::DEAD_NODES_MAX)),
        ("supervision::CHILDREN_MAX", count(supervision::CHILDREN_MAX)),
        ("supervision::DYNAMIC_CHILDREN_MAX", count(supervision::DYNAMIC_CHILDREN_MAX)),
        ("supervision::RESTARTS_WARN", count(supervision::RESTARTS_WARN as usize)),
        ("node::ASKED_BURST", count(node::ASKED_BURST as usize)),
        ("node::ASKED_PER_SECOND", count(node::ASKED_PER_SECOND as usize)),
        ("node::BACKLOG_MAX", count(node::BACKLOG_MAX)),
        ("node::EPOCH_LEAP_MAX", count(node::EPOCH_LEAP_MAX as usize)),
        ("node::CALLS_MAX", count(node::CALLS_MAX)),
        ("node::CREDIT_START", count(node::CREDIT_START as usize)),
        ("node::CREDIT_WINDOW_MAX", count(node::CREDIT_WINDOW_MAX as usize)),
        ("node::CREDIT_LINES_MAX", count(node::CREDIT_LINES_MAX)),
        ("node::GROUP_JOINS_MAX", count(node::GROUP_JOINS_MAX)),
        ("node::ROUTES_MAX", count(node::ROUTES_MAX)),
        ("node::PROTOCOLS_MAX", count(node::PROTOCOLS_MAX)),
        ("node::SHAPES_BYTES_MAX", bytes(node::SHAPES_BYTES_MAX)),
        ("node::WAITING_MAX", count(node::WAITING_MAX)),
        ("node::CHILDREN_MAX", count(node::CHILDREN_MAX)),
        ("node::WATCHES_MAX", count(node::WATCHES_MAX)),
        ("node::NAMES_MAX", count(node::NAMES_MAX)),
        ("node::NAME_COPIES", count(node::NAME_COPIES)),
        ("node::NAME_BYTES_MAX", bytes(node::NAME_BYTES_MAX)),
        ("node::ORPHAN_GRACE", time(node::ORPHAN_GRACE)),
        ("node::CHECKPOINT_TIMEOUT", time(node::CHECKPOINT_TIMEOUT)),
        ("node::RESERVE_TIMEOUT", time(node::RESERVE_TIMEOUT)),
        ("node::REDIAL_INTERVAL", time(node::REDIAL_INTERVAL)),
        ("node::TREE_LINES_MAX", count(node::TREE_LINES_MAX)),
        ("node::TREE_LOOK_TIMEOUT", time(node::TREE_LOOK_TIMEOUT)),
        ("node::STOP_TIMEOUT", time(mobula::node::STOP_TIMEOUT)),
        ("net::message_bytes_max", bytes(net.message_bytes_max)),
        ("net::bulk_message_bytes_max", bytes(net.bulk_message_bytes_max)),
        ("net::lane_bytes_max", bytes(net.lane_bytes_max)),
        ("net::lane_messages_max", count(net.lane_messages_max)),
        ("net::pending_max", count(net.pending_max)),
        ("net::connections_per_peer_max", count(net.connections_per_peer_max)),
        ("net::dial_timeout", time(net.dial_timeout)),
        ("net::handshake_timeout", time(net.handshake_timeout)),
        ("net::heartbeat", time(net.heartbeat)),
        ("net::heartbeat_timeout", time(net.heartbeat_timeout)),
        ("net::close_timeout", time(net.close_timeout)),
        ("gossip::probe_period", time(config.probe_period)),
        ("gossip::probe_timeout", time(config.probe_timeout)),
        ("gossip::probe_helpers", count(config.probe_helpers)),
        ("gossip::suspicion_multiplier", count(config.suspicion_multiplier as usize)),
        ("gossip::suspicion_factor_max", count(config.suspicion_factor_max as usize)),
        ("gossip::gossip_period", time(config.gossip_period)),
        ("gossip::fanout", count(config.fanout)),
        ("gossip::compare_period", time(config.compare_period)),
        ("gossip::redial_period", time(config.redial_period)),
        ("gossip::exchange_period", time(config.exchange_period)),
        ("gossip::record_patience", time(config.record_patience)),
        ("gossip::section_members_max", count(config.section_members_max)),
        ("gossip::members_max", count(config.members_max)),
        ("gossip::SPEAKERS", count(gossip::SPEAKERS)),
        ("gossip::FRAME_BYTES_MAX", bytes(gossip::FRAME_BYTES_MAX)),
        ("gossip::KINDS_MAX", count(gossip::KINDS_MAX)),
        ("gossip::LABELS_MAX", count(gossip::LABELS_MAX)),
        ("gossip::DEVICES_MAX", count(gossip::DEVICES_MAX)),
        ("gossip::COUNTERS_MAX", count(gossip::COUNTERS_MAX)),
        ("gossip::NAME_BYTES_MAX", bytes(gossip::NAME_BYTES_MAX)),
        ("gossip::ADDRESS_BYTES_MAX", bytes(gossip::ADDRESS_BYTES_MAX)),
        ("placement::PLACED_WITHIN", time(placement::PLACED_WITHIN)),
        ("placement::RESAMPLES_MAX", count(placement::RESAMPLES_MAX as usize)),
        ("placement::BACKOFF_MIN", time(placement::BACKOFF_MIN)),
        ("placement::BACKOFF_MAX", time(placement::BACKOFF_MAX)),
        ("placement::RESERVATION_TTL", time(placement::RESERVATION_TTL)),
        ("placement::RESERVATIONS_MAX", count(placement::RESERVATIONS_MAX)),
        ("placement::VERDICTS_MAX", count(placement::VERDICTS_MAX)),
        ("placement::DEBIT_TTL", time(placement::DEBIT_TTL)),
        ("placement::DEBITS_MAX", count(placement::DEBITS_MAX)),
        ("placement::PREFERENCE", placement::PREFERENCE.to_string()),
        ("placement::GANG_MEMBERS_MAX", count(placement::GANG_MEMBERS_MAX)),
        ("placement::GANG_BACKOFF_MIN", time(placement::GANG_BACKOFF_MIN)),
        ("placement::GANG_BACKOFF_MAX", time(placement::GANG_BACKOFF_MAX)),
        ("placement::PENDING_MAX", count(placement::PENDING_MAX)),
        ("placement::IMPOSSIBLE_FOR", time(placement::IMPOSSIBLE_FOR)),
        ("placement::IMPOSSIBLE_MAX", count(placement::IMPOSSIBLE_MAX)),
        ("placement::AGE_DOUBTFUL", time(placement::AGE_DOUBTFUL)),
        ("placement::AGE_EXCLUDED", time(placement::AGE_EXCLUDED)),
        ("placement::NEARLY_FULL", placement::NEARLY_FULL.to_string()),
        ("placement::ACTORS_DEFAULT", count(placement::ACTORS_DEFAULT as usize)),
    ]
}

/// The names of all public limits, read from the sources.
fn public_limits() -> Vec<String> {
    let mut names = Vec::new();
    for (room, file) in [
        ("actors", "actors/src/lib.rs"),
        ("supervision", "supervision/src/lib.rs"),
        ("node", "src/node/mod.rs"),
    ] {
        let text = read(file);
        let module = text.split("pub mod limits {").nth(1).unwrap();
        let module = module.split("\n}").next().unwrap();
        names.extend(constants(module).map(|name| format!("{room}::{name}")));
    }
    names.extend(fields("src/net/limits.rs").map(|name| format!("net::{name}")));
    // An address is no limit.
    let config = fields("src/gossip/config.rs").filter(|name| name != "address");
    names.extend(config.map(|name| format!("gossip::{name}")));
    for room in ["gossip", "placement"] {
        let text = read(&format!("src/{room}/mod.rs"));
        let exported = text.split(';').filter(|item| item.trim_start().starts_with("pub use"));
        names.extend(exported.flat_map(constants).map(|name| format!("{room}::{name}")));
    }
    names
}

/// The words of `text` that are names of constants.
fn constants(text: &str) -> impl Iterator<Item = &str> {
    let constant =
        |word: &&str| word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    words(text).filter(constant)
}

/// The public fields of the first struct in `file`.
fn fields(file: &str) -> impl Iterator<Item = String> {
    let text = read(file);
    let body = text.split("pub struct").nth(1).unwrap().split("\n}").next().unwrap();
    let field = |line: &str| line.trim().strip_prefix("pub ")?.split(':').next().map(str::to_owned);
    body.lines().filter_map(field).collect::<Vec<_>>().into_iter()
}

/// Name and value of a row of the table of limits.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| `")?.split('|');
    Some((cells.next()?.trim().strip_suffix('`')?, cells.next()?.trim()))
}

/// The room of a file of `src/`; `None` for the root of the crate, which names all.
fn room_of(path: &str) -> Option<&str> {
    let room = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    (room != "lib").then_some(room)
}

/// The first names behind `crate::` in a line.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).filter_map(|rest| words(rest).next())
}

/// The invariant that a line of a module's documentation states.
fn defined(line: &str) -> Option<&str> {
    let text = line.strip_prefix("//! ")?;
    let stated = text.strip_prefix("- ").or_else(|| text.strip_prefix("Invariant "))?;
    let number = words(stated.trim_start_matches('*')).next()?;
    (is_number(number) && stated.trim_start_matches('*').starts_with(number)).then_some(number)
}

fn letters(number: &str) -> &str {
    number.split('-').next().unwrap_or_default()
}

/// One or two capital letters, a hyphen and digits.
fn is_number(word: &str) -> bool {
    let Some((letters, digits)) = word.split_once('-') else { return false };
    (1..=2).contains(&letters.len())
        && letters.bytes().all(|b| b.is_ascii_uppercase())
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(move |c| !inside(c)).filter(|word| !word.is_empty())
}

fn rust_files(places: &[&str]) -> Vec<Source> {
    let rust = |name: &str| name.ends_with(".rs");
    let mut found = Vec::new();
    for place in places {
        found.extend(files(Path::new(place), &rust));
    }
    found
}

/// The text files of the repository whose names are `wanted`.
fn everything(wanted: &dyn Fn(&str) -> bool) -> Vec<Source> {
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let entries = entries.map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name != ".git" && (path.is_file() || FOLDERS.contains(&name.as_str()))
    };
    entries.filter(ours).flat_map(|path| files(&path, wanted)).collect()
}

/// The text files under `place` whose names are `wanted`, without build outputs.
fn files(place: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.join(place)];
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let entries = (name != "target").then(|| fs::read_dir(&path).unwrap());
            open.extend(entries.into_iter().flatten().map(|entry| entry.unwrap().path()));
        } else if wanted(&name) {
            // What is not text has no lines to look at.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let path = path.strip_prefix(root).unwrap_or(&path);
            let path = path.to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}
