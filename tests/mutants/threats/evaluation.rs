//! Sidecars, outcomes, claims and thresholds.

use super::*;

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
