//! The thirteen stage kinds, one file each.
//!
//! A stage is a function from an [`Action`] (parameters and the digests of its inputs) to a record,
//! perhaps an artifact, and a verdict. It sees the store and nothing else: no plan, no graph, no
//! terminal. Whatever decides its outcome is in the action, because the action is what is hashed.
//!
//! Adding a kind: one file that implements [`Stage`], one line in [`KINDS`].

mod action;
mod adapter;
mod admission;
mod candidate;
mod child;
mod comparison;
mod compat;
mod context;
mod eval;
mod examinee;
mod external;
mod greedy;
mod ledger;
mod lineage;
mod operator;
mod promotion;
mod recipe;
mod registry;
mod review;
mod revoked;
mod rival;
mod significance;
mod smoke;
mod source;

use crate::store::ActionResult;
pub use crate::store::PART;

pub use action::Action;
pub(crate) use comparison::NO_CASES;
pub use context::{Context, Made, Past, StageError};
pub use eval::is_asked;
pub(crate) use greedy::{Greedy, trial};
pub use operator::{Again, recompute};
pub use registry::registry_folder;
pub(crate) use rival::UNLIKE;
pub(crate) use smoke::held;

/// A kind of stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Opens and validates a parent.
    Source,
    /// Whether a candidate's parents fit.
    Compat,
    /// Binds everything before it is computed.
    Lineage,
    /// Makes the artifact.
    Operator,
    /// Binds artifact, lineage and receipt.
    Candidate,
    /// Loads and runs a model.
    Smoke,
    /// Measures a model on a suite.
    Eval,
    /// The state of every gate.
    Promotion,
    /// Admits or refuses.
    Admission,
    /// Logs plan, admissions and refusals.
    Ledger,
    /// Ranks everybody.
    Review,
    /// Selects parents for a later cycle.
    Recipe,
    /// Shows admitted models to browsers.
    Registry,
}

impl Kind {
    /// Its word in stage ids.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Compat => "compat",
            Self::Lineage => "lineage",
            Self::Operator => "operator",
            Self::Candidate => "candidate",
            Self::Smoke => "smoke",
            Self::Eval => "eval",
            Self::Promotion => "promotion",
            Self::Admission => "admission",
            Self::Ledger => "ledger",
            Self::Review => "review",
            Self::Recipe => "recipe",
            Self::Registry => "registry",
        }
    }

    /// The folder its records are shown in: numbered, so that they read in pipeline order.
    pub fn folder(self) -> String {
        format!("{:02}-{}", self as usize + 1, self.name())
    }

    /// The kind called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.iter().map(|stage| stage.kind()).find(|kind| kind.name() == name)
    }
}

/// How much of the machine a stage wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Mostly waits for the disk; many can run at once.
    Light,
    /// Shares every core with others of its kind: a few more run than there are cores.
    Shared,
    /// Uses every core by itself.
    Heavy,
}

/// The code behind a kind.
pub trait Stage: Sync {
    /// Which kind.
    fn kind(&self) -> Kind;

    /// Raised whenever the same inputs would give another outcome.
    fn version(&self) -> u32;

    /// How much of the machine it wants.
    fn weight(&self) -> Weight {
        Weight::Light
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// Trouble with the machine, the store or the inputs, which is never cached, and [`StageError::Cancelled`].
    /// What it finds wrong with a candidate is a verdict.
    fn run(&self, context: &Context<'_>) -> Result<Made, StageError>;

    /// Whether what it did outside the store's blobs (an entry in the ledger, a folder for browsers)
    /// is still there. If not, a cached result is no hit.
    ///
    /// # Errors
    ///
    /// If that cannot be found out: the ledger or a record cannot be read, say.
    fn still_holds(&self, _context: &Context<'_>, _result: &ActionResult) -> Result<bool, StageError> {
        Ok(true)
    }

    /// What can be told of a result without running the stage again: for those that take long, or act on what
    /// is shared.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] with what it finds wrong; else if that cannot be found out.
    fn recheck(&self, _context: &Context<'_>, _result: &ActionResult) -> Result<(), StageError> {
        Ok(())
    }

    /// When this result may have been made, the latest first, where what the ledger says since gives other words
    /// for the same.
    ///
    /// # Errors
    ///
    /// If the store or its ledger cannot be read.
    fn made_before(&self, _context: &Context<'_>, _result: &ActionResult) -> Result<Vec<Past>, StageError> {
        Ok(Vec::new())
    }

    /// Whether the ledger has what follows from this result, and from what only the result tells any more.
    ///
    /// # Errors
    ///
    /// As [`Self::run`], and if the ledger cannot be read.
    fn settled(&self, _context: &Context<'_>, _result: &ActionResult) -> Result<bool, StageError> {
        Ok(false)
    }

    /// What is to be told of a result that holds no longer though nothing about it is wrong: what is shared went
    /// on, and it does not show that yet. None if it is not that.
    ///
    /// # Errors
    ///
    /// If that cannot be found out, as [`Self::still_holds`].
    fn outgrown(&self, _context: &Context<'_>, _result: &ActionResult) -> Result<Option<String>, StageError> {
        Ok(None)
    }

    /// Why a result holds no longer, though it is here whole. The reason is a sentence.
    ///
    /// # Errors
    ///
    /// If that cannot be found out, as [`Self::still_holds`].
    fn lapsed(&self, _context: &Context<'_>, _result: &ActionResult) -> Result<String, StageError> {
        Ok("what it left outside its record is no longer there as it was".to_owned())
    }
}

/// Every kind, in pipeline order.
pub static KINDS: &[&dyn Stage] = &[
    &source::SourceStage,
    &compat::CompatStage,
    &lineage::LineageStage,
    &operator::OperatorStage,
    &candidate::CandidateStage,
    &smoke::SmokeStage,
    &eval::EvalStage,
    &promotion::PromotionStage,
    &admission::AdmissionStage,
    &ledger::LedgerStage,
    &review::ReviewStage,
    &recipe::RecipeStage,
    &registry::RegistryStage,
];

/// The code of a kind.
pub fn stage(kind: Kind) -> &'static dyn Stage {
    *KINDS.iter().find(|stage| stage.kind() == kind).expect("every kind is in the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_in_order() {
        assert_eq!(KINDS.len(), 13);
        for (i, entry) in KINDS.iter().enumerate() {
            assert_eq!(entry.kind() as usize, i, "{}", entry.kind().name());
            assert_eq!(Kind::from_name(entry.kind().name()), Some(entry.kind()));
        }
        assert_eq!(Kind::Source.folder(), "01-source");
        assert_eq!(Kind::Registry.folder(), "13-registry");
    }
}
