//! The threat list, one test for each threat, named after it: every one is refused with its own reason.
//!
//! They are tried on the dossier of one admitted candidate, signed by a key for every role, read with its
//! trust file. The hostile insider has every role's key but those that the threat is about, mends every digest
//! that a change breaks, and writes page and card again. Elsewhere are: container headers that lie and names
//! that lead out (`tests/cli/strange_files.rs`, `src/model/*/tests.rs`), two writers, crashes and full disks
//! (`tests/cli/crash.rs`, `tests/cli/bad_input.rs`), the registry (`tests/cli/browser`), mutants by the
//! thousand (beside this).

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
            space.studbook(&["export", candidate, "plan.toml", "--out", candidate]).exits(0);
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

// Receipts.

#[test]
fn receipt_with_a_byte_flipped() {
    refused(|all| all.get_mut(RECEIPT).unwrap()[40] ^= 1, "operator");
}

#[test]
fn receipt_with_a_parameter_changed() {
    refused(
        |all| say(all, RECEIPT, |it| it["body"]["operator"]["parameters"]["density"] = json!([0.9])),
        "other parameters than were promised",
    );
    // Promised, too: then the signatures on both are of other records.
    let both = |all: &mut Documents| {
        for path in [LINEAGE, RECEIPT] {
            say(all, path, |it| it["body"]["operator"]["parameters"]["lambda"] = json!(0.25));
        }
    };
    refused(both, "attestation of operator:ties: the statement is not the one that follows from the record");
}

#[test]
fn receipt_of_a_parent_that_is_missing() {
    refused(
        |all| drop(all.remove("records/01-source/one.json")),
        "the source record of the parent `one` is missing",
    );
}

#[test]
fn predicate_of_one_type_offered_as_another() {
    refused(
        |all| {
            drop(
                all.insert(
                    ADMISSION_BUNDLE.to_owned(),
                    all["bundles/08-promotion/ties.sigstore.json"].clone(),
                ),
            );
        },
        "attestation of admission:ties: the predicate is",
    );
}

#[test]
fn wrong_roles_key() {
    let sign = |all: &mut Documents| {
        let bundle = Bundle::sign(&statement(&all[ADMISSION_BUNDLE]), &key("producer")).unwrap();
        all.insert(ADMISSION_BUNDLE.to_owned(), bundle.to_bytes());
    };
    refused(sign, "the producer key `producer` may not sign admission records");
}

#[test]
fn one_key_counted_twice() {
    let twice = |all: &mut Documents| {
        let mut bundle: Value = serde_json::from_slice(&all[ADMISSION_BUNDLE]).unwrap();
        let signatures = bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
        signatures.push(signatures[0].clone());
        all.insert(ADMISSION_BUNDLE.to_owned(), canonical::to_vec(&bundle).unwrap());
    };
    refused(twice, "the envelope has 2 signatures, expected one");
}

#[test]
fn a_true_predicate_that_nobody_knows() {
    let unknown = |all: &mut Documents| {
        let mut statement = statement(&all[ADMISSION_BUNDLE]);
        statement.predicate_type = "https://example.com/approved/v9".to_owned();
        let bundle = Bundle::sign(&statement, &key("promoter")).unwrap();
        all.insert(ADMISSION_BUNDLE.to_owned(), bundle.to_bytes());
    };
    refused(unknown, "the predicate is \"https://example.com/approved/v9\"");
}

// Artifacts.

#[test]
fn artifact_swapped_after_hashing() {
    let place = written(&fixture().good.documents);
    place.write(
        "d/model/ties.slm",
        &std::fs::read(fixture().space.path("average/model/average.slm")).unwrap(),
    );
    refused_in(&place, "artifact: the SHA-256 of the model is");
    // And the signature over all files is of the other one.
    refused_in(&place, "model signature: the files that were signed are not those of this folder");
}

#[test]
fn same_contents_renamed() {
    let place = written(&fixture().good.documents);
    std::fs::rename(place.path("d/model/ties.slm"), place.path("d/model/other.slm")).unwrap();
    refused_in(&place, "the model is called \"other.slm\"");
}

#[test]
fn hidden_and_extra_files() {
    refused(
        |all| drop(all.insert(".hidden".to_owned(), vec![1])),
        "\".hidden\" does not belong to the dossier",
    );
    refused(
        |all| drop(all.insert("bundles/more.json".to_owned(), vec![1])),
        "does not belong to the dossier",
    );
}

#[test]
fn hard_linked_files() {
    let place = written(&fixture().good.documents);
    std::fs::hard_link(place.path("d/model/ties.slm"), place.path("second")).unwrap();
    refused_in(&place, "has another name elsewhere (a hard link)");
}

