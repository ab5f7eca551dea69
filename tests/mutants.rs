//! Nothing false is accepted: seeded mutants of a signed ledger, of proofs and of attestations; in `whole`
//! of stores and dossiers, in `registry` of published registries.
//!
//! Mutants of bytes (flipped, dropped, doubled, swapped, cut, replaced by another file's) and of meaning
//! (a member of a document changed, dropped, swapped, replayed from another, and everything that can be
//! made to fit again made to fit: chain, tiles, root, canonical spelling). The forger has no secret key.
//! The number accepted is zero, and every refusal says why.

#[path = "mutants/registry.rs"]
mod registry;
#[path = "cli/space.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod space;
#[path = "mutants/threats.rs"]
mod threats;
#[path = "mutants/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use studbook::base::canonical;
use studbook::base::digest::Sha256;
use studbook::base::rng::Philox;
use studbook::ledger::{EntryKind, Head, Ledger, NewEntry, Note, Proof};
use studbook::record::attest::{Bundle, Descriptor, Statement};
use studbook::trust::{Claim, PublicKey, Role, SecretKey, Trust};

const LEDGER_MUTANTS: u64 = 3_000;
const FORGED_LEDGERS: u64 = 1_000;
const PROOF_MUTANTS: u64 = 3_000;
const BUNDLE_MUTANTS: u64 = 5_000;

/// Numbers that are the same in every run.
struct Dice {
    random: Philox,
    next: u64,
}

impl Dice {
    fn new(purpose: &str, mutant: u64) -> Self {
        Self { random: Philox::for_purpose(&["mutants", purpose, &mutant.to_string()]), next: 0 }
    }

    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        (self.random.unit(self.next) * n as f64) as usize % n
    }
}

/// Changes bytes in one of eight ways; `other` is what a replay takes from.
fn mutate(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut new = bytes.to_vec();
    if new.is_empty() {
        return other.to_vec();
    }
    let at = dice.below(new.len());
    let end = at + 1 + dice.below((new.len() - at).min(40));
    match dice.below(8) {
        0 => new[at] ^= 1 << dice.below(8),
        1 => drop(new.drain(at..end)),
        2 => {
            let copy = new[at..end].to_vec();
            drop(new.splice(end..end, copy));
        }
        3 => {
            let to = dice.below(new.len());
            new.swap(at, to);
        }
        4 => new.truncate(at),
        5 => new.splice(at..end, vec![dice.below(256) as u8; end - at]).for_each(drop),
        6 => {
            let end = end.min(other.len());
            let from = at.min(end);
            new.splice(from.min(new.len())..end.min(new.len()), other[from..end].iter().copied())
                .for_each(drop);
        }
        _ => new = other.to_vec(),
    }
    new
}

/// Counts refusals by their reason, and what was accepted.
#[derive(Default)]
struct Tally {
    reasons: BTreeMap<String, u64>,
    accepted: Vec<String>,
    unchanged: u64,
}

impl Tally {
    fn note(&mut self, mutant: impl Fn() -> String, verdict: Result<(), String>) {
        match verdict {
            Ok(()) => self.accepted.push(mutant()),
            Err(why) => {
                assert!(!why.trim().is_empty());
                // Numbers and digests are details of a reason.
                let words = why.split_whitespace().filter(|word| !word.chars().any(|c| c.is_ascii_digit()));
                *self.reasons.entry(words.take(7).collect::<Vec<_>>().join(" ")).or_default() += 1;
            }
        }
    }

