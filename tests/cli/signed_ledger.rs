//! The ledger with a log key: signed, proved, co-signed.

use crate::space::Space;

/// A cycle that was run with a log key in the trust file.
fn signed() -> Space {
    let space = Space::new();
    for role in ["log", "witness"] {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space
}

const CHECKPOINT: &str = ".studbook/ledger/checkpoint";

#[test]
fn a_signed_checkpoint_is_demanded_and_checked() {
    let space = signed();
    let good = space.read(CHECKPOINT);
    assert!(good.starts_with("studbook/ledger\n3\n") && good.contains("\u{2014} studbook/ledger "), "{good}");
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("signed by studbook/ledger");
    space.studbook(&["verify", "plan.toml"]).exits(0);

    // Unsigned, signed by somebody else, another text.
    let (text, _) = good.split_once("\n\n").unwrap();
    space.write(CHECKPOINT, format!("{text}\n\n").as_bytes());
    let why = "is not signed by a log key of the trust file";
    space.studbook(&["ledger", "check", "plan.toml"]).exits(4).complains(why);
    space.studbook(&["ledger", "log", "plan.toml"]).exits(4).complains(why);
    space.studbook(&["run", "plan.toml"]).complains(why);
    space.studbook(&["ledger", "sign", "plan.toml", "--key", "keys/witness.pem"]).exits(0);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(4).complains(why);
    space.studbook(&["ledger", "sign", "plan.toml", "--key", "keys/log.pem"]).exits(0);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0);
    space.write(CHECKPOINT, good.replacen("\n3\n", "\n2\n", 1).as_bytes());
    space
        .studbook(&["ledger", "check", "plan.toml"])
        .exits(4)
        .complains("does not match: other text or another key");
    space.write(CHECKPOINT, good.as_bytes());

    // Without a trust file nobody is believed, and that is said.
    std::fs::remove_file(space.path("trust.toml")).unwrap();
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("not checked: no trust file");
}

#[test]
fn a_key_that_is_not_trusted_does_not_sign() {
    let space = signed();
    space.write("trust.toml", b"");
    space.studbook(&["ledger", "head", "plan.toml"]).exits(5).complains("is not in the trust file");
}

#[test]
fn an_admission_comes_with_a_proof_that_needs_no_ledger() {
    let space = signed();
    let shown = ".studbook/runs/tiny/10-ledger/average.tlog-proof";
    let proof = space.read(shown);
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{proof}");
    space.studbook(&["ledger", "prove", "plan.toml", "average", "--out", "again"]).exits(0);
    assert_eq!(space.read("again"), proof);
    let log = space.studbook(&["ledger", "log", "plan.toml", "--format", "json"]).exits(0).json();
    assert_eq!((log[0]["kind"].as_str(), log[1]["registration"].as_u64()), (Some("plan"), Some(0)));
    let record = log[1]["record"].as_str().unwrap();
    assert_eq!(space.studbook(&["ledger", "prove", "plan.toml", record]).exits(0).out, proof);
    assert_eq!(space.studbook(&["ledger", "prove", "plan.toml", "1"]).exits(0).out, proof);
    space.studbook(&["ledger", "prove", "plan.toml", "nobody"]).exits(2).complains("no entry \"nobody\"");

    std::fs::remove_dir_all(space.path(".studbook")).unwrap();
    let check = |file: &str| space.studbook(&["ledger", "check", "plan.toml", "--proof", file]);
    check("again").exits(0).says("entry 1 (admission) is in the signed log studbook/ledger of 3 entries");
    space.edit("again", "index 1", "index 2");
    check("again").exits(4).complains("the proof is for entry 2 and holds entry 1");
    space.write("again", b"not a proof");
    check("again").exits(4).complains("the proof has no blank line");
}

#[test]
fn a_witness_remembers_and_cosigns_and_is_not_led_back() {
    let space = signed();
    let cosign = || space.studbook(&["ledger", "cosign", "plan.toml", "--key", "keys/witness.pem"]);
    let watch = || space.studbook(&["ledger", "witness", "plan.toml", "--memory", "elsewhere/heads"]);
    cosign().exits(0).says("\u{2014} witness ");
    watch().exits(0).says("seen for the first time");
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("signed by studbook/ledger, witness");
    let before = space.files(".studbook/ledger");
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0);
    watch().exits(0).says("proved to extend the 3 entries seen before");
    cosign().exits(0);
    std::fs::remove_dir_all(space.path(".studbook/ledger")).unwrap();
    for (name, bytes) in before {
        space.write(&format!(".studbook/ledger/{name}"), &bytes);
    }
    let why = "the ledger was rolled back: 4 entries were accepted before, now it has 3";
    cosign().exits(4).complains(why);
    watch().exits(4).complains(why);

    // A log written anew and signed by its own key holds in itself; who remembers another is not taken in.
    for gone in [".studbook/ledger", ".studbook/heads"] {
        let path = space.path(gone);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    space.edit("plan.toml", "min = 0.5", "min = 0.4");
    let mut command = space.command(&["run", "plan.toml", "--quiet"]);
    crate::space::said(command.env("STUDBOOK_NOW", "2026-03-03T00:00:00Z"));
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("signed by studbook/ledger");
    let said = watch();
    assert!(
        said.code == Some(4) && (said.err.contains("was replaced") || said.err.contains("rolled back")),
        "{}",
        said.err
    );
}
