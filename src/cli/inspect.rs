//! `studbook inspect`: what a model file holds.

use std::collections::BTreeSet;
use std::io::Write;

use serde::Serialize;

use super::args::{Format, Inspect};
use super::context::Terminal;
use super::exit::{Exit, UsageError};
use crate::base::digest::{Digest, Sha256};
use crate::model::adapter::peft;
use crate::model::identity::Identity;
use crate::model::weights::{TensorInfo, Weights};
use crate::model::{ModelConfig, Package, slm1, validate_values};
use crate::report::table::Table;

#[derive(Serialize)]
struct Output {
    format: &'static str,
    bytes: u64,
    sha256: Sha256,
    blake3: Digest,
    checksum: String,
    values: String,
    config: ModelConfig,
    identity: Identity,
    tensors: Vec<TensorRow>,
}

#[derive(Serialize)]
struct TensorRow {
    name: String,
    dtype: String,
    shape: String,
    offset: usize,
    bytes: usize,
    scale_offset: Option<usize>,
}

pub(super) fn run(command: &Inspect, terminal: &Terminal) -> anyhow::Result<Exit> {
    if super::adapter::inspect(&command.model, command.format, terminal)? {
        return Ok(Exit::Complete);
    }
    if peft::is_one(&command.model) {
        let folder = command.model.display();
        return Err(UsageError::new(format!(
            "{folder} is a PEFT adapter, which does not say what it is for"
        ))
        .hint(format!("`studbook extract BASE {folder} OUT.sbl` makes a package of it that does"))
        .into());
    }
    let package = crate::model::open_package(&command.model)?.package;
    if package.weights.format() != slm1::NAME {
        return any(&package, command.format, terminal);
    }
    let opened = crate::model::open(&command.model)?;
    let checkpoint = &opened.checkpoint;
    let bytes: &[u8] = (*opened.mapped).as_ref();
    let output = Output {
        format: checkpoint.format(),
        bytes: bytes.len() as u64,
        sha256: Sha256::of(bytes),
        blake3: crate::disk::tree::digest(bytes),
        checksum: slm1::checksum_verdict(bytes).to_string(),
        values: values(checkpoint),
        config: checkpoint.config.clone(),
        identity: Identity::of(checkpoint),
        tensors: checkpoint.infos().iter().map(row).collect(),
    };
    if command.format == Format::Json {
        terminal.json(&output)?;
        return Ok(Exit::Complete);
    }
    print(&output, terminal)?;
    Ok(Exit::Complete)
}

fn row(info: &TensorInfo) -> TensorRow {
    TensorRow {
        name: info.name.clone(),
        dtype: info.dtype.to_string(),
        shape: info.shape.to_string(),
        offset: info.data.start,
        bytes: info.data.len(),
        scale_offset: (!info.scales.is_empty()).then_some(info.scales.start),
    }
}

fn values(weights: &Weights) -> String {
    validate_values(weights).map_or_else(|error| error.to_string(), |()| "every value is finite".to_owned())
}

/// A model of a format that says less, or more, than SLM1: a folder, or a file of tensors.
#[derive(Serialize)]
struct AnyOutput {
    format: &'static str,
    bytes: u64,
    parameters: u64,
    encodings: BTreeSet<String>,
    values: String,
    /// The network, or why it is not known.
    config: Known<ModelConfig>,
    /// The kind of tokenizer and its number of ids, or why they are not known.
    tokenizer: Known<(&'static str, u32)>,
    companions: Vec<String>,
    tensors: Vec<TensorRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Known<T> {
    Known(T),
    Unknown(String),
}

impl<T> From<Result<T, String>> for Known<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(Self::Unknown, Self::Known)
    }
}