    #[track_caller]
    fn none_accepted(&self, tried: u64, kinds_of_reason: usize) {
        let refused: u64 = self.reasons.values().sum();
        assert_eq!(self.accepted, Vec::<String>::new(), "accepted; refused for {:#?}", self.reasons);
        assert_eq!(refused + self.unchanged, tried);
        assert!(self.unchanged < tried / 5, "{} mutants changed nothing", self.unchanged);
        assert!(self.reasons.len() >= kinds_of_reason, "{:#?}", self.reasons);
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn entry(number: u64) -> NewEntry {
    let kind = match number % 5 {
        0 => EntryKind::Plan,
        1 | 2 => EntryKind::Admission,
        3 => EntryKind::Refusal,
        _ => EntryKind::Revocation,
    };
    NewEntry {
        kind,
        cycle: "spring".parse().unwrap(),
        candidate: Some(format!("c{number}").parse().unwrap()),
        subject: Some(Sha256::of(format!("manifest {number}").as_bytes())),
        record: Sha256::of(format!("record {number}").as_bytes()),
        predicate_type: "urn:studbook:admission-record:v1".to_owned(),
        registration: kind.is_decision().then_some(number - number % 5),
    }
}

fn noon() -> String {
    "2026-01-31T12:00:00Z".to_owned()
}

/// A ledger of three appends with a witness's signature.
fn good_ledger(folder: &Path, size: u64) -> Head {
    let ledger = Ledger::open(folder).unwrap().signing(key(1));
    for batch in [0..size / 3, size / 3..size / 2, size / 2..size] {
        ledger.append(batch.map(entry).collect(), &noon).unwrap();
    }
    let (report, _) =
        ledger.endorse(None, &|_, note| note.cosign("witness", &key(2), 1_700_000_000)).unwrap();
    report.head
}

fn check(folder: &Path, remembered: &Head) -> Result<(), String> {
    let ledger = Ledger::open(folder).map_err(|error| error.to_string())?.trusting(vec![key(1).public()]);
    let report = ledger.check(Some(remembered)).map_err(|error| error.to_string())?;
    // What is there for more entries than the checkpoint counts is what a crash leaves: told, not believed.
    if report.unfinished_files > 0 { Err("unfinished files".to_owned()) } else { Ok(()) }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn no_mutant_of_a_ledger_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let head = good_ledger(folder.path(), 30);
    check(folder.path(), &head).unwrap();
    let good: Vec<(PathBuf, Vec<u8>)> =
        files(folder.path()).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    let mut tally = Tally::default();
    for mutant in 0..LEDGER_MUTANTS {
        let mut dice = Dice::new("ledger", mutant);
        let (path, bytes) = &good[dice.below(good.len())];
        let (other_path, other) = &good[dice.below(good.len())];
        let changed = mutate(bytes, other, &mut dice);
        // A witness's line is not the log's: without it the log is as good as before.
        let checkpoint = path.ends_with("checkpoint");
        if changed == *bytes
            || checkpoint && log_part(&changed).is_some_and(|log| Some(log) == log_part(bytes))
        {
            tally.unchanged += 1;
            continue;
        }
        std::fs::write(path, &changed).unwrap();
        let verdict = check(folder.path(), &head);
        tally.note(|| format!("{mutant}: {} with {}", path.display(), other_path.display()), verdict);
        std::fs::write(path, bytes).unwrap();
    }
    check(folder.path(), &head).unwrap();
    tally.none_accepted(LEDGER_MUTANTS, 8);
}

/// What the log itself says and signs in a checkpoint, or in a proof that ends with one.
fn log_part(file: &[u8]) -> Option<Note> {
    let mut note = Note::parse(std::str::from_utf8(file).ok()?).ok()?;
    note.signatures.retain(|line| line.name == "studbook/ledger");
    Some(note)
}

/// A whole log with entries changed, dropped, swapped, doubled or replayed, written so that chain, tiles
/// and root fit, under the good checkpoint's signature, an unsigned one, or one by another key.
#[test]
fn no_forged_ledger_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let size = 12;
    let place = folder.path().join("good");
    let head = good_ledger(&place, size);
    let signed = std::fs::read_to_string(place.join("checkpoint")).unwrap();
    let mut tally = Tally::default();
    for mutant in 0..FORGED_LEDGERS {
        let mut dice = Dice::new("forged", mutant);
        let mut entries: Vec<NewEntry> = (0..size).map(entry).collect();
        let (a, b) = (dice.below(entries.len()), dice.below(entries.len()));
        match dice.below(6) {
            0 => entries[a].subject = Some(Sha256::of(b"another candidate")),
            1 => drop(entries.remove(a)),
            2 => entries.swap(a, b),
            3 => entries[a].record = entry(100 + b as u64).record,
            4 => entries.push(entry(200 + a as u64)),
            _ => entries.truncate(a),
        }
        let forged = folder.path().join(format!("forged{mutant}"));
        let stranger = Ledger::open(&forged).unwrap();
        let stranger = if dice.below(2) == 0 { stranger } else { stranger.signing(key(3)) };
        // Entries that name their plan by index may not even fit together any more.
        if stranger.append(entries, &noon).is_err() {
            tally.note(String::new, Err("the forged entries do not fit together".to_owned()));
            continue;
        }
        if dice.below(2) == 0 {
            let text = std::fs::read_to_string(forged.join("checkpoint")).unwrap_or_default();
            let body = text.split_once("\n\n").map_or("", |(body, _)| body);
            let lines = signed.split_once("\n\n").unwrap().1;
            std::fs::create_dir_all(&forged).unwrap();
            std::fs::write(forged.join("checkpoint"), format!("{body}\n\n{lines}")).unwrap();
        }
        let verdict = check(&forged, &head);
        let same = stranger.head().is_ok_and(|found| found == head);
        if same {
            // A swap of an entry with itself under the good signature is the good log.
            tally.unchanged += 1;
        } else {
            tally.note(|| format!("forged {mutant}"), verdict);
        }
        std::fs::remove_dir_all(&forged).unwrap();
    }
    tally.none_accepted(FORGED_LEDGERS, 3);
}

#[test]
fn no_mutant_of_a_proof_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    good_ledger(folder.path(), 30);
    let ledger = Ledger::open(folder.path()).unwrap();
    let proofs: Vec<String> = (0..30).map(|index| ledger.prove(index).unwrap().to_text()).collect();
    let keys: [PublicKey; 1] = [key(1).public()];
    let verify = |bytes: &[u8], expected: u64| -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let proof = Proof::parse(text).map_err(|error| error.to_string())?;
        let (_, leaf) = proof.verify(Some("studbook/ledger"), &keys).map_err(|error| error.to_string())?;
        // A true proof of something else is no proof of this.
        if leaf.record == entry(expected).record { Ok(()) } else { Err("proves another record".to_owned()) }
    };
    let mut tally = Tally::default();
    for mutant in 0..PROOF_MUTANTS {
        let mut dice = Dice::new("proof", mutant);
        let (at, other) = (dice.below(30), dice.below(30));
        let good = proofs[at].as_bytes();
        verify(good, at as u64).unwrap();
        let changed = mutate(good, proofs[other].as_bytes(), &mut dice);
        // The witness's line may go: the log's own is what is demanded.
        if changed == good || log_part(&changed).is_some_and(|log| Some(log) == log_part(good)) {
            tally.unchanged += 1;
            continue;
        }
        tally.note(|| format!("{mutant}: proof {at}"), verify(&changed, at as u64));
    }
    tally.none_accepted(PROOF_MUTANTS, 8);
}

