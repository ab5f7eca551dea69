//! What the page refuses.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use studbook::registry::serve::Content;

use super::site::Site;
use super::{MOST, ask, browser, registry, verdict};

const PROOF: &str = "proofs/average.tlog-proof";

type Damage = Box<dyn Fn(&Site)>;

#[test]
fn what_was_not_admitted_as_it_is_is_refused() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let model = files.keys().find(|path| path.starts_with("models/")).unwrap().clone();
    let manifest = files.keys().find(|path| path.starts_with("manifests/")).unwrap().clone();
    let cases: Vec<(&str, Damage)> = vec![
        (
            "SHA-256",
            Box::new(move |site: &Site| {
                let mut bytes = site.bytes(&manifest).unwrap();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                site.put(&manifest, bytes);
            }),
        ),
        (
            "the manifest that the admission of average is about",
            Box::new(|site: &Site| {
                site.record("manifest", |record| record["body"]["licences"] = json!(["MIT"]));
            }),
        ),
        (
            "over the budget",
            Box::new(|site: &Site| {
                site.entry(|entry| {
                    entry["model"]["bytes"] = json!(33_554_433);
                    entry["model"]["pieces"] = json!(vec!["ab".repeat(32); 129]);
                });
            }),
        ),
        (
            "at most 33554432 are allowed",
            Box::new(|site: &Site| site.entry(|entry| entry["budget_bytes"] = json!(33_554_433))),
        ),
        (
            "the length of the model",
            Box::new(|site: &Site| {
                site.entry(|entry| {
                    entry["model"]["bytes"] = json!(entry["model"]["bytes"].as_u64().unwrap() - 1);
                });
            }),
        ),
        (
            "the model path",
            Box::new(|site: &Site| site.entry(|entry| entry["model"]["path"] = json!("../models/x.slm"))),
        ),
        (
            "the model path",
            Box::new(|site: &Site| site.entry(|entry| entry["model"]["path"] = json!("models/%2e%2e/x.slm"))),
        ),
        (
            "the model path",
            Box::new(|site: &Site| {
                site.entry(|entry| entry["model"]["path"] = json!("https://elsewhere.example/x.slm"));
            }),
        ),
        (
            "has no admission",
            Box::new(|site: &Site| site.entry(|entry| entry["admission"] = json!("0".repeat(64)))),
        ),
        (
            "has no admission: ledger entry 0 is a plan",
            Box::new(|site: &Site| site.entry(|entry| entry["ledger_index"] = json!(0))),
        ),
        (
            "has no admission: ledger entry 99 does not exist",
            Box::new(|site: &Site| site.entry(|entry| entry["ledger_index"] = json!(99))),
        ),
        (
            "taken back by ledger entry",
            Box::new(|site: &Site| {
                site.ledger(|leaves| {
                    let admission = leaves.iter().find(|leaf| leaf["kind"] == "admission").unwrap().clone();
                    let mut leaf = admission;
                    leaf["kind"] = json!("revocation");
                    leaves.push(leaf);
                });
            }),
        ),
        (
            "taken back by ledger entry",
            Box::new(|site: &Site| {
                site.ledger(|leaves| {
                    let admission = leaves.iter().find(|leaf| leaf["kind"] == "admission").unwrap().clone();
                    leaves.push(json!({
                        "kind": "retirement", "version": 2, "cycle": admission["cycle"], "subject": admission["subject"],
                    }));
                });
            }),
        ),
        (
            "taken back by ledger entry",
            Box::new(|site: &Site| {
                site.ledger(|leaves| {
                    let admission = leaves.iter().find(|leaf| leaf["kind"] == "admission").unwrap().clone();
                    let mut leaf = admission;
                    leaf["kind"] = json!("refusal");
                    leaves.push(leaf);
                });
            }),
        ),
        (
            "what ledger entry 1 follows",
            Box::new(|site: &Site| {
                let text = String::from_utf8(site.bytes("ledger.jsonl").unwrap()).unwrap();
                site.put("ledger.jsonl", text.replacen("\"cycle\":\"tiny\"", "\"cycle\":\"tino\"", 1));
            }),
        ),
        (
            "admitted is false",
            Box::new(|site: &Site| {
                site.record("admission", |record| record["body"]["admitted"] = json!(false));
            }),
        ),
        // Right in every checksum, wrong in meaning: the route, the budget, the role, the count.
        ("the route", Box::new(|site: &Site| site.entry(|entry| entry["route"] = json!("default")))),
        (
            "over the budget of 100",
            Box::new(|site: &Site| site.entry(|entry| entry["budget_bytes"] = json!(100))),
        ),
        (
            "not a admission-record",
            Box::new(|site: &Site| {
                site.record("admission", |record| {
                    record["type"] = json!("urn:studbook:approval:v1");
                });
            }),
        ),
        (
            "the promotion it was admitted by",
            Box::new(|site: &Site| {
                let lineage = site.json("selector.json")["entries"][0]["evidence"][1]["sha256"].clone();
                let path = |kind: &str| format!("records/{}.average.{kind}.json", lineage.as_str().unwrap());
                site.put(&path("promotion"), site.bytes(&path("lineage")).unwrap());
                site.entry(|entry| entry["evidence"][0]["sha256"] = lineage.clone());
            }),
        ),
        (
            "the number of ledger entries",
            Box::new(|site: &Site| {
                let text = String::from_utf8(site.bytes("ledger.jsonl").unwrap()).unwrap();
                let (rest, _) = text.trim_end().rsplit_once('\n').unwrap();
                site.put("ledger.jsonl", format!("{rest}\n"));
            }),
        ),
        // The admission is proved, not only listed.
        (
            "does not lead to the root of the ledger",
            Box::new(|site: &Site| {
                let proof = String::from_utf8(site.bytes(PROOF).unwrap()).unwrap();
                let hash = proof.lines().nth(3).unwrap().to_owned();
                site.put(PROOF, proof.replacen(&hash, &format!("{}=", "A".repeat(43)), 1));
            }),
        ),
        (
            "the entry of the proof of average",
            Box::new(|site: &Site| {
                let proof = String::from_utf8(site.bytes(PROOF).unwrap()).unwrap();
                site.put(PROOF, proof.replacen("\nindex 1\n", "\nindex 2\n", 1));
            }),
        ),
        (
            "the root under the proof of average",
            Box::new(|site: &Site| {
                let old = site.bytes(PROOF).unwrap();
                site.ledger(|leaves| leaves.push(json!({ "kind": "plan", "version": 2 })));
                site.put(PROOF, String::from_utf8(old).unwrap().replacen("\n3\n", "\n4\n", 1));
            }),
        ),
        ("404 for proofs/average.tlog-proof", Box::new(|site: &Site| site.remove(PROOF))),
        (
            "the root of the ledger",
            Box::new(|site: &Site| {
                let note = String::from_utf8(site.bytes("checkpoint").unwrap()).unwrap();
                let root = note.lines().nth(2).unwrap().to_owned();
                site.put("checkpoint", note.replacen(&root, &format!("{}=", "A".repeat(43)), 1));
            }),
        ),
        (
            "average rests on",
            Box::new(|site: &Site| {
                // A parent is taken back later; the selector still names the child.
                let evidence = site.json("selector.json")["entries"][0]["evidence"].clone();
                let lineage =
                    evidence.as_array().unwrap().iter().find(|one| one["kind"] == "lineage").unwrap();
                let lineage = format!("records/{}.average.lineage.json", lineage["sha256"].as_str().unwrap());
                let source = site.json(&lineage)["body"]["parents"][0]["source"].clone();
                let leaf = json!({ "cycle": "store", "kind": "revocation", "subject": source, "version": 2 });
                site.ledger(|leaves| leaves.push(leaf));
            }),
        ),
        (
            "the default is undefined, expected average",
            Box::new(|site: &Site| {
                let mut selector = site.json("selector.json");
                selector.as_object_mut().unwrap().remove("default");
                site.put("selector.json", selector.to_string());
            }),
        ),
        (
            "the default is no entry",
            Box::new(|site: &Site| {
                let mut selector = site.json("selector.json");
                selector["default"] = json!("ties");
                site.put("selector.json", selector.to_string());
            }),
        ),
        (
            "the number of pieces",
            Box::new(|site: &Site| site.entry(|entry| entry["model"]["pieces"] = json!([]))),
        ),
        ("an unknown member", Box::new(|site: &Site| site.entry(|entry| entry["script"] = json!("x")))),
        (
            "no licence expression",
            Box::new(|site: &Site| {
                site.entry(|entry| entry["licence"] = json!("<img src=x onerror=alert(1)>"));
            }),
        ),
        (
            "the quality claim",
            Box::new(|site: &Site| {
                site.entry(|entry| entry["claims"]["quality_claim"] = json!("assistant-quality"));
            }),
        ),
    ];
    for (why, damage) in cases {
        let site = Site::of(&files);
        damage(&site);
        let serving = site.serve();
        let (state, refusals) = verdict(&browser, &serving);
        // A wrong type is a wrong promotion, too: the first check that notices may be either.
        let found = refusals.contains(why)
            || why.starts_with("the promotion") && refusals.contains("lineage-template");
        assert!(state != "verified" && found, "{why}: {state}, {refusals}");
        let runnable = browser.run("return !document.getElementById('go').disabled", &[]).unwrap();
        assert_eq!(runnable, json!(false), "{why}: it could be run");
    }

    // The model itself is fetched when it is asked for.
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let site = Site::of(&files);
        let mut bytes = site.bytes(&model).unwrap();
        change(&mut bytes);
        site.put(&model, bytes);
        let serving = site.serve();
        assert_eq!(verdict(&browser, &serving).0, "verified");
        let panes = ask(&browser, "1+1=", "", &json!({}));
        assert_eq!(panes[0].0, "refused", "{panes:?}");
        panes[0].1.clone()
    };
    let flipped = changed(&|bytes| bytes[5000] ^= 1);
    assert!(flipped.contains("differs from what was admitted in bytes 0 to"), "{flipped}");
    let shorter = changed(&|bytes| bytes.truncate(bytes.len() - 1));
    assert!(shorter.contains("were admitted"), "{shorter}");
    let longer = changed(&|bytes| bytes.push(0));
    assert!(longer.contains("were admitted"), "{longer}");
}