fn any(package: &Package, format: Format, terminal: &Terminal) -> anyhow::Result<Exit> {
    let weights = &package.weights;
    let tokenizer = package.tokenizer.as_ref().map_err(Clone::clone);
    let output = AnyOutput {
        format: weights.format(),
        bytes: weights.bytes(),
        parameters: weights.parameters(),
        encodings: weights.infos().iter().map(|info| info.dtype.to_string()).collect(),
        values: values(weights),
        config: package.config.clone().into(),
        tokenizer: tokenizer.map(|tokenizer| (tokenizer.kind(), tokenizer.vocab_size())).into(),
        companions: package.companions.iter().map(|companion| companion.name.clone()).collect(),
        tensors: weights.infos().iter().map(row).collect(),
    };
    if format == Format::Json {
        terminal.json(&output)?;
    } else {
        print_any(&output, terminal)?;
    }
    Ok(Exit::Complete)
}

fn print_any(output: &AnyOutput, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let encodings: Vec<&str> = output.encodings.iter().map(String::as_str).collect();
    let mut table = Table::new(&["format", output.format]);
    table.row(&["bytes", &output.bytes.to_string()]);
    table.row(&["values", &output.values]);
    table.row(&["parameters", &output.parameters.to_string()]);
    table.row(&["encoding", &encodings.join(", ")]);
    match &output.config {
        Known::Known(config) => {
            network(config).iter().for_each(|(name, value)| table.row(&[name, value]));
        }
        Known::Unknown(why) => table.row(&["network", &format!("not known: {why}")]),
    }
    match &output.tokenizer {
        Known::Known((kind, ids)) => table.row(&["tokenizer", &format!("{kind}, {ids} ids")]),
        Known::Unknown(why) => table.row(&["tokenizer", &format!("not known: {why}")]),
    }
    if !output.companions.is_empty() {
        table.row(&["beside it", &output.companions.join(", ")]);
    }
    writeln!(out, "{}", table.render())?;
    let mut tensors = Table::new(&["tensor", "encoding", "shape", "bytes"]);
    for row in &output.tensors {
        tensors.row(&[&row.name, &row.dtype, &row.shape, &row.bytes.to_string()]);
    }
    write!(out, "{}", tensors.render())
}

/// A network's dimensions and constants.
fn network(config: &ModelConfig) -> [(&'static str, String); 8] {
    let heads =
        format!("{} of {}, {} for keys and values", config.head_count, config.head_dim, config.kv_head_count);
    [
        ("layers", config.layer_count.to_string()),
        ("hidden", config.hidden_size.to_string()),
        ("heads", heads),
        ("ffn", config.ffn_size.to_string()),
        ("context", config.max_context.to_string()),
        ("rope theta", config.rope_theta.to_string()),
        ("norm epsilon", config.rms_norm_epsilon.to_string()),
        ("output", if config.tied_output { "tied to the embedding" } else { "its own matrix" }.to_owned()),
    ]
}

fn print(output: &Output, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let config = &output.config;
    let mut table = Table::new(&["format", output.format]);
    let head = [
        ("bytes", output.bytes.to_string()),
        ("sha256", output.sha256.to_hex()),
        ("blake3", output.blake3.to_hex()),
        ("checksum", output.checksum.clone()),
        ("values", output.values.clone()),
        ("parameters", output.identity.parameters.to_string()),
        ("encoding", output.identity.quantisation.to_string()),
    ];
    let tail = [
        ("tokenizer", format!("{}, {} ids", output.identity.tokenizer.kind, config.vocab_size)),
        ("  digest", output.identity.tokenizer.digest.to_hex()),
        ("layout", output.identity.layout.to_hex()),
    ];
    for (name, value) in head.iter().chain(&network(config)).chain(&tail) {
        table.row(&[name, value]);
    }
    writeln!(out, "{}", table.render())?;
    let mut tensors = Table::new(&["tensor", "encoding", "shape", "offset", "bytes", "scales at"]);
    for row in &output.tensors {
        let scales = row.scale_offset.map_or("-".to_owned(), |offset| offset.to_string());
        tensors.row(&[
            &row.name,
            &row.dtype,
            &row.shape,
            &row.offset.to_string(),
            &row.bytes.to_string(),
            &scales,
        ]);
    }
    write!(out, "{}", tensors.render())
}
