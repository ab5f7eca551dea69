//! The dry run: the walk of a run without running anything, and without writing a byte.
//!
//! A stage is cached, would run (and why), would not run (and because of whom), or depends on what
//! others will make. Why a stage would run is told by comparing its action with the one the log
//! last saw, field by field, with the very walk that makes the key.

use std::collections::BTreeMap;

use serde::Serialize;

use super::graph::{From, Need, StageGraph, StageIndex};
use super::resolve::{Resolver, Results};
use super::schedule::{End, fate};
use crate::base::canonical;
use crate::base::key::WriteKey;
use crate::stage::{Action, Context, Kind, stage};
use crate::store::{ActionResult, Happened, Store, StoreError};

/// What would become of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Outlook {
    /// Its result is in the store.
    Cached {
        /// One line for people.
        summary: String,
    },
    /// It would run.
    WouldRun {
        /// Why its result is not there.
        reason: String,
    },
    /// It runs, or not, once these have.
    Depends {
        /// The stages it needs that would run.
        on: Vec<String>,
    },
    /// It would not run: a gate waits for evidence.
    Pending {
        /// The stages that wait.
        on: Vec<String>,
    },
    /// It would not run: the candidate was refused.
    Skipped {
        /// The stages that refused.
        by: Vec<String>,
    },
    /// It cannot run.
    Blocked {
        /// What is in the way.
        by: Vec<String>,
    },
}

/// A stage and its outlook.
#[derive(Debug, Clone, Serialize)]
pub struct StageOutlook {
    /// Its id.
    pub stage: String,
    /// What would become of it.
    #[serde(flatten)]
    pub outlook: Outlook,
}

/// What a run would do.
#[derive(Debug)]
pub struct Preview {
    /// Every stage, in order.
    pub stages: Vec<StageOutlook>,
    /// Results that are in the store.
    pub results: Results,
    /// Ends that are known.
    pub ends: Vec<Option<End>>,
}

impl Preview {
    /// How many stages have this kind of outlook.
    pub fn count(&self, is: impl Fn(&Outlook) -> bool) -> usize {
        self.stages.iter().filter(|stage| is(&stage.outlook)).count()
    }
}

/// Looks ahead.
///
/// # Errors
///
/// If the store or the run log of the cycle cannot be read. A file that is gone blocks its stage and is no error.
pub fn preview(graph: &StageGraph, store: &Store) -> Result<Preview, StoreError> {
    let resolver = Resolver::new(graph, store);
    let last = store.last_events(&graph.cycle)?;
    let mut preview = Preview {
        stages: Vec::with_capacity(graph.len()),
        results: vec![None; graph.len()],
        ends: vec![None; graph.len()],
    };
    for index in &graph.order {
        let node = graph.node(*index);
        let outlook = match known_fate(graph, *index, &preview.ends) {
            Fate::Unknown(on) => Outlook::Depends { on: names(graph, &on) },
            Fate::Not(end, by) => {
                preview.ends[index.index()] = Some(end);
                let by = names(graph, &by);
                match end {
                    End::Skipped => Outlook::Skipped { by },
                    End::Pending => Outlook::Pending { on: by },
                    _ => Outlook::Blocked { by },
                }
            }
            Fate::Runs => match resolver.action(*index, &preview.results) {
                Err(error) => {
                    preview.ends[index.index()] = Some(End::Failed);
                    Outlook::Blocked { by: vec![error.to_string()] }
                }
                Ok(action) => match lookup(store, &action)? {
                    Ok(result) => {
                        preview.ends[index.index()] = Some(End::of(&result.verdict));
                        let summary = result.summary.clone();
                        preview.results[index.index()] = Some(result);
                        Outlook::Cached { summary }
                    }
                    Err(lapsed) => {
                        let reason = || reason(store, last.get(&node.id), &action);
                        Outlook::WouldRun { reason: lapsed.unwrap_or_else(reason) }
                    }
                },
            },
        };
        preview.stages.push(StageOutlook { stage: node.id.clone(), outlook });
    }
    Ok(preview)
}

/// The result of an action; or why the one that is there holds no longer, if there is one.
fn lookup(store: &Store, action: &Action) -> Result<Result<ActionResult, Option<String>>, StoreError> {
    let Some(result) = store.lookup(&action.action_key())? else { return Ok(Err(None)) };
    let stage = stage(Kind::from_name(&action.kind).expect("graphs hold known kinds"));
    let context = Context::looking(store, action);
    Ok(match stage.still_holds(&context, &result) {
        Ok(true) => Ok(result),
        Ok(false) => Err(match stage.outgrown(&context, &result) {
            Ok(Some(outgrown)) => Some(outgrown),
            _ => stage.lapsed(&context, &result).ok(),
        }),
        Err(error) => Err(Some(format!("nobody can tell whether its result still holds: {error}"))),
    })
}

enum Fate {
    Runs,
    Not(End, Vec<StageIndex>),
    Unknown(Vec<StageIndex>),
}

