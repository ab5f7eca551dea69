//! The manifest: `key=value` lines, each key once but for `dataset` and `tensor`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::FORMAT;
use crate::model::config::ModelConfig;
use crate::model::variant::Variant;

/// Longest manifest that is read.
pub const MAX_BYTES: u64 = 16 << 20;

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ManifestError {
    /// The line, from 1; 0 for what is missing.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// One tensor's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFile {
    /// The tensor's name.
    pub name: String,
    /// Its dimensions, rows first.
    pub dims: Vec<usize>,
    /// The file's length.
    pub bytes: u64,
    /// Where it is, relative to the folder.
    pub path: String,
}

/// A manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `converted-trained` or `deterministic-smoke`.
    pub source_kind: String,
    /// Under which licence the weights are.
    pub licence: String,
    /// What they were trained on; one line each.
    pub datasets: Vec<String>,
    /// How they were trained.
    pub training: String,
    /// The network.
    pub config: ModelConfig,
    /// The tokenizer section's file.
    pub tokenizer: String,
    /// Every tensor, in storage order.
    pub tensors: Vec<TensorFile>,
}

const KINDS: [&str; 2] = ["converted-trained", "deterministic-smoke"];

/// Keys with a whole number.
const SIZES: [&str; 9] = [
    "vocab_size",
    "special_token_count",
    "hidden_size",
    "layer_count",
    "head_count",
    "kv_head_count",
    "head_dim",
    "ffn_size",
    "max_context",
];

/// The other keys that come once.
const OTHERS: [&str; 8] = [
    "format",
    "source_kind",
    "licence",
    "training",
    "rope_theta",
    "rms_norm_epsilon",
    "tied_output",
    "tokenizer",
];

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// The first mistake, with its line: no `key=value`, a key that is unknown or comes twice, a value that is
    /// none, or one that is missing; else what [`ModelConfig::validate_plain`] says.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut once: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        let (mut datasets, mut tensors) = (Vec::new(), Vec::new());
        for (index, content) in text.lines().enumerate() {
            let line = index + 1;
            let fail = |message: String| ManifestError { line, message };
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (key, value) = content
                .split_once('=')
                .ok_or_else(|| fail(format!("expected `key=value`, found {content:?}")))?;
            match key {
                "dataset" => datasets.push(value.to_owned()),
                "tensor" => tensors.push(tensor(value).map_err(fail)?),
                key if SIZES.contains(&key) || OTHERS.contains(&key) => {
                    if let Some((first, _)) = once.insert(key, (line, value)) {
                        return Err(fail(format!("`{key}` was already said on line {first}")));
                    }
                }
                key => {
                    let known = SIZES.into_iter().chain(OTHERS).chain(["dataset", "tensor"]);
                    let near = crate::base::nearest::nearest(key, known);
                    let help = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    return Err(fail(format!("unknown key `{key}`{help}")));
                }
            }
        }
        build(&Once(once), datasets, tensors)
    }

    /// The manifest's text.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("format={FORMAT}\nsource_kind={}\nlicence={}\n", self.source_kind, self.licence);
        let put = |text: &mut String, key: &str, value: &dyn std::fmt::Display| {
            writeln!(text, "{key}={value}").expect("text takes any text");
        };
        self.datasets.iter().for_each(|dataset| put(&mut text, "dataset", dataset));
        put(&mut text, "training", &self.training);
        for (key, size) in SIZES.into_iter().zip(sizes(&self.config)) {
            put(&mut text, key, &size);
        }
        put(&mut text, "rope_theta", &self.config.rope_theta);
        put(&mut text, "rms_norm_epsilon", &self.config.rms_norm_epsilon);
        put(&mut text, "tied_output", &self.config.tied_output);
        put(&mut text, "tokenizer", &self.tokenizer);
        for tensor in &self.tensors {
            let dims: Vec<String> = tensor.dims.iter().map(usize::to_string).collect();
            let line = format!("{} {} {} {}", tensor.name, dims.join("x"), tensor.bytes, tensor.path);
            put(&mut text, "tensor", &line);
        }
        text
    }
}

fn sizes(config: &ModelConfig) -> [u32; 9] {
    [
        config.vocab_size,
        config.special_token_count,
        config.hidden_size,
        config.layer_count,
        config.head_count,
        config.kv_head_count,
        config.head_dim,
        config.ffn_size,
        config.max_context,
    ]
}

