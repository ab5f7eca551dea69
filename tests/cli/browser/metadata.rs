//! Signed metadata, ours and that of another implementation.

use std::collections::BTreeMap;

use super::site::Site;
use super::{browser, registry, verdict};
use crate::space::Space;

/// Metadata by python-tuf, over an empty registry (`tests/fixtures/registry_metadata.py`).
#[test]
fn signed_metadata_must_be_fresh_whole_and_never_older() {
    let Some(browser) = browser() else { return };
    let cases: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(include_str!("../../fixtures/registry_metadata.json")).unwrap();
    let (_space, page) = registry();
    let page = || {
        page.iter().filter(|(path, _)| {
            path.starts_with("app/")
                || path.contains("index")
                || path.contains("studbook.wasm")
                || path.ends_with(".css")
        })
    };
    let files = |case: &str| -> BTreeMap<String, Vec<u8>> {
        let own = cases[case].iter().map(|(path, text)| (path.clone(), text.clone().into_bytes()));
        page().map(|(path, bytes)| (path.clone(), bytes.clone())).chain(own).collect()
    };
    for (case, why) in [
        ("expired timestamp", "metadata/timestamp.json expired on 2020-01-01"),
        ("expired targets", "metadata/1.targets.json expired"),
        ("expired root", "the root expired"),
        ("wrong key", "0 of the 1 signatures"),
        ("wrong role", "the role of metadata/1.targets.json is snapshot, expected targets"),
        ("wrong count", "the version of metadata/1.snapshot.json is 7, expected 1"),
        ("other file", "the SHA-256 of selector.json"),
        ("unlisted file", "selector.json is not among the files"),
        ("mixed", "of metadata/1.snapshot.json"),
    ] {
        let site = Site::of(&files(case));
        let serving = site.serve();
        let (state, refusals) = verdict(&browser, &serving);
        assert!(state == "refused" && refusals.contains(why), "{case}: {state}: {refusals}");
    }
    let site = Site::of(&files("newer"));
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving), ("verified".to_owned(), String::new()));
    *site.0.lock().unwrap() = files("good");
    let (state, why) = verdict(&browser, &serving);
    assert!(state == "refused" && why.contains("has version 1, this browser has seen 2"), "{state}: {why}");
    site.0.lock().unwrap().retain(|path, _| !path.starts_with("metadata/"));
    let (state, why) = verdict(&browser, &serving);
    assert!(state == "refused" && why.contains("metadata/timestamp.json"), "{state}: {why}");
}

/// A registry that was published until a date, signed by keys of its own.
fn published() -> (Space, BTreeMap<String, Vec<u8>>) {
    let space = Space::new();
    for role in ["log", "registry"] {
        space.studbook(&["keys", "new", role]).exits(0);
    }
    space.write(
        "plan.toml",
        (space.read("plan.toml") + "\n[registry]\nexpires = \"2100-01-01\"\n").as_bytes(),
    );
    space
        .studbook(&["registry", "build", "plan.toml", "--out", "site"])
        .exits(3)
        .says("signed metadata: version");
    let files = space.files("site");
    (space, files)
}

#[test]
fn a_published_registry_is_followed_forward_and_never_back() {
    let Some(browser) = browser() else { return };
    let (space, first) = published();
    let site = Site::of(&first);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving), ("verified".to_owned(), String::new()));
    let footer = browser.run("return document.getElementById('ledger').textContent", &[]).unwrap();
    let footer = footer.as_str().unwrap();
    for part in ["signed by its log", "first time", "Signed metadata, version", "until 2100-01-01"] {
        assert!(footer.contains(part), "no {part} in {footer}");
    }
    space.edit("plan.toml", "2100-01-01", "2101-01-01");
    space.studbook(&["registry", "build", "plan.toml", "--out", "next"]).exits(3);
    *site.0.lock().unwrap() = space.files("next");
    assert_eq!(
        verdict(&browser, &serving),
        ("verified".to_owned(), String::new()),
        "a new root, and all newer"
    );
    *site.0.lock().unwrap() = first.clone();
    let (state, why) = verdict(&browser, &serving);
    assert!(state == "refused" && why.contains("it was rolled back"), "{state}: {why}");

    // The names without digests are for those who read no metadata: the page does not look at them.
    let site = Site::of(&first);
    site.put("selector.json", "{}");
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    let listed = first.keys().find(|path| path.ends_with(".selector.json")).unwrap();
    site.put(listed, "{}");
    let (state, why) = verdict(&browser, &serving);
    assert!(state == "refused" && why.contains("the length of selector.json"), "{state}: {why}");
}

#[test]
fn a_checkpoint_that_its_log_did_not_sign_is_refused() {
    let Some(browser) = browser() else { return };
    let (_space, mut files) = published();
    files.retain(|path, _| !path.starts_with("metadata/"));
    let site = Site::of(&files);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    let note = String::from_utf8(files["checkpoint"].clone()).unwrap();
    let signature = note.find('\u{2014}').unwrap();
    for (what, note) in [
        ("unsigned", note[..signature].to_owned()),
        ("another signature", note.replacen("\u{2014} studbook/ledger ", "\u{2014} studbook/other ", 1)),
        ("a changed signature", note[..note.len() - 12].to_owned() + "AAAAAAAAAA=\n"),
    ] {
        site.put("checkpoint", note);
        let (state, why) = verdict(&browser, &serving);
        assert!(state == "refused" && why.contains("signed by none of its keys"), "{what}: {state}: {why}");
    }
}
