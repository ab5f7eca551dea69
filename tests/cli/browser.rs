//! The registry in a real browser: it shows, runs and compares models, and refuses everything else.
//!
//! Without Chromium and its driver these tests say so and pass; `STUDBOOK_REQUIRE_BROWSER=1` makes that a
//! failure. `STUDBOOK_SCREENSHOTS=DIR` keeps pictures of the page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use studbook::base::digest::{Digest, Sha256};
use studbook::browser::chromium::{BrowserError, Chromium};
use studbook::model::ModelConfig;
use studbook::registry::drive::{Job, drive};
use studbook::registry::serve::{Content, Serving};
use studbook::runtime::{Answer, GenerateOptions, Model};
use studbook::tensor::dtype::DType;

use crate::space::{PLAN, Space, config, model};

const MOST: Duration = Duration::from_secs(60);

/// A browser; none if there is none and nobody requires one.
fn browser() -> Option<Chromium> {
    match Chromium::start() {
        Ok(browser) => Some(browser),
        Err(error @ BrowserError::Missing(_)) if std::env::var_os("STUDBOOK_REQUIRE_BROWSER").is_none() => {
            // Seen with `--nocapture`, and by whoever asks why a test was this quick.
            #[expect(clippy::print_stderr, reason = "the one message of a test that cannot run here")]
            {
                eprintln!("NOT RUN: {error}");
            }
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The files of a registry in memory: they can change while they are served.
#[derive(Clone, Default)]
struct Site(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Content for Site {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(path).cloned()
    }
}

impl Site {
    fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(files.clone())))
    }

    fn serve(&self) -> Serving {
        Serving::start(Arc::new(self.clone()), 0).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path).unwrap()).unwrap()
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    /// Changes the first entry of the selector.
    fn entry(&self, change: impl FnOnce(&mut Value)) {
        let mut selector = self.json("selector.json");
        change(&mut selector["entries"][0]);
        self.put("selector.json", selector.to_string());
    }

    /// Changes a record and everything that names it by digest in the selector: right in every checksum.
    fn record(&self, folder: &str, field: &str, change: impl FnOnce(&mut Value)) {
        let digest = self.json("selector.json")["entries"][0][field].as_str().unwrap().to_owned();
        let mut record = self.json(&format!("{folder}/{digest}.json"));
        change(&mut record);
        let bytes = record.to_string().into_bytes();
        let digest = Sha256::of(&bytes).to_hex();
        self.put(&format!("{folder}/{digest}.json"), bytes);
        self.entry(|entry| entry[field] = json!(digest));
    }

    /// Rewrites the ledger, its chain whole again.
    fn ledger(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let lines = String::from_utf8(self.bytes("ledger.jsonl").unwrap()).unwrap();
        let mut leaves: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        change(&mut leaves);
        let (mut text, mut previous) = (String::new(), "0".repeat(64));
        for (index, leaf) in leaves.iter_mut().enumerate() {
            leaf["index"] = json!(index);
            leaf["prev"] = json!(previous);
            let line = leaf.to_string();
            previous = Sha256::of(line.as_bytes()).to_hex();
            text += &line;
            text.push('\n');
        }
        let mut head = self.json("ledger.json");
        head["size"] = json!(leaves.len());
        head["head"] = json!(previous);
        self.put("ledger.jsonl", text);
        self.put("ledger.json", head.to_string());
    }
}

/// A tiny cycle with one admitted model, and its registry.
fn registry() -> (Space, BTreeMap<String, Vec<u8>>) {
    let space = Space::new();
    space.edit("plan.toml", "prompts = [\"ab\", \"1+1=\"]", "prompts = [\"<img src=x>\", \"1+1=\"]");
    space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(3).says("registry: 1 models");
    let files = space.files("site");
    (space, files)
}

/// Opens the page and waits for its verdict: its state, and every refusal it shows.
fn verdict(browser: &Chromium, serving: &Serving) -> (String, String) {
    browser.go(&serving.url()).unwrap();
    let state = browser.wait_for("return document.getElementById('state').dataset.state", MOST).unwrap();
    let script =
        "return [...document.querySelectorAll('.refusal')].map((one) => one.textContent).join(' | ')";
    let refusals = browser.run(script, &[]).unwrap();
    (state.as_str().unwrap().to_owned(), refusals.as_str().unwrap_or_default().to_owned())
}

