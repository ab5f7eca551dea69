//! The page shows what it verified, runs it, and can be used.

use serde_json::json;

use studbook::model::ModelConfig;
use studbook::tensor::dtype::DType;

use super::site::Site;
use super::{ask, browser, picture, registry, verdict};
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
