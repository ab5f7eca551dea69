//! The ledger with a log key: signed, proved, co-signed.

use std::os::unix::fs::PermissionsExt;

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
fn a_signed_ledger_is_not_continued_without_its_key() {
    let space = signed();
    let before = space.files(".studbook/ledger");
    let why = "no log key is here to sign the next one: nothing was recorded. Name the folder of keys with --keys DIR";
    let revoke = ["revoke", "average", "--store", "../.studbook", "--reason", "bad"];
    std::fs::create_dir(space.path("elsewhere")).unwrap();
    let from_elsewhere = |more: &[&str]| {
        let mut command = space.command(&[&revoke[..], more].concat());
        crate::space::said(command.current_dir(space.path("elsewhere")))
    };
    from_elsewhere(&[]).exits(5).complains(why);
    assert!(space.files(".studbook/ledger") == before);
    // A plan of another folder, which has no keys.
    for name in ["base.slm", "one.slm", "two.slm", "three.slm", "suite.jsonl"] {
        std::fs::copy(space.path(name), space.path("elsewhere").join(name)).unwrap();
    }
    space.write("elsewhere/plan.toml", space.read("plan.toml").replace("tiny", "small").as_bytes());
    let run = ["run", "elsewhere/plan.toml", "--store", ".studbook", "--quiet"];
    let said = space.studbook(&run);
    assert!((said.out.clone() + &said.err).contains(why), "{}{}", said.out, said.err);
    said.exits(5);
    assert!(space.files(".studbook/ledger") == before);
    from_elsewhere(&["--keys", "../keys"]).exits(0);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("signed by studbook/ledger");
}

/// The head of a log without entries.
fn nothing_in(origin: &str) -> String {
    format!("{origin}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n")
}

#[test]
fn a_log_under_another_name_is_no_first_sight() {
    for space in [Space::new(), signed()] {
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        space.studbook(&["revoke", "average", "--plan", "plan.toml", "--reason", "bad"]).exits(0);
        let good = space.files(".studbook/ledger");
        let whole = space.read(CHECKPOINT);
        // An old copy under another name, and a log begun anew.
        let renamed = whole.split_once("\n\n").unwrap().0.replacen("studbook/ledger", "x/y", 1) + "\n\n";
        for checkpoint in [renamed, nothing_in("x/y")] {
            if checkpoint.contains("\n0\n") {
                std::fs::remove_dir_all(space.path(".studbook/ledger/tile")).unwrap();
            }
            space.write(CHECKPOINT, checkpoint.as_bytes());
            let head = "heads remembers 6 entries of \"studbook/ledger\"";
            for typed in [
                &["ledger", "check", "plan.toml"][..],
                &["ledger", "log", "plan.toml"],
                &["ledger", "witness", "plan.toml", "--memory", "elsewhere"],
                &["revoke", "ties", "--plan", "plan.toml", "--reason", "bad"],
            ] {
                space.studbook(typed).exits(4).complains("calls itself \"x/y\"").complains(head);
            }
            if space.path("keys/log.pem").exists() {
                let sign = ["ledger", "sign", "plan.toml", "--key", "keys/log.pem"];
                space.studbook(&sign).exits(4).complains(head);
            }
            assert!(!space.path("elsewhere").exists());
            space.studbook(&["run", "plan.toml", "--quiet"]).exits(4).complains(head);
            let said = space.studbook(&["verify", "plan.toml"]).exits(4);
            assert!(said.out.contains(head), "{}", said.out);
        }
        for (name, bytes) in good {
            space.write(&format!(".studbook/ledger/{name}"), &bytes);
        }
        space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("they extend the remembered 6");
    }
}

/// What was taken back stands again in an older copy; the memory beside it tells.
#[test]
fn a_ledger_that_was_led_back_is_read_by_nobody() {
    for space in [Space::new(), signed()] {
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        let old = space.files(".studbook/ledger");
        space.studbook(&["revoke", "average", "--plan", "plan.toml", "--reason", "stolen"]).exits(0);
        let new = space.files(".studbook/ledger");
        let put = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
            std::fs::remove_dir_all(space.path(".studbook/ledger")).unwrap();
            for (name, bytes) in files {
                space.write(&format!(".studbook/ledger/{name}"), bytes);
            }
        };
        put(&old);
        let why = "the ledger was rolled back: 6 entries were accepted before, now it has 3; restore the newer copy";
        for typed in [
            &["run", "plan.toml", "--quiet"][..],
            &["plan", "plan.toml"],
            &["status", "plan.toml"],
            &["registry", "build", "plan.toml", "--out", "site"],
            &["registry", "serve", "plan.toml", "--port", "0"],
            &["export", "plan.toml", "average", "--out", "dossier"],
            &["lineage", "plan.toml", "average"],
            &["ledger", "log", "plan.toml"],
            &["ledger", "prove", "plan.toml", "1"],
            &["rollback", "average", "--plan", "plan.toml", "--reason", "better"],
        ] {
            space.studbook(typed).exits(4).complains(why);
        }
        assert!(!space.path("site").exists() && !space.path("dossier").exists());
        space.studbook(&["ledger", "check", "plan.toml"]).exits(4).complains(why);
        space.studbook(&["verify", "plan.toml"]).exits(4).says(&format!("FAIL  ledger: {why}"));
        put(&new);
        space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("they extend the remembered 6");
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    }
}

#[test]
fn a_store_has_one_log_even_if_nothing_is_remembered() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    std::fs::remove_file(space.path(".studbook/heads")).unwrap();
    space.edit(CHECKPOINT, "studbook/ledger", "x/y");
    let why = "the ledger's origin is \"x/y\", expected \"studbook/ledger\"";
    space.studbook(&["ledger", "check", "plan.toml"]).exits(4).complains(why);
}

