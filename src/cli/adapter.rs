//! What `studbook inspect` shows of an adapter.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use crate::base::digest::{Digest, Sha256};
use crate::disk::IoContext;
use crate::model::adapter::peft::{self, PeftError};
use crate::model::adapter::{self, Adapter, AdapterError, AdapterIdentity, OpenedAdapter, Stored};
use crate::report::table::Table;

const FINITE: &str = "every value is finite";

#[derive(Serialize)]
struct Output {
    format: &'static str,
    bytes: u64,
    /// Of a package, which is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<Digest>,
    values: String,
    identity: Option<AdapterIdentity>,
    /// The model that a PEFT folder names as its base.
    #[serde(skip_serializing_if = "Option::is_none")]
    stated_base: Option<String>,
    numbers: u64,
    deltas: Vec<DeltaRow>,
}

#[derive(Serialize)]
struct DeltaRow {
    tensor: String,
    shape: String,
    stored: String,
}

/// Shows an adapter; says whether what is there is one.
pub(super) fn inspect(path: &Path, format: Format, terminal: &Terminal) -> anyhow::Result<bool> {
    let Some(output) = found(path)? else { return Ok(false) };
    match format {
        Format::Json => terminal.json(&output)?,
        Format::Text => print(&output, terminal)?,
    }
    Ok(true)
}

fn found(path: &Path) -> Result<Option<Output>, AdapterError> {
    if peft::is_one(path) {
        let named =
            |error: PeftError| AdapterError::InFile { path: path.to_owned(), source: Box::new(error.into()) };
        return of_folder(path).map(Some).map_err(named);
    }
    let opened = match adapter::open(path) {
        Err(AdapterError::InFile { source, .. }) if matches!(*source, AdapterError::Magic { .. }) => {
            return Ok(None);
        }
        // Whoever opens it as a model says why that does not work.
        Err(AdapterError::Disk(_)) => return Ok(None),
        other => other?,
    };
    Ok(Some(output(&opened)))
}

/// A PEFT folder: the products of its modules, whatever model they are for.
fn of_folder(folder: &Path) -> Result<Output, PeftError> {
    let (outline, stated_base) = peft::outline(folder)?;
    let mut bytes = 0;
    for name in peft::FILES {
        let path = folder.join(name);
        bytes += std::fs::metadata(&path).at("examine", &path)?.len();
    }
    let products = outline.products.iter().map(|product| DeltaRow {
        tensor: product.module.clone(),
        shape: product.shape.map(|side| side.to_string()).join("x"),
        stored: low_rank(product.rank, product.scale),
    });
    let copies = outline.copies.iter().map(|name| DeltaRow {
        tensor: name.clone(),
        shape: "-".to_owned(),
        stored: "whole: refused of a model that it is no copy of".to_owned(),
    });
    Ok(Output {
        format: peft::NAME,
        bytes,
        sha256: None,
        blake3: None,
        values: if outline.is_finite { FINITE } else { "not every factor is finite" }.to_owned(),
        identity: None,
        stated_base,
        numbers: outline.numbers,
        deltas: products.chain(copies).collect(),
    })
}

fn low_rank(rank: usize, scale: f32) -> String {
    format!("rank {rank}, scale {scale}")
}

fn output(OpenedAdapter { adapter, mapped }: &OpenedAdapter) -> Output {
    let bytes: &[u8] = (**mapped).as_ref();
    Output {
        format: adapter.format(),
        bytes: bytes.len() as u64,
        sha256: Some(Sha256::of(bytes)),
        blake3: Some(crate::disk::tree::digest(bytes)),
        values: adapter.validate().map_or_else(|error| error.to_string(), |()| FINITE.to_owned()),
        identity: adapter.identity().copied(),
        stated_base: None,
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
        Stored::LowRank { a, scale, .. } => low_rank(a.shape.rows(), *scale),
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
    let mut rows = vec![("bytes", output.bytes.to_string())];
    rows.extend(output.sha256.map(|digest| ("sha256", digest.to_hex())));
    rows.extend(output.blake3.map(|digest| ("blake3", digest.to_hex())));
    rows.extend([("values", output.values.clone()), ("numbers", output.numbers.to_string())]);
    rows.extend(output.stated_base.iter().map(|base| ("says its base is", base.clone())));
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
