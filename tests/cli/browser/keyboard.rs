//! The page without a mouse: everything is reached by Tab, in the order it is read, and works by Enter.

use serde_json::{Value, json};

use studbook::browser::chromium::Chromium;

use super::site::Site;
use super::{browser, registry, verdict};

/// A key goes down and up.
fn press(browser: &Chromium, key: &str, code: u32, modifiers: u32) {
    let text = if key == "Enter" && modifiers == 0 { "\r" } else { "" };
    for kind in ["keyDown", "keyUp"] {
        let event = json!({
            "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers, "text": text,
        });
        browser.devtools("Input.dispatchKeyEvent", &event).unwrap();
    }
}

fn tab(browser: &Chromium) -> String {
    press(browser, "Tab", 9, 0);
    focused(browser)
}

/// What a person would say the focus is on; and it must be seen to be there.
fn focused(browser: &Chromium) -> String {
    let script = "
        const one = document.activeElement;
        if (one === document.body) return ['body', true];
        const style = getComputedStyle(one);
        const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
        return [one.id || one.textContent.trim(), seen];";
    let (name, seen): (String, bool) = serde_json::from_value(browser.run(script, &[]).unwrap()).unwrap();
    assert!(seen || name == "run" || name == "detail", "nobody sees that the focus is on {name}");
    name
}

/// Presses Tab until the focus is on this, and says what it passed.
fn tab_to(browser: &Chromium, name: &str) -> Vec<String> {
    let mut passed = Vec::new();
    for _ in 0..40 {
        let here = tab(browser);
        if here == name {
            return passed;
        }
        passed.push(here);
    }
    panic!("Tab does not reach {name}: {passed:?}");
}

fn wait(browser: &Chromium, script: &str) -> Value {
    browser.wait_for(script, super::MOST).unwrap()
}

#[test]
fn everything_is_reached_and_used_by_keys_alone() {
    let Some(browser) = browser() else { return };
    let (_space, files) = registry();
    let site = Site::of(&files);
    let serving = site.serve();
    assert_eq!(verdict(&browser, &serving).0, "verified");

    // In the order it is read, from the top: the way past the list, the filters, the list.
    assert_eq!(tab(&browser), "Skip to running a model");
    assert_eq!(tab_to(&browser, "average"), ["search", "size", "sort"]);
    press(&browser, "Enter", 13, 0);
    let shown = "return document.activeElement.id === 'detail' && document.activeElement.textContent";
    assert!(wait(&browser, shown).as_str().unwrap().contains("average"), "the detail takes the focus");

    // Past the list, a prompt is typed and run from where it is typed.
    assert_eq!(verdict(&browser, &serving).0, "verified");
    assert_eq!(tab(&browser), "Skip to running a model");
    press(&browser, "Enter", 13, 0);
    wait(&browser, "return document.activeElement.id === 'run'");
    assert_eq!(tab_to(&browser, "prompt"), ["model-a", "model-b"]);
    browser.run("document.activeElement.select()", &[]).unwrap();
    browser.devtools("Input.insertText", &json!({ "text": "1+1=" })).unwrap();
    const CONTROL: u32 = 2;
    press(&browser, "Enter", 13, CONTROL);
    let ended = "return document.querySelector('.pane')?.dataset.state === 'ended'
        && document.getElementById('prompt').value";
    assert_eq!(wait(&browser, ended), json!("1+1="));
    assert_eq!(focused(&browser), "prompt", "the next prompt can be typed at once");

    // The button keeps the focus over a run: it moves to Stop, which is what can be done, and back.
    assert_eq!(tab_to(&browser, "go"), ["Sampling"]);
    let path = "globalThis.path = []; addEventListener('focusin', (event) => path.push(event.target.id))";
    browser.run(path, &[]).unwrap();
    press(&browser, "Enter", 13, 0);
    wait(&browser, "return path.length === 2 && document.querySelector('.pane')?.dataset.state === 'ended'");
    assert_eq!(browser.run("return path", &[]).unwrap(), json!(["stop", "go"]));

    // What opens opens by keys as well.
    browser.run("document.querySelector('summary').focus()", &[]).unwrap();
    press(&browser, "Enter", 13, 0);
    assert_eq!(wait(&browser, "return document.querySelector('details').open"), json!(true));
    assert_eq!(tab_to(&browser, "go"), ["temperature", "top-k", "top-p", "seed", "max-tokens"]);
}
