//! Evidence: one meaning has one spelling, so what is accepted is what would be written.

use studbook::base::canonical;
use studbook::evaluate::{EVALUATORS, Suite, outcome};
use studbook::ledger::{Leaf, Ledger};
use studbook::record::{
    self, Record, admission, approval, candidate, compat, evaluation as sidecar, lineage, plan, promotion,
    receipt, recipe, registry, review, smoke, source,
};
use studbook::registry::Selector;

use super::folders::laid_out;

pub(super) fn json(bytes: &[u8]) {
    if let Ok(read) = canonical::value_from_slice(bytes) {
        let written = canonical::to_vec(&read).expect("what was read can be written");
        // `1e2`, `100.0` and `100` are one number; `-0` is 0.
        let again = canonical::value_from_slice(&written).expect("what was written can be read");
        assert_eq!(canonical::to_vec(&again).expect("it can be written"), written);
    }
    round_trip::<source::SourceArtifact>(bytes);
    round_trip::<compat::CompatibilityReport>(bytes);
    round_trip::<lineage::LineageTemplate>(bytes);
    round_trip::<receipt::OperatorReceipt>(bytes);
    round_trip::<candidate::CandidateManifest>(bytes);
    round_trip::<smoke::RuntimeSmoke>(bytes);
    round_trip::<sidecar::EvaluationSidecar>(bytes);
    round_trip::<promotion::PromotionTemplate>(bytes);
    round_trip::<admission::AdmissionRecord>(bytes);
    round_trip::<approval::Approval>(bytes);
    round_trip::<review::PopulationReview>(bytes);
    round_trip::<recipe::ParentPoolRecipe>(bytes);
    round_trip::<registry::SelectorRegistry>(bytes);
    round_trip::<plan::PlanRegistration>(bytes);
}

fn round_trip<T: Record>(bytes: &[u8]) {
    if let Ok(read) = record::from_bytes::<T>(bytes) {
        let written = record::to_bytes(&read).expect("what was read can be written");
        record::from_bytes::<T>(&written).expect("what was written can be read");
    }
}

pub(super) fn selector(bytes: &[u8]) {
    if let Ok(read) = Selector::from_bytes(bytes) {
        assert_eq!(read.to_bytes().expect("what was read can be written"), bytes);
        read.entries.iter().for_each(|entry| entry.validate().expect("an accepted entry is valid"));
    }
}

pub(super) fn leaf(bytes: &[u8]) {
    if let Ok(read) = Leaf::from_bytes(bytes) {
        assert_eq!(read.to_bytes().expect("what was read can be written"), bytes);
    }
}

pub(super) fn ledger(bytes: &[u8]) {
    let names = ["checkpoint", "tile/entries/000.p/3", "tile/0/000.p/3", "tile/entries/000.p/4"];
    laid_out(&names.map(|name| format!("ledger/{name}")).each_ref().map(String::as_str), bytes, |folder| {
        let Ok(ledger) = Ledger::open(folder.join("ledger")) else { return };
        let Ok(report) = ledger.check(None) else { return };
        let leaves = ledger.leaves().expect("a checked log can be read");
        assert_eq!(leaves.len() as u64, report.head.size);
        assert!(leaves.iter().zip(0..).all(|(leaf, index)| leaf.index == index));
    });
}

pub(super) fn evaluation(bytes: &[u8]) {
    for evaluator in EVALUATORS {
        if let Ok(suite) = Suite::parse(*evaluator, bytes) {
            assert!(!suite.cases.is_empty());
            assert_eq!(suite.bytes, bytes.len() as u64);
        }
    }
    if let Ok(read) = outcome::from_jsonl(bytes) {
        assert_eq!(outcome::to_jsonl(&read), bytes);
    }
}
