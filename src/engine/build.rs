//! What this process is: the program and the machine, for the provenance of what it makes.

use std::fs::File;
use std::sync::OnceLock;

use crate::base::digest::{ActionKey, Sha256};
use crate::base::wide;
use crate::disk::IoContext;
use crate::disk::mmap::Mapped;
use crate::record::attest::{BuildFacts, Machine};
use crate::store::{Store, StoreError};

/// The file this process was started from. The kernel's own link reaches it also when another was put in its
/// place since.
const OWN: &str = "/proc/self/exe";

/// Notes what an action is executed on, where results are signed at all.
pub(super) fn note(store: &Store, key: &ActionKey) -> Result<(), StoreError> {
    if !store.custody().has_keys() {
        return Ok(());
    }
    match facts() {
        Some(facts) => store.note_build(key, &facts.to_bytes()),
        // Nobody can say what made it then, and nobody does.
        None => Ok(()),
    }
}

/// The facts of this process; none if its own program cannot be read.
fn facts() -> Option<&'static BuildFacts> {
    static FACTS: OnceLock<Option<BuildFacts>> = OnceLock::new();
    FACTS.get_or_init(|| Some(of_program(program()?))).as_ref()
}

fn of_program(program: Sha256) -> BuildFacts {
    BuildFacts {
        program,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Machine {
            architecture: std::env::consts::ARCH.to_owned(),
            features: wide::features().into_iter().map(str::to_owned).collect(),
            system: std::env::consts::OS.to_owned(),
            vectors: wide::vectors().to_owned(),
        },
    }
}

fn program() -> Option<Sha256> {
    let path = std::env::current_exe().ok()?;
    let opened = File::open(OWN).or_else(|_| File::open(&path)).at("open", &path);
    let read = opened.and_then(|file| Mapped::of_file(file, &path));
    read.inspect_err(|error| tracing::warn!(%error, "what is made here is signed without facts of the build"))
        .map(|mapped| Sha256::of(mapped.as_ref()))
        .ok()
}