#[test]
fn a_ledger_that_was_seen_longer_or_other_is_refused() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let site = Site::of(&files);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    site.ledger(|leaves| drop(leaves.pop()));
    let (state, why) = verdict(&browser, &serving);
    assert!(state == "refused" && why.contains("rolled back"), "{state}: {why}");
    *site.0.lock().unwrap() = files.clone();
    site.ledger(|leaves| leaves[0]["time"] = json!("2020-01-01T00:00:00Z"));
    let (state, why) = verdict(&browser, &serving);
    assert!(state == "refused" && why.contains("rewritten"), "{state}: {why}");
    *site.0.lock().unwrap() = files;
    site.ledger(|leaves| leaves.push(json!({ "kind": "plan", "version": 1 })));
    assert_eq!(verdict(&browser, &serving).0, "verified", "a ledger may grow");

    // Only a person can say that another registry was put there.
    site.ledger(|leaves| leaves[0]["time"] = json!("2020-01-01T00:00:00Z"));
    assert_eq!(verdict(&browser, &serving).0, "refused");
    browser.run("document.getElementById('another').click()", &[]).unwrap();
    let verified = "return document.getElementById('state').dataset.state === 'verified' || null";
    browser.wait_for(verified, MOST).unwrap();
}

#[test]
fn a_changed_part_of_the_page_does_not_run() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    for part in ["app/selector.js", "app/main.js"] {
        let site = Site::of(&files);
        let mut script = site.bytes(part).unwrap();
        script.extend_from_slice(b"\ndocument.title = 'owned';");
        site.put(part, script);
        let serving = site.serve();
        browser.go(&serving.url()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let found = "return [document.title, document.getElementById('state').textContent.slice(0, 13)]";
        assert_eq!(browser.run(found, &[]).unwrap(), json!(["Studbook registry", "Not verified."]), "{part}");
    }
    let site = Site::of(&files);
    let mut worker = site.bytes("app/worker.js").unwrap();
    worker.push(b'\n');
    site.put("app/worker.js", worker);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    let panes = ask(&browser, "1", "", &json!({}));
    let why = "app/worker.js cannot be fetched, or it is not the one that this page names";
    assert!(panes[0].0 == "refused" && panes[0].1.contains(why), "{panes:?}");
}