fn trust() -> Trust {
    let text = [(4, Role::Producer), (5, Role::Promoter), (6, Role::Evaluator)]
        .map(|(seed, role)| Trust::entry(role.word(), role, &key(seed).public()))
        .concat();
    Trust::parse(&text, Path::new("trust.toml")).unwrap()
}

/// Statements of three kinds about four subjects, each signed by its role.
fn bundles() -> Vec<(Claim, Statement, Value)> {
    let kinds = [
        (Claim::Receipt, 4, "https://slsa.dev/provenance/v1"),
        (Claim::Admission, 5, "https://slsa.dev/verification_summary/v1"),
        (Claim::Evaluation, 6, "urn:studbook:evaluation-sidecar:v1"),
    ];
    let mut all = Vec::new();
    for (claim, seed, predicate_type) in kinds {
        for number in 0..4_u64 {
            let subject = vec![Descriptor::new(format!("c{number}"), Sha256::of(&[number as u8]))];
            let predicate = json!({
                "verificationResult": if number % 2 == 0 { "PASSED" } else { "FAILED" },
                "parameters": { "lambda": 0.5 + number as f64, "seed": number.to_string() },
                "inputs": [Sha256::of(b"a"), Sha256::of(&[9, number as u8])],
            });
            let statement = Statement::new(subject, predicate_type, predicate);
            let bundle = Bundle::sign(&statement, &key(seed)).unwrap();
            all.push((claim, statement, serde_json::from_slice(&bundle.to_bytes()).unwrap()));
        }
    }
    all
}