/// Types a prompt, clicks, waits for all answers: each pane's state and text.
fn ask(browser: &Chromium, prompt: &str, beside: &str, keys: &Value) -> Vec<(String, String)> {
    let script = "
        const at = (id) => document.getElementById(id);
        at('prompt').value = arguments[0];
        at('model-b').value = arguments[1];
        for (const [id, value] of Object.entries(arguments[2])) at(id).value = value;
        at('go').click();";
    browser.run(script, &[json!(prompt), json!(beside), keys.clone()]).unwrap();
    let done = "
        const panes = [...document.querySelectorAll('.pane')];
        if (panes.length === 0 || !panes.every((pane) => pane.dataset.state)) return null;
        return panes.map((pane) => [pane.dataset.state, pane.textContent]);";
    let panes = browser.wait_for(done, MOST).unwrap();
    serde_json::from_value(panes).unwrap()
}

/// Keeps a picture if somebody wants it.
fn picture(browser: &Chromium, name: &str) {
    let Some(folder) = std::env::var_os("STUDBOOK_SCREENSHOTS") else { return };
    let text = browser.screenshot().unwrap();
    let digit = |c: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|d| *d == c)
    };
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let digits: Vec<usize> = group.iter().filter_map(|c| digit(*c)).collect();
        let bits = digits.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - digits.len()));
        bytes.extend(
            [bits >> 16, bits >> 8, bits].iter().take(digits.len() - 1).map(|byte| (byte & 0xFF) as u8),
        );
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
}

#[test]
fn every_logit_has_the_native_bits() {
    let Some(browser) = browser() else { return };
    let wide = ModelConfig {
        hidden_size: 64,
        head_count: 4,
        kv_head_count: 2,
        head_dim: 16,
        ffn_size: 96,
        ..config()
    };
    let prompts =
        ["ab", "1+1=", "a longer prompt, with more than one line\nof text in it"].map(str::to_owned);
    for dtype in [DType::F32, DType::Q8_0, DType::Q4_0] {
        let bytes = model(&wide, "bits", dtype);
        let driven = drive(&browser, Job { model: &bytes, prompts: &prompts, max_tokens: 9 }).unwrap();
        let native = Model::new(Arc::new(studbook::model::open_bytes(Arc::new(bytes)).unwrap())).unwrap();
        for (run, prompt) in driven.runs.iter().zip(&prompts) {
            let mut answer = Answer::new(&native, prompt, GenerateOptions::greedy(9)).unwrap();
            let mut digests = Vec::new();
            while answer.stop_reason().is_none() {
                answer.feed(usize::MAX).unwrap();
                let logits: Vec<u8> = answer.logits().iter().flat_map(|logit| logit.to_le_bytes()).collect();
                if answer.choose().unwrap().is_some() {
                    digests.push(Digest::of(&logits));
                }
            }
            assert!(!digests.is_empty(), "{dtype}: nothing to compare");
            assert_eq!((&run.tokens[..], &run.logits), (answer.tokens(), &digests), "{dtype}, {prompt:?}");
        }
    }
}

