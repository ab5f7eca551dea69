//! Signed metadata, ours and that of another implementation.

use std::collections::BTreeMap;

use super::site::Site;
use super::{browser, registry, verdict};

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
