//! The page shows what it verified, runs it, and can be used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use studbook::model::ModelConfig;
use studbook::registry::serve::{Content, Serving};
use studbook::tensor::dtype::DType;

use super::site::Site;
use super::{MOST, ask, browser, picture, registry, verdict};
use crate::space::{Space, config, model};

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

/// Parents that have much to say.
fn talkative() -> Space {
    let space = Space::new();
    let wide = ModelConfig {
        hidden_size: 64,
        head_count: 4,
        kv_head_count: 2,
        head_dim: 16,
        ffn_size: 96,
        ..config()
    };
    let long = ModelConfig { layer_count: 2, max_context: 4096, ..wide };
    for name in ["base", "one", "two", "three"] {
        space.write(&format!("{name}.slm"), &model(&long, name, DType::Q8_0));
    }
    space
}

#[test]
fn stopping_ends_an_answer_and_keeps_what_was_said() {
    let Some(browser) = browser() else { return };
    let space = talkative();
    space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(3);
    let site = Site::of(&space.files("site"));
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    // As soon as there is text, the button is pressed.
    let stop = "
        new MutationObserver(() => {
            if (document.querySelector('.answer')?.textContent) document.getElementById('stop').click();
        }).observe(document.getElementById('answers'), { subtree: true, childList: true, characterData: true });";
    browser.run(stop, &[]).unwrap();
    let panes = ask(&browser, "a", "average", &json!({ "max-tokens": "4000", "temperature": "0" }));
    assert_eq!(panes.len(), 2);
    assert!(panes[0].1.contains("stopped"), "{panes:?}");
    assert!(panes[1].1.contains("stopped before it began"), "{panes:?}");
    let enabled = "return [document.getElementById('go').disabled, document.getElementById('stop').disabled]";
    assert_eq!(browser.run(enabled, &[]).unwrap(), json!([false, true]));
    // Nothing is broken by it: the next answer comes.
    let again = ask(&browser, "a", "", &json!({ "max-tokens": "1" }));
    assert!(again[0].0 == "ended" && again[0].1.contains("tokens1"), "{again:?}");
}

/// A cycle that admits two.
fn two() -> BTreeMap<String, Vec<u8>> {
    let space = Space::new();
    space.edit("plan.toml", "min = 0.5\ncandidates = [\"tasks\"]", "min = 0.0\ncandidates = [\"tasks\"]");
    space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(3).says("registry: 2 models");
    space.files("site")
}

/// The files of a registry in a folder of a larger site.
struct Deep(Site);

impl Content for Deep {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.0.bytes(path.strip_prefix("pages/models/")?)
    }
}

#[test]
fn two_candidates_are_found_told_apart_and_run_side_by_side_from_any_path() {
    let Some(browser) = browser() else { return };
    let serving = Serving::start(Arc::new(Deep(Site::of(&two()))), 0).unwrap();
    browser.go(&format!("{}pages/models/index.html", serving.url())).unwrap();
    let state = "return document.getElementById('state').dataset.state";
    assert_eq!(browser.wait_for(state, MOST).unwrap(), json!("verified"));

    let listed = |fields: &[(&str, &str)]| {
        let script = "
            for (const [id, value] of arguments[0]) {
                document.getElementById(id).value = value;
                document.getElementById(id).dispatchEvent(new Event('input'));
            }
            return [...document.querySelectorAll('.card')].map((card) => card.dataset.id)
                .concat(document.getElementById('none').hidden ? [] : ['nobody']);";
        let ids = browser.run(script, &[json!(fields)]).unwrap();
        serde_json::from_value::<Vec<String>>(ids).unwrap()
    };
    assert_eq!(listed(&[]), ["average", "tasks"]);
    assert_eq!(listed(&[("search", "TASK_delta")]), ["tasks"]);
    assert_eq!(listed(&[("search", "blend none")]), ["average"]);
    assert_eq!(listed(&[("search", "nothing like it")]), ["nobody"]);
    assert_eq!(listed(&[("search", ""), ("size", "1048576"), ("sort", "bytes")]).len(), 2);
    let choose = "document.querySelector('[data-id=average] button').click()";
    browser.run(choose, &[]).unwrap();
    let current = "return [...document.querySelectorAll('.card button[aria-current=true]')].map((one) => one.textContent)";
    browser
        .wait_for("return document.getElementById('detail-title').textContent === 'average' || null", MOST)
        .unwrap();
    assert_eq!(browser.run(current, &[]).unwrap(), json!(["average"]));
    let detail = browser.run("return document.getElementById('detail').textContent", &[]).unwrap();
    for part in ["no licence granted", "average by blend from", "Operatorblend version", "weight 1, 1, 1"] {
        assert!(detail.as_str().unwrap().contains(part), "no {part} in {detail}");
    }

    // One prompt, two models, each its own answer: the first runs as it does alone.
    let answers = |keys: &serde_json::Value, beside: &str| {
        let panes = ask(&browser, "1+1=", beside, keys);
        assert!(panes.iter().all(|(state, _)| state == "ended"), "{panes:?}");
        let script = "return [...document.querySelectorAll('.pane')].map((pane) => [pane.dataset.id, pane.querySelector('.answer').textContent])";
        serde_json::from_value::<Vec<(String, String)>>(browser.run(script, &[]).unwrap()).unwrap()
    };
    let greedy = json!({ "temperature": "0", "max-tokens": "12" });
    let both = answers(&greedy, "tasks");
    assert_eq!((both[0].0.as_str(), both[1].0.as_str()), ("average", "tasks"));
    assert_ne!(both[0].1, both[1].1, "two models, not one twice");
    assert_eq!(answers(&greedy, ""), both[..1]);

    // Every control is heard: the likeliest token alone is greed, whatever the temperature.
    let hot = |top_k: &str, top_p: &str| {
        let keys = json!({
            "temperature": "3", "seed": "5", "top-k": top_k, "top-p": top_p, "max-tokens": "12",
        });
        answers(&keys, "")
    };
    assert_eq!(hot("1", "1"), both[..1]);
    let wild = hot("200", "1");
    assert_ne!(wild, both[..1]);
    assert_ne!(hot("200", "0.02"), wild);
}

