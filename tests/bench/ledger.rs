//! A ledger of 100,000 entries: what appending, checking and proving cost.
//!
//! `cargo bench --bench ledger`. Limits it is held to: an append under 1 ms an entry with one commit a
//! batch, a check of the whole log under 1 s, a proof under 1 ms.

#![expect(clippy::print_stdout, reason = "the times are the product")]

use std::time::{Duration, Instant};

use studbook::base::digest::Sha256;
use studbook::ledger::{EntryKind, Ledger, NewEntry};
use studbook::trust::SecretKey;

const ENTRIES: u64 = 100_000;
const BATCH: u64 = 1_000;
const PROOFS: u64 = 1_000;

fn entry(number: u64) -> NewEntry {
    NewEntry {
        kind: if number == 0 { EntryKind::Plan } else { EntryKind::Admission },
        cycle: "bench".parse().expect("a name"),
        candidate: Some(format!("candidate-{number}").parse().expect("a name")),
        subject: Some(Sha256::of(format!("manifest {number}").as_bytes())),
        record: Sha256::of(format!("record {number}").as_bytes()),
        predicate_type: "urn:studbook:admission-record:v1".to_owned(),
        registration: (number > 0).then_some(0),
    }
}

fn line(what: &str, took: Duration, each: u64, limit: Duration) {
    let each = took / u32::try_from(each).expect("few");
    let verdict = if each < limit { "within" } else { "OVER" };
    println!("{what:<44} {each:>12.1?}   {verdict} {limit:?}");
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("empty").signing(SecretKey::from_seed(&[1; 32]));
    let now = || "2026-01-31T12:00:00Z".to_owned();

    let start = Instant::now();
    for first in (0..ENTRIES).step_by(BATCH as usize) {
        ledger.append((first..first + BATCH).map(entry).collect(), &now).expect("a good batch");
    }
    line("append, a batch of 1000 a commit, each entry", start.elapsed(), ENTRIES, Duration::from_millis(1));

    let start = Instant::now();
    ledger.append(vec![entry(ENTRIES)], &now).expect("one more");
    line("append of a single entry, with its commit", start.elapsed(), 1, Duration::from_millis(100));

    let fresh = Ledger::open(folder.path()).expect("it is there");
    let start = Instant::now();
    let report = fresh.check(None).expect("it holds");
    assert_eq!(report.head.size, ENTRIES + 1);
    line("check of the whole log", start.elapsed(), 1, Duration::from_secs(1));

    let start = Instant::now();
    for number in 0..PROOFS {
        fresh.prove(number * 7919 % ENTRIES).expect("it is in the log");
    }
    line("inclusion proof from tiles, made and checked", start.elapsed(), PROOFS, Duration::from_millis(1));
}