#[test]
fn a_store_that_may_only_be_read_can_be_checked() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0);
    let store = space.path(".studbook");
    let allow = |folder: u32, file: u32| {
        std::fs::set_permissions(store.join("heads.lock"), PermissionsExt::from_mode(file)).unwrap();
        std::fs::set_permissions(&store, PermissionsExt::from_mode(folder)).unwrap();
    };
    // Who may write everything, as root may, is not kept from it by this; the answer is the same.
    allow(0o555, 0o444);
    let said = space.studbook(&["ledger", "check", "plan.toml"]);
    std::fs::set_permissions(&store, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_file(store.join("heads")).unwrap();
    allow(0o555, 0o444);
    let first = space.studbook(&["ledger", "check", "plan.toml"]);
    allow(0o755, 0o644);
    said.exits(0).says("they extend the remembered 3");
    let first = first.exits(0).says("trust on first use");
    assert_eq!(first.err.contains("is not remembered"), !store.join("heads").exists(), "{}", first.err);
}

#[test]
fn a_witness_that_remembers_another_log_says_so() {
    let space = signed();
    let other = "{\"heads\":[{\"origin\":\"x/y\",\"root\":\"ROOT\",\"size\":7}],\"version\":2}";
    let other = other.replace("ROOT", &"a".repeat(64));
    space.write("seen", other.as_bytes());
    space.write("keys/witness.seen", other.as_bytes());
    let why = "seen remembers 7 entries of \"x/y\"";
    let watch = |memory: &str| space.studbook(&["ledger", "witness", "plan.toml", "--memory", memory]);
    watch("seen").exits(4).complains(why).complains("another log needs a memory of its own");
    space
        .studbook(&["ledger", "cosign", "plan.toml", "--key", "keys/witness.pem"])
        .exits(4)
        .complains("witness.seen remembers 7 entries of \"x/y\"");
    assert_eq!(space.read("seen"), other);
    watch("another").exits(0).says("seen for the first time");
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
    let said =
        check("again").exits(0).says("entry 1 (admission) is in the signed log studbook/ledger of 3 entries");
    said.says("was not asked: there is no ledger here");
    space.edit("again", "index 1", "index 2");
    check("again").exits(4).complains("the proof is for entry 2 and holds entry 1");
    space.write("again", b"not a proof");
    check("again").exits(4).complains("the proof has no blank line");
}

/// Two stores may share a log key, and every log has one name.
#[test]
fn a_proof_of_another_log_is_not_taken_for_one_of_this() {
    let (space, other) = (signed(), Space::new());
    for (name, bytes) in space.files("keys") {
        other.write(&format!("keys/{name}"), &bytes);
        std::fs::set_permissions(other.path("keys").join(&name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    other.write("trust.toml", space.read("trust.toml").as_bytes());
    other.edit("plan.toml", "min = 0.5", "min = 0.4");
    other.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let prove = |it: &Space| it.studbook(&["ledger", "prove", "plan.toml", "average"]).exits(0).out;
    let check = || space.studbook(&["ledger", "check", "plan.toml", "--proof", "proof"]);
    space.write("proof", prove(&other).as_bytes());
    check()
        .exits(4)
        .complains("the proof is of another log than the ledger")
        .complains("its 3 entries have the root");
    space.write("proof", prove(&space).as_bytes());
    check().exits(0).says("3 entries; the ledger").says("extends it");
    for plan in [&space, &other] {
        let reason = ["revoke", "average", "--plan", "plan.toml", "--reason", "bad"];
        plan.studbook(&reason).exits(0);
    }
    check().exits(0).says("in the signed log studbook/ledger of 3 entries");
    for name in ["ties", "tasks"] {
        other.studbook(&["revoke", name, "--plan", "plan.toml", "--reason", "bad"]).exits(0);
    }
    space.write("proof", prove(&other).as_bytes());
    check().exits(4).complains("it is of another log, or this copy is an older one");
}

#[test]
fn a_log_key_that_the_log_takes_back_counts_no_more() {
    let space = signed();
    let prove = |out: &str| space.studbook(&["ledger", "prove", "plan.toml", "average", "--out", out]);
    let check = |file: &str| space.studbook(&["ledger", "check", "plan.toml", "--proof", file]);
    prove("before").exits(0);
    let id = space.studbook(&["keys", "show", "keys/log.pem"]).exits(0).out;
    let id = id.split_whitespace().next().unwrap();
    space.studbook(&["revoke", id, "--plan", "plan.toml", "--reason", "stolen"]).exits(0);
    prove("after").exits(0);
    let why = "but ledger entry 3 revokes that key";
    space.studbook(&["ledger", "check", "plan.toml"]).exits(4).complains(why);
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  ledger: the checkpoint of 4").says(why);
    check("after").exits(4).complains(why);
    check("before").exits(0);
    // The old key stays in the trust file, for what it signed before.
    std::fs::remove_file(space.path("keys/log.pem")).unwrap();
    std::fs::remove_file(space.path("keys/log.pub.pem")).unwrap();
    space.edit("trust.toml", "[keys.\"log\"]", "[keys.\"log-old\"]");
    space.studbook(&["keys", "new", "log", "--trust", "trust.toml"]).exits(0);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(4).complains(why);
    space.studbook(&["ledger", "sign", "plan.toml", "--key", "keys/log.pem"]).exits(0);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0).says("4 entries hold");
    check("after").exits(4).complains(why);
    check("before").exits(0);
    prove("again").exits(0);
    check("again").exits(0);
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
