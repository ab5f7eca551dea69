//! Records forged by somebody who knows the format: a new blob, a result that names it, a seal that fits. And the
//! other side: what honest use leaves behind does not fail.

use serde_json::{Value, json};
use studbook::base::canonical;
use studbook::base::digest::Sha256;
use studbook::store::{Store, Verdict};

use crate::space::Space;
use crate::verify::{actions_with, done, forge, refused};

/// Puts other bytes in the place of an output, where it is now what the view shows under this name.
fn replace(space: &Space, output: &str, shown: &str, change: impl FnOnce(&str) -> Vec<u8>) {
    let kept = space.read(&format!(".studbook/runs/tiny/{shown}"));
    let old = studbook::base::digest::Digest::of(kept.as_bytes());
    let new = Store::open(&space.path(".studbook")).unwrap().put(&change(&kept)).unwrap();
    let mut forged = 0;
    for (name, mut result) in actions_with(space, output) {
        if result.outputs[output].digest == old {
            result.outputs.insert(output.to_owned(), new);
            forge(space, &name, &result);
            forged += 1;
        }
    }
    assert_eq!(forged, 1, "{shown}");
}

pub(crate) fn replace_record(space: &Space, shown: &str, change: impl FnOnce(&mut Value)) {
    replace(space, "record", shown, |kept| {
        let mut record: Value = serde_json::from_str(kept).unwrap();
        change(&mut record["body"]);
        canonical::to_vec(&record).unwrap()
    });
}

#[test]
fn the_threat_of_a_receipt_of_another_operation() {
    let space = done();
    replace_record(&space, "04-operator/tasks.json", |body| {
        assert_eq!(body["operator"]["parameters"]["lambda"], 0.5);
        body["operator"]["parameters"]["lambda"] = json!(0.75);
    });
    let differs = "`operator.parameters.lambda` is 0.75, expected 0.5";
    refused(&space, "operator:tasks", differs);
    space
        .studbook(&["run", "plan.toml", "--quiet"])
        .exits(1)
        .complains("the receipt is not of what its lineage bound")
        .complains(differs);
    refused(&space, "operator:tasks", differs);
    let said = space.studbook(&["verify", "plan.toml", "--recompute"]).exits(4);
    let said = said.says("FAIL  operator:tasks: recomputed: MISMATCH of the receipt");
    said.says(differs).says("operator:average: recomputed: MATCH");
}

#[test]
fn the_threat_of_a_receipt_that_tells_of_another_child() {
    let space = done();
    replace_record(&space, "04-operator/tasks.json", |body| {
        let tensor = &mut body["tensors"][0];
        assert!(tensor["name"].is_string(), "{tensor}");
        tensor["name"] = json!("another");
    });
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
        .studbook(&["verify", "plan.toml", "--recompute"])
        .exits(4)
        .says("FAIL  operator:tasks: recomputed: MISMATCH of the receipt: `tensors.0.");
}

