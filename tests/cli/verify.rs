//! Verifying: a good store passes, and each single tampering is found and named. Records that were forged together
//! with the result that names them are in `forged`.

use std::path::{Path, PathBuf};

use studbook::base::digest::{Digest, Sha256};
use studbook::store::{ActionResult, Blob, Store, Verdict};

use crate::space::{Said, Space};

/// A cycle that was run: one candidate is admitted, so its registry has an entry.
pub(crate) fn done() -> Space {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
}

/// Replaces a file, which may be read-only.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    replace(path, &bytes);
}

/// Where the store keeps what the view shows under this name.
fn object(space: &Space, shown: &str) -> PathBuf {
    let hex = Digest::of(space.read(&format!(".studbook/runs/tiny/{shown}")).as_bytes()).to_hex();
    let path = space.path(&format!(".studbook/objects/{}/{}", &hex[..2], &hex[2..]));
    assert!(path.is_file(), "{shown}");
    path
}

#[track_caller]
pub(crate) fn refused(space: &Space, what: &str, why: &str) -> Said {
    let said = space.studbook(&["verify", "plan.toml"]).exits(4);
    let failed: Vec<_> = said.out.lines().filter(|line| line.starts_with("FAIL")).collect();
    let found = failed.iter().any(|line| line.contains(&format!("FAIL  {what}: ")) && line.contains(why));
    assert!(found, "no {what}: {why} in\n{}", failed.join("\n"));
    assert!(said.out.ends_with(&format!(", {} failed\n", failed.len())), "{}", said.out);
    said
}

#[test]
fn a_good_store_holds_and_can_be_computed_again() {
    let space = done();
    let before = space.files(".studbook/runs");
    let said = space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    assert!(!said.out.contains("FAIL") && !said.out.contains("MATCH"), "{}", said.out);
    let said = space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says(", 0 failed");
    for candidate in ["average", "tasks", "ties"] {
        said.out
            .lines()
            .find(|line| line.contains(&format!("operator:{candidate}: recomputed: MATCH ")))
            .unwrap_or_else(|| panic!("{candidate}\n{}", said.out));
    }
    let one = space.studbook(&["verify", "plan.toml", "--recompute", "--candidate", "ties"]).exits(0);
    // Its model, and what it answered.
    assert_eq!(one.out.matches("MATCH").count(), 2, "{}", one.out);
    space.studbook(&["verify", "plan.toml", "--candidate", "ties"]).exits(2).complains("--recompute");
    let json = space.studbook(&["verify", "plan.toml", "--format", "json"]).exits(0).json();
    assert_eq!(json["failed"], 0);
    let stages = space.studbook(&["plan", "plan.toml", "--format", "json"]).json()["stages"].clone();
    // Every stage, what is shown, the ledger and the registry.
    assert_eq!(json["checked"], stages.as_array().unwrap().len() + 3);
    let pending = "  ok  admission:ties: not made: promotion:ties waits for evidence";
    space.studbook(&["verify", "plan.toml"]).exits(0).says(pending);
    assert_eq!(space.files(".studbook/runs"), before);
}

#[test]
fn nothing_to_verify_is_said() {
    let space = Space::new();
    space
        .studbook(&["verify", "plan.toml"])
        .exits(2)
        .complains("nothing to verify")
        .complains("run it first");
    assert!(!space.path(".studbook").exists());
    space.studbook(&["run", "plan.toml"]).exits(3);
    space
        .studbook(&["verify", "plan.toml", "--recompute", "--candidate", "nobody"])
        .exits(2)
        .complains("no candidate `nobody`");
}

