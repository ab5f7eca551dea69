//! From records to statements.
//!
//! Own verifiers and builders are named by URN; nothing has to resolve.

use serde::Serialize;
use serde_json::{Value, json};

use super::statement::{Descriptor, Statement, described};
use crate::base::digest::Sha256;
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::comparison::GateComparisons;
use crate::record::compat::CompatibilityReport;
use crate::record::lineage::{Ancestor, LineageTemplate};
use crate::record::promotion::{GateState, PromotionTemplate};
use crate::record::receipt::OperatorReceipt;
use crate::record::registry::SelectorRegistry;
use crate::record::smoke::RuntimeSmoke;
use crate::record::{Record, RecordError};

/// SCAI attributes.
pub const SCAI: &str = "https://in-toto.io/attestation/scai/v0.3";
/// SLSA provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// A test's outcome.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// Properties that were verified.
pub const SVR: &str = "https://in-toto.io/attestation/svr/v0.2";
/// SLSA verification summary.
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// What a release consists of.
pub const RELEASE: &str = "https://in-toto.io/attestation/release/v0.1";

const BUILD_TYPE: &str = "urn:studbook:operator:v1";
const BUILDER: &str = "urn:studbook:builder:v1";
const VERIFIER: &str = "urn:studbook:promoter:v1";

/// The record's own body under its own type.
///
/// # Errors
///
/// [`RecordError::Json`] if the body cannot be written as canonical JSON.
pub fn own<T: Record>(subject: Vec<Descriptor>, body: &T) -> Result<Statement, RecordError> {
    Ok(Statement::new(subject, T::TYPE, value(body)?))
}

fn value<T: Serialize + ?Sized>(body: &T) -> Result<Value, RecordError> {
    // Through the one writer and the one reader, so that nothing is lost on the way.
    let bytes = crate::base::canonical::to_vec(body)?;
    Ok(crate::base::canonical::value_from_slice(&bytes)?)
}

/// What fits, said of every parent; none if they do not fit, for SCAI knows no negatives. `record` is
/// the report's digest.
pub fn compatibility(report: &CompatibilityReport, record: Sha256) -> Option<Statement> {
    if !report.compatible || report.parents.is_empty() {
        return None;
    }
    let evidence = described("compatibility-report.json", record);
    let attribute = |check: &str| {
        let name = format!("STUDBOOK_{}_FITS", check.to_uppercase().replace('-', "_"));
        json!({ "attribute": name, "conditions": { "operator": report.operator }, "evidence": evidence })
    };
    let passed = report.checks.iter().filter(|check| check.passed);
    let attributes: Vec<Value> = passed.map(|check| attribute(&check.check)).collect();
    let subject =
        report.parents.iter().map(|(name, source)| Descriptor::new(name.as_str(), *source)).collect();
    Some(Statement::new(subject, SCAI, json!({ "attributes": attributes })))
}

/// What was done to whom, with every parameter. What it was done on is told by
/// [`BuildFacts`](super::BuildFacts); no build level is claimed.
///
/// # Errors
///
/// As [`own`], of the operator in the receipt.
pub fn provenance(
    receipt: &OperatorReceipt,
    record: Sha256,
    lineage: &LineageTemplate,
    manifest: &CandidateManifest,
) -> Result<Statement, RecordError> {
    let mut dependencies = Vec::new();
    lineage.base.iter().chain(&lineage.parents).for_each(|parent| depend(parent, &mut dependencies));
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "candidate": receipt.candidate,
                "operator": value(&receipt.operator)?,
                "seed": receipt.seed,
                "dtype": receipt.dtype,
                "base": receipt.base.as_ref().map(|base| base.name.as_str()),
                "parents": receipt.parents.iter().map(|parent| parent.name.as_str()).collect::<Vec<_>>(),
            },
            "internalParameters": {},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": { "id": BUILDER, "version": { "studbook": env!("CARGO_PKG_VERSION") } },
            "byproducts": [described("operator-receipt.json", record)],
        },
    });
    Ok(Statement::new(vec![artifact(manifest)], PROVENANCE, predicate))
}

/// A parent, and the model it is added to.
fn depend(parent: &Ancestor, all: &mut Vec<Value>) {
    all.push(described(parent.name.as_str(), parent.sha256));
    parent.adapts.iter().for_each(|base| depend(base, all));
}

fn artifact(manifest: &CandidateManifest) -> Descriptor {
    Descriptor::new(manifest.candidate.as_str(), manifest.artifact.sha256)
}

