//! Running a model where it will run: in a page, in a real browser.
//!
//! The page is the registry's own runtime and worker, with a script that does one job and shows what came of
//! it. It is served on the loopback address for as long as that takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::selector::{ModelFile, SELECTOR_BUDGET};
use super::serve::{Content, Serving};
use super::{RegistryError, site};
use crate::base::digest::{Digest, Sha256};
use crate::browser::chromium::{BrowserError, Chromium};

/// How long a page may work on a job.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The bytes of an `.slm` file.
    pub model: &'a [u8],
    /// What to ask; each is answered greedily.
    pub prompts: &'a [String],
    /// Most tokens of an answer.
    pub max_tokens: u64,
}

/// What a page answered to one prompt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PageRun {
    /// What was asked.
    pub prompt: String,
    /// The ids it chose.
    pub tokens: Vec<u32>,
    /// Their text.
    pub text: String,
    /// BLAKE3 of the logits each id was chosen from, little-endian f32.
    pub logits: Vec<Digest>,
    /// Milliseconds from the start to the first token.
    pub first_ms: f64,
    /// Milliseconds from the first token to the end.
    pub decode_ms: f64,
    /// Bytes of the runtime's memory at the end.
    pub memory_bytes: u64,
}

/// What a browser did with a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// Its name and version.
    pub browser: String,
    /// SHA-256 of the runtime it ran.
    pub runtime: Sha256,
    /// An answer for each prompt.
    pub runs: Vec<PageRun>,
    /// Milliseconds to fetch, verify and open the model.
    pub load_ms: f64,
    /// Bytes of the runtime's memory after that.
    pub memory_bytes: u64,
}

/// Why nothing came of a job.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// There is no browser, or it does not obey.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// The page could not be served.
    #[error(transparent)]
    Serve(#[from] RegistryError),
    /// The page said no.
    #[error("the page refused the job: {0}")]
    Refused(String),
}

/// Files in memory.
struct Memory(BTreeMap<String, Vec<u8>>);

impl Content for Memory {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Done { runs: Vec<PageRun>, load_ms: f64, memory_bytes: u64 },
    Failed(String),
}

/// Runs a job in a browser.
///
/// # Errors
///
/// [`DriveError::Refused`] with what the page says of the job, or if its answer is not understood;
/// [`DriveError::Serve`] if no port is free; [`DriveError::Browser`] if the browser does not obey, or took more
/// than 300 seconds.
pub fn drive(browser: &Chromium, job: Job<'_>) -> Result<Driven, DriveError> {
    let id = "candidate".parse().expect("a proper name");
    let model = ModelFile::of(job.model, &id);
    let order = json!({
        "budget": SELECTOR_BUDGET,
        "model": model,
        "prompts": job.prompts,
        "max_tokens": job.max_tokens,
        "digests": true,
    });
    let mut files: BTreeMap<String, Vec<u8>> =
        site::smoke_files().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect();
    files.insert("job.json".to_owned(), order.to_string().into_bytes());
    files.insert(model.path, job.model.to_vec());
    let serving = Serving::start(Arc::new(Memory(files)), 0)?;
    browser.go(&format!("{}{}", serving.url(), site::SMOKE))?;
    let said = browser.wait_for("return document.getElementById('result').textContent", PATIENCE)?;
    let said = said.as_str().map(serde_json::from_str::<Said>);
    match said {
        Some(Ok(Said::Done { runs, load_ms, memory_bytes })) => Ok(Driven {
            browser: browser.version().to_owned(),
            runtime: site::runtime_sha256(),
            runs,
            load_ms,
            memory_bytes,
        }),
        Some(Ok(Said::Failed(why))) => Err(DriveError::Refused(why)),
        Some(Err(error)) => Err(DriveError::Refused(format!("its answer is not understood: {error}"))),
        None => Err(DriveError::Refused("its answer is no text".to_owned())),
    }
}