/// A server that sends whoever asks for one path somewhere else.
fn redirecting(site: &Site, path: &str, elsewhere: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = format!("http://{}/", listener.local_addr().unwrap());
    let (site, path, elsewhere) = (site.clone(), path.to_owned(), elsewhere.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(&stream);
            let mut line = String::new();
            if head.read_line(&mut line).is_err() {
                continue;
            }
            while head.read_line(&mut String::new()).is_ok_and(|bytes| bytes > 2) {}
            let asked = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let asked = if asked.is_empty() { "index.html".to_owned() } else { asked };
            let (status, bytes) = match site.bytes(&asked) {
                Some(_) if asked == path => (format!("302 Found\r\nLocation: {elsewhere}{path}"), Vec::new()),
                Some(bytes) => ("200 OK".to_owned(), bytes),
                None => ("404 Not Found".to_owned(), Vec::new()),
            };
            let kind = match asked.rsplit('.').next() {
                Some("html") => "text/html",
                Some("css") => "text/css",
                Some("js") => "text/javascript",
                _ => "application/octet-stream",
            };
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\n");
            let _ = write!(&stream, "{head}Content-Length: {}\r\n\r\n", bytes.len());
            let _ = (&stream).write_all(&bytes);
        }
    });
    here
}

#[test]
fn a_redirect_to_another_place_is_refused() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let site = Site::of(&files);
    // The very same files, from another origin.
    let elsewhere = site.serve();
    let model = files.keys().find(|path| path.starts_with("models/")).unwrap();
    for (path, refused_at_once) in [("selector.json", true), (PROOF, true), (model, false)] {
        let here = redirecting(&site, path, &elsewhere.url());
        browser.go(&here).unwrap();
        let state = browser.wait_for("return document.getElementById('state').dataset.state", MOST).unwrap();
        if refused_at_once {
            let why =
                "return [...document.querySelectorAll('.refusal')].map((one) => one.textContent).join(' | ')";
            let why = browser.run(why, &[]).unwrap();
            assert!(state != json!("verified"), "{path}: {state}");
            assert!(why.as_str().unwrap().contains("an answer from elsewhere"), "{path}: {why}");
        } else {
            assert_eq!(state, json!("verified"));
            let panes = ask(&browser, "1+1=", "", &json!({}));
            assert_eq!(panes[0].0, "refused", "{panes:?}");
        }
    }
}