#[test]
fn fifos() {
    let place = written(&fixture().good.documents);
    assert!(std::process::Command::new("mkfifo").arg(place.path("d/pipe")).status().unwrap().success());
    refused_in(&place, "\"pipe\" is not a plain file");
}

#[test]
fn symlink_in_place_of_a_file_or_a_parent_folder() {
    for name in ["model/ties.slm", "records", "records/09-admission", "SHA256SUMS"] {
        let place = written(&fixture().good.documents);
        std::fs::rename(place.path(&format!("d/{name}")), place.path("aside")).unwrap();
        std::os::unix::fs::symlink(place.path("aside"), place.path(&format!("d/{name}"))).unwrap();
        refused_in(&place, "is a symbolic link");
    }
}

#[test]
fn absolute_and_parent_names_in_a_list_of_files() {
    for name in ["/etc/passwd", "../up", "a/../../b", "a//b", "./a", "a\\b", ""] {
        let file =
            ListedFile { name: name.to_owned(), bytes: 1, blake3: studbook::base::digest::Digest::of(b"x") };
        assert!(Listing::new(vec![file]).is_err(), "{name:?}");
    }
}

// Evaluation.

/// Another model's sidecar in place of the candidate's, with its outcomes.
fn sidecar_of(from: &'static str, documents: &'static Documents) -> impl FnOnce(&mut Documents) {
    move |all| {
        all.insert(
            OUTCOMES.to_owned(),
            documents[&format!("records/07-eval/{from}.digits.outcomes.jsonl")].clone(),
        );
        let sidecar = documents[&format!("records/07-eval/{from}.digits.json")].clone();
        mend(all, SIDECAR, sidecar);
    }
}

#[test]
fn sidecar_of_another_candidate() {
    let why = "eval:ties.digits: the sidecar is of another model than `ties`";
    refused(sidecar_of("average", &fixture().other.documents), why);
}

#[test]
fn sidecar_of_the_parent() {
    let why = "eval:ties.digits: the sidecar is of another model than `ties`";
    refused(sidecar_of("one", &fixture().good.documents), why);
}

#[test]
fn metric_edited_but_not_the_samples() {
    let better = |it: &mut Value| it["body"]["metrics"]["exact_match"]["value"] = json!(1);
    refused(|all| say(all, SIDECAR, better), "the outcomes come to other metrics than the sidecar says");
}

/// Other outcomes, with the sidecar's digests mended.
fn outcomes(all: &mut Documents, change: impl FnOnce(Vec<&str>) -> Vec<&str>) {
    let text = String::from_utf8(all[OUTCOMES].clone()).unwrap();
    let bytes: String = change(text.lines().collect()).into_iter().map(|line| format!("{line}\n")).collect();
    let subject = json!({
        "sha256": Sha256::of(bytes.as_bytes()),
        "blake3": studbook::base::digest::Digest::of(bytes.as_bytes()),
        "bytes": bytes.len(),
    });
    all.insert(OUTCOMES.to_owned(), bytes.into_bytes());
    say(all, SIDECAR, |it| it["body"]["outcomes"] = subject);
}

#[test]
fn samples_cut() {
    refused(
        |all| {
            outcomes(all, |mut lines| {
                lines.pop();
                lines
            });
        },
        "eval:ties.digits: ",
    );
}

#[test]
fn samples_reordered() {
    refused(
        |all| {
            outcomes(all, |mut lines| {
                lines.swap(0, 1);
                lines
            });
        },
        "eval:ties.digits: ",
    );
}

#[test]
fn samples_duplicated() {
    refused(
        |all| {
            outcomes(all, |mut lines| {
                lines[1] = lines[0];
                lines
            });
        },
        "eval:ties.digits: ",
    );
}

#[test]
fn claim_against_the_numbers() {
    let boast =
        |it: &mut Value| it["body"]["claims"]["trained_quality_claim"] = json!("passed-gates: everything");
    refused(|all| say(all, PROMOTION, boast), "promotion:ties: derived again from what it rests on");
}

#[test]
fn threshold_moved_after_the_run() {
    let moved = |it: &mut Value| it["body"]["gates"][0]["rule"]["metric"]["max"] = json!(900_000);
    refused(|all| say(all, LINEAGE, moved), "the registered plan has other gates than the lineage");
    // Registered so, too: the log knows another registration.
    let both = |all: &mut Documents| {
        say(all, LINEAGE, moved);
        let moved = |it: &mut Value| it["body"]["gates"][0]["gate"]["rule"]["metric"]["max"] = json!(900_000);
        say(all, layout::REGISTRATION, moved);
    };
    refused(both, "ledger: the entry of the decision is about something else");
}

#[test]
fn dataset_swapped() {
    let swap = |all: &mut Documents| {
        let cases = String::from_utf8(all["suites/digits.jsonl"].clone()).unwrap();
        all.insert("suites/digits.jsonl".to_owned(), cases.replace("\"p1=\"", "\"p2=\"").into_bytes());
    };
    refused(swap, "the cases of `digits`: the record binds");
}

