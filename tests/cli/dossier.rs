//! `studbook export`, and `studbook verify` of what it wrote, with nothing else at hand.

use studbook::base::digest::{Digest, Sha256};
use studbook::record::browser_smoke::BrowserSmoke;
use studbook::record::to_bytes;
use studbook::registry::site::runtime_sha256;

use crate::evaluate::texts;
use crate::space::{PLAN, Said, Space};

const ROLES: [&str; 6] = ["producer", "evaluator", "promoter", "log", "registry", "model"];

/// A plan that has been run; one of its suites leaves it to the models how it is read.
fn ran() -> Space {
    let space = Space::new();
    space.write("texts.jsonl", texts(3).as_bytes());
    let suite = "[[eval]]\nname = \"texts\"\nkind = \"perplexity\"\ncases = \"texts.jsonl\"\n\n[review]";
    space.write("plan.toml", PLAN.replacen("[review]", suite, 1).as_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
}

fn signed() -> Space {
    let space = Space::new();
    for role in ROLES {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
}

fn export(space: &Space, candidate: &str, out: &str) -> Said {
    space.studbook(&["export", "plan.toml", candidate, "--out", out])
}

/// A space with nothing in it but a dossier and perhaps a trust file.
fn elsewhere(space: &Space, dossier: &str) -> Space {
    let other = Space::empty();
    for (name, bytes) in space.files(dossier) {
        other.write(&format!("d/{name}"), &bytes);
    }
    other
}

#[test]
fn a_dossier_holds_by_itself_and_says_what_it_cannot_show() {
    let space = ran();
    export(&space, "average", "out").exits(0).says("nothing is signed");
    let other = elsewhere(&space, "out");
    let said = other.studbook(&["verify", "d"]).exits(0);
    let said = said.says("promotion:average: derived again: same bytes").says(", 0 failed");
    said.says("anybody could have made it").says("unsigned, so whoever made it could make another");
    let report = other.studbook(&["verify", "d", "--format", "json"]).exits(0).json();
    assert_eq!(report["failed"], 0);
    // The same candidate gives the same bytes; what is there is not replaced by accident.
    export(&space, "average", "again").exits(0);
    assert!(space.files("out") == space.files("again"));
    export(&space, "average", "out").complains("--force");
    space.studbook(&["export", "plan.toml", "average", "--out", "out", "--force"]).exits(0);
    other
        .studbook(&["verify", "d", "--recompute"])
        .exits(0)
        .says("smoke:average: of this model, and what it says can be")
        .says("smoke:average run again")
        .says("asked again");
}

/// What only its ledger can tell is said to be that, and all else is derived again.
#[test]
fn who_was_refused_for_what_the_ledger_says_has_a_dossier() {
    let space = ran();
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada", "--reject"]).exits(0);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    // Another manifest of the same bytes, which were rejected.
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    space.studbook(&["run", "plan.toml"]).exits(0).says("not-refused: ");
    export(&space, "ties", "out").exits(0);
    let other = elsewhere(&space, "out");
    let said = other.studbook(&["verify", "d"]).exits(0).says(", 0 failed");
    said.says(
        "promotion:ties: derived again: same bytes but for `not-refused`, which only its ledger can tell",
    );
    // It explains a refusal, and nothing else.
    let promotion = "d/records/08-promotion/ties.json";
    other.edit(promotion, "the same bytes", "the sane bytes");
    other.studbook(&["verify", "d"]).exits(4);
}

/// What a browser with the runtime of today answers that computes as this program does.
fn browser_answer(space: &Space, gate: &str) -> Vec<u8> {
    let record = |path: &str| -> (serde_json::Value, String) {
        let text = space.read(&format!(".studbook/runs/tiny/{path}"));
        (serde_json::from_str(&text).unwrap(), Sha256::of(text.as_bytes()).to_string())
    };
    let (native, _) = record("06-smoke/average.json");
    let (_, lineage) = record("03-lineage/average.json");
    let prompts = native["body"]["prompts"].as_array().unwrap().iter().map(|prompt| {
        let field = |name: &str| prompt[name].clone();
        serde_json::json!({ "prompt": field("prompt"), "tokens": field("tokens"), "text": field("text"),
            "logits": field("logits") })
    });
    let answer = serde_json::json!({
        "gate": gate,
        "subject": native["body"]["subject"],
        "lineage": lineage,
        "browser": "a browser",
        "runtime": runtime_sha256(),
        "prompts": prompts.collect::<Vec<_>>(),
    });
    to_bytes::<BrowserSmoke>(&serde_json::from_value(answer).unwrap()).unwrap()
}

#[test]
fn a_candidate_that_ran_in_a_browser_has_one() {
    let space = Space::new();
    let gate = "[[gate]]\nname = \"page\"\nkind = \"browser_smoke\"\ncandidates = [\"average\"]\n\n[review]";
    space.write("plan.toml", PLAN.replace("[review]", gate).as_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let manifest = space.read(".studbook/runs/tiny/05-candidate/average.json");
    let place = format!(".studbook/evidence/{}/page.json", Digest::of(manifest.as_bytes()));
    space.write(&place, &browser_answer(&space, "page"));
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    export(&space, "average", "out").exits(0);
    let runtime = runtime_sha256();
    let found = format!(
        "promotion:average: derived again: same bytes; it ran in a browser with the runtime {runtime}"
    );
    elsewhere(&space, "out").studbook(&["verify", "d"]).exits(0).says(&found);
}

#[test]
fn a_refused_candidate_has_one_and_an_undecided_one_has_none() {
    let space = ran();
    export(&space, "tasks", "refused").exits(0);
    let other = elsewhere(&space, "refused");
    other.studbook(&["verify", "d"]).exits(0).says("(refusal)");
    assert!(other.read("d/index.html").contains("badge refused"));
    export(&space, "ties", "pending").exits(2).complains("neither admitted nor refused yet");
    export(&space, "tie", "none").exits(2).complains("did you mean `ties`?");
    space.studbook(&["revoke", "average", "--plan", "plan.toml", "--reason", "bad data"]).exits(0);
    let said = export(&space, "average", "revoked").exits(2);
    assert!(said.err.contains("neither admitted") || said.err.contains("taken back"), "{}", said.err);
}

#[test]
fn signatures_count_by_the_readers_trust_file_alone() {
    let space = signed();
    export(&space, "average", "out").exits(0).says("signed statements");
    let other = elsewhere(&space, "out");
    let said = other
        .studbook(&["verify", "d"])
        .exits(0)
        .says("attestation of admission:average: signed by promoter");
    said.says("not whose keys they are");
    other.write("trust.toml", space.read("trust.toml").as_bytes());
    let said = other.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(0);
    said.says("by the trust file that was given")
        .says("in studbook/ledger, signed")
        .says("signed by model `model`");
    // A file that no record and no document speaks of is still one of the files that were signed.
    let good = other.read("d/model.sig");
    other.edit("d/model.sig", "\"sig\":\"ME", "\"sig\":\"MF");
    other.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4).says("FAIL  model signature: ");
    std::fs::remove_file(other.path("d/model.sig")).unwrap();
    let said = other.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4);
    said.says("a key for model signatures is trusted, but \"model.sig\" is missing");
    other.write("d/model.sig", good.as_bytes());
    // Keys of others: nothing here counts.
    let stranger = signed();
    other.write("trust.toml", stranger.read("trust.toml").as_bytes());
    let said = other.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4);
    said.says("is not in the trust file").says("not signed by a log key");
    // A trusted key demands a signature that the dossier lacks.
    let unsigned = ran();
    export(&unsigned, "average", "out").exits(0);
    let other = elsewhere(&unsigned, "out");
    other.write("trust.toml", space.read("trust.toml").as_bytes());
    let said = other.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4);
    said.says("a key for admission records is trusted, but nobody signed this one");
}

