//! What `studbook inspect` shows of an adapter.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use crate::base::digest::{Digest, Sha256};
use crate::model::adapter::{self, Adapter, AdapterError, AdapterIdentity, OpenedAdapter, Stored};
use crate::report::table::Table;

#[derive(Serialize)]
struct Output {
    format: &'static str,
    bytes: u64,
    sha256: Sha256,
    blake3: Digest,
    values: String,
    identity: Option<AdapterIdentity>,
    numbers: u64,
    deltas: Vec<DeltaRow>,
}

#[derive(Serialize)]
struct DeltaRow {
    tensor: String,
    shape: String,
    stored: String,
}

/// Shows an adapter package; says whether the file is one.
pub(super) fn inspect(path: &Path, format: Format, terminal: &Terminal) -> anyhow::Result<bool> {
    let opened = match adapter::open(path) {
        Err(AdapterError::InFile { source, .. }) if matches!(*source, AdapterError::Magic { .. }) => {
            return Ok(false);
        }
        // Whoever opens it as a model says why that does not work.
        Err(AdapterError::Disk(_)) => return Ok(false),
        other => other?,
    };
    let output = output(&opened);
    match format {
        Format::Json => terminal.json(&output)?,
        Format::Text => print(&output, terminal)?,
    }
    Ok(true)
}

fn output(OpenedAdapter { adapter, mapped }: &OpenedAdapter) -> Output {
    let bytes: &[u8] = (**mapped).as_ref();
    Output {
        format: adapter.format(),
        bytes: bytes.len() as u64,
        sha256: Sha256::of(bytes),
        blake3: crate::disk::tree::digest(bytes),
        values: adapter
            .validate()
            .map_or_else(|error| error.to_string(), |()| "every value is finite".to_owned()),
        identity: adapter.identity().copied(),
        numbers: adapter.numbers(),
        deltas: rows(adapter),
    }
}

fn rows(adapter: &Adapter) -> Vec<DeltaRow> {
    let stored = |stored: &Stored| match stored {
        Stored::Dense { .. } => "dense".to_owned(),
        Stored::Sparse { pairs, wide } => {
            format!("sparse, {} pairs", pairs.len() / if *wide { 12 } else { 8 })
        }
        Stored::LowRank { a, scale, .. } => format!("rank {}, scale {scale}", a.shape.rows()),
    };
    let infos = adapter.infos().iter();
    infos
        .map(|info| DeltaRow {
            tensor: info.name.clone(),
            shape: info.shape.to_string(),
            stored: stored(&info.stored),
        })
        .collect()
}

fn print(output: &Output, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let mut table = Table::new(&["format", output.format]);
    let mut rows = vec![
        ("bytes", output.bytes.to_string()),
        ("sha256", output.sha256.to_hex()),
        ("blake3", output.blake3.to_hex()),
        ("values", output.values.clone()),
        ("numbers", output.numbers.to_string()),
    ];
    if let Some(identity) = &output.identity {
        rows.extend([
            ("tensor count", identity.tensor_count.to_string()),
            ("flags", identity.flags.to_string()),
            ("parameter count", identity.parameter_count.to_string()),
            ("layout checksum", identity.tensor_layout_checksum.to_string()),
            ("tokenizer checksum", identity.tokenizer_checksum.to_string()),
        ]);
    }
    for (name, value) in &rows {
        table.row(&[name, value]);
    }
    writeln!(out, "{}", table.render())?;
    let mut deltas = Table::new(&["tensor", "shape", "delta"]);
    for row in &output.deltas {
        deltas.row(&[&row.tensor, &row.shape, &row.stored]);
    }
    write!(out, "{}", deltas.render())
}
