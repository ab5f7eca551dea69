//! `studbook inspect`: what a model file holds.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use super::exit::Exit;
use crate::base::digest::{Digest, Sha256};
use crate::model::identity::Identity;
use crate::model::{ModelConfig, slm1, validate_values};
use crate::report::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The model or adapter: a file, or a folder
    pub(super) model: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

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
    let package = crate::model::open_package(&command.model)?;
    if package.package.weights.format() != slm1::NAME {
        super::package::inspect(&package, command.format, terminal)?;
        return Ok(Exit::Complete);
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
        values: validate_values(checkpoint)
            .map_or_else(|error| error.to_string(), |()| "every value is finite".to_owned()),
        config: checkpoint.config.clone(),
        identity: Identity::of(checkpoint),
        tensors: checkpoint
            .infos()
            .iter()
            .map(|info| TensorRow {
                name: info.name.clone(),
                dtype: info.dtype.to_string(),
                shape: info.shape.to_string(),
                offset: info.data.start,
                bytes: info.data.len(),
                scale_offset: (!info.scales.is_empty()).then_some(info.scales.start),
            })
            .collect(),
    };
    if command.format == Format::Json {
        terminal.json(&output)?;
        return Ok(Exit::Complete);
    }
    print(&output, terminal)?;
    Ok(Exit::Complete)
}

fn print(output: &Output, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let config = &output.config;
    let tokenizer = output.identity.tokenizer.as_ref();
    let tokenizer =
        tokenizer.map_or_else(Default::default, |known| (known.kind.as_str(), known.digest.to_hex()));
    let mut table = Table::new(&["format", output.format]);
    let rows = [
        ("bytes", output.bytes.to_string()),
        ("sha256", output.sha256.to_hex()),
        ("blake3", output.blake3.to_hex()),
        ("checksum", output.checksum.clone()),
        ("values", output.values.clone()),
        ("parameters", output.identity.parameters.to_string()),
        ("encoding", output.identity.quantisation.to_string()),
        ("layers", config.layer_count.to_string()),
        ("hidden", config.hidden_size.to_string()),
        (
            "heads",
            format!(
                "{} of {}, {} for keys and values",
                config.head_count, config.head_dim, config.kv_head_count
            ),
        ),
        ("ffn", config.ffn_size.to_string()),
        ("context", config.max_context.to_string()),
        ("rope theta", config.rope_theta.to_string()),
        ("norm epsilon", config.rms_norm_epsilon.to_string()),
        ("output", if config.tied_output { "tied to the embedding" } else { "its own matrix" }.to_owned()),
        ("tokenizer", format!("{}, {} ids", tokenizer.0, config.vocab_size)),
        ("  digest", tokenizer.1),
        ("layout", output.identity.layout.to_hex()),
    ];
    for (name, value) in &rows {
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
