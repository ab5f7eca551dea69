//! The threat list, one test for each threat, named after it: every one is refused with its own reason.
//!
//! They are tried on the dossier of one admitted candidate, signed by a key for every role, read with its
//! trust file. The hostile insider has every role's key but those that the threat is about, mends every digest
//! that a change breaks, and writes page and card again. Elsewhere are: container headers that lie and names
//! that lead out (`tests/cli/strange_files.rs`, `src/model/*/tests.rs`), two writers, crashes and full disks
//! (`tests/cli/crash.rs`, `tests/cli/bad_input.rs`), files as large as a disk (`tests/cli/hostile.rs`), selection
//! (`tests/cli/selection.rs`), the registry (`tests/cli/registry.rs`, `tests/cli/browser`), mutants by the thousand
//! (beside this).

#[path = "threats/admission.rs"]
mod admission;
#[path = "threats/artifacts.rs"]
mod artifacts;
#[path = "threats/evaluation.rs"]
mod evaluation;
#[path = "threats/keys.rs"]
mod keys;
#[path = "threats/ledger.rs"]
mod ledger;
#[path = "threats/receipts.rs"]
mod receipts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use studbook::base::canonical;
use studbook::base::digest::Sha256;
use studbook::dossier::folder::{self, Files};
use studbook::dossier::{self, Evidence, layout};
use studbook::ledger::{EntryKind, Ledger, LedgerError, NewEntry};
use studbook::model::{ListedFile, Listing};
use studbook::record::attest::{Bundle, Statement};
use studbook::trust::{SecretKey, Trust, keyring};

use super::whole::{mend, signed};
use crate::space::Space;

struct Fixture {
    space: Space,
    good: Files,
    other: Files,
}

/// One cycle for all of them.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let space = signed();
        for candidate in ["ties", "average"] {
            space.studbook(&["export", "plan.toml", candidate, "--out", candidate]).exits(0);
        }
        let read = |name: &str| folder::read(&space.path(name)).unwrap();
        Fixture { good: read("ties"), other: read("average"), space }
    })
}

type Documents = BTreeMap<String, Vec<u8>>;

/// Writes a dossier again, changed, in a folder of its own.
fn written(documents: &Documents) -> Space {
    let place = Space::empty();
    for (path, bytes) in documents {
        place.write(&format!("d/{path}"), bytes);
    }
    let model = std::fs::read(fixture().space.path("ties/model/ties.slm")).unwrap();
    place.write("d/model/ties.slm", &model);
    place
}

fn failures(folder: &Path, ledger: Option<PathBuf>) -> Vec<String> {
    let trust = Some(Trust::load(&fixture().space.path("trust.toml")).unwrap());
    let options = dossier::Options { trust, ledger, ..dossier::Options::default() };
    let findings = dossier::verify(folder, &options, &mut |_| {}).unwrap();
    findings.into_iter().filter(|it| !it.ok).map(|it| format!("{}: {}", it.what, it.finding)).collect()
}

#[track_caller]
fn refused_in(place: &Space, why: &str) {
    let failures = failures(&place.path("d"), None);
    assert!(failures.iter().any(|failure| failure.contains(why)), "no {why:?} in {failures:#?}");
}

/// Refused after this change, for this reason.
#[track_caller]
fn refused(change: impl FnOnce(&mut Documents), why: &str) {
    let mut documents = fixture().good.documents.clone();
    change(&mut documents);
    if let Ok((evidence, _)) = Evidence::read(&documents) {
        let files = Files { documents: documents.clone(), model: fixture().good.model.clone() };
        let again = dossier::documents(&evidence, &files).unwrap();
        documents.extend(again.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)));
    }
    refused_in(&written(&documents), why);
}

/// Changes what a record says, and mends every digest that names it.
fn say(documents: &mut Documents, path: &str, change: impl FnOnce(&mut Value)) {
    let mut value = canonical::value_from_slice(&documents[path]).unwrap();
    change(&mut value);
    mend(documents, path, canonical::to_vec(&value).unwrap());
}

fn key(role: &str) -> SecretKey {
    keyring::read_secret(&fixture().space.path(&format!("keys/{role}.pem"))).unwrap()
}

fn statement(bundle: &[u8]) -> Statement {
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    let payload =
        studbook::base::base64::decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

const RECEIPT: &str = "records/04-operator/ties.json";
const LINEAGE: &str = "records/03-lineage/ties.json";
const SIDECAR: &str = "records/07-eval/ties.digits.json";
const OUTCOMES: &str = "records/07-eval/ties.digits.outcomes.jsonl";
const PROMOTION: &str = "records/08-promotion/ties.json";
const ADMISSION: &str = "records/09-admission/ties.json";
const ADMISSION_BUNDLE: &str = "bundles/09-admission/ties.sigstore.json";

#[test]
fn the_good_one_is_accepted() {
    assert_eq!(failures(&written(&fixture().good.documents).path("d"), None), Vec::<String>::new());
}
