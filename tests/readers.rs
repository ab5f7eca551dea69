//! The quick version of the fuzz targets: every seed, and thousands of damaged copies, through every reader.
//!
//! `tests/fuzz` looks longer and with better eyes, but needs cargo-fuzz. What is damaged here is drawn
//! from a fixed stream, so a failure names the reader, the seed and the number of its copy, and comes
//! again. `STUDBOOK_BLESS=1 cargo test --test readers` writes the seeds anew after `seeds.rs` changed.

#[path = "readers/damage.rs"]
mod damage;
#[path = "fuzz/readers/mod.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod readers;
#[path = "readers/seeds.rs"]
mod seeds;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Damaged copies for each reader; those of folders write files, so they take fewer.
const COPIES: u64 = 1500;
const COPIES_OF_FOLDERS: u64 = 200;
const FOLDERS: [&str; 4] = ["huggingface", "peft", "trained", "ledger"];

/// Seeds are there once, before anything else looks at them.
static BLESSED: OnceLock<()> = OnceLock::new();

/// No copy is longer than its seed by more than this, so nothing may take long.
const SLOW: Duration = Duration::from_secs(5);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn bless() {
    BLESSED.get_or_init(|| {
        if std::env::var_os("STUDBOOK_BLESS").is_some() {
            for (reader, name, bytes) in seeds::all() {
                let folder = folder().join("seeds").join(reader);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(name), &bytes).unwrap();
            }
        }
    });
}

fn committed(reader: &str) -> Vec<(String, Vec<u8>)> {
    bless();
    let folder = folder().join("seeds").join(reader);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn seeds_are_what_makes_them_says() {
    bless();
    for (reader, name, bytes) in seeds::all() {
        let path = folder().join("seeds").join(reader).join(name);
        assert!(std::fs::read(&path).is_ok_and(|found| found == bytes), "{} is another", path.display());
    }
}

#[test]
fn every_reader_has_a_target_and_seeds() {
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let mut names = BTreeSet::new();
    for (name, _) in readers::READERS {
        assert!(names.insert(name), "{name} is there twice");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")), "{name}");
        let target = std::fs::read_to_string(folder().join(format!("targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("reader!(\"{name}\")")), "{name}");
        assert!(committed(name).len() >= 2, "{name} has no seeds");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), names.len());
}

#[test]
fn no_damage_breaks_a_promise() {
    for (reader, _) in readers::READERS {
        let seeds = committed(reader);
        let copies = if FOLDERS.contains(&reader) { COPIES_OF_FOLDERS } else { COPIES };
        for (name, seed) in &seeds {
            hold(reader, &format!("seed {name}"), seed);
        }
        for copy in 0..copies {
            let (name, seed) = &seeds[copy as usize % seeds.len()];
            let other = &seeds[(copy / seeds.len() as u64) as usize % seeds.len()].1;
            hold(reader, &format!("copy {copy} of {name}"), &damage::damaged(reader, copy, seed, other));
        }
    }
}

#[track_caller]
fn hold(reader: &str, what: &str, bytes: &[u8]) {
    let start = Instant::now();
    let held = catch_unwind(AssertUnwindSafe(|| readers::check(reader, bytes)));
    assert!(held.is_ok(), "{reader}: {what} breaks a promise: {}", bytes.escape_ascii());
    assert!(start.elapsed() < SLOW, "{reader}: {what} took {:?}", start.elapsed());
}
