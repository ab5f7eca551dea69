//! The research object: an RO-Crate 1.1 that describes every file and how the model came about.

use serde_json::{Value, json};

use super::derived::Listed;
use super::evidence::{Evidence, ancestors};
use super::{derived, layout};
use crate::base::canonical;

/// Writes the crate's metadata; `time` is when the candidate was decided. The reason is a sentence.
pub(super) fn write(evidence: &Evidence, listed: &[Listed], time: &str) -> Result<Vec<u8>, String> {
    let model = model_id(evidence);
    let mut graph = vec![
        json!({
            "@id": layout::CRATE,
            "@type": "CreativeWork",
            "conformsTo": { "@id": "https://w3id.org/ro/crate/1.1" },
            "about": { "@id": "./" },
        }),
        root(evidence, listed, time),
        json!({
            "@id": "#made",
            "@type": "CreateAction",
            "name": format!("{} of {} models", evidence.lineage().body.operator.name, evidence.lineage().body.parents.len()),
            "description": canonical::to_string(&evidence.lineage().body.operator).unwrap_or_default(),
            "instrument": { "@id": "#studbook" },
            "object": parents(evidence).iter().map(|parent| json!({ "@id": parent["@id"] })).collect::<Vec<_>>(),
            "result": { "@id": model },
        }),
        json!({
            "@id": "#studbook",
            "@type": "SoftwareApplication",
            "name": "Studbook",
            "softwareVersion": env!("CARGO_PKG_VERSION"),
        }),
    ];
    graph.extend(parents(evidence));
    if model == layout::MODEL {
        let parts = listed.iter().filter(|file| file.path.starts_with(layout::MODEL));
        graph.push(json!({
            "@id": layout::MODEL,
            "@type": "Dataset",
            "name": evidence.index.candidate,
            "description": "the model's files",
            "hasPart": parts.map(|file| json!({ "@id": id(&file.path) })).collect::<Vec<_>>(),
        }));
    }
    graph.extend(listed.iter().map(file));
    let document = json!({ "@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph });
    canonical::to_vec(&document).map_err(|error| format!("the crate {error}"))
}

/// What the model is called: its file, or the folder of its files.
fn model_id(evidence: &Evidence) -> String {
    match evidence.receipt.body.files.as_slice() {
        [] => format!("{}{}", layout::MODEL, derived::model_name(&evidence.manifest().body)),
        _ => layout::MODEL.to_owned(),
    }
}

/// A path as a URI reference.
fn id(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn root(evidence: &Evidence, listed: &[Listed], time: &str) -> Value {
    let mut parts: Vec<Value> = listed.iter().map(|file| json!({ "@id": id(&file.path) })).collect();
    let model = model_id(evidence);
    if model == layout::MODEL {
        parts.push(json!({ "@id": model }));
    }
    let licences = &evidence.manifest().body.licences;
    let licence = if licences.is_empty() { "not declared".to_owned() } else { licences.join(" AND ") };
    json!({
        "@id": "./",
        "@type": "Dataset",
        "name": format!("Dossier of {}", evidence.index.candidate),
        "description": format!(
            "The model {} of the breeding cycle {}, with the records of how it was made, measured and decided",
            evidence.index.candidate, evidence.index.cycle
        ),
        "identifier": format!("urn:studbook:candidate:{}", evidence.index.manifest),
        "datePublished": time,
        "license": licence,
        "mainEntity": { "@id": model },
        "mentions": { "@id": "#made" },
        "hasPart": parts,
    })
}

/// Models that are not here, by digest.
fn parents(evidence: &Evidence) -> Vec<Value> {
    let parent = |name: &crate::base::name::Name| {
        let source = &evidence.sources.get(name)?.body;
        Some(json!({
            "@id": format!("urn:sha256:{}", source.artifact.sha256),
            "@type": "CreativeWork",
            "name": source.name,
            "identifier": source.artifact.sha256,
            "license": source.origin.licences.join(" AND "),
        }))
    };
    let mut all: Vec<Value> = Vec::new();
    for found in ancestors(&evidence.lineage().body).into_iter().filter_map(parent) {
        // One model may be a parent under two names.
        if !all.iter().any(|known| known["@id"] == found["@id"]) {
            all.push(found);
        }
    }
    all
}

fn file(file: &Listed) -> Value {
    let format = match file.path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => "application/json",
        Some("jsonl") => "application/jsonl",
        Some("html") => "text/html",
        Some("md") => "text/markdown",
        Some("pem") => "application/x-pem-file",
        Some("toml") => "application/toml",
        Some("tlog-proof") => "text/plain",
        _ => "application/octet-stream",
    };
    json!({
        "@id": id(&file.path),
        "@type": "File",
        "name": file.path,
        "contentSize": file.bytes.to_string(),
        "encodingFormat": format,
        "sha256": file.sha256,
    })
}