// Admission.

#[test]
fn admission_replayed_for_another_candidate() {
    let theirs = &fixture().other.documents;
    let replay = |all: &mut Documents| {
        all.insert(ADMISSION.to_owned(), theirs["records/09-admission/average.json"].clone());
        all.insert(ADMISSION_BUNDLE.to_owned(), theirs["bundles/09-admission/average.sigstore.json"].clone());
        all.insert(layout::DECISION_PROOF.to_owned(), theirs[layout::DECISION_PROOF].clone());
    };
    refused(replay, "the admission record is of tiny/average");
}

#[test]
fn admission_replayed_for_another_policy() {
    let theirs = &fixture().other.documents;
    let replay = |all: &mut Documents| {
        drop(all.insert(LINEAGE.to_owned(), theirs["records/03-lineage/average.json"].clone()));
    };
    refused(replay, "the lineage template is of tiny/average");
}

#[test]
fn admission_replayed_in_another_ledger() {
    let (home, folder) = (tempfile::tempdir().unwrap(), &fixture().space.path(".studbook/ledger"));
    let entries = Ledger::open(folder).unwrap().leaves().unwrap().into_iter().map(|leaf| NewEntry {
        kind: leaf.kind,
        cycle: leaf.cycle,
        candidate: leaf.candidate,
        subject: leaf.subject,
        record: leaf.record,
        predicate_type: leaf.predicate_type,
        registration: leaf.registration,
    });
    let stranger = Ledger::open(home.path()).unwrap().signing(SecretKey::from_seed(&[9; 32]));
    let leaves = stranger.append(entries.collect(), &|| "2026-01-01T00:00:00Z".to_owned()).unwrap();
    let replay = |all: &mut Documents| {
        let admission = Sha256::of(&all[ADMISSION]);
        let decision = leaves.iter().find(|leaf| leaf.record == admission).unwrap();
        let proof = |index| stranger.prove(index).unwrap();
        let checkpoint = proof(0).checkpoint.to_text();
        all.insert(layout::DECISION_PROOF.to_owned(), proof(decision.index).to_text().into_bytes());
        all.insert(
            layout::PLAN_PROOF.to_owned(),
            proof(decision.registration.unwrap()).to_text().into_bytes(),
        );
        all.insert(layout::CHECKPOINT.to_owned(), checkpoint.into_bytes());
    };
    refused(replay, "is not signed by a log key of the trust file");
}

#[test]
fn admission_replayed_after_revocation() {
    let copy = Space::empty();
    for (name, bytes) in fixture().space.files(".studbook/ledger") {
        copy.write(&format!("ledger/{name}"), &bytes);
    }
    let good = written(&fixture().good.documents);
    assert_eq!(failures(&good.path("d"), Some(copy.path("ledger"))), Vec::<String>::new());
    let ledger = Ledger::open(copy.path("ledger")).unwrap().signing(key("log"));
    let manifest = Sha256::of(&fixture().good.documents["records/05-candidate/ties.json"]);
    let entry = NewEntry {
        kind: EntryKind::Revocation,
        cycle: "tiny".parse().unwrap(),
        candidate: None,
        subject: Some(manifest),
        record: Sha256::of(b"why"),
        predicate_type: "urn:studbook:revocation:v1".to_owned(),
        registration: None,
    };
    ledger.append(vec![entry], &|| "2026-01-02T00:00:00Z".to_owned()).unwrap();
    let failures = failures(&good.path("d"), Some(copy.path("ledger")));
    assert!(failures.iter().any(|it| it.contains("revokes the candidate")), "{failures:#?}");
}

#[test]
fn gate_left_pending() {
    let pending = |it: &mut Value| it["body"]["gates"][2]["state"] = json!("pending");
    refused(|all| say(all, PROMOTION, pending), "promotion:ties: derived again from what it rests on");
    refused(
        |all| drop(all.remove("evidence/release.json")),
        "promotion:ties: derived again from what it rests on",
    );
}

#[test]
fn input_record_whose_digest_differs() {
    let smoke = "records/06-smoke/ties.json";
    let change = |all: &mut Documents| {
        let mut value = canonical::value_from_slice(&all[smoke]).unwrap();
        value["body"]["prompts"][0]["text"] = json!("something better");
        all.insert(smoke.to_owned(), canonical::to_vec(&value).unwrap());
    };
    refused(change, "promotion:ties: derived again from what it rests on");
}

// The ledger.

fn entry(number: u8) -> NewEntry {
    NewEntry {
        kind: EntryKind::Plan,
        cycle: "spring".parse().unwrap(),
        candidate: None,
        subject: None,
        record: Sha256::of(&[number]),
        predicate_type: "urn:studbook:plan-registration:v1".to_owned(),
        registration: None,
    }
}

