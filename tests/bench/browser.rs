//! What a person waits for in a browser: the first token after the click, the tokens after it, the memory.
//!
//! ```text
//! cargo bench --bench browser        # needs chromium and chromium-driver
//! ```
//!
//! A real registry of one bred model is served on the loopback address and used as a person would: the page is
//! opened, the button clicked; then the page is opened again, and the model comes from the browser's cache.
//! A browser runs a module it has just loaded before it has optimised it, so the first answer is slower than
//! those after it; both are told. Natively the same answer is made on one thread, taking turns with the page. An
//! answer takes a twentieth of a second, and whatever else a machine does shows in it: of many on each side both
//! the best and the median are compared. The bytes a model takes while it is verified are those of the runtime's
//! memory once it is open, in a page of its own, over the model's.

#![expect(clippy::print_stdout, reason = "the times are the product")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use studbook::base::rng::Philox;
use studbook::browser::chromium::Chromium;
use studbook::model::WriteError;
use studbook::model::config::ModelConfig;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::registry::drive::{Job, drive};
use studbook::registry::serve::{Folder, Serving};
use studbook::registry::site;
use studbook::runtime::{Answer, GenerateOptions, Model, RuntimeError};
use studbook::tensor::dtype::DType;

const ROUNDS: usize = 5;
/// Of each side in a round, after the first.
const ANSWERS: usize = 8;
const TOKENS: usize = 200;
const PROMPT: &str = "12+34=";
const PATIENCE: Duration = Duration::from_secs(120);

const PLAN: &str = r#"
[cycle]
name = "bench"
seed = "1"
output = "q8_0"
[budget]
candidates = 1
artifact = "4 MiB"
disk = "16 MiB"
seconds = 600
[parents.one]
source = "one.slm"
[parents.two]
source = "two.slm"
[candidates.child]
operator = "blend"
parents = ["one", "two"]
weight = 1.0
[smoke]
prompts = ["12+34="]
max_tokens = 4
[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 4000000
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let browser = Chromium::start()?;
    let folder = tempfile::tempdir()?;
    for name in ["one", "two"] {
        std::fs::write(folder.path().join(format!("{name}.slm")), model(name, 144, 4)?)?;
    }
    std::fs::write(folder.path().join("plan.toml"), PLAN)?;
    let build = ["registry", "build", "plan.toml", "--out", "site", "--quiet"];
    let built = Command::new(env!("CARGO_BIN_EXE_studbook")).args(build).current_dir(&folder).output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned().into());
    }
    page(&browser, &folder.path().join("site"))?;
    let scripts = site::files().filter(|(path, _)| path.ends_with(".js"));
    let scripts: usize = scripts.map(|(_, bytes)| bytes.len()).sum();
    let runtime =
        site::files().find(|(path, _)| *path == "studbook.wasm").map_or(0, |(_, bytes)| bytes.len());
    println!("scripts {scripts} bytes, runtime {runtime} bytes");

    let large = model("large", 512, 9)?;
    let driven = drive(&browser, Job { model: &large, prompts: &["a".to_owned()], max_tokens: 1 })?;
    println!(
        "a model of {} bytes is verified and open in {} bytes of memory ({:.2}x) after {:.0} ms, {}",
        large.len(),
        driven.memory_bytes,
        driven.memory_bytes as f64 / large.len() as f64,
        driven.load_ms,
        driven.browser
    );
    Ok(())
}

