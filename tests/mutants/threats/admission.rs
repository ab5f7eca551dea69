//! Admissions that are used again, or lack what they rest on.

use super::*;

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
