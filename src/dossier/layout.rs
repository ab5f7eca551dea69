//! What lies where in a dossier. Every name follows from the records, so that a file too many or too few
//! is found without a list to believe.

use crate::base::name::Name;
use crate::stage::Kind;

/// Whose dossier it is: the first file that is read.
pub const INDEX: &str = "dossier.json";
/// The folder of the model's own file or files.
pub const MODEL_FOLDER: &str = "model";
/// What the paths of those begin with.
pub const MODEL: &str = "model/";
/// The model card.
pub const CARD: &str = "README.md";
/// The page for people.
pub const PAGE: &str = "index.html";
/// The bill of materials.
pub const BOM: &str = "bom.cdx.json";
/// The research object.
pub const CRATE: &str = "ro-crate-metadata.json";
/// Every file's SHA-256, as `sha256sum --check` reads it.
pub const SUMS: &str = "SHA256SUMS";
/// The model signature, over every other file.
pub const SIGNATURE: &str = "model.sig";
/// The plan as it was registered before it ran.
pub const REGISTRATION: &str = "records/10-ledger/plan.json";
/// The proof that the decision is in the log.
pub const DECISION_PROOF: &str = "ledger/decision.tlog-proof";
/// The proof that the plan is in the log.
pub const PLAN_PROOF: &str = "ledger/plan.tlog-proof";
/// The checkpoint both are proved against.
pub const CHECKPOINT: &str = "ledger/checkpoint";
/// The public keys with their roles, as a trust file.
pub const KEYS: &str = "keys/trust.toml";

/// A stage's record.
pub fn record(kind: Kind, label: &str) -> String {
    format!("records/{}/{label}.json", kind.folder())
}

/// The signed statement about a record.
pub fn bundle_of(record: &str) -> String {
    let inner = record.strip_prefix("records/").unwrap_or(record);
    let stem = inner.strip_suffix(".json").unwrap_or(inner);
    format!("bundles/{stem}.sigstore.json")
}

/// What the names of outcomes end with.
const OUTCOMES: &str = ".outcomes.jsonl";

/// The outcomes behind an evaluation.
pub fn outcomes(model: &Name, suite: &Name) -> String {
    format!("records/{}/{model}.{suite}{OUTCOMES}", Kind::Eval.folder())
}

/// Whether a path is where outcomes lie.
pub fn is_outcomes(path: &str) -> bool {
    path.starts_with("records/") && path.ends_with(OUTCOMES)
}

/// The cases of a suite.
pub fn suite(name: &Name) -> String {
    format!("suites/{name}.jsonl")
}

/// What somebody brought for a gate.
pub fn brought(gate: &Name) -> String {
    format!("evidence/{gate}.json")
}

/// What another harness found.
pub fn external(model: &Name, suite: &Name) -> String {
    format!("evidence/external/{model}.{suite}.json")
}

/// The public half of a key.
pub fn public_key(name: &str) -> String {
    format!("keys/{name}.pub.pem")
}
