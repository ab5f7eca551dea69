//! Filters that no tensor's name contains: mostly a slip, which mergekit reads past. They change nothing, so
//! the merge is carried out, but it is told, and stands in the receipt.

use std::collections::BTreeSet;

use serde::Serialize;

use super::assemble::Assembly;
use super::config::{Config, Slices};
use super::models::Models;
use super::setting::Settings;

/// A filter that matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnmatchedFilter {
    /// The parameter that it is of.
    pub parameter: String,
    /// What no name contains.
    pub filter: String,
}

/// Every one of the configuration, once; a name may be one of the child's or of any model's.
pub(super) fn unmatched(config: &Config, assembly: &Assembly, models: &Models) -> Vec<UnmatchedFilter> {
    let own =
        models.values().flat_map(|opened| opened.package.weights.infos()).map(|info| info.name.as_str());
    let names: Vec<&str> = assembly.steps.iter().map(|step| step.name.as_str()).chain(own).collect();
    let given: BTreeSet<UnmatchedFilter> = scopes(config).into_iter().flat_map(filters).collect();
    let matches = |filter: &str| names.iter().any(|name| name.contains(filter));
    given.into_iter().filter(|given| !matches(&given.filter)).collect()
}

fn scopes(config: &Config) -> Vec<&Settings> {
    let mut scopes = vec![&config.settings];
    match &config.slices {
        Slices::Whole(sources) => scopes.extend(sources.iter().map(|source| &source.settings)),
        Slices::Stacked(slices) => {
            for slice in slices {
                scopes.push(&slice.settings);
                scopes.extend(slice.sources.iter().map(|source| &source.settings));
            }
        }
    }
    scopes
}

fn filters(settings: &Settings) -> impl Iterator<Item = UnmatchedFilter> {
    settings.iter().flat_map(|(parameter, setting)| {
        let filters = setting.value.arms.iter().filter_map(|arm| arm.filter.clone());
        filters.map(|filter| UnmatchedFilter { parameter: parameter.clone(), filter })
    })
}
