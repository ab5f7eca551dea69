//! Every operator's bytes, committed: the same for any number of threads and any size of blocks, today and later.
//!
//! A line of `tests/golden/operator_digests.txt` is an operator, its version, parameters, the child's encoding
//! and the BLAKE3 of the child's tensors. `tests/levels.rs` compares builds for other processors with the same
//! lines. `STUDBOOK_BLESS=1 cargo test --test digests` adds lines for new cases and new versions and drops those
//! of old ones. A line of the same version is never replaced: an operator that gives other bytes for the same
//! inputs is another version of it, so raise `version()` first.

#[path = "../examples/operator_digest/cases.rs"]
mod cases;

use std::collections::BTreeSet;
use std::path::Path;

const GOLDEN: &str = "tests/golden/operator_digests.txt";

fn committed() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN)).unwrap_or_default()
}

#[test]
fn every_operator_gives_the_committed_bytes() {
    let models = cases::models();
    let found: Vec<_> = cases::all().iter().map(|case| (case.label(), case.digest(&models, None))).collect();
    let committed = committed();
    for (label, digest) in &found {
        let old = committed.lines().find_map(|line| line.strip_prefix(&format!("{label} ")));
        if let Some(old) = old {
            assert_eq!(
                old,
                digest.to_hex(),
                "{label}: other bytes; if that is meant, raise the operator's version"
            );
        }
    }
    let text: String = found.iter().map(|(label, digest)| format!("{label} {digest}\n")).collect();
    if std::env::var_os("STUDBOOK_BLESS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN), &text).unwrap();
    } else {
        assert_eq!(committed, text, "{GOLDEN} has other cases; see the top of tests/digests.rs");
    }
}

#[test]
fn neither_threads_nor_blocks_change_a_digest() {
    let models = cases::models();
    let committed = committed();
    // The operators' own tests try every pair, on larger tensors.
    for (threads, block) in [(1, 1 << 18), (2, 5_000), (7, 1)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for case in cases::all() {
            let digest = pool.install(|| case.digest(&models, Some(block)));
            let line = format!("{} {digest}", case.label());
            let found = committed.lines().any(|old| old == line);
            assert!(found, "{threads} threads, blocks of {block}: {line}");
        }
    }
}

/// A tolerance, which is tried by what is computed with it; and what a greedy soup is measured by, which is
/// for the plan's evaluations: the average of those that are in it is one with equal weights.
const UNTRIED: [&str; 3] = ["karcher.tol", "soup.metric", "soup.suite"];

#[test]
fn every_operator_and_every_parameter_is_tried() {
    let mut tried = BTreeSet::new();
    for (operator, variants) in cases::OPERATORS {
        for parameters in *variants {
            let parameters: studbook::operator::Parameters = serde_json::from_str(parameters).unwrap();
            tried.extend(parameters.into_keys().map(|name| format!("{operator}.{name}")));
        }
    }
    let mut missing = Vec::new();
    for operator in studbook::operator::OPERATORS {
        let name = operator.name();
        assert!(cases::OPERATORS.iter().any(|(tried, _)| *tried == name), "{name} has no case");
        let all = operator.parameters().iter().map(|parameter| format!("{name}.{}", parameter.name));
        missing.extend(all.filter(|name| !UNTRIED.contains(&name.as_str()) && !tried.contains(name)));
    }
    assert!(missing.is_empty(), "{missing:?} are not tried");
}
