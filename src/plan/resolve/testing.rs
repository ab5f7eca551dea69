//! A folder with tiny models and a plan that is right, for tests that make it wrong.

use std::path::PathBuf;

use crate::base::diagnostic::Diagnostic;
use crate::model::ModelConfig;
use crate::model::WriteError;
use crate::model::slm1::write::write_values;
use crate::model::slm1::{Encoding, Layout};
use crate::model::tokenizer::Tokenizer;
use crate::plan::{Plan, check};
use crate::store::Store;
use crate::tensor::dtype::DType;

/// Three parents, four candidates, one suite, four gates; nothing wrong, nothing unused.
pub(crate) const GOOD: &str = include_str!("../../../tests/golden/plan_good.toml");

/// What `GOOD` refers to.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self::layered(1)
    }

    /// The same with models of as many layers.
    pub(crate) fn layered(layers: u32) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["base.slm", "one.slm", "two.slm"] {
            folder.write(name, &model(layers));
        }
        // As many as decide something.
        let case = |i: u32| format!("{{\"id\":\"c{i}\",\"prompt\":\"{i}=\",\"expected\":\"1\"}}\n");
        folder.write("suite.jsonl", (1..=30).map(case).collect::<String>().as_bytes());
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.path(".studbook")).unwrap()
    }

    pub(crate) fn check(&self, text: &str) -> (Option<Plan>, Vec<Diagnostic>) {
        check(text, self.folder.path(), &self.store())
    }

    /// The plan, which must have no mistakes.
    #[track_caller]
    pub(crate) fn plan(&self, text: &str) -> Plan {
        let (plan, found) = self.check(text);
        plan.unwrap_or_else(|| panic!("{found:#?}"))
    }

    #[track_caller]
    pub(crate) fn mistakes(&self, text: &str) -> Vec<Diagnostic> {
        let (plan, found) = self.check(text);
        assert!(plan.is_none() && !found.is_empty(), "the plan has no mistakes");
        found
    }
}

/// What is wrong with a plan in the usual folder.
#[track_caller]
pub(crate) fn mistakes(text: &str) -> Vec<Diagnostic> {
    Folder::new().mistakes(text)
}

fn model(layers: u32) -> Vec<u8> {
    let config = ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size: 8,
        layer_count: layers,
        head_count: 2,
        kv_head_count: 1,
        head_dim: 4,
        ffn_size: 16,
        max_context: 64,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: true,
        variant: crate::model::variant::Variant::PLAIN,
    };
    let layout = Layout::new(&config, &Tokenizer::Btok, Encoding::new(DType::Q8_0)).unwrap();
    let mut bytes = Vec::new();
    write_values::<WriteError>(&layout, &mut bytes, |_, _, out| {
        out.fill(0.25);
        Ok(())
    })
    .unwrap();
    bytes
}
