//! What was admitted on a key's signatures is closed with the key, also where these were lost or made anew before.

use crate::attested::{attested, average, kept, replace_key, revoke_key};
use crate::space::{Said, Space};

/// The id of a key, by the path of its file.
fn shown(space: &Space, stem: &str) -> String {
    let shown = space.studbook(&["keys", "show", &format!("{stem}.pub.pem")]).exits(0).out;
    shown.lines().next().unwrap().to_owned()
}

fn revoke(space: &Space, key: &str) -> Said {
    space.studbook(&["revoke", key, "--plan", "plan.toml", "--reason", "stolen"]).exits(0)
}

/// Every attestation of a role that tells of `average`.
fn of_average(space: &Space, role: &str) -> Vec<String> {
    let files = space.files(".studbook/runs/tiny");
    let is_its = |name: &str| match role {
        "producer" => {
            name.starts_with("01-source/")
                || ["02-compat", "04-operator", "05-candidate"].iter().any(|it| name.starts_with(it))
                    && name.contains("/average.")
        }
        "evaluator" => ["06-smoke", "07-eval"].iter().any(|it| name.starts_with(it)),
        _ => ["08-promotion/average.", "09-admission/average."].iter().any(|it| name.starts_with(it)),
    };
    let names = files.keys().filter_map(|name| name.strip_suffix(".sigstore.json"));
    let found: Vec<_> =
        names.filter(|name| is_its(&format!("{name}."))).map(|name| kept(space, name)).collect();
    assert!(found.len() > 1, "{role}");
    found
}

#[track_caller]
fn is_closed(space: &Space, what: &str) {
    let why = average(space, 3);
    assert!(why.contains("not-revoked: it was admitted by record"), "{what}: {why}");
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("average"), "{what}");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

/// An attestation that is lost, or is no file, may have been the revoked key's.
#[test]
fn a_revoked_key_reaches_whoever_lost_the_attestations_it_may_have_signed() {
    for (role, folder) in [("producer", false), ("evaluator", false), ("promoter", false), ("promoter", true)]
    {
        let space = attested();
        for path in of_average(&space, role) {
            std::fs::remove_file(space.path(&path)).unwrap();
            if folder {
                std::fs::create_dir(space.path(&path)).unwrap();
            }
        }
        let said = revoke_key(&space, role).complains("is closed for good");
        let line = said.out.lines().find(|line| line.starts_with("tainted: tiny/average ")).unwrap();
        assert!(line.contains("so nobody can tell whether"), "{role}: {line}");
        if folder {
            std::fs::remove_dir_all(space.path(".studbook/attestations")).unwrap();
        }
        replace_key(&space, role);
        is_closed(&space, role);
    }
}

/// The whole folder of them is not less than one.
#[test]
fn a_revoked_key_reaches_everybody_where_all_attestations_are_lost() {
    let space = attested();
    std::fs::remove_dir_all(space.path(".studbook/attestations")).unwrap();
    revoke_key(&space, "promoter").says("tainted: tiny/average").says("is not in this store");
    replace_key(&space, "promoter");
    is_closed(&space, "all");
}

/// Whoever replaces a key before taking it back takes back no less.
#[test]
fn a_key_that_was_replaced_before_it_was_revoked_closes_what_was_admitted_on_it() {
    for role in ["producer", "evaluator", "promoter"] {
        let space = attested();
        let key = shown(&space, &format!("keys/{role}"));
        replace_key(&space, role);
        space.studbook(&["run", "plan.toml"]).exits(3).says(" 0 executed");
        space.studbook(&["verify", "plan.toml"]).exits(0);
        // What is decided from here on is decided on the new key's signatures.
        space.edit("plan.toml", "seconds = 600", "seconds = 601");
        let now = average(&space, 3);
        assert!(now.contains("admitted"), "{role}: {now}");
        for _ in 0..2 {
            let said = revoke(&space, &key);
            said.says(&format!("key {}", &key[..12]))
                .says("was signed by this key before it was signed anew");
            let now = average(&space, 3);
            assert!(now.contains("admitted"), "{role}: {now}");
        }
        space.studbook(&["verify", "plan.toml"]).exits(0);
        space.edit("plan.toml", "seconds = 601", "seconds = 600");
        is_closed(&space, role);
    }
}

/// Nobody is closed for signatures that nobody was to make.
#[test]
fn a_revoked_key_reaches_nobody_where_nobody_signs() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    // Another role is demanded, and the key is nobody's.
    space.studbook(&["keys", "new", "registry", "--out", "elsewhere", "--trust", "trust.toml"]).exits(0);
    space.studbook(&["keys", "new", "promoter", "--out", "elsewhere"]).exits(0);
    revoke(&space, &shown(&space, "elsewhere/promoter")).says("nothing in this store descends from it");
    let now = average(&space, 3);
    assert!(now.contains("admitted"), "{now}");
    // Nor for what another key signed, while it is there.
    let space = attested();
    let more = ["keys", "new", "promoter", "--name", "two", "--out", "elsewhere", "--trust", "trust.toml"];
    space.studbook(&more).exits(0);
    revoke(&space, &shown(&space, "elsewhere/promoter.two")).says("nothing in this store descends from it");
    let now = average(&space, 3);
    assert!(now.contains("admitted"), "{now}");
}
