//! Making keys, and that nothing ever shows a secret one.

use std::os::unix::fs::PermissionsExt;

use crate::space::Space;

#[test]
fn a_key_is_made_listed_shown_and_trusted() {
    let space = Space::empty();
    let made = space.studbook(&["keys", "new", "producer", "--trust", "trust.toml"]).exits(0);
    let id = made.out.trim().to_owned();
    assert_eq!(id.len(), 64);
    let mode = std::fs::metadata(space.path("keys/producer.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(space.read("keys/producer.pub.pem").starts_with("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA"));
    let said = space.studbook(&["keys", "new", "approver", "--name", "ada"]).exits(0);
    said.complains("[keys.\"approver.ada\"]\nrole = \"approver\"\npublic = \"MCowBQYDK2VwAyEA");
    let list = space.studbook(&["keys", "list", "--format", "json"]).exits(0).json();
    assert_eq!((list[0]["name"].as_str(), list[1]["keyid"].as_str()), (Some("approver.ada"), Some(&*id)));
    for half in ["keys/producer.pem", "keys/producer.pub.pem"] {
        space.studbook(&["keys", "show", half]).exits(0).says(&id).says("BEGIN PUBLIC KEY");
    }
    assert!(space.read("trust.toml").contains("[keys.\"producer\"]"));
    space.studbook(&["keys", "new", "producer"]).exits(2).complains("a key is never replaced");
    // Where keys are read from is where they are put.
    space.studbook(&["keys", "new", "log", "--keys", "elsewhere"]).exits(0);
    assert!(space.path("elsewhere/log.pem").exists() && !space.path("keys/log.pem").exists());
    space.studbook(&["keys", "list", "--keys", "elsewhere"]).exits(0).says("log");
    space.studbook(&["keys", "new", "king"]).exits(2).complains("one of producer, evaluator");
    space.studbook(&["keys", "show", "trust.toml"]).exits(2).complains("trust.toml");
}

/// The seeds of every secret key, as they would look in base64, at each of its three alignments.
fn secrets(space: &Space) -> Vec<String> {
    let files = space.files("keys").into_iter().filter(|(name, _)| !name.ends_with(".pub.pem"));
    files
        .map(|(_, bytes)| {
            let text = String::from_utf8(bytes).unwrap();
            text.lines().nth(1).unwrap()[24..].to_owned()
        })
        .collect()
}

#[test]
fn no_output_record_or_error_holds_a_secret() {
    let space = Space::new();
    for role in ["producer", "evaluator", "promoter", "log", "registry", "witness"] {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    let secrets = secrets(&space);
    assert_eq!(secrets.len(), 6);
    let mut said = vec![space.studbook(&["run", "plan.toml", "-vvv"]).exits(3)];
    for arguments in [
        &["verify", "plan.toml", "-vvv"][..],
        &["ledger", "head", "plan.toml", "--format", "json"],
        &["ledger", "cosign", "plan.toml", "--key", "keys/witness.pem"],
        &["keys", "list"],
        &["keys", "show", "keys/log.pem"],
        &["status", "plan.toml"],
    ] {
        said.push(space.studbook(arguments).exits(0));
    }
    // Errors about a key that is damaged or exposed name the file only.
    space.edit("keys/log.pem", "MC4C", "MC5C");
    said.push(space.studbook(&["ledger", "head", "plan.toml"]));
    std::fs::set_permissions(space.path("keys/log.pem"), std::fs::Permissions::from_mode(0o640)).unwrap();
    said.push(space.studbook(&["ledger", "head", "plan.toml"]));
    assert!(said.last().unwrap().err.contains("can be read by others (mode 0640)"));
    for secret in &secrets {
        for said in &said {
            assert!(!said.out.contains(secret) && !said.err.contains(secret), "{}\n{}", said.out, said.err);
        }
        for (name, bytes) in space.files(".studbook") {
            let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!held, "{name} holds a secret key");
        }
    }
}

/// Advice to make a key that is there already is none.
#[test]
fn a_gate_that_leaves_out_the_role_is_told_the_whole_name() {
    let space = Space::new();
    space.studbook(&["keys", "new", "approver", "--name", "ada", "--trust", "trust.toml"]).exits(0);
    let gate = "\n[[gate]]\nname = \"said\"\nkind = \"approval\"\nstatement = \"x\"\nkeys = [\"ada\"]\n";
    space.write("plan.toml", (space.read("plan.toml") + gate).as_bytes());
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    let said =
        said.complains("the trust file has no approver `ada`").complains("did you mean `approver.ada`?");
    assert!(!said.err.contains("make a key"), "{}", said.err);
}