#[test]
fn the_page_verifies_shows_runs_and_compares() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let site = Site::of(&files);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving), ("verified".to_owned(), String::new()));
    let text = |selector: &str| {
        let script = "return document.querySelector(arguments[0]).textContent";
        browser.run(script, &[json!(selector)]).unwrap().as_str().unwrap().to_owned()
    };
    let detail = text("#detail");
    for part in [
        "average",
        "blend",
        "size",
        "no-worse",
        "digits",
        "one",
        "two",
        "three",
        "trained quality: not-claimed",
    ] {
        assert!(detail.contains(part), "no {part} in {detail}");
    }
    // What a registry says is text, whatever it looks like.
    assert!(detail.contains("<img src=x>"), "{detail}");
    assert_eq!(browser.run("return document.images.length", &[]).unwrap(), json!(0));

    let greedy = json!({ "temperature": "0", "max-tokens": "8" });
    let first = ask(&browser, "1+1=", "average", &greedy);
    assert!(first.iter().all(|(state, _)| state == "ended"), "{first:?}");
    assert_eq!(first.len(), 2, "two side by side");
    assert!(first[0].1.contains("network") && first[1].1.contains("memory"), "{first:?}");
    picture(&browser, "wide");

    // The same seed gives the same text; another browser session finds the verified model kept.
    let wild = json!({ "temperature": "2", "seed": "11", "max-tokens": "20" });
    let answer = || {
        let script = "return document.querySelector('.answer').textContent";
        browser.run(script, &[]).unwrap()
    };
    ask(&browser, "1+1=", "", &wild);
    let drawn = answer();
    verdict(&browser, &serving);
    let again = ask(&browser, "1+1=", "", &wild);
    assert!(again[0].1.contains("cache"), "{again:?}");
    assert_eq!(answer(), drawn);

    // Stopping: an answer that would take long ends at once, as what it is.
    let filter = "document.getElementById('search').value = 'nothing like it';
        document.getElementById('search').dispatchEvent(new Event('input'));
        return document.querySelectorAll('.card').length";
    assert_eq!(browser.run(filter, &[]).unwrap(), json!(0));
    for (name, width, height) in [("narrow", 420, 900), ("wide-again", 1280, 900)] {
        browser.resize(width, height).unwrap();
        let wide = browser.run("return document.documentElement.scrollWidth <= innerWidth", &[]).unwrap();
        assert_eq!(wide, json!(true), "{name}: the page scrolls sideways");
        picture(&browser, name);
    }
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.devtools("Emulation.setEmulatedMedia", &dark).unwrap();
    picture(&browser, "dark");
    let unnamed = "return [...document.querySelectorAll('input, select, textarea, button')]
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel)).length";
    assert_eq!(browser.run(unnamed, &[]).unwrap(), json!(0), "every control has a name");
}

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
                site.record("manifests", "manifest", |record| record["body"]["licences"] = json!(["MIT"]));
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
            "what ledger entry 1 follows",
            Box::new(|site: &Site| {
                let text = String::from_utf8(site.bytes("ledger.jsonl").unwrap()).unwrap();
                site.put("ledger.jsonl", text.replacen("\"cycle\":\"tiny\"", "\"cycle\":\"tino\"", 1));
            }),
        ),
        (
            "admitted is false",
            Box::new(|site: &Site| {
                site.record("records", "admission", |record| record["body"]["admitted"] = json!(false));
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
                site.record("records", "admission", |record| {
                    record["type"] = json!("urn:studbook:approval:v1");
                });
            }),
        ),
        (
            "the promotion it was admitted by",
            Box::new(|site: &Site| {
                site.entry(|entry| {
                    let lineage = entry["evidence"][1]["sha256"].clone();
                    entry["evidence"][0]["sha256"] = lineage;
                });
            }),
        ),
        (
            "the number of ledger entries",
            Box::new(|site: &Site| {
                let mut head = site.json("ledger.json");
                head["size"] = json!(head["size"].as_u64().unwrap() + 1);
                site.put("ledger.json", head.to_string());
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
}

/// Metadata by python-tuf, over an empty registry (`tests/fixtures/registry_metadata.py`).
#[test]
fn signed_metadata_must_be_fresh_whole_and_never_older() {
    let Some(browser) = browser() else { return };
    let cases: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(include_str!("../fixtures/registry_metadata.json")).unwrap();
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
        let found = browser.run("return [document.title, document.getElementById('state').textContent]", &[]);
        assert_eq!(found.unwrap(), json!(["Studbook registry", "Verifying…"]), "{part}");
    }
    let site = Site::of(&files);
    let mut worker = site.bytes("app/worker.js").unwrap();
    worker.push(b'\n');
    site.put("app/worker.js", worker);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    assert_eq!(ask(&browser, "1", "", &json!({}))[0].0, "refused");
}

const GATE: &str =
    "[[gate]]\nname = \"page\"\nkind = \"browser_smoke\"\ncandidates = [\"average\"]\n\n[review]";

#[test]
fn a_browser_smoke_gate_waits_for_a_browser() {
    let space = Space::new();
    space.write("plan.toml", PLAN.replace("[review]", GATE).as_bytes());
    let run = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(run.out.contains("studbook smoke --browser plan.toml"), "{}", run.out);
    let mut without = space.command(&["smoke", "--browser", "plan.toml"]);
    crate::space::said(without.env("STUDBOOK_CHROMEDRIVER", "/nowhere/chromedriver"))
        .exits(3)
        .complains("apt-get install chromium chromium-driver")
        .complains("the gate page of average stays pending");
    if browser().is_none() {
        return;
    }
    space.studbook(&["smoke", "--browser", "plan.toml"]).exits(0).says("average: ran in chrome");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let promotion = space.read(".studbook/runs/tiny/08-promotion/average.json");
    assert!(promotion.contains("2 prompts with the native tokens, 2 with the native logits"), "{promotion}");
    assert!(space.read(".studbook/runs/tiny/09-admission/average.json").contains("\"admitted\":true"));
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn serving_is_for_a_registry_that_holds() {
    let (space, files) = registry();
    let model = files.keys().find(|path| path.starts_with("models/")).unwrap();
    let mut bytes = files[model].clone();
    bytes[5000] ^= 1;
    space.write(&format!("site/{model}"), &bytes);
    space
        .studbook(&["registry", "serve", "site", "--port", "0"])
        .exits(4)
        .complains("the SHA-256 of the model");
    space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(2).complains("is not empty");
    Space::new().studbook(&["registry", "serve", "plan.toml"]).exits(2).complains("has no registry yet");
}
