//! The corpus of the fuzz targets, given to the same decoders: what was found once stays fixed.
//!
//! `MOBULA_SEEDS=1 cargo test --all-features --test corpus` writes the seeds of this version anew.

use std::fs;
use std::path::{Path, PathBuf};

use mobula::fuzz::Decoders;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

fn files(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus(name)).unwrap();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_decoder_stands_its_corpus_and_every_cut_of_it() {
    let decoders = Decoders::new();
    if std::env::var_os("MOBULA_SEEDS").is_some() {
        for (number, (name, seed)) in decoders.seeds().into_iter().enumerate() {
            fs::create_dir_all(corpus(name)).unwrap();
            fs::write(corpus(name).join(format!("seed-{number}")), seed).unwrap();
        }
    }
    for name in Decoders::NAMES {
        let found = files(name);
        assert!(!found.is_empty(), "{name} has no corpus");
        for bytes in &found {
            // Cuts everywhere in what is short, and in the headers of what is long.
            (0..=bytes.len().min(512)).for_each(|at| decoders.feed(name, &bytes[..at]));
            decoders.feed(name, bytes);
        }
        println!("{name}: {} inputs", found.len());
    }
}

#[test]
fn every_decoder_has_a_seed_and_a_target() {
    let seeds = Decoders::new().seeds();
    for name in Decoders::NAMES {
        assert!(seeds.iter().any(|(seeded, bytes)| *seeded == name && !bytes.is_empty()), "{name}");
        let target = format!("fuzz/fuzz_targets/{name}.rs");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(), "{name}");
    }
}
