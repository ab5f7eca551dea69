//! The registry in a real browser: it shows, runs and compares models, and refuses everything else.
//!
//! Without Chromium and its driver these tests say so and pass; `STUDBOOK_REQUIRE_BROWSER=1` makes that a
//! failure. `STUDBOOK_SCREENSHOTS=DIR` keeps pictures of the page.

mod gate;
mod keyboard;
mod metadata;
mod refuses;
mod runs;
mod shows;
mod site;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use studbook::browser::chromium::{BrowserError, Chromium};
use studbook::registry::serve::Serving;

use crate::space::Space;

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

/// A tiny cycle with one admitted model, and its registry.
fn registry() -> (Space, BTreeMap<String, Vec<u8>>) {
    let space = Space::new();
    space.edit("plan.toml", "prompts = [\"ab\", \"1+1=\"]", "prompts = [\"<img src=x>\", \"1+1=\"]");
    space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(3).says("registry: 1 model,");
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