#[test]
fn what_is_wrong_with_a_question_is_said_and_harms_nothing() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let site = Site::of(&files);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    let asked = |id: &str, value: &str| {
        let script = "
            const one = document.getElementById(arguments[0]);
            const [before, details] = [one.value, one.closest('details')];
            details.open = false;
            one.value = arguments[1];
            document.getElementById('go').click();
            const found = [details.open, one.matches(':invalid'), document.querySelectorAll('.pane').length];
            one.value = before;
            return found;";
        browser.run(script, &[json!(id), json!(value)]).unwrap()
    };
    for (id, value) in [
        ("temperature", "99"),
        ("temperature", ""),
        ("top-k", "0"),
        ("top-p", "0"),
        ("seed", "1.5"),
        ("max-tokens", "0"),
    ] {
        assert_eq!(asked(id, value), json!([true, true, 0]), "{id} = {value:?}");
    }
    // A prompt that is too long is refused as often as it is asked; the model stays as it was opened.
    let mut used = Vec::new();
    for _ in 0..3 {
        let panes = ask(&browser, &"x".repeat(500), "", &json!({ "max-tokens": "1" }));
        assert!(panes[0].0 == "refused" && panes[0].1.contains("this model takes at most 63"), "{panes:?}");
        let panes = ask(&browser, "1+1=", "", &json!({ "max-tokens": "1" }));
        assert!(panes[0].0 == "ended" && panes[0].1.contains("model frommemory"), "{panes:?}");
        used.push(panes[0].1.split("runtime memory").nth(1).unwrap().to_owned());
    }
    assert!(used.iter().all(|memory| *memory == used[0]), "{used:?}");
}

/// A server whose model does not come until it is let go.
struct Slow(Site, Arc<AtomicBool>);

impl Content for Slow {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        while path.starts_with("models/") && !self.1.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.0.bytes(path)
    }
}

#[test]
fn stopping_ends_a_loading_too() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let go = Arc::new(AtomicBool::new(false));
    let serving = Serving::start(Arc::new(Slow(Site::of(&files), go.clone())), 0).unwrap();
    assert_eq!(verdict(&browser, &serving).0, "verified");
    let stop = "
        new MutationObserver((_, observer) => {
            if (document.querySelector('.pane .state')?.textContent !== 'verifying…') return;
            observer.disconnect();
            setTimeout(() => document.getElementById('stop').click(), 200);
        }).observe(document.getElementById('answers'), { subtree: true, childList: true, characterData: true });";
    browser.run(stop, &[]).unwrap();
    let panes = ask(&browser, "1+1=", "", &json!({}));
    assert!(panes[0].0 == "ended" && panes[0].1.contains("stopped before it began"), "{panes:?}");
    go.store(true, Ordering::Release);
    let panes = ask(&browser, "1+1=", "", &json!({ "max-tokens": "2" }));
    assert!(panes[0].0 == "ended" && panes[0].1.contains("tokens2"), "{panes:?}");
}