#[test]
fn an_edited_plan_is_not_tampering() {
    let space = done();
    space.edit("plan.toml", "lambda = 0.5", "lambda = 0.25");
    space.studbook(&["verify", "plan.toml"]).exits(0).says("operator:tasks: not made yet");
    let arguments = ["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"];
    space.studbook(&arguments).exits(0);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_flipped_byte_in_an_artifact() {
    let space = done();
    flip(&std::fs::canonicalize(space.path(".studbook/runs/tiny/04-operator/ties.slm")).unwrap());
    refused(&space, "operator:ties", "artifact: the blob").says("is damaged");
    // What the finding says to do works.
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_lost_artifact() {
    let space = done();
    let path = std::fs::canonicalize(space.path(".studbook/runs/tiny/04-operator/ties.slm")).unwrap();
    std::fs::remove_file(path).unwrap();
    refused(&space, "operator:ties", "is not in the store");
}

#[test]
fn a_flipped_byte_in_a_record() {
    let space = done();
    flip(&object(&space, "08-promotion/tasks.json"));
    refused(&space, "promotion:tasks", "record: the blob").says("is damaged");
}

#[test]
fn edited_outcomes() {
    let space = done();
    let path = object(&space, "07-eval/ties.digits.outcomes.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = text.replace("false", "true ");
    assert_ne!(edited, text, "{text}");
    replace(&path, edited.as_bytes());
    refused(&space, "eval:ties.digits", "outcomes: the blob").says("is damaged");
}

#[test]
fn an_action_result_that_points_to_another_candidates_blob() {
    let space = done();
    let operators = actions_with(&space, "artifact");
    assert_eq!(operators.len(), 3);
    let (path, mut result) = operators[0].clone();
    result.outputs.insert("artifact".to_owned(), operators[1].1.outputs["artifact"]);
    forge(&space, &path, &result);
    let said = space.studbook(&["verify", "plan.toml"]).exits(4).says("the input `artifact` changed");
    assert!(said.out.contains("FAIL  candidate:"), "{}", said.out);
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(4).says("recomputed: MISMATCH");
}

/// Action results that made a blob of this name.
pub(crate) fn actions_with(space: &Space, output: &str) -> Vec<(String, ActionResult)> {
    let files = space.files(".studbook/actions").into_iter();
    let all = files.map(|(name, bytes)| {
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        (name, serde_json::from_value::<ActionResult>(file["result"].clone()).unwrap())
    });
    all.filter(|(_, result)| result.outputs.contains_key(output)).collect()
}

/// Writes another result for an action, sealed as its own would be: what a forger who knows the format does.
pub(crate) fn forge(space: &Space, name: &str, result: &ActionResult) {
    let store = Store::open(&space.path(".studbook")).unwrap();
    store.record_action(&name.replace('/', "").parse().unwrap(), result).unwrap();
}

#[test]
fn an_action_result_with_another_verdict() {
    let waits: fn(&Verdict) -> bool = |verdict| matches!(verdict, Verdict::Wait(_));
    let rejects: fn(&Verdict) -> bool = |verdict| matches!(verdict, Verdict::Reject(_));
    for (closed, stage, why) in [
        (waits, "promotion:ties", "derived again, the verdict is Wait"),
        // The ledger knows of this one.
        (rejects, "promotion:tasks", "ledger entry 2 refuses it"),
    ] {
        let space = done();
        let mut results = actions_with(&space, "record");
        results.retain(|(_, result)| closed(&result.verdict));
        assert!(!results.is_empty());
        for (name, mut result) in results {
            result.verdict = Verdict::Pass;
            forge(&space, &name, &result);
        }
        refused(&space, stage, why);
    }
}

#[test]
fn an_action_result_with_another_summary() {
    let space = done();
    let mut measured = actions_with(&space, "outcomes");
    measured.retain(|(_, result)| result.outputs.contains_key("record"));
    let (name, mut result) = measured.swap_remove(0);
    let honest = result.summary.clone();
    result.summary = "exact_match 1.000 (n 3)".to_owned();
    // Who does not seal it is told that nothing whole is there, and the next run makes it again.
    let file = space.path(&format!(".studbook/actions/{name}"));
    let edited = std::fs::read_to_string(&file).unwrap().replace(&honest, &result.summary);
    replace(&file, edited.as_bytes());
    space.studbook(&["verify", "plan.toml"]).exits(4).says("what it made is no longer recorded");
    forge(&space, &name, &result);
    space.studbook(&["verify", "plan.toml"]).exits(4).says("derived again, it says");
    std::fs::remove_file(&file).unwrap();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn an_action_result_of_another_action() {
    let space = done();
    let results = actions_with(&space, "artifact");
    let [from, to] = [0, 1].map(|at| space.path(&format!(".studbook/actions/{}", results[at].0)));
    replace(&to, &std::fs::read(from).unwrap());
    space.studbook(&["verify", "plan.toml"]).exits(4).says("what it made is no longer recorded");
}

#[test]
fn a_changed_parent_file() {
    let space = done();
    flip(&space.path("two.slm"));
    let bound = "the input `model` changed: the record binds ";
    refused(&space, "source:two", bound)
        .says(&Digest::of(&std::fs::read(space.path("two.slm")).unwrap()).to_hex());
}

/// What the source read once is evidence that is lost; what nobody ever read is a slip in the plan.
#[test]
fn a_parent_file_that_is_cut_short_or_gone() {
    let space = Space::new();
    let path = space.path("two.slm");
    let bytes = std::fs::read(&path).unwrap();
    let lose = |cut: bool| match cut {
        true => replace(&path, &bytes[..100]),
        false => std::fs::remove_file(&path).unwrap(),
    };
    lose(false);
    space.studbook(&["verify", "plan.toml"]).exits(2).complains("two.slm does not exist");
    std::fs::write(&path, &bytes).unwrap();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let bound = format!("; the record binds {}: put the file back", Digest::of(&bytes).to_hex());
    for (cut, why) in [(true, "two.slm: not a usable SLM1 file"), (false, "two.slm does not exist")] {
        lose(cut);
        refused(&space, "source:two", why)
            .says(&bound)
            .says("nothing else was checked")
            .says("1 checked, 1 failed");
        // Whoever wants to run it names another file, or puts this one back.
        space.studbook(&["check", "plan.toml"]).exits(2).complains(why);
        std::fs::write(&path, &bytes).unwrap();
        space.studbook(&["verify", "plan.toml"]).exits(0);
    }
    // A mistake beside it is one.
    lose(false);
    space.edit("plan.toml", "lambda = 0.5", "lamda = 0.5");
    space.studbook(&["verify", "plan.toml"]).exits(2).complains("lamda");
}

/// A file of somebody's with the same bytes is read where the store's own is lost, and nothing was taken back.
#[test]
fn a_lost_record_with_its_bytes_in_another_file() {
    let space = done();
    let lost = object(&space, "01-source/two.json");
    space.write("kept.json", &std::fs::read(&lost).unwrap());
    let digest = Digest::of(&std::fs::read(&lost).unwrap());
    std::fs::remove_file(&lost).unwrap();
    let kept = space.path("kept.json");
    let known = format!("{}{digest} 0 0 0 0 0 0 {}\n", space.read(".studbook/index/stamps"), kept.display());
    space.write(".studbook/index/stamps", known.as_bytes());
    let why = format!("record: the blob {} is not in the store; ", digest.to_hex());
    let said = refused(&space, "source:two", &why).says("kept.json has the same bytes");
    assert!(!said.out.contains("taken back"), "{}", said.out);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

/// Without them nobody can tell whether the ledger was led back, so it is evidence, too.
#[test]
fn damaged_heads_are_evidence() {
    let space = done();
    let good = space.read(".studbook/heads");
    space.write(".studbook/heads", good.replace("\"heads\"", "\"haads\"").as_bytes());
    for command in ["check", "plan", "status", "run"] {
        space.studbook(&[command, "plan.toml"]).exits(4).complains("Restore the file, or delete it");
    }
    space.studbook(&["lineage", "average"]).exits(4).complains("the remembered ledger heads");
    refused(&space, "ledger", "the remembered ledger heads");
    space.write(".studbook/heads", good.as_bytes());
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_changed_suite() {
    let space = done();
    space.edit("suite.jsonl", "\"p3=\"", "\"p33=\"");
    refused(&space, "eval:one.digits", "the input `suite` changed");
}

/// The newest file of ledger entries, and its entries: each after its length in two bytes.
fn entries(space: &Space) -> (PathBuf, Vec<String>) {
    let files = space.files(".studbook/ledger/tile/entries");
    let (name, bytes) = files.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let (mut entries, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (entry, behind) = behind.split_at(usize::from(length[0]) << 8 | usize::from(length[1]));
        entries.push(String::from_utf8(entry.to_vec()).unwrap());
        rest = behind;
    }
    (space.path(&format!(".studbook/ledger/tile/entries/{name}")), entries)
}

fn framed(entries: &[String]) -> Vec<u8> {
    let frame = |entry: &String| [&[(entry.len() >> 8) as u8, entry.len() as u8], entry.as_bytes()].concat();
    entries.iter().flat_map(frame).collect()
}

/// Changes the ledger's entries; `verify` and `ledger check` must both say why.
#[track_caller]
fn ledger_refused(change: impl FnOnce(&mut Vec<String>), why: &str) {
    let space = done();
    let (path, mut lines) = entries(&space);
    assert_eq!(lines.len(), 3);
    change(&mut lines);
    replace(&path, &framed(&lines));
    refused(&space, "ledger", why);
    space.studbook(&["ledger", "check"]).exits(4).complains(why);
    // Nobody puts a good entry on top of it either.
    let head = space.read(".studbook/ledger/checkpoint");
    let said = space.studbook(&["run", "plan.toml"]);
    assert!(!matches!(said.code, Some(0 | 3)), "{}{}", said.out, said.err);
    assert_eq!(space.read(".studbook/ledger/checkpoint"), head);
}

#[test]
fn an_edited_ledger_entry() {
    ledger_refused(|lines| lines[1] = lines[1].replace("\"admission\"", "\"refusal\""), "entry 1 was edited");
}

#[test]
fn an_edited_last_ledger_entry() {
    ledger_refused(|lines| lines[2] = lines[2].replace("2026", "2025"), "entry 2 was edited");
}

#[test]
fn a_dropped_ledger_entry() {
    ledger_refused(|lines| drop(lines.remove(1)), "entry 1 was dropped");
}

#[test]
fn swapped_ledger_entries() {
    ledger_refused(|lines| lines.swap(1, 2), "entries were swapped");
}

#[test]
fn a_truncated_ledger() {
    ledger_refused(
        |lines| lines.truncate(2),
        "the ledger was truncated: its checkpoint counts 3 entries, 2 are there",
    );
}

#[test]
fn a_ledger_rolled_back_together_with_its_checkpoint() {
    let space = done();
    let before = space.files(".studbook/ledger");
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0);
    std::fs::remove_dir_all(space.path(".studbook/ledger")).unwrap();
    for (name, bytes) in before {
        space.write(&format!(".studbook/ledger/{name}"), &bytes);
    }
    let why = "the ledger was rolled back: 4 entries were accepted before, now it has 3";
    refused(&space, "ledger", why);
    space.studbook(&["ledger", "check"]).exits(4).complains(why);
}

#[test]
fn the_ledger_is_read_and_compared_with_a_noted_head() {
    let space = done();
    let log = space.studbook(&["ledger", "log"]).exits(0);
    let kinds: Vec<_> = log.out.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(kinds, ["plan", "admission", "refusal"]);
    let json = space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    assert_eq!(json[1]["candidate"], "average");
    assert_eq!(json[1]["time"], "2026-01-01T00:00:00Z");
    assert_eq!(json[2]["prev"], Sha256::of(entries(&space).1[1].as_bytes()).to_hex());

    let head = space.studbook(&["ledger", "head"]).exits(0).out;
    let words: Vec<&str> = head.split_whitespace().collect();
    let [origin, size, digest] = words[..] else { panic!("{head}") };
    assert_eq!((origin, size), ("studbook/ledger", "3"));
    let json = space.studbook(&["ledger", "head", "--format", "json"]).exits(0).json();
    assert_eq!((json["size"].as_u64(), json["root"].as_str()), (Some(3), Some(digest)));
    assert_eq!(json["signatures"].as_array().unwrap().len(), 0, "nobody signed");

    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0);
    let expect = |size: &str, digest: &str| space.studbook(&["ledger", "check", "--expect", size, digest]);
    expect("3", digest).exits(0).says("4 entries hold").says("they extend the remembered 3");
    expect("3", &"ab".repeat(32))
        .exits(4)
        .complains("the ledger was replaced: its first 3 entries were accepted with the root abab");
    expect("9", digest).exits(4).complains("rolled back: 9 entries were accepted before");
    expect("three", digest).exits(2).complains("the size is a whole number");
    expect("3", "abc").exits(2).complains("as `studbook ledger head` prints them");
    let check = space.studbook(&["ledger", "check", "--format", "json"]).exits(0).json();
    assert_eq!(check["size"], 4);
    Space::new().studbook(&["ledger", "log"]).exits(2).complains("there is no store at");
}

/// The order is what a log proves; a clock that went back is told to whoever goes by dates.
#[test]
fn an_entry_that_is_dated_before_an_earlier_one_is_told() {
    let space = done();
    let check = || space.studbook(&["ledger", "check"]).exits(0);
    assert!(!check().err.contains("dated"));
    let mut revoke = space.command(&["revoke", "--dataset", "d", "--reason", "r"]);
    assert_eq!(crate::space::said(revoke.env("STUDBOOK_NOW", "2025-12-31T23:59:59Z")).exits(0).err, "");
    let why = "ledger entry 3 is dated before an earlier one (entry 2), and either date may be wrong";
    check().complains(why).says("4 entries hold");
    let json = space.studbook(&["ledger", "check", "--format", "json"]).exits(0).json();
    assert_eq!(json["backdated"], serde_json::json!([3]));
    assert_eq!(json["dated_ahead"], serde_json::json!([2]));
    space.studbook(&["verify", "plan.toml"]).says(why);
    // One entry from the future, and everybody after it is honest.
    for (name, day) in
        [("e", "2199-01-01T00:00:00Z"), ("f", "2027-01-01T00:00:00Z"), ("g", "2027-01-02T00:00:00Z")]
    {
        let mut revoke = space.command(&["revoke", "--dataset", name, "--reason", "r"]);
        crate::space::said(revoke.env("STUDBOOK_NOW", day)).exits(0);
    }
    let json = space.studbook(&["ledger", "check", "--format", "json"]).exits(0).json();
    assert_eq!(json["backdated"], serde_json::json!([3, 5, 6]));
    assert_eq!(json["dated_ahead"], serde_json::json!([2, 4]));
    check().complains("3 ledger entries, the first is 3, are dated before an earlier one (entry 2, 4)");
}

fn registry_file(space: &Space, part: &str) -> PathBuf {
    let files = space.files(".studbook/registry/tiny");
    let name = files.keys().find(|name| name.contains(part)).unwrap_or_else(|| panic!("{:?}", files.keys()));
    space.path(&format!(".studbook/registry/tiny/{name}"))
}

#[test]
fn an_edited_selector() {
    let space = done();
    let path = registry_file(&space, "selector.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = text.replace("\"average\"", "\"averagf\"");
    assert_ne!(edited, text, "{text}");
    replace(&path, edited.as_bytes());
    refused(&space, "registry:tiny", "no longer there as it was");
    space.studbook(&["run", "plan.toml"]).exits(3);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "built again");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_replaced_model_in_the_registry() {
    let space = done();
    let path = registry_file(&space, "models/");
    let other = std::fs::read(space.path("one.slm")).unwrap();
    assert_eq!(other.len(), std::fs::read(&path).unwrap().len());
    replace(&path, &other);
    refused(&space, "registry", "average");
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn the_threat_of_outcomes_forged_in_the_cache() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let said = space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
    assert_eq!(said.out.matches("asked again: MATCH").count(), 7, "{}", said.out);
    // Another wrong answer is still a wrong answer: the forged file holds in itself.
    let honest = space.read(".studbook/runs/tiny/07-eval/average.digits.outcomes.jsonl");
    let at = honest.find("\"output\":\"").unwrap() + "\"output\":\"".len();
    let forged = format!("{}x{}", &honest[..at], &honest[at..]);
    let hex = |text: &str| studbook::base::digest::Digest::of(text.as_bytes()).to_hex();
    let (old, new) = (hex(&honest), hex(&forged));
    space.write(&format!(".studbook/objects/{}/{}", &new[..2], &new[2..]), forged.as_bytes());
    for (name, mut result) in actions_with(&space, "outcomes") {
        if result.outputs["outcomes"].digest.to_hex() != old {
            continue;
        }
        if result.outputs.contains_key("record") {
            // The sidecar will be derived anew, from what it finds.
            std::fs::remove_file(space.path(&format!(".studbook/actions/{name}"))).unwrap();
        } else {
            let forged = Blob { digest: new.parse().unwrap(), bytes: forged.len() as u64 };
            result.outputs.insert("outcomes".to_owned(), forged);
            forge(&space, &name, &result);
        }
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert_eq!(space.read(".studbook/runs/tiny/07-eval/average.digits.outcomes.jsonl"), forged);
    space.studbook(&["verify", "plan.toml"]).exits(0);
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(4).says("asked again: MISMATCH");
}

/// Takes what the evaluation of `tasks` left away, as if it never had been.
fn lose_an_evaluation(space: &Space) {
    let record = object(space, "07-eval/tasks.digits.json");
    let digest = record.file_name().unwrap().to_str().unwrap();
    let made = |result: &ActionResult| {
        let record = result.outputs.get("record");
        record.is_some_and(|record| digest == &record.digest.to_hex()[2..])
    };
    let mut lost = 0;
    for (name, _) in actions_with(space, "outcomes").into_iter().filter(|(_, result)| made(result)) {
        std::fs::remove_file(space.path(&format!(".studbook/actions/{name}"))).unwrap();
        lost += 1;
    }
    assert_eq!(lost, 1);
    std::fs::remove_file(record).unwrap();
}

#[test]
fn evidence_that_is_lost_together_with_the_log() {
    let space = done();
    let json = space.studbook(&["verify", "plan.toml", "--format", "json"]).exits(0).json();
    lose_an_evaluation(&space);
    let log = space.files(".studbook/cycles");
    let ([(name, lines)], true) = (&log.iter().collect::<Vec<_>>()[..], log.len() == 1) else { panic!() };
    // Only the events of that stage are gone: the ledger's decision is still there, and nothing explains it.
    let text = String::from_utf8((*lines).clone()).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("\"eval:tasks.digits\"")).collect();
    assert!(kept.len() < text.lines().count());
    space.write(&format!(".studbook/cycles/{name}"), kept.join("\n").as_bytes());
    let why = "ledger entry 2 is its refusal, which nothing here says any more: nothing was made since";
    refused(&space, "admission:tasks", why).says("  ok  eval:tasks.digits: never made");
    // All events are.
    std::fs::remove_dir_all(space.path(".studbook/cycles")).unwrap();
    std::fs::remove_dir_all(space.path(".studbook/runs")).unwrap();
    let why = "ledger entry 0 is of this cycle, but the log of the cycle is gone";
    let said = refused(&space, "eval:tasks.digits", why);
    said.says(&format!("\n{} checked, ", json["checked"]));
    // All results are.
    std::fs::remove_dir_all(space.path(".studbook/actions")).unwrap();
    refused(&space, "source:one", why);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn an_approval_that_is_lost_or_cannot_be_read() {
    let space = done();
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    space.studbook(&["verify", "plan.toml"]).exits(0).says("promotion:ties: not made yet");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    space.studbook(&["verify", "plan.toml"]).exits(0);
    let kept = space.path(".studbook/evidence");
    std::fs::rename(&kept, space.path("away")).unwrap();
    let why = "ledger entry 3 is its admission, which nothing here says any more: \
               the input `approval.release` of promotion:ties was brought and is gone; bring it again";
    refused(&space, "admission:ties", why);
    // Nor does a run that finds the gate waiting make it right.
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    refused(&space, "admission:ties", why);
    std::fs::rename(space.path("away"), &kept).unwrap();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    space.studbook(&["verify", "plan.toml"]).exits(0);
    let files = space.files(".studbook/evidence");
    let file = kept.join(files.keys().next().unwrap());
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refused(&space, "promotion:ties", "release.json");
}
