//! Signed statements about records, and approvals that are signatures.

use serde_json::Value;

use crate::space::Space;

const ROLES: [&str; 5] = ["producer", "evaluator", "promoter", "log", "registry"];

/// A cycle that was run with a key for every role.
pub(crate) fn attested() -> Space {
    let space = Space::new();
    for role in ROLES {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
}

fn shown(space: &Space, name: &str) -> Value {
    serde_json::from_str(&space.read(&format!(".studbook/runs/tiny/{name}.sigstore.json"))).unwrap()
}

fn statement(bundle: &Value) -> Value {
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    serde_json::from_slice(&studbook::base::base64::decode(payload).unwrap()).unwrap()
}

#[test]
fn every_record_that_claims_something_is_signed_by_its_role() {
    let space = attested();
    for (name, predicate) in [
        ("01-source/one", "urn:studbook:source-artifact:v"),
        ("02-compat/average", "https://in-toto.io/attestation/scai/v0.3"),
        ("04-operator/average", "https://slsa.dev/provenance/v1"),
        ("05-candidate/average", "urn:studbook:candidate-manifest:v"),
        ("06-smoke/average", "https://in-toto.io/attestation/test-result/v0.1"),
        ("07-eval/average.digits", "urn:studbook:evaluation-sidecar:v"),
        ("08-promotion/average", "https://in-toto.io/attestation/svr/v0.2"),
        ("09-admission/average", "https://slsa.dev/verification_summary/v1"),
        ("11-review/tiny", "urn:studbook:population-review:v"),
        ("12-recipe/tiny", "urn:studbook:parent-pool-recipe:v"),
        ("13-registry/tiny", "https://in-toto.io/attestation/release/v0.1"),
    ] {
        let bundle = shown(&space, name);
        assert_eq!(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
        assert_eq!(bundle["dsseEnvelope"]["payloadType"], "application/vnd.in-toto+json");
        let statement = statement(&bundle);
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert!(statement["predicateType"].as_str().unwrap().starts_with(predicate), "{name}: {statement}");
        let digest = statement["subject"][0]["digest"].as_object().unwrap();
        assert_eq!(digest.keys().collect::<Vec<_>>(), ["sha256"]);
    }
    let admission = statement(&shown(&space, "09-admission/average"));
    assert_eq!(admission["predicate"]["verifiedLevels"], serde_json::json!(["STUDBOOK_ADMITTED"]));
    let refusal = statement(&shown(&space, "09-admission/tasks"));
    assert_eq!(refusal["predicate"]["verificationResult"], "FAILED");
    space
        .studbook(&["verify", "plan.toml"])
        .exits(0)
        .says("signed by promoter `promoter`")
        .says(", 0 failed");
    // Signing is not work: nothing runs again, and the same bytes come out.
    let before = space.files(".studbook/runs");
    space.studbook(&["run", "plan.toml"]).exits(3).says(" 0 executed");
    assert!(space.files(".studbook/runs") == before);
    // The secret keys may go; what they signed stays.
    std::fs::remove_dir_all(space.path("keys")).unwrap();
    space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(space.files(".studbook/runs") == before);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

/// The receipt says nothing of the machine, the provenance does; and it stays as it was told when the child
/// comes out of the cache, even by another program.
#[test]
fn provenance_names_the_program_and_the_processor() {
    let space = attested();
    let definition = |space: &Space| {
        statement(&shown(space, "04-operator/average"))["predicate"]["buildDefinition"].clone()
    };
    let told = definition(&space);
    let machine = told["internalParameters"].as_object().unwrap();
    assert_eq!(machine.keys().collect::<Vec<_>>(), ["architecture", "features", "system", "vectors"]);
    assert_eq!(machine["architecture"], std::env::consts::ARCH);
    let program = told["resolvedDependencies"].as_array().unwrap().last().unwrap().clone();
    let binary = std::fs::read(env!("CARGO_BIN_EXE_studbook")).unwrap();
    assert_eq!(program["digest"]["sha256"], studbook::base::digest::Sha256::of(&binary).to_hex());
    space.studbook(&["verify", "plan.toml"]).exits(0).says(
        "attestation of operator:average: signed by producer `producer`, who says: made by studbook 0.1.0 (",
    );
    let receipt = space.read(".studbook/runs/tiny/04-operator/average.json");
    for word in [std::env::consts::ARCH, "avx2", "baseline"] {
        assert!(!receipt.contains(word), "{word} in {receipt}");
    }
    // Signed anew from the cache, it is the same.
    let before = space.read(&kept(&space, "04-operator/average"));
    std::fs::remove_dir_all(space.path(".studbook/attestations")).unwrap();
    space.studbook(&["run", "plan.toml"]).exits(3).says(" 0 executed");
    assert_eq!(space.read(&kept(&space, "04-operator/average")), before);
    // What was made before there were keys is signed without: nobody took it down.
    let unsigned = Space::new();
    unsigned.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert!(!unsigned.path(".studbook/builds").exists());
    unsigned.studbook(&["keys", "new", "producer"]).exits(0);
    unsigned.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert_eq!(definition(&unsigned)["internalParameters"], serde_json::json!({}));
    assert_eq!(unsigned.read(".studbook/runs/tiny/04-operator/average.json"), receipt);
}

/// The file the store keeps of what is shown under this name.
pub(crate) fn kept(space: &Space, name: &str) -> String {
    let wanted = space.read(&format!(".studbook/runs/tiny/{name}.sigstore.json"));
    let files = space.files(".studbook/attestations");
    let found = files.into_iter().find(|(_, bytes)| bytes == wanted.as_bytes());
    format!(".studbook/attestations/{}", found.unwrap().0)
}

#[track_caller]
fn refused(space: &Space, stage: &str, why: &str) {
    let said = space.studbook(&["verify", "plan.toml"]).exits(4);
    let line = said.out.lines().find(|line| line.starts_with(&format!("FAIL  attestation of {stage}: ")));
    assert!(line.is_some_and(|line| line.contains(why)), "no {stage}: {why} in\n{}", said.out);
}

#[test]
fn an_attestation_that_was_changed_replayed_or_lost_is_refused() {
    let space = attested();
    let path = kept(&space, "09-admission/average");
    let good = space.read(&path);
    space.write(&path, space.read(&kept(&space, "09-admission/tasks")).as_bytes());
    refused(&space, "admission:average", "it is about another subject");
    space.write(&path, space.read(&kept(&space, "08-promotion/average")).as_bytes());
    refused(&space, "admission:average", "the predicate is");
    space.write(&path, space.read(&kept(&space, "04-operator/average")).as_bytes());
    refused(&space, "admission:average", "the producer key `producer` may not sign admission records");
    space.write(&path, good.replacen("\"sig\":\"", "\"sig\":\"AAAA", 1).as_bytes());
    refused(&space, "admission:average", "signature");
    std::fs::remove_file(space.path(&path)).unwrap();
    refused(&space, "admission:average", "nobody signed this one");
    // An envelope as large as a disk is not read.
    let file = std::fs::File::create(space.path(&path)).unwrap();
    file.set_len(1 << 35).unwrap();
    refused(&space, "admission:average", "no plain file of at most");
    space.write(&path, good.as_bytes());
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn unsigned_work_is_possible_and_says_so() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let said = space.studbook(&["verify", "plan.toml"]).exits(0);
    assert!(!said.out.contains("attestation"), "{}", said.out);
    // A trust file demands what is not there.
    space.studbook(&["keys", "new", "producer", "--out", "elsewhere", "--trust", "trust.toml"]).exits(0);
    refused(&space, "source:one", "nobody signed this one");
}

/// A plan whose release gate takes two of three signatures.
fn two_of_three() -> Space {
    let space = Space::new();
    for name in ["ada", "bob", "eve"] {
        let arguments = ["keys", "new", "approver", "--name", name, "--trust", "trust.toml"];
        space.studbook(&arguments).exits(0);
    }
    space.edit(
        "plan.toml",
        "statement = \"fit to be released\"",
        "statement = \"fit to be released\"\nkeys = [\"approver.ada\", \"approver.bob\"]\nthreshold = 2",
    );
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
}

fn approve(space: &Space, name: &str) -> crate::space::Said {
    let key = format!("keys/approver.{name}.pem");
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", name, "--key", &key])
}

#[test]
fn a_gate_takes_as_many_signed_approvals_as_it_says() {
    let space = two_of_three();
    let pending = space.studbook(&["plan", "plan.toml"]).exits(0);
    pending.says("2 signed approval of approver.ada, approver.bob: fit to be released");
    space
        .studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"])
        .exits(2)
        .complains("counts signed approvals only");
    approve(&space, "eve").exits(2).complains("does not name that key");
    approve(&space, "ada").exits(0);
    space.studbook(&["plan", "plan.toml"]).says("2 signed approval of approver.ada");
    space.studbook(&["run", "plan.toml"]).exits(3).says("1 of 2 signed approvals");
    // One key is counted once, however often it signs.
    approve(&space, "ada").exits(0);
    space.studbook(&["run", "plan.toml"]).exits(3).says("1 of 2 signed approvals");
    approve(&space, "bob").exits(0);
    // What was brought is not asked for again.
    let brought = space
        .studbook(&["status", "plan.toml"])
        .exits(0)
        .says("what was brought, which the next run looks at");
    assert!(!brought.out.contains("studbook attest"), "{}", brought.out);
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_signed_rejection_outlives_its_file_and_every_edit_of_the_plan() {
    let space = two_of_three();
    let reject =
        ["attest", "plan.toml", "ties", "--gate", "release", "--by", "bob", "--key", "keys/approver.bob.pem"];
    space.studbook(&[&reject[..], &["--reject", "--reason", "leaks"]].concat()).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0).says("rejected by approver.bob (signed): leaks");
    std::fs::remove_dir_all(space.path(".studbook/evidence")).unwrap();
    approve(&space, "ada").exits(2).complains("`ties` was refused by ledger entry");
    space.studbook(&["run", "plan.toml"]).exits(0).says("ties       refused   not-refused: ledger entry");
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    space.studbook(&["run", "plan.toml"]).exits(0).says("the same bytes were rejected at the gate `release`");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

/// The one file of evidence.
fn evidence(space: &Space) -> String {
    let files = space.files(".studbook/evidence");
    assert_eq!(files.len(), 1);
    format!(".studbook/evidence/{}", files.keys().next().unwrap())
}

#[test]
fn a_forged_approval_leaves_the_gate_closed() {
    let space = two_of_three();
    approve(&space, "ada").exits(0);
    let path = evidence(&space);
    let one: Value = serde_json::from_str(&space.read(&path)).unwrap();
    let closed = |document: &Value, why: &str| {
        let bytes = studbook::base::canonical::to_vec(document).unwrap();
        space.write(&path, &bytes);
        space.studbook(&["run", "plan.toml"]).exits(3).says(why);
    };
    let mut twice = one.clone();
    let bundle = twice["body"]["bundles"][0].clone();
    twice["body"]["bundles"].as_array_mut().unwrap().push(bundle);
    closed(&twice, "1 of 2 signed approvals; refused: `approver.ada` is there twice");
    let mut other = twice.clone();
    let bob = space.studbook(&["keys", "show", "keys/approver.bob.pem"]).exits(0).out;
    let bob = bob.lines().next().unwrap();
    other["body"]["bundles"][1]["verificationMaterial"]["publicKey"]["hint"] = bob.into();
    other["body"]["bundles"][1]["dsseEnvelope"]["signatures"][0]["keyid"] = bob.into();
    closed(&other, "1 of 2 signed approvals; refused: the signature does not match");
    // A word where a signature is asked for.
    space.write(&path, b"{\"body\":{},\"type\":\"urn:studbook:approval:v1\"}");
    space.studbook(&["run", "plan.toml"]).exits(3).says("the approval that was brought is not signed");
}

#[test]
fn a_signed_approval_of_another_candidate_is_refused() {
    let space = two_of_three();
    approve(&space, "ada").exits(0);
    approve(&space, "bob").exits(0);
    let path = evidence(&space);
    let signed = space.read(&path);
    // Other weights are another candidate; the gate is the same.
    space.edit("plan.toml", "density = 0.5", "density = 0.75");
    let run = space.studbook(&["run", "plan.toml"]).exits(3);
    let said = approve(&space, "ada");
    let plan = space.studbook(&["plan", "plan.toml"]).out;
    assert_eq!(said.code, Some(0), "{}\n{}\n{plan}", said.err, run.out);
    let files = space.files(".studbook/evidence");
    let new = files.keys().find(|name| !path.ends_with(name.as_str())).unwrap();
    space.write(&format!(".studbook/evidence/{new}"), signed.as_bytes());
    let why = "0 of 2 signed approvals; refused: `approver.ada` signed for another candidate";
    let alternative = "`approver.bob` signed for another candidate";
    let said = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(said.out.contains(why) || said.out.contains(alternative), "{}", said.out);
}

/// Takes a key back, by what `keys show` calls it.
pub(crate) fn revoke_key(space: &Space, stem: &str) -> crate::space::Said {
    let shown = space.studbook(&["keys", "show", &format!("keys/{stem}.pub.pem")]).exits(0).out;
    let id = shown.lines().next().unwrap().to_owned();
    space.studbook(&["revoke", &id, "--plan", "plan.toml", "--reason", "stolen"]).exits(0)
}

/// Another key in the place of one that was taken back, in the folder and in the trust file.
pub(crate) fn replace_key(space: &Space, role: &str) {
    for end in ["pem", "pub.pem"] {
        let _ = std::fs::remove_file(space.path(&format!("keys/{role}.{end}")));
    }
    let trust = space.read("trust.toml");
    let others = trust.split("[keys.").filter(|entry| !entry.starts_with(&format!("\"{role}\"")));
    space.write("trust.toml", others.collect::<Vec<_>>().join("[keys.").as_bytes());
    space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
}

/// What became of `average`, and the exit code.
pub(crate) fn average(space: &Space, code: i32) -> String {
    let out = space.studbook(&["run", "plan.toml"]).exits(code).out;
    out.lines().find(|line| line.starts_with("average ")).unwrap().to_owned()
}

/// Whoever approved with a key that was taken back did not approve, before or after.
#[test]
fn an_approval_by_a_revoked_key_counts_for_nothing() {
    let space = two_of_three();
    approve(&space, "ada").exits(0);
    approve(&space, "bob").exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0).says("approved by");
    revoke_key(&space, "approver.bob").says("tainted: tiny/ties");
    approve(&space, "bob").exits(5).complains("nothing is signed with it");
    space
        .studbook(&["run", "plan.toml"])
        .exits(0)
        .says("not-revoked: it was approved at the gate `release` by key");
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("ties"));
    space.studbook(&["verify", "plan.toml"]).exits(0);
    // Nor does it help to lose what was brought.
    std::fs::remove_dir_all(space.path(".studbook/evidence")).unwrap();
    space.studbook(&["run", "plan.toml"]).exits(0).says("refused   not-revoked");
    // One that came before the key was taken back, and was never counted, is not counted now.
    let space = two_of_three();
    approve(&space, "ada").exits(0);
    revoke_key(&space, "approver.bob");
    space.studbook(&["run", "plan.toml"]).exits(3).says("1 of 2 signed approvals");
}

/// Nothing is signed with a revoked key, nothing that it signed counts, and what was admitted on it stays
/// closed, whatever becomes of the signatures; the work can be done again with another key.
#[test]
fn what_was_admitted_on_a_revoked_key_is_closed() {
    for role in ["producer", "evaluator", "promoter"] {
        let space = attested();
        revoke_key(&space, role).says("tainted: tiny/average");
        let verify = space.studbook(&["verify", "plan.toml"]).exits(4);
        // Without its sources a cycle has no other records to tell of.
        assert!(verify.out.contains(" was revoked") || role == "producer", "{}", verify.out);
        // Neither with the signatures nor without them, under this plan or another.
        std::fs::remove_dir_all(space.path(".studbook/attestations")).unwrap();
        let before = space.studbook(&["ledger", "head", "--plan", "plan.toml"]).out;
        space.edit("plan.toml", "seconds = 600", "seconds = 601");
        space
            .studbook(&["run", "plan.toml"])
            .exits(5)
            .complains(&format!("the {role} key "))
            .complains("nothing is signed with it")
            .complains(&format!("studbook keys new {role}"));
        assert_eq!(space.studbook(&["ledger", "head", "--plan", "plan.toml"]).out, before);
        space.edit("plan.toml", "seconds = 601", "seconds = 600");
        replace_key(&space, role);
        let why = average(&space, 3);
        assert!(why.contains("not-revoked: it was admitted by record"), "{role}: {why}");
        assert!(!space.read(".studbook/registry/tiny/selector.json").contains("average"));
        space.studbook(&["verify", "plan.toml"]).exits(0);
        // Sources are signed anew, and what is decided now is decided on the new key.
        space.edit("plan.toml", "seconds = 600", "seconds = 601");
        let now = average(&space, 3);
        assert!(now.contains("admitted"), "{role}: {now}");
        space.studbook(&["verify", "plan.toml"]).exits(0);
    }
}

/// Who signed a record, its attestation tells: one that cannot be read is not passed over.
#[test]
fn a_revoked_key_is_found_behind_damage_or_the_candidate_is_closed() {
    let space = attested();
    let attestations: Vec<String> = space.files(".studbook/attestations").into_keys().collect();
    for name in attestations {
        let path = format!(".studbook/attestations/{name}");
        let bytes = std::fs::read(space.path(&path)).unwrap();
        space.write(&path, &bytes[..bytes.len() - 1]);
    }
    revoke_key(&space, "promoter").says("tainted: tiny/average").says("cannot be read in this store");
    replace_key(&space, "promoter");
    let why = average(&space, 3);
    assert!(why.contains("not-revoked: it was admitted by record"), "{why}");
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("average"));
}

/// Signatures that are still there speak against a candidate while nobody can sign anew.
#[test]
fn a_gate_rests_on_nothing_that_a_revoked_key_signed() {
    let space = attested();
    revoke_key(&space, "evaluator");
    for end in ["pem", "pub.pem"] {
        std::fs::remove_file(space.path(&format!("keys/evaluator.{end}"))).unwrap();
    }
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    let why = average(&space, 0);
    assert!(
        why.contains("not-revoked: the gate `no-worse` rests on a record that was signed by key"),
        "{why}"
    );
    // Who can sign again later changes nothing of why it was refused then.
    let refused = |space: &Space| {
        let said = space.studbook(&["verify", "plan.toml"]);
        assert!(!said.out.contains("FAIL  promotion"), "{}", said.out);
        said.says("  ok  promotion:average: derived again")
    };
    refused(&space);
    replace_key(&space, "evaluator");
    refused(&space);
    space
        .studbook(&["run", "plan.toml"])
        .exits(0)
        .says("average    refused  not-revoked: the gate `no-worse`");
    refused(&space).exits(0);
}