struct Once<'t>(BTreeMap<&'t str, (usize, &'t str)>);

impl Once<'_> {
    fn text(&self, key: &'static str) -> Result<(usize, &str), ManifestError> {
        let missing = || ManifestError { line: 0, message: format!("`{key}` is missing") };
        self.0.get(key).copied().ok_or_else(missing)
    }

    fn parsed<T: std::str::FromStr>(&self, key: &'static str, what: &str) -> Result<T, ManifestError> {
        let (line, value) = self.text(key)?;
        let message = || format!("`{key}` is {value:?}; expected {what}");
        value.trim().parse().map_err(|_| ManifestError { line, message: message() })
    }

    fn one_of(&self, key: &'static str, words: &[&str]) -> Result<String, ManifestError> {
        let (line, value) = self.text(key)?;
        if words.contains(&value) {
            return Ok(value.to_owned());
        }
        let message = format!("`{key}` is {value:?}; expected {}", words.join(" or "));
        Err(ManifestError { line, message })
    }
}

fn build(
    once: &Once<'_>,
    datasets: Vec<String>,
    tensors: Vec<TensorFile>,
) -> Result<Manifest, ManifestError> {
    once.one_of("format", &[FORMAT])?;
    let size = |key| once.parsed::<u32>(key, "a whole number");
    let number = |key| once.parsed::<f32>(key, "a number");
    let config = ModelConfig {
        vocab_size: size("vocab_size")?,
        special_token_count: size("special_token_count")?,
        hidden_size: size("hidden_size")?,
        layer_count: size("layer_count")?,
        head_count: size("head_count")?,
        kv_head_count: size("kv_head_count")?,
        head_dim: size("head_dim")?,
        ffn_size: size("ffn_size")?,
        max_context: size("max_context")?,
        rope_theta: number("rope_theta")?,
        rms_norm_epsilon: number("rms_norm_epsilon")?,
        tied_output: once.parsed("tied_output", "true or false")?,
        variant: Variant::PLAIN,
    };
    config.validate_plain().map_err(|error| ManifestError { line: 0, message: error.to_string() })?;
    Ok(Manifest {
        source_kind: once.one_of("source_kind", &KINDS)?,
        licence: once.text("licence")?.1.to_owned(),
        datasets,
        training: once.text("training")?.1.to_owned(),
        config,
        tokenizer: once.text("tokenizer")?.1.to_owned(),
        tensors,
    })
}

fn tensor(value: &str) -> Result<TensorFile, String> {
    let mut parts = value.splitn(4, ' ');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (Some(name), Some(dims), Some(bytes), Some(path)) = (next(), next(), next(), next()) else {
        return Err("expected `tensor=NAME ROWSxCOLUMNS BYTES PATH`".to_owned());
    };
    let dims: Result<Vec<usize>, _> = dims.split('x').map(str::parse).collect();
    Ok(TensorFile {
        name: name.to_owned(),
        dims: dims.map_err(|_| "expected dimensions such as `260x128`".to_owned())?,
        bytes: bytes.parse().map_err(|_| format!("{bytes:?} is no number of bytes"))?,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;

    fn manifest() -> Manifest {
        Manifest {
            source_kind: "converted-trained".to_owned(),
            licence: "MIT".to_owned(),
            datasets: vec!["one".to_owned(), "a = b".to_owned()],
            training: "3 steps".to_owned(),
            config: tiny(),
            tokenizer: "tokenizer.bin".to_owned(),
            tensors: vec![TensorFile {
                name: "norm.weight".to_owned(),
                dims: vec![8],
                bytes: 32,
                path: "tensors/norm weight.f32".to_owned(),
            }],
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let text = manifest().to_text();
        assert!(text.starts_with("format=studbook-trained-source-1\n"), "{text}");
        assert_eq!(Manifest::parse(&text).unwrap(), manifest());
        assert_eq!(Manifest::parse(&format!("# made by hand\n\n{text}")).unwrap(), manifest());
    }

    #[test]
    fn mistakes_have_a_line() {
        let text = manifest().to_text();
        let refused =
            |from: &str, to: &str| Manifest::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert_eq!(
            refused("head_count=2", "head_cuont=2"),
            "line 11: unknown key `head_cuont`; did you mean `head_count`?"
        );
        assert_eq!(
            refused("ffn_size=16", "hidden_size=16"),
            "line 14: `hidden_size` was already said on line 9"
        );
        assert_eq!(refused("licence=MIT\n", ""), "line 0: `licence` is missing");
        assert_eq!(
            refused("=converted-trained", "=good"),
            "line 2: `source_kind` is \"good\"; expected converted-trained or deterministic-smoke"
        );
        assert!(refused("tied_output=false", "tied_output=no").contains("expected true or false"));
        assert!(refused(" 8 32 ", " 8y8 32 ").contains("dimensions such as"));
        assert!(refused("head_dim=4", "head_dim=3").contains("head_dim"));
    }
}
