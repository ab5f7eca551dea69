//! Whom a gate compares a candidate with.

use serde::{Deserialize, Serialize};

use super::StageError;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::plan::CHAMPION;
use crate::record::source::SourceArtifact;

/// Compared with whom, as the plan settled it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rival {
    BestParent,
    Parent(Name),
    NoOp(Name),
    Champion {
        /// Its manifest; none if there is no champion.
        manifest: Option<Sha256>,
        /// Whom to compare with then.
        otherwise: Option<Box<Rival>>,
    },
}

impl Rival {
    /// The models that are meant: of several, each. Nobody if there is no champion and nobody else was
    /// declared, which a gate must not take for a comparison that was won.
    pub(super) fn models(&self, parents: &[Name]) -> Vec<Name> {
        match self {
            Self::BestParent => parents.to_vec(),
            Self::Parent(name) | Self::NoOp(name) => vec![name.clone()],
            Self::Champion { manifest: Some(_), .. } => vec![CHAMPION.parse().expect("a proper name")],
            Self::Champion { manifest: None, otherwise } => {
                otherwise.as_ref().map(|otherwise| otherwise.models(parents)).unwrap_or_default()
            }
        }
    }

    /// Refuses a model that is introduced as the champion and is not the one that was bound.
    pub(super) fn is(&self, name: &Name, introduced: &SourceArtifact) -> Result<(), StageError> {
        match self {
            Self::Champion { manifest: Some(bound), .. } if introduced.origin.manifest != Some(*bound) => {
                Err(StageError::Refused(format!("`{name}` is not the champion that the lineage binds")))
            }
            Self::Champion { manifest: None, otherwise: Some(otherwise) } => otherwise.is(name, introduced),
            _ => Ok(()),
        }
    }
}

/// What a gate waits for if there is nobody to compare with.
pub(super) const NOBODY: &str =
    "waits for a champion: nobody was admitted before this cycle, and `[champion]` says nobody else";

/// How a finding begins if the results of two models are not of the same questions.
pub(crate) const UNLIKE: &str = "waits for results that can be compared:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_champion_that_is_not_there_is_who_was_declared_or_nobody() {
        let parents: Vec<Name> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        let champion = |manifest, otherwise: Option<Rival>| Rival::Champion {
            manifest,
            otherwise: otherwise.map(Box::new),
        };
        let there = champion(Some(Sha256::of(b"m")), Some(Rival::BestParent));
        assert_eq!(there.models(&parents), [CHAMPION.parse().unwrap()]);
        assert_eq!(champion(None, Some(Rival::BestParent)).models(&parents), parents);
        assert!(champion(None, None).models(&parents).is_empty());
    }
}