/// The candidate by its artifact and by its manifest.
///
/// # Errors
///
/// As [`own`].
pub fn candidate(manifest: &CandidateManifest, record: Sha256) -> Result<Statement, RecordError> {
    own(vec![artifact(manifest), Descriptor::new("candidate-manifest.json", record)], manifest)
}

/// That it ran, and on what it did.
pub fn smoke(smoke: &RuntimeSmoke, record: Sha256) -> Statement {
    let clean =
        |run: &&crate::record::smoke::PromptRun| run.finite && run.deterministic && run.error.is_none();
    let (passed, failed): (Vec<_>, Vec<_>) = smoke.prompts.iter().partition(clean);
    let names = |runs: Vec<&crate::record::smoke::PromptRun>| -> Vec<String> {
        runs.into_iter().map(|run| run.prompt.clone()).collect()
    };
    let predicate = json!({
        "result": if smoke.passed { "PASSED" } else { "FAILED" },
        "configuration": [described("runtime-smoke.json", record)],
        "passedTests": names(passed),
        "failedTests": names(failed),
    });
    let subject = Descriptor::new(smoke.subject.name.as_str(), smoke.subject.artifact);
    Statement::new(vec![subject], TEST_RESULT, predicate)
}

/// Gates that were decided together, of every candidate among them.
///
/// # Errors
///
/// As [`own`].
pub fn comparisons(together: &GateComparisons, record: Sha256) -> Result<Statement, RecordError> {
    let mut subject = vec![Descriptor::new("gate-comparisons.json", record)];
    for row in &together.rows {
        let made = row.manifest.map(|manifest| Descriptor::new(row.candidate.as_str(), manifest));
        subject.extend(made.filter(|made| !subject.contains(made)));
    }
    own(subject, together)
}

/// The gates that passed; none if none did, for SVR knows no negatives. `time` is when it was decided.
pub fn gates(
    promotion: &PromotionTemplate,
    record: Sha256,
    manifest: &CandidateManifest,
    time: &str,
) -> Option<Statement> {
    let passed = promotion.gates.iter().filter(|gate| gate.state == GateState::Passed);
    let property = |gate: &str| format!("STUDBOOK_GATE_{}", gate.to_uppercase().replace(['-', '.'], "_"));
    let properties: Vec<String> = passed.map(|gate| property(gate.gate.as_str())).collect();
    if properties.is_empty() {
        return None;
    }
    let mut policies: Vec<Value> =
        promotion.lineage.iter().map(|lineage| described("lineage-template.json", *lineage)).collect();
    policies.push(described("promotion-template.json", record));
    let predicate = json!({
        "verifier": { "id": VERIFIER, "policies": policies },
        "timeCreated": time,
        "properties": properties,
    });
    Some(Statement::new(vec![artifact(manifest)], SVR, predicate))
}

/// Admitted or refused, by which gates. Our own level only: a build level is nobody's to claim here.
pub fn admission(
    admission: &AdmissionRecord,
    record: Sha256,
    manifest: &CandidateManifest,
    time: &str,
) -> Statement {
    let levels: &[&str] = if admission.admitted { &["STUDBOOK_ADMITTED"] } else { &[] };
    let identity = admission.manifest.map_or_else(String::new, |manifest| manifest.to_hex());
    let predicate = json!({
        "verifier": { "id": VERIFIER, "version": { "studbook": env!("CARGO_PKG_VERSION") } },
        "timeVerified": time,
        "resourceUri": format!("urn:studbook:candidate:{identity}"),
        "policy": { "uri": "urn:studbook:gates:v1", "digest": { "sha256": manifest.lineage } },
        "inputAttestations": [
            { "uri": "urn:studbook:promotion-template:v1", "digest": { "sha256": admission.promotion } },
            { "uri": AdmissionRecord::TYPE, "digest": { "sha256": record } },
        ],
        "verificationResult": if admission.admitted { "PASSED" } else { "FAILED" },
        "verifiedLevels": levels,
    });
    Statement::new(vec![artifact(manifest)], SUMMARY, predicate)
}

/// The files of a registry. Its version is the digest of its selector.
pub fn release(registry: &SelectorRegistry, record: Sha256) -> Statement {
    let mut subject = vec![
        Descriptor::new("selector.json", registry.selector),
        Descriptor::new("selector-registry.json", record),
    ];
    let models = registry.entries.iter();
    subject.extend(models.map(|row| Descriptor::new(row.candidate.as_str(), row.artifact)));
    let purl = format!("pkg:generic/studbook/{}@{}", registry.cycle, registry.selector);
    Statement::new(subject, RELEASE, json!({ "purl": purl }))
}
