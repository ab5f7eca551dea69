//! What `studbook inspect` shows of a model of another format than `.slm`: its files are other people's, so
//! it says what is known of each part, and why not where it is not.

use std::io::Write;

use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use crate::base::digest::{Digest, Sha256};
use crate::model::buffer::Buffer;
use crate::model::context::bounded_by;
use crate::model::identity::{Identity, TokenizerIdentity};
use crate::model::{ModelConfig, OpenedPackage, Package, validate_values};
use crate::report::table::Table;

#[derive(Serialize)]
struct Output {
    format: &'static str,
    bytes: u64,
    /// Of a single file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<Digest>,
    values: String,
    parameters: u64,
    /// Whether it can be run, or why not.
    runs: String,
    config: Known<ModelConfig>,
    tokenizer: Known<TokenizerIdentity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    companions: Vec<String>,
    tensors: Vec<TensorRow>,
    /// Tensors that hold no weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buffers: Vec<BufferRow>,
}

/// Something the files say, or why it is not known.
#[derive(Serialize)]
#[serde(untagged)]
enum Known<T> {
    Said(T),
    Unknown { unknown: String },
}

#[derive(Serialize)]
struct TensorRow {
    name: String,
    dtype: String,
    shape: String,
    bytes: usize,
}

#[derive(Serialize)]
struct BufferRow {
    name: String,
    dtype: &'static str,
    shape: String,
    bytes: usize,
    /// What children get of it.
    children: &'static str,
}

impl<T> Known<T> {
    fn of<S>(said: &Result<S, String>, show: impl Fn(&S) -> T) -> Self {
        match said {
            Ok(said) => Self::Said(show(said)),
            Err(why) => Self::Unknown { unknown: why.clone() },
        }
    }

    fn show(&self, show: impl Fn(&T) -> String) -> String {
        match self {
            Self::Said(said) => show(said),
            Self::Unknown { unknown } => format!("not known: {unknown}"),
        }
    }
}

/// Shows a model.
pub(super) fn inspect(opened: &OpenedPackage, format: Format, terminal: &Terminal) -> anyhow::Result<()> {
    let package = &opened.package;
    let file = opened.single().map(|mapped| -> &[u8] { (**mapped).as_ref() });
    let checkpoint = package.checkpoint();
    let output = Output {
        format: package.weights.format(),
        bytes: package.weights.bytes(),
        sha256: file.map(Sha256::of),
        blake3: file.map(crate::disk::tree::digest),
        values: validate_values(&package.weights)
            .map_or_else(|error| error.to_string(), |()| "every value is finite".to_owned()),
        parameters: package.weights.parameters(),
        runs: checkpoint.as_ref().map_or_else(|why| format!("no: {why}"), |_| "yes".to_owned()),
        config: Known::of(&package.config, Clone::clone),
        tokenizer: Known::of(&package.tokenizer, |tokenizer| TokenizerIdentity {
            kind: tokenizer.kind().to_owned(),
            digest: tokenizer.digest(),
        }),
        identity: checkpoint.as_ref().ok().map(Identity::of),
        companions: package.companions.iter().map(|companion| companion.name.clone()).collect(),
        tensors: tensors(package),
        buffers: buffers(package),
    };
    match format {
        Format::Json => terminal.json(&output)?,
        Format::Text => print(&output, package, terminal)?,
    }
    Ok(())
}

fn tensors(package: &Package) -> Vec<TensorRow> {
    let row = |info: &crate::model::weights::TensorInfo| TensorRow {
        name: info.name.clone(),
        dtype: info.dtype.to_string(),
        shape: info.shape.to_string(),
        bytes: info.data.len() + info.scales.len(),
    };
    package.weights.infos().iter().map(row).collect()
}

fn buffers(package: &Package) -> Vec<BufferRow> {
    let derived: Vec<&str> = package.derived_buffers().map(|buffer| buffer.name.as_str()).collect();
    let row = |buffer: &Buffer| BufferRow {
        name: buffer.name.clone(),
        dtype: buffer.kind,
        shape: buffer.shape.to_string(),
        bytes: buffer.data().len(),
        children: match package.carried_buffers() {
            _ if derived.contains(&buffer.name.as_str()) => "left out: it follows from the configuration",
            Ok(_) => "carried as it is, if all parents have the same",
            Err(_) => "refused: nothing that the network is known to have",
        },
    };
    package.weights.buffers().iter().map(row).collect()
}

fn print(output: &Output, package: &Package, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let mut table = Table::new(&["format", output.format]);
    let mut row = |name: &str, value: String| table.row(&[name, &value]);
    row("bytes", output.bytes.to_string());
    if let (Some(sha256), Some(blake3)) = (&output.sha256, &output.blake3) {
        row("sha256", sha256.to_hex());
        row("blake3", blake3.to_hex());
    }
    row("values", output.values.clone());
    row("parameters", output.parameters.to_string());
    row("runs", output.runs.clone());
    match &output.config {
        Known::Said(config) => network(config, &bounded_by(package).unwrap_or_default(), &mut row),
        Known::Unknown { unknown } => row("network", format!("not known: {unknown}")),
    }
    row("tokenizer", output.tokenizer.show(|tokenizer| tokenizer.kind.clone()));
    if let Known::Said(tokenizer) = &output.tokenizer {
        row("  digest", tokenizer.digest.to_hex());
    }
    if !output.companions.is_empty() {
        row("files beside", output.companions.join(", "));
    }
    writeln!(out, "{}", table.render())?;
    let mut tensors = Table::new(&["tensor", "encoding", "shape", "bytes"]);
    for row in &output.tensors {
        tensors.row(&[&row.name, &row.dtype, &row.shape, &row.bytes.to_string()]);
    }
    write!(out, "{}", tensors.render())?;
    if output.buffers.is_empty() {
        return Ok(());
    }
    let mut buffers = Table::new(&["no weights", "type", "shape", "bytes", "children"]);
    for row in &output.buffers {
        buffers.row(&[&row.name, row.dtype, &row.shape, &row.bytes.to_string(), row.children]);
    }
    write!(out, "\n{}", buffers.render())
}

fn network(config: &ModelConfig, bounded_by: &str, row: &mut dyn FnMut(&str, String)) {
    let heads =
        format!("{} of {}, {} for keys and values", config.head_count, config.head_dim, config.kv_head_count);
    row("vocabulary", config.vocab_size.to_string());
    row("layers", config.layer_count.to_string());
    row("hidden", config.hidden_size.to_string());
    row("heads", heads);
    row("ffn", config.ffn_size.to_string());
    row("context", format!("{}, {bounded_by}", config.max_context));
    row("rope theta", config.rope_theta.to_string());
    row("norm epsilon", config.rms_norm_epsilon.to_string());
    config.variant.told().for_each(|(field, own)| row(&field.replace('_', " "), own));
    row("output", if config.tied_output { "tied to the embedding" } else { "its own matrix" }.to_owned());
}
