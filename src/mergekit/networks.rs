//! Whether the models' networks compute the same with a weight, and whose configuration the child gets.
//!
//! Adding weights of networks that compute otherwise (other heads, another activation, another family)
//! means nothing, and is refused. Constants of one computation (rotary frequencies, the number under a root,
//! the longest sequence) often differ between a model and one that was trained on from it: such models are
//! merged, the child has the constants of the one it is like, and that is told.

use serde::Serialize;

use super::assemble::named;
use super::config::Config;
use super::models::Models;
use crate::base::diagnostic::Diagnostic;
use crate::model::arithmetic::{Bearing, Unlike, unlike};
use crate::model::huggingface::CONFIG;

/// A constant that the child has from the model it is like, and that is another one in a model it is made
/// of.
#[derive(Debug, Clone, Serialize)]
pub struct OtherConstant {
    /// The model.
    pub model: String,
    /// The constant.
    pub field: String,
    /// What it is in the model.
    pub there: String,
    /// What it is in the child.
    pub child: String,
}

/// Refuses models of other networks than `like`, whom the child is like; says which constants differ.
pub(super) fn compare(
    config: &Config,
    models: &Models,
    like: &str,
) -> Result<Vec<OtherConstant>, Vec<Diagnostic>> {
    let (mut constants, mut refused) = (Vec::new(), Vec::new());
    for model in named(config).into_iter().filter(|model| model.value != like) {
        let mut found = unlike(&models[like].package, &models[&model.value].package);
        // What else families differ in follows from that.
        let is_family =
            |found: &&Unlike| found.field.ends_with(".model_type") && found.bearing == Bearing::Network;
        if let Some(family) = found.iter().find(is_family).cloned() {
            found = vec![family];
        }
        for found in found {
            let Unlike { field, ours, theirs, bearing } = found;
            match bearing {
                Bearing::Extent => {}
                Bearing::Constant | Bearing::Unsaid => {
                    constants.push(OtherConstant {
                        model: model.value.clone(),
                        field,
                        there: theirs,
                        child: ours,
                    });
                }
                Bearing::Network => {
                    let message =
                        format!("{field} is {theirs} in `{}` (here) and {ours} in `{like}`", model.value);
                    refused.push(
                        Diagnostic::error(message, model.span.clone())
                            .expected("expected models of one network")
                            .help(
                                "their weights are of other computations, so their sums mean nothing; models of one \
                                 family are merged, whether it is run here or not",
                            ),
                    );
                }
            }
        }
    }
    if refused.is_empty() { Ok(constants) } else { Err(refused) }
}

/// Refuses a folder without a configuration as the model that the child is like, where another model has
/// one: the child would be a folder that nothing can load.
pub(super) fn configured(config: &Config, models: &Models, like: &str) -> Result<(), Diagnostic> {
    let has_one = |name: &str| models[name].package.companion(CONFIG).is_some();
    if !models[like].is_folder || has_one(like) {
        return Ok(());
    }
    let named = named(config);
    let Some(other) = named.iter().find(|model| has_one(&model.value)) else { return Ok(()) };
    let span = named.first().map_or(0..0, |first| first.span.clone());
    let message =
        format!("`{like}` has no {CONFIG}, so the child would have none; `{}` has one", other.value);
    Err(Diagnostic::error(message, span)
        .expected(format!(
            "expected a folder with its {CONFIG}: the child's is that of the base, or of the first model"
        ))
        .help(format!("copy the {CONFIG} of its network into the folder, or name another model first")))
}
