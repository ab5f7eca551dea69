//! Prints digests of what every operator makes of small models, for its main parameters and every encoding.
//!
//! Nothing goes in but this crate: two machines, or two builds for different processors, print the same lines,
//! those of `tests/golden/operator_digests.txt`.
//!
//! ```text
//! cargo run --no-default-features --features operators --example operator_digest
//! ```
//!
//! `tests/levels.rs` builds it for several x86-64 levels, `tests/digests.rs` takes the same cases through several
//! numbers of threads and sizes of blocks.

#![expect(clippy::print_stdout, reason = "the digests are the product")]

mod cases;

fn main() {
    let models = cases::models();
    for case in cases::all() {
        println!("{} {}", case.label(), case.digest(&models, None));
    }
}