/// The paths to every member and element of a document.
fn paths(value: &Value, here: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
        _ => return,
    };
    for (name, value) in inner {
        // As a JSON pointer spells it.
        let path = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
        paths(value, &path, all);
        all.push(path);
    }
}

/// Changes the meaning of a document: a member dropped, replayed from another, swapped with another
/// member, doubled, or changed in place.
fn mutate_document(good: &Value, other: &Value, dice: &mut Dice) -> Value {
    let mut all = Vec::new();
    paths(good, "", &mut all);
    let path = all[dice.below(all.len())].clone();
    let second = all[dice.below(all.len())].clone();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let name = &name.replace("~1", "/").replace("~0", "~");
    let mut new = good.clone();
    match dice.below(5) {
        0 => match new.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(name)),
            Value::Array(items) => drop(items.remove(name.parse().unwrap())),
            _ => unreachable!(),
        },
        1 => {
            if let Some(replayed) = other.pointer(&path) {
                *new.pointer_mut(&path).unwrap() = replayed.clone();
            }
        }
        2 => {
            let value = new.pointer(&second).unwrap().clone();
            *new.pointer_mut(&path).unwrap() = value;
        }
        3 => match new.pointer_mut(parent).unwrap() {
            Value::Array(items) => items.push(items[0].clone()),
            Value::Object(members) => drop(members.insert(format!("{name}2"), json!(1))),
            _ => unreachable!(),
        },
        _ => {
            let value = new.pointer_mut(&path).unwrap();
            *value = match &*value {
                Value::String(text) if text.len() > 4 => json!(format!("{}{}", &text[1..], &text[..1])),
                Value::Number(number) => json!(number.as_f64().unwrap_or(0.0) + 1.0),
                _ => json!("other"),
            };
        }
    }
    new
}

#[test]
fn no_mutant_of_an_attestation_is_accepted() {
    let trust = trust();
    let all = bundles();
    let verify = |bytes: &[u8], claim: Claim, expected: &Statement| -> Result<(), String> {
        let bundle = Bundle::parse(bytes).map_err(|error| error.to_string())?;
        let (found, _) =
            bundle.verify(&trust, claim, &expected.predicate_type).map_err(|error| error.to_string())?;
        if found == *expected { Ok(()) } else { Err("states something else".to_owned()) }
    };
    let mut tally = Tally::default();
    for mutant in 0..BUNDLE_MUTANTS {
        let mut dice = Dice::new("bundle", mutant);
        let (claim, statement, good) = &all[dice.below(all.len())];
        let (_, _, other) = &all[dice.below(all.len())];
        let good_bytes = canonical::to_vec(good).unwrap();
        verify(&good_bytes, *claim, statement).unwrap();
        let changed = match dice.below(3) {
            // Bytes of the file.
            0 => mutate(&good_bytes, &canonical::to_vec(other).unwrap(), &mut dice),
            // Members of the bundle, spelled canonically again.
            1 => canonical::to_vec(&mutate_document(good, other, &mut dice)).unwrap(),
            // Members of the statement inside, under the old signature.
            _ => {
                let payload = |bundle: &Value| -> Value {
                    let text = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
                    serde_json::from_slice(&studbook::base::base64::decode(text).unwrap()).unwrap()
                };
                let inner = mutate_document(&payload(good), &payload(other), &mut dice);
                let mut new = good.clone();
                let bytes = canonical::to_vec(&inner).unwrap();
                new["dsseEnvelope"]["payload"] = json!(studbook::base::base64::encode(&bytes));
                canonical::to_vec(&new).unwrap()
            }
        };
        if changed == good_bytes {
            tally.unchanged += 1;
            continue;
        }
        tally.note(|| format!("{mutant}"), verify(&changed, *claim, statement));
    }
    tally.none_accepted(BUNDLE_MUTANTS, 10);
}
