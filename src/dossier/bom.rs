//! The bill of materials: CycloneDX 1.6, with the model as its component, its parents as the pedigree's
//! ancestors, and its measurements as the model card's performance metrics.

use serde_json::{Value, json};

use super::card::own;
use super::evidence::{Evidence, ancestors, kin};
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::model::gguf::Architecture;
use crate::record::source::SourceArtifact;

/// Writes the bill of materials. The reason is a sentence.
pub(super) fn write(evidence: &Evidence) -> Result<Vec<u8>, String> {
    let lineage = &evidence.lineage().body;
    let parents: Vec<Value> = ancestors(lineage)
        .into_iter()
        .filter_map(|name| Some(parent(&evidence.sources.get(name)?.body)))
        .collect();
    let refs: Vec<String> = kin(lineage)
        .iter()
        .filter(|name| evidence.sources.contains_key(*name))
        .map(|name| format!("parent:{name}"))
        .collect();
    let components: Vec<Value> =
        kin(lineage).iter().filter_map(|name| Some(parent(&evidence.sources.get(name)?.body))).collect();
    let mut dependencies = vec![json!({ "ref": "model", "dependsOn": refs })];
    dependencies.extend(refs.iter().map(|name| json!({ "ref": name })));
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(evidence.index.manifest),
        "version": 1,
        "metadata": {
            "tools": { "components": [{
                "type": "application",
                "name": "studbook",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": model(evidence, &unreferenced(&parents)),
        },
        "components": components,
        "dependencies": dependencies,
    });
    canonical::to_vec(&document).map_err(|error| format!("the bill of materials {error}"))
}

/// A version 8 UUID (RFC 9562) of the manifest's digest: the same candidate, the same document.
fn serial(manifest: Sha256) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&manifest.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Components again where they must not be referred to twice.
fn unreferenced(components: &[Value]) -> Vec<Value> {
    let strip = |component: &Value| {
        let mut component = component.clone();
        component.as_object_mut().map(|members| members.remove("bom-ref"));
        component
    };
    components.iter().map(strip).collect()
}

fn licences(licences: &[String]) -> Value {
    licences.iter().map(|name| json!({ "license": { "name": name } })).collect()
}

fn hashes(sha256: Sha256, blake3: crate::base::digest::Digest) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }, { "alg": "BLAKE3", "content": blake3 }])
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("studbook:{name}"), "value": value })
}

fn parent(source: &SourceArtifact) -> Value {
    json!({
        "type": "machine-learning-model",
        "bom-ref": format!("parent:{}", source.name),
        "name": source.name,
        "version": source.artifact.sha256.short(),
        "hashes": hashes(source.artifact.sha256, source.artifact.blake3),
        "licenses": licences(&source.origin.licences),
        "properties": [
            property("source-kind", &source.origin.source_kind),
            property("format", &source.format),
            property("role", &source.role),
        ],
    })
}

fn model(evidence: &Evidence, ancestors: &[Value]) -> Value {
    let (manifest, lineage) = (&evidence.manifest().body, &evidence.lineage().body);
    let claims = evidence.admission.body.claims.as_ref().unwrap_or(&manifest.claims);
    let mut parameters = json!({
        "task": "text-generation",
        "modelArchitecture": manifest.format,
        "datasets": manifest.data.iter().map(|name| json!({ "type": "dataset", "name": name })).collect::<Vec<_>>(),
        "inputs": [{ "format": "text" }],
        "outputs": [{ "format": "text" }],
    });
    if let Some(network) = &manifest.identity.architecture {
        // One that differs from a llama in biases has always been called one.
        let is_llama = network.variant.norms.are_plain();
        let family = if is_llama { Architecture::Llama } else { Architecture::of(network) };
        parameters["architectureFamily"] = json!(family.name());
    }
    json!({
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": evidence.index.candidate,
        "version": evidence.index.manifest.short(),
        "description": format!("{} of {} models in the cycle {}", lineage.operator.name, lineage.parents.len(), evidence.index.cycle),
        "hashes": hashes(manifest.artifact.sha256, manifest.artifact.blake3),
        "licenses": licences(&manifest.licences),
        "modelCard": {
            "modelParameters": parameters,
            "quantitativeAnalysis": { "performanceMetrics": metrics(evidence) },
        },
        "pedigree": { "ancestors": ancestors, "notes": operator(evidence) },
        "properties": [
            property("manifest", &evidence.index.manifest.to_hex()),
            property("lineage", &manifest.lineage.to_hex()),
            property("receipt", &manifest.receipt.to_hex()),
            property("admitted", if evidence.admission.body.admitted { "true" } else { "false" }),
            property("source-kind", &claims.source_kind),
            property("quality-claim", &claims.quality_claim),
            property("trained-quality-claim", &claims.trained_quality_claim),
        ],
    })
}

fn operator(evidence: &Evidence) -> String {
    let operator = &evidence.lineage().body.operator;
    let parameters = canonical::to_string(&operator.parameters).unwrap_or_default();
    format!("{} version {}, parameters {parameters}", operator.name, operator.version)
}

fn metrics(evidence: &Evidence) -> Value {
    let mut all = Vec::new();
    for (suite, measured) in own(evidence) {
        for (name, metric) in &measured.sidecar.body.metrics {
            let mut row =
                json!({ "type": name, "value": super::markup::number(metric.value), "slice": suite });
            if let Some(error) = metric.stderr {
                // 95 of 100 such intervals hold the value, if it is about normal.
                let bound = |sign: f64| super::markup::number(metric.value + sign * 1.96 * error);
                row["confidenceInterval"] = json!({ "lowerBound": bound(-1.0), "upperBound": bound(1.0) });
            }
            all.push(row);
        }
    }
    all.into()
}