/// A candidate that two of three keys let pass, and its dossier in `out`.
fn approved() -> Space {
    let space = Space::new();
    let keys = "statement = \"fit to be released\"\nkeys = [\"approver.ada\", \"approver.bob\", \"approver.eve\"]\nthreshold = 1";
    space.edit("plan.toml", "statement = \"fit to be released\"", keys);
    for name in ["ada", "bob", "eve"] {
        space.studbook(&["keys", "new", "approver", "--name", name, "--trust", "trust.toml"]).exits(0);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    for name in ["ada", "bob"] {
        let key = format!("keys/approver.{name}.pem");
        space
            .studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", name, "--key", &key])
            .exits(0);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    export(&space, "ties", "out").exits(0);
    space
}

#[test]
fn approvers_are_those_of_the_readers_trust_file() {
    let space = approved();
    let other = elsewhere(&space, "out");
    other
        .studbook(&["verify", "d"])
        .exits(0)
        .says("approvers of release: 1 of the signatures of `approver.ada`");
    let all = space.read("trust.toml");
    let verify = |trust: &str| {
        other.write("trust.toml", trust.as_bytes());
        other.studbook(&["verify", "d", "--trust", "trust.toml"])
    };
    let said = verify(&all.replace("approver.ada", "boss")).exits(0);
    said.says("approvers of release: 1 of the signatures of `boss`, `approver.bob`, `approver.eve`, all in the trust file");
    // Under ada's name another key; nobody at all; a key that is there for something else.
    let stranger = Space::new();
    stranger.studbook(&["keys", "new", "approver", "--name", "ada", "--trust", "trust.toml"]).exits(0);
    let ada = all.lines().position(|line| line.contains("approver.ada")).unwrap();
    let rest: Vec<&str> = all
        .lines()
        .enumerate()
        .filter(|(at, _)| !(ada..ada + 3).contains(at))
        .map(|(_, line)| line)
        .collect();
    let rest = rest.join("\n") + "\n";
    let why =
        "FAIL  approvers of release: the gate `release` counts the signature of `approver.ada`: the key";
    verify(&(rest + &stranger.read("trust.toml"))).exits(4).says(why).says("is not in the trust file");
    verify("").exits(4).says(why);
    let said = verify(&all.replace("role = \"approver\"", "role = \"producer\"")).exits(4);
    said.says("may not sign approval records");

    // Who knows approvers takes no unsigned word.
    let unsigned = ran();
    unsigned.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    unsigned.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    export(&unsigned, "ties", "out").exits(0);
    let other = elsewhere(&unsigned, "out");
    other.write("none.toml", b"");
    other.studbook(&["verify", "d", "--trust", "none.toml"]).exits(0);
    other.write("trust.toml", all.as_bytes());
    let said = other.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4);
    said.says("the gate `release` takes approvals that nobody signed");
}

#[test]
fn an_approver_who_is_missed_later_is_told_by_the_readers_ledger() {
    let space = approved();
    let other = elsewhere(&space, "out");
    other.write("trust.toml", space.read("trust.toml").as_bytes());
    let revoke = |name: &str, fault: &str| {
        let id = space.studbook(&["keys", "show", &format!("keys/approver.{name}.pem")]).exits(0).out;
        let id = id.split_whitespace().next().unwrap();
        let mut command = space.command(&["revoke", id, "--plan", "plan.toml", "--reason", "stolen"]);
        crate::space::said(command.env("STUDBOOK_FAULT", fault))
    };
    let verify = || {
        std::fs::remove_dir_all(other.path("ledger")).ok();
        for (file, bytes) in space.files(".studbook/ledger") {
            other.write(&format!("ledger/{file}"), &bytes);
        }
        other.studbook(&["verify", "d", "--trust", "trust.toml", "--ledger", "ledger"])
    };
    verify().exits(0);
    // One who did not sign, and one of two where one is enough, are not missed.
    for name in ["eve", "bob"] {
        revoke(name, "").exits(0);
        verify().exits(0).says("take nothing of it back");
    }
    // The store takes back the admission, too; a reader need not wait for it.
    let killed = revoke("ada", "ledger-head-written:1:kill");
    assert_ne!(killed.code, Some(0), "{}", killed.out);
    let why = "revokes the key `approver.ada`, and without it the gate `release` has too few approvals";
    verify().exits(4).says(why);
}

#[test]
fn only_the_readers_ledger_tells_what_was_taken_back_since() {
    let space = signed();
    export(&space, "average", "out").exits(0);
    let other = elsewhere(&space, "out");
    other.write("trust.toml", space.read("trust.toml").as_bytes());
    let copy = |name: &str| {
        for (file, bytes) in space.files(".studbook/ledger") {
            other.write(&format!("{name}/{file}"), &bytes);
        }
    };
    let verify = |ledger: &str| other.studbook(&["verify", "d", "--trust", "trust.toml", "--ledger", ledger]);
    copy("before");
    verify("before")
        .exits(0)
        .says("ledger since: 3 entries extend the proofs' log and take nothing of it back");
    let suite = studbook::base::digest::Sha256::of(space.read("suite.jsonl").as_bytes()).to_hex();
    space.studbook(&["revoke", &suite, "--plan", "plan.toml", "--reason", "leaked"]).exits(0);
    copy("after");
    verify("after").exits(4).says("ledger entry 3 revokes the suite `digits`");
    let stranger = signed();
    for (file, bytes) in stranger.files(".studbook/ledger") {
        other.write(&format!("stranger/{file}"), &bytes);
    }
    verify("stranger").exits(4).says("FAIL  ledger since");
}

#[test]
fn what_was_changed_is_named() {
    let space = ran();
    export(&space, "average", "out").exits(0);
    let refused = |change: &dyn Fn(&Space), why: &str| {
        let other = elsewhere(&space, "out");
        change(&other);
        other.studbook(&["verify", "d"]).exits(4).says(why);
    };
    refused(&|it| it.write("d/more.txt", b"x"), "\"more.txt\" does not belong to the dossier");
    refused(&|it| std::fs::remove_file(it.path("d/README.md")).unwrap(), "\"README.md\" is missing");
    refused(&|it| it.edit("d/README.md", "value: ", "value: 1"), "written again from the records it differs");
    refused(&|it| it.edit("d/index.html", "average", "averagf"), "written again from the records it differs");
    let suite = "d/suites/digits.jsonl";
    refused(&|it| it.edit(suite, "p1=", "p2="), "the cases of `digits`: the record binds");
    let outcomes = "d/records/07-eval/average.digits.outcomes.jsonl";
    refused(&|it| it.edit(outcomes, "c1", "c2"), "not the bytes that the sidecar binds");
    let admission = "d/records/09-admission/average.json";
    refused(&|it| it.edit(admission, "\"admitted\":true", "\"admitted\":false"), "comes out differently");
    let promotion = "d/records/08-promotion/average.json";
    refused(&|it| it.edit(promotion, "passed", "failed"), "the promotion template: the record binds");
    let lineage = "d/records/03-lineage/average.json";
    refused(&|it| it.edit(lineage, "100000", "200000"), "the lineage template");
    refused(&|it| it.edit(lineage, "{\"body\"", "{ \"body\""), "is not in canonical form");
    refused(&|it| it.edit("d/dossier.json", "average", "tasks"), "is missing");
    let model = |it: &Space| {
        let path = it.path("d/model/average.slm");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    refused(&model, "artifact: the SHA-256 of the model is");
    let renamed = |it: &Space| {
        std::fs::rename(it.path("d/model/average.slm"), it.path("d/model/other.slm")).unwrap();
    };
    refused(&renamed, "the model is called \"other.slm\"");
}

#[test]
fn links_pipes_and_second_names_are_refused() {
    let space = ran();
    export(&space, "average", "out").exits(0);
    let refused = |change: &dyn Fn(&Space), why: &str| {
        let other = elsewhere(&space, "out");
        change(&other);
        other.studbook(&["verify", "d"]).exits(4).says(why);
    };
    let swap_for_link = |it: &Space, name: &str| {
        std::fs::rename(it.path(name), it.path("aside")).unwrap();
        std::os::unix::fs::symlink(it.path("aside"), it.path(name)).unwrap();
    };
    refused(&|it| swap_for_link(it, "d/model/average.slm"), "is a symbolic link");
    refused(&|it| swap_for_link(it, "d/records"), "is a symbolic link");
    refused(&|it| swap_for_link(it, "d/SHA256SUMS"), "is a symbolic link");
    let second = |it: &Space| std::fs::hard_link(it.path("d/README.md"), it.path("README")).unwrap();
    refused(&second, "has another name elsewhere (a hard link)");
    let pipe = |it: &Space| {
        let made = std::process::Command::new("mkfifo").arg(it.path("d/pipe")).status().unwrap();
        assert!(made.success());
    };
    refused(&pipe, "\"pipe\" is not a plain file");
    refused(&|it| std::fs::create_dir(it.path("d/empty")).unwrap(), "is an empty folder");
    let huge = |it: &Space| std::fs::File::create(it.path("d/huge.json")).unwrap().set_len(1 << 40).unwrap();
    refused(&huge, "too many for a document");
    Space::empty().studbook(&["verify", "none"]).exits(2);
    Space::empty().studbook(&["verify", "."]).exits(4).says("\"dossier.json\" is missing");
}

#[test]
fn an_approvers_words_stay_words() {
    let space = ran();
    let reason = "<script>alert(1)</script> | [x](javascript:y)";
    let arguments =
        ["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada \"<b>\"", "--reason", reason];
    space.studbook(&arguments).exits(0);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    export(&space, "ties", "out").exits(0);
    let page = space.read("out/index.html");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "it loads nothing");
    let card = space.read("out/README.md");
    assert!(card.contains("&lt;script&gt;") && card.contains("\\[x\\]"), "{card}");
    let other = elsewhere(&space, "out");
    other.studbook(&["verify", "d"]).exits(0);
    // Evidence for another gate, or none.
    std::fs::remove_dir_all(other.path("d/evidence")).unwrap();
    other.studbook(&["verify", "d"]).exits(4).says("promotion:ties: derived again from what it rests on");
}
