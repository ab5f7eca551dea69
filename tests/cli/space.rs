//! A folder to work in: tiny models, suites, plans, and the binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use studbook::base::rng::Philox;
use studbook::model::ModelConfig;
use studbook::model::WriteError;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::tensor::dtype::DType;

/// A temporary folder, removed when the test is over.
pub(crate) struct Space {
    folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Fails, showing everything, unless the exit code is this.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Fails unless standard output contains this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} in\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Fails unless standard error contains this.
    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in\n--- err\n{}\n--- out\n{}", self.err, self.out);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in\n{}\n{}", self.out, self.err))
    }
}

/// The dimensions of every tiny model.
pub(crate) fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size: 8,
        layer_count: 1,
        head_count: 2,
        kv_head_count: 1,
        head_dim: 4,
        ffn_size: 16,
        max_context: 64,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: true,
        variant: studbook::model::variant::Variant::PLAIN,
    }
}

/// The bytes of a model whose weights follow from `seed`.
pub(crate) fn model(config: &ModelConfig, seed: &str, dtype: DType) -> Vec<u8> {
    model_of(config, seed, dtype, |_| 1.0)
}

/// The same, the weights of each tensor times a factor for its name.
pub(crate) fn model_of(
    config: &ModelConfig,
    seed: &str,
    dtype: DType,
    factor: impl Fn(&str) -> f32,
) -> Vec<u8> {
    let layout = Layout::new(config, &Tokenizer::Btok, Encoding::new(dtype)).unwrap();
    let mut bytes = Vec::new();
    write_values::<WriteError>(&layout, &mut bytes, |tensor, start, out| {
        let random = Philox::for_purpose(&[seed, &tensor.name]);
        let factor = factor(&tensor.name);
        for (i, value) in out.iter_mut().enumerate() {
            *value = (random.unit((start + i) as u64) - 0.5) as f32 * factor;
        }
        Ok(())
    })
    .unwrap();
    bytes
}

impl Space {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Three parents, a base, a suite of eight cases, and [`PLAN`] as `plan.toml`.
    pub(crate) fn new() -> Self {
        let space = Self::empty();
        for name in ["base", "one", "two", "three"] {
            space.write(&format!("{name}.slm"), &model(&config(), name, DType::Q8_0));
        }
        let case = |i: u32| format!("{{\"id\":\"c{i}\",\"prompt\":\"p{i}=\",\"expected\":\"{i}\"}}\n");
        space.write("suite.jsonl", (0..8).map(case).collect::<String>().as_bytes());
        space.write("plan.toml", PLAN.as_bytes());
        space
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Replaces a piece of a file; it must be there.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "no {from:?} in {name}");
        self.write(name, text.replace(from, to).as_bytes());
    }

    /// The binary, with a fixed clock and nothing inherited that could matter.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_studbook"), arguments)
    }

    /// What a person types, for a POSIX shell to take apart.
    pub(crate) fn in_shell(&self, typed: &str) -> Command {
        self.program("sh", &["-c", typed])
    }

    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("STUDBOOK_STORE")
            // What a person's own merges remember is none of a test's business.
            .env_remove("XDG_CACHE_HOME")
            .env_remove("HOME")
            .env("STUDBOOK_NOW", "2026-01-01T00:00:00Z")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary.
    pub(crate) fn studbook(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    /// Every file under a folder with its bytes, links followed.
    pub(crate) fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path(name), "", &mut found);
        found
    }
}

/// Runs a command to its end.
pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), found);
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// What [`PLAN`] ranks by: who ranks by something else takes it out.
pub(crate) const OBJECTIVES: &str = "objectives = [\"digits\", \"artifact_bytes\"]\n";

/// Three candidates: one that every gate lets through, one that is refused, one that waits.
pub(crate) const PLAN: &str = r#"
[cycle]
name = "tiny"
seed = "7"
output = "q8_0"

[budget]
candidates = 8
artifact = "1 MiB"
disk = "8 MiB"
seconds = 600

[parents.base]
source = "base.slm"
role = "base"

[parents.one]
source = "one.slm"

[parents.two]
source = "two.slm"

[parents.three]
source = "three.slm"

[candidates.average]
operator = "blend"
parents = ["one", "two", "three"]
weight = 1.0

[candidates.tasks]
operator = "task_delta"
parents = ["one", "two"]
weight = 1.0
lambda = 0.5

[candidates.ties]
operator = "sign_merge"
parents = ["one", "two", "three"]
weight = 1.0
density = 0.5

[smoke]
prompts = ["ab", "1+1="]
max_tokens = 4

[[eval]]
name = "digits"
kind = "exact_match"
cases = "suite.jsonl"
use = "both"
max_tokens = 4

[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 100000

[[gate]]
name = "quality"
kind = "metric"
metric = "exact_match"
suites = ["digits"]
min = 0.5
candidates = ["tasks"]

[[gate]]
name = "no-worse"
kind = "metric"
metric = "exact_match"
suites = ["digits"]
versus = "best-parent"
margin = 0.0

[[gate]]
name = "release"
kind = "approval"
statement = "fit to be released"
candidates = ["ties"]

[review]
no_op = "base"
objectives = ["digits", "artifact_bytes"]

[recipe]
parents = 2
"#;