/// Uses the page: cold once, then with a warm cache.
fn page(browser: &Chromium, site: &Path) -> Result<(), Box<dyn Error>> {
    let serving = Serving::start(Arc::new(Folder::new(site)?), 0)?;
    let bytes = std::fs::read_dir(site.join("models"))?.next().ok_or("no model")??;
    let model = Arc::new(studbook::model::open_bytes(Arc::new(std::fs::read(bytes.path())?))?);
    let model = Model::new(model)?;
    let (mut speeds, mut natives) = (Vec::new(), Vec::new());
    let (mut first, mut early, mut cold) = (f64::INFINITY, 0.0_f64, 0.0);
    for round in 0..=ROUNDS {
        browser.go(&serving.url())?;
        let state = browser.wait_for("return document.getElementById('state').dataset.state", PATIENCE)?;
        if state != json!("verified") {
            return Err(format!("the page says {state}").into());
        }
        let facts = answer(browser)?;
        if round == 0 {
            cold = number(&facts[1]);
            continue;
        }
        if facts[4] != "cache" {
            return Err(format!("the model came from {}", facts[4]).into());
        }
        (first, early) = (first.min(number(&facts[1])), early.max(number(&facts[2])));
        for _ in 0..ANSWERS {
            speeds.push(number(&answer(browser)?[2]));
            natives.push(alone(&model)?);
        }
    }
    println!(
        "first token {first:.0} ms after the click with a warm cache, {cold:.0} ms without; best of {ROUNDS}"
    );
    println!("decoding: {early:.0} tokens/s in the first answer");
    for (name, place) in [("best", 1.0), ("median", 0.5)] {
        let [page, native] = [&mut speeds, &mut natives].map(|all| quantile(all, place));
        println!(
            "decoding: {name} of {}: {page:.0} tokens/s in the page, {native:.0} native on one thread: {:.0} %",
            ROUNDS * ANSWERS,
            100.0 * page / native
        );
    }
    Ok(())
}

/// Makes the page answer: the facts it shows then.
fn answer(browser: &Chromium) -> Result<Vec<String>, Box<dyn Error>> {
    let click = "document.getElementById('max-tokens').value = arguments[0];
        document.getElementById('prompt').value = arguments[1];
        document.getElementById('go').click();";
    browser.run(click, &[json!(TOKENS), json!(PROMPT)])?;
    // The page tells when it is done: asking it again and again would be a third program at work.
    let answered = "
        return new Promise((resolve) => {
            const look = () => {
                if (!document.querySelector('.pane')?.dataset.state) return false;
                resolve([...document.querySelectorAll('.facts dd')].map((one) => one.textContent));
                return true;
            };
            if (look()) return;
            const observer = new MutationObserver(() => look() && observer.disconnect());
            const options = { attributes: true, childList: true, subtree: true };
            observer.observe(document.getElementById('answers'), options);
        });";
    Ok(serde_json::from_value(browser.run(answered, &[])?)?)
}

/// The number in what the page shows.
fn number(fact: &str) -> f64 {
    let digits: String = fact.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(f64::NAN)
}

/// The number that this part of all numbers is at most.
fn quantile(numbers: &mut [f64], part: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[(part * (numbers.len() - 1) as f64) as usize]
}

/// Tokens a second on one thread after the first, of the answer that the page makes: tokens are chosen and
/// become text.
fn alone(model: &Model) -> Result<f64, Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let rate = pool.install(|| -> Result<f64, RuntimeError> {
        let mut answer = Answer::new(model, PROMPT, GenerateOptions::greedy(TOKENS))?;
        let (mut start, mut tokens) = (Instant::now(), 0);
        while answer.stop_reason().is_none() {
            answer.feed(usize::MAX)?;
            answer.choose()?;
            if tokens == 0 {
                start = Instant::now();
            }
            tokens += 1;
        }
        Ok(f64::from(tokens - 1) / start.elapsed().as_secs_f64())
    });
    Ok(rate?)
}

/// A model with random weights.
fn model(seed: &str, hidden_size: u32, layer_count: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let config = ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size,
        layer_count,
        head_count: hidden_size / 16,
        kv_head_count: hidden_size / 16,
        head_dim: 16,
        ffn_size: hidden_size * 8 / 3 / 32 * 32,
        max_context: 512,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: false,
        variant: studbook::model::variant::Variant::PLAIN,
    };
    let layout = Layout::new(&config, &Tokenizer::Btok, Encoding::new(DType::Q8_0))?;
    let mut file = Vec::new();
    write_values(&layout, &mut file, |tensor, start, out| {
        let stream = Philox::for_purpose(&[seed, &tensor.name]);
        for (index, weight) in (start as u64..).zip(out) {
            *weight = (stream.unit(index) - 0.5) as f32;
        }
        Ok::<(), WriteError>(())
    })?;
    Ok(file)
}