/// A signed ledger of these entries in a folder.
fn ledger(folder: &Path, entries: &[u8]) -> Ledger {
    let ledger = Ledger::open(folder).unwrap().signing(SecretKey::from_seed(&[7; 32]));
    ledger
        .append(entries.iter().copied().map(entry).collect(), &|| "2026-01-01T00:00:00Z".to_owned())
        .unwrap();
    Ledger::open(folder).unwrap().trusting(vec![SecretKey::from_seed(&[7; 32]).public()])
}

fn row(folder: &Path, kind: &str) -> PathBuf {
    let all = crate::files(folder);
    all.into_iter().find(|path| path.to_string_lossy().contains(kind)).unwrap()
}

#[test]
fn ledger_entry_edited_swapped_dropped_or_inserted() {
    for change in 0..4 {
        let home = tempfile::tempdir().unwrap();
        let good = ledger(home.path(), &[1, 2, 3, 4]);
        let entries = row(home.path(), "tile/entries");
        let mut bytes = std::fs::read(&entries).unwrap();
        let half = bytes.len() / 2;
        match change {
            0 => bytes[half + 9] ^= 1,
            1 => bytes.rotate_left(half),
            2 => drop(bytes.drain(half..)),
            _ => bytes.extend_from_within(half..),
        }
        std::fs::write(&entries, bytes).unwrap();
        let error = Ledger::open(home.path()).unwrap().check(None).unwrap_err();
        assert!(error.is_tampering(), "{change}: {error}");
        drop(good);
    }
}

#[test]
fn ledger_truncated_replaced_forked_or_rolled_back() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let good = ledger(home.path(), &[1, 2, 3]);
    let seen = good.head().unwrap();
    let shorter = ledger(other.path(), &[1, 2]);
    let error = shorter.check(Some(&seen)).unwrap_err();
    assert!(matches!(error, LedgerError::RolledBack { .. }), "{error}");
    let fork = tempfile::tempdir().unwrap();
    let error = ledger(fork.path(), &[1, 2, 9, 10]).check(Some(&seen)).unwrap_err();
    assert!(matches!(error, LedgerError::Replaced { .. }), "{error}");
    std::fs::remove_file(home.path().join("checkpoint")).unwrap();
    let error = good.check(Some(&seen)).unwrap_err();
    assert!(matches!(error, LedgerError::HeadMissing { .. }), "{error}");
}

#[test]
fn ledger_of_another_origin_or_key() {
    let home = tempfile::tempdir().unwrap();
    ledger(home.path(), &[1]);
    let error = Ledger::open_as(home.path(), "example.com/log").err().unwrap();
    assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
    let stranger = SecretKey::from_seed(&[8; 32]).public();
    let error = Ledger::open(home.path()).unwrap().trusting(vec![stranger]).check(None).unwrap_err();
    assert!(matches!(error, LedgerError::Unsigned { .. }), "{error}");
}

#[test]
fn ledger_proofs_that_prove_something_else() {
    let swapped = |all: &mut Documents| {
        let (plan, decision) = (all[layout::PLAN_PROOF].clone(), all[layout::DECISION_PROOF].clone());
        all.insert(layout::PLAN_PROOF.to_owned(), decision);
        all.insert(layout::DECISION_PROOF.to_owned(), plan);
    };
    refused(swapped, "ledger: the entry of the decision is about something else");
    refused(|all| drop(all.remove(layout::PLAN_PROOF)), "\"ledger/plan.tlog-proof\" is missing");
}

#[test]
fn ledger_tiles_of_a_wrong_width() {
    let home = tempfile::tempdir().unwrap();
    let good = ledger(home.path(), &[1, 2, 3]);
    let tile = row(home.path(), "tile/0/");
    let wrong = tile.with_file_name("2");
    std::fs::rename(&tile, wrong).unwrap();
    let error = good.check(None).unwrap_err();
    assert!(error.is_tampering(), "{error}");
}

// Keys.

#[test]
fn no_dossier_holds_a_secret() {
    let space = &fixture().space;
    for role in ["producer", "evaluator", "promoter", "log", "registry", "model"] {
        let pem = space.read(&format!("keys/{role}.pem"));
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        // Well past what every such file begins with, well before the public half.
        let secret = &body[if role == "model" { 50..86 } else { 24..60 }];
        let raw = studbook::base::base64::decode(&body).unwrap();
        let raw = &raw[if role == "model" { 38..60 } else { 18..40 }];
        for (name, bytes) in space.files("ties").into_iter().chain(space.files(".studbook")) {
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(secret.as_bytes()) && !holds(raw), "{name} holds the {role} key");
        }
    }
}