#[test]
fn the_threat_of_a_proof_of_something_else() {
    let space = done();
    let shown = "10-ledger/average.tlog-proof";
    let (honest, other) = (
        space.read(&format!(".studbook/runs/tiny/{shown}")),
        space.read(".studbook/runs/tiny/10-ledger/tasks.tlog-proof"),
    );
    replace(&space, "proof.average", shown, |_| other.into_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    refused(&space, "ledger:admissions", "the proof for `average`: is of entry 2, the decision is entry 1");
    replace(&space, "proof.average", shown, |_| {
        let (proof, checkpoint) = honest.rsplit_once("\n3\n").unwrap();
        format!("{proof}\n4\n{checkpoint}").into_bytes()
    });
    refused(&space, "ledger:admissions", "the proof for `average`: ");
}

#[test]
fn the_threat_of_a_ledger_record_that_says_otherwise() {
    let space = done();
    replace_record(&space, "10-ledger/admissions.json", |body| {
        let entries = body["entries"].as_array_mut().unwrap();
        let refusal = entries.iter_mut().find(|entry| entry["kind"] == "refusal").unwrap();
        refusal["kind"] = json!("admission");
    });
    refused(&space, "ledger:admissions", "expected \"refusal\"");
}

#[test]
fn the_threat_of_a_registry_record_that_leaves_somebody_out() {
    let space = done();
    let shown = "13-registry/tiny.json";
    replace_record(&space, shown, |body| body["entries"][0]["admission"] = json!(Sha256::of(b"x")));
    refused(
        &space,
        "registry:tiny",
        "the record is not what admissions and ledger say: `entries.0.admission` is ",
    );
    // Why somebody is left out is asked again by every run.
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    replace_record(&space, shown, |body| body["left_out"] = json!([["average", "it rhymes badly"]]));
    refused(&space, "registry:tiny", "no longer there as it was");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert!(!space.read(&format!(".studbook/runs/tiny/{shown}")).contains("rhymes"));
}

#[test]
fn the_threat_of_an_edit_of_what_people_read() {
    let space = done();
    let (record, link) =
        (".studbook/runs/tiny/09-admission/tasks.json", ".studbook/runs/tiny/04-operator/tasks.slm");
    let honest = (space.read(record), std::fs::read_link(space.path(link)).unwrap());
    space.edit(record, "\"admitted\":false", "\"admitted\":true");
    refused(&space, "view", "09-admission/tasks.json is not what the store has");
    space.studbook(&["run", "plan.toml"]).exits(3).says(", 0 executed, ");
    assert_eq!(space.read(record), honest.0);
    let other = std::fs::read_link(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap();
    std::fs::remove_file(space.path(link)).unwrap();
    std::os::unix::fs::symlink(other, space.path(link)).unwrap();
    refused(&space, "view", "04-operator/tasks.slm is not what the store has");
    space.studbook(&["run", "plan.toml"]).exits(3).says(", 0 executed, ");
    assert_eq!(std::fs::read_link(space.path(link)).unwrap(), honest.1);
    space.studbook(&["verify", "plan.toml"]).exits(0).says("view: ").says(" files, as the store has them");
}

#[test]
fn a_ledger_that_nobody_remembers_is_not_called_remembered() {
    let space = done();
    space.studbook(&["verify", "plan.toml"]).exits(0).says("3 entries, one tree, as remembered");
    let before = space.files(".studbook/ledger");
    space.studbook(&["revoke", "tasks", "--plan", "plan.toml", "--reason", "bad"]).exits(0);
    std::fs::remove_dir_all(space.path(".studbook/ledger")).unwrap();
    std::fs::remove_file(space.path(".studbook/heads")).unwrap();
    for (name, bytes) in before {
        space.write(&format!(".studbook/ledger/{name}"), &bytes);
    }
    let said = space.studbook(&["verify", "plan.toml"]).exits(0);
    said.says("3 entries, one tree, nothing was remembered to compare with: trust on first use");
}

#[test]
fn an_old_refusal_stays_what_it_was_when_something_is_taken_back() {
    let space = done();
    let refusal = ".studbook/runs/tiny/09-admission/tasks.json";
    let before = space.read(refusal);
    let suite = Sha256::of(space.read("suite.jsonl").as_bytes()).to_hex();
    space.studbook(&["revoke", &suite, "--plan", "plan.toml", "--reason", "leaked"]).exits(0);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    assert_eq!(space.read(refusal), before);
    assert!(space.read(".studbook/runs/tiny/09-admission/average.json").contains("not-revoked"));
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says(", 0 failed");
}

#[test]
fn a_run_that_was_stopped_after_an_edit_is_no_tampering() {
    let space = done();
    space.edit("plan.toml", "seconds = 600", "seconds = 0");
    space.studbook(&["run", "plan.toml", "--quiet"]);
    let said = space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    said.says("not made yet of what the plan says now; the next run makes it");
    // Back to what was run whole: nothing is missing.
    space.edit("plan.toml", "seconds = 0", "seconds = 600");
    let said = space.studbook(&["verify", "plan.toml"]).exits(0);
    assert!(!said.out.contains("not made yet"), "{}", said.out);
}

#[test]
fn a_source_that_holds_no_longer_says_why() {
    let space = done();
    let two = Sha256::of(&std::fs::read(space.path("two.slm")).unwrap()).to_hex();
    space.studbook(&["revoke", &two, "--plan", "plan.toml", "--reason", "not ours"]).exits(0);
    refused(&space, "source:two", "it was taken back since and cannot be a parent any more: ");
    space.write(".studbook/ledger/checkpoint", b"nothing");
    let said = space.studbook(&["verify", "plan.toml"]).exits(4);
    let source = said.out.lines().find(|line| line.starts_with("FAIL  source:two: ")).unwrap();
    assert!(source.contains("nobody can tell whether it still holds: "), "{source}");
}

/// Forgets every evaluation, so that the next run makes it of what is cached below it.
fn forget_evaluations(space: &Space) {
    for (name, _) in actions_with(space, "outcomes") {
        std::fs::remove_file(space.path(&format!(".studbook/actions/{name}"))).unwrap();
    }
}

#[test]
fn the_threat_of_a_forged_self_in_f32() {
    let space = Space::new();
    space.write("texts.jsonl", crate::evaluate::texts(4).as_bytes());
    let suite = "\n[[eval]]\nname = \"rounding\"\nkind = \"quantization_delta\"\n\
                 cases = \"texts.jsonl\"\nuse = \"gate\"\n\n[review]";
    space.write("plan.toml", space.read("plan.toml").replacen("\n[review]", suite, 1).as_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says(", 0 failed");
    let child = std::fs::read(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap();
    let child = Store::open(&space.path(".studbook")).unwrap().put(&child).unwrap();
    // A child in f32 is larger than any other here, and only evaluations look for it.
    let mut forged = 0;
    for (name, mut result) in actions_with(&space, "artifact") {
        if result.outputs["artifact"].bytes > 2 * child.bytes {
            result.outputs.insert("artifact".to_owned(), child);
            forge(&space, &name, &result);
            forged += 1;
        }
    }
    assert_eq!(forged, 3);
    forget_evaluations(&space);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let kl = &crate::evaluate::sidecar(&space, "average.rounding")["metrics"]["kl_divergence"]["value"];
    assert_eq!(kl.as_f64(), Some(0.0), "it is held against itself");
    let said = space.studbook(&["verify", "plan.toml", "--recompute"]).exits(4);
    said.says("FAIL  eval:average.rounding: asked again: MISMATCH, `outcomes` differs");
    // Looking for it mends nothing, and so hides nothing.
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(4);
}

#[test]
fn the_threat_of_a_forged_search_for_cases() {
    let space = Space::new();
    crate::evaluate::declare_trained(&space, "all of it: p3=3 and p5=5, no more\n");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let overlapping = |space: &Space| {
        crate::evaluate::sidecar(space, "average.digits")["contamination"]["overlapping"].as_u64()
    };
    assert_eq!(overlapping(&space), Some(2));
    let nothing = Store::open(&space.path(".studbook")).unwrap().put(b"[]").unwrap();
    let searches: Vec<_> = actions_with(&space, "outcomes")
        .into_iter()
        .filter(|(_, result)| result.summary.starts_with("a search for cases"))
        .collect();
    assert!(!searches.is_empty());
    forget_evaluations(&space);
    for (name, mut result) in searches {
        result.outputs.insert("outcomes".to_owned(), nothing);
        forge(&space, &name, &result);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert_eq!(overlapping(&space), Some(0));
    let said = space.studbook(&["verify", "plan.toml", "--recompute"]).exits(4);
    said.says("FAIL  eval:average.digits: asked again: MISMATCH, `record` differs");
}

/// Opens every gate of a candidate in the promotion template that its result names; what it found began so.
fn forge_promotion(space: &Space, candidate: &str, found: &str) -> String {
    replace_record(space, &format!("08-promotion/{candidate}.json"), |body| {
        for gate in body["gates"].as_array_mut().unwrap() {
            gate["state"] = json!("passed");
        }
        assert_ne!(body["decision"], "admit");
        body["decision"] = json!("admit");
    });
    let closed = |result: &studbook::store::ActionResult| {
        result.verdict != Verdict::Pass && result.summary.starts_with(found)
    };
    let mut found = actions_with(space, "record");
    found.retain(|(_, result)| closed(result));
    let [(name, result)] = &mut found[..] else { panic!("{found:?}") };
    (result.verdict, result.summary) = (Verdict::Pass, "all 5 gates passed".to_owned());
    forge(space, name, result);
    name.clone()
}

#[test]
fn the_threat_of_a_forged_promotion_that_the_ledger_would_keep() {
    let space = done();
    let ledger = space.read(".studbook/ledger/checkpoint");
    let forged = forge_promotion(&space, "ties", "release: ");
    for _ in 0..2 {
        let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
        let said = said.complains("the decision on `ties` is not entered");
        let said =
            said.complains("promotion:ties does not follow from its evidence: derived again, `record`");
        said.complains("without ").complains(&format!(".studbook/actions/{forged} the next run makes it"));
        assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
        assert!(!space.read(".studbook/registry/tiny/selector.json").contains("\"ties\""));
    }
    // What it says to do works.
    std::fs::remove_file(space.path(&format!(".studbook/actions/{forged}"))).unwrap();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger);
    space.studbook(&["verify", "plan.toml"]).exits(0);
    // Whom the ledger refused is not believed to be anything else: it is decided again, as it was.
    forge_promotion(&space, "tasks", "quality: ");
    space.studbook(&["run", "plan.toml"]).exits(3).says("tasks      refused");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn the_threat_of_forged_comparisons_and_admissions() {
    let space = crate::evaluate::space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let ledger = space.read(".studbook/ledger/checkpoint");
    replace_record(&space, "07-eval/comparisons.json", |body| {
        for row in body["rows"].as_array_mut().unwrap() {
            row["state"] = json!("failed");
        }
    });
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
    said.complains("what the store has of eval:comparisons does not follow from its evidence");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger);

    let space = done();
    let ledger = space.read(".studbook/ledger/checkpoint");
    replace_record(&space, "09-admission/average.json", |body| body["admitted"] = json!(false));
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
    said.complains("what the store has of admission:average does not follow from its evidence");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger);
}

/// Who can write to the store and has no key makes nobody better than the outcomes are, whoever decides next.
#[test]
fn the_threat_of_a_forged_sidecar_that_a_decision_would_rest_on() {
    let space = done();
    let ledger = space.read(".studbook/ledger/checkpoint");
    replace_record(&space, "07-eval/ties.digits.json", |body| {
        let metric = &mut body["metrics"]["exact_match"]["value"];
        assert_eq!(*metric, 0);
        *metric = json!(1);
    });
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    for _ in 0..2 {
        let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
        said.complains("the decision on `ties` is not entered")
            .complains("eval:ties.digits does not follow from its evidence")
            .complains("the outcomes come to other metrics than the sidecar says");
        assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
        assert!(!space.read(".studbook/registry/tiny/selector.json").contains("\"ties\""));
    }
    // What it says to do works.
    forget_evaluations(&space);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
}

/// The gates that every candidate has, and what a sidecar says beside its numbers, rest on records as well.
#[test]
fn the_threat_of_forged_records_behind_the_gates_of_everybody() {
    type Forgery = (&'static str, fn(&mut Value), &'static str);
    let forgeries: [Forgery; 9] = [
        ("02-compat/ties.json", |body| body["checks"] = json!([]), "compat:ties does not follow"),
        (
            "06-smoke/ties.json",
            |body| body["prompts"][0]["prompt"] = json!("an easier one"),
            "the record is of other prompts",
        ),
        (
            "06-smoke/ties.json",
            |body| body["cache_bytes"] = json!(1),
            "keys and values take 2048 bytes, the record says 1",
        ),
        (
            "06-smoke/ties.json",
            |body| body["runtime"] = json!("an abacus"),
            "no runtime of this program is called",
        ),
        ("06-smoke/ties.json", |body| body["prompts"][0]["text"] = json!("2"), "its tokens are \""),
        (
            "06-smoke/ties.json",
            |body| body["prompts"][0]["tokens"].as_array_mut().unwrap().push(json!(97)),
            "at most 4 tokens follow, not 5",
        ),
        (
            "06-smoke/ties.json",
            |body| body["prompts"][0]["logits"] = json!(null),
            "logits have a digest if all of them are finite",
        ),
        (
            "07-eval/ties.digits.json",
            |body| body["contamination"]["overlapping"] = json!(1),
            "found in other places than the sidecar says",
        ),
        (
            "07-eval/ties.digits.json",
            |body| body["suite"]["options"]["max_tokens"] = json!(1),
            "asked with other options",
        ),
    ];
    for (shown, change, why) in forgeries {
        let space = done();
        replace_record(&space, shown, change);
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        let ledger = space.read(".studbook/ledger/checkpoint");
        space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
        let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
        said.complains("the decision on `ties` is not entered").complains(why);
        assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
    }
}

/// A refusal is the last word, so nobody is refused for not running who could.
#[test]
fn the_threat_of_a_smoke_run_that_is_said_to_be_impossible() {
    let space = done();
    let ledger = space.read(".studbook/ledger/checkpoint");
    replace_record(&space, "06-smoke/ties.json", |body| {
        (body["prompts"], body["passed"]) = (json!([]), json!(false));
        (body["quality_claim"], body["cannot_run"]) = (json!("not-run"), json!("too old"));
        body["cache_bytes"] = json!(0);
    });
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
    said.complains("the decision on `ties` is not entered")
        .complains("whether the model can be run here is not what the record says");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
}

/// A refusal is the last word, so nobody is refused for numbers that are not finite who would have failed on them.
#[test]
fn the_threat_of_logits_that_are_said_not_to_be_finite() {
    let space = done();
    let ledger = space.read(".studbook/ledger/checkpoint");
    replace_record(&space, "06-smoke/ties.json", |body| {
        (body["prompts"][0]["logits"], body["prompts"][0]["finite"]) = (json!(null), json!(false));
    });
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
    said.complains("the decision on `ties` is not entered").complains("it fails where logits are not finite");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
}

/// Words that a run can end with are not those of this model: before it is refused for good it is asked again.
#[test]
fn the_threat_of_a_smoke_run_that_is_said_to_fail() {
    let space = done();
    let ledger = space.read(".studbook/ledger/checkpoint");
    let error = "logit of token 3 is NaN; the weights overflow, so nothing can be chosen";
    let shown = "06-smoke/ties.json";
    replace_record(&space, shown, |body| {
        let run = &mut body["prompts"][0];
        assert_eq!(run["prompt"], "ab");
        (run["finite"], run["deterministic"], run["error"]) = (json!(false), json!(false), json!(error));
        (run["tokens"], run["text"], run["logits"]) = (json!([]), json!(""), json!(null));
        body["passed"] = json!(false);
    });
    let honest =
        studbook::base::digest::Digest::of(space.read(&format!(".studbook/runs/tiny/{shown}")).as_bytes());
    let said = |result: &studbook::store::ActionResult| {
        let found = result.record().unwrap().digest;
        result.summary.starts_with("ab -> ") && found != honest
    };
    let kept = Store::open(&space.path(".studbook")).unwrap();
    let about = |result: &studbook::store::ActionResult| {
        String::from_utf8(kept.read(&result.record().unwrap().digest).unwrap()).unwrap().contains(error)
    };
    let mut found = actions_with(&space, "record");
    found.retain(|(_, result)| said(result) && about(result));
    let [(name, result)] = &mut found[..] else { panic!("{found:?}") };
    let complaint = format!("the prompt \"ab\": {error}");
    result.summary = format!("does not run cleanly: {complaint}");
    result.verdict = Verdict::Reject(vec![complaint]);
    forge(&space, name, result);
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
    said.complains("the decision on `ties` is not entered")
        .complains("run again, the model does otherwise than the record says");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
}

/// What a gate found is not forgotten because it cannot be read.
#[test]
fn a_promotion_that_cannot_be_read_is_not_none() {
    let space = done();
    replace(&space, "record", "08-promotion/ties.json", |_| b"{}".to_vec());
    let why = "the promotion template of `ties`, the blob ";
    for command in [&["status", "plan.toml"][..], &["plan", "plan.toml"]] {
        space.studbook(command).exits(4).complains(why).complains("`studbook verify PLAN` says which");
    }
    let word = ["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"];
    space.studbook(&word).exits(4).complains(why);
    refused(&space, "promotion:ties", "differs");
}