fn known_fate(graph: &StageGraph, index: StageIndex, ends: &[Option<End>]) -> Fate {
    let needs: Vec<(StageIndex, Need, Option<End>)> =
        graph.needs(index).map(|(needed, need)| (needed, need, ends[needed.index()])).collect();
    let known = needs.iter().filter_map(|(_, need, end)| Some((*need, (*end)?)));
    if let Some(end) = fate(known) {
        let guilty = |(needed, need, own): &(StageIndex, Need, Option<End>)| {
            (fate([(*need, (*own)?)]) == Some(end)).then_some(*needed)
        };
        return Fate::Not(end, needs.iter().filter_map(guilty).collect());
    }
    // An order-only need that would run does not change this stage's action: it may be known already.
    let inputs = &graph.node(index).inputs;
    let feeds = |needed: &StageIndex| {
        inputs.iter().any(|input| match &input.from {
            From::Stage(stage, _) | From::Brought(stage, _) => stage == needed,
            From::File(_) | From::Blob(_) => false,
        })
    };
    let open: Vec<_> = needs
        .iter()
        .filter(|(needed, _, end)| end.is_none() && feeds(needed))
        .map(|(needed, ..)| *needed)
        .collect();
    if open.is_empty() { Fate::Runs } else { Fate::Unknown(open) }
}

fn names(graph: &StageGraph, indices: &[StageIndex]) -> Vec<String> {
    let mut names: Vec<String> = indices.iter().map(|index| graph.node(*index).id.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Why an action's result is not in the store, in one line.
fn reason(store: &Store, last: Option<&crate::store::Event>, action: &Action) -> String {
    let Some(last) = last else { return "never run".to_owned() };
    if last.key == action.action_key() {
        return match &last.happened {
            Happened::Failed(why) => format!("failed last time: {why}"),
            Happened::Executed | Happened::Hit => "its result is missing or damaged in the store".to_owned(),
        };
    }
    match differences(store, last, action) {
        Ok(differences) if !differences.is_empty() => {
            let (first, rest) = (&differences[0], differences.len() - 1);
            let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
            format!("{}{more}", first.to_line())
        }
        _ => "its inputs changed".to_owned(),
    }
}

/// One field in which two actions differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// The field.
    pub field: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub now: Option<String>,
}

impl FieldDifference {
    /// `param.lambda: 0.5 -> 0.6`
    pub fn to_line(&self) -> String {
        let shown = |value: &Option<String>| match value {
            // Digests are compared by their beginnings.
            Some(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                text[..12].to_owned()
            }
            Some(text) => text.clone(),
            None => "(absent)".to_owned(),
        };
        format!("{}: {} -> {}", self.field, shown(&self.before), shown(&self.now))
    }
}

/// Every field in which an action differs from the one the log last saw.
///
/// # Errors
///
/// If the last action is not in the store, or is no action.
pub fn differences(
    store: &Store,
    last: &crate::store::Event,
    action: &Action,
) -> Result<Vec<FieldDifference>, StoreError> {
    let bytes = store.read(&last.action)?;
    let before: Action = canonical::from_slice(&bytes).map_err(|source| StoreError::Document {
        what: format!("the last action of {}", last.stage),
        source,
    })?;
    let before: BTreeMap<_, _> = before.explain().into_iter().collect();
    let now: BTreeMap<_, _> = action.explain().into_iter().collect();
    let fields: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    Ok(fields
        .into_iter()
        .filter(|field| before.get(*field) != now.get(*field))
        .map(|field| FieldDifference {
            field: field.clone(),
            before: before.get(field).cloned(),
            now: now.get(field).cloned(),
        })
        .collect())
}

/// What `why` says of one stage.
#[derive(Debug, Serialize)]
pub struct Why {
    /// The stage.
    pub stage: String,
    /// Its outlook.
    #[serde(flatten)]
    pub outlook: Outlook,
    /// Its key now, if all its inputs are known.
    pub key: Option<String>,
    /// The key the log last saw.
    pub last_key: Option<String>,
    /// Exactly what differs.
    pub differences: Vec<FieldDifference>,
    /// Every field of its action.
    pub fields: Vec<(String, String)>,
}

/// Explains one stage.
///
/// # Errors
///
/// As [`preview`] and [`differences`].
pub fn why(graph: &StageGraph, store: &Store, index: StageIndex) -> Result<Why, StoreError> {
    let preview = preview(graph, store)?;
    let place = graph.order.iter().position(|other| *other == index).expect("the stage is of this graph");
    let StageOutlook { stage, outlook } = preview.stages[place].clone();
    let last = store.last_events(&graph.cycle)?.remove(&stage);
    let last_key = last.as_ref().map(|event| event.key.to_hex());
    let known = matches!(outlook, Outlook::Cached { .. } | Outlook::WouldRun { .. });
    if !known {
        return Ok(Why { stage, outlook, key: None, last_key, differences: Vec::new(), fields: Vec::new() });
    }
    let action = Resolver::new(graph, store).action(index, &preview.results)?;
    let differences =
        last.as_ref().map(|last| differences(store, last, &action)).transpose()?.unwrap_or_default();
    let key = Some(action.action_key().to_hex());
    Ok(Why { stage, outlook, key, last_key, differences, fields: action.explain() })
}
